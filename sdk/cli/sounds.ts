import { AudioSampleSink, FilePathSource, Input, WAVE } from 'mediabunny';
import { WhylightError } from '../errors.js';

/**
 * A WAV file's samples in −1…1, its channels averaged, at the rate that it has.
 *
 * Throws WhylightError MEDIA_CORRUPT naming the file.
 */
export async function samplesOf(file: string): Promise<Float32Array> {
  const corrupt = (cause?: unknown) =>
    new WhylightError('MEDIA_CORRUPT', `Sound "${file}" is no WAV file that can be read.`, {
      details: { file },
      cause,
    });
  const input = new Input({ source: new FilePathSource(file), formats: [WAVE] });
  try {
    const track = await input.getPrimaryAudioTrack();
    if (track === null) throw corrupt();
    const parts: Float32Array[] = [];
    for await (const sample of new AudioSampleSink(track).samples()) {
      const mean = new Float32Array(sample.numberOfFrames);
      const channel = new Float32Array(sample.numberOfFrames);
      for (let index = 0; index < sample.numberOfChannels; index++) {
        sample.copyTo(channel, { planeIndex: index, format: 'f32-planar' });
        for (let at = 0; at < mean.length; at++) mean[at]! += channel[at]! / sample.numberOfChannels;
      }
      sample.close();
      parts.push(mean);
    }
    const samples = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      samples.set(part, at);
      at += part.length;
    }
    return samples;
  } catch (error) {
    throw error instanceof WhylightError ? error : corrupt(error);
  } finally {
    input.dispose();
  }
}

/** Windows of `size` samples, one behind the other; the last is filled up with silence. */
export function* windowsOf(samples: Float32Array, size: number): Generator<Float32Array> {
  for (let start = 0; start < samples.length; start += size) {
    const window = new Float32Array(size);
    window.set(samples.subarray(start, start + size));
    yield window;
  }
}
