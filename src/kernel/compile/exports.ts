/** Which names of a module are generator functions, as far as the text tells. */
import { type Expression, type Program, parse } from 'acorn';

/** What a module offers: generator functions of its own, and names that it passes on from others. */
export interface ModuleExports {
  readonly generators: ReadonlySet<string>;
  /** `export … from`: by the name it has here the name it has there; undefined for all (`export *`). */
  readonly passed: readonly { readonly specifier: string; readonly names: ReadonlyMap<string, string> | undefined }[];
}

const isPrimitive = (init: Expression | null | undefined): boolean =>
  init?.type === 'CallExpression' && init.callee.type === 'Identifier' && init.callee.name === 'primitive';

const nameOf = (node: { type: string; name?: string; value?: unknown }): string => node.name ?? String(node.value);

/** Reads a module (without types). A constant made by `primitive(…)` counts as a generator function. */
export function moduleExports(program: Program): ModuleExports {
  const own = new Set<string>();
  const imported = new Map<string, { specifier: string; name: string }>();
  for (const node of program.body) {
    if (node.type === 'ImportDeclaration') {
      for (const one of node.specifiers)
        if (one.type === 'ImportSpecifier') imported.set(one.local.name, { specifier: String(node.source.value), name: nameOf(one.imported) });
      continue;
    }
    const declaration = node.type === 'ExportNamedDeclaration' ? node.declaration : node;
    if (declaration?.type === 'FunctionDeclaration' && declaration.generator && declaration.id) own.add(declaration.id.name);
    if (declaration?.type === 'VariableDeclaration')
      for (const { id, init } of declaration.declarations) if (id.type === 'Identifier' && isPrimitive(init)) own.add(id.name);
  }
  const generators = new Set<string>();
  const passed: { specifier: string; names: Map<string, string> | undefined }[] = [];
  for (const node of program.body) {
    if (node.type === 'ExportAllDeclaration' && !node.exported) passed.push({ specifier: String(node.source.value), names: undefined });
    if (node.type !== 'ExportNamedDeclaration') continue;
    const { declaration } = node;
    if (declaration?.type === 'FunctionDeclaration' && own.has(declaration.id.name)) generators.add(declaration.id.name);
    if (declaration?.type === 'VariableDeclaration')
      for (const { id } of declaration.declarations) if (id.type === 'Identifier' && own.has(id.name)) generators.add(id.name);
    for (const { local, exported } of node.specifiers) {
      const name = nameOf(local);
      const from = imported.get(name);
      if (node.source) passed.push({ specifier: String(node.source.value), names: new Map([[nameOf(exported), name]]) });
      else if (own.has(name)) generators.add(nameOf(exported));
      else if (from) passed.push({ specifier: from.specifier, names: new Map([[nameOf(exported), from.name]]) });
    }
  }
  return { generators, passed };
}

/** A module's tree, from JavaScript without types. */
export const parseModule = (javascript: string): Program => parse(javascript, { ecmaVersion: 'latest', sourceType: 'module' });
