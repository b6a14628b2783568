/**
 * Builds dist/: one bundle for each public entry and for the command line (esbuild), and type declarations (tsc).
 * `node scripts/build.mjs --no-types` leaves the declarations out, for quick turns.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { esbuildPrograms } from './kernel-program.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const external = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
/** Where it is made: what was built before stays until all of it is there. */
const MADE = 'dist.new';
rmSync(MADE, { recursive: true, force: true });

// One build, so that all entries share what they share: state (the machine that is mounted, tasks' stacks, structs) is there once.
await build({
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  sourcemap: true,
  // Constants are written as numbers (fold-constants.mjs).
  minifySyntax: true,
  logLevel: 'warning',
  external,
  plugins: [esbuildPrograms()],
  entryPoints: {
    pagetable: 'src/pagetable/index.ts',
    image: 'src/image/index.ts',
    'image-node': 'src/image/node/index.ts',
    inspect: 'src/inspect/index.ts',
    machine: 'src/machine/index.ts',
    'machine-node': 'src/machine/node/index.ts',
    explore: 'src/explore/index.ts',
    'explore-kernel': 'src/explore/kernel.ts',
    'explore-mm': 'pxd:step',
    'explore-node': 'src/explore/node/index.ts',
    races: 'src/races/index.ts',
    'check-worker': 'src/explore/node/worker.ts',
    cli: 'src/cli/main.ts',
  },
  outdir: MADE,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
});
const command = join(MADE, 'cli.js');
writeFileSync(command, `#!/usr/bin/env node\n${readFileSync(command, 'utf8').replace(/^#!.*\n/, '')}`);
chmodSync(command, 0o755);
if (!process.argv.includes('--no-types')) {
  const compiler = createRequire(import.meta.url).resolve('typescript/package.json');
  const bin = join(dirname(compiler), JSON.parse(readFileSync(compiler, 'utf8')).bin.tsc);
  const { status } = spawnSync(process.execPath, [bin, '-p', 'tsconfig.build.json', '--outDir', join(MADE, 'types')], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
rmSync('dist', { recursive: true, force: true });
renameSync(MADE, 'dist');
