import { UnsupportedOperatorError } from '../../errors.js';
import type { Node } from '../graph.js';
import { attentionShapes } from './attention.js';
import type { ShapeRule } from './call.js';
import { einsumShapes } from './einsum.js';
import { elementwiseShapes } from './elementwise.js';
import { fusedShapes } from './fused.js';
import { indexingShapes } from './indexing.js';
import { linearShapes } from './linear.js';
import { movementShapes } from './movement.js';
import { normalizationShapes } from './normalization.js';
import { quantizationShapes } from './quantization.js';
import { recurrentShapes } from './recurrent.js';
import { reductionShapes } from './reduction.js';
import { windowShapes } from './window.js';

const table: ReadonlyMap<string, ShapeRule> = new Map(
  [
    attentionShapes,
    einsumShapes,
    elementwiseShapes,
    fusedShapes,
    indexingShapes,
    linearShapes,
    movementShapes,
    normalizationShapes,
    quantizationShapes,
    recurrentShapes,
    reductionShapes,
    windowShapes,
  ].flatMap((family) => Object.entries(family)),
);

const reasons: ReadonlyMap<string, string> = new Map([
  ...['NonZero', 'NonMaxSuppression', 'Unique', 'Compress'].map((op): [string, string] => [
    op,
    'the size of its output depends on the data; cut the model before it and explain its input',
  ]),
  ...['Loop', 'Scan'].map((op): [string, string] => [
    op,
    'loops inside the branches of an If that depends on data are not unrolled',
  ]),
]);

/** The shape rule of a node's operator. Throws {@link UnsupportedOperatorError} where there is none. */
export function shapeRuleOf(node: Node): ShapeRule {
  const rule = table.get(node.domain === '' ? node.op : `${node.domain}.${node.op}`);
  if (rule !== undefined) return rule;
  const reason = reasons.get(node.op) ?? 'the shape of its output is not known to Whylight';
  throw new UnsupportedOperatorError(node.name, node.op, `${reason}.`, node.domain);
}
