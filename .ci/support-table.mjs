// Writes the README's table of operators from the compiler's own table; with --check it only says whether they agree.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const readme = join(root, 'README.md');
const begin = '<!-- operators: written by .ci/support-table.mjs -->';
const end = '<!-- /operators -->';

const { outputFiles } = await build({
  entryPoints: [join(root, 'sdk/lrp/operators/index.ts')],
  bundle: true,
  format: 'esm',
  platform: 'node',
  write: false,
});
const source = Buffer.from(outputFiles[0].contents).toString('base64');
const { operators } = await import(`data:text/javascript;base64,${source}`);

// Operators that are explained alike share a row.
const rows = new Map();
for (const [name, { family, rules, source, limits }] of Object.entries(operators)) {
  const cells = [family, rules.map((rule) => `\`${rule}\``).join(', '), source, limits ?? ''];
  const key = cells.join('\u0000');
  rows.set(key, { cells, names: [...(rows.get(key)?.names ?? []), name] });
}
const table = [
  '| | ONNX operators | Rules (default first) | After | Limits |',
  '|---|---|---|---|---|',
  ...[...rows.values()].map(
    ({ cells: [family, rules, from, limits], names }) =>
      `| ${family} | ${names.join(', ')} | ${rules} | ${from} | ${limits} |`,
  ),
].join('\n');

const text = readFileSync(readme, 'utf8');
const [before, rest] = text.split(begin);
const after = rest?.split(end)[1];
if (after === undefined) throw new Error(`README.md lacks the markers ${begin} and ${end}.`);
const wanted = `${before}${begin}\n${table}\n${end}${after}`;
if (process.argv.includes('--check')) {
  if (text !== wanted) {
    console.error("README.md's table of operators is not the compiler's: run node .ci/support-table.mjs");
    process.exitCode = 1;
  }
} else if (text !== wanted) writeFileSync(readme, wanted);
