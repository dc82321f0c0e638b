import { readFileSync } from 'node:fs';
import {
  BufferSource,
  BufferTarget,
  EncodedAudioPacketSource,
  EncodedPacketSink,
  Input,
  MP4,
  Mp4OutputFormat,
  Output,
} from 'mediabunny';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openChromium, type TestBrowser, type TestPage } from './chromium.js';
import { findMedia, packetsOf, serveFile } from './real-media.js';

let browser: TestBrowser;
let opened: TestPage;
let page: Page;
beforeAll(async () => {
  browser = await openChromium({ webgpu: false });
  opened = await browser.open();
  page = opened.page;
});
afterAll(() => browser.close());

const ffmpeg = { coreURL: '/dist/live/ffmpeg/ffmpeg-core.js', workerURL: '/dist/live/ffmpeg/worker.js' };

interface Options {
  readonly decoder?: 'auto' | 'webcodecs' | 'ffmpeg';
  readonly ffmpeg?: typeof ffmpeg;
  readonly start?: number;
  readonly end?: number;
  readonly fps?: number;
}

/** Everything that a source gives until it ends, by itself, with an error, or because nobody wants more than `take`. */
function decode(address: string, options: Options = {}, how: { blob?: boolean; take?: number; part?: number } = {}) {
  return page.evaluate(
    async ({ address, options, how }) => {
      const { videoFile, openFrames } = window.whylight;
      const timestamps: number[] = [];
      const shapes = new Set<string>();
      let info: object = {};
      let error: { code: string; message: string } | undefined;
      try {
        let input: string | Blob = address;
        if (how.blob || how.part !== undefined) {
          const whole = await (await fetch(address)).blob();
          input = whole.slice(0, Math.floor(whole.size * (how.part ?? 1)));
        }
        const source = await videoFile(input, options);
        info = source.info;
        for await (const frame of source.frames()) {
          timestamps.push(frame.timestamp);
          const image = frame.image as VideoFrame;
          shapes.add(
            `${frame.width}x${frame.height} turned ${frame.rotation}, decoded for ${image.displayWidth}x${image.displayHeight}`,
          );
          frame.close();
          if (timestamps.length === how.take) break;
        }
        await source.close();
      } catch (thrown) {
        const { code, message } = thrown as { code: string; message: string };
        error = { code, message };
      }
      return { info, timestamps, shapes: [...shapes], error, open: openFrames() };
    },
    { address, options, how },
  );
}

const clips = [
  { path: 'samples/media/glyphs.mp4' },
  { path: 'test/media/glyphs-rotated.mp4' },
  { path: 'media_mdn/flower.mp4' },
  { path: 'media_mdn/flower.webm' },
  { path: 'media_mdn/friday.mp4' },
  { path: 'media_mdn/stream-of-water.mp4' },
  { path: 'media_mdn/stream-of-water.webm' },
  { path: 'media_mediabunny/rotate-buck-bunny.mp4' },
  { path: 'media_mediabunny/cursed-vfr.mp4' },
  // VP9 with alpha is slow to decode
  { path: 'media_mediabunny/transparency.webm', end: 1 },
].map((clip) => ({ end: undefined, ...clip, file: findMedia(clip.path) }));
for (const { path, file } of clips) if (file === undefined) console.log(`skipped: there is no ${path}`);

