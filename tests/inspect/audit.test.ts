/** Every finding has a memory that makes it, and one that is sane makes none. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allModes, findMode } from '../../src/arch/registry.ts';
import { ReverseMap } from '../../src/inspect/aliases.ts';
import { audit, type Finding, isGrave } from '../../src/inspect/audit.ts';
import { findingJson, findingText } from '../../src/inspect/audit-text.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { putEntry, randomTables } from '../support/random-tables.ts';
import { A, D, Made, NX, P, PS, RW, US } from './made.ts';

const KERNEL = 0xffff888000000000n;
const ids = (findings: readonly Finding[]): string[] => findings.map((f) => `${f.severity} ${f.id} ${f.half}`);
const only = (findings: readonly Finding[], id: string): Finding => {
  const found = findings.filter((f) => f.id === id);
  expect(found.length).toBe(1);
  return found[0];
};
const DATA = P | RW | US | A | D | NX;
const CODE = P | US | A;

test('ordinary code and data are nothing to report', () => {
  const m = new Made()
    .map(0x400000n, 0x5000, CODE)
    .map(0x600000n, 0x5001, DATA)
    .map(KERNEL, 0x6000, P | RW | A | D | NX);
  expect(audit([m.walked()])).toEqual([]);
});

test('write-exec: a warning for users, an error for the kernel', () => {
  const m = new Made()
    .map(0x400000n, 0x5000, CODE | RW)
    .map(0x401000n, 0x5001, CODE | RW)
    .map(0x600000n, 0x5002, DATA)
    .map(KERNEL, 0x6000, P | RW | A);
  const found = audit([m.walked()]);
  expect(ids(found)).toEqual(['error write-exec kernel', 'warning write-exec user']);
  expect(found[1]).toMatchObject({ count: 2, ranges: [{ vpn: 0x400, pages: 2 }], roots: ['a'] });
  expect(isGrave(found)).toBe(true);
});

test('write-exec where nothing is marked no-execute is one note', () => {
  const m = new Made().map(0x400000n, 0x5000, CODE | RW).map(0x600000n, 0x5001, CODE);
  expect(ids(audit([m.walked()]))).toEqual(['note write-exec user']);
});

describe('writable-alias', () => {
  test('in one process, in two, and not through the kernel’s own map', () => {
    const one = new Made().map(0x400000n, 0x5000, CODE).map(0x600000n, 0x5000, DATA).map(0x700000n, 0x5005, DATA);
    expect(only(audit([one.walked()]), 'writable-alias')).toMatchObject({ severity: 'warning', ranges: [{ vpn: 0x400, pages: 1 }] });
    const x = new Made(0x100).map(0x400000n, 0x5000, CODE).map(0x700000n, 0x5005, DATA);
    const w = new Made(0x900).map(0x400000n, 0x5000, DATA);
    expect(only(audit([x.walked('x', 1), w.walked('w', 2)]), 'writable-alias').details[0]).toContain('in w');
    const direct = new Made().map(0x400000n, 0x5000, CODE).map(KERNEL, 0x5000, P | RW | A | D | NX);
    expect(ids(audit([direct.walked()]))).toEqual([]);
  });

  test('the two roots of one process are no aliases of each other', () => {
    const user = new Made(0x100).map(0x400000n, 0x5000, CODE | RW).map(0x700000n, 0x5005, DATA);
    const kernel = new Made(0x900).map(0x400000n, 0x5000, CODE | RW | NX);
    expect(ids(audit([user.walked('u', 7), kernel.walked('k', 7)]))).toEqual(['warning write-exec user']);
  });

  test('kernel code: an error when user mode may write it', () => {
    const base = (): Made => new Made().map(KERNEL, 0x6000, P | A).map(0x700000n, 0x5005, DATA);
    expect(
      only(
        audit([
          base()
            .map(KERNEL + 0x5000n, 0x6000, P | RW | A | NX)
            .walked(),
        ]),
        'writable-alias',
      ).severity,
    ).toBe('warning');
    expect(only(audit([base().map(0x600000n, 0x6000, DATA).walked()]), 'writable-alias').severity).toBe('error');
  });
});

test('user-kernel: an error, but for the vsyscall page', () => {
  const m = new Made().map(KERNEL, 0x6000, P | US | NX).map(0xffffffffff600000n, 0x6001, P | US | A);
  for (const va of [KERNEL, 0xffffffffff600000n])
    for (let level = 0; level < 3; level++) {
      const table = m.table(va, level);
      const index = Number((va >> BigInt(39 - 9 * level)) & 511n);
      m.put(level, table, index, m.word(level, table, index) | US);
    }
  expect(ids(audit([m.walked()]))).toEqual(['error user-kernel kernel', 'note user-kernel kernel']);
});

test('table-mapped: an error through a user mapping, a note through the kernel’s', () => {
  const m = new Made().map(0x600000n, 0x100, DATA).map(KERNEL, 0x101, P | RW | A | NX);
  const found = audit([m.walked()]).filter((f) => f.id === 'table-mapped');
  expect(ids(found)).toEqual(['error table-mapped user', 'note table-mapped kernel']);
  expect(found[0].details[0]).toContain('0x600000 is the table at 0x100000');
});

test('dirty-exec', () => {
  const m = new Made().map(0x400000n, 0x5000, CODE | D).map(0x600000n, 0x5001, DATA);
  expect(ids(audit([m.walked()]))).toEqual(['warning dirty-exec user']);
});

test('reserved-bits', () => {
  const m = new Made().map(0x600000n, 0x5001, DATA);
  m.put(2, m.table(0x40000000n, 2), 0, 0x800000n | 0x4000n | DATA | PS);
  expect(only(audit([m.walked()]), 'reserved-bits')).toMatchObject({ severity: 'error', count: 1, ranges: [{ vpn: 0x40000, pages: 512 }] });
});

test('cycle: a table below itself, and the recursive mapping of the top', () => {
  const self = new Made().map(0x600000n, 0x5001, DATA);
  self.put(0, self.top, 300, (BigInt(self.top) << 12n) | P | RW | NX);
  expect(only(audit([self.walked()]), 'cycle').sentence).toContain('maps itself');
  const below = new Made().map(0x600000n, 0x5001, DATA);
  below.put(2, below.table(0x600000n, 2), 9, (BigInt(below.table(0x600000n, 1)) << 12n) | P | RW | US);
  const found = only(audit([below.walked()]), 'cycle');
  expect(found.details[0]).toMatch(/pmd table 0x\w+ \[9\] points back to/);
  expect(found.ranges).toEqual([{ vpn: 9 * 512, pages: 512 }]);
});

test('table-missing', () => {
  const m = new Made().map(0x600000n, 0x5001, DATA);
  m.put(2, m.table(0x600000n, 2), 100, 0x7777000n | P | RW | US);
  expect(only(audit([m.walked()]), 'table-missing')).toMatchObject({ severity: 'warning', count: 1, ranges: [{ vpn: 51200, pages: 512 }] });
});

test('beyond-ram: only when it is known what is RAM', () => {
  const m = new Made().map(0x600000n, 0x5001, DATA).map(0x601000n, 0xfe000, DATA);
  expect(audit([m.walked()])).toEqual([]);
  expect(only(audit([m.walked()], { ram: [{ start: 0, frames: 0x8000 }] }), 'beyond-ram')).toMatchObject({
    severity: 'note',
    ranges: [{ vpn: 0x601, pages: 1 }],
  });
});

test('group-broken: a contiguous run with a hole', () => {
  const arm = compileMode(findMode('arm64-4k-48') as NonNullable<ReturnType<typeof findMode>>);
  const frames = new Map([0x100, 0x101, 0x102, 0x103].map((f) => [f, new Uint32Array(1024)]));
  const memory = { frames, frame: (n: number) => frames.get(n) };
  for (let level = 0; level < 3; level++) putEntry(arm, arm.levels[level], memory, BigInt(0x100 + level) << 12n, 0, { lo: ((0x101 + level) << 12) | 3, hi: 0 });
  for (let i = 0; i < 16; i++) if (i !== 5) putEntry(arm, arm.levels[3], memory, 0x103000n, i, { lo: ((0x5000 + i) << 12) | 0x4c3, hi: (1 << 20) | (3 << 21) });
  const tables = readPageTables(arm, memory, { table: 0x100000n, level: 'pgd', label: 'made', ranges: [{ half: 'user', va: 0n, from: 0, to: 512 }] });
  expect(only(audit([{ name: 'a', tables }]), 'group-broken')).toMatchObject({ severity: 'error', count: 15 });
});

test('findings can be limited to a half and a range', () => {
  const m = new Made()
    .map(0x400000n, 0x5000, CODE | RW)
    .map(0x600000n, 0x5002, DATA)
    .map(KERNEL, 0x6000, P | RW | A);
  expect(ids(audit([m.walked()], { half: 'kernel' }))).toEqual(['error write-exec kernel']);
  expect(audit([m.walked()], { range: { from: 0x600, to: 0x700 } })).toEqual([]);
});

test('a kernel half that several roots share is reported once', () => {
  const a = new Made().map(KERNEL, 0x6000, P | RW | A).map(0x600000n, 0x5002, DATA);
  const found = audit([a.walked('x', 1), { ...a.walked('y', 2) }]);
  expect(found.filter((f) => f.id === 'write-exec')).toMatchObject([{ half: 'kernel', count: 1 }]);
});

test.each(allModes().map((m) => m.name))('%s: random tables are audited and drawn without a fall', (name) => {
  const compiled = compileMode(findMode(name) as NonNullable<ReturnType<typeof findMode>>);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 60 }), (seed, density) => {
      const { memory, root } = randomTables(compiled, seed, density);
      const walked = [{ name: 'random', tables: readPageTables(compiled, memory, root) }];
      for (const f of audit(walked, { ram: [{ start: 0, frames: 100 }], maxRows: 20_000 })) {
        expect(f.count).toBeGreaterThan(0);
        expect(f.ranges.length).toBeGreaterThan(0);
        for (let i = 1; i < f.ranges.length; i++) expect(f.ranges[i].vpn).toBeGreaterThan(f.ranges[i - 1].vpn + f.ranges[i - 1].pages - 1);
        expect(JSON.stringify(findingJson(f))).not.toContain('NaN');
        expect(findingText(f).join('')).not.toMatch(/undefined|NaN/);
      }
      new ReverseMap(walked, { maxRows: 20_000 }).summary();
    }),
    { numRuns: 4 },
  );
});
