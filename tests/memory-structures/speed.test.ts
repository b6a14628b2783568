import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { expect, it } from 'vitest';

it('takes a logarithm of time', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pxd-structures-'));
  try {
    const outfile = join(folder, 'speed.mjs');
    buildSync({ entryPoints: [join(import.meta.dirname, 'speed.ts')], bundle: true, platform: 'node', format: 'esm', outfile });
    const results = JSON.parse(execFileSync(process.execPath, [outfile], { encoding: 'utf8' })) as Record<string, number>;
    console.log(
      Object.entries(results)
        .map(([what, ns]) => `${what}: ${ns} ns`)
        .join('\n'),
    );
    // Anything that looks at each of 65,530 VMAs takes at least some 60 µs.
    for (const ns of Object.values(results)) expect(ns).toBeLessThan(40000);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 120000);