describe('through WebCodecs', () => {
  for (const { path, file, end } of clips) {
    test.skipIf(file === undefined)(
      `${path}: every frame, at the container's own times, as it is to be shown`,
      async () => {
        const expected = await packetsOf(file!);
        await serveFile(page, `/clip/${path}`, readFileSync(file!));
        const result = await decode(`/clip/${path}`, end === undefined ? {} : { end }, { blob: true });
        expect(result.error).toBeUndefined();
        expect(result.timestamps).toEqual(
          expected.timestamps.filter((time) => time < (end ?? Number.POSITIVE_INFINITY) * 1e6),
        );
        expect(new Set(result.timestamps).size).toBe(result.timestamps.length);
        const { width, height, rotation } = expected;
        const decoded = rotation % 180 === 0 ? `${width}x${height}` : `${height}x${width}`;
        expect(result.shapes).toEqual([`${width}x${height} turned ${rotation}, decoded for ${decoded}`]);
        expect(result.info).toMatchObject({ kind: 'file', decoder: 'webcodecs', width, height });
        expect(result.open).toBe(0);
      },
    );
  }

  test('the rotated clip is upright at 90 × 162', async () => {
    const result = await decode('/test/media/glyphs-rotated.mp4');
    expect(result.shapes).toEqual(['90x162 turned 270, decoded for 162x90']);
  });

  test('from an address, with byte ranges, it is the same as from a file', async () => {
    const address = '/samples/media/glyphs.mp4';
    expect((await decode(address)).timestamps).toEqual((await decode(address, {}, { blob: true })).timestamps);
  });

  test('start, end and rate choose among the frames and change none', async () => {
    const { timestamps } = await packetsOf(findMedia('samples/media/glyphs.mp4')!);
    const result = await decode('/samples/media/glyphs.mp4', { start: 2, end: 4, fps: 5 });
    const expected = timestamps.filter((time) => time >= 2e6 && time < 4e6).filter((_, i) => i % 5 === 0);
    expect(result.timestamps).toEqual(expected);
  });

  test('a break in the middle leaves nothing open, and unsubscribing neither', async () => {
    const broken = await decode('/samples/media/glyphs.mp4', {}, { take: 3 });
    expect([broken.timestamps.length, broken.open]).toEqual([3, 0]);
    const open = await page.evaluate(async () => {
      const { videoFile, openFrames } = window.whylight;
      const source = await videoFile('/samples/media/glyphs.mp4');
      await new Promise<void>((resolve) => {
        let count = 0;
        const subscription = source.frames$.subscribe((frame) => {
          count++;
          frame.close();
          if (count === 5) {
            subscription.unsubscribe();
            resolve();
          }
        });
      });
      await new Promise((resolve) => setTimeout(resolve, 300));
      return openFrames();
    });
    expect(open).toBe(0);
  });

  test('a closed source ends its iterations and gives no more', async () => {
    const outcome = await page.evaluate(async () => {
      const { videoFile, openFrames } = window.whylight;
      const source = await videoFile('/samples/media/glyphs.mp4');
      let count = 0;
      for await (const frame of source.frames()) {
        frame.close();
        if (++count === 2) await source.close();
      }
      const again = await source
        .frames()
        [Symbol.asyncIterator]()
        .next()
        .then(
          () => 'a frame',
          (error: { code: string }) => error.code,
        );
      return { count, again, open: openFrames() };
    });
    expect(outcome).toEqual({ count: 2, again: 'DISPOSED', open: 0 });
  });

  test('an MP4 that is cut off gives what is there, then MEDIA_CORRUPT', async () => {
    const whole = (await packetsOf(findMedia('samples/media/glyphs.mp4')!)).timestamps;
    const result = await decode('/samples/media/glyphs.mp4', {}, { part: 0.6 });
    expect(result.error).toMatchObject({ code: 'MEDIA_CORRUPT', message: expect.stringContaining('cut off after') });
    expect(result.timestamps.length).toBeGreaterThan(whole.length / 4);
    expect(result.timestamps).toEqual(whole.slice(0, result.timestamps.length));
    expect(result.open).toBe(0);
  });

  test('garbage in the middle: every frame before it, then MEDIA_CORRUPT', async () => {
    const file = readFileSync(findMedia('samples/media/glyphs.mp4')!);
    const middle = Math.floor(file.length / 2);
    for (let i = 0; i < 8000; i++) file[middle + i] = (i * 7919 + (i >> 3)) & 255;
    await serveFile(page, '/clip/garbage.mp4', file);
    const result = await decode('/clip/garbage.mp4', {}, { blob: true });
    const whole = (await packetsOf(findMedia('samples/media/glyphs.mp4')!)).timestamps;
    expect(result.error?.code).toBe('MEDIA_CORRUPT');
    expect(result.timestamps).toEqual(whole.slice(0, result.timestamps.length));
    expect(result.timestamps.length).toBeGreaterThan(20);
    expect(result.open).toBe(0);
  });
});

describe('what cannot be decoded says so', () => {
  test('a codec that no browser has', async () => {
    const result = await decode('/test/media/glyphs-mpeg2.avi');
    expect(result.error).toMatchObject({
      code: 'MEDIA_UNSUPPORTED',
      message: expect.stringMatching(/AVI.*ffmpeg\.coreURL.*H\.264/),
    });
  });

  test('an address with an HTML page, and one with nothing', async () => {
    expect((await decode('/blank.html')).error).toMatchObject({
      code: 'MEDIA_UNSUPPORTED',
      message: expect.stringContaining('it looks like an HTML page'),
    });
    expect((await decode('/test/media/nothing.mp4')).error).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      message: expect.stringContaining('404'),
    });
  });

  const spoken = findMedia('media_mdn/flower.mp4');
  test.skipIf(spoken === undefined)('an MP4 that holds only sound', async () => {
    await serveFile(page, '/clip/sound.mp4', await onlySound(spoken!));
    for (const decoder of ['auto', 'ffmpeg'] as const) {
      expect((await decode('/clip/sound.mp4', { decoder, ffmpeg }, { blob: true })).error).toMatchObject({
        code: 'MEDIA_UNSUPPORTED',
        message: 'the file holds only sound and no video.',
      });
    }
  });
});

