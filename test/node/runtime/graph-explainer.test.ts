import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { matchModels } from '../../../sdk/evaluation/model-match.js';
import { createBuilder, floatTensor, modelOf } from '../../../sdk/graph/builder.js';
import { encodeModel } from '../../../sdk/graph/encode.js';
import { compileExplanation } from '../../../sdk/lrp/compile.js';
import type { CompileOptions } from '../../../sdk/lrp/report.js';
import { type GraphFeeds, openGraph } from '../../../sdk/runtime/graph-explainer.js';
import { wasmRuntime } from '../../../sdk/runtime/wasm-runtime.js';
import { explanationDrift } from '../../../sdk/stream/explanation-drift.js';
import { cosine, spearman, topOverlap } from '../../reference/agreement.js';
import { readNpy } from '../../reference/npy.js';
import { readCase, referenceFolder } from '../lrp/reference-cases.js';

/** logits = x · W + b with two inputs' sum as x. */
function linear(): Uint8Array {
  const g = createBuilder();
  g.input('left', 'float32', [1, 2]);
  g.input('right', 'float32', [1, 2]);
  const weight = g.initializer('w', floatTensor([1, -1, 2, 3], [2, 2]));
  g.node('Gemm', [g.node('Add', ['left', 'right']), weight], {}, { outputs: ['logits'] });
  g.output('logits', 'float32', [1, 2]);
  return encodeModel(modelOf(g.graph));
}

const opened = (options: CompileOptions = {}) =>
  openGraph(
    compileExplanation(linear(), { composite: { rules: [{ match: {}, rule: 'z' }] }, ...options }),
    wasmRuntime(),
    {
      labels: ['cat', 'dog'],
    },
  );
const vector = (...data: number[]) => ({ dims: [1, 2], data: Float32Array.from(data) });
const feeds = (timestamp: number, ...left: number[]): GraphFeeds => ({
  timestamp,
  inputs: { left: vector(...left), right: vector(1, 1) },
});

describe('a compiled graph explains what it is fed', () => {
  it.each([
    ['as it is', {}],
    ['gated, with an audit', { gated: true, audit: true }],
  ])('%s', async (_, options) => {
    const graph = await opened(options);
    // x = (2, 1): logits 1·2 + 2·1 = 4 and −1·2 + 3·1 = 1
    const both = [graph.explainFrame(feeds(7, 1, 0)), graph.explainFrame(feeds(8, 1, 0), { target: 'dog' })];
    const [strongest, dog] = await Promise.all(both);
    expect(strongest).toMatchObject({ timestamp: 7, logit: 4, target: { indices: [0], labels: ['cat'] } });
    expect(strongest!.topK.map(({ label }) => label)).toEqual(['cat', 'dog']);
    expect(Object.keys(strongest!.outputs)).toEqual(['logits']);
    expect(dog).toMatchObject({ timestamp: 8, logit: 1, target: { indices: [1] } });
    // −2 of the first input and +3 of the second, each shared by the two summands as they are
    const { left, right } = dog!.relevance;
    expect([...left!.data, ...right!.data].map((value) => Math.round(value * 1e4) / 1e4)).toEqual([-1, 0, -1, 3]);
    await graph.close();
  });

  it('says which input or target is wrong, and goes on', async () => {
    const graph = await opened();
    const { left } = feeds(0, 1, 0).inputs;
    await expect(graph.explainFrame({ timestamp: 0, inputs: { left: left! } })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      details: { input: 'right' },
    });
    await expect(graph.explainFrame(feeds(0, 1, 0), { target: 'cow' })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    });
    await expect(
      graph.explainFrame({
        timestamp: 0,
        inputs: { left: vector(1, 1), right: { dims: [2], data: new Float32Array(2) } },
      }),
    ).rejects.toMatchObject({ code: 'SESSION_FAILED' });
    expect((await graph.explainFrame(feeds(1, 1, 0))).logit).toBe(4);
    await graph.close();
  });
});

const folder = `${referenceFolder}/vgg_qdq`;

test.skipIf(!existsSync(folder))(
  'a network and its quantized form agree as their relevance by another implementation does (skipped without ../shared/reference)',
  async () => {
    const { composite } = readCase('vgg_qdq', 'epsilon_plus');
    const input = readNpy(`${folder}/input.npy`);
    const targets = readNpy(`${folder}/targets.npy`);
    const [float64, quantized64] = ['float', 'qdq'].map((name) =>
      readNpy(`${folder}/epsilon_plus/relevance_${name}.npy`),
    );
    const shape = [1, ...input.dims.slice(1)];
    const size = shape.reduce((product, dim) => product * dim);
    const compile = (file: string, taps: readonly string[] = []) =>
      compileExplanation(new Uint8Array(readFileSync(`${folder}/${file}`)), {
        composite,
        inputShapes: { input: shape },
        taps,
      });
    const match = matchModels(compile('model.onnx').report, compile('model_qdq.onnx').report);
    expect(match.layers.map(({ matchedBy }) => matchedBy)).toEqual(new Array(6).fill('name'));
    expect(match.unmatched).toEqual({ reference: [], compared: [] });
    const [float, quantized] = [
      await openGraph(
        compile(
          'model.onnx',
          match.layers.map((layer) => layer.reference),
        ),
        wasmRuntime(),
      ),
      await openGraph(
        compile(
          'model_qdq.onnx',
          match.layers.map((layer) => layer.compared),
        ),
        wasmRuntime(),
      ),
    ];
    for (const [place, target] of [...targets.data].entries()) {
      const sample = Math.floor(place / 2);
      const data = Float32Array.from(input.data.slice(sample * size, (sample + 1) * size));
      const frames = [{ timestamp: place, inputs: { input: { dims: shape, data } } }];
      const drift = explanationDrift(float, quantized, frames, { target, requireLayers: true });
      // the other implementation's relevance of this sample and target, channels summed
      const pixels = (relevance: Float64Array): number[] =>
        Array.from({ length: 1024 }, (_, pixel) =>
          [0, 1, 2].reduce((total, channel) => total + relevance[place * size + channel * 1024 + pixel]!, 0),
        );
      const [a, b] = [pixels(float64!.data as Float64Array), pixels(quantized64!.data as Float64Array)];
      for await (const { drift: frame } of drift) {
        expect(frame.map.cosine).toBeCloseTo(cosine(a, b), 4);
        expect(frame.map.spearman).toBeCloseTo(spearman(a, b), 3);
        // of a negative logit, no pixel speaks for the class
        if (frame.logit.reference < 0)
          expect([frame.map.top10, topOverlap(a, b, 0.1)]).toEqual([Number.NaN, Number.NaN]);
        else expect(frame.map.top10).toBeCloseTo(topOverlap(a, b, 0.1), 1);
        expect(frame.layers).toHaveLength(6);
        for (const { agreement } of frame.layers) expect(agreement.cosine).toBeGreaterThan(0.9);
      }
      expect((await drift.summary()).frames).toBe(1);
    }
    await Promise.all([float.close(), quantized.close()]);
  },
);
