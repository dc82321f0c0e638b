import { afterEach, describe, expect, test, vi } from 'vitest';
import { aborted, linkedController, untilAborted } from '../../../sdk/sources/abortable.js';
import { firstComplaint, parseFrames, parseInput } from '../../../sdk/sources/ffmpeg-log.js';
import { images } from '../../../sdk/sources/images.js';
import { openFrames, ownFrame } from '../../../sdk/sources/ownership.js';
import { pageClock } from '../../../sdk/sources/page-clock.js';
import { thinning } from '../../../sdk/sources/thinning.js';
import { videoFile } from '../../../sdk/sources/video-file.js';

describe('thinning', () => {
  const kept = (fps: number | undefined, timestamps: readonly number[]) => timestamps.filter(thinning(fps));

  test('keeps everything without a rate and at the file’s own', () => {
    const film = Array.from({ length: 100 }, (_, i) => Math.round((i * 1e6) / 29.97));
    expect(kept(undefined, film)).toEqual(film);
    expect(kept(29.97, film)).toEqual(film);
    expect(kept(60, film)).toEqual(film);
  });

  test('keeps the first frame of every slot, with its own time', () => {
    const film = Array.from({ length: 50 }, (_, i) => 1_480_000 + i * 40_000);
    expect(kept(5, film)).toEqual(film.filter((_, i) => i % 5 === 0));
    expect(kept(10, film)).toHaveLength(20);
  });

  test('of a variable rate it makes nothing up', () => {
    expect(kept(2, [0, 100_000, 499_999, 510_000, 2_400_000, 2_500_000])).toEqual([0, 510_000, 2_400_000, 2_500_000]);
  });
});

describe('ffmpeg’s log', () => {
  const log = [
    "Input #0, mpeg, from '/in/file':",
    '  Duration: 00:01:04.52, start: 0.540000, bitrate: 1391 kb/s',
    '  Stream #0:0[0x1c0]: Audio: mp2, 44100 Hz, stereo, s16p, 192 kb/s',
    '  Stream #0:1[0x1e0]: Video: mpeg2video (Main), yuv420p(tv, progressive), 720x576 [SAR 16:15 DAR 4:3], 29.97 fps, 29.97 tbr, 90k tbn',
    '[Parsed_showinfo_1 @ 0xe06940] config in time_base: 1/90000, frame_rate: 30000/1001',
    "Output #0, rawvideo, to '/frames':",
    '  Stream #0:0: Video: rawvideo (I420 / 0x30323449), yuv420p, 720x576, 25 fps',
    '[Parsed_showinfo_1 @ 0xe06940] n:   0 pts:   3003 pts_time:0.0333667 pos:  27 fmt:yuv420p sar:16/15 s:720x576 i:P iskey:1 type:I ',
    '[Parsed_showinfo_1 @ 0xe06940] color_range:tv color_space:bt470bg color_primaries:unknown color_trc:smpte170m',
    '[Parsed_showinfo_1 @ 0xe06940] n:   1 pts:NOPTS pts_time:NOPTS pos: 99 fmt:yuv420p sar:0/1 s:720x576 i:P iskey:0 type:P ',
  ];

  test('tells the input apart from the output', () => {
    expect(parseInput(log)).toEqual({
      duration: 64.52,
      start: 0.54,
      codec: 'mpeg2video',
      audio: true,
      frameRate: 29.97,
    });
    expect(parseInput(['  Duration: N/A, bitrate: N/A'])).toEqual({
      duration: undefined,
      start: 0,
      codec: undefined,
      audio: false,
      frameRate: undefined,
    });
  });

  test('a cover picture of a song is no video', () => {
    const cover = '  Stream #0:1: Video: png, rgb24(pc), 300x300, 90k tbr, 90k tbn (attached pic)';
    expect(parseInput(['  Stream #0:0: Audio: mp3', cover]).codec).toBeUndefined();
  });

  test('gives frames with exact times, pixel aspect and colours', () => {
    const [first, second, ...none] = parseFrames(log);
    expect(none).toEqual([]);
    expect(first).toEqual({
      timestamp: 33_367, // 3003 / 90000 s
      width: 720,
      height: 576,
      pixelAspect: 16 / 15,
      format: 'yuv420p',
      colourSpace: 'bt470bg',
      primaries: 'unknown',
      transfer: 'smpte170m',
    });
    expect(second).toMatchObject({ timestamp: undefined, pixelAspect: 1, colourSpace: 'unknown' });
  });

  test('finds complaints about data and no others', () => {
    expect(firstComplaint(log)).toBeUndefined();
    expect(firstComplaint([...log, '/in/file: corrupt input packet in stream 0'])).toMatch(/corrupt/);
    expect(firstComplaint(['Aborted()'])).toBeUndefined();
  });
});

