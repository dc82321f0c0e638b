// Drives a real Chromium from a test that runs in Node. One browser per test file:
//
//   let browser: TestBrowser;
//   beforeAll(async () => { browser = await openChromium(); });
//   afterAll(() => browser.close());
//
//   test('…', async () => {
//     const { page, complaints } = await browser.open();          // an empty page with the SDK as `window.whylight`
//     const error = await page.evaluate(() => new window.whylight.WhylightError('ABORTED', '…').code);
//     expect(complaints()).toEqual([]);                           // no console errors, CSP violations, foreign requests
//   });
//
// A function given to `page.evaluate` runs in the page: it can use `window.whylight` and its argument, and nothing that the
// test file imports. Arguments and results are plain data; send large arrays back as base64 or as a plain array.
//
// The server gives out the repository's dist/ (also as /dist/live/, the demo page), test/ and samples/, each under its own
// name, so a model is fetched from '/samples/models/glyphs/glyphs.onnx' and a page of yours lies in test/browser/. Every
// answer has the content security policy of the demo page; `isolated` pages (the default) have SharedArrayBuffer.
// A page that is opened can be tested without isolation, in the dark, or at a phone's size; see PageOptions.
//
// WebGPU is there through SwiftShader, a software GPU: right, but slow. `camera` replaces the camera by a .y4m or .mjpeg
// file and grants permission; without it there is a fake camera with Chromium's own test picture.
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { contentSecurityPolicy, isolation, serveStatic } from '../../samples/live/static-server.mjs';
import { findChromium } from './executable.mjs';

declare global {
  interface Window {
    /** the built SDK, in pages opened with {@link TestBrowser.open} without a path */
    whylight: typeof import('../../sdk/index.js');
  }
}

/** Settings of the browser itself. */
export interface BrowserOptions {
  /** false leaves WebGPU off, as in a browser without it; default true */
  readonly webgpu?: boolean;
  /** true: the browser composes its pages on the software GPU as well, without which no VideoFrame reaches WebGPU; default false */
  readonly composed?: boolean;
  /** a .y4m or .mjpeg file to show as the camera's picture, relative to the repository */
  readonly camera?: string;
  /** false: the browser asks for permission and nobody answers yes; default true */
  readonly permission?: boolean;
  /** further command line switches */
  readonly args?: readonly string[];
}

/** Settings of one page. */
export interface PageOptions {
  /** address below the server's root; default an empty page with `window.whylight` */
  readonly path?: string;
  /** COOP and COEP headers, and so SharedArrayBuffer; default true */
  readonly isolated?: boolean;
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: 'light' | 'dark';
  readonly reducedMotion?: 'reduce' | 'no-preference';
  readonly touch?: boolean;
}

/** A page and what went wrong in it. */
export interface TestPage {
  readonly page: Page;
  /** console errors, uncaught exceptions, violations of the security policy and requests to another origin, as sentences */
  complaints(): readonly string[];
  /** all console output so far, for a test that failed */
  output(): readonly string[];
  close(): Promise<void>;
}

/** A running browser with a server behind it. */
export interface TestBrowser {
  /** address of the server, e.g. `http://localhost:41234` */
  readonly origin: string;
  readonly browser: Browser;
  open(options?: PageOptions): Promise<TestPage>;
  close(): Promise<void>;
}

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const quiet = [
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-default-apps',
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--autoplay-policy=no-user-gesture-required',
];

const softwareGpu = [
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan',
  '--use-webgpu-adapter=swiftshader',
  '--use-vulkan=swiftshader',
];

const composed = ['--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'];

/** Starts the server and a headless Chromium. */
export async function openChromium(options: BrowserOptions = {}): Promise<TestBrowser> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error('There is no Chromium on this machine; set CHROME_PATH to one.');
  const server = await startServer();
  const args = [
    ...quiet,
    ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ...(options.webgpu === false ? ['--disable-gpu'] : softwareGpu),
    ...(options.composed === true ? composed : []),
    '--use-fake-device-for-media-stream',
    ...((options.permission ?? true) ? ['--use-fake-ui-for-media-stream'] : []),
    ...(options.camera === undefined ? [] : [`--use-file-for-fake-video-capture=${existingFile(options.camera)}`]),
    ...(options.args ?? []),
  ];
  const browser = await chromium.launch({ executablePath, args, headless: true });
  return {
    origin: server.origin,
    browser,
    open: (pageOptions = {}) => openPage(browser, server.origin, pageOptions),
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

function existingFile(path: string): string {
  const absolute = resolve(root, path);
  if (!existsSync(absolute)) throw new Error(`There is no ${absolute} to show as the camera's picture.`);
  return absolute;
}

/** `?isolated=no` on a page's address leaves the isolation headers off. */
function startServer(): ReturnType<typeof serveStatic> {
  return serveStatic({
    mounts: {
      '/dist/': join(root, 'dist'),
      '/test/': join(root, 'test'),
      '/samples/': join(root, 'samples'),
    },
    pages: {
      '/blank.html': {
        type: 'text/html; charset=utf-8',
        body: '<!doctype html><meta charset="utf-8"><title>test</title><link rel="icon" href="data:,"><script type="module" src="/blank.js"></script>',
      },
      '/blank.js': {
        type: 'text/javascript; charset=utf-8',
        body: "import * as whylight from '/dist/whylight.js';\nwindow.whylight = whylight;\n",
      },
      '/favicon.ico': { type: 'image/x-icon', body: '' },
    },
    headers: (url) => ({
      'Content-Security-Policy': contentSecurityPolicy,
      ...(url.searchParams.get('isolated') === 'no' ? {} : isolation),
    }),
  });
}

async function openPage(browser: Browser, origin: string, options: PageOptions): Promise<TestPage> {
  const context = await browser.newContext({
    viewport: { width: options.width ?? 1280, height: options.height ?? 800 },
    colorScheme: options.colorScheme ?? 'light',
    reducedMotion: options.reducedMotion ?? 'no-preference',
    hasTouch: options.touch ?? false,
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  const output: string[] = [];
  page.on('console', (message) => {
    const { url } = message.location();
    output.push(`${message.type()}: ${message.text()} (${url})`);
    // violations of the security policy arrive here as well, as errors
    if (message.type() === 'error') complaints.push(`console: ${message.text()} (${url})`);
  });
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.stack ?? error.message}`));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.origin !== origin && !['blob:', 'data:'].includes(url.protocol)) complaints.push(`request: ${url.href}`);
  });
  const address = new URL(options.path ?? '/blank.html', origin);
  if (options.isolated === false) address.searchParams.set('isolated', 'no');
  await page.goto(address.href);
  if (options.path === undefined) await page.waitForFunction(() => window.whylight !== undefined);
  return {
    page,
    complaints: () => [...complaints],
    output: () => [...output],
    close: () => context.close(),
  };
}

/** Gives the page's origin the camera, or takes it away, as a person does in the browser's address bar. */
export async function allowCamera(page: Page, allowed: boolean): Promise<void> {
  const devtools = await page.context().newCDPSession(page);
  const { targetInfo } = await devtools.send('Target.getTargetInfo');
  const root = await page.context().browser()!.newBrowserCDPSession();
  const { browserContextId } = targetInfo;
  await root.send('Browser.setPermission', {
    permission: { name: 'camera' },
    setting: allowed ? 'granted' : 'denied',
    origin: new URL(page.url()).origin,
    ...(browserContextId === undefined ? {} : { browserContextId }),
  });
  await root.detach();
  await devtools.detach();
}
