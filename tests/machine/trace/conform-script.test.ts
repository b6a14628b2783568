import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { keptTrace } from './traces.ts';

const folder = mkdtempSync(join(tmpdir(), 'pxd-conform-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** `npm run conform` in a process of its own, as CI runs it. */
function conform(...args: string[]): { code: number | null; out: string; err: string } {
  const node = ['--import', 'tsx', '--import', './scripts/kernel-node.mjs', 'scripts/conform.ts', ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, node, { encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

describe('npm run conform', () => {
  it('plays the traces of a folder, tells which differ and how, and says so by its exit code', () => {
    mkdirSync(join(folder, 'anon'));
    const good = keptTrace('anon/anon_growsdown');
    writeFileSync(join(folder, 'anon/anon_growsdown.trace.gz'), gzipSync(good));
    const wrong = good.replace('"name":"anon_growsdown"', '"name":"wrong"').replace('"VmStk":', '"VmStk":1');
    writeFileSync(join(folder, 'anon/wrong.trace'), wrong);
    const both = conform(folder, '--json', '--jobs', '2');
    expect(both.code).toBe(1);
    const reports = both.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(reports).toMatchObject([
      { trace: 'anon_growsdown', group: 'anon', ops: 13, differences: 0, first: null },
      { trace: 'wrong', group: 'anon', ops: 13, first: { what: 'counter', where: '0 VmStk' } },
    ]);
    expect(reports[1].differences).toBeGreaterThan(0);

    const one = conform(folder, '--only', 'growsdown', '--group', 'anon');
    expect(one).toMatchObject({ code: 0, err: '' });
    expect(one.out).toBe(`group  traces  equal  operations  differences  accepted
anon        1      1          13            0         0
all         1      1          13            0         0
`);

    const table = conform(join(folder, 'anon/wrong.trace'));
    expect(table.code).toBe(1);
    expect(table.out).toMatch(/wrong: \d+ of 13 operations differ\n {2}op 0 mmap: counter 0 VmStk\n {4}expected 1\d+\n {4}got {6}\d+\n/);
  });

  it('refuses what is no trace with one sentence', () => {
    const path = join(folder, 'bad.trace');
    writeFileSync(path, 'hello\n');
    expect(conform(path)).toEqual({ code: 2, out: '', err: `conform: ${path}: line 1 of the trace is not JSON: "hello"\n` });
    expect(conform(join(folder, 'none')).err).toMatch(/^conform: .*none: there is no such file or folder\n$/);
    expect(conform('--only', '[')).toMatchObject({ code: 2, out: '' });
  });
});