describe('through ffmpeg', () => {
  test('MPEG-2 in AVI: every frame at its time, in several batches', async () => {
    const count = framesInAvi(readFileSync(findMedia('test/media/glyphs-mpeg2.avi')!));
    const result = await decode('/test/media/glyphs-mpeg2.avi', { ffmpeg });
    expect(result.error).toBeUndefined();
    expect(count).toBeGreaterThan(30);
    expect(result.timestamps).toHaveLength(count);
    // 25 frames a second, whatever the first one's time
    const first = result.timestamps[0]!;
    expect(result.timestamps).toEqual(result.timestamps.map((_, i) => first + i * 40_000));
    expect(result.shapes).toEqual(['240x240 turned 0, decoded for 240x240']);
    expect(result.info).toMatchObject({ decoder: 'ffmpeg', width: 240, height: 240 });
    expect(result.open).toBe(0);
  });

  test('what the browser decodes too comes out with the same times and picture', async () => {
    const native = await decode('/samples/media/glyphs.mp4', { end: 1 });
    const result = await decode('/samples/media/glyphs.mp4', { decoder: 'ffmpeg', ffmpeg, end: 1 });
    expect(result.error).toBeUndefined();
    expect(result.timestamps).toEqual(native.timestamps);
    const difference = await page.evaluate(async (ffmpeg) => {
      const { videoFile } = window.whylight;
      const pixels = async (decoder: 'ffmpeg' | 'webcodecs') => {
        const source = await videoFile('/test/media/glyphs-rotated.mp4', { decoder, ffmpeg });
        for await (const frame of source.frames()) {
          const context = new OffscreenCanvas(frame.width, frame.height).getContext('2d')!;
          window.whylight.drawOverlay(
            context,
            frame.image as VideoFrame,
            {
              map: { width: 1, height: 1, data: new Float32Array(1) },
              fit: { scaleX: 1, scaleY: 1, offsetX: 0, offsetY: 0 },
              frame,
            },
            { mode: 'tint' },
          );
          const { data } = context.getImageData(0, 0, frame.width, frame.height);
          frame.close();
          return { size: [frame.width, frame.height], data };
        }
        throw new Error('no frame');
      };
      const [a, b] = [await pixels('webcodecs'), await pixels('ffmpeg')];
      let sum = 0;
      for (let i = 0; i < a.data.length; i++) sum += Math.abs(a.data[i]! - b.data[i]!);
      return { sizes: [a.size, b.size], mean: sum / a.data.length };
    }, ffmpeg);
    expect(difference.sizes).toEqual([
      [90, 162],
      [90, 162],
    ]);
    expect(difference.mean).toBeLessThan(3);
  });

  test('start, end and rate', async () => {
    const all = (await decode('/test/media/glyphs-mpeg2.avi', { ffmpeg })).timestamps;
    const result = await decode('/test/media/glyphs-mpeg2.avi', { ffmpeg, start: 0.5, end: 1.2, fps: 10 });
    const inside = all.filter((time) => time >= 0.5e6 && time < 1.2e6);
    expect(result.timestamps[0]).toBe(inside[0]);
    for (const time of result.timestamps) expect(inside).toContain(time);
    expect(result.timestamps).toHaveLength(Math.ceil((inside.at(-1)! - inside[0]! + 1) / 100_000));
  });

  test('an AVI that is cut off gives what is there, then MEDIA_CORRUPT', async () => {
    const result = await decode('/test/media/glyphs-mpeg2.avi', { ffmpeg }, { part: 0.6 });
    expect(result.error?.code).toBe('MEDIA_CORRUPT');
    expect(result.timestamps.length).toBeGreaterThan(10);
    expect(result.open).toBe(0);
  });

  test('a break in the middle ends it', async () => {
    const result = await decode('/test/media/glyphs-mpeg2.avi', { ffmpeg }, { take: 4 });
    expect([result.timestamps.length, result.open, result.error]).toEqual([4, 0, undefined]);
  });

  test('aborting while ffmpeg works ends the iteration without an error', async () => {
    const outcome = await page.evaluate(async (ffmpeg) => {
      const { videoFile, openFrames } = window.whylight;
      const source = await videoFile('/test/media/glyphs-mpeg2.avi', { ffmpeg });
      const abort = new AbortController();
      const iterator = source.frames({ signal: abort.signal })[Symbol.asyncIterator]();
      const waiting = iterator.next();
      setTimeout(() => abort.abort(), 50); // while it loads
      const { done } = await waiting;
      return { done, open: openFrames() };
    }, ffmpeg);
    expect(outcome).toEqual({ done: true, open: 0 });
  });

  test('a core that is not there is named', async () => {
    const { page: other, close } = await browser.open();
    const error = await other.evaluate(
      async (workerURL) =>
        window.whylight
          .videoFile('/test/media/glyphs-mpeg2.avi', { ffmpeg: { coreURL: '/dist/nothing.js', workerURL } })
          .then(
            () => undefined,
            ({ code, message }: { code: string; message: string }) => ({ code, message }),
          ),
      ffmpeg.workerURL,
    );
    expect(error).toMatchObject({ code: 'MEDIA_UNSUPPORTED', message: expect.stringMatching(/dist\/nothing\.js/) });
    await close();
  });
});

