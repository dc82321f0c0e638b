/** Where a node of a compiled graph runs under WebGPU; `unknown` for operators that have not been tried. */
export type Placement = 'gpu' | 'cpu' | 'unknown';

const names = (text: string): readonly string[] => text.trim().split(/\s+/);

/**
 * Where onnxruntime-web 1.30 runs the operators of the default domain when a session is opened for WebGPU. What it has no kernel for
 * runs on the CPU without a word, with a copy each way. Every line is tried on a real session by test/browser/placement.test.ts.
 */
const PLACES: ReadonlyMap<string, Placement> = new Map([
  ...names(`
    Celu Selu Softsign Shrink Sign Round Mod IsNaN IsInf Or Xor
    GroupNormalization MeanVarianceNormalization LRN Hardmax LogSoftmax
    Sum GlobalLpPool LpPool SpaceToDepth RoiAlign ReverseSequence Compress NonZero OneHot EyeLike Det STFT RNN
    QuantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger
    Bernoulli RandomNormalLike`).map((op): [string, Placement] => [op, 'cpu']),
  ...names(`
    Conv ConvTranspose Gemm MatMul Einsum LSTM GRU
    BatchNormalization InstanceNormalization LayerNormalization RMSNormalization SimplifiedLayerNormalization
    LpNormalization Softmax
    Abs Ceil Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Pow PRelu Reciprocal Relu Sigmoid
    Softplus Sqrt Tanh ThresholdedRelu Sin Cos Tan Sinh Cosh Asin Acos Atan
    AveragePool MaxPool GlobalAveragePool GlobalMaxPool
    ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp
    Add Sub Mul Div Max Min Equal Greater GreaterOrEqual Less LessOrEqual And Not Where Cast
    Concat Expand Flatten Gather GatherElements GatherND Identity Dropout Pad Reshape Slice Split Squeeze Unsqueeze
    Transpose Tile Trilu ScatterElements ScatterND TopK ArgMax ArgMin CumSum
    Resize DepthToSpace GridSample DFT DequantizeLinear`).map((op): [string, Placement] => [op, 'gpu']),
]);

/** Where WebGPU runs an operator; of other domains than ONNX's own nothing is known. */
export function placementOf(op: string, domain = ''): Placement {
  return (domain === '' ? PLACES.get(op) : undefined) ?? 'unknown';
}

/** All operators whose place is known. */
export const placedOperators: ReadonlySet<string> = new Set(PLACES.keys());
