/**
 * collapse-sync: the page table of what was collapsed is kept for the huge page, and goes with it, without a grace period: who is in it with interrupts off since before
 * has to be waited for.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, hugePages, mapCollapsible, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { collapse } from './support/collapse.ts';

export default scenario({
  id: 'collapse-sync',
  title: 'get_user_pages_fast_only() walks a page table that MADV_COLLAPSE takes and MADV_DONTNEED then frees with the huge page',
  source: '2ba99c5e0881 (mm/khugepaged: fix GUP-fast interaction by sending IPI)',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    mapCollapsible(stage);
    stage.machine.enter();
    stage.notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    pin: ({ process, notes }) => task(call('getUserPagesFastOnly', process.mm, WINDOW, 1, FOLL_WRITE, notes.vector), call('putUserPages', notes.vector)),
    collapse: (stage) => task(...collapse(stage).calls, call('sysMadvise', stage.process.ref, WINDOW * stage.page, hugePages() * stage.page, MADV_DONTNEED)),
  },
  variants: {
    unwaited: {
      switches: ['collapseNoSync'],
      expect: 'violation',
      rule: ['I3', 'I2'],
      preemptions: 1,
      note: 'the second look at the upper entry comes too late for a table that is free already',
    },
    fixed: { expect: 'clean' },
  },
});
