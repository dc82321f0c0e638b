import { throwIfAborted, WhylightError } from '../errors.js';
import { type ModelMetadata, validateMetadata } from './metadata.js';

/** Settings of {@link openModel}. */
export interface ModelFileOptions {
  /** keep downloads in the Cache API and use them from there, without asking the server again */
  readonly cache: boolean;
  /** expected SHA-256 of the file, 64 hexadecimal digits */
  readonly sha256?: string | undefined;
  /** bytes so far; `total` is undefined where the server does not say */
  readonly onProgress: (loaded: number, total: number | undefined) => void;
  /** ends the download */
  readonly signal: AbortSignal;
}

const cacheName = 'whylight-models';

/**
 * A model's bytes as a Blob: the browser keeps it out of the page's heap and hands it to any number of workers without a copy.
 *
 * Throws WhylightError MODEL_FETCH (network, HTTP status, or a web page in place of a model), MODEL_INTEGRITY or ABORTED.
 */
export async function openModel(
  source: URL | string | Blob | Uint8Array<ArrayBufferLike>,
  options: ModelFileOptions,
): Promise<Blob> {
  const { sha256, signal } = options;
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new WhylightError('OPTION_INVALID', '"sha256" must be 64 hexadecimal digits.', {
      details: { option: 'sha256' },
    });
  }
  if (source instanceof Blob || source instanceof Uint8Array) {
    const blob = source instanceof Blob ? source : new Blob([new Uint8Array(source)]);
    if (sha256 !== undefined) await checkIntegrity(blob, sha256, 'The model');
    throwIfAborted(signal);
    return blob;
  }
  const url = new URL(source, globalThis.location?.href);
  const cache = options.cache ? await openCache() : undefined;
  const kept = await (await cache?.match(url.href))?.blob();
  if (kept !== undefined && (sha256 === undefined || (await digest(kept)) === sha256.toLowerCase())) {
    options.onProgress(kept.size, kept.size);
    throwIfAborted(signal);
    return kept;
  }
  const blob = await download(url, options);
  if (sha256 !== undefined) await checkIntegrity(blob, sha256, `The model at ${url.href}`);
  // a full disk costs the cache, not the explanation
  await cache?.put(url.href, new Response(blob)).catch(() => undefined);
  throwIfAborted(signal);
  return blob;
}

/**
 * The metadata as an object, from a URL, or, where nothing is given, from the .json next to the model: `glyphs.onnx` →
 * `glyphs.json`. There need not be one; a server that answers with its start page instead counts as none.
 *
 * Throws WhylightError METADATA_INVALID or ABORTED.
 */
export async function openMetadata(
  given: ModelMetadata | URL | string | undefined,
  model: URL | string | Blob | Uint8Array<ArrayBufferLike>,
  signal: AbortSignal,
): Promise<ModelMetadata> {
  if (given !== undefined && typeof given !== 'string' && !(given instanceof URL)) {
    return validateMetadata(given, 'The metadata');
  }
  const url = given === undefined ? besideModel(model) : new URL(given, globalThis.location?.href);
  if (url === undefined) return {};
  const unreadable = (what: string, cause?: unknown) =>
    new WhylightError('METADATA_INVALID', `The metadata at ${url.href} ${what}.`, {
      details: { url: url.href },
      ...(cause === undefined ? {} : { cause }),
    });
  let text: string;
  try {
    const response = await fetch(url, { signal });
    if (given === undefined && (!response.ok || isHtml(response))) return {};
    if (!response.ok) throw unreadable(`could not be fetched: HTTP ${response.status}`);
    text = await response.text();
  } catch (error) {
    throwIfAborted(signal);
    throw error instanceof WhylightError ? error : unreadable('could not be fetched', error);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw unreadable('is not JSON', error);
  }
  return validateMetadata(parsed, `The metadata at ${url.href}`);
}

async function download(url: URL, options: ModelFileOptions): Promise<Blob> {
  const failed = (what: string, cause?: unknown) =>
    new WhylightError('MODEL_FETCH', `The model at ${url.href} ${what}.`, {
      details: { url: url.href },
      ...(cause === undefined ? {} : { cause }),
    });
  let response: Response;
  try {
    response = await fetch(url, { signal: options.signal });
  } catch (error) {
    throwIfAborted(options.signal);
    throw failed('could not be fetched: the server was not reached, or does not allow this page to read it', error);
  }
  if (!response.ok) throw failed(`could not be fetched: HTTP ${response.status} ${response.statusText}`.trimEnd());
  if (isHtml(response)) throw failed('is a web page, not a model: check the address');
  // with a content encoding, the length is that of the compressed bytes and the stream gives the others
  const length = response.headers.has('content-encoding') ? null : response.headers.get('content-length');
  const total = length === null ? undefined : Number(length);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let loaded = 0;
  try {
    const reader = response.body?.getReader();
    for (let part = await reader?.read(); part !== undefined && !part.done; part = await reader?.read()) {
      parts.push(part.value);
      loaded += part.value.byteLength;
      options.onProgress(loaded, total);
    }
  } catch (error) {
    throwIfAborted(options.signal);
    throw failed(`could not be fetched: the connection ended after ${loaded} bytes`, error);
  }
  throwIfAborted(options.signal);
  const start = new TextDecoder('latin1').decode(parts[0]?.subarray(0, 64)).trimStart();
  if (loaded === 0) throw failed('is empty');
  if (start.startsWith('<')) throw failed('is a web page, not a model: check the address');
  if (start.startsWith('version https://git-lfs')) throw failed('is a Git LFS pointer, not the model itself');
  return new Blob(parts);
}

function isHtml(response: Response): boolean {
  return response.headers.get('content-type')?.includes('text/html') ?? false;
}

function besideModel(model: URL | string | Blob | Uint8Array<ArrayBufferLike>): URL | undefined {
  if (model instanceof Blob || model instanceof Uint8Array) return undefined;
  const url = new URL(model, globalThis.location?.href);
  if (!url.pathname.endsWith('.onnx')) return undefined;
  url.pathname = url.pathname.replace(/\.onnx$/, '.json');
  return url;
}

/** The Cache API is missing on pages without HTTPS and refused in some private windows. */
async function openCache(): Promise<Cache | undefined> {
  return globalThis.caches?.open(cacheName).catch(() => undefined);
}

async function checkIntegrity(blob: Blob, sha256: string, what: string): Promise<void> {
  const actual = await digest(blob);
  if (actual === sha256.toLowerCase()) return;
  throw new WhylightError(
    'MODEL_INTEGRITY',
    `${what} is not the expected file: its SHA-256 is ${actual}, expected ${sha256.toLowerCase()}.`,
    { details: { expected: sha256.toLowerCase(), actual } },
  );
}

async function digest(blob: Blob): Promise<string> {
  if (globalThis.crypto?.subtle === undefined) {
    throw new WhylightError('MODEL_INTEGRITY', 'SHA-256 can be checked only on pages served over HTTPS or localhost.');
  }
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
