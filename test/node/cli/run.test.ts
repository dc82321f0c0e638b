import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../../sdk/cli/run.js';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { int, ints } from '../../../sdk/graph/graph.js';
import type { CompileReport } from '../../../sdk/lrp/report.js';

let folder: string;
const file = (name: string): string => join(folder, name);

/** A convolution, a ReLU, an average and `softmax`'d scores, with an open batch and open sizes. */
function classifier(operator = 'Relu'): Uint8Array {
  const builder = createBuilder();
  builder.input('image', 'float32', ['N', 2, 'H', 'W']);
  const kernel = builder.initializer('kernel', floatTensor(new Float32Array(3 * 2 * 9).fill(0.1), [3, 2, 3, 3]));
  const features = builder.node(operator, [builder.node('Conv', ['image', kernel], { kernel_shape: ints([3, 3]) })]);
  const scores = builder.node('Flatten', [builder.node('GlobalAveragePool', [features])], {}, { outputs: ['scores'] });
  builder.node('Softmax', [scores], {}, { outputs: ['probabilities'] });
  builder.output('probabilities', 'float32', ['N', 3]);
  return encodeModel(modelOf(builder.graph));
}

async function whylight(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await run(args, { write: (text) => (out += text) }, { write: (text) => (err += text) });
  return { code, out, err };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whylight-'));
  await writeFile(file('model.onnx'), classifier());
  await writeFile(file('strange.onnx'), classifier('Hardmax'));
  await writeFile(file('page.onnx'), '<!doctype html><title>404</title>');
});
afterAll(() => rm(folder, { recursive: true }));

