// Writes what the compiler knows, from its own tables: the README's table of operators and docs/operators.md. With --check it only
// says whether they agree.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const readme = join(root, 'README.md');
const begin = '<!-- operators: written by .ci/support-table.mjs -->';
const end = '<!-- /operators -->';

const { outputFiles } = await build({
  stdin: {
    contents: `export { operators } from './sdk/lrp/operators/index.ts'; export { presets } from './sdk/lrp/presets.ts'; export { placementOf } from './sdk/lrp/placement.ts';
    export { writtenOut } from './sdk/graph/canonical/written-out.ts';`,
    resolveDir: root,
  },
  bundle: true,
  format: 'esm',
  platform: 'node',
  write: false,
});
const source = Buffer.from(outputFiles[0].contents).toString('base64');
const { operators, presets, placementOf, writtenOut } = await import(`data:text/javascript;base64,${source}`);

const code = (names) => names.map((name) => `\`${name}\``).join(', ');
const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
const cellsOf = ({ family, rules, source, limits }) => [family, code(rules), source, limits ?? ''];

// In the README, operators that are explained alike share a row.
const alike = new Map();
for (const [name, operator] of Object.entries(operators)) {
  const cells = cellsOf(operator);
  const key = cells.join('\u0000');
  alike.set(key, { cells, names: [...(alike.get(key)?.names ?? []), name] });
}
const overview = table(
  ['', 'ONNX operators', 'Rules (default first)', 'After', 'Limits'],
  [...alike.values()].map(({ cells: [family, ...others], names }) => [family, names.join(', '), ...others]),
);
const text = readFileSync(readme, 'utf8');
const [before, rest] = text.split(begin);
const after = rest?.split(end)[1];
if (after === undefined) throw new Error(`README.md lacks the markers ${begin} and ${end}.`);

const families = new Map();
for (const entry of Object.entries(operators)) {
  const [, { family }] = entry;
  families.set(family, [...(families.get(family) ?? []), entry]);
}
const reference = `<!-- written by .ci/support-table.mjs -->
# What the compiler explains

Thesis numbers are equations of Lapuschkin, *Opening the machine learning black box with Layer-wise Relevance Propagation* (2019).
An operator that is not here is an error that names the node: there is no silent fallback to the gradient.
The command \`whylight inspect MODEL.onnx\` prints what every node of a model gets, what it costs, and what WebGPU leaves to the CPU.

## Operators
${[...families]
  .map(
    ([family, entries]) => `
### ${family}

${table(
  ['ONNX operator', 'Rules (default first)', 'After', 'Forward under WebGPU', 'Limits'],
  entries
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, operator]) => {
      const [, rules, source, limits] = cellsOf(operator);
      const place = placementOf(name) === 'cpu' ? 'on the CPU' : '';
      return [name, rules === '' ? '—' : rules, source, place, limits];
    }),
)}
`,
  )
  .join('')}
## Written out

Operators in another form than the rules know are written as operators that stand above, before any rule is chosen; so are
LayerNorm and RMSNorm the other way round, where a file has them in small operators over the last axes. The report's notes say
what was recognised and merged.

${table(['ONNX operator', 'Becomes'], Object.entries(writtenOut))}

## Presets and methods

By name, or with options as \`{"method": NAME, …}\`; every one also takes \`stabilizer\`, \`bias\`, \`ties\`, \`gates\`, \`init\` and \`flatBelow\`.
Methods that give one value per pixel put it into the input's channels in equal parts, so that the sum over channels gives it back.

${table(
  ['Name', 'What it shows', 'Options of its own'],
  Object.entries(presets).map(([name, { description, options }]) => [`\`${name}\``, description, code(options ?? [])]),
)}
`;

const unplaced = Object.keys(operators).filter((name) => placementOf(name) === 'unknown');
if (unplaced.length > 0) {
  console.error(`Where WebGPU runs ${unplaced.join(', ')} is not in sdk/lrp/placement.ts: add a model to test/reference/operator-models.ts
and run test/browser/placement.test.ts, which tries it.`);
  process.exitCode = 1;
}

const wanted = new Map([
  [readme, `${before}${begin}\n${overview}\n${end}${after}`],
  [join(root, 'docs/operators.md'), reference],
]);
for (const [path, content] of wanted) {
  if (existsSync(path) && readFileSync(path, 'utf8') === content) continue;
  if (!process.argv.includes('--check')) writeFileSync(path, content);
  else {
    console.error(`${path} does not say what the compiler can: run node .ci/support-table.mjs`);
    process.exitCode = 1;
  }
}
