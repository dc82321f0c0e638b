import { throwIfAborted, WhylightError } from '../errors.js';
import { headLength } from './file-kind.js';

/** An address, relative to the page. Throws WhylightError OPTION_INVALID; `what` is such as `video`. */
export function addressOf(input: URL | string, what: string): URL {
  try {
    return new URL(input, globalThis.location?.href);
  } catch (error) {
    throw new WhylightError('OPTION_INVALID', `The ${what}'s address "${input}" is not an address.`, {
      details: { field: 'input' },
      cause: error,
    });
  }
}

/** What a person would call the file, for sentences. */
export function nameOf(from: Blob | URL): string {
  if (from instanceof URL) return from.protocol === 'data:' ? 'the data: address' : from.href;
  return typeof File !== 'undefined' && from instanceof File && from.name !== '' ? `"${from.name}"` : 'the file';
}

/** The first {@link headLength} bytes. Throws WhylightError SOURCE_UNAVAILABLE. */
export async function readHead(from: Blob | URL, name: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  if (from instanceof Blob) {
    try {
      return new Uint8Array(await from.slice(0, headLength).arrayBuffer());
    } catch (error) {
      // the file was moved or changed after it had been chosen
      throw new WhylightError('SOURCE_UNAVAILABLE', `${name} can no longer be read: ${messageOf(error)}`, {
        details: { file: name },
        cause: error,
      });
    }
  }
  const answer = await answerOf(from, name, signal, { Range: `bytes=0-${headLength - 1}` });
  const reader = answer.body?.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (reader !== undefined && length < headLength) {
    const { value, done } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.length;
  }
  // a server that does not know ranges would send all of it
  await reader?.cancel();
  const head = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    head.set(chunk, at);
    at += chunk.length;
  }
  return head.subarray(0, headLength);
}

/** A server's answer. Throws WhylightError SOURCE_UNAVAILABLE or ABORTED. */
export async function answerOf(
  url: URL,
  name: string,
  signal: AbortSignal | undefined,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, { headers, ...(signal === undefined ? {} : { signal }) });
  } catch (error) {
    throwIfAborted(signal, `Opening ${name}`);
    throw new WhylightError('SOURCE_UNAVAILABLE', `${name} cannot be fetched: ${messageOf(error)}`, {
      details: { url: url.href },
      cause: error,
    });
  }
  if (!answer.ok && answer.status !== 416 /* an empty file has no first byte */) {
    throw new WhylightError('SOURCE_UNAVAILABLE', `${name} cannot be fetched: the server answers ${answer.status}.`, {
      details: { url: url.href, status: answer.status },
    });
  }
  return answer;
}

/** An error's own sentence. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Throws WhylightError OPTION_INVALID where the part of a file from `start` to `end`, in seconds, is none. */
export function checkPart(start: number, end: number): void {
  const invalid = (field: string, sentence: string) =>
    new WhylightError('OPTION_INVALID', `${field} ${sentence}`, { details: { field } });
  if (!(start >= 0 && Number.isFinite(start))) {
    throw invalid('start', `is ${start}; it is in seconds and not negative.`);
  }
  if (!(end > start)) throw invalid('end', `is ${end}; it is in seconds and greater than start (${start}).`);
}
