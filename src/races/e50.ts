/**
 * E50: a huge page is split while threads store to it and get_user_pages_fast() takes a part of it.
 *
 * Of the split that page tables see; folios are not split here. Where huge pages have an entry of their own: x86, arm64, s390 and others; not the 8xx.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, mapHuge, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

export default scenario({
  id: 'E50',
  title: 'MADV_DONTNEED splits a huge page while a thread stores to it and get_user_pages_fast() takes a part',
  source: '__split_huge_pmd_locked(): pmdp_invalidate(), pmd_populate()',
  modes: hasThp,
  setup(stage) {
    const { machine, notes } = stage;
    mapHuge(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    split: ({ process, page }) => task(call('sysMadvise', process.ref, (WINDOW + 1) * page, page, MADV_DONTNEED)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 7), call('threadLoad', process.ref, WINDOW)),
    get: ({ process, notes }) => task(call('getUserPagesFastOnly', process.mm, WINDOW + 1, 1, 0, notes.vector), call('putUserPages', notes.vector)),
  },
  holds: {
    'own store': ({ results }) => (results.thread[1] === 7 ? undefined : `the thread stores 7 and loads ${results.thread[1]}, and nobody has touched its page`),
  },
  variants: {
    'installs-first': {
      switches: ['thpSplitInstallsFirst'],
      expect: 'violation',
      rule: ['I1', 'I4', 'I12', 'own store', 'I32'],
      preemptions: 1,
      note: 'a fault finds the table empty, and maps a page of zeroes',
    },
    fixed: { expect: 'clean' },
  },
});
