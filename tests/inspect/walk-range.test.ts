/** Loops over ranges: FEATURES F001–F012 and F117–F119. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { addrEnd, checkTrace, flattened, type Geometry, geometryOf, pagesEnd, populated, type RangeStep, walkRange } from '../../src/inspect/walk-range.ts';
import { compileMode } from '../../src/pagetable/compile.ts';

const K4 = 12;
const pages = (shift: number): number => 2 ** (shift - K4);

/** s390: PGDIR_SIZE 2^53, P4D_SIZE 2^42, PUD_SIZE 2^31, PMD_SIZE 2^20; `tables` real ones. */
function s390(tables: 2 | 3 | 4 | 5): Geometry {
  const all = [
    { name: 'pgd', pages: pages(53), entries: 2048 },
    { name: 'p4d', pages: pages(42), entries: 2048 },
    { name: 'pud', pages: pages(31), entries: 2048 },
    { name: 'pmd', pages: pages(20), entries: 2048 },
    { name: 'pte', pages: pages(12), entries: 256 },
  ];
  const top = 5 - tables;
  return { reals: all.slice(top), names: all.map((l, i) => ({ name: l.name, real: Math.max(0, i - top), nominal: l.pages })) };
}

const G2 = pages(31);
/** Two megabytes around the 2 GB line. */
const A = G2 - pages(20);
const B = G2 + pages(20);

const row = (s: RangeStep): unknown[] => [s.level, s.from, s.to, `${s.table}[${s.index}]`];
const upTo = (steps: readonly RangeStep[], lowest: number): unknown[][] => [...flattened(steps)].filter((s) => s.depth <= lowest).map(row);

describe('s390, three levels, a range over one 2 GB line', () => {
  const g = s390(3);
  const options = { depth: 'pud' } as const;

  test('F007: static sizes crop at the pud only, on the pointer that the pgd handed down', () => {
    const trace = walkRange(g, populated(g), A, B, 'middle', options);
    expect(upTo(trace.steps, 2)).toEqual([
      ['pgd', A, B, '0[0]'],
      ['p4d', A, B, '0[0]'],
      ['pud', A, G2, '0[0]'],
      ['pud', G2, B, '0[1]'],
    ]);
    expect(trace.iterations).toEqual({ pgd: 1, p4d: 1, pud: 2 });
  });

  test('F008: sizes taken from the entry crop at the pgd, which advances the same pointer', () => {
    const trace = walkRange(g, populated(g), A, B, 'top', options);
    expect(upTo(trace.steps, 2)).toEqual([
      ['pgd', A, G2, '0[0]'],
      ['p4d', A, G2, '0[0]'],
      ['pud', A, G2, '0[0]'],
      ['pgd', G2, B, '0[1]'],
      ['p4d', G2, B, '0[1]'],
      ['pud', G2, B, '0[1]'],
    ]);
    const before = walkRange(g, populated(g), A, B, 'middle', options);
    expect(trace.entries).toEqual(before.entries);
    expect(trace.calls - before.calls).toBe(2);
  });

  test('F010: a lockless walker that hands down its copy reads beyond it with static sizes, not with sizes from the entry', () => {
    const bad = walkRange(g, populated(g), A, B, 'middle', { ...options, handover: 'copy' });
    expect(bad.overruns).toBe(1);
    expect([...flattened(bad.steps)].filter((s) => s.overrun).map(row)).toEqual([['pud', G2, B, '0[1]']]);
    expect(checkTrace(g, bad)).toEqual(['1 entry was read beyond a copy on the stack']);
    expect(walkRange(g, populated(g), A, B, 'top', { ...options, handover: 'copy' }).overruns).toBe(0);
  });

  test('F011: with the real pointer beside the copy static sizes are sound', () => {
    const trace = walkRange(g, populated(g), A, B, 'middle', { ...options, handover: 'lockless' });
    expect(checkTrace(g, trace)).toEqual([]);
    expect(trace.entries).toEqual(walkRange(g, populated(g), A, B, 'top', options).entries);
  });
});

test('F006: boundaries of s390', () => {
  const mode = allModes().find((m) => m.name === 's390x');
  if (!mode) return;
  const g = geometryOf(compileMode(mode), mode.levels[0].name);
  expect(g.reals.map((r) => Math.log2(r.pages) + 12)).toEqual([53, 42, 31, 20, 12]);
  expect(g.reals.map((r) => r.entries)).toEqual([2048, 2048, 2048, 2048, 256]);
});

