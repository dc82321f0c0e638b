import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WhylightError } from '../../../sdk/errors.js';
import { openMetadata, openModel } from '../../../sdk/runtime/model-file.js';

const bytes = Uint8Array.of(8, 7, 18, 0, 1, 2, 3, 4);
const sha256 = 'b9f6b93ed3ff8d4e1d09d3e0b0c8ff2cb7ee5ba6d4e3bb21aa7e6ad1b4ff4bd1';

const answers: Record<string, (response: ServerResponse) => void> = {
  '/good.onnx': (response) => response.setHeader('content-length', bytes.length).end(bytes),
  '/chunked.onnx': (response) => {
    response.write(bytes.subarray(0, 3));
    setTimeout(() => response.end(bytes.subarray(3)), 20);
  },
  '/html.onnx': (response) => response.setHeader('content-type', 'text/html; charset=utf-8').end('<!doctype html>'),
  '/untyped.onnx': (response) => response.end('\n <html><body>Not found</body></html>'),
  '/pointer.onnx': (response) => response.end('version https://git-lfs.github.com/spec/v1\noid sha256:0\n'),
  '/empty.onnx': (response) => response.end(),
  '/cut.onnx': (response) => {
    response.setHeader('content-length', 1000);
    response.write(bytes);
    setTimeout(() => response.destroy(), 20);
  },
  '/endless.onnx': (response) => {
    response.setHeader('content-length', 1e9);
    const timer = setInterval(() => response.write(bytes), 5);
    response.on('close', () => {
      closed++;
      clearInterval(timer);
    });
  },
  '/good.json': (response) => response.end('{"labels": ["a"]}'),
  '/html.json': (response) => response.setHeader('content-type', 'text/html').end('<!doctype html>'),
  '/wrong.json': (response) => response.end('{"labels": 3}'),
  '/broken.json': (response) => response.end('{"labels": '),
};

let server: Server;
let origin: string;
let closed = 0;
beforeAll(async () => {
  server = createServer((request, response) => {
    const answer = answers[request.url?.split('?')[0] ?? ''];
    if (answer === undefined) response.writeHead(404, 'Not Found').end('no');
    else answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  origin = `http://localhost:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const never = new AbortController().signal;
const fetchModel = (path: string, more: Partial<Parameters<typeof openModel>[1]> = {}) =>
  openModel(`${origin}${path}`, { cache: false, onProgress: () => undefined, signal: never, ...more });
const fails = (promise: Promise<unknown>) =>
  promise.then(
    () => 'nothing was thrown',
    (error: unknown) => (error instanceof WhylightError ? `${error.code}: ${error.message}` : `foreign: ${error}`),
  );

test('the bytes arrive, with progress', async () => {
  const progress: [number, number | undefined][] = [];
  const blob = await fetchModel('/good.onnx', { onProgress: (...step) => progress.push(step) });
  expect(new Uint8Array(await blob.arrayBuffer())).toEqual(bytes);
  expect(progress.at(-1)).toEqual([8, 8]);
});

test('without a length the total is not known', async () => {
  const progress: [number, number | undefined][] = [];
  await fetchModel('/chunked.onnx', { onProgress: (...step) => progress.push(step) });
  expect(progress).toEqual([
    [3, undefined],
    [8, undefined],
  ]);
});

test.each([
  ['/missing.onnx', 'HTTP 404 Not Found'],
  ['/html.onnx', 'is a web page, not a model'],
  ['/untyped.onnx', 'is a web page, not a model'],
  ['/pointer.onnx', 'is a Git LFS pointer'],
  ['/empty.onnx', 'is empty'],
  ['/cut.onnx', 'the connection ended after 8 bytes'],
])('%s: %s', async (path, sentence) => {
  const failure = await fails(fetchModel(path));
  expect(failure).toMatch(/^MODEL_FETCH: /);
  expect(failure).toContain(sentence);
  expect(failure).toContain(path);
});

test('a server that is not there', async () => {
  const options = { cache: false, onProgress: () => undefined, signal: never };
  expect(await fails(openModel('http://localhost:1/x.onnx', options))).toMatch(/^MODEL_FETCH: .*was not reached/);
});

test('aborting ends the download, also before it begins', async () => {
  const abort = new AbortController();
  const failure = await fails(
    fetchModel('/endless.onnx', {
      signal: abort.signal,
      onProgress: (loaded) => {
        if (loaded > 30) abort.abort();
      },
    }),
  );
  expect(failure).toMatch(/^ABORTED/);
  await expect.poll(() => closed).toBe(1);
  expect(await fails(fetchModel('/good.onnx', { signal: AbortSignal.abort() }))).toMatch(/^ABORTED/);
});

test('the SHA-256 is checked wherever the bytes come from', async () => {
  const digest = Buffer.from(await crypto.subtle.digest('SHA-256', bytes)).toString('hex');
  expect((await fetchModel('/good.onnx', { sha256: digest.toUpperCase() })).size).toBe(8);
  expect(await fails(fetchModel('/good.onnx', { sha256 }))).toMatch(/^MODEL_INTEGRITY: .*good\.onnx.*expected b9f6/);
  const given = openModel(bytes, { cache: false, onProgress: () => undefined, signal: never, sha256 });
  expect(await fails(given)).toMatch(/^MODEL_INTEGRITY/);
  expect(await fails(fetchModel('/good.onnx', { sha256: 'abc' }))).toMatch(/^OPTION_INVALID: "sha256"/);
});

test('metadata lie next to the model, if anywhere', async () => {
  const beside = (path: string) => openMetadata(undefined, `${origin}${path}`, never);
  expect(await beside('/good.onnx?version=2')).toEqual({ labels: ['a'] });
  expect(await beside('/missing.onnx')).toEqual({});
  expect(await beside('/html.onnx')).toEqual({});
  expect(await beside('/good.ort')).toEqual({});
  expect(await openMetadata(undefined, bytes, never)).toEqual({});
  expect(await fails(beside('/wrong.onnx'))).toMatch(/^METADATA_INVALID: .*wrong\.json: "labels"/);
});

test('metadata that are asked for must be there', async () => {
  const given = (path: string) => fails(openMetadata(`${origin}${path}`, bytes, never));
  expect(await given('/missing.json')).toMatch(/^METADATA_INVALID: .*HTTP 404/);
  expect(await given('/html.json')).toMatch(/^METADATA_INVALID: .*is not JSON/);
  expect(await given('/broken.json')).toMatch(/^METADATA_INVALID: .*is not JSON/);
  expect(await fails(openMetadata({ output: 3 } as never, bytes, never))).toMatch(/^METADATA_INVALID: .*"output"/);
});
