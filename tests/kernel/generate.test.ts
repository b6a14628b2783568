import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { buildRecorder } from './build.ts';
import { GROUPS, generate, HUGE_GROUPS } from './generate.ts';
import { HUGE, MOST_POOL, POOL_AREA, SHARING_AREA } from './huge-actions.ts';
import { MADV, MAP, MREMAP, PAGE } from './numbers.ts';
import { type Operation, Recorder } from './recorder.ts';

const group = fc.constantFrom(...GROUPS);
const seed = fc.integer({ min: 1, max: 1_000_000 });
const written = (x: number): string => `0x${x.toString(16)}`;
/** As the kernel sees it: unsigned. */
const number = (x: unknown): number => Number(BigInt.asUintN(64, BigInt((x ?? 0) as string | number)));

/** Operations by the argument that is an address and the one that is a length. */
const RANGES: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  ...{ mmap: [[0, 1]], munmap: [[0, 1]], mprotect: [[0, 1]], madvise: [[0, 1]], mlock: [[0, 1]], mlock2: [[0, 1]], munlock: [[0, 1]], mseal: [[0, 1]] },
  ...{ mremap: [[0, 1] as const, [4, 2] as const] },
};

/** Lists about huge pages may make a few of them present. */
function harmless(o: Operation, most = 256 * PAGE): void {
  for (const [at, bytes] of RANGES[o.op] ?? []) {
    const [start, n] = [number(o.a[at]), number(o.a[bytes])];
    const fixed = o.op === 'mmap' ? (number(o.a[3]) & MAP.FIXED) !== 0 : at !== 4 || (number(o.a[3]) & MREMAP.FIXED) !== 0;
    if (!fixed) continue; // Linux finds a free place
    if (n > 0 && start + n < 2 ** 47) expect(start >= 0x7e0000011000 || start + n <= 0x7e0000000000, JSON.stringify(o)).toBe(true);
  }
  const length = Array.isArray(o.a[1]) || o.op === 'cfg' ? 0 : number(o.a[1]);
  const few = length <= most || length >= 2 ** 47 - 2 * PAGE; // the latter are refused
  if (o.op === 'mmap' && (number(o.a[3]) & (MAP.POPULATE | MAP.LOCKED)) !== 0) expect(few, JSON.stringify(o)).toBe(true);
  if (o.op === 'madvise' && ([MADV.POPULATE_READ, MADV.POPULATE_WRITE, MADV.HUGEPAGE, MADV.COLLAPSE] as number[]).includes(number(o.a[2])))
    expect(few, JSON.stringify(o)).toBe(true);
  if (o.op === 'madvise') expect([100, 101], 'poisons memory').not.toContain(o.a[2]);
  if (o.op === 'fallocate') expect(number(o.a[3]) <= most || number(o.a[3]) >= 2 ** 63 || number(o.a[2]) > 2 ** 62, JSON.stringify(o)).toBe(true);
  if (o.op === 'pipe2') expect(number(o.a[0]) & 0o4000, 'may block').not.toBe(0);
  if (o.op === 'vmsplice') expect(number(o.a[2]) & 2, 'may block').toBe(2);
}

describe('generated lists', () => {
  test('come from group and seed alone, and end in a snapshot', () => {
    fc.assert(
      fc.property(group, seed, (g, s) => {
        const list = generate(g, s, 60);
        expect(list).toEqual(generate(g, s, 60));
        expect(list).not.toEqual(generate(g, s + 1, 60));
        expect(list.operations.length).toBeGreaterThanOrEqual(60);
        expect(list.header.snap === 1 || list.operations.at(-1)?.op === 'snap').toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('do no harm: the executor is left alone, nothing blocks, little can become present', () => {
    fc.assert(
      fc.property(group, seed, (g, s) => {
        for (const o of generate(g, s, 120).operations) harmless(o, HUGE_GROUPS.includes(g) ? 4 * HUGE : undefined);
      }),
      { numRuns: 150 },
    );
  });

  test('lists that lock map nothing large', () => {
    fc.assert(
      fc.property(group, seed, (g, s) => {
        const { operations } = generate(g, s, 120);
        const locks = operations.some((o) => o.op.startsWith('mlock') || (o.op === 'mmap' && (number(o.a[3]) & MAP.LOCKED) !== 0));
        const large = operations.some(
          (o) =>
            o.a[0] !== written(SHARING_AREA) && // nothing is reserved there, and hugetlb pages come from the list's own pool
            (o.op === 'mmap' || o.op === 'mremap') &&
            number(o.a[o.op === 'mmap' ? 1 : 2]) >= 2 ** 24 &&
            number(o.a[o.op === 'mmap' ? 1 : 2]) < 2 ** 47 - 2 * PAGE,
        );
        // an mlock of an address beyond all mappings locks nothing
        const real = operations.some((o) => o.op.startsWith('mlock') && (o.op === 'mlockall' || number(o.a[0]) < 2 ** 47 - PAGE));
        expect(locks && real && large).toBe(false);
      }),
      { numRuns: 100 },
    );
  });

  test('lists with a pool keep it small, and move no part of a private mapping with reservations', () => {
    fc.assert(
      fc.property(fc.constantFrom('hugetlb' as const, 'gup-huge' as const), seed, (g, s) => {
        const { operations } = generate(g, s, 120);
        for (const o of operations) if (o.op === 'cfg' && String(o.a[0]).includes('nr_')) expect(number(o.a[1])).toBeLessThanOrEqual(MOST_POOL);
        const reserves = operations.some((o) => {
          const flags = number(o.a[3]);
          return (
            o.op === 'mmap' && (flags & MAP.PRIVATE) !== 0 && (flags & MAP.NORESERVE) === 0 && ((flags & MAP.HUGETLB) !== 0 || (flags & MAP.ANONYMOUS) === 0)
          );
        });
        operations.forEach((o, i) => {
          if (o.op !== 'mremap' || !reserves || (number(o.a[0]) < POOL_AREA && g === 'hugetlb')) return;
          const split = operations[i - 1];
          expect(split.op === 'madvise' && split.a[2] === MADV.RANDOM && split.p === o.p, JSON.stringify(o)).toBe(true);
          expect(number(split.a[0]) <= number(o.a[0]) && number(split.a[0]) + number(split.a[1]) >= number(o.a[0]) + number(o.a[1])).toBe(true);
        });
      }),
      { numRuns: 150 },
    );
  });

  const built = buildRecorder();
  test.skipIf('skipped' in built)('the kernel carries all of it out, and the same way twice', async () => {
    if ('skipped' in built) return;
    const recorders = [new Recorder(built, 0), new Recorder(built)];
    const seen = new Set<string>();
    for (const g of GROUPS) {
      for (let s = 1; s <= 3; s++) {
        const list = generate(g, s, 100);
        const [a, b] = await Promise.all(recorders.map((r) => r.record(list)));
        expect(a).not.toMatch(/"r":"(unknown-op|timeout|signal[^"]*)"/);
        expect(a.replace(/,ref=\d+/g, '')).toBe(b.replace(/,ref=\d+/g, ''));
        for (const o of list.operations) seen.add(o.op);
      }
    }
    await Promise.all(recorders.map((r) => r.close()));
    expect(seen.size).toBeGreaterThan(45);
  });
});
