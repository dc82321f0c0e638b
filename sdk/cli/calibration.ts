import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WhylightError } from '../errors.js';
import { type NamedValue, sizeOf } from '../graph/graph.js';
import type { InputShapes } from '../graph/inputs.js';
import type { CalibrationFrame } from '../quantize/frames.js';
import { type ModelMetadata, pictureInput, resolveMetadata } from '../runtime/metadata.js';
import { createPixelPicture, type PixelPicture } from '../runtime/pixel-picture.js';
import { picturesOfClip } from './clip.js';
import { isPictureName, picturesIn } from './pictures.js';
import { samplesOf, windowsOf } from './sounds.js';

/** Where frames come from. */
export interface CalibrationSource {
  /** A folder of PNG and JPEG pictures or of WAV files, one WAV file, or a clip. */
  readonly path: string;
  /** Pictures of a clip per second. */
  readonly perSecond: number;
  /** Most frames; those of a folder of pictures are taken evenly from all of it. */
  readonly limit: number;
}

/** What frames are made for. */
export interface CalibratedInputs {
  /** As the model's file declares them. */
  readonly inputs: readonly NamedValue[];
  /** Shapes that the caller gives. */
  readonly inputShapes: InputShapes;
  readonly metadata: ModelMetadata;
}

/** Frames in the form of a model's input, and its shape. */
export interface Calibration {
  readonly frames: AsyncIterable<CalibrationFrame>;
  readonly inputShapes: InputShapes;
}

/**
 * Opens a folder or file as frames: pictures as the model's metadata says, sounds in windows of its input's length.
 *
 * Throws WhylightError SOURCE_UNAVAILABLE, and what metadata and model do not agree on; the frames throw MEDIA_CORRUPT and
 * MEDIA_UNSUPPORTED.
 */
export async function openCalibration(source: CalibrationSource, model: CalibratedInputs): Promise<Calibration> {
  const { path, perSecond, limit } = source;
  const info = await stat(path).catch((cause: unknown) => {
    throw new WhylightError('SOURCE_UNAVAILABLE', `"${path}" cannot be read.`, { details: { file: path }, cause });
  });
  if (!info.isDirectory()) {
    return /\.wav$/i.test(path) ? ofSounds([path], model) : ofPictures(picturesOfClip(path, perSecond), model);
  }
  const names = await readdir(path);
  const pictures = names.filter(isPictureName).length;
  const sounds = names.filter((name) => /\.wav$/i.test(name)).sort();
  if (pictures === 0 && sounds.length > 0) {
    return ofSounds(
      sounds.map((name) => join(path, name)),
      model,
    );
  }
  // a folder is often sorted by class: its beginning would be one class
  return ofPictures(evenly(picturesIn(path), pictures, limit), model);
}

async function* evenly(
  files: AsyncIterable<{ readonly picture: PixelPicture }>,
  count: number,
  limit: number,
): AsyncGenerator<PixelPicture> {
  const taken = (index: number): number => Math.floor((index * Math.min(limit, count)) / count);
  let index = 0;
  for await (const { picture } of files) {
    if (taken(index + 1) > taken(index)) yield picture;
    index++;
  }
}

/** The inputs in the shapes that frames are given in. */
function asGiven({ inputs, inputShapes }: CalibratedInputs): NamedValue[] {
  return inputs.map((input) => ({
    ...input,
    dims: inputShapes[input.name] ?? input.dims,
  }));
}

function ofPictures(pictures: AsyncIterable<PixelPicture>, model: CalibratedInputs): Calibration {
  const input = pictureInput(resolveMetadata(model.metadata, asGiven(model)));
  const toInput = createPixelPicture(input);
  const frames = async function* (): AsyncGenerator<CalibrationFrame> {
    for await (const picture of pictures) yield { [input.name]: { dims: input.shape, data: toInput(picture).image } };
  };
  return { frames: frames(), inputShapes: { ...model.inputShapes, [input.name]: input.shape } };
}

function ofSounds(files: readonly string[], model: CalibratedInputs): Calibration {
  const [input, ...others] = asGiven(model);
  const dims = input?.dims.map((dim, axis) => (axis === 0 && typeof dim === 'string' ? 1 : Number(dim))) ?? [];
  const size = sizeOf(dims);
  if (input === undefined || others.length > 0 || input.type !== 'float32' || size !== Math.max(...dims)) {
    throw new WhylightError(
      'MODEL_SHAPE',
      'Sounds calibrate models with one float32 input of samples, such as [1, 16000]; this model takes something else.',
    );
  }
  const frames = async function* (): AsyncGenerator<CalibrationFrame> {
    for (const file of files) {
      for (const data of windowsOf(await samplesOf(file), size)) yield { [input.name]: { dims, data } };
    }
  };
  return { frames: frames(), inputShapes: { ...model.inputShapes, [input.name]: dims } };
}
