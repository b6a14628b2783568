/**
 * The two programs of the kernel as modules: `pxd:direct` and `pxd:step` are src/mm/index.ts with all of the dialect that it reaches, transformed;
 * every import that leaves the dialect is the one shared module. The same wiring serves esbuild (`esbuildPrograms`), vite and vitest
 * (`vitePrograms`), and Node with tsx (`scripts/kernel-node.mjs`).
 *
 * A program's own copy of a file is named by its path and the query `?program=direct` or `?program=step`.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, transform } from 'esbuild';
import { constantFolder } from './fold-constants.mjs';
import { inlineReads, offsetFolder } from './fold-offsets.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..').replaceAll('\\', '/');
const SAMPLE = 'tests/kernel-compile/sample';

/** What the programs are made of. The sample is the small kernel of the compiler's own tests. */
export const DIALECT = {
  roots: ['src/kernel', 'src/mm', SAMPLE].map((path) => `${root}/${path}`),
  primitives: ['src/kernel/ops.ts', `${SAMPLE}/ops.ts`].map((path) => `${root}/${path}`),
  except: ['src/kernel/op.ts', 'src/kernel/compile', `${SAMPLE}/op.ts`, `${SAMPLE}/native.ts`].map((path) => `${root}/${path}`),
};

/** Virtual modules by prefix: `pxd:direct`, `pxd:step`. */
export const ENTRIES = { pxd: `${root}/src/mm/index.ts`, sample: `${root}/${SAMPLE}/index.ts` };

/** Where the heap's array is. */
const STATE = `${root}/src/memory/state.ts`;

/** What reads of fields stand on. */
const READS = { heap: STATE, checking: `${root}/src/kernel/guards.ts` };

/** What step modules import; one copy. */
const RUNTIME = `${root}/src/kernel/compile/runtime.ts`;

const NAME = /^([a-z]+):(direct|step)$/;
/** Shared files that know structs. */
const FOLDED = /\/src\/(memory|kernel|mm|machine)\//;

/** The module of the constants that a file uses. */
const NUMBERS = /\?numbers$/;
const QUERY = /^(.*)\?program=(direct|step)$/;

/** The compiler of src/kernel/compile as a module that Node runs. */
async function loadCompiler() {
  const { outputFiles } = await build({
    entryPoints: [`${root}/src/kernel/compile/index.ts`],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'silent',
  });
  return await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}

let compiler;
export const theCompiler = () => (compiler ??= loadCompiler());

/** TypeScript to JavaScript as the compiler wants it: one statement more or less than in the source would be a fault of the map. */
export async function stripTypes(source, path) {
  const { code, map } = await transform(source, {
    loader: 'ts',
    format: 'esm',
    target: 'es2022',
    sourcemap: 'external',
    sourcefile: path,
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true, target: 'es2022' } },
  });
  return { code, map: JSON.parse(map) };
}

const read = (path) => (existsSync(path) && statSync(path).isFile() ? readFileSync(path, 'utf8') : undefined);

/** What all wirings share: names to files, files to text. */
export async function kernelPrograms() {
  const { dialectFiles, toDirect, toStep } = await theCompiler();
  const files = dialectFiles({ ...DIALECT, read });
  return {
    files,
    /** The parts of a virtual module's name, or undefined. */
    virtual(name) {
      const [, prefix, program] = NAME.exec(name) ?? [];
      return prefix in ENTRIES ? { entry: ENTRIES[prefix], program } : undefined;
    },
    /** Text of a virtual module: the names of the entry, and all of them as one object under the program's name. */
    virtualText: (entry, program) => `export * from ${JSON.stringify(entry)};\nexport * as ${program} from ${JSON.stringify(entry)};\n`,
    /** A program's copy of a file: TypeScript (direct) or JavaScript with a source map (step). */
    async copy(path, program, fold = undefined) {
      const fast = fold !== undefined;
      const source = fast ? fold(readFileSync(path, 'utf8'), path) : readFileSync(path, 'utf8');
      if (program === 'direct') return { code: toDirect(fast ? inlineReads(source, STATE) : source, path), map: undefined };
      const stripped = await stripTypes(source, path);
      return toStep({ source, path, javascript: stripped.code, map: stripped.map, files, runtime: RUNTIME, label: relative(root, path), reads: READS });
    },
  };
}

