/**
 * Lets Node run sources that import `pxd:direct` and `pxd:step`: `tsx --import ./scripts/kernel-node.mjs scripts/….ts`.
 * Also the module of hooks itself (Node loads it a second time, in the thread of its hooks). A program is compiled when it is first imported.
 */
import { execFileSync } from 'node:child_process';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

const NAME = /^(pxd|sample):(direct|step)$/;
const compiler = fileURLToPath(new URL('kernel-program.mjs', import.meta.url));
/** Modules of the programs that were asked for, by URL. */
const modules = new Map();

export async function resolve(specifier, context, next) {
  if (NAME.test(specifier) && !modules.has(specifier)) {
    const printed = execFileSync(process.execPath, [compiler, ...specifier.split(':')], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    for (const [url, module] of Object.entries(JSON.parse(printed))) modules.set(url, module);
  }
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
