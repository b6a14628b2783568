/**
 * gup-retract: get_user_pages_fast() walks a page table that retract_page_tables() takes for a huge page of a file: the memory of the table stays for a grace period, and the page
 * that is found either keeps the huge page from being made or is given up.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, WINDOW } from '../explore/setup.ts';
import { allocPageVector } from '../mm/gup-types.ts';
import { collapse, sharedHugeFile } from './support/collapse.ts';

export default scenario({
  id: 'gup-retract',
  title: 'get_user_pages_fast_only() walks a page table that goes as a huge page is made of the pages of the file',
  source: '1043173eb5eb (mm/khugepaged: retract_page_tables() without mmap or vma lock): pte_free_defer()',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    stage.notes.other = sharedHugeFile(stage).mm;
    stage.machine.enter();
    stage.notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    pin: ({ notes }) => task(call('getUserPagesFastOnly', notes.other, WINDOW, 1, 0, notes.vector), call('putUserPages', notes.vector)),
    collapse,
  },
  variants: {
    'at-once': { switches: ['tableFreeAtOnce'], expect: 'violation', rule: 'I3', preemptions: 1, note: 'freed after a flush that nobody has to answer' },
    rcu: { expect: 'clean', note: 'freed after a grace period' },
  },
});
