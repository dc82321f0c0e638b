import { WhylightError } from '../errors.js';
import type { Graph, NamedValue, Node } from './graph.js';

/** Names that a node reads: its inputs, and what its subgraphs (the branches of an If) take from outside. */
export function readsOf(node: Node): string[] {
  const reads = node.inputs.filter((name) => name !== '');
  for (const attribute of node.attributes.values()) {
    if (attribute.kind === 'graph') reads.push(...freeNames(attribute.value));
  }
  return reads;
}

/** Names that a subgraph reads but does not define. */
export function freeNames(graph: Graph): Set<string> {
  const defined = new Set<string>([...graph.initializers.keys(), ...graph.inputs.map((input) => input.name)]);
  for (const node of graph.nodes) for (const name of node.outputs) defined.add(name);
  const free = new Set<string>();
  const read = (name: string): void => {
    if (!defined.has(name)) free.add(name);
  };
  for (const node of graph.nodes) readsOf(node).forEach(read);
  for (const output of graph.outputs) read(output.name);
  return free;
}

/**
 * Nodes in topological order; an order that is topological already is kept, so that files read as they were written.
 * Throws MODEL_CORRUPT naming a node of a cycle, or a tensor that two nodes write.
 */
export function sortNodes(nodes: readonly Node[]): readonly Node[] {
  const producers = new Map<string, number>();
  for (const [index, node] of nodes.entries()) {
    for (const name of node.outputs) {
      if (name === '') continue;
      const other = producers.get(name);
      if (other !== undefined) {
        throw new WhylightError(
          'MODEL_CORRUPT',
          `Nodes "${nodes[other]!.name}" and "${node.name}" both write tensor "${name}".`,
          { details: { node: node.name, tensor: name } },
        );
      }
      producers.set(name, index);
    }
  }
  const needs = nodes.map((node) => readsOf(node).flatMap((name) => producers.get(name) ?? []));
  const sorted: Node[] = [];
  const state = new Uint8Array(nodes.length); // 0 unseen, 1 on the path, 2 done
  for (let root = 0; root < nodes.length; root++) {
    // depth-first with its own stack: a network of thousands of layers must not overflow the call stack
    const stack = [{ index: root, next: 0 }];
    if (state[root] === 2) continue;
    state[root] = 1;
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const need = needs[top.index]![top.next++];
      if (need === undefined) {
        state[top.index] = 2;
        sorted.push(nodes[top.index]!);
        stack.pop();
      } else if (state[need] === 0) {
        state[need] = 1;
        stack.push({ index: need, next: 0 });
      } else if (state[need] === 1) {
        const name = nodes[need]!.name;
        throw new WhylightError('MODEL_CORRUPT', `Node "${name}" depends on its own output.`, {
          details: { node: name },
        });
      }
    }
  }
  return sorted;
}

/**
 * Checks that every tensor that is read is defined, and defined once; subgraphs included.
 * Throws MODEL_CORRUPT naming node and tensor.
 */
export function checkGraph(graph: Graph): void {
  checkInside(graph, new Set());
}

/** `defined` has the names of enclosing graphs, and has no more than these afterwards. */
function checkInside(graph: Graph, defined: Set<string>): void {
  const own: string[] = [];
  const define = (name: string): void => {
    if (defined.has(name)) return;
    defined.add(name);
    own.push(name);
  };
  for (const name of graph.initializers.keys()) define(name);
  checkOnce(graph.inputs, 'Input');
  for (const { name } of graph.inputs) define(name);
  for (const node of graph.nodes) {
    for (const name of node.inputs) {
      if (name !== '' && !defined.has(name)) throw undefinedTensor(`Node "${node.name}" (${node.op}) reads`, name);
    }
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === 'graph') checkInside(attribute.value, defined);
    }
    for (const name of node.outputs) {
      if (name === '') continue;
      if (defined.has(name)) {
        throw new WhylightError('MODEL_CORRUPT', `Node "${node.name}" writes tensor "${name}", which exists already.`, {
          details: { node: node.name, tensor: name },
        });
      }
      define(name);
    }
  }
  checkOnce(graph.outputs, 'Output');
  for (const { name } of graph.outputs) {
    if (!defined.has(name)) throw undefinedTensor(`The graph "${graph.name}" gives out`, name);
  }
  for (const name of own) defined.delete(name);
}

function checkOnce(values: readonly NamedValue[], role: string): void {
  const names = new Set<string>();
  for (const { name } of values) {
    if (names.has(name)) {
      throw new WhylightError('MODEL_CORRUPT', `${role} "${name}" is declared twice.`, { details: { tensor: name } });
    }
    names.add(name);
  }
}

function undefinedTensor(reader: string, name: string): WhylightError {
  return new WhylightError('MODEL_CORRUPT', `${reader} tensor "${name}", which nothing defines.`, {
    details: { tensor: name },
  });
}
