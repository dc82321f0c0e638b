import { readFile } from 'node:fs/promises';
import * as ort from 'onnxruntime-web/wasm';
import { decodeModel } from '../../sdk/graph/decode.js';
import { compileExplanation } from '../../sdk/lrp/compile.js';
import type { Integers } from '../../sdk/quantize/options.js';
import { quantize } from '../../sdk/quantize/quantize.js';
import { wasmRuntime } from '../../sdk/runtime/wasm-runtime.js';
import { countOf, optimizedNodes } from '../reference/optimized.js';
import { seeded } from '../reference/random.js';
import { network } from './networks.js';

/** A quantized model against the float32 model that it was made from, on one thread. Times are CPU time in milliseconds, the least of all runs. */
export interface IntegerTimes {
  readonly network: string;
  readonly integers: Integers;
  readonly composite: string;
  /** the models alone */
  readonly float: number;
  readonly int8: number;
  /** the compiled int8 graph with `explain: false`, over the int8 model */
  readonly forwardOverPlain: number;
  /** forward and relevance, int8 over float32 */
  readonly explainedInt8: number;
  readonly explainedFloat: number;
  readonly int8OverFloat: number;
  /** integer kernels, and convolutions in float32, in the graph that the runtime makes of the model alone, and of the compiled one */
  readonly kernels: string;
  readonly compiledKernels: string;
  readonly runs: number;
}

const KERNELS = /^QLinear|^QGemm|Integer|^DynamicQuantizeMatMul|^(Fused)?Conv$/;

const kernelsOf = async (model: Uint8Array): Promise<string> =>
  Object.entries(countOf(await optimizedNodes(model), KERNELS))
    .map(([op, count]) => `${count} ${op}`)
    .join(', ');

async function modelNamed(name: string): Promise<Uint8Array> {
  if (name !== 'glyphs') return network(name as Parameters<typeof network>[0]).model;
  return new Uint8Array(await readFile('samples/models/glyphs/glyphs.onnx'));
}

interface Timed {
  readonly session: ort.InferenceSession;
  readonly feeds: Record<string, ort.Tensor>;
  best: number;
}

/** Times `int8` against `float32` for the networks and composites given: sessions of one group take turns, so that they share what disturbs them. */
export async function integerTimes(
  names: readonly string[],
  composites: readonly string[],
  runs: number,
  integers: Integers,
): Promise<readonly IntegerTimes[]> {
  ort.env.wasm.numThreads = 1;
  const rows: IntegerTimes[] = [];
  for (const name of names) {
    const float = await modelNamed(name);
    const { graph } = decodeModel(float);
    const dims = graph.inputs[0]!.dims.map((dim) => (typeof dim === 'number' ? dim : 1));
    const input = graph.inputs[0]!.name;
    const size = dims.reduce((product, dim) => product * dim, 1);
    const random = seeded(7);
    const picture = (): Float32Array => Float32Array.from({ length: size }, () => random());
    const frames = Array.from({ length: 4 }, () => ({ [input]: { dims, data: picture() } }));
    const { model: int8 } = await quantize(float, frames, {
      ...{ open: wasmRuntime(), integers },
      ...{ method: 'min-max', equalize: false },
    });
    const open = async (model: Uint8Array, more: Record<string, ort.Tensor> = {}): Promise<Timed> => ({
      session: await ort.InferenceSession.create(model, { logSeverityLevel: 3 }),
      feeds: { [input]: new ort.Tensor('float32', picture(), dims), ...more },
      best: Number.POSITIVE_INFINITY,
    });
    for (const composite of composites) {
      const options = {
        ...{ composite, target: 'wasm' as const },
        ...{ inputRanges: { [input]: [0, 1] as const }, inputShapes: { [input]: dims } },
      };
      const gated = compileExplanation(int8, { ...options, gated: true });
      const { shape } = gated.report.explained;
      const outputs = shape.reduce((product, dim) => product * dim, 1);
      const target = new ort.Tensor('float32', new Float32Array(outputs), shape);
      const explain = (yes: boolean): ort.Tensor => new ort.Tensor('bool', [yes], []);
      const timed = [
        await open(float),
        await open(int8),
        await open(gated.model, { target, explain: explain(false) }),
        await open(compileExplanation(int8, options).model, { target }),
        await open(compileExplanation(float, options).model, { target }),
      ] as const;
      for (let run = 0; run < runs; run++) {
        for (const one of timed) {
          const before = process.cpuUsage();
          const results = await one.session.run(one.feeds);
          const { user, system } = process.cpuUsage(before);
          one.best = Math.min(one.best, (user + system) / 1000);
          for (const result of Object.values(results)) result.dispose();
        }
      }
      for (const { session } of timed) await session.release();
      const [plainFloat, plainInt8, forward, explainedInt8, explainedFloat] = timed.map(({ best }) => best) as [
        ...[number, number, number, number, number],
      ];
      rows.push({
        ...{ network: name, integers, composite, float: plainFloat, int8: plainInt8 },
        forwardOverPlain: forward / plainInt8,
        ...{ explainedInt8, explainedFloat, int8OverFloat: explainedInt8 / explainedFloat },
        kernels: await kernelsOf(int8),
        compiledKernels: await kernelsOf(gated.model),
        runs,
      });
    }
  }
  return rows;
}
