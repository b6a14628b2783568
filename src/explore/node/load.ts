/**
 * Loads scenarios out of files: `pxd/explore/node`.
 *
 * A file is TypeScript or JavaScript with a default export: a scenario, or a list of them. Its kernel functions are compiled to the step program. What it imports from
 * `pxd/explore`, `pxd/explore/kernel`, `pxd/explore/mm`, `pxd/machine` and `pxd/pagetable` is this package as it runs; files that it imports by relative paths
 * are loaded the same way; packages are found where the file is.
 *
 * Invariant: a file is evaluated once, unless it has changed; what is wrong with it is one sentence that begins with the file and the line.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { builtinModules, createRequire, SourceMap } from 'node:module';
import { dirname, extname, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as runtime from '../../kernel/compile/runtime.ts';
import { DialectError, type Violation } from '../../kernel/compile/violation.ts';
import * as machine from '../../machine/index.ts';
import { PxdError } from '../../pagetable/error.ts';
import * as pagetable from '../../pagetable/index.ts';
import * as explore from '../index.ts';
import * as kernel from '../kernel.ts';
import { compileModule, IMPORTS, importsOf, LOOPS, type ModuleSource, RUNTIME } from '../load/module.ts';
import * as rounds from '../load/rounds.ts';
import type { Scenario } from '../scenario.ts';
import { mmFunctions } from '../stage.ts';
import { scenariosOf } from '../validate.ts';

type Namespace = Readonly<Record<string, unknown>>;

interface Loaded {
  readonly namespace: Namespace;
  readonly generators: ReadonlySet<string>;
}

const isPrimitive = (value: unknown): boolean => typeof value === 'function' && 'effect' in value;
const isDescriptor = (value: unknown): boolean => typeof value === 'object' && value !== null && 'enter' in value && 'frameSize' in value;

const ours = (namespace: Namespace): Loaded => ({
  namespace,
  generators: new Set(Object.keys(namespace).filter((name) => isPrimitive(namespace[name]) || isDescriptor(namespace[name]))),
});

const EXTENSIONS = ['', '.ts', '.mts', '.js', '.mjs'];

/** What was loaded before, with the texts of all files that it was made of. */
const known = new Map<string, { readonly scenarios: Scenario[]; readonly texts: ReadonlyMap<string, string> }>();

/** Scenarios of a file. @throws {PxdError} one sentence about the file */
export async function loadScenarios(path: string): Promise<Scenario[]> {
  const whole = resolve(path);
  const before = known.get(whole);
  // Structs that files describe are there once, like those of the mm.
  if (before !== undefined && [...before.texts].every(([file, text]) => existsSync(file) && readFileSync(file, 'utf8') === text)) return before.scenarios;
  const loader = new Loader();
  const scenarios = scenariosOf((await loader.file(whole)).namespace.default, relativeName(whole));
  known.set(whole, { scenarios, texts: loader.texts });
  return scenarios;
}

const relativeName = (path: string): string => {
  const name = relative(process.cwd(), path);
  return name.startsWith('..') ? path : name;
};

let keys = 0;

class Loader {
  readonly #packages: ReadonlyMap<string, Loaded> = new Map(
    Object.entries({
      'pxd/explore': explore,
      'pxd/explore/kernel': kernel,
      'pxd/explore/mm': mmFunctions,
      'pxd/machine': machine,
      'pxd/pagetable': pagetable,
    }).map(([name, namespace]) => [name, ours(namespace as Namespace)]),
  );
  /** Texts of the files that were read. */
  readonly texts = new Map<string, string>();
  /** Files by path; undefined while one is being loaded. */
  readonly #files = new Map<string, Loaded | undefined>();

  async file(path: string): Promise<Loaded> {
    const before = this.#files.get(path);
    if (before !== undefined) return before;
    const label = relativeName(path);
    if (this.#files.has(path)) throw new PxdError('usage', `${label}: files that import each other in a circle cannot be loaded`);
    this.#files.set(path, undefined);
    const given = await sourceOf(path, label);
    this.texts.set(path, given.source);
    const imports: Record<string, Loaded> = {};
    for (const { specifier, names, line } of importsOf(given)) {
      imports[specifier] ??= await this.#imported(specifier, path, `${label}:${line}`);
      const missing = names.find((name) => !(name in imports[specifier].namespace));
      if (missing !== undefined) throw new PxdError('unknown', `${label}:${line}: "${specifier}" exports no ${missing}`);
    }
    const loaded = await evaluate(given, path, imports);
    this.#files.set(path, loaded);
    return loaded;
  }

  async #imported(specifier: string, from: string, where: string): Promise<Loaded> {
    const own = this.#packages.get(specifier);
    if (own !== undefined) return own;
    if (specifier.startsWith('./') || specifier.startsWith('../')) return await this.file(fileOf(resolve(dirname(from), specifier), specifier, where));
    if (specifier.startsWith('pxd/'))
      throw new PxdError('unknown', `${where}: there is no ${specifier} to import: there are ${[...this.#packages.keys()].join(', ')}`);
    try {
      const builtin = specifier.startsWith('node:') || builtinModules.includes(specifier);
      const target = builtin ? specifier : String(pathToFileURL(createRequire(from).resolve(specifier)));
      return { namespace: (await import(/* @vite-ignore */ target)) as Namespace, generators: new Set() };
    } catch (error) {
      throw new PxdError('unavailable', `${where}: "${specifier}" cannot be imported: ${firstLine(error)}`);
    }
  }
}

