// A static file server in one file: right MIME types, byte ranges (players and demuxers ask for them), and the headers
// that a page needs to use threads and to be sure that nothing leaves the device.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';
import { pipeline } from 'node:stream';

const types = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.mov': 'video/quicktime',
  '.mp4': 'video/mp4',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webm': 'video/webm',
  '.webmanifest': 'application/manifest+json',
};

/** Nothing from elsewhere, no inline script or style; WebAssembly may be compiled, a user's file read by its blob: address. */
export const contentSecurityPolicy = [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self' blob: data:",
  "img-src 'self' blob: data:",
  "media-src 'self' blob:",
  "style-src 'self'",
].join('; ');

/** Makes a page cross-origin isolated, without which it has no SharedArrayBuffer and WASM no threads. */
export const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

/**
 * Serves folders by path prefix.
 *
 * @param {{
 *   mounts: Record<string, string>,
 *   pages?: Record<string, { type: string, body: string }>,
 *   headers?: (url: URL) => Record<string, string>,
 *   port?: number,
 * }} options `mounts` maps a prefix such as `/` or `/dist/` to a folder; `pages` are served from memory; port 0 takes a free one
 * @returns {Promise<{ origin: string, close: () => Promise<void> }>}
 */
export async function serveStatic({ mounts, pages = {}, headers = () => ({}), port = 0 }) {
  const prefixes = Object.keys(mounts).sort((a, b) => b.length - a.length);
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const always = { 'Cache-Control': 'no-cache', 'X-Content-Type-Options': 'nosniff', ...headers(url) };
    const page = pages[url.pathname];
    if (page !== undefined) {
      response.writeHead(200, { ...always, 'Content-Type': page.type });
      response.end(page.body);
      return;
    }
    const file = await locate(url.pathname);
    if (file === undefined || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(file === undefined ? 404 : 405, { ...always, 'Content-Type': 'text/plain; charset=utf-8' });
      response.end(file === undefined ? `There is no ${url.pathname} here.\n` : 'Only GET and HEAD.\n');
      return;
    }
    const common = {
      ...always,
      'Content-Type': types[extname(file.path).toLowerCase()] ?? 'application/octet-stream',
      'Accept-Ranges': 'bytes',
      'Last-Modified': new Date(file.modified).toUTCString(),
    };
    const range = byteRange(request.headers.range, file.size);
    if (range === 'unsatisfiable') {
      response.writeHead(416, { ...common, 'Content-Range': `bytes */${file.size}` });
      response.end();
      return;
    }
    const [start, end] = range ?? [0, file.size - 1];
    response.writeHead(range === undefined ? 200 : 206, {
      ...common,
      'Content-Length': end - start + 1,
      ...(range === undefined ? {} : { 'Content-Range': `bytes ${start}-${end}/${file.size}` }),
    });
    if (request.method === 'HEAD' || file.size === 0) response.end();
    // a reader that goes away in the middle is no error of ours
    else pipeline(createReadStream(file.path, { start, end }), response, () => {});
  });

  async function locate(pathname) {
    let decoded;
    try {
      decoded = decodeURIComponent(pathname);
    } catch {
      return undefined;
    }
    const prefix = prefixes.find((candidate) => decoded.startsWith(candidate));
    if (prefix === undefined || decoded.includes('\0')) return undefined;
    const folder = normalize(mounts[prefix] + sep);
    let path = normalize(join(folder, decoded.slice(prefix.length)));
    if (!path.startsWith(folder)) return undefined;
    if (path.endsWith(sep)) path = join(path, 'index.html');
    const found = await stat(path).catch(() => undefined);
    return found?.isFile() ? { path, size: found.size, modified: found.mtimeMs } : undefined;
  }

  await new Promise((resolve, reject) => {
    server.once('error', reject);
    // this computer only: what is shown may be a camera's picture
    server.listen(port, 'localhost', resolve);
  });
  const address = server.address();
  return {
    origin: `http://localhost:${typeof address === 'object' && address !== null ? address.port : port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** One range is enough for every reader that we know; several at once are answered with the whole file, as HTTP allows. */
function byteRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  const start = match[1] === '' ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === '' || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  return start > end || start >= size ? 'unsatisfiable' : [start, end];
}
