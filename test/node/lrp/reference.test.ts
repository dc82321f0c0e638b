import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { decodeModel } from '../../../sdk/graph/decode.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { Dense } from '../../reference/dense.js';
import { count, dense } from '../../reference/dense.js';
import { deviation, pearson } from '../../reference/deviation.js';
import { readNpy } from '../../reference/npy.js';
import { openModel, type RunnableModel } from '../../reference/run.js';
import { type ReferenceCase, referenceCases } from './reference-cases.js';

const cases = referenceCases();
if (cases.length === 0) console.log('The reference material beside the project is absent: its cases are skipped.');

const quantized = (one: ReferenceCase): boolean => one.network.endsWith('_qdq');
let worst = { title: 'none', ratio: 0 };
afterAll(() => {
  if (cases.length > 0) console.log(`Worst error / tolerance: ${worst.ratio.toFixed(3)} (${worst.title})`);
});

/** Runs the case's model for each input and target, one at a time, as its relevance was calculated. */
async function checkRelevance(
  one: ReferenceCase,
  modelFile: string,
  truth: { readonly relevance: string; readonly logits: string } = {
    relevance: one.files.relevance!,
    logits: one.files.logits!,
  },
): Promise<void> {
  const beside = (file: string): string => `${one.folder}/${file}`;
  const inputs = readNpy(beside(one.files.input!));
  const targets = readNpy(beside(one.files.targets!));
  const logits = readNpy(beside(truth.logits));
  const expected = readNpy(beside(truth.relevance));
  const [samples, perSample] = targets.dims as [number, number];
  const { explanation, input, output } = await opened(modelFile, one, [1, ...inputs.dims.slice(1)]);
  try {
    const size = count(inputs.dims.slice(1));
    const outputs = logits.dims[1]!;
    for (let sample = 0; sample < samples; sample++) {
      const x = dense(inputs.data.subarray(sample * size, (sample + 1) * size), [1, ...inputs.dims.slice(1)]);
      for (let t = 0; t < perSample; t++) {
        const chosen = sample * perSample + t;
        const result = await explanation.run({ [input]: x, target: oneHot(targets.data[chosen]!, outputs) });
        const title = `${one.network}/${one.name} ${modelFile}, input ${sample}, target ${targets.data[chosen]}`;
        const ours = result[`relevance/${input}`]!.data;
        const theirs = expected.data.subarray(chosen * size, (chosen + 1) * size);
        const ratio = deviation(ours, theirs) / one.tolerance.value;
        if (!(ratio <= worst.ratio)) worst = { title, ratio };
        expect(ratio, title).toBeLessThanOrEqual(1);
        // flat on a fully connected first layer: one value everywhere has no correlation
        if (theirs.some((value) => Math.abs(value - theirs[0]!) > 1e-9)) {
          expect(pearson(ours, theirs), title).toBeGreaterThanOrEqual(one.tolerance.pearson_min);
        }
        expect(
          deviation(result[output]!.data, logits.data.subarray(sample * outputs, (sample + 1) * outputs)),
        ).toBeLessThan(1e-4);
      }
    }
  } finally {
    await explanation.release();
  }
}

async function opened(
  modelFile: string,
  one: ReferenceCase,
  shape: readonly number[],
  taps: readonly string[] = [],
): Promise<{ explanation: RunnableModel; input: string; output: string }> {
  const bytes = new Uint8Array(readFileSync(`${one.folder}/../${modelFile}`));
  const { model, report } = compileExplanation(bytes, {
    composite: one.composite,
    inputShapes: { input: shape },
    ...(taps.length > 0 ? { taps } : {}),
  });
  return { explanation: await openModel(model), input: report.inputs[0]!.name, output: report.explained.output };
}

/** Tensors of the compiled graph, except for the explained one: its relevance is what it starts from. */
function tensorsOf(one: ReferenceCase, shape: readonly number[]): Set<string> {
  const bytes = new Uint8Array(readFileSync(`${one.folder}/../model.onnx`));
  const { model, report } = compileExplanation(bytes, { composite: one.composite, inputShapes: { input: shape } });
  const names = new Set(decodeModel(model).graph.nodes.flatMap((node) => node.outputs));
  names.delete(report.explained.logits);
  return names;
}

function oneHot(at: number, outputs: number): Dense {
  return dense(
    Array.from({ length: outputs }, (_, c) => (c === at ? 1 : 0)),
    [1, outputs],
  );
}

describe.skipIf(cases.length === 0)('relevance at the input', () => {
  test.each(cases.filter((one) => !quantized(one)).map((one) => [`${one.network}/${one.name}`, one] as const))(
    '%s',
    (_, one) => checkRelevance(one, 'model.onnx'),
  );
  test.each(
    cases.filter(({ network }) => network === 'resnet').map((one) => [`${one.network}/${one.name}`, one] as const),
  )('%s with its BatchNormalization nodes kept', (_, one) => checkRelevance(one, 'model_bn_unfused.onnx'));
  const integers = cases.filter(quantized).map((one) => [`${one.network}/${one.name}`, one] as const);
  test.each(integers)('%s: the quantized network', (_, one) => checkRelevance(one, 'model_qdq.onnx'));
  test.each(integers)('%s: the network it was made from', (_, { ...one }) =>
    checkRelevance(one, 'model.onnx', { relevance: one.files.relevance_float!, logits: one.files.logits_float! }),
  );
});

describe.skipIf(cases.length === 0)('relevance at inner tensors', () => {
  const layered = cases.filter((one) => one.layers !== undefined && !quantized(one));
  test.each(layered.map((one) => [`${one.network}/${one.name}`, one] as const))('%s', async (_, one) => {
    const layers = one.layers!;
    const inputs = readNpy(`${one.folder}/${one.files.input!}`);
    const targets = readNpy(`${one.folder}/${one.files.targets!}`);
    const logits = readNpy(`${one.folder}/${one.files.logits!}`);
    const expected = readNpy(`${one.folder}/${layers.file}`).data;
    const shape = [1, ...inputs.dims.slice(1)];
    const present = tensorsOf(one, shape);
    const taps = layers.tensors.map(({ tensor }) => tensor).filter((name) => present.has(name));
    // canonicalization may take a few away (a pooling over one element), never most
    expect(taps.length).toBeGreaterThan(layers.tensors.length / 2);
    const { explanation, input } = await opened('model.onnx', one, shape, taps);
    try {
      const size = count(shape);
      const start = layers.input_index * size;
      const result = await explanation.run({
        [input]: dense(inputs.data.subarray(start, start + size), shape),
        target: oneHot(targets.data[layers.input_index * targets.dims[1]! + layers.target_index]!, logits.dims[1]!),
      });
      for (const { tensor, shape: dims, offset } of layers.tensors) {
        if (!taps.includes(tensor)) continue;
        const ours = result[`relevance/${tensor}`]!;
        expect(ours.dims, tensor).toEqual(dims);
        const ratio = deviation(ours.data, expected.subarray(offset, offset + count(dims))) / one.tolerance.value;
        expect(ratio, tensor).toBeLessThanOrEqual(1);
      }
    } finally {
      await explanation.release();
    }
  });
});
