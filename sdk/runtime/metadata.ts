import { WhylightError } from '../errors.js';
import { sizeOf } from '../graph/graph.js';
import type { MediaFrame } from '../sources/sound-window.js';

/**
 * What a model expects of a picture, or of a window of sound, and what its outputs mean: the small JSON next to a model file
 * (`glyphs.onnx` → `glyphs.json`), or the same object given as an option. Every field has the default of an RGB classifier on 0…1
 * pixels; a model of sound has to say its `sampleRate`.
 */
export interface ModelMetadata {
  /** what the model is called, for display */
  readonly name?: string;
  /** how a picture, or a window of sound, becomes the input tensor */
  readonly input?: {
    /** input tensor; default the model's first */
    readonly name?: string;
    /** what the model takes: pictures or samples of sound; default `waveform` where `sampleRate` is given, else `picture` */
    readonly kind?: 'picture' | 'waveform';
    /** [1, 3, height, width] or, with layout NHWC, [1, height, width, 3]; of a waveform [1, samples] or [1, 1, samples] */
    readonly shape?: readonly number[];
    readonly layout?: 'NCHW' | 'NHWC';
    readonly colour?: 'RGB' | 'BGR' | 'GRAY';
    /** how a frame meets the input's size: whole picture with borders, centre cut, or distorted */
    readonly fit?: 'letterbox' | 'crop' | 'stretch';
    /** value of black and of white before mean and std, usually [0, 1] or [0, 255]; of a waveform that of −1 and 1, default [−1, 1] */
    readonly range?: readonly [low: number, high: number];
    /** of a waveform, samples a second; such a model has no layout, colour, fit, mean, std or pad */
    readonly sampleRate?: number;
    /** per channel in the order of `colour`, in units of `range`: (value − mean) / std */
    readonly mean?: readonly number[];
    readonly std?: readonly number[];
    /** colour of letterbox borders, 0–255 */
    readonly pad?: readonly [r: number, g: number, b: number];
  };
  /**
   * further inputs, which have one value once and for all, by input name: one number for all elements, or one for each in row-major
   * order. A detector that wants to know how large the picture was is told so
   */
  readonly inputValues?: Readonly<Record<string, number | readonly number[]>>;
  /** the explained output; default the first */
  readonly output?: string;
  /** one name per element of the explained output */
  readonly labels?: readonly string[];
  /** labels as one printable symbol each, for drawing */
  readonly symbols?: readonly string[];
}

/** How the picture's channels are ordered. */
export type Colour = NonNullable<NonNullable<ModelMetadata['input']>['colour']>;
/** How a frame meets the input's size. */
export type Fit = NonNullable<NonNullable<ModelMetadata['input']>['fit']>;

/** How a picture becomes the input tensor. */
export interface PictureInput {
  /** the model takes pictures */
  readonly kind: 'picture';
  /** input tensor */
  readonly name: string;
  /** static shape in the order of `layout` */
  readonly shape: readonly number[];
  /** order of the dimensions */
  readonly layout: 'NCHW' | 'NHWC';
  /** in pixels */
  readonly width: number;
  /** in pixels */
  readonly height: number;
  /** order of the channels */
  readonly colour: Colour;
  /** how a frame meets the input's size */
  readonly fit: Fit;
  /** value of black and of white before mean and std */
  readonly range: readonly [low: number, high: number];
  /** one per channel */
  readonly mean: readonly number[];
  /** one per channel, none is 0 */
  readonly std: readonly number[];
  /** colour of letterbox borders, 0–255 */
  readonly pad: readonly [r: number, g: number, b: number];
}

/** How a window of sound becomes the input tensor. */
export interface WaveformInput {
  /** the model takes samples */
  readonly kind: 'waveform';
  /** input tensor */
  readonly name: string;
  /** [1, samples] or [1, 1, samples] */
  readonly shape: readonly number[];
  /** length of the windows that it takes */
  readonly samples: number;
  /** samples a second */
  readonly sampleRate: number;
  /** value of the samples −1 and 1 */
  readonly range: readonly [low: number, high: number];
}

/** {@link ModelMetadata} with every default filled in and checked against the model. */
export interface ResolvedMetadata {
  /** '' where nothing is said */
  readonly name: string;
  /** how what the model takes becomes the input tensor */
  readonly input: PictureInput | WaveformInput;
  /** of the other inputs, by name */
  readonly inputValues: Readonly<Record<string, number | readonly number[]>>;
  /** the explained output, undefined for the model's first */
  readonly output: string | undefined;
  /** may be empty */
  readonly labels: readonly string[];
  /** may be empty */
  readonly symbols: readonly string[];
}

