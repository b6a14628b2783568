/**
 * The calls of kernel code as its sources have them, by the compiler's own front end: which function calls which, and where. From them follows what leads to a
 * primitive: every call of it, and every call of a function that may come to one.
 *
 * A call is named by file, place and the function that is called: `src/mm/vma.ts:27:22 kmalloc`. Dispatch is by `switch` in kernel code, never through tables of
 * functions.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AnyNode, Node } from 'acorn';
import { stripTypes } from '../../../scripts/kernel-program.mjs';
import { childrenOf, walk } from '../../../src/kernel/compile/ast.ts';
import { parseModule } from '../../../src/kernel/compile/exports.ts';
import { MappedText } from '../../../src/kernel/compile/source-map.ts';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

export interface CallSite {
  /** `src/mm/vma.ts:27:22 kmalloc`; lines and columns from 1, as in backtraces. */
  readonly name: string;
  readonly file: string;
  /** The function in which it stands, and the one that is called, by the names that their files give them. */
  readonly from: string;
  readonly callee: string;
  /** Key of the callee: `src/mm/vma.ts#vmaAlloc`. */
  readonly target: string;
  /** Its first argument as it is written, and the loops of its function that it stands in. */
  readonly argument: string;
  readonly loops: readonly number[];
  /** It is, or is followed without any branch by, the end of its function. */
  readonly last: boolean;
  /** Switches (src/kernel/switches.ts) that must be thrown for it. */
  readonly switches: readonly string[];
}

interface Module {
  /** By local name: file and name there. */
  readonly imports: Map<string, { file: string; name: string }>;
  /** `export … from`. */
  readonly passed: { file: string; names: Map<string, string> | undefined }[];
  readonly own: Set<string>;
  readonly calls: { from: string; callee: string; place: string; argument: string; loops: readonly number[]; last: boolean; switches: readonly string[] }[];
}

const LOOP = /^(For|While|DoWhile)Statement$/;

const nameOf = (node: { type: string; name?: string; value?: unknown }): string => node.name ?? String(node.value);

/** Names of the switches that a condition asks for. */
function switchesOf(test: Node): string[] {
  const found: string[] = [];
  walk(test, (node, parent) => {
    if (node.type === 'UnaryExpression' && node.operator === '!') return false;
    if (node.type === 'LogicalExpression' && node.operator === '||') return false;
    if (node.type === 'CallExpression' && node.callee.type === 'Identifier' && node.callee.name === 'switched') {
      const [argument] = node.arguments;
      if (argument.type === 'MemberExpression' && argument.property.type === 'Identifier') found.push(argument.property.name);
    }
    return parent === undefined || undefined;
  });
  return found;
}

