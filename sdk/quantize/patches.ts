import type { Graph } from '../graph/graph.js';
import { intAttribute, intsAttribute, sizeOf } from '../graph/graph.js';
import type { LinearLayer } from '../graph/linear-layer.js';
import { staticTypeOf } from '../graph/shapes.js';

/** How numbers that are multiplied with the weights of an output vary together: `columns` of them, at `count` places. */
export interface Moments {
  readonly columns: number;
  /** Sum of each. */
  readonly sums: Float64Array;
  /** Sum of the product of every two, row by row; only on and above the diagonal. */
  readonly products: Float64Array;
  count: number;
}

/** The inputs of a layer at places where its kernel was laid. */
export interface Patches {
  /**
   * The moments of each group's inputs, in the order of the weights of an output. Long sums are taken apart, as if their parts did
   * not vary together.
   */
  readonly groups: readonly (readonly Moments[])[];
  /** Takes places from the data of one frame; none once there are enough. */
  take(values: Float32Array): void;
}

/** Most numbers whose products are kept: time grows with the square. */
const LONGEST = 288;

/** Places that are taken of a frame, and in all. */
const PLACES = { frame: 128, all: 2048 };

/** The share of the golden section, whose multiples lie evenly between 0 and 1 however many there are. */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** Patches of a convolution, or rows of a product of matrices. */
export function patchesOf(graph: Graph, layer: LinearLayer): Patches {
  const { node, weight, inputs, outputs } = layer;
  const isConv = node.op === 'Conv';
  const data = staticTypeOf(graph, node.inputs[0]!).dims;
  const groupCount = isConv ? intAttribute(node, 'group', 1) : 1;
  const kernel = isConv ? weight.dims.slice(2) : [];
  // rows of a matrix are pictures of one pixel
  const space = isConv ? data.slice(2) : [];
  const places = isConv ? staticTypeOf(graph, node.outputs[0]!).dims.slice(2) : [];
  const axes = kernel.map((_, axis) => axis);
  const [strides, dilations, pads] = ['strides', 'dilations', 'pads'].map((name, index) =>
    intsAttribute(node, name, index === 2 ? axes.map(() => 0) : axes.map(() => 1)),
  ) as [readonly number[], readonly number[], readonly number[]];
  const batch = sizeOf(data) / (inputs * sizeOf(space));
  const perPlane = sizeOf(space);
  const perGroup = sizeOf(weight.dims) / outputs;
  const window = sizeOf(kernel);
  const groups = Array.from({ length: groupCount }, () => momentsOf(perGroup));
  const patch = new Float64Array(perGroup * groupCount);
  const count = batch * sizeOf(places);
  let taken = 0;

  /** The numbers under the kernel at a place, 0 beyond the border. */
  const read = (values: Float32Array, place: number): void => {
    const at = coordinates(place, [batch, ...places]);
    for (let k = 0; k < window; k++) {
      let offset = 0;
      let isInside = true;
      const step = coordinates(k, kernel);
      for (const axis of axes) {
        const position = at[axis + 1]! * strides[axis]! - pads[axis]! + step[axis]! * dilations[axis]!;
        isInside &&= position >= 0 && position < space[axis]!;
        offset = offset * space[axis]! + position;
      }
      for (let channel = 0; channel < inputs; channel++) {
        patch[channel * window + k] = isInside ? values[(at[0]! * inputs + channel) * perPlane + offset]! : 0;
      }
    }
  };
  return {
    groups,
    take(values) {
      const wanted = Math.min(PLACES.frame, count, PLACES.all - taken);
      for (let index = 0; index < wanted; index++, taken++) {
        read(values, wanted === count ? index : Math.floor(((taken * GOLDEN) % 1) * count));
        for (const [group, parts] of groups.entries()) {
          let from = group * perGroup;
          for (const moments of parts) {
            addTo(moments, patch.subarray(from, from + moments.columns));
            from += moments.columns;
          }
        }
      }
    },
  };
}

function momentsOf(columns: number): readonly Moments[] {
  const parts = Math.ceil(columns / LONGEST);
  return Array.from({ length: parts }, (_, part): Moments => {
    const own = Math.floor(((part + 1) * columns) / parts) - Math.floor((part * columns) / parts);
    return { columns: own, sums: new Float64Array(own), products: new Float64Array(own * own), count: 0 };
  });
}

function addTo(moments: Moments, values: Float64Array): void {
  const { columns, sums, products } = moments;
  for (let row = 0; row < columns; row++) {
    const value = values[row]!;
    // after a ReLU every other
    if (value === 0) continue;
    sums[row]! += value;
    for (let column = row, at = row * columns + row; column < columns; column++, at++) {
      products[at]! += value * values[column]!;
    }
  }
  moments.count++;
}

/** The indices of the element at a flat position. */
function coordinates(position: number, dims: readonly number[]): number[] {
  const indices = new Array<number>(dims.length);
  let rest = position;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    indices[axis] = rest % dims[axis]!;
    rest = Math.floor(rest / dims[axis]!);
  }
  return indices;
}
