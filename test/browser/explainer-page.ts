import type { ExplainerOptions, ExplainFrameOptions } from '../../sdk/index.js';
import type { PageOptions, TestBrowser, TestPage } from './chromium.js';
import { smallModel } from './explainer-model.js';

/** What a page can say about one explained frame by plain data. */
interface Seen {
  readonly device: string;
  readonly logits: number[];
  readonly relevance: number[];
  readonly dims: readonly number[];
  readonly logit: number;
  readonly top: { readonly label: string; readonly probability: number; readonly logit: number };
  readonly target: readonly string[];
}

declare global {
  interface Window {
    /** a picture of stripes and a disc, always the same */
    picture: (width: number, height: number) => Promise<import('../../sdk/index.js').Frame & { closes: number }>;
    start: (options?: Partial<ExplainerOptions>) => Promise<import('../../sdk/index.js').Explainer>;
    see: (explainer: import('../../sdk/index.js').Explainer, options?: ExplainFrameOptions) => Promise<Seen>;
    failure: (promise: Promise<unknown>) => Promise<{ code: string; message: string; own: boolean }>;
    explainer: import('../../sdk/index.js').Explainer;
  }
}

/** Names of the small model's outputs. */
export const labels = ['ant', 'bee', 'cat', 'dog', 'eel'];

/** A page with the small model and a few helpers, which a function that runs in the page cannot import. */
export async function openExplainerPage(browser: TestBrowser, options: PageOptions = {}): Promise<TestPage> {
  const opened = await browser.open(options);
  const { page } = opened;
  await page.route('**/models/small.onnx', (route) =>
    route.fulfill({ body: Buffer.from(smallModel()), contentType: 'application/octet-stream' }),
  );
  await page.route('**/models/small.json', (route) => route.fulfill({ json: { labels, input: { fit: 'stretch' } } }));
  await page.evaluate(() => {
    window.picture = async (width, height) => {
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext('2d')!;
      for (let x = 0; x < width; x += 8) {
        context.fillStyle = `rgb(${(x * 7) % 256} ${(x * 13) % 256} ${(x * 29) % 256})`;
        context.fillRect(x, 0, 8, height);
      }
      context.fillStyle = 'orange';
      context.arc(width / 3, height / 2, height / 4, 0, 7);
      context.fill();
      const image = await createImageBitmap(canvas);
      const now = performance.now();
      const fields = { timestamp: 40_000, captured: now, width, height, rotation: 0, dropped: 0, image } as const;
      const frame = {
        ...fields,
        closes: 0,
        close() {
          frame.closes++;
          image.close();
        },
      };
      return frame;
    };
    window.start = (options = {}) => window.whylight.createExplainer({ model: '/models/small.onnx', ...options });
    window.see = async (explainer, options) => {
      const result = await explainer.explainFrame(await window.picture(96, 64), options);
      const relevance = result.relevance.picture;
      return {
        device: result.device,
        logits: [...(result.outputs.logits?.data ?? [])],
        relevance: [...(relevance?.data ?? [])],
        dims: relevance?.dims ?? [],
        logit: result.logit,
        top: result.topK[0]!,
        target: result.target.labels,
      };
    };
    window.failure = (promise) =>
      promise.then(
        () => ({ code: 'none', message: '', own: false }),
        (error) => ({ code: error.code, message: error.message, own: error instanceof window.whylight.WhylightError }),
      );
  });
  return opened;
}
