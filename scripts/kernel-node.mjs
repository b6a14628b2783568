/**
 * Lets Node run sources that import `pxd:direct` and `pxd:step`: `tsx --import ./scripts/kernel-node.mjs scripts/….ts`.
 * Also the module of hooks itself (Node loads it a second time, in the thread of its hooks). A program is compiled when it is first imported, and kept below
 * node_modules until a file changes that it is made of.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { register } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread, threadId } from 'node:worker_threads';

const NAME = /^(pxd|sample):(direct|step)$/;
const compiler = fileURLToPath(new URL('kernel-program.mjs', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));
const cache = join(root, 'node_modules/.cache/pxd-programs');
/** What programs are made of, and by. */
const MADE_OF = ['src', 'tests/kernel-compile/sample', 'scripts'];
/** Modules of the programs that were asked for, by URL. */
const modules = new Map();

/** A name for the files as they are. */
function state() {
  const hash = createHash('sha256').update(`${process.version} ${root}`);
  const add = (path) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const inside = join(path, entry.name);
      if (entry.isDirectory()) add(inside);
      else {
        const { mtimeMs, size } = statSync(inside);
        hash.update(`${inside} ${mtimeMs} ${size}\n`);
      }
    }
  };
  for (const path of MADE_OF) add(join(root, path));
  return hash.digest('hex').slice(0, 16);
}

/** The modules of a program as JSON. */
function program(specifier) {
  const name = specifier.replace(':', '-');
  const kept = join(cache, `${name}-${state()}.json`);
  try {
    return readFileSync(kept, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const printed = execFileSync(process.execPath, [compiler, ...specifier.split(':')], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  mkdirSync(cache, { recursive: true });
  for (const old of readdirSync(cache)) if (old.startsWith(`${name}-`)) rmSync(join(cache, old), { force: true });
  // Others may do the same at the same time: whoever comes last leaves the same bytes.
  const begun = join(cache, `begun-${process.pid}-${threadId}-${name}`);
  writeFileSync(begun, printed);
  renameSync(begun, kept);
  return printed;
}

export async function resolve(specifier, context, next) {
  if (NAME.test(specifier) && !modules.has(specifier)) for (const [url, module] of Object.entries(JSON.parse(program(specifier)))) modules.set(url, module);
  if (modules.has(specifier)) return { url: specifier, format: 'module', shortCircuit: true };
  const from = modules.get(context.parentURL);
  if (from === undefined) return await next(specifier, context);
  const target = from.targets[specifier] ?? specifier;
  if (modules.has(target)) return { url: target, format: 'module', shortCircuit: true };
  return await next(target, { ...context, parentURL: context.parentURL.replace(/\?.*$/, '') });
}

export async function load(url, context, next) {
  const module = modules.get(url);
  return module ? { format: 'module', source: module.source, shortCircuit: true } : await next(url, context);
}

if (isMainThread) register('./kernel-node.mjs', import.meta.url);