test('F002: three levels, folded statically: all iteration at the pgd, p4d and pud once each time', () => {
  const g: Geometry = {
    reals: [
      { name: 'pgd', pages: 2 ** 18, entries: 512 },
      { name: 'pmd', pages: 512, entries: 512 },
      { name: 'pte', pages: 1, entries: 512 },
    ],
    names: ['pgd', 'p4d', 'pud', 'pmd', 'pte'].map((name, i) => ({ name, real: Math.max(0, i - 2), nominal: Number.POSITIVE_INFINITY })),
  };
  const trace = walkRange(g, populated(g), 2 ** 18 - 512, 3 * 2 ** 18 + 512, 'top', { depth: 'pud' });
  expect(trace.iterations).toEqual({ pgd: 4, p4d: 4, pud: 4 });
  for (const s of flattened(trace.steps)) if (s.folded) expect(s.table).toBe(0);
});

describe('F117: addr_end', () => {
  test('crops at the next boundary, at the end, and does not wrap at the top', () => {
    const size = 1n << 31n;
    expect(addrEnd(0n, 1n << 40n, size)).toBe(size);
    expect(addrEnd(size, size + 4096n, size)).toBe(size + 4096n);
    expect(addrEnd(0xffff_ffff_ffff_0000n, 0n, size)).toBe(0n);
    expect(addrEnd((1n << 64n) - 2n * size, 0n, size)).toBe((1n << 64n) - size);
    expect(addrEnd(0xffff_ffff_ffff_0000n, 0xffff_ffff_ffff_f000n, size)).toBe(0xffff_ffff_ffff_f000n);
  });

  test('means the same in pages', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 52 - 2 }), fc.integer({ min: 1, max: 2 ** 40 }), fc.integer({ min: 12, max: 53 }), (from, length, shift) => {
        const to = Math.min(2 ** 52, from + length);
        const want = addrEnd(BigInt(from) << 12n, BigInt.asUintN(64, BigInt(to) << 12n), 1n << BigInt(shift));
        expect(BigInt.asUintN(64, BigInt(pagesEnd(from, to, 2 ** (shift - 12))) << 12n)).toBe(want);
      }),
    );
  });
});

describe('F009, F012, F118: the law of folding', () => {
  const geometries: [string, Geometry][] = [
    ...([2, 3, 4, 5] as const).map((n): [string, Geometry] => [`s390 with ${n} levels`, s390(n)]),
    ...allModes().map((m): [string, Geometry] => [m.name, geometryOf(compileMode(m), m.levels[0].name)]),
  ];
  test.each(geometries)('%s: both conventions visit the same entries, each once', (_, g) => {
    const total = g.reals[0].pages * g.reals[0].entries;
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 0, max: g.reals.length - 1 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        (at, real, before, after) => {
          // A few slots of the level below on either side of a boundary.
          const unit = g.reals[real].pages;
          const below = g.reals[Math.min(real + 1, g.reals.length - 1)].pages;
          const line = Math.floor((at * total) / unit) * unit;
          const from = Math.max(0, line - before * below);
          const to = Math.min(total, line + after * below);
          const lowest = [...g.names].reverse().find((n) => n.real === Math.min(real + 1, g.reals.length - 1))?.name as string;
          const tables = populated(g);
          const top = walkRange(g, tables, from, to, 'top', { depth: lowest });
          const middle = walkRange(g, tables, from, to, 'middle', { depth: lowest });
          expect(middle.entries).toEqual(top.entries);
          expect(checkTrace(g, top)).toEqual([]);
          expect(checkTrace(g, middle)).toEqual([]);
          expect(top.calls).toBeGreaterThanOrEqual(middle.calls);
          expect(walkRange(g, tables, from, to, 'top', { depth: lowest, handover: 'copy' }).overruns).toBe(0);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('an addr_end that gives the end on every folded level breaks it', () => {
    const g = s390(3);
    expect(checkTrace(g, walkRange(g, populated(g), A, B, 'none', { depth: 'pud' }))).toContain('pud took several slots for one');
  });
});

test('a range that is too long is refused', () => {
  const g = s390(4);
  expect(() => walkRange(g, populated(g), 0, 2 ** 40, 'top', { maxSteps: 1000 })).toThrow(/more than 1000 steps/);
});
