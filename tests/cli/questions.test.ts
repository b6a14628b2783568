/** walk, layout, audit, aliases, diff and sql on the fixtures. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CAPTURES, json, pxd } from './pxd.ts';

const DIR = `${CAPTURES}/x86_64-4level`;

describe('walk', () => {
  test('draws levels, fields, the folded one and who takes a right away', async () => {
    const { code, out, lines } = await pxd(['walk', DIR, '0x4cd123', '--pid', '80']);
    expect(code).toBe(0);
    for (const part of ['pgd  PML4, table 0x', 'p4d is folded into the pgd', 'pud  PDPT', 'pmd  PD', 'pte  PT', '← exec: NX is set', '→ physical 0x'])
      expect(out).toContain(part);
    expect(lines.filter((l) => l.length > 80)).toEqual([]);
  });

  test('tells rights that go for one reason together, within the width', async () => {
    const [protnone] = json(await pxd(['leaves', DIR, '--pid', '79', '--user', '--where', '!present', '--format', 'jsonl']));
    const { lines } = await pxd(['walk', DIR, '--pid', '79', protnone.va as string]);
    expect(lines.filter((l) => l.length > 80)).toEqual([]);
    expect(lines.some((l) => l.includes('← read, write, exec: never allowed by this'))).toBe(true);
  });

  test('says why an address is not mapped', async () => {
    expect((await pxd(['walk', DIR, '0x10ff0000'])).out).toContain('✗ not mapped: the pmd entry is empty');
    expect((await pxd(['walk', DIR, '0x800000000000'])).out).toContain('does not translate this address');
  });

  test('JSON agrees with translate', async () => {
    const [one] = json(await pxd(['walk', DIR, '0xffffffff9da00123', '--json']));
    expect(one).toMatchObject({
      result: { mapped: true, page: 2097152, read: true, write: false, exec: true, user: false },
      takenAway: [
        { right: 'write', level: 'pmd' },
        { right: 'user', level: 'pud' },
      ],
    });
  });

  test('draws a range under both foldings, without an image', async () => {
    const wide = await pxd(['walk', 's390x', '0x7ff00000-0x80100000', '--top', 'pud', '--depth', 'pud'], { columns: 140 });
    expect(wide.out).toContain('(pgd = p4d = pud) → pmd → pte');
    expect(wide.out).toContain('iterations, top:    pgd 2, p4d 2, pud 2; 5 calls');
    expect(wide.out).toContain('iterations, middle: pgd 1, p4d 1, pud 2; 3 calls');
    expect(wide.lines.filter((l) => l.length > 140)).toEqual([]);
    const copy = await pxd(['walk', 's390x', '0x7ff00000-0x80100000', '--top', 'pud', '--depth', 'pud', '--handover', 'copy']);
    expect(copy.out).toContain('past its copy!');
  });

  test('draws a range of an image', async () => {
    const { code, out } = await pxd(['walk', DIR, '0x400000-0x601000']);
    expect(code).toBe(0);
    expect(out).toContain('in the same order');
  });
});

describe('layout', () => {
  test('without a mode all of them, with one its picture before and after hugepd', async () => {
    expect((await pxd(['layout'])).out).toMatch(/ppc-8xx-4k +─ .* 8M r1024×2/);
    const { out } = await pxd(['layout', 'ppc64-hash-4k'], { columns: 100 });
    expect(out).toContain('16M  at pud  a pud entry points to a directory of 16 huge entries');
    expect(out).toContain('16M  at pmd  8 pmd entries in a row, each mapping its part');
    expect((await pxd(['layout', 'riscv-sv39', '--svg'])).out).toMatch(/^<svg /);
    expect((await pxd(['layout', 'nonsense'])).code).toBe(2);
    expect((await pxd(['layout', 'arm64-4k-48'])).lines.filter((l) => [...l].length > 80)).toEqual([]);
  });
});

describe('audit', () => {
  test('finds what the test processes did, and --strict says so', async () => {
    const { code, out } = await pxd(['audit', DIR]);
    expect(code).toBe(0);
    for (const part of ['write-exec: user memory is writable and executable', 'writable-alias', 'table-mapped', 'roots audited: 0 errors'])
      expect(out).toContain(part);
    expect((await pxd(['audit', DIR, '--strict'])).code).toBe(1);
    expect((await pxd(['audit', DIR, '--strict', '--kernel'])).code).toBe(0);
  });

  test('--json gives one finding a line', async () => {
    const found = json(await pxd(['audit', DIR, '--json']));
    expect(found.map((f) => f.id)).toContain('write-exec');
    for (const f of found) expect(Object.keys(f)).toEqual(expect.arrayContaining(['id', 'severity', 'sentence', 'half', 'roots', 'count', 'unit', 'ranges']));
  });
});

describe('aliases', () => {
  test('lists the users of a frame', async () => {
    const [walk] = json(await pxd(['walk', DIR, '0x4cd123', '--pid', '80', '--json']));
    const { pa } = walk.result as { pa: string };
    const users = json(await pxd(['aliases', DIR, pa, '--json']));
    expect(users.some((u) => u.pid === 80 && u.va === '0x4cd000')).toBe(true);
    expect(users.some((u) => String(u.va).startsWith('0xffff8'))).toBe(true);
    expect((await pxd(['aliases', DIR, '0x7ffffffff000'])).out).toContain('no known root maps it');
  });

  test('sums up frames that are mapped more than once', async () => {
    const { out } = await pxd(['aliases', DIR]);
    expect(out).toMatch(/frames \(.*\) are mapped 2 times or more/);
  });
});

describe('diff', () => {
  test('compares two processes, and a capture with itself', async () => {
    expect((await pxd(['diff', DIR, DIR])).out).toContain('no difference');
    const { out } = await pxd(['diff', DIR, '--pid', '79', '--to-pid', '80', '--summary']);
    expect(out).toMatch(/\d+ extents added .* removed .* changed/);
    expect((await pxd(['diff', DIR])).err).toContain('expected a second image');
  });

  test('two images without a pid: the same process where the other one knows it, else its first', async () => {
    const { code, out } = await pxd(['diff', `${CAPTURES}/x86_64-kdump`, DIR, '--user', '--summary']);
    expect(code).toBe(0);
    expect(out).toMatch(/^--- .*\n\+\+\+ .*pid 79 pxd-basic/);
    expect((await pxd(['diff', DIR, `${CAPTURES}/x86_64-kdump`, '--pid', '79'])).code).toBe(2);
  });
});

describe('sql', async () => {
  const installed = await import('@duckdb/node-api').then(
    () => true,
    () => false,
  );

  test.skipIf(!installed)('answers queries over leaves, tables, entries and anomalies', async () => {
    const rows = json(
      await pxd(['sql', DIR, '--format', 'jsonl', '-c', "SELECT pid, count(*) AS n FROM leaves WHERE write AND exec AND half = 'user' GROUP BY pid"]),
    );
    expect(rows).toMatchObject([{ pid: 79 }]);
    const [types] = json(await pxd(['sql', DIR, '--format', 'jsonl', '-c', 'SELECT typeof(va) AS va, typeof(write) AS write FROM leaves LIMIT 1']));
    expect(types).toEqual({ va: 'UBIGINT', write: 'BOOLEAN' });
    const [sum] = json(
      await pxd([
        'sql',
        DIR,
        '--format',
        'jsonl',
        '-c',
        "SELECT (SELECT sum(leaves) FROM tables) = (SELECT sum(n) FROM entries WHERE kind = 'leaf') AS equal, (SELECT count(*) FROM anomalies) > 0 AS some",
      ]),
    );
    expect(sum).toEqual({ equal: true, some: true });
  });

  test.skipIf(!installed)('leaves equal those of the leaves command', async () => {
    const leaves = json(await pxd(['leaves', DIR, '--pid', '79', '--user', '--format', 'jsonl']));
    const rows = json(
      await pxd([
        'sql',
        DIR,
        '--pid',
        '79',
        '--user',
        '--format',
        'jsonl',
        '-c',
        "SELECT addr(va) AS va, addr(pa) AS pa, bytes, page, read, write, exec FROM leaves WHERE kind = 'leaf' AND half = 'user' ORDER BY leaves.va",
      ]),
    );
    expect(rows).toEqual(leaves.map(({ va, pa, bytes, page, read, write, exec }) => ({ va, pa, bytes, page, read, write, exec })));
  });

  test.skipIf(!installed)('exports files, and says what is wrong with a query', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pxd-sql-'));
    try {
      expect((await pxd(['sql', DIR, '--export', folder, '--to', 'csv'])).code).toBe(0);
      expect((await pxd(['sql', DIR, '--export', folder, '--to', 'csv'])).code).toBe(2);
      expect((await pxd(['sql', DIR, '--export', folder, '--to', 'csv', '--force'])).code).toBe(0);
      expect(readdirSync(folder).sort()).toEqual(['anomalies.csv', 'entries.csv', 'leaves.csv', 'roots.csv', 'tables.csv']);
    } finally {
      rmSync(folder, { recursive: true });
    }
    expect(
      (await pxd(['sql', DIR, '--format', 'csv', '-c', 'CREATE TEMP TABLE t AS SELECT 41 AS a; SELECT a + 1 AS b FROM t; SELECT 7 AS c'])).lines.slice(-4),
    ).toEqual(['b', '42', 'c', '7']);
    const bad = await pxd(['sql', DIR, '-c', 'selec 1']);
    expect([bad.code, bad.out]).toEqual([2, '']);
    expect(bad.err).toMatch(/^pxd: Parser Error/);
  });
});
