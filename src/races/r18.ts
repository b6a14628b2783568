/**
 * R18: a hole of a file is filled while collapse_file() makes a huge page of the range: either the page in it becomes part of the huge page, or there is none.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, store, WINDOW } from '../explore/setup.ts';
import { collapse, mapHugeFile } from './support/collapse.ts';

export default scenario({
  id: 'R18',
  title: 'MADV_COLLAPSE makes a huge page of shared memory while a store fills a hole of it',
  source: 'collapse_file(): holes are counted again under the lock of the cache (SCAN_PAGE_FILLED)',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    mapHugeFile(stage);
    store(stage, WINDOW, 1);
  },
  tasks: {
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW + 1, 8)),
    collapse,
  },
  variants: {
    uncounted: {
      switches: ['collapseFileUncounted'],
      expect: 'violation',
      rule: ['I10', 'I1', 'I12', 'I31'],
      preemptions: 1,
      note: 'two pages for one offset of the file',
    },
    fixed: { expect: 'clean' },
  },
});
