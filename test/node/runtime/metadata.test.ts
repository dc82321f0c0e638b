import { describe, expect, test } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { checkMatch, resolveMetadata, validateMetadata } from '../../../sdk/runtime/metadata.js';

const picture = (dims: readonly (number | string)[], type = 'float32') => [{ name: 'x', type, dims }];

function caught(run: () => unknown): WhylightError {
  try {
    run();
  } catch (error) {
    if (error instanceof WhylightError) return error;
  }
  throw new Error('nothing was thrown');
}

describe('a field that is wrong is named', () => {
  test.each([
    ['', []],
    ['name', { name: 3 }],
    ['labels', { labels: ['a', 2] }],
    ['symbols', { symbols: 'ab' }],
    ['output', { output: {} }],
    ['input', { input: 'RGB' }],
    ['input.size', { input: { size: [224, 224] } }],
    ['input.shape', { input: { shape: [1, 3, 224] } }],
    ['input.shape', { input: { shape: [1, 3, 0, 224] } }],
    ['input.layout', { input: { layout: 'CHWN' } }],
    ['input.colour', { input: { colour: 'rgb' } }],
    ['input.fit', { input: { fit: 'cover' } }],
    ['input.range', { input: { range: [0] } }],
    ['input.mean', { input: { mean: [0.5, 0.5] } }],
    ['input.std', { input: { std: [1, 0, 1] } }],
    ['input.pad', { input: { pad: [0, 0, 300] } }],
    ['input.kind', { input: { kind: 'spectrogram' } }],
    ['input.sampleRate', { input: { sampleRate: '16 kHz' } }],
    ['input.sampleRate', { input: { kind: 'waveform' } }],
    ['input.sampleRate', { input: { kind: 'picture', sampleRate: 16_000 } }],
    ['input.shape', { input: { sampleRate: 16_000, shape: [1, 1, 1, 512] } }],
    ['input.mean', { input: { sampleRate: 16_000, mean: [0.5] } }],
    ['inputValues', { inputValues: [416, 416] }],
    ['inputValues.size', { inputValues: { size: [416, 'auto'] } }],
  ])('%s of %j', (field, value) => {
    const error = caught(() => validateMetadata(value, 'glyphs.json'));
    expect(error.code).toBe('METADATA_INVALID');
    expect(error.details.field).toBe(field);
    expect(error.message).toContain('glyphs.json');
    expect(error.message).toContain(`"${field}"`);
  });

  test('what else a file says about its model is left alone', () => {
    expect(validateMetadata({ name: 'glyphs', trained: '2026' }, '')).toMatchObject({ name: 'glyphs' });
  });
});

describe('defaults and the model', () => {
  test('an RGB classifier on 0…1 pixels, one picture at a time', () => {
    expect(resolveMetadata({}, picture(['batch', 3, 224, 192])).input).toEqual({
      kind: 'picture',
      name: 'x',
      shape: [1, 3, 224, 192],
      layout: 'NCHW',
      width: 192,
      height: 224,
      colour: 'RGB',
      fit: 'letterbox',
      range: [0, 1],
      mean: [0, 0, 0],
      std: [1, 1, 1],
      pad: [0, 0, 0],
    });
  });

  test('channels at the end are NHWC, one channel is GRAY, one number is for all channels', () => {
    expect(resolveMetadata({}, picture([1, 64, 48, 3])).input).toMatchObject({ layout: 'NHWC', width: 48, height: 64 });
    expect(resolveMetadata({}, picture([1, 1, 64, 48])).input).toMatchObject({ layout: 'NCHW', colour: 'GRAY' });
    expect(resolveMetadata({ input: { mean: [0.5] } }, picture([1, 3, 8, 8])).input).toMatchObject({
      mean: [0.5, 0.5, 0.5],
    });
  });

  test('the metadata gives the size that the model leaves open', () => {
    const open = picture(['n', 3, 'h', 'w']);
    expect(resolveMetadata({ input: { shape: [1, 3, 32, 48] } }, open).input).toMatchObject({ width: 48, height: 32 });
    expect(caught(() => resolveMetadata({}, open)).details.field).toBe('input.shape');
  });

  test.each([
    ['METADATA_INVALID', { input: { name: 'y' } }, picture([1, 3, 8, 8])],
    ['METADATA_INVALID', { input: { shape: [1, 3, 9, 8] } }, picture([1, 3, 8, 8])],
    ['METADATA_INVALID', { input: { colour: 'GRAY' as const } }, picture([1, 3, 8, 8])],
    ['METADATA_INVALID', { input: { mean: [0, 0, 0] } }, picture([1, 1, 8, 8])],
    ['METADATA_INVALID', { inputValues: { x: 1 } }, picture([1, 3, 8, 8])],
    ['METADATA_INVALID', { inputValues: { size: 1 } }, picture([1, 3, 8, 8])],
    ['MODEL_SHAPE', {}, picture([1, 16000])],
    ['MODEL_SHAPE', {}, picture([8, 3, 8, 8])],
    ['MODEL_SHAPE', {}, picture([1, 4, 8, 8])],
    ['MODEL_SHAPE', {}, [...picture([1, 3, 8, 8]), { name: 'mask', type: 'float32', dims: [1] }]],
    ['MODEL_TYPE', {}, picture([1, 3, 8, 8], 'uint8')],
  ])('%s: %j', (code, metadata, inputs) => {
    expect(caught(() => resolveMetadata(metadata, inputs)).code).toBe(code);
  });
});

