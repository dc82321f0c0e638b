import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import { count, dense, filled } from '../../reference/dense.js';
import { pearson } from '../../reference/deviation.js';
import { readNpy } from '../../reference/npy.js';
import { runModel } from '../../reference/run.js';
import { referenceFolder } from './reference-cases.js';

const folder = `${referenceFolder}/vgg_qdq`;

async function relevance(file: string, method: string): Promise<Float64Array> {
  const inputs = readNpy(`${folder}/input.npy`);
  const shape = [1, ...inputs.dims.slice(1)];
  const { model, report } = compileExplanation(new Uint8Array(readFileSync(`${folder}/${file}`)), {
    composite: { method },
    inputShapes: { input: shape },
  });
  const outputs = await runModel(model, {
    input: dense(inputs.data.subarray(0, count(shape)), shape),
    target: filled(report.explained.shape, 0),
  });
  return outputs['relevance/input']!.data;
}

describe.skipIf(!existsSync(folder))('on a quantized network, as on the float one it was made from', () => {
  test.each([
    ['grad-cam', 0.999],
    ['guided-grad-cam', 0.99],
    ['sensitivity-l2', 0.97],
    ['integrated-gradients', 0.97],
    ['smoothgrad', 0.97],
    ['occlusion', 0.999],
  ])('%s correlates above %d', async (method, least) => {
    const [float, quantized] = [await relevance('model.onnx', method), await relevance('model_qdq.onnx', method)];
    expect(pearson(quantized, float)).toBeGreaterThan(least);
  });
});