describe('whylight compile', () => {
  it('writes a model with target and relevance, and a report', async () => {
    const { code, out } = await whylight(
      'compile',
      file('model.onnx'),
      '--out',
      file('out.onnx'),
      ...['--input-shape', 'image=1x2x8x6', '--composite', 'epsilon', '--taps', 'scores', '--gated', '--audit'],
      ...['--report', file('report.json')],
    );
    expect(out).toContain('out.onnx');
    expect(code).toBe(0);
    const { graph } = decodeModel(await readFile(file('out.onnx')));
    expect(graph.inputs.map(({ name, dims }) => [name, dims])).toEqual([
      ['image', [1, 2, 8, 6]],
      ['target', [1, 3]],
      ['explain', []],
    ]);
    expect(graph.outputs.map((output) => output.name)).toEqual([
      'probabilities',
      'scores',
      'relevance/image',
      'relevance/scores',
      'conservation',
      'absorbed',
      'balance',
    ]);
    const report = JSON.parse(await readFile(file('report.json'), 'utf8')) as CompileReport;
    expect(report.explained).toEqual({ output: 'probabilities', logits: 'scores', shape: [1, 3] });
    // 3 kernels of 2×3×3 at 6×4 places
    expect(report.layers.find((layer) => layer.operator === 'Conv')?.forward).toBe(3 * 18 * 24);
  });

  it('fixes inputs, which the compiled model has no more', async () => {
    const builder = createBuilder();
    builder.input('image', 'float32', [1, 3]);
    builder.input('scale', 'float32', [3]);
    builder.input('rows', 'int64', [1]);
    const scaled = builder.node('Mul', ['image', 'scale']);
    const rows = builder.node('Concat', ['rows', builder.ints([3])], { axis: int(0) });
    builder.node('Expand', [scaled, rows], {}, { outputs: ['y'] });
    builder.output('y', 'float32', ['rows', 3]);
    await writeFile(file('open.onnx'), encodeModel(modelOf(builder.graph)));
    const compile = (...values: string[]) =>
      whylight(
        'compile',
        file('open.onnx'),
        '--out',
        file('fixed.onnx'),
        ...values.flatMap((one) => ['--input-value', one]),
      );
    expect((await compile('rows=2', 'scale=1,0.5,-2')).err).toBe('');
    const { graph } = decodeModel(await readFile(file('fixed.onnx')));
    expect(graph.inputs.map(({ name }) => name)).toEqual(['image', 'target']);
    expect(graph.outputs.find(({ name }) => name === 'y')!.dims).toEqual([2, 3]);
    expect((await compile('rows=2', 'scale=1,2')).err).toMatch(/2 values for input "scale"/);
    expect((await compile('rows=two')).code).toBe(2);
  });

  it('takes a composite from a file', async () => {
    await writeFile(file('flat.json'), JSON.stringify({ rules: [{ match: { op: 'Conv' }, rule: 'flat' }] }));
    const { code, out } = await whylight(
      ...['inspect', file('model.onnx'), '--input-shape', 'image=1x2x8x6', '--composite', file('flat.json')],
    );
    expect(code).toBe(0);
    expect(out).toMatch(/Conv +flat +thesis 2\.27/);
  });

  it('takes the target as the seed, and where the decomposition ends from a composite file', async () => {
    await writeFile(file('shallow.json'), JSON.stringify({ method: 'epsilon-plus', flatBelow: 0 }));
    const options = ['--input-shape', 'image=1x2x8x6', '--composite', file('shallow.json')];
    const compiled = async (...seed: string[]) => {
      const { code } = await whylight('compile', file('model.onnx'), '--out', file('seed.onnx'), ...options, ...seed);
      expect(code).toBe(0);
      return decodeModel(await readFile(file('seed.onnx'))).graph.nodes.filter(({ inputs }) =>
        inputs.includes('scores'),
      );
    };
    const [asComposite, logits, relevance] = [
      await compiled(),
      await compiled('--seed', 'logits'),
      await compiled('--seed', 'relevance'),
    ];
    expect(logits.map(({ op }) => op)).toEqual(asComposite.map(({ op }) => op));
    // nothing multiplies the target with the logits any more
    expect(logits.some(({ op }) => op === 'Mul')).toBe(true);
    expect(relevance.some(({ op }) => op === 'Mul')).toBe(false);
    const { out } = await whylight('inspect', file('model.onnx'), ...options);
    expect(out).toMatch(/Conv +flat +thesis 2\.27/);
  });

  it('inspects what every node gets, what it costs, and what WebGPU leaves to the CPU', async () => {
    const options = ['--input-shape', 'image=1x2x8x6', '--composite', 'epsilon-plus'];
    const all = await whylight('inspect', file('model.onnx'), ...options);
    expect(all.out).toContain('all of the graph runs on the GPU');
    expect(all.out).not.toContain('on the CPU');
    await writeFile(file('selu.onnx'), classifier('Selu'));
    const { out } = await whylight('inspect', file('selu.onnx'), ...options);
    expect(out).toMatch(/Conv +z-plus +thesis 2\.24.* 1×2×8×6 → 1×3×6×4 +0 +1\.30 k +\d/);
    expect(out).toMatch(/Selu +pass +thesis 2\.37 .* Selu\n/);
    expect(out).toContain('on the CPU, with a copy each way: 1 × Selu');
    const json = await whylight('inspect', file('selu.onnx'), '--json', ...options);
    const report = JSON.parse(json.out) as CompileReport;
    expect(report.offGpu).toEqual([{ operator: 'Selu', nodes: 1, known: true }]);
    expect(report.layers.map(({ operator, source, cpu }) => [operator, source, cpu])).toContainEqual([
      'Selu',
      'thesis 2.37',
      ['Selu'],
    ]);
  });

  it.each([
    ['an operator without a rule', ['strange.onnx', '--input-shape', 'image=1x2x8x6'], /Hardmax/],
    ['a page instead of a model', ['page.onnx'], /html/i],
    ['a file that is not there', ['nowhere.onnx'], /cannot be read/],
    ['an open dimension', ['model.onnx'], /image/],
    ['a composite that is not known', ['model.onnx', '--composite', 'beta'], /epsilon-plus-flat/],
  ])('says in one sentence what is wrong with %s', async (_, [name, ...options], sentence) => {
    const { code, out, err } = await whylight('compile', file(name!), '--out', file('never.onnx'), ...options);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(sentence);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
    await expect(readFile(file('never.onnx'))).rejects.toThrow();
  });

  it.each([
    ['no command', []],
    ['an unknown command', ['explain', 'model.onnx']],
    ['no model', ['inspect']],
    ['no --out', ['compile', 'model.onnx']],
    ['an unknown option', ['inspect', 'model.onnx', '--fast']],
    ['a shape that is none', ['inspect', 'model.onnx', '--input-shape', 'image=1x0']],
    ['a seed that is none', ['inspect', 'model.onnx', '--seed', 'one']],
    ['--json beside a report in a file', ['compile', 'model.onnx', '--out', 'out.onnx', '--json']],
    ['a target that is none', ['inspect', 'model.onnx', '--target', 'cuda']],
  ])('answers %s with the usage', async (_, args) => {
    const { code, err } = await whylight(...args);
    expect(code).toBe(2);
    expect(err).toContain('usage: whylight compile');
  });
});
