/** What the canonical form writes out as other operators, by name, and as what; for the documentation. */
export const writtenOut: Readonly<Record<string, string>> = {
  Einsum: 'sums, moves, and products of two factors at a time; diagonals and ellipses too',
  'Attention (23 and later)': 'products, mask, softmax; grouped heads, past keys, soft caps; no lengths per sequence',
  RotaryEmbedding: 'products with the cosines and sines, sums',
  Swish: 'x · σ(αx)',
  Mean: 'a share of the sum',
  ReduceLogSum: 'the logarithm of a sum',
  'Gemm, MatMul': 'vectors as matrices; computed weights and biases as products and sums; transposed activations',
  'Conv, ConvTranspose': 'a computed bias as a sum',
  Clip: 'computed bounds as a maximum and a minimum',
  'LSTM, GRU, RNN':
    'batch first as time first; with a bound, other activations, coupled gates, or sequences of their own lengths: step by step',
  'Loop, Scan': 'their steps, where their number is known when the model is compiled (`inputValues` fixes an input)',
  If: 'the branch that is taken, where the condition is known when the model is compiled',
  'com.microsoft FusedConv, FusedGemm, FusedMatMul, TransposeMatMul': 'the layer, its summand, its activation',
  'com.microsoft Gelu, BiasGelu, FastGelu, QuickGelu': 'the bias and the activation',
  'com.microsoft SkipLayerNormalization, SkipSimplifiedLayerNormalization': 'the sum and the normalisation',
  'com.microsoft Attention, MultiHeadAttention, RotaryEmbedding':
    'as above; masks of ones and zeros; queries, keys and values apart from each other',
  'QLinearConv, QLinearMatMul, com.microsoft QGemm, QLinearAdd, QLinearMul, QLinearConcat, QLinearWhere, QLinearLeakyRelu, QLinearSigmoid, QLinearSoftmax, QLinearAveragePool, QLinearGlobalAveragePool':
    'the layer of what the integers stand for, between DequantizeLinear and QuantizeLinear; on a CPU the node itself runs',
  'ConvInteger, MatMulInteger, com.microsoft DynamicQuantizeMatMul, MatMulIntegerToFloat':
    'the layer of the activation as quantized and the weight as dequantized; on a CPU the node itself runs',
  'DequantizeLinear in blocks or of 4 bits, com.microsoft MatMulNBits':
    'DequantizeLinear of rows with a scale each; constant weights, no g_idx; on a CPU the node itself runs',
  'com.microsoft QuantizeLinear, DequantizeLinear': 'those of ONNX',
};