const pictureFields = ['layout', 'colour', 'fit', 'mean', 'std', 'pad'] as const;
const inputFields: readonly string[] = ['name', 'kind', 'shape', 'range', 'sampleRate', ...pictureFields];

/**
 * Checks a metadata file or object, field by field. `origin` says where it comes from, for the sentence. Fields that Whylight
 * does not know are left alone at the top (a file may say more about its model), but not in `input`, where one is a misspelling.
 *
 * Throws WhylightError METADATA_INVALID; `details.field` is the field's path, such as `input.mean`.
 */
export function validateMetadata(value: unknown, origin: string): ModelMetadata {
  const wrong = (field: string, expected: string): never =>
    invalid(field, `${origin}: "${field}" must be ${expected}.`);
  if (!isRecord(value)) return wrong('', 'an object');
  const text = (field: string, item: unknown) =>
    item === undefined || typeof item === 'string' || wrong(field, 'a text');
  const oneOf = (field: string, item: unknown, names: readonly string[]) =>
    item === undefined ||
    (typeof item === 'string' && names.includes(item)) ||
    wrong(field, `one of ${names.join(', ')}`);
  const texts = (field: string, item: unknown) =>
    item === undefined ||
    (Array.isArray(item) && item.every((name) => typeof name === 'string')) ||
    wrong(field, 'a list of texts');
  const numbers = (
    field: string,
    item: unknown,
    lengths: readonly number[],
    ok: (n: number) => boolean,
    what: string,
  ) =>
    item === undefined ||
    (Array.isArray(item) && lengths.includes(item.length) && item.every((n) => Number.isFinite(n) && ok(n))) ||
    wrong(field, what);
  text('name', value.name);
  text('output', value.output);
  texts('labels', value.labels);
  texts('symbols', value.symbols);
  const input = value.input ?? {};
  if (!isRecord(input)) return wrong('input', 'an object');
  for (const field of Object.keys(input)) {
    if (!inputFields.includes(field)) {
      return invalid(`input.${field}`, `${origin}: "input.${field}" is not known; there is ${inputFields.join(', ')}.`);
    }
  }
  text('input.name', input.name);
  const positive = (n: number) => Number.isInteger(n) && n > 0;
  oneOf('input.kind', input.kind, ['picture', 'waveform']);
  const { sampleRate } = input;
  if (sampleRate !== undefined && !(typeof sampleRate === 'number' && positive(sampleRate))) {
    return wrong('input.sampleRate', 'a positive integer, samples a second');
  }
  const isWaveform = (input.kind ?? (sampleRate === undefined ? 'picture' : 'waveform')) === 'waveform';
  if (isWaveform && sampleRate === undefined) return wrong('input.sampleRate', 'given for a waveform');
  const foreign = isWaveform ? pictureFields.find((field) => input[field] !== undefined) : undefined;
  if (foreign !== undefined) return wrong(`input.${foreign}`, 'left out for a waveform');
  if (!isWaveform && sampleRate !== undefined) return wrong('input.sampleRate', 'left out for a picture');
  if (isWaveform) {
    numbers('input.shape', input.shape, [2, 3], positive, 'positive integers, [1, samples] or [1, 1, samples]');
  } else {
    numbers('input.shape', input.shape, [4], positive, 'four positive integers, such as [1, 3, 224, 224]');
  }
  oneOf('input.layout', input.layout, ['NCHW', 'NHWC']);
  oneOf('input.colour', input.colour, ['RGB', 'BGR', 'GRAY']);
  oneOf('input.fit', input.fit, ['letterbox', 'crop', 'stretch']);
  numbers('input.range', input.range, [2], () => true, 'two numbers, such as [0, 255]');
  numbers('input.mean', input.mean, [1, 3], () => true, 'one number per channel');
  numbers('input.std', input.std, [1, 3], (n) => n !== 0, 'one number per channel, none of them 0');
  numbers('input.pad', input.pad, [3], (n) => n >= 0 && n <= 255, 'three numbers from 0 to 255');
  const inputValues = value.inputValues ?? {};
  if (!isRecord(inputValues)) return wrong('inputValues', 'an object of numbers by input name');
  for (const [name, given] of Object.entries(inputValues)) {
    const isNumbers = [given].flat().every((number) => typeof number === 'number' && Number.isFinite(number));
    if (!isNumbers) return wrong(`inputValues.${name}`, 'a number or a list of numbers');
  }
  return value as ModelMetadata;
}

