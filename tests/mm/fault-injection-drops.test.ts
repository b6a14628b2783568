/**
 * Fault injection between locks: calls on huge pages, each interrupted once at every place by another call on the same memory (support/lock-drops.ts). A
 * sample; PXD_NIGHTLY=1 takes all pairs.
 */
import { describe, expect, it } from 'vitest';
import { explorePair, INTRUDERS, VICTIMS } from './support/lock-drops.ts';

const nameOf = ({ victim, intruder }: { victim: { name: string }; intruder: { name: string } }): string => `${victim.name}: ${intruder.name}`;

/** Linux's own (docs/findings.md): the page that is to bring its reservation back has become a surplus one by the time it is free. */
const FINDING = 'a pool that shrinks: MADV_DONTNEED';

const PAIRS = VICTIMS.flatMap((victim) => INTRUDERS.filter(({ only }) => only?.(victim) !== false).map((intruder) => ({ victim, intruder }))).filter(
  (pair) => nameOf(pair) !== FINDING,
);

/** Quick ones, with a drop of the mmap lock, of a table's lock, of a folio's, of the pool's and of the mutex of faults. */
const SAMPLE = new Set([
  'fault of a huge page: munmap',
  'fault of the huge zero page: mremap',
  'copy on write of a huge page: mprotect',
  'fault of hugetlb: mremap',
  'copy on write of hugetlb without a page: mprotect',
  'munmap of hugetlb: fork',
  'fault of a hugetlb file: truncate',
  'truncate of a hugetlb file: mprotect',
  'MADV_COLLAPSE of shared memory: mprotect',
  'MADV_COLLAPSE of shared memory: mremap',
  'a pin, fast, of a huge page: munmap',
]);
const nightly = process.env.PXD_NIGHTLY === '1';
describe('another call in every gap of one', () => {
  const chosen = PAIRS.filter((pair) => nightly || SAMPLE.has(nameOf(pair)));

  it('has the pairs of the sample', () => {
    expect(chosen.length).toBe(nightly ? PAIRS.length : SAMPLE.size);
  });

  for (const pair of chosen)
    it(nameOf(pair), { timeout: 600_000 }, () => {
      const { wrong, results, states } = explorePair(pair.victim, pair.intruder, 'x86-4level');
      expect(wrong).toBeUndefined();
      expect(results.size).toBeGreaterThan(0);
      expect(states).toBeGreaterThan(1);
    });

  it('finds a reservation without a page, of a page that becomes a surplus one before it is free', () => {
    const victim = VICTIMS.find(({ name }) => name === 'a pool that shrinks');
    const intruder = INTRUDERS.find(({ name }) => name === 'MADV_DONTNEED');
    if (victim === undefined || intruder === undefined) throw new Error('no such pair');
    expect(explorePair(victim, intruder, 'x86-4level').wrong).toMatch(/^I24: .*1 pages are reserved, 0 are free/);
  });

  it('finds a broken one: reservations that are restored before the page is free', () => {
    const victim = VICTIMS.find(({ name }) => name === 'munmap of hugetlb');
    const intruder = INTRUDERS.find(({ name }) => name === 'fork');
    if (victim === undefined || intruder === undefined) throw new Error('no such pair');
    expect(explorePair(victim, intruder, 'x86-4level', { switches: [] }).wrong).toMatch(/^I24: .*-1 pages are reserved/);
  });
});
