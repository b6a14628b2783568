/**
 * Threads of `pxd check` when it runs from source: bundles the thread's module, and the catalogue that it is to load, into a directory that goes when the process ends.
 * (Node's hooks for TypeScript do not reach into threads on Node 20, and every thread would compile the kernel's programs anew.)
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { esbuildPrograms } from './kernel-program.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = new Map();

/** URLs of the two, built once a process. `catalogue`: URL of a TypeScript module, or undefined. */
export function sourceWorker(catalogue) {
  const key = String(catalogue);
  if (!built.has(key)) built.set(key, bundle(catalogue));
  return built.get(key);
}

async function bundle(catalogue) {
  // Below node_modules, so that packages are found.
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const outdir = mkdtempSync(join(cache, 'pxd-worker-'));
  process.on('exit', () => rmSync(outdir, { recursive: true, force: true }));
  await build({
    bundle: true,
    format: 'esm',
    target: 'node20.19',
    platform: 'node',
    packages: 'external',
    splitting: true,
    logLevel: 'warning',
    plugins: [esbuildPrograms()],
    entryPoints: {
      worker: join(root, 'src/explore/node/worker.ts'),
      ...(catalogue === undefined ? {} : { catalogue: fileURLToPath(catalogue) }),
    },
    outdir,
    outExtension: { '.js': '.mjs' },
  });
  const url = (name) => pathToFileURL(join(outdir, name));
  return { worker: url('worker.mjs'), ...(catalogue === undefined ? {} : { catalogue: url('catalogue.mjs') }) };
}