/** Names that a file exports which are generator functions, those that it passes on included. */
async function generatorNames(path, known) {
  if (known.has(path)) return known.get(path);
  const names = new Set();
  known.set(path, names);
  const text = read(path);
  if (text === undefined) return names;
  const { moduleExports, parseModule, resolvePath } = await theCompiler();
  const { generators, passed } = moduleExports(parseModule((await stripTypes(text, path)).code));
  for (const name of generators) names.add(name);
  for (const { specifier, names: taken } of passed) {
    const target = resolvePath(path, specifier);
    if (target === undefined) continue;
    const there = await generatorNames(target, known);
    for (const [here, name] of taken ?? [...there].map((name) => [name, name])) if (there.has(name)) names.add(here);
  }
  return names;
}

/** What is against the dialect in a file. `path` is absolute; without `source` the file is read. */
export async function checkDialect(path, source = readFileSync(path, 'utf8'), known = new Map()) {
  const compiler = await theCompiler();
  const file = relative(root, path);
  try {
    const { imports } = compiler.scan(source, file);
    const generators = new Map();
    for (const { specifier, typeOnly } of imports) {
      const target = typeOnly ? undefined : compiler.resolvePath(path, specifier);
      if (target !== undefined && existsSync(target)) generators.set(specifier, await generatorNames(target, known));
    }
    const { code, map } = await stripTypes(source, path);
    return compiler.checkDialect({ source, file, javascript: code, map, generatorsOf: (specifier) => generators.get(specifier) });
  } catch (error) {
    if (error.violations) return error.violations;
    // esbuild's: the file is no TypeScript.
    const [first] = error.errors ?? [];
    if (first === undefined) throw error;
    return [{ file, line: first.location?.line ?? 1, column: (first.location?.column ?? 0) + 1, name: 'syntax', sentence: `${first.text}.` }];
  }
}

const inlineMap = (map) => `\n//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify(map)).toString('base64')}\n`;

/** A plugin of esbuild that resolves the programs. */
export function esbuildPrograms() {
  return {
    name: 'kernel-program',
    async setup(context) {
      const programs = await kernelPrograms();
      const offsets = await offsetFolder(root);
      const constants = constantFolder(root, offsets);
      const fold = (text, path) => constants.fold(offsets(text, path), path);
      const NAMESPACE = 'kernel-program';
      context.onStart(() => programs.files.forget());
      context.onResolve({ filter: NUMBERS }, ({ path, resolveDir }) => ({
        path: relative(root, join(resolveDir, path.replace(NUMBERS, ''))),
        namespace: 'numbers',
      }));
      context.onLoad({ filter: /./, namespace: 'numbers' }, ({ path }) => ({ contents: constants.numbers(join(root, path)), loader: 'js' }));
      context.onResolve({ filter: NAME }, ({ path }) => (programs.virtual(path) ? { path, namespace: NAMESPACE } : undefined));
      context.onLoad({ filter: NAME, namespace: NAMESPACE }, ({ path }) => {
        const { entry, program } = programs.virtual(path);
        if (!existsSync(entry)) return { errors: [{ text: `${path}: there is no ${entry}` }] };
        return { contents: programs.virtualText(entry, program), loader: 'js', resolveDir: dirname(entry), pluginData: { program, from: entry } };
      });
      // Only what a program's own copy imports carries the program's name.
      context.onResolve({ filter: /^[./]/ }, ({ path, pluginData }) => {
        if (pluginData?.program === undefined) return undefined;
        const target = programs.files.target(pluginData.program, pluginData.from, path);
        if (target === undefined) return undefined;
        return target.own
          ? { path: target.path, suffix: `?program=${pluginData.program}`, pluginData: { program: pluginData.program } }
          : { path: target.path };
      });
      context.onLoad({ filter: /\.ts$/, namespace: 'file' }, async ({ path, suffix }) => {
        const program = QUERY.exec(path + suffix)?.[2];
        if (program === undefined) return FOLDED.test(path) ? { contents: fold(readFileSync(path, 'utf8'), path), loader: 'ts' } : undefined;
        try {
          const { code, map } = await programs.copy(path, program, fold);
          return { contents: map ? code + inlineMap(map) : code, loader: map ? 'js' : 'ts', pluginData: { program, from: path }, watchFiles: [path] };
        } catch (error) {
          if (error.violations === undefined) throw error;
          return {
            errors: error.violations.map((v) => ({ text: `${v.name}: ${v.sentence}`, location: { file: v.file, line: v.line, column: v.column - 1 } })),
          };
        }
      });
    },
  };
}