const firstLine = (error: unknown): string => String((error as Error).message ?? error).split('\n')[0];

/** The file that a relative import means; TypeScript's `./other.js` for `./other.ts`, too. */
function fileOf(path: string, specifier: string, where: string): string {
  const names = [...EXTENSIONS.map((extension) => path + extension), path.replace(/\.js$/, '.ts'), path.replace(/\.mjs$/, '.mts')];
  const found = names.find((name) => existsSync(name) && statSync(name).isFile());
  if (found === undefined) throw new PxdError('unknown', `${where}: there is no file "${specifier}"`);
  return found;
}

/** A file's text without types. esbuild is loaded for this alone. */
async function sourceOf(path: string, label: string): Promise<ModuleSource> {
  const extension = extname(path);
  if (!EXTENSIONS.includes(extension) || extension === '') throw new PxdError('usage', `${label}: scenarios are read out of .ts, .mts, .js and .mjs`);
  const source = readFileSync(path, 'utf8');
  const { transform } = await import('esbuild');
  try {
    const { code, map } = await transform(source, {
      loader: extension.endsWith('ts') ? 'ts' : 'js',
      format: 'esm',
      target: 'es2022',
      sourcemap: 'external',
      sourcefile: label,
      tsconfigRaw: { compilerOptions: { target: 'es2022' } },
    });
    return { source, label, javascript: code, map: JSON.parse(map) as { mappings: string } };
  } catch (error) {
    const [first] = (error as { errors?: { text: string; location?: { line: number; column: number } }[] }).errors ?? [];
    if (first === undefined) throw error;
    throw new PxdError('usage', `${label}:${first.location?.line ?? 1}:${(first.location?.column ?? 0) + 1}: ${first.text}`);
  }
}

/** Compiles and runs a file whose imports are there. */
async function evaluate(given: ModuleSource, path: string, imports: Readonly<Record<string, Loaded>>): Promise<Loaded> {
  const { label } = given;
  let compiled: ReturnType<typeof compileModule>;
  try {
    compiled = compileModule(given, (specifier) => imports[specifier]?.generators);
  } catch (error) {
    if (error instanceof DialectError) throw new PxdError('usage', dialectText(error.violations));
    throw error;
  }
  const key = `${++keys}`;
  const url = `${pathToFileURL(path)}?pxd=${key}`;
  const provided = Object.fromEntries(Object.entries(imports).map(([specifier, { namespace }]) => [specifier, namespace]));
  const shared = ((globalThis as Record<symbol, unknown>)[Symbol.for(IMPORTS)] ??= {}) as Record<string, unknown>;
  shared[key] = { ...provided, [RUNTIME]: runtime, [LOOPS]: rounds };
  const text = `${compiled.code(key)}\n//# sourceURL=${url}\n`;
  const data = `data:text/javascript;base64,${Buffer.from(text).toString('base64')}`;
  // Stacks name the module by the one or the other.
  for (const name of [url, data]) places.set(name, { label, map: compiled.map });
  try {
    const namespace = (await import(/* @vite-ignore */ data)) as Namespace;
    return { namespace, generators: compiled.generators };
  } catch (error) {
    throw new PxdError('usage', `${placeOf(error) ?? label}: ${firstLine(error)}`);
  }
}

/** The first violation, and where the others are. */
function dialectText(violations: readonly Violation[]): string {
  const [{ file, line, column, name, sentence }, ...others] = violations;
  const more = others.length === 0 ? '' : ` (and ${others.length} more: ${others.map((v) => `${v.line}:${v.column} ${v.name}`).join(', ')})`;
  return `${file}:${line}:${column}: ${name}: ${sentence.replace(/\.$/, '')}${more}`;
}

/** Files that were evaluated, by the URLs that stacks name. */
const places = new Map<string, { readonly label: string; readonly map: { readonly mappings: string } }>();

/** Where in a loaded file an error comes from, `file:line`; undefined when it comes from none. */
export function placeOf(error: unknown): string | undefined {
  for (const [, url, line, column] of String((error as Error)?.stack ?? '').matchAll(
    /(file:[^\s()]+\?pxd=\d+|data:text\/javascript;base64,[\w+/=]+):(\d+):(\d+)/g,
  )) {
    const found = places.get(url);
    if (found === undefined) continue;
    const map = new SourceMap({
      version: 3,
      file: '',
      sources: [found.label],
      sourcesContent: [],
      names: [],
      sourceRoot: '',
      ...found.map,
    } as ConstructorParameters<typeof SourceMap>[0]);
    const entry = map.findEntry(Number(line) - 1, Number(column) - 1) as { originalLine?: number };
    return `${found.label}:${(entry.originalLine ?? Number(line) - 1) + 1}`;
  }
  return undefined;
}