/** Half and double precision are computed, and given, in float32. */
export const isFloat = (type: string): boolean => ['float32', 'float16', 'float64'].includes(type);

/**
 * Fills in defaults and checks the metadata against the inputs that the model itself declares; a dimension that the model
 * leaves open is a string. Without `layout`, a last dimension of 1 or 3 (and no such second one) means NHWC; without `colour`, one channel means GRAY.
 *
 * Throws WhylightError METADATA_INVALID (metadata and model disagree, or the size of the picture is said by neither),
 * MODEL_SHAPE (the model takes no single batch of pictures, or of samples) or MODEL_TYPE (it takes them as integers).
 */
export function resolveMetadata(
  metadata: ModelMetadata,
  inputs: readonly { readonly name: string; readonly type: string; readonly dims: readonly (number | string)[] }[],
): ResolvedMetadata {
  const given = metadata.input ?? {};
  const names = inputs.map((input) => input.name);
  const declared = given.name === undefined ? inputs[0] : inputs.find((input) => input.name === given.name);
  if (declared === undefined) {
    return invalid('input.name', `The metadata names the input "${given.name}", but the model has ${list(names)}.`);
  }
  const inputValues = metadata.inputValues ?? {};
  for (const name of Object.keys(inputValues)) {
    if (name === declared.name || !names.includes(name)) {
      const what = name === declared.name ? 'is filled with frames' : `is none: the model has ${list(names)}`;
      invalid(`inputValues.${name}`, `"inputValues" gives a value to the input "${name}", which ${what}.`);
    }
  }
  const others = names.filter((name) => name !== declared.name && !Object.hasOwn(inputValues, name));
  if (others.length > 0) {
    throw new WhylightError(
      'MODEL_SHAPE',
      `The model has further inputs, ${list(others)}, which no frame can fill; give each its value in "inputValues" of the metadata.`,
      { details: { inputs: names } },
    );
  }
  if (!isFloat(declared.type)) {
    throw new WhylightError(
      'MODEL_TYPE',
      `The input "${declared.name}" is ${declared.type}; frames are given as float32. Put a Cast or DequantizeLinear in front.`,
      { details: { input: declared.name, type: declared.type } },
    );
  }
  return {
    name: metadata.name ?? '',
    input: given.sampleRate === undefined ? pictureOf(given, declared) : waveformOf(given, declared, given.sampleRate),
    inputValues,
    output: metadata.output,
    labels: metadata.labels ?? [],
    symbols: metadata.symbols ?? [],
  };
}

type GivenInput = NonNullable<ModelMetadata['input']>;
/** An input as the model declares it; a dimension that is left open is a string. */
interface Declared {
  readonly name: string;
  readonly dims: readonly (number | string)[];
}

function waveformOf(given: GivenInput, declared: Declared, sampleRate: number): WaveformInput {
  const { name, dims } = declared;
  const shape = dims.length === 2 || dims.length === 3 ? resolveShape(given.shape, dims, name) : [];
  const samples = shape.at(-1) ?? 0;
  if (shape.length === 0 || sizeOf(shape) !== samples) {
    throw new WhylightError(
      'MODEL_SHAPE',
      `The input "${name}" is [${dims.join(', ')}]; a window of sound fills [1, samples] or [1, 1, samples].`,
      { details: { input: name, shape: dims } },
    );
  }
  return { kind: 'waveform', name, shape, samples, sampleRate, range: given.range ?? [-1, 1] };
}

