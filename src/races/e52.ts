/**
 * E52: a range is collapsed into a huge page while threads store to it: nobody may write to a small page that was copied already, nobody map one behind the copy.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, mapCollapsible, WINDOW } from '../explore/setup.ts';
import { collapse } from './support/collapse.ts';

export default scenario({
  id: 'E52',
  title: 'MADV_COLLAPSE makes a huge page of a range while a thread stores to it',
  source: 'collapse_huge_page(): vma_start_write(), pmdp_collapse_flush(), anon_vma lock',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup: (stage) => mapCollapsible(stage),
  tasks: {
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 8), call('threadLoad', process.ref, WINDOW)),
    collapse,
  },
  holds: {
    'own store': ({ results }) => (results.thread[1] === 8 ? undefined : `the thread stores 8 and loads ${results.thread[1]}`),
  },
  variants: {
    unflushed: {
      switches: ['collapseNoFlush'],
      expect: 'violation',
      rule: ['own store', 'I32', 'I4', 'I3'],
      preemptions: 1,
      note: 'the thread writes to the small page by what its CPU remembers',
    },
    fixed: { expect: 'clean' },
  },
});
