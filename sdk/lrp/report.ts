import type { Composite, RuleName } from './composite.js';
import type { DerivedWeights } from './derived-weights.js';

/** Where the compiled graph is going to run; it decides between equivalent forms of an operator. */
export type LoweringTarget = 'any' | 'wasm' | 'webgpu';

/** What relevance starts at. */
export type RelevanceSeed = 'logits' | 'relevance';

/** Settings of {@link compileExplanation}. */
export interface CompileOptions {
  /** preset name, rules or method; default `epsilon-plus-flat` */
  readonly composite?: Composite;
  /** static shapes for inputs whose dimensions the file leaves open, by input name; a leading open dimension is 1 where nothing is said */
  readonly inputShapes?: Readonly<Record<string, readonly number[]>>;
  /**
   * inputs that have one value once and for all, by input name: one number for all elements, or one for each in row-major order. They
   * are no inputs of the compiled model. A sample rate or a flag that decides an `If` is fixed so
   */
  readonly inputValues?: Readonly<Record<string, number | readonly number[]>>;
  /** the output to explain, by name; default the first */
  readonly output?: string;
  /** what relevance starts at: `logits` ⊙ `target`, or the target itself as the `relevance` of the explained output; default as the composite says (LRP: `logits`, gradients: `relevance`). A sample whose target is all zeros starts at its strongest output either way */
  readonly seed?: RelevanceSeed;
  /** inner tensors whose relevance becomes an output `relevance/<tensor>` */
  readonly taps?: readonly string[];
  /** adds the bool input `explain`; false skips the backward pass */
  readonly gated?: boolean;
  /** adds the outputs `conservation`, `absorbed` and `balance`, of which `balanceOf` makes rows */
  readonly audit?: boolean;
  /** inputs known to lie in a range, by input name; spares the signed form of a rule where the lower end is ≥ 0 */
  readonly inputRanges?: Readonly<
    Record<string, readonly [low: number | readonly number[], high: number | readonly number[]]>
  >;
  /** default `any` */
  readonly target?: LoweringTarget;
  /** of the inputs and outputs of a model in half or double precision: its own (default), or `float32`, in which the graph computes anyway */
  readonly types?: 'own' | 'float32';
  /** whether weights that rules derive from the model's own are computed at session start (`derive`, the smaller file) or stored (`store`, the faster start); default `derive` */
  readonly derivedWeights?: DerivedWeights;
  /** files that tensors of the model point to, by their `location` */
  readonly externalData?: Readonly<Record<string, Uint8Array>>;
}

/** One node of the model in a {@link CompileReport}. */
export interface LayerReport {
  /** the node's name, or its first output's where the file gives none */
  readonly name: string;
  /** ONNX operator in the canonical graph */
  readonly operator: string;
  /** the node's first output, by the name that {@link CompileOptions.taps} takes */
  readonly tensor: string;
  /** the rule in use; `move` carries relevance along with the data, `none` gets no relevance */
  readonly rule: RuleName | 'move' | 'none';
  /** the rule with its parameters, e.g. `epsilon(0.25)` */
  readonly description: string;
  /** the equation or paper that the rule comes from, e.g. `thesis 2.22`; empty where no relevance passes */
  readonly source: string;
  /** shape of the node's first input */
  readonly inputShape: readonly number[];
  /** shape of the node's first output */
  readonly outputShape: readonly number[];
  /** multiply-adds of the forward operation */
  readonly forward: number;
  /** multiply-adds that the relevance of this layer adds */
  readonly backward: number;
  /** operators of this node, forward or backward, that ONNX Runtime's WebGPU runs on the CPU, or of which that is not known */
  readonly cpu: readonly string[];
  /** depth in weighted layers (0 = input side), undefined for layers without weights */
  readonly depth?: number;
}

/** An operator of a compiled graph that does not run on the GPU under WebGPU. */
export interface OffGpu {
  /** its name, with its domain where that is not ONNX's own */
  readonly operator: string;
  /** how many nodes of the compiled graph it has that run with every frame */
  readonly nodes: number;
  /** false where nobody has tried where WebGPU runs it */
  readonly known: boolean;
}

/** What was compiled: one row per node of the canonical graph, in forward order. */
export interface CompileReport {
  /** every node of the canonical graph, in forward order */
  readonly layers: readonly LayerReport[];
  /** the model's inputs with the shapes it was compiled for */
  readonly inputs: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** the explained tensor (the logits under a terminal Softmax) and its shape, which is `target`'s shape */
  readonly explained: { readonly output: string; readonly logits: string; readonly shape: readonly number[] };
  /** multiply-adds of the forward pass */
  readonly forward: number;
  /** multiply-adds of the backward pass */
  readonly backward: number;
  /** what ONNX Runtime's WebGPU leaves to the CPU, with a copy each way; empty where all of the graph runs on the GPU */
  readonly offGpu: readonly OffGpu[];
  /** canonical form: what was merged, folded or removed, as sentences */
  readonly notes: readonly string[];
  /** names of the steps of the outputs `conservation`, `absorbed` and `balance`, from output to input; empty without `audit` */
  readonly steps: readonly string[];
}

/** What {@link compileExplanation} returns: an ONNX file and what is in it. */
export interface CompiledExplanation {
  /** the ONNX file that computes outputs and relevance */
  readonly model: Uint8Array;
  /** which rule explains which layer, and what it costs */
  readonly report: CompileReport;
}
