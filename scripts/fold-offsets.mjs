/**
 * Writes the offsets of struct fields (`Vma.start`) and the numbers of switches (`SW.forkNoFlush`) into built code as numbers.
 *
 * In the source a field is a property of a described struct; engines load it at each access, as a bundle's top-level names are variables. The build
 * knows all layouts, so it puts the number there, padded to the same length: lines and columns stay as they are in the source.
 * Numbers of types (`$type`) stay: they follow the order in which modules are evaluated.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

/** Folders whose files know structs. */
const FOLDERS = ['src/memory', 'src/kernel', 'src/mm', 'src/machine'];

/** References and numbers of pages: whole numbers of 32 bits, whoever wrote them. */
const isSmall = (field) => field !== undefined && field.slots === 1 && /^(ref:|page$)/.test(field.kind);

/** All files that describe structs, and what each of their exported structs' fields are: path → export → field → offset. */
async function layoutsOf(root) {
  const files = FOLDERS.flatMap((folder) => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((f) => join(root, folder, f)));
  const defining = files.filter((f) => f.endsWith('.ts') && /\bdefineStruct\(|^export const SW =/m.test(readFileSync(f, 'utf8')) && !f.endsWith('/struct.ts'));
  const struct = defining.length > 0 ? `export { layouts } from ${JSON.stringify(join(root, 'src/memory/struct.ts'))};` : '';
  const contents = `${defining.map((f, i) => `export * as m${i} from ${JSON.stringify(f)};`).join('\n')}\n${struct}`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    logLevel: 'silent',
  });
  const modules = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
  /** Fields' offsets as text; with a sign where the field holds a small integer. */
  const textOf = (struct) =>
    Object.fromEntries(
      Object.entries(struct)
        .filter(([name, offset]) => typeof offset === 'number' && name !== '$type')
        .map(([name, offset]) => [name, `${isSmall(modules.layouts[struct.$type]?.fields.get(name)) ? '+' : ''}${offset}`]),
    );
  return new Map(
    defining.map((file, i) => [
      basename(file),
      new Map(
        Object.entries(modules[`m${i}`])
          .filter(([name, value]) => name === 'SW' || (typeof value === 'object' && value !== null && typeof value.$type === 'number'))
          .map(([name, struct]) => [name, textOf(struct)]),
      ),
    ]),
  );
}

/** `get(vma, 3    )`: a read of a field whose offset is a number by now, of an object that a name or another such read gives. */
const READ = /\bget\(([A-Za-z_]\w*|\$h\[[^[\]]*\]|\(\$h\[[^[\]]*\]\|0\)), (\+?)(\d+)( *)\)/;

/**
 * Reads of fields as reads of the heap's array, in the direct program: engines stop inlining calls in large functions. Every character keeps its place.
 * Only where `get` is the unchecked one (the direct program's).
 */
export function inlineReads(text, stateModule) {
  if (!/\bget\b[^;]*from '[^']*\/(ops|heap)\.ts'/.test(text)) return text;
  let inlined = text;
  for (;;) {
    const next = inlined.replace(READ, (whole, object, small, offset) => {
      const read = `$h[${object}+${offset}]`;
      return (small && read.length + 4 <= whole.length ? `(${read}|0)` : read).padEnd(whole.length);
    });
    if (next === inlined) break;
    inlined = next;
  }
  return inlined === text ? text : `${inlined}\nimport { heap as $h } from ${JSON.stringify(stateModule)};\n`;
}

/** A function from source text to the same text with offsets for fields. */
export async function offsetFolder(root) {
  const layouts = await layoutsOf(root);
  return (text, path) => {
    /** Local name → struct. */
    const known = new Map(layouts.get(basename(path)) ?? []);
    for (const [, names, from] of text.matchAll(/import\s*\{([^}]*)\}\s*from\s*'[^']*\/([^/']+\.ts)'/g)) {
      const structs = layouts.get(from);
      if (structs === undefined) continue;
      for (const item of names.split(',')) {
        const [, name, , local] = /^\s*(\w+)(\s+as\s+(\w+))?\s*$/.exec(item) ?? [];
        if (structs.has(name)) known.set(local ?? name, structs.get(name));
      }
    }
    if (known.size === 0) return text;
    const pattern = new RegExp(`(?<![\\w.$'"])(${[...known.keys()].join('|')})\\.(\\$size|[A-Za-z]\\w*)(?![\\w(])`, 'g');
    return text.replace(pattern, (whole, struct, field) => {
      const offset = known.get(struct)[field];
      return offset === undefined ? whole : offset.padEnd(whole.length);
    });
  };
}
