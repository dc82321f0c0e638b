import { globMatches } from '../graph/glob.js';
import type { Node } from '../graph/graph.js';
import type { Match, RuleName } from './composite.js';
import type { LayerOrder } from './depth.js';
import { invalid } from './invalid.js';
import type { NodeRule, ResolvedComposite } from './resolve.js';

function matches(match: Match, node: Node, order: LayerOrder): boolean {
  const listed = (value: string | readonly string[]): readonly string[] =>
    typeof value === 'string' ? [value] : value;
  const place = order.get(node);
  if (match.op !== undefined && !listed(match.op).includes(node.op)) return false;
  if (match.name !== undefined && !listed(match.name).some((glob) => globMatches(glob, node.name))) return false;
  if (match.first !== undefined && (place?.first ?? false) !== match.first) return false;
  if (match.last !== undefined && (place?.last ?? false) !== match.last) return false;
  if (match.depth !== undefined) {
    if (place === undefined || place.depth < match.depth[0] || place.depth > match.depth[1]) return false;
  }
  return true;
}

/**
 * The rule of a node: the first entry that matches and whose rule the operator knows, else the operator's default. An entry that
 * names the operator itself but asks for a rule that the operator does not know is an error (`COMPOSITE_INVALID`).
 */
export function ruleOf(
  node: Node,
  composite: ResolvedComposite,
  order: LayerOrder,
  known: readonly RuleName[],
  fallback: RuleName,
): NodeRule {
  const entry = composite.rules.find((candidate) => {
    if (!matches(candidate.match, node, order)) return false;
    if (known.includes(candidate.rule)) return true;
    if (candidate.match.op !== undefined) {
      invalid(
        'rules',
        `asks for "${candidate.rule}" at node "${node.name}", but ${node.op} knows ${known.join(', ')} only`,
        { node: node.name },
      );
    }
    return false;
  });
  const stabilizer = entry?.stabilizer ?? composite.stabilizer;
  const name = entry?.rule ?? fallback;
  return {
    name,
    stabilizer,
    bias: entry?.bias ?? composite.bias,
    ties: entry?.ties ?? composite.ties,
    gates: entry?.gates ?? composite.gates,
    epsilon: name === 'z' ? stabilizer : (entry?.epsilon ?? stabilizer),
    alpha: name === 'z-plus' ? 1 : (entry?.alpha ?? 2),
    beta: name === 'z-plus' ? 0 : (entry?.beta ?? -1),
    gamma: entry?.gamma ?? 0.25,
    low: entry?.low,
    high: entry?.high,
  };
}
