/**
 * Which files are written in the dialect, and what an import means in each program.
 *
 * A file under one of the roots belongs to the programs (there is one copy of it a program) when it contains a `function*` or imports, however far,
 * a file that does. All others are shared: one copy of their state. The modules of primitives are never transformed: native and step code import
 * them as they are, direct code imports the twin of the same names.
 *
 * Paths are absolute, with forward slashes. No access to files here: the caller reads.
 */
import { scan } from './tokens.ts';

export type ProgramName = 'direct' | 'step';

export interface DialectOptions {
  /** Folders of the dialect. */
  readonly roots: readonly string[];
  /** Modules of primitives (`ops.ts`); each has a twin (`ops-direct.ts`) beside it. */
  readonly primitives: readonly string[];
  /** Files and folders under the roots that are not of the dialect. */
  readonly except: readonly string[];
  /** Text of a file, or undefined where there is none. */
  readonly read: (path: string) => string | undefined;
}

/** The twin of a module of primitives in the direct program. */
export const directTwin = (path: string): string => path.replace(/\.ts$/, '-direct.ts');

/** `specifier` as seen from the file `from`: an absolute path; undefined for packages. */
export function resolvePath(from: string, specifier: string): string | undefined {
  if (specifier.startsWith('/')) return specifier;
  if (!specifier.startsWith('./') && !specifier.startsWith('../')) return undefined;
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

export interface DialectFiles {
  /** Whether each program has its own copy of this file. */
  belongs(path: string): boolean;
  isPrimitives(path: string): boolean;
  /** What the file `from` of a program means by `specifier`: a file, and whether it is the program's own copy. Undefined: nothing special. */
  target(program: ProgramName, from: string, specifier: string): { readonly path: string; readonly own: boolean } | undefined;
  /** Forgets what is known of a file (it has changed); all files without an argument. */
  forget(): void;
}

export function dialectFiles(options: DialectOptions): DialectFiles {
  const known = new Map<string, boolean>();
  const within = (path: string, folders: readonly string[]): boolean => folders.some((folder) => path === folder || path.startsWith(`${folder}/`));
  const twins = options.primitives.map(directTwin);
  const candidate = (path: string): boolean =>
    path.endsWith('.ts') &&
    !path.endsWith('.d.ts') &&
    within(path, options.roots) &&
    !within(path, options.except) &&
    !within(path, options.primitives) &&
    !within(path, twins);

  /** Depth first over imports; `reached` are the files of this search, so that cycles end. */
  function reaches(path: string, reached: Set<string>): boolean {
    const before = known.get(path);
    if (before !== undefined) return before;
    if (reached.has(path) || !candidate(path)) return false;
    reached.add(path);
    const source = options.read(path);
    if (source === undefined) return false;
    const { stars, imports } = scan(source, path);
    const found =
      stars.length > 0 ||
      imports.some(({ specifier, typeOnly }) => {
        const next = typeOnly ? undefined : resolvePath(path, specifier);
        return next !== undefined && reaches(next, reached);
      });
    // In a cycle "no" may mean "not by this way"; only the file that the search began with is certain then.
    if (found) known.set(path, true);
    return found;
  }

  const files: DialectFiles = {
    belongs(path) {
      const found = reaches(path, new Set());
      known.set(path, found);
      return found;
    },
    isPrimitives: (path) => within(path, options.primitives),
    target(program, from, specifier) {
      const path = resolvePath(from, specifier);
      if (path === undefined) return undefined;
      if (files.isPrimitives(path)) return { path: program === 'direct' ? directTwin(path) : path, own: false };
      return files.belongs(path) ? { path, own: true } : undefined;
    },
    forget: () => known.clear(),
  };
  return files;
}
