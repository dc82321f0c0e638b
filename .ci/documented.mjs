// Fails when something public has no doc comment: what the entry points export, and the members of exported interfaces,
// object types, classes and enums. A reader of an editor's pop-up has nothing else.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);

const entries = ['sdk/index.ts', 'sdk/compiler.ts', 'sdk/quantize.ts'].filter((path) => existsSync(path));
const config = ts.parseJsonConfigFileContent(JSON.parse(readFileSync('tsconfig.json', 'utf8')), ts.sys, root);
const program = ts.createProgram(entries, config.options);
const checker = program.getTypeChecker();
const seen = new Set();
const missing = [];

for (const entry of entries) {
  const module = checker.getSymbolAtLocation(program.getSourceFile(entry));
  if (module === undefined) continue;
  for (const exported of checker.getExportsOfModule(module)) {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    if (seen.has(symbol)) continue;
    seen.add(symbol);
    visit(symbol, exported.name);
  }
}

for (const line of missing.sort()) console.error(line);
if (missing.length > 0) {
  console.error(`${missing.length} public names lack a doc comment (/** … */).`);
  process.exitCode = 1;
}

function visit(symbol, name) {
  const declarations = (symbol.declarations ?? []).filter(
    (node) => !node.getSourceFile().fileName.includes('node_modules'),
  );
  if (declarations.length === 0) return;
  requireComment(symbol, name, declarations[0]);
  for (const declaration of declarations) {
    for (const member of membersOf(declaration)) {
      if (member.name === undefined || ts.isPrivateIdentifier(member.name)) continue;
      const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected | ts.ModifierFlags.Override;
      if (ts.getCombinedModifierFlags(member) & hidden) continue;
      const memberSymbol = checker.getSymbolAtLocation(member.name);
      if (memberSymbol !== undefined) requireComment(memberSymbol, `${name}.${memberSymbol.name}`, member);
    }
  }
}

function membersOf(declaration) {
  if (ts.isInterfaceDeclaration(declaration) || ts.isClassDeclaration(declaration)) return declaration.members;
  if (ts.isEnumDeclaration(declaration)) return declaration.members;
  if (ts.isTypeAliasDeclaration(declaration) && ts.isTypeLiteralNode(declaration.type)) return declaration.type.members;
  return [];
}

function requireComment(symbol, name, declaration) {
  if (symbol.getDocumentationComment(checker).length > 0) return;
  const file = declaration.getSourceFile();
  const { line } = file.getLineAndCharacterOfPosition(declaration.getStart());
  missing.push(`${relative(root, file.fileName)}:${line + 1}  ${name}`);
}
