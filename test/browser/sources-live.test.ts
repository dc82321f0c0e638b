import { afterEach, describe, expect, test } from 'vitest';
import { type BrowserOptions, openChromium, type TestBrowser, type TestPage } from './chromium.js';

const browsers: TestBrowser[] = [];
afterEach(async () => {
  for (const browser of browsers.splice(0)) await browser.close();
});

async function open(options: BrowserOptions): Promise<TestPage> {
  const browser = await openChromium({ webgpu: false, ...options });
  browsers.push(browser);
  const opened = await browser.open();
  // keeps the tracks that the source opens, to see whether it stops them
  await opened.page.evaluate(() => {
    const tracks: MediaStreamTrack[] = [];
    Object.assign(window, { tracks });
    for (const name of ['getUserMedia', 'getDisplayMedia'] as const) {
      const original = navigator.mediaDevices[name].bind(navigator.mediaDevices);
      navigator.mediaDevices[name] = async (constraints?: MediaStreamConstraints) => {
        const stream = await original(constraints);
        tracks.push(...stream.getTracks());
        return stream;
      };
    }
  });
  return opened;
}

declare global {
  interface Window {
    tracks: MediaStreamTrack[];
  }
}

const camera = 'test/media/glyphs-camera.mjpeg';

describe.each(['MediaStreamTrackProcessor', 'a video element'])('the camera through %s', (way) => {
  test('gives its newest frames on the page’s clock, counts the others, and goes out afterwards', async () => {
    const { page, complaints } = await open({ camera });
    const outcome = await page.evaluate(async (way) => {
      if (way === 'a video element') Reflect.deleteProperty(window, 'MediaStreamTrackProcessor');
      const { camera, openFrames } = window.whylight;
      const source = await camera();
      const frames: {
        timestamp: number;
        captured: number;
        now: number;
        dropped: number;
        size: string;
        kind: string;
      }[] = [];
      for await (const frame of source.frames()) {
        frames.push({
          timestamp: frame.timestamp,
          captured: frame.captured,
          now: performance.now(),
          dropped: frame.dropped,
          size: `${frame.width}x${frame.height}`,
          kind: frame.image.constructor.name,
        });
        frame.close();
        // slower than any camera from the fourth frame on
        if (frames.length > 3) await new Promise((resolve) => setTimeout(resolve, 250));
        if (frames.length === 8) break;
      }
      // the picture that is on its way is waited for
      await new Promise((resolve) => setTimeout(resolve, 150));
      const first = { live: window.tracks.map((track) => track.readyState), open: openFrames() };
      // it can be begun again, which opens the camera again
      let again = 0;
      for await (const frame of source.frames()) {
        frame.close();
        if (++again === 2) break;
      }
      await source.close();
      await new Promise((resolve) => setTimeout(resolve, 150));
      return {
        info: source.info,
        frames,
        first,
        again,
        last: window.tracks.map((track) => track.readyState),
        open: openFrames(),
      };
    }, way);
    expect(outcome.info).toMatchObject({ kind: 'live', decoder: 'camera' });
    expect(outcome.frames).toHaveLength(8);
    for (const [i, frame] of outcome.frames.entries()) {
      expect(frame.kind).toBe('VideoFrame');
      expect(Math.abs(frame.timestamp / 1000 - frame.captured)).toBeLessThan(1);
      expect(frame.captured).toBeLessThanOrEqual(frame.now);
      expect(frame.captured).toBeGreaterThan(frame.now - 2000);
      if (i > 0) expect(frame.timestamp).toBeGreaterThan(outcome.frames[i - 1]!.timestamp);
    }
    expect(outcome.frames.slice(5).reduce((sum, { dropped }) => sum + dropped, 0)).toBeGreaterThan(3);
    expect(outcome.first).toEqual({ live: ['ended'], open: 0 });
    expect([outcome.again, outcome.last, outcome.open]).toEqual([2, ['ended', 'ended'], 0]);
    expect(complaints()).toEqual([]);
  });

  test('unsubscribing while it waits lets go of everything', async () => {
    const { page } = await open({ camera });
    const outcome = await page.evaluate(async (way) => {
      if (way === 'a video element') Reflect.deleteProperty(window, 'MediaStreamTrackProcessor');
      const { camera, openFrames } = window.whylight;
      const source = await camera();
      let count = 0;
      await new Promise<void>((resolve) => {
        const subscription = source.frames$.subscribe((frame) => {
          frame.close();
          if (++count === 3) {
            subscription.unsubscribe();
            resolve();
          }
        });
      });
      await new Promise((resolve) => setTimeout(resolve, 300));
      return { count, tracks: window.tracks.map((track) => track.readyState), open: openFrames() };
    }, way);
    expect(outcome).toEqual({ count: 3, tracks: ['ended'], open: 0 });
  });

  test('a camera that goes away is SOURCE_ENDED', async () => {
    const { page } = await open({ camera });
    const outcome = await page.evaluate(async (way) => {
      if (way === 'a video element') Reflect.deleteProperty(window, 'MediaStreamTrackProcessor');
      const { camera, openFrames } = window.whylight;
      const source = await camera();
      let count = 0;
      try {
        for await (const frame of source.frames()) {
          frame.close();
          // as when it is pulled out: the track ends without us, and says so
          if (++count === 2) {
            for (const track of window.tracks) {
              track.stop();
              track.dispatchEvent(new Event('ended'));
            }
          }
        }
        return 'ended quietly';
      } catch (error) {
        return { code: (error as { code: string }).code, open: openFrames() };
      }
    }, way);
    expect(outcome).toEqual({ code: 'SOURCE_ENDED', open: 0 });
  });
});

