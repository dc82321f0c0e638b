import { ALL_FORMATS, BlobSource, Input, type InputTrack, UrlSource } from 'mediabunny';
import { declaredLength } from './file-kind.js';

const retries = 4;

/** A file for mediabunny, whatever its container. */
export function inputOf(from: Blob | URL): Input {
  let attempts = 0;
  return new Input({
    formats: ALL_FORMATS,
    source:
      from instanceof URL
        ? // the default would try for ever
          new UrlSource(from, { getRetryDelay: () => (attempts++ < retries ? 0.25 * 2 ** attempts : null) })
        : new BlobSource(from),
  });
}

/** What a track's codec is called, in sentences. */
export async function codecName(track: InputTrack): Promise<string> {
  const parameters = await track.getCodecParameterString();
  const internal = await track.getInternalCodecId();
  return parameters ?? (internal instanceof Uint8Array ? null : internal?.toString()) ?? 'unknown';
}

/** That a file is shorter than its container says, in bytes or, where it is fetched in parts, in seconds; undefined where it is not or nothing is said. */
export async function shortfall(input: Input, from: Blob | URL): Promise<string | undefined> {
  if (from instanceof URL) {
    const declared = await input.getDurationFromMetadata().catch(() => null);
    const actual = await input.computeDuration().catch(() => null);
    return declared !== null && actual !== null && actual < declared - 0.5
      ? `it should last ${declared.toFixed(3)} s.`
      : undefined;
  }
  const length = await declaredLength(
    async (start, stop) => new Uint8Array(await from.slice(start, stop).arrayBuffer()),
    from.size,
  );
  return length !== undefined && length > from.size
    ? `it should be ${length} bytes long and is ${from.size}.`
    : undefined;
}
