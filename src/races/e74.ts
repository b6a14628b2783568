/**
 * E74: a private hugetlb page is thrown away by its owner, whose next access must get one: the page goes back to the pool, and so does the right to it.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, hugePages, hugePool, MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, mapHugetlb, store, WINDOW } from '../explore/setup.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { byProcess } from './support/address-spaces.ts';

export default scenario({
  id: 'E74',
  title: 'MADV_DONTNEED of a private hugetlb page and another access to it, while a process without reservations takes what is free',
  source: 'mm/hugetlb: restore the reservation if needed (6.9); __unmap_hugepage_range()',
  modes: hasHugetlb,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    const other = stage.process.fork();
    hugePool(stage, 1);
    mapHugetlb(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    mapHugetlb(stage, WINDOW, 1, { flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE }, other);
    stage.notes.other = other.ref;
  },
  tasks: {
    owner: ({ process, page }) =>
      task(call('sysMadvise', process.ref, WINDOW * page, hugePages() * page, MADV_DONTNEED), call('threadStore', process.ref, WINDOW, 2)),
    other: (stage) => byProcess(stage, stage.notes.other, call('threadStore', stage.notes.other, WINDOW, 3)),
  },
  holds: {
    I24: ({ results }) => (results.owner[1] === 0 ? undefined : `the owner's store ends in signal ${Math.floor(-results.owner[1] / 256)}`),
  },
  variants: {
    unrestored: { switches: ['hugetlbZapNoRestore'], expect: 'violation', rule: 'I24', preemptions: 1, note: 'the other process gets the page' },
    fixed: { expect: 'clean' },
  },
});