function pictureOf(given: GivenInput, declared: Declared): PictureInput {
  if (declared.dims.length !== 4) {
    throw new WhylightError(
      'MODEL_SHAPE',
      `The input "${declared.name}" has ${declared.dims.length} dimensions; a frame fills [batch, channels, height, width]. ` +
        'If it takes samples of sound, give "input.sampleRate" in the metadata.',
      { details: { input: declared.name } },
    );
  }
  const shape = resolveShape(given.shape, declared.dims, declared.name);
  const layout = given.layout ?? (isChannels(shape[3]) && !isChannels(shape[1]) ? 'NHWC' : 'NCHW');
  const [channels, height, width] =
    layout === 'NCHW' ? [shape[1]!, shape[2]!, shape[3]!] : [shape[3]!, shape[1]!, shape[2]!];
  if (shape[0] !== 1 || !isChannels(channels)) {
    throw new WhylightError(
      'MODEL_SHAPE',
      `The input "${declared.name}" is [${shape.join(', ')}] (${layout}); a frame fills one picture of 1 or 3 channels.`,
      { details: { input: declared.name, shape } },
    );
  }
  const colour = given.colour ?? (channels === 1 ? 'GRAY' : 'RGB');
  if ((colour === 'GRAY') !== (channels === 1)) {
    invalid(
      'input.colour',
      `"input.colour" is ${colour}, but the input "${declared.name}" has ${channels} channel(s).`,
    );
  }
  const perChannel = (field: 'mean' | 'std', fallback: number): readonly number[] => {
    const values = given[field] ?? [fallback];
    if (values.length === 1) return Array.from({ length: channels }, () => values[0]!);
    if (values.length === channels) return values;
    return invalid(`input.${field}`, `"input.${field}" has ${values.length} numbers for ${channels} channel(s).`);
  };
  return {
    kind: 'picture',
    name: declared.name,
    shape,
    layout,
    width,
    height,
    colour,
    fit: given.fit ?? 'letterbox',
    range: given.range ?? [0, 1],
    mean: perChannel('mean', 0),
    std: perChannel('std', 1),
    pad: given.pad ?? [0, 0, 0],
  };
}

/** The input of a model that takes pictures. Throws WhylightError INPUT_MISMATCH. */
export function pictureInput({ input }: Pick<ResolvedMetadata, 'input'>): PictureInput {
  if (input.kind === 'picture') return input;
  throw new WhylightError('INPUT_MISMATCH', `The model takes ${whatIsTaken(input)}, and was given a picture.`, {
    details: { input: input.name, takes: 'waveform', given: 'picture' },
  });
}

/** Throws WhylightError INPUT_MISMATCH where a frame is not what the model takes; the sentence says both. */
export function checkMatch(frame: MediaFrame, input: ResolvedMetadata['input']): void {
  if (!('samples' in frame)) return void pictureInput({ input });
  const { sampleRate, samples } = frame;
  if (input.kind === 'waveform' && input.sampleRate === sampleRate && input.samples === samples.length) return;
  throw new WhylightError(
    'INPUT_MISMATCH',
    `The model takes ${whatIsTaken(input)}, and was given a window of ${samples.length} samples at ${sampleRate} Hz.`,
    { details: { input: input.name, takes: input.kind, given: 'waveform' } },
  );
}

/** For a sentence. */
function whatIsTaken(input: ResolvedMetadata['input']): string {
  return input.kind === 'picture'
    ? `pictures of ${input.width}×${input.height} pixels as "${input.name}"`
    : `windows of ${input.samples} samples at ${input.sampleRate} Hz as "${input.name}"`;
}

/** Height and width of the input, in pixels; a window of sound is one high and as wide as it has samples. */
export function inputSize(input: ResolvedMetadata['input']): readonly [height: number, width: number] {
  return input.kind === 'picture' ? [input.height, input.width] : [1, input.samples];
}

/** The lowest and the highest value that each channel of the input can take: what rules for bounded inputs need. */
export function channelRanges(input: ResolvedMetadata['input']): readonly [low: number[], high: number[]] {
  if (input.kind === 'waveform') return [[Math.min(...input.range)], [Math.max(...input.range)]];
  const ends = input.mean.map((mean, channel) => input.range.map((end) => (end - mean) / input.std[channel]!));
  return [ends.map((pair) => Math.min(...pair)), ends.map((pair) => Math.max(...pair))];
}

function resolveShape(
  given: readonly number[] | undefined,
  declared: readonly (number | string)[],
  name: string,
): readonly number[] {
  return declared.map((dim, axis) => {
    const wanted = given?.[axis];
    if (typeof dim === 'number') {
      if (wanted === undefined || wanted === dim) return dim;
      const sizes = `[${given?.join(', ')}], but the model's input "${name}" is [${declared.join(', ')}]`;
      return invalid('input.shape', `"input.shape" is ${sizes}.`);
    }
    if (wanted !== undefined) return wanted;
    if (axis === 0) return 1;
    return invalid(
      'input.shape',
      `The model leaves the size of its input "${name}" open ([${declared.join(', ')}]); give "input.shape" in the metadata.`,
    );
  });
}

function invalid(field: string, message: string): never {
  throw new WhylightError('METADATA_INVALID', message, { details: { field } });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isChannels(size: number | undefined): boolean {
  return size === 1 || size === 3;
}

function list(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}
