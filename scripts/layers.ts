/**
 * Checks that imports point downwards only, and that nothing but the readers of `image/node`, `cli` and tests touches Node.
 * Prints every violation; exit code 1 when there is any.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What each layer may import besides itself. */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  arch: [],
  pagetable: ['arch'],
  image: ['pagetable', 'arch'],
  memory: ['pagetable', 'arch'],
  inspect: ['image', 'pagetable', 'arch'],
  kernel: ['memory', 'pagetable', 'arch'],
  mm: ['kernel', 'memory', 'pagetable', 'arch'],
  machine: ['mm', 'kernel', 'memory', 'image', 'pagetable', 'arch'],
  explore: ['machine', 'mm', 'kernel', 'memory', 'pagetable', 'arch'],
  races: ['explore', 'machine', 'mm', 'kernel', 'memory', 'pagetable', 'arch'],
  cli: ['races', 'explore', 'machine', 'mm', 'kernel', 'memory', 'inspect', 'image', 'pagetable', 'arch'],
};

const MAY_USE_NODE = /^(cli\/|(image|inspect|machine|explore)\/node\/)/;

const importsOf = (text: string): string[] =>
  [...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^'"\n]*?(?:from\s*)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]/g)].map((m) => m[1] ?? m[2]);

/** Violations of one file, as sentences. */
export function violations(file: string, text: string): string[] {
  const found: string[] = [];
  const layer = file.split('/')[0];
  const allowed = LAYERS[layer];
  if (allowed === undefined) return [`src/${file}: "${layer}" is not a layer`];
  for (const target of importsOf(text)) {
    if (!target.startsWith('.')) {
      if (target.startsWith('node:') && !MAY_USE_NODE.test(file)) found.push(`src/${file} imports ${target}: only src/cli and src/*/node may touch Node`);
      continue;
    }
    const into = normalize(join(dirname(file), target)).split('/')[0];
    if (into !== layer && !allowed.includes(into)) found.push(`src/${file} imports ${target}: ${layer} may import ${allowed.join(', ') || 'nothing'}`);
    if (/(^|\/)node\//.test(target) && !MAY_USE_NODE.test(file)) found.push(`src/${file} imports ${target}: pure code may not import Node readers`);
  }
  return found;
}

function main(): void {
  const src = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
  const found = files.flatMap((f) => violations(relative(src, join(src, f)), readFileSync(join(src, f), 'utf8')));
  for (const line of found) console.log(line);
  console.log(`layers: ${files.length} files, ${found.length} violations`);
  process.exitCode = found.length > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