describe('waiting for a promise or an end', () => {
  test('the signal wins, and what comes too late is discarded', async () => {
    const controller = new AbortController();
    const { promise, resolve } = deferred<number>();
    const discard = vi.fn();
    const waiting = untilAborted(promise, controller.signal, discard);
    controller.abort();
    expect(await waiting).toBe(aborted);
    resolve(7);
    await promise;
    expect(discard).toHaveBeenCalledExactlyOnceWith(7);
  });

  test('otherwise it is the promise', async () => {
    const { signal } = new AbortController();
    expect(await untilAborted(Promise.resolve(1), signal)).toBe(1);
    await expect(untilAborted(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    expect(await untilAborted(Promise.reject(new Error('no')), AbortSignal.abort())).toBe(aborted);
  });

  test('linked signals fire together, and one that has fired counts at once', () => {
    const [a, b] = [new AbortController(), new AbortController()];
    const linked = linkedController(a.signal, undefined, b.signal);
    b.abort('why');
    expect(linked.signal.reason).toBe('why');
    expect(linkedController(a.signal, b.signal).signal.aborted).toBe(true);
  });
});

test('the camera’s clock becomes the page’s: regular as the camera, never later than arrival', () => {
  const clock = pageClock();
  // the camera counts from long before the page; frames arrive 20, 5, 90 and 12 ms after they were taken
  const taken = [0, 40, 80, 120];
  const late = [20, 5, 90, 12];
  const captured = taken.map((ms, i) => clock(9e9 + ms * 1000, 1000 + ms + late[i]!));
  expect(captured[0]).toBeCloseTo(1020, 6);
  expect(captured.slice(1).map((ms, i) => ms - taken[i + 1]!)).toEqual(
    [1005, 1005, 1005].map((v) => expect.closeTo(v, 6)),
  );
});

describe('ownership', () => {
  const picture = () => ({ width: 1, height: 1, close: vi.fn() }) as unknown as ImageBitmap;

  test('a frame is closed once, however often it is told to', () => {
    const before = openFrames();
    const image = picture();
    const frame = ownFrame({ timestamp: 0, captured: 0, width: 1, height: 1, rotation: 0, image, dropped: 0 });
    expect(openFrames()).toBe(before + 1);
    frame.close();
    frame.close();
    expect(image.close).toHaveBeenCalledOnce();
    expect(openFrames()).toBe(before);
  });
});

describe('options are checked before anything is opened', () => {
  afterEach(() => vi.unstubAllGlobals());

  test.each([
    [{ start: -1 }, /start is -1/],
    [{ start: 2, end: 2 }, /end is 2/],
    [{ fps: 0 }, /fps is 0/],
    [{ decoder: 'ffmpeg' as const }, /ffmpeg is missing/],
    [{ ffmpeg: { coreURL: '' } }, /ffmpeg.coreURL is missing/],
    [{ decoder: 'vlc' as 'auto' }, /decoder is "vlc"/],
  ])('%o', async (options, message) => {
    const error = await videoFile(new Blob(['x']), options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'OPTION_INVALID', message: expect.stringMatching(message) });
  });

  test('pictures need a rate above zero', () => {
    expect(() => images([], { fps: 0 })).toThrow(/fps is 0/);
  });

  test.each([
    ['<!doctype html><title>Not found</title>', 'MEDIA_UNSUPPORTED', /it looks like an HTML page/],
    ['hello', 'MEDIA_UNSUPPORTED', /it looks like plain text/],
    ['', 'MEDIA_UNSUPPORTED', /it looks like an empty file/],
    ['\x89PNG\r\n\x1a\n', 'MEDIA_UNSUPPORTED', /it looks like a PNG picture. For pictures there is images()/],
  ])('what is no video is named: %j', async (text, code, message) => {
    const file = new File([Uint8Array.from(text, (c) => c.charCodeAt(0))], 'clip.mp4');
    await expect(videoFile(file)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    await expect(videoFile(file)).rejects.toThrow(/^"clip.mp4"/);
  });

  test('an address that does not answer, and one that answers with an error', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
    await expect(videoFile('http://localhost/a.mp4')).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    vi.stubGlobal('fetch', () => Promise.resolve(new Response('', { status: 404 })));
    await expect(videoFile('http://localhost/a.mp4')).rejects.toThrow(/the server answers 404/);
    await expect(videoFile('http://[')).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });

  test('an aborted signal opens nothing', async () => {
    await expect(videoFile(new Blob(['x']), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    });
  });
});

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
