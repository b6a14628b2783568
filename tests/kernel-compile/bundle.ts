/** Bundles code that uses the sample's programs with esbuild and runs it in a Node of its own. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { esbuildPrograms } from '../../scripts/kernel-program.mjs';

/** Path of a file of the sample, or of the runtime, as a literal. */
export const sample = (file: string): string => JSON.stringify(new URL(`sample/${file}`, import.meta.url).pathname);
export const RUNTIME = JSON.stringify(new URL('../../src/kernel/compile/runtime.ts', import.meta.url).pathname);

/** What the code prints. */
export async function runBundled(code: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'pxd-programs-'));
  try {
    const entry = join(folder, 'entry.ts');
    const outfile = join(folder, 'entry.mjs');
    writeFileSync(entry, code);
    await build({
      entryPoints: [entry],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'neutral',
      sourcemap: true,
      logLevel: 'silent',
      plugins: [esbuildPrograms()],
    });
    return execFileSync(process.execPath, ['--enable-source-maps', outfile], { encoding: 'utf8', timeout: 60_000 });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What the code prints under Node from source, with the hooks of scripts/kernel-node.mjs. */
export function runFromSource(code: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'pxd-programs-'));
  try {
    const entry = join(folder, 'entry.mts');
    writeFileSync(entry, code);
    return execFileSync(process.execPath, ['--import', 'tsx', '--import', './scripts/kernel-node.mjs', entry], { encoding: 'utf8', timeout: 60_000 });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
