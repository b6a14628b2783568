/** hugetlb as Linux 6.18 does it: recordings of a real kernel played on the machine, results, page states and pools compared after each operation. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { conformTrace } from '../../src/machine/trace/conform.ts';
import { nameOf, readTrace, traceFiles } from '../machine/trace/traces.ts';

/** Plays gigabytes: by night. */
const slow = (file: string): boolean => nameOf(file) === 'hugetlb_1g' && process.env.PXD_NIGHTLY !== '1';
const files = traceFiles(['hugetlb']).filter((file) => !slow(file));
/** Of the random ones some, but for the night. */
const chosen = files.filter((file, i) => process.env.PXD_NIGHTLY === '1' || !/_r\d+$/.test(nameOf(file)) || nameOf(file) === 'hugetlb_r021' || i % 5 === 0);

describe('recordings of Linux 6.18', () => {
  test('the kept recordings are there: hugetlb_pmd_sharing, hugetlb_memfd, hugetlb_fork_cow, hugetlb_r021', () => {
    expect(files.map(nameOf)).toEqual(
      expect.arrayContaining(['hugetlb_pmd_sharing', 'hugetlb_memfd', 'hugetlb_fork_cow', 'hugetlb_r021', 'hugetlb_pool_resize']),
    );
  });

  test.each(chosen.map((file) => [nameOf(file), file]))('%s', (trace, file) => {
    const { ops, differences, first } = conformTrace(readTrace(file));
    expect({ trace, differences, first }).toEqual({ trace, differences: 0, first: undefined });
    expect(ops).toBeGreaterThan(2);
  });
});

// `npx tsx tests/kernel/record.ts tests/mm/questions/NAME.ops | gzip -9n > tests/mm/fixtures/NAME.trace.gz` asks the running kernel again.
test.each([
  ['what an mmap replaces is given back when the call is over, after it has populated', 'hugetlb_replaced', 30],
  ['where more pages are reserved than are free, a fault without reservation takes one', 'hugetlb_more_than_free', 8],
  ['where fewer than no pages are reserved, what is reserved next must be free', 'hugetlb_fewer_than_none', 13],
])('%s', (_title, name, ops) => {
  const report = conformTrace(readTrace(join(import.meta.dirname, `fixtures/${name}.trace.gz`)), { all: true });
  expect(report.all ?? []).toEqual([]);
  expect(report.ops).toBe(ops);
});
