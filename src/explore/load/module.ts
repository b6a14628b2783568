/**
 * Turns a file with scenarios and kernel functions into a module that can be evaluated anywhere: its kernel functions become descriptors of the step program,
 * its imports become properties of an object that whoever evaluates it provides.
 *
 * Invariants: lines stay where they are; there is one copy of all that is imported, whichever way this package itself was loaded.
 */
import type { AnyNode, ImportDeclaration, Program } from 'acorn';
import { isReference, walk } from '../../kernel/compile/ast.ts';
import { checkDialect } from '../../kernel/compile/check.ts';
import { moduleExports, parseModule } from '../../kernel/compile/exports.ts';
import { MappedText } from '../../kernel/compile/source-map.ts';
import { toStep } from '../../kernel/compile/step.ts';
import { DialectError } from '../../kernel/compile/violation.ts';
import { PxdError } from '../../pagetable/error.ts';

/** A file without its types. */
export interface ModuleSource {
  readonly source: string;
  /** Path as it is named in messages. */
  readonly label: string;
  readonly javascript: string;
  readonly map: { readonly mappings: string };
}

export interface NeededImport {
  readonly specifier: string;
  /** Names that are taken out of it one by one; `default` among them. */
  readonly names: readonly string[];
  /** Line of the source, from 1. */
  readonly line: number;
}

export interface CompiledModule {
  /** JavaScript that takes its imports from `globalThis[Symbol.for(IMPORTS)][key]`, by specifier. */
  code(key: string): string;
  /** Leads from its lines to those of the source. */
  readonly map: { readonly mappings: string };
  /** Names of kernel functions that it exports. */
  readonly generators: ReadonlySet<string>;
}

/** Under this symbol modules find their imports. */
export const IMPORTS = 'pxd.imports';
/** What descriptors stand on; provided beside the module's own imports. */
export const RUNTIME = 'pxd:runtime';
/** What counts the rounds of loops (rounds.ts); provided, too. */
export const LOOPS = 'pxd:rounds';
/** The module whose functions are primitive operations. */
export const PRIMITIVES = 'pxd/explore/kernel';

/** Imports of a module, in the order of the text. @throws {PxdError} for what is no module, or passes on names of another */
export function importsOf({ javascript, label, map }: ModuleSource): NeededImport[] {
  const program = parsed(javascript, label);
  const text = new MappedText(javascript, map.mappings);
  return program.body.flatMap((node) => {
    if ((node.type === 'ExportNamedDeclaration' || node.type === 'ExportAllDeclaration') && node.source)
      throw new PxdError('usage', `${label}: export … from "${node.source.value}": import the names and export them`);
    return node.type === 'ImportDeclaration' ? [needed(node, text)] : [];
  });
}

function needed(node: ImportDeclaration, text: MappedText): NeededImport {
  const names = node.specifiers.flatMap((one) =>
    one.type === 'ImportNamespaceSpecifier' ? [] : [one.type === 'ImportSpecifier' ? nameOf(one.imported) : 'default'],
  );
  return { specifier: String(node.source.value), names, line: (text.place(node.start)?.line ?? 0) + 1 };
}

const nameOf = (node: { type: string; name?: string; value?: unknown }): string => node.name ?? String(node.value);

function parsed(javascript: string, label: string): Program {
  try {
    return parseModule(javascript);
  } catch (error) {
    throw new PxdError('usage', `${label}: ${(error as Error).message}`);
  }
}

/**
 * Compiles a module. `generatorsOf` tells which names of an imported module are kernel functions or primitives.
 *
 * @throws {DialectError} for kernel functions that are not in the dialect
 */
export function compileModule(given: ModuleSource, generatorsOf: (specifier: string) => ReadonlySet<string> | undefined): CompiledModule {
  const { source, label, javascript, map } = given;
  const own = moduleExports(parsed(javascript, label));
  const hasKernelFunctions = parsed(javascript, label).body.some((node) => {
    const declared = node.type === 'ExportNamedDeclaration' ? node.declaration : node;
    return declared?.type === 'FunctionDeclaration' && declared.generator;
  });
  const violations = checkDialect({ source, file: label, javascript, map, generatorsOf, hosted: true });
  if (violations.length > 0) throw new DialectError(violations);
  const files = { isPrimitives: (path: string) => path === PRIMITIVES };
  const made = hasKernelFunctions
    ? toStep({ source, path: `/${label}`, label, javascript, map, files, runtime: RUNTIME, hosted: true })
    : { code: javascript, map };
  return { code: (key) => withoutImports(made.code, key), map: made.map, generators: own.generators };
}

/** Bindings of the runtime that change: read where they are used. */
const LIVE = new Set(['$S', '$stops']);

const LOOP_KINDS: ReadonlySet<string> = new Set(['ForStatement', 'WhileStatement', 'DoWhileStatement', 'ForInStatement', 'ForOfStatement']);

/** The module with its imports as constants; those of the runtime that change as properties; its loops count their rounds. */
function withoutImports(code: string, key: string): string {
  const program = parseModule(code);
  const constants: string[] = [
    `const $imports = globalThis[Symbol.for(${JSON.stringify(IMPORTS)})][${JSON.stringify(key)}], $runtime = $imports[${JSON.stringify(RUNTIME)}], $round = $imports[${JSON.stringify(LOOPS)}].round;`,
  ];
  const edits: { start: number; end: number; text: string }[] = [];
  for (const node of program.body) {
    if (node.type !== 'ImportDeclaration') continue;
    constants.push(constantsOf(node));
    edits.push({ start: node.start, end: node.end, text: code.slice(node.start, node.end).replace(/[^\n]/g, '') });
  }
  walk(program, (node: AnyNode, parent) => {
    if (node.type === 'ImportDeclaration') return false;
    if (node.type === 'Identifier' && LIVE.has(node.name) && isReference(node, parent))
      edits.push({ start: node.start, end: node.end, text: `$runtime.${node.name.slice(1)}` });
    if (LOOP_KINDS.has(node.type)) {
      const { body } = node as unknown as { readonly body: AnyNode };
      edits.push({ start: body.start, end: body.start, text: '{ $round(); ' }, { start: body.end, end: body.end, text: ' }' });
    }
    return undefined;
  });
  let text = constants.join(' ');
  let done = 0;
  for (const { start, end, text: put } of edits.sort((a, b) => a.start - b.start)) {
    text += code.slice(done, start) + put;
    done = end;
  }
  return text + code.slice(done);
}

function constantsOf(node: ImportDeclaration): string {
  const from = `$imports[${JSON.stringify(String(node.source.value))}]`;
  const parts = node.specifiers.flatMap((one) => {
    if (one.type === 'ImportNamespaceSpecifier') return [`${one.local.name} = ${from}`];
    if (LIVE.has(one.local.name)) return [];
    const name = one.type === 'ImportSpecifier' ? nameOf(one.imported) : 'default';
    return [`${one.local.name} = ${from}[${JSON.stringify(name)}]`];
  });
  return parts.length === 0 ? '' : `const ${parts.join(', ')};`;
}
