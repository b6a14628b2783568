/**
 * R06: a child keeps a hugetlb page by a reference and unmaps it; the parent writes to it in place, because nobody else maps it. Linux does so to this day: a copy
 * needs a page that may not be there. Small pages: E36.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, hugePages, hugePool, mapHugetlb, store, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { wordShift, words } from '../memory/state.ts';
import { allocPageVector, PageVector } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { byProcess } from './support/address-spaces.ts';

export default scenario({
  id: 'R06',
  title: 'after fork() the child takes a reference to a private hugetlb page and unmaps it; the parent writes to it meanwhile',
  source: 'hugetlb_wp(): folio_mapcount(); mails of April 2024 (tools/testing/selftests/mm/cow.c)',
  modes: hasHugetlb,
  machine: { ramBytes: 24 * 2 ** 20 },
  setup(stage) {
    const { machine, notes } = stage;
    hugePool(stage, 2);
    mapHugetlb(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    const child = stage.process.fork();
    notes.child = child.ref;
    machine.enter();
    notes.vector = allocPageVector();
    // What vmsplice() does.
    machine.kernel.getUserPagesFast(child.mm, WINDOW, 1, 0, notes.vector);
    notes.got = get(notes.vector, PageVector.count);
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    child: (stage) => {
      const { page, notes } = stage;
      return byProcess(stage, notes.child, call('sysMadvise', notes.child, WINDOW * page, hugePages() * page, MADV_DONTNEED));
    },
    parent: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
    // The other end of the pipe.
    reader: ({ notes }) => task(call('putUserPages', notes.vector)),
  },
  holds: {
    got: ({ notes }) => (notes.got === 1 ? undefined : `the child got ${notes.got} pages`),
  },
  always: {
    I9: ({ notes }) => {
      const page = get(notes.vector, PageVector.pages);
      return page === 0 || words[page << wordShift] === 1
        ? undefined
        : `the child reads ${words[page << wordShift]}, which its parent has stored since the fork`;
    },
  },
  variants: {
    linux: { expect: 'violation', rule: 'I9', preemptions: 0, note: 'as Linux is: mappings are counted, references are not' },
    strict: { switches: ['hugetlbCowStrict'], expect: 'clean', note: 'references count as for small pages' },
  },
});
