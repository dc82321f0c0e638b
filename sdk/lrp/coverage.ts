import { constantTensors } from '../graph/constant-tensors.js';
import type { Graph, Node } from '../graph/graph.js';
import type { ExplainedNode } from './backward.js';
import { forwardMultiplyAdds } from './emitter.js';
import { placementOf } from './placement.js';
import type { LayerReport, OffGpu } from './report.js';
import type { NodeRule } from './resolve.js';

/** A rule with its parameters, and the equation or paper that it comes from. */
type Described = readonly [description: string, source: string];

function described(rule: NodeRule | undefined, source: string): Described {
  if (rule === undefined) return ['moves with the data', source.replace(/: relevance moves with the data$/, '')];
  switch (rule.name) {
    case 'epsilon':
      return [`epsilon(${rule.epsilon})`, 'thesis 2.22'];
    case 'z':
      return ['z', 'thesis 2.10'];
    case 'alpha-beta':
      return [`alpha-beta(${rule.alpha}, ${rule.beta})`, 'thesis 2.24–2.26'];
    case 'z-plus':
      return ['z-plus', 'thesis 2.24–2.26 with α=1, β=0'];
    case 'gamma':
      return [`gamma(${rule.gamma})`, 'Montavon et al. 2019'];
    case 'flat':
      return ['flat', 'thesis 2.27'];
    case 'w-square':
      return ['w-square', 'thesis 2.28'];
    case 'z-box':
      return ['z-box', 'Montavon et al. 2017'];
    case 'gradient':
      return ['gradient', 'chain rule'];
    case 'deconvnet':
      return ['deconvnet', 'Zeiler and Fergus 2014'];
    case 'guided':
      return ['guided', 'Springenberg et al. 2015'];
    case 'rescale':
      return ['rescale', 'Shrikumar et al. 2017'];
    default:
      return [rule.name, source];
  }
}

const NO_RULE: Pick<LayerReport, 'rule' | 'description' | 'source' | 'backward'> = {
  rule: 'none',
  description: 'no relevance passes here',
  source: '',
  backward: 0,
};

const offGpu = ({ op, domain }: Pick<Node, 'op' | 'domain'>): boolean => placementOf(op, domain) !== 'gpu';

/** What a report says of one node of the canonical graph. */
export function layerReport(graph: Graph, node: Node, entry: ExplainedNode | undefined): LayerReport {
  const shape = (name: string | undefined): number[] => (graph.values.get(name ?? '')?.dims ?? []).map(Number);
  const outputShape = shape(node.outputs[0]);
  const constant = node.outputs.every((output) => constantTensors(graph).has(output));
  const ops = [node, ...(entry?.operators ?? []).map((op) => ({ op, domain: '' }))].filter(offGpu);
  const common = {
    name: node.name,
    operator: node.op,
    tensor: node.outputs[0] ?? '',
    inputShape: shape(node.inputs.find((input) => !constantTensors(graph).has(input))),
    outputShape,
    forward: forwardMultiplyAdds(graph, node),
    cpu: constant ? [] : [...new Set(ops.map(({ op }) => op))],
  };
  if (entry === undefined) return { ...common, ...NO_RULE };
  const [description, source] = described(entry.rule, entry.support.source);
  return {
    ...common,
    rule: entry.rule?.name ?? 'move',
    description,
    source,
    backward: entry.backward,
    ...(entry.depth === undefined ? {} : { depth: entry.depth }),
  };
}

/** The nodes of a compiled graph, and of the branches in it, that run with every frame. */
function* computed(graph: Graph): Generator<Node> {
  const constants = constantTensors(graph);
  for (const node of graph.nodes) {
    const branches = [...node.attributes.values()].flatMap(({ kind, value }) => (kind === 'graph' ? [value] : []));
    for (const branch of branches) yield* computed(branch);
    if (branches.length === 0 && !node.outputs.every((output) => constants.has(output))) yield node;
  }
}

/** Operators of a compiled graph that WebGPU leaves to the CPU, most frequent first. */
export function offGpuOf(graph: Graph): OffGpu[] {
  const counts = new Map<string, { operator: string; nodes: number; known: boolean }>();
  for (const node of computed(graph)) {
    if (!offGpu(node)) continue;
    const operator = node.domain === '' ? node.op : `${node.domain}.${node.op}`;
    const known = placementOf(node.op, node.domain) === 'cpu';
    counts.set(operator, { operator, nodes: (counts.get(operator)?.nodes ?? 0) + 1, known });
  }
  return [...counts.values()].sort((a, b) => b.nodes - a.nodes);
}
