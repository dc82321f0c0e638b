import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { WhylightError } from '../errors.js';
import type { PixelPicture } from '../runtime/pixel-picture.js';

/**
 * Pictures of a clip, `perSecond` of them, upright and in order. Node has no video decoder, so the program ffmpeg of the machine
 * does it; it is given nothing but that file, and is ended when the caller has enough.
 *
 * Throws WhylightError MEDIA_UNSUPPORTED where there is no ffmpeg, MEDIA_CORRUPT with ffmpeg's own sentence.
 */
export async function* picturesOfClip(
  file: string,
  perSecond: number,
  program = 'ffmpeg',
): AsyncGenerator<PixelPicture, void> {
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn(
    program,
    [
      ...['-nostdin', '-v', 'error'],
      // a playlist or a reference inside of the file may not make it open others
      ...['-protocol_whitelist', 'file,pipe', '-i', `file:${file}`],
      ...['-an', '-vf', `fps=${perSecond}`, '-f', 'image2pipe', '-c:v', 'ppm', 'pipe:1'],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2000);
  });
  const ended = new Promise<Error | number | null>((resolve) => {
    child.once('error', resolve);
    child.once('close', resolve);
  });
  let count = 0;
  try {
    for await (const picture of pixmaps(child.stdout)) {
      count++;
      yield picture;
    }
    const end = await ended;
    if (end instanceof Error) throw missing(program, end);
    if (end === 0 && count > 0) return;
    const sentence = complaint.trim().split('\n').at(-1) ?? '';
    throw new WhylightError(
      'MEDIA_CORRUPT',
      `Clip "${file}" ${count === 0 ? 'has no picture that ffmpeg could decode' : `ends after ${count} pictures`}${sentence === '' ? '' : `: ${sentence}`}.`,
      { details: { file, pictures: count } },
    );
  } finally {
    child.kill();
  }
}

function missing(program: string, cause: Error): WhylightError {
  return new WhylightError(
    'MEDIA_UNSUPPORTED',
    `Clips are decoded by the program "${program}", which is not installed here (https://ffmpeg.org); install it, or give a folder of pictures.`,
    { details: { program }, cause },
  );
}

/** PPM pictures that stand one behind the other: "P6", width, height and 255 as text, then RGB. */
async function* pixmaps(stream: Readable): AsyncGenerator<PixelPicture> {
  let rest = Buffer.alloc(0);
  let wanted = 0;
  const waiting: Buffer[] = [];
  for await (const chunk of stream) {
    waiting.push(chunk as Buffer);
    const length = waiting.reduce((sum, part) => sum + part.length, rest.length);
    if (length < wanted) continue;
    rest = Buffer.concat([rest, ...waiting.splice(0)]);
    for (;;) {
      const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(rest.toString('latin1', 0, 64));
      if (head === null) break;
      const [width, height] = [Number(head[1]), Number(head[2])];
      wanted = head[0].length + 3 * width * height;
      if (rest.length < wanted) break;
      yield opaque(rest.subarray(head[0].length, wanted), width, height);
      rest = rest.subarray(wanted);
      wanted = 0;
    }
  }
}

function opaque(rgb: Buffer, width: number, height: number): PixelPicture {
  const data = new Uint8ClampedArray(4 * width * height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    data[to] = rgb[from]!;
    data[to + 1] = rgb[from + 1]!;
    data[to + 2] = rgb[from + 2]!;
    data[to + 3] = 255;
  }
  return { width, height, data };
}
