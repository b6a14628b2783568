/**
 * Named numbers (`const VM_SHARED = 8`) in built code where they are used.
 *
 * Engines load a bundle's top-level name at each use and look at what it holds. esbuild writes a constant's value instead, but only of files that import nothing.
 * So each file takes the constants that it uses, its own and others', from such a module, which it imports on its first line; declarations and other imports of
 * them give way to blanks: all other code keeps its line and, but on the first, its column.
 *
 * A constant's name is in capitals, and its value, a whole number of 32 bits, is computed from numbers and other constants alone.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** Folders whose files name numbers that hot code uses. */
const FOLDERS = ['src/memory', 'src/kernel', 'src/mm', 'src/machine'];
const FILES = ['src/pagetable/canonical.ts', 'src/pagetable/canonical-bits.ts'];

const NAME = '_*[A-Z][A-Z0-9_]*';
const DECLARATION = new RegExp(`^(export )?const (${NAME})(?:: number)? = ([-\\w\\s|&~<>+*/().]*);`, 'gm');
const IMPORT = /^(import \{)([^}]*)\} from '([^']*\.ts)';/gm;
const PASSED_ON = /^export (?:\*|\{([^}]*)\}) from '([^']*\.ts)';/gm;
/** An item of an import's list. */
const ITEM = new RegExp(`(?<=^|[\\s,])(${NAME})(?:\\s+as\\s+(${NAME}))?\\s*(?:,|$)`, 'g');
const WORD = /(?<![\w.$])[A-Za-z_]\w*/g;

const blank = (text) => text.replace(/\S/g, ' ');

/** A function from a file's text (and path) to the same with its constants in front. `prepare` is what happens to a text before. */
export function constantFolder(root, prepare) {
  const paths = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((f) => f.endsWith('.ts'))
      .map((f) => join(root, folder, f)),
  );
  /** By path: what names mean that the file declares, imports, and passes on. */
  const files = new Map([...paths, ...FILES.map((f) => join(root, f))].map((path) => [path, read(prepare(readFileSync(path, 'utf8'), path), path)]));
  const known = new Map();

  /** Value of a name that a file declares or imports; undefined when it is no constant. */
  function valueIn(path, name) {
    const key = `${path}:${name}`;
    if (known.has(key)) return known.get(key);
    known.set(key, undefined);
    const file = files.get(path);
    const imported = file?.imports.get(name);
    const text = file?.declared.get(name);
    const value = imported ? exportOf(imported.from, imported.name) : text === undefined ? undefined : compute(path, text);
    known.set(key, value);
    return value;
  }

  /** Value of a name that others import from a file. */
  function exportOf(path, name) {
    const file = files.get(path);
    if (file === undefined) return undefined;
    if (file.declared.has(name) || file.imports.has(name)) return valueIn(path, name);
    for (const { from, names } of file.passed) {
      const found = names === undefined || names.includes(name) ? exportOf(from, name) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  function compute(path, text) {
    let pure = true;
    const numbers = text.replace(WORD, (name) => {
      const value = valueIn(path, name);
      if (value === undefined) pure = false;
      return `(${value})`;
    });
    const value = pure ? Function(`return ${numbers}`)() : undefined;
    // After a number that esbuild leaves alone it leaves all.
    return Number.isInteger(value) && Math.abs(value) <= 2 ** 32 ? value : undefined;
  }

  /** By path: the constants that the file uses, as last folded. */
  const used = new Map();
  return {
    fold(text, path) {
      files.set(path, read(text, path));
      const values = new Map();
      const take = (name) => {
        const value = valueIn(path, name);
        if (value !== undefined) values.set(name, value);
        return value !== undefined;
      };
      const folded = text
        .replace(DECLARATION, (whole, exported, name) => {
          if (!take(name)) return whole;
          const instead = exported ? `export { ${name} };` : '';
          return instead + blank(whole.slice(instead.length));
        })
        .replace(IMPORT, (_whole, start, list, from) => {
          const left = list.replace(ITEM, (item, name, local) => (take(local ?? name) ? blank(item) : item));
          return `${start}${left}} from '${from}';`;
        });
      if (values.size === 0) return text;
      used.set(path, values);
      return `import { ${[...values.keys()].join(', ')} } from './${basename(path)}?numbers'; ${folded}`;
    },
    /** Text of the module that a folded file takes its constants from. */
    numbers: (path) => [...used.get(path)].map(([name, value]) => `export const ${name} = ${value};`).join('\n'),
  };
}

function read(text, path) {
  const target = (from) => resolve(dirname(path), from);
  const imports = new Map();
  for (const [, , list, from] of text.matchAll(IMPORT))
    for (const [, name, local] of list.matchAll(ITEM)) imports.set(local ?? name, { from: target(from), name });
  return {
    declared: new Map([...text.matchAll(DECLARATION)].map(([, , name, value]) => [name, value])),
    imports,
    passed: [...text.matchAll(PASSED_ON)].map(([, list, from]) => ({ from: target(from), names: list?.split(',').map((item) => item.trim()) })),
  };
}
