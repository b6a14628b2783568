/**
 * The step program: a module whose `function*`s are descriptors (runtime.ts), each a function that is called and one that goes on (emit.ts). Everything
 * else of the module stays as it is; its imports mean the step program's copies, which whoever resolves imports sees to.
 */
import { type FunctionDeclaration, type ModuleDeclaration, type Program, parse, type Statement } from 'acorn';
import { checkDialect } from './check.ts';
import { emitFunction } from './emit.ts';
import { type DialectFiles, resolvePath } from './files.ts';
import { type CalleeOf, lower } from './lower.ts';
import { namesOf } from './scope.ts';
import { MappedText, type SourceMap } from './source-map.ts';
import { DialectError } from './violation.ts';

export interface StepInput {
  /** TypeScript, for the map. */
  readonly source: string;
  readonly path: string;
  /** Path as people know it, for backtraces. */
  readonly label: string;
  /** The source without its types, and the map that leads back. */
  readonly javascript: string;
  readonly map: { readonly mappings: string };
  readonly files: Pick<DialectFiles, 'isPrimitives'>;
  /** Module that step modules import the runtime from. */
  readonly runtime: string;
  /** Where the reads of fields (`get` of the primitives) find what they read, and what says whether they are checked; without, they stay calls. */
  readonly reads?: { readonly heap: string; readonly checking: string };
  /** The module holds other code, too (check.ts). */
  readonly hosted?: boolean;
}

/** The generator function that a statement of the module declares, and whether it is exported. */
export function declaredGenerator(node: Statement | ModuleDeclaration): { fn: FunctionDeclaration; exported: boolean } | undefined {
  const exported = node.type === 'ExportNamedDeclaration';
  const declaration = exported ? node.declaration : node;
  return declaration?.type === 'FunctionDeclaration' && declaration.generator ? { fn: declaration as FunctionDeclaration, exported } : undefined;
}

/** Names of the module that are primitives: those imported from a module of primitives, and namespaces of such a module. */
function primitiveNames(program: Program, input: StepInput): { names: Map<string, string>; namespaces: Set<string> } {
  const names = new Map<string, string>();
  const namespaces = new Set<string>();
  for (const node of program.body) {
    if (node.type !== 'ImportDeclaration') continue;
    // Packages go by their names.
    const path = resolvePath(input.path, String(node.source.value)) ?? String(node.source.value);
    if (!input.files.isPrimitives(path)) continue;
    for (const { type, local } of node.specifiers) {
      if (type === 'ImportSpecifier') names.set(local.name, `$code_${local.name}`);
      else if (type === 'ImportNamespaceSpecifier') namespaces.add(local.name);
    }
  }
  return { names, namespaces };
}

/** The name by which a module reads fields, as it imports it. */
function readName(program: Program, input: StepInput): string | undefined {
  for (const node of program.body) {
    if (node.type !== 'ImportDeclaration' || !input.files.isPrimitives(resolvePath(input.path, String(node.source.value)) ?? '')) continue;
    for (const one of node.specifiers)
      if (one.type === 'ImportSpecifier' && one.imported.type === 'Identifier' && one.imported.name === 'get') return one.local.name;
  }
  return undefined;
}

/** JavaScript of the step twin of a module, with a map to its TypeScript. Throws DialectError for what the dialect does not have. */
export function toStep(given: StepInput): { code: string; map: SourceMap } {
  const input = new MappedText(given.javascript, given.map.mappings);
  // What only concerns the module's state does not hinder the compiler.
  const violations = checkDialect({ ...given, file: given.label }).filter(({ name }) => name !== 'module-state' && name !== 'host');
  if (violations.length > 0) throw new DialectError(violations);
  const program = parse(given.javascript, { ecmaVersion: 'latest', sourceType: 'module' });
  const primitives = primitiveNames(program, given);
  const used = new Set<string>();
  const calleeOf: CalleeOf = (text) => {
    const [object, member] = text.split('.');
    if (member !== undefined && primitives.namespaces.has(object)) return { kind: 'primitive', text: `${text}.code`, effect: `${text}.effect` };
    const code = primitives.names.get(text);
    if (code === undefined) return { kind: 'call', text };
    used.add(text);
    return { kind: 'primitive', text: code, effect: `$do_${text}` };
  };

  const reads = given.reads && readName(program, given);
  let text = '';
  let done = 0;
  for (const node of program.body) {
    const found = declaredGenerator(node);
    if (found === undefined) continue;
    const { fn, exported } = found;
    const { name } = fn.id;
    const names = namesOf(fn);
    const emitted = emitFunction(name, lower(fn, names, input, calleeOf, reads), names.params, input);
    const lines = emitted.resumes.map(({ block, at }) => `${block}: ${(input.place(at)?.line ?? 0) + 1}`).join(', ');
    const mark = input.mark(node.start);
    text += input.slice(done, node.start);
    text += `${mark}${emitted.text}\n`;
    text += `${exported ? 'export ' : ''}const ${name} = $kernelFunction(${JSON.stringify(name)}, ${JSON.stringify(given.label)}, ${names.params.length}, ${emitted.frameSize}, { ${lines} }, ${name}$enter, ${name}$run);`;
    done = node.end;
  }
  text += input.slice(done, given.javascript.length);
  const codes = [...used].map((name) => `const $code_${name} = ${name}.code, $do_${name} = ${name}.effect;\n`).join('');
  const read =
    given.reads && reads !== undefined
      ? [`checking as $checking } from ${JSON.stringify(given.reads.checking)}`, `heap as $heap } from ${JSON.stringify(given.reads.heap)}`]
      : [];
  const imports = `${read.map((one) => `import { ${one};\n`).join('')}import { kernelFunction as $kernelFunction, lost as $lost, S as $S, stops as $stops, T as $T, wait as $wait } from ${JSON.stringify(given.runtime)};\n`;
  const file = given.path.split('/').pop() as string;
  return input.finish(`${imports}${text}\n${codes}`, [file], [given.source]);
}
