import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { widthOf } from '../../src/cli/table.ts';
import { parseTrace } from '../../src/machine/trace/format.ts';
import { KEPT, keptTrace, traceFiles } from '../machine/trace/traces.ts';
import { json, pxd } from './pxd.ts';

const folder = mkdtempSync(join(tmpdir(), 'pxd-play-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const kept = (name: string): string => join(KEPT, `${name}.trace.gz`);

describe('pxd play --recorded', () => {
  it('tells what each operation of a recording gave and changed', async () => {
    const { out, code } = await pxd(['play', '--recorded', kept('anon/anon_basic')], { columns: 100 });
    expect(code).toBe(0);
    expect(out).toBe(`anon_basic: private anonymous memory: demand zero, read fault maps the zero page, write faults
  replace it
0 mmap(0x10000000, 16K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS) = 0x10000000
  + 10000000-10004000 rw-p 16K anon  rd wr mr mw me ac
    VmSize 0 → 16, VmData 0 → 16
1 load(0x10000000, 2) = 0 ×2
  ~ 10000000-10004000 rw-p 16K anon
      10000000: zz
    3 page-table pages made (VmPTE 12)
2 store(0x10000000, 1, 5) = 1 access
  ~ 10000000-10004000 rw-p 16K anon
      10000000: z → A
      rss +4, pss +4, pd +4, ref +4, an +4 kB
    VmRSS 0 → 4, RssAnon 0 → 4
3 store(0x10002000, 2, 1) = 2 accesses
  ~ 10000000-10004000 rw-p 16K anon
      10002000: AA
      rss +8, pss +8, pd +8, ref +8, an +8 kB
    VmRSS 4 → 12, RssAnon 4 → 12
4 load(0x10000000, 6) = 5, 0, 1, 2, 0 ×2
  SIGSEGV (SEGV_MAPERR) at 0x10004000 and the page after it
5 mincore(0x10000000, 24K) = ENOMEM
6 mincore(0x10000000, 16K) = 0: 1 ×4
7 munmap(0x10000000, 16K) = 0
  - 10000000-10004000 rw-p 16K anon
    VmSize 16 → 0, VmRSS 12 → 0, RssAnon 12 → 0, VmData 16 → 0
    3 page-table pages freed (VmPTE 0)
8 load(0x10000000) = no access
  SIGSEGV (SEGV_MAPERR) at 0x10000000
`);
  });

  it('shows a whole state, and the one before the first operation', async () => {
    const { out } = await pxd(['play', '--recorded', kept('anon/anon_basic'), '--at', '3']);
    expect(out).toBe(`3 store(0x10002000, 2, 1) = 2 accesses
P0
  VmSize 16, VmRSS 12, RssAnon 12, VmData 16, VmPTE 12
  10000000-10004000 rw-p 16K anon  rd wr mr mw me ac
      rss 12, pss 12, pd 12, ref 12, an 12
      10000000: AzAA
`);
    expect((await pxd(['play', '--recorded', kept('anon/anon_basic'), '--at', '-1'])).code).toBe(0);
  });

  it('gives an object an operation, with the deltas that were recorded', async () => {
    for (const name of ['anon/anon_guard', 'fork/fork_r001', 'misc/misc_pagemap_scan']) {
      const objects = json(await pxd(['play', '--recorded', '--json', kept(name)]));
      const lines = keptTrace(name)
        .trim()
        .split('\n')
        .slice(1, -1)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(objects.length).toBe(lines.length);
      for (const [i, object] of objects.entries()) {
        for (const key of ['i', 'op', 'p', 'r', 'v', 'f', 'walk_end']) expect([key, object[key]]).toEqual([key, lines[i][key]]);
        expect(sorted(object.s)).toEqual(sorted(lines[i].s));
      }
    }
  });

  it.each([80, 160])('fits %i columns', async (columns) => {
    for (const path of traceFiles().filter((_, i) => i % 23 === 0)) {
      const { lines, code } = await pxd(['play', '--recorded', path], { columns, color: columns === 160 });
      expect(code).toBe(0);
      for (const line of lines) expect(`${path} ${widthOf(line) <= columns ? '' : line}`).toBe(`${path} `);
    }
  });

  it('colours only where colours are wanted', async () => {
    expect((await pxd(['play', '--recorded', kept('anon/anon_guard')])).out).not.toContain('\u001b');
    expect((await pxd(['play', '--recorded', kept('anon/anon_guard')], { color: true })).out).toContain('\u001b[');
  });

  it('tells of processes that come and go, of files, and of protections', async () => {
    const { out } = await pxd(['play', '--recorded', kept('fork/fork_many')]);
    expect(out).toContain('  P1 is new\n');
    expect(out).toMatch(/ {2}P\d is gone\n/);
    expect(out).toContain('10000000: AA → 22\n');
    const file = (await pxd(['play', '--recorded', kept('file/file_memfd_shared')])).out;
    expect(file).toMatch(/ {2}memfd:0 size \d+ → \d+/);
    expect((await pxd(['play', '--recorded', kept('anon/anon_guard')])).out).toContain('flags +gu');
  });
});

describe('pxd play', () => {
  it('plays a script on the machine, as docs/play.md shows', async () => {
    const [script, shown] = [...readFileSync('docs/play.md', 'utf8').matchAll(/```text\n([\s\S]*?)```/g)].map((m) => m[1]);
    const { out, code } = await pxd(['play', file('shown', script)]);
    expect(code).toBe(0);
    expect(shown.split('\n').length).toBeGreaterThan(20);
    expect(out).toContain(shown);
  });

  it('compares a trace with the machine, and tells where a recording differs', async () => {
    const same = await pxd(['play', kept('anon/anon_growsdown'), '--only']);
    expect(same.out).toMatch(/0 of 13 operations differ from the recording\n$/);
    const text = keptTrace('anon/anon_growsdown');
    const other = await pxd(['play', file('other.trace', text.replace('"VmStk":', '"VmStk":1')), '--only']);
    expect(other.code).toBe(0);
    expect(other.out).toContain('  ! counter 0 VmStk: the recording has 1');
    expect(other.out).not.toContain('\n0 of 13');
    const [first] = json(await pxd(['play', file('other.trace', text.replace('"r":"0x', '"r":"0xf')), '--json']));
    expect(first.differences).toMatchObject([{ what: 'r' }]);
  });

  it('waits after each operation for a line of stdin', () => {
    const arguments_ = ['--import', 'tsx', 'src/cli/main.ts', 'play', '--recorded', '--step', kept('anon/anon_basic')];
    const played = (input: string): string => spawnSync(process.execPath, arguments_, { input, encoding: 'utf8' }).stdout;
    const operations = (out: string): number => out.match(/^\d /gm)?.length ?? 0;
    // Enter, Enter, the whole state, on to operation 5, end.
    const out = played('\n\ns\n5\nq\n');
    expect(operations(out)).toBe(6);
    expect(out).toContain('      10000000: Az..\n3 ');
    // At the end of stdin it goes on to the last operation.
    expect(operations(played('\n'))).toBe(9);
  });
});

describe('pxd play --script', () => {
  it('prints a trace as a script that says the same', async () => {
    const { out } = await pxd(['play', '--script', kept('fork/fork_many')]);
    expect(out.split('\n')[0]).toBe('mmap 0x10000000 8K PROT_READ|PROT_WRITE MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS -1 0');
    const again = await pxd(['play', '--script', file('again', out)]);
    expect(again.out).toBe(out);
    expect(out.trim().split('\n').length).toBe(parseTrace(keptTrace('fork/fork_many')).steps.length);
  });
});

describe('pxd play: what it refuses', () => {
  it.each<[string, string | Uint8Array, string[], RegExp]>([
    ['nonsense', 'munmap 0x1000\n', [], /nonsense, line 1: expected "munmap ADDRESS LENGTH"/],
    [
      'list',
      '{"ops":1,"group":"x","name":"l","purpose":"","snap":1}\n{"op":"fork","p":0,"a":[]}\n',
      ['--recorded'],
      /l is a list of operations without results/,
    ],
    ['late', 'fork\n', ['--recorded', '--at', '5'], /--at 5: the last operation is 0/],
    ['bytes', new Uint8Array([1, 0, 2]), [], /neither a trace nor a script/],
    ['packed', new Uint8Array([0x1f, 0x8b, 1, 2, 3]), [], /cannot be unpacked/],
    ['cut', `${keptTrace('anon/anon_basic').split('\n').slice(0, 3).join('\n')}\n`, ['--recorded'], /without an end line/],
    ['empty', '', [], /holds no operation/],
  ])('%s', async (name, content, options, sentence) => {
    const ran = await pxd(['play', file(name, content), ...options]);
    expect(ran.code).toBe(2);
    expect(ran.out).toBe('');
    expect(ran.err).toMatch(sentence);
    expect(ran.err.trim().split('\n').length).toBe(1);
  });

  it('a file that is not there', async () => {
    const ran = await pxd(['play', join(folder, 'none')]);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain('none');
  });
});

const sorted = (value: unknown): unknown => JSON.parse(JSON.stringify(value), (_, v) => (Array.isArray(v) ? [...v].sort() : v));