describe('pictures', () => {
  test('come in order, evenly in time, turned upright, and leave the caller’s bitmap alone', async () => {
    const outcome = await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(40, 20);
      const context = canvas.getContext('2d')!;
      context.fillStyle = '#f00';
      context.fillRect(0, 0, 20, 20);
      context.fillStyle = '#00f';
      context.fillRect(20, 0, 20, 20);
      const png = await canvas.convertToBlob({ type: 'image/png' });
      const jpeg = new Uint8Array(await (await canvas.convertToBlob({ type: 'image/jpeg', quality: 1 })).arrayBuffer());
      // EXIF orientation 6: turn clockwise by a quarter
      const exif = [
        0xff, 0xe1, 0, 34, 69, 120, 105, 102, 0, 0, 77, 77, 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0,
        0, 0, 0, 0, 0,
      ];
      const turned = new Blob([jpeg.slice(0, 2), Uint8Array.from(exif), jpeg.slice(2)]);
      const bitmap = await createImageBitmap(png);
      const frames: unknown[] = [];
      const source = window.whylight.images([png, turned, bitmap, '/test/media/glyphs/' + 'missing.png'], { fps: 4 });
      let error: { code: string; message: string } | undefined;
      try {
        for await (const frame of source.frames()) {
          const inside = new OffscreenCanvas(frame.width, frame.height).getContext('2d')!;
          inside.drawImage(frame.image as ImageBitmap, 0, 0);
          const [red = 0, , blue = 0] = inside.getImageData(frame.width >> 1, 2, 1, 1).data;
          frames.push([frame.timestamp, frame.duration, frame.width, frame.height, red > blue ? 'red' : 'blue']);
          frame.close();
        }
      } catch (thrown) {
        const { code, message } = thrown as { code: string; message: string };
        error = { code, message };
      }
      return { info: source.info, frames, error, still: bitmap.width, open: window.whylight.openFrames() };
    });
    expect(outcome.info).toEqual({ kind: 'file', duration: 1, decoder: 'images' });
    expect(outcome.frames).toEqual([
      [0, 250_000, 40, 20, 'blue'], // in the middle the right half begins
      [250_000, 250_000, 20, 40, 'red'], // left has become up
      [500_000, 250_000, 40, 20, 'blue'],
    ]);
    expect(outcome.error).toMatchObject({ code: 'SOURCE_UNAVAILABLE', message: expect.stringContaining('Picture 3') });
    expect([outcome.still, outcome.open]).toEqual([40, 0]);
  });

  test('what is no picture, and what is a broken one', async () => {
    const codes = await page.evaluate(async () => {
      const codeOf = async (input: string | Blob) => {
        try {
          for await (const frame of window.whylight.images([input]).frames()) frame.close();
          return 'none';
        } catch (error) {
          return (error as { code: string }).code;
        }
      };
      const broken = new Blob([Uint8Array.from([0x89, 80, 78, 71, 13, 10, 26, 10, 1, 2, 3])]);
      return [await codeOf('/blank.html'), await codeOf(broken)];
    });
    expect(codes).toEqual(['MEDIA_UNSUPPORTED', 'MEDIA_CORRUPT']);
  });
});

test('nothing of this complains to the console but the two addresses that are missing', () => {
  const foreign = opened.complaints().filter((line) => !/nothing\.mp4|missing\.png/.test(line));
  expect(foreign).toEqual([]);
});

/** The number of an AVI file's video chunks, from its old index: 16 bytes for each chunk. */
function framesInAvi(file: Buffer): number {
  const index = file.lastIndexOf('idx1');
  return file.readUInt32LE(index + 4) / 16;
}

/** The sound of an MP4 file, copied into one of its own. */
async function onlySound(file: string): Promise<Buffer> {
  const input = new Input({ formats: [MP4], source: new BufferSource(readFileSync(file)) });
  const track = (await input.getPrimaryAudioTrack())!;
  const output = new Output({ format: new Mp4OutputFormat(), target: new BufferTarget() });
  const sound = new EncodedAudioPacketSource((await track.getCodec())!);
  output.addAudioTrack(sound);
  await output.start();
  const decoderConfig = (await track.getDecoderConfig())!;
  for await (const packet of new EncodedPacketSink(track).packets()) await sound.add(packet, { decoderConfig });
  await output.finalize();
  return Buffer.from(output.target.buffer!);
}