describe('sound', () => {
  const sampleRate = 16_000;

  test.each([
    { dims: ['batch', 512], input: {}, shape: [1, 512] },
    { dims: [1, 1, 15_600], input: {}, shape: [1, 1, 15_600] },
    { dims: ['batch', 'samples'], input: { shape: [1, 512] }, shape: [1, 512] },
  ])('$dims are windows of samples where a rate is given', ({ dims, input, shape }) => {
    expect(resolveMetadata({ input: { ...input, sampleRate } }, picture(dims)).input).toEqual({
      kind: 'waveform',
      name: 'x',
      shape,
      samples: shape.at(-1),
      sampleRate,
      range: [-1, 1],
    });
  });

  test.each([
    { input: { sampleRate }, dims: [1, 3, 224, 224], code: 'MODEL_SHAPE' },
    { input: { sampleRate }, dims: [2, 512], code: 'MODEL_SHAPE' },
    { input: { sampleRate }, dims: [1, 2, 512], code: 'MODEL_SHAPE' },
    { input: { sampleRate }, dims: [1, 'samples'], code: 'METADATA_INVALID' },
    { input: {}, dims: [1, 512], code: 'MODEL_SHAPE' },
  ])('$input for $dims is $code', ({ input, dims, code }) => {
    expect(caught(() => resolveMetadata({ input }, picture(dims))).code).toBe(code);
  });

  test('a window for a model that sees, a picture for one that hears, and another window are refused, and both are named', () => {
    const { input: seeing } = resolveMetadata({}, picture([1, 3, 32, 32]));
    const { input: hearing } = resolveMetadata({ input: { sampleRate } }, picture([1, 512]));
    const times = { timestamp: 0, captured: 0, dropped: 0, close: () => undefined };
    const windowOf = (samples: number, sampleRate: number) => ({
      ...times,
      duration: 1,
      sampleRate,
      samples: new Float32Array(samples),
    });
    const seen = { ...times, width: 640, height: 480, rotation: 0, image: {} as ImageBitmap } as const;
    checkMatch(seen, seeing);
    checkMatch(windowOf(512, sampleRate), hearing);
    for (const [frame, input, ...named] of [
      [seen, hearing, '512 samples at 16000 Hz', 'picture'],
      [windowOf(512, sampleRate), seeing, '32×32', '512 samples at 16000 Hz'],
      [windowOf(256, sampleRate), hearing, '512 samples', '256 samples'],
      [windowOf(512, 8000), hearing, '16000 Hz', '8000 Hz'],
    ] as const) {
      const error = caught(() => checkMatch(frame, input));
      expect(error.code).toBe('INPUT_MISMATCH');
      for (const what of named) expect(error.message).toContain(what);
    }
  });
});
