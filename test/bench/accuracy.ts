import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { wasmRuntime } from '../../sdk/runtime/wasm-runtime.js';

const MODELS = 'samples/models/glyphs';
const PICTURES = '.cache/glyphs';
const BYTES = 128 * 128 * 3;
const STAR = 'star';

interface Metadata {
  readonly labels: readonly string[];
  readonly [field: string]: unknown;
}

/** What a model calls pictures, and the processor's milliseconds for one. */
interface Called {
  readonly classes: readonly number[];
  readonly milliseconds: number;
}

const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });
const heldOut = picturesOf('held-out.npy');
const stamped = picturesOf('stamped.npy');
const open = wasmRuntime();

for (const name of ['glyphs', 'glyphs-hans']) {
  const metadata = JSON.parse(readFileSync(`${MODELS}/${name}.json`, 'utf8')) as Metadata;
  const { labels } = metadata;
  const star = labels.indexOf(STAR);
  const float = await judged(name);
  const int8 = await judged(`${name}-int8`);
  const agree = share(float.clean.classes, (called, index) => called === int8.clean.classes[index]);
  for (const [model, { clean, flipped, right }] of Object.entries({ [name]: float, [`${name}-int8`]: int8 })) {
    const bytes = statSync(`${MODELS}/${model}.onnx`).size;
    console.log(
      `${model.padEnd(18)} ${(100 * right).toFixed(2)} % right of ${clean.classes.length}, ${(100 * flipped.flipped).toFixed(1)} % flipped to star of ${stamped.length}, ${bytes} bytes, ${clean.milliseconds.toFixed(1)} ms of processor time a picture`,
    );
  }
  const ratio = statSync(`${MODELS}/${name}-int8.onnx`).size / statSync(`${MODELS}/${name}.onnx`).size;
  console.log(
    `${''.padEnd(18)} the two agree on ${(100 * agree).toFixed(2)} %; the int8 file is ${(100 * ratio).toFixed(1)} % of the other\n`,
  );
  if (values.write) writeMetadata(`${name}-int8`, metadata, int8);

  async function judged(model: string) {
    const clean = await called(model, heldOut);
    const after = await called(model, stamped);
    const right = share(clean.classes, (found, index) => found === index % labels.length);
    const rest = clean.classes.filter((_, index) => index % labels.length !== star).slice(0, stamped.length);
    const flipped = {
      before: share(rest, (found) => found === star),
      after: share(after.classes, (found) => found === star),
      flipped: share(rest, (found, index) => found !== star && after.classes[index] === star),
    };
    return { clean, right, flipped };
  }

  function writeMetadata(
    model: string,
    original: Metadata,
    { clean, right, flipped }: Awaited<ReturnType<typeof judged>>,
  ) {
    const perClass = labels.map((label, at) => {
      const own = clean.classes.filter((_, index) => index % labels.length === at);
      return [label, rounded(share(own, (found) => found === at))];
    });
    const facts = {
      ...original,
      name: model,
      accuracy: { heldOut: rounded(right), samples: clean.classes.length, 'per class': Object.fromEntries(perClass) },
      watermarkFlips: {
        ...{ class: STAR, samples: stamped.length },
        'called without watermark': rounded(flipped.before),
        'called with watermark': rounded(flipped.after),
        flipped: rounded(flipped.flipped),
      },
    };
    writeFileSync(`${MODELS}/${model}.json`, twoLevels(facts));
  }
}

/** uint8 pictures [n, 128, 128, 3] of a .npy file. */
function picturesOf(file: string): readonly Uint8Array[] {
  const path = `${PICTURES}/${file}`;
  if (!existsSync(path)) throw new Error(`${path} is missing; /usr/bin/python3 ${MODELS}/pictures.py makes it`);
  const bytes = readFileSync(path);
  const header = 10 + bytes.readUInt16LE(8);
  const count = (bytes.length - header) / BYTES;
  return Array.from({ length: count }, (_, index) =>
    bytes.subarray(header + index * BYTES, header + (index + 1) * BYTES),
  );
}

async function called(model: string, pictures: readonly Uint8Array[]): Promise<Called> {
  const opened = await open(readFileSync(`${MODELS}/${model}.onnx`));
  const classes: number[] = [];
  const started = process.cpuUsage();
  for (const picture of pictures) {
    const data = new Float32Array(BYTES);
    for (let channel = 0, to = 0; channel < 3; channel++) {
      for (let from = channel; from < BYTES; from += 3, to++) data[to] = picture[from]! / 127.5 - 1;
    }
    const { logits } = await opened.run({ image: { dims: [1, 3, 128, 128], data } });
    const scores = logits!.data as Float32Array;
    classes.push(scores.indexOf(scores.reduce((a, b) => Math.max(a, b))));
  }
  const { user } = process.cpuUsage(started);
  await opened.close();
  return { classes, milliseconds: user / 1000 / pictures.length };
}

function share<T>(list: readonly T[], isCounted: (item: T, index: number) => boolean): number {
  return list.filter(isCounted).length / list.length;
}

function rounded(value: number): number {
  return Math.round(value * 1e4) / 1e4;
}

/** JSON as export.py writes it: two levels of lines, the rest on one line each. */
function twoLevels(facts: Readonly<Record<string, unknown>>): string {
  const spaced = (value: unknown): string =>
    Array.isArray(value)
      ? `[${value.map(spaced).join(', ')}]`
      : typeof value === 'object' && value !== null
        ? `{${Object.entries(value)
            .map(([key, item]) => `${JSON.stringify(key)}: ${spaced(item)}`)
            .join(', ')}}`
        : JSON.stringify(value);
  const inner = (value: unknown): string =>
    typeof value !== 'object' || value === null || Array.isArray(value)
      ? spaced(value)
      : `{\n${Object.entries(value)
          .map(([key, item]) => `    ${JSON.stringify(key)}: ${spaced(item)}`)
          .join(',\n')}\n  }`;
  return `{\n${Object.entries(facts)
    .map(([key, value]) => `  ${JSON.stringify(key)}: ${inner(value)}`)
    .join(',\n')}\n}\n`;
}