/** A plugin of vite and vitest that resolves the programs. */
export function vitePrograms() {
  let programs;
  return {
    name: 'kernel-program',
    enforce: 'pre',
    async buildStart() {
      programs ??= await kernelPrograms();
    },
    async resolveId(source, importer) {
      programs ??= await kernelPrograms();
      if (programs.virtual(source)) return `\0${source}`;
      const [, from, program] = QUERY.exec(importer ?? '') ?? [];
      if (program === undefined) return QUERY.test(source) ? source : undefined;
      const target = programs.files.target(program, from, source);
      if (target === undefined) return await this.resolve(source, from, { skipSelf: true });
      return target.own ? `${target.path}?program=${program}` : target.path;
    },
    async load(id) {
      programs ??= await kernelPrograms();
      const virtual = id.startsWith('\0') ? programs.virtual(id.slice(1)) : undefined;
      if (virtual) return programs.virtualText(`${virtual.entry}?program=${virtual.program}`, virtual.program);
      const [, path, program] = QUERY.exec(id) ?? [];
      if (program === undefined) return undefined;
      this.addWatchFile(path);
      return await programs.copy(path, program);
    },
    handleHotUpdate: () => programs?.files.forget(),
  };
}

/**
 * For Node's module hooks: all modules of one program by URL, as JavaScript with its map inside, and for each what its imports mean. The hooks' own
 * thread cannot run esbuild, so this runs in a process: `node scripts/kernel-program.mjs pxd direct` prints it as JSON.
 */
async function emit(name) {
  const programs = await kernelPrograms();
  const virtual = programs.virtual(name);
  if (virtual === undefined) throw new Error(`${name} is no program: ${Object.keys(ENTRIES).map((prefix) => `${prefix}:direct, ${prefix}:step`)}`);
  const { entry, program } = virtual;
  const { scan } = await theCompiler();
  const modules = {};
  const urlOf = (path) => `${pathToFileURL(path)}?program=${program}`;
  async function add(path) {
    if (urlOf(path) in modules) return;
    const targets = {};
    modules[urlOf(path)] = { source: '', targets };
    const { code, map } = await programs.copy(path, program);
    const js = map ? { code, map } : await stripTypes(code, path);
    js.map.sourcesContent = [readFileSync(path, 'utf8')];
    modules[urlOf(path)].source = js.code + inlineMap(js.map);
    if (program === 'step') for (const shared of [RUNTIME, READS.heap, READS.checking]) targets[shared] = String(pathToFileURL(shared));
    for (const { specifier } of scan(js.code, path).imports) {
      const target = programs.files.target(program, path, specifier);
      if (target === undefined) continue;
      targets[specifier] = target.own ? urlOf(target.path) : String(pathToFileURL(target.path));
      if (target.own) await add(target.path);
    }
  }
  await add(entry);
  modules[name] = { source: programs.virtualText(urlOf(entry), program), targets: {} };
  return modules;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.stdout.write(JSON.stringify(await emit(`${process.argv[2]}:${process.argv[3]}`)));
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