test('a camera that ends says that its permission was withdrawn where it is, at once or a moment later, and only there', async () => {
  const { page } = await open({ camera });
  const codes = await page.evaluate(async () => {
    /** How a stream ends whose track does, while the browser says `state` of the permission, and `later` a moment afterwards. */
    const endedWhile = async (state: PermissionState, later = state): Promise<string> => {
      const status = Object.assign(new EventTarget(), { state });
      navigator.permissions.query = async () => status as unknown as PermissionStatus;
      try {
        for await (const frame of (await window.whylight.camera()).frames()) {
          frame.close();
          window.tracks.at(-1)!.stop();
          if (later === state) continue;
          setTimeout(() => {
            status.state = later;
            status.dispatchEvent(new Event('change'));
          }, 200);
        }
        return 'ended quietly';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    return {
      denied: await endedWhile('denied'),
      deniedLater: await endedWhile('granted', 'denied'),
      asked: await endedWhile('granted', 'prompt'),
      granted: await endedWhile('granted'),
    };
  });
  expect(codes).toEqual({
    denied: 'SOURCE_PERMISSION',
    deniedLater: 'SOURCE_PERMISSION',
    asked: 'SOURCE_ENDED',
    granted: 'SOURCE_ENDED',
  });
});

test('two who watch share the camera, and the first to leave does not put it out', async () => {
  const { page } = await open({ camera });
  const outcome = await page.evaluate(async () => {
    const source = await window.whylight.camera();
    const [a, b] = [source.frames()[Symbol.asyncIterator](), source.frames()[Symbol.asyncIterator]()];
    for (const watcher of [a, b]) (await watcher.next()).value?.close();
    await a.return?.();
    const next = await b.next();
    next.value?.close();
    const opened = window.tracks.length;
    await source.close();
    return { opened, done: next.done, after: (await b.next()).done, open: window.whylight.openFrames() };
  });
  expect(outcome).toEqual({ opened: 1, done: false, after: true, open: 0 });
});

describe.each(['one source', 'two sources'])('two streams of one camera, from %s', (sources) => {
  test('go on while one of them keeps its pictures, which are those that the camera took', async () => {
    const { page, complaints } = await open({ camera });
    const outcome = await page.evaluate(async (sources) => {
      const { camera, openFrames } = window.whylight;
      const taken = new Map<number, Promise<Uint8Array>>();
      const bytesOf = async (picture: VideoFrame) => {
        const bytes = new Uint8Array(picture.allocationSize());
        await picture.copyTo(bytes);
        return bytes;
      };
      const { read } = ReadableStreamDefaultReader.prototype;
      ReadableStreamDefaultReader.prototype.read = async function (this: ReadableStreamDefaultReader<unknown>) {
        const step = (await read.call(this)) as ReadableStreamReadResult<unknown>;
        if (step.value instanceof VideoFrame) taken.set(step.value.timestamp, bytesOf(step.value));
        return step;
      };
      const first = await camera();
      const second = sources === 'one source' ? first : await camera();
      const kept: import('../../sdk/index.js').Frame[] = [];
      let others = 0;
      const streams = [
        first.frames$.subscribe((frame) => kept.push(frame)),
        second.frames$.subscribe((frame) => {
          others++;
          frame.close();
        }),
      ];
      const until = performance.now() + 10_000;
      while (Math.min(kept.length, others) < 10 && performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      for (const stream of streams) stream.unsubscribe();
      const unlike: number[] = [];
      const pictures = kept.map(({ image }) => image as VideoFrame);
      for (const picture of pictures) {
        const [seen, meant] = [await bytesOf(picture), await taken.get(picture.timestamp)];
        if (!seen.every((byte, index) => byte === meant?.[index])) unlike.push(picture.timestamp);
      }
      const colours = new Set(pictures.map(({ colorSpace }) => JSON.stringify(colorSpace)));
      for (const frame of kept) frame.close();
      for (const source of [first, second]) await source.close();
      await new Promise((resolve) => setTimeout(resolve, 100));
      return { kept: kept.length, others, unlike, colours: colours.size, left: openFrames() };
    }, sources);
    expect(Math.min(outcome.kept, outcome.others)).toBeGreaterThanOrEqual(10);
    expect(outcome).toMatchObject({ unlike: [], colours: 1, left: 0 });
    expect(complaints()).toEqual([]);
  });

  test('have what is new, however long each keeps a picture, and let go of all', async () => {
    const { page, complaints } = await open({ camera });
    const outcome = await page.evaluate(async (sources) => {
      const { camera, openFrames } = window.whylight;
      const first = await camera();
      const second = sources === 'one source' ? first : await camera();
      const leaving = new AbortController();
      const watch = async (source: typeof first) => {
        const waited: number[] = [];
        for await (const frame of source.frames({ signal: leaving.signal })) {
          waited.push(performance.now() - frame.captured);
          await new Promise((resolve) => setTimeout(resolve, 300));
          frame.close();
          if (waited.length === 4) break;
        }
        return waited;
      };
      const waited = await Promise.all([first, second].map(watch));
      leaving.abort();
      for (const source of [first, second]) await source.close();
      await new Promise((resolve) => setTimeout(resolve, 150));
      return { waited, left: openFrames(), tracks: window.tracks.map(({ readyState }) => readyState) };
    }, sources);
    for (const waited of outcome.waited) {
      expect(waited).toHaveLength(4);
      // one that was captured as soon as its stream was busy would have waited for nearly all of the 300 ms
      expect(waited.slice(1).sort((a, b) => a - b)[1]).toBeLessThan(150);
    }
    expect(outcome.left).toBe(0);
    // one camera is opened once, whoever comes at the same time
    expect(outcome.tracks).toEqual(sources === 'one source' ? ['ended'] : ['ended', 'ended']);
    expect(complaints()).toEqual([]);
  });
});

const failing = [
  {
    what: 'a refusal',
    options: { permission: false },
    constraints: {},
    code: 'SOURCE_PERMISSION',
    sentence: /camera was refused/,
  },
  {
    what: 'no camera',
    options: { args: ['--use-fake-device-for-media-stream=device-count=0'] },
    constraints: {},
    code: 'SOURCE_UNAVAILABLE',
    sentence: /No camera was found/,
  },
  {
    what: 'a constraint that none meets',
    options: {},
    constraints: { width: { exact: 77_777 } },
    code: 'SOURCE_UNAVAILABLE',
    sentence: /constraint width/,
  },
];
for (const { what, options, constraints, code, sentence } of failing) {
  test(`${what} is ${code}`, async () => {
    const { page } = await open(options);
    const error = await page.evaluate(
      (constraints) =>
        window.whylight.camera(constraints).then(
          () => undefined,
          ({ code, message }: { code: string; message: string }) => ({ code, message }),
        ),
      constraints,
    );
    expect(error).toMatchObject({ code, message: expect.stringMatching(sentence) });
  });
}

test('a shared screen is a source like the camera', async () => {
  const { page } = await open({ args: ['--auto-select-desktop-capture-source=Entire screen'] });
  const outcome = await page.evaluate(async () => {
    const source = await window.whylight.screen();
    for await (const frame of source.frames()) {
      const size = [frame.width, frame.height];
      frame.close();
      return { info: source.info, size, open: window.whylight.openFrames() };
    }
    return undefined;
  });
  expect(outcome?.info).toMatchObject({ kind: 'live', decoder: 'screen' });
  expect(outcome?.size).toEqual([1280, 720]);
  expect(outcome?.open).toBe(0);
});

test('a frame that nobody closed is missed', async () => {
  const { page, output } = await open({ args: ['--js-flags=--expose-gc'] });
  await page.evaluate(async () => {
    const source = window.whylight.images([await new OffscreenCanvas(8, 8).convertToBlob().catch(() => new Blob())]);
    const context = new OffscreenCanvas(8, 8);
    context.getContext('2d')!.fillRect(0, 0, 8, 8);
    const forget = async () => {
      for await (const _ of window.whylight.images([await context.convertToBlob()]).frames());
    };
    await forget();
    void source;
    for (let i = 0; i < 20; i++) {
      (globalThis as unknown as { gc(): void }).gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  await expect
    .poll(() => output().join('\n'))
    .toMatch(/a frame at 0 µs was garbage-collected without having been closed/);
});

test('every picture of a track is closed, at whichever step of its way its stream is left', async () => {
  const { page, complaints } = await open({ camera });
  const { pictures, copied, left } = await page.evaluate(async () => {
    const { camera, openFrames } = window.whylight;
    const pictures: VideoFrame[] = [];
    let readOne = (): void => undefined;
    const { read } = ReadableStreamDefaultReader.prototype;
    ReadableStreamDefaultReader.prototype.read = function (this: ReadableStreamDefaultReader<unknown>) {
      const step = read.call(this);
      void step.then(({ value }) => {
        if (!(value instanceof VideoFrame)) return;
        pictures.push(value);
        readOne();
      });
      return step;
    };
    // what is copied because somebody keeps a picture is to be closed as well
    let copied = 0;
    window.VideoFrame = new Proxy(VideoFrame, {
      construct(made_, given) {
        const made = Reflect.construct(made_, given) as VideoFrame;
        pictures.push(made);
        copied++;
        return made;
      },
    });
    const source = await camera();
    const leave = async (how: string, every: number) => {
      for (let steps = 0; steps < 24; steps += every) {
        const ended = new Promise<void>((resolve) => {
          const leaving = new AbortController();
          const subscription = how === 'unsubscribed' ? source.frames$.subscribe((frame) => frame.close()) : undefined;
          const iteration =
            how === 'unsubscribed' ? undefined : source.frames({ signal: leaving.signal })[Symbol.asyncIterator]();
          const pull = async (): Promise<void> => {
            for (;;) {
              const step = await iteration!.next();
              if (step.done) return;
              step.value.close();
            }
          };
          if (iteration !== undefined) void pull();
          const from = pictures.length;
          readOne = () => {
            if (pictures.length < from + 2) return;
            readOne = () => undefined;
            let later = Promise.resolve();
            for (let step = 0; step < steps; step++) later = later.then(() => undefined);
            void later.then(() => {
              subscription?.unsubscribe();
              if (how === 'returned') void iteration!.return!();
              leaving.abort();
              resolve();
            });
          };
        });
        await ended;
      }
    };
    const ways = ['unsubscribed', 'returned', 'aborted'];
    for (const how of ways) await leave(how, 1);
    const { value: kept } = await source.frames()[Symbol.asyncIterator]().next();
    const before = pictures.length;
    // its own stream's next picture comes in the same moment, and so may the end of the other
    for (const how of ways) await leave(how, 2);
    kept!.close();
    await source.close();
    await new Promise((resolve) => setTimeout(resolve, 200));
    // a picture that is closed has no format any more
    const left = pictures.filter(({ format }) => format !== null).length;
    return { pictures: before, copied, left: { pictures: left, frames: openFrames() } };
  });
  expect(pictures).toBeGreaterThanOrEqual(72 * 2);
  // some of the 36 are left before their first picture
  expect(copied).toBeGreaterThanOrEqual(18);
  expect(left).toEqual({ pictures: 0, frames: 0 });
  expect(complaints()).toEqual([]);
});