async function readModule(path: string): Promise<Module> {
  const { code, map } = await stripTypes(readFileSync(path, 'utf8'), path);
  const places = new MappedText(code, (map as { mappings: string }).mappings);
  const module: Module = { imports: new Map(), passed: [], own: new Set(), calls: [] };
  const fileOf = (specifier: unknown): string => relative(ROOT, resolve(dirname(path), String(specifier)));
  const inside = (root: Node, from: string): void => {
    const rec = (at: AnyNode, switches: readonly string[], loops: readonly number[], last: boolean): void => {
      if (at.type === 'CallExpression' && at.callee.type === 'Identifier') {
        const place = places.place(at.callee.start);
        const [first] = at.arguments;
        const argument = first ? code.slice(first.start, first.end) : '';
        if (place !== undefined)
          module.calls.push({ from, callee: at.callee.name, place: `${place.line + 1}:${place.column + 1}`, argument, loops, last, switches });
      }
      if (at.type === 'BlockStatement') {
        // Between the last statement with a branch and a return nothing is left out.
        const branches = at.body.map(({ type }) => !/^(Return|Expression)Statement$/.test(type));
        const straight = at.body.at(-1)?.type === 'ReturnStatement' ? branches.lastIndexOf(true) + 1 : at.body.length;
        at.body.forEach((one, i) => void rec(one, switches, loops, last || i >= straight));
      } else if (at.type === 'IfStatement' || at.type === 'ConditionalExpression') {
        rec(at.test, switches, loops, last);
        rec(at.consequent, [...switches, ...switchesOf(at.test)], loops, last);
        if (at.alternate) rec(at.alternate, switches, loops, last);
      } else for (const child of childrenOf(at)) rec(child, switches, LOOP.test(at.type) ? [...loops, at.start] : loops, last || at.type === 'ReturnStatement');
    };
    rec(root as AnyNode, [], [], false);
  };
  for (const node of parseModule(code).body) {
    if (node.type === 'ImportDeclaration')
      for (const one of node.specifiers)
        if (one.type === 'ImportSpecifier') module.imports.set(one.local.name, { file: fileOf(node.source.value), name: nameOf(one.imported) });
    if (node.type === 'ExportAllDeclaration') module.passed.push({ file: fileOf(node.source.value), names: undefined });
    if (node.type === 'ExportNamedDeclaration' && node.source)
      module.passed.push({ file: fileOf(node.source.value), names: new Map(node.specifiers.map((s) => [nameOf(s.exported), nameOf(s.local)])) });
    const declaration = node.type === 'ExportNamedDeclaration' ? node.declaration : node;
    if (declaration?.type === 'FunctionDeclaration' && declaration.id) {
      module.own.add(declaration.id.name);
      inside(declaration.body, declaration.id.name);
    }
    if (declaration?.type === 'VariableDeclaration')
      for (const { id, init } of declaration.declarations)
        if (id.type === 'Identifier') {
          module.own.add(id.name);
          if (init) inside(init, id.name);
        }
  }
  return module;
}

/** All calls in the files below a folder, of functions that the kernel's sources declare. */
export async function callSites(folder = 'src/mm'): Promise<CallSite[]> {
  const modules = new Map<string, Module>();
  const read = async (file: string): Promise<Module | undefined> => {
    const known = modules.get(file);
    if (known) return known;
    if (!/^src\/(mm|kernel)\/[^/]+\.ts$/.test(file)) return undefined;
    const module = await readModule(join(ROOT, file));
    modules.set(file, module);
    return module;
  };
  const declared = async (file: string, name: string): Promise<string | undefined> => {
    const module = await read(file);
    if (module === undefined) return undefined;
    if (module.own.has(name)) return `${file}#${name}`;
    const imported = module.imports.get(name);
    if (imported) return await declared(imported.file, imported.name);
    for (const { file: there, names } of module.passed) {
      if (names !== undefined && !names.has(name)) continue;
      const found = await declared(there, names?.get(name) ?? name);
      if (found) return found;
    }
    return undefined;
  };
  const sites: CallSite[] = [];
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    const file = `${folder}/${entry.name}`;
    const module = entry.isFile() && entry.name.endsWith('.ts') ? await read(file) : undefined;
    for (const { callee, place, ...more } of module?.calls ?? []) {
      const target = await declared(file, callee);
      if (target === undefined) continue;
      const name = target.slice(target.indexOf('#') + 1);
      sites.push({ name: `${file}:${place} ${name}`, file, callee: name, target, ...more });
    }
  }
  return sites;
}

/**
 * Of those the calls of the named primitives, and of functions that come to one by at most `depth` calls; not of those through functions named in `silent`, whose
 * callers are not told whether there was memory.
 */
export function leadingTo(sites: readonly CallSite[], primitives: readonly string[], depth: number, silent: ReadonlySet<string>): CallSite[] {
  const reaching = new Set(primitives);
  const found = new Set<CallSite>();
  for (let i = 0; i <= depth; i++) {
    const next = sites.filter((site) => reaching.has(site.target) && !found.has(site));
    for (const site of next) {
      found.add(site);
      if (!silent.has(site.from)) reaching.add(`${site.file}#${site.from}`);
    }
  }
  return [...found];
}
