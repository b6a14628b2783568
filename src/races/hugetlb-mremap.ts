/**
 * Reservations of hugetlb against mremap of a part of a mapping (docs/findings.md): one task is enough to lose them, another's fault takes one of them first.
 *
 * A private mapping's reservations belong to the VMA that it was made as. copy_vma() leaves them with the copy, and the unmapping of what was moved gives back
 * nothing for the pages that stay; when these are unmapped their VMA owns none.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, hugePages, hugePool, mapHugetlb, WINDOW } from '../explore/setup.ts';
import { move } from './support/move.ts';

export default scenario({
  id: 'hugetlb-mremap',
  title: 'mremap() moves one of two private huge pages while a thread writes to the other; both are unmapped',
  source: 'copy_vma(), clear_vma_resv_huge_pages(); the recordings of docs/findings.md',
  modes: hasHugetlb,
  machine: { ramBytes: 64 * 2 ** 20 },
  setup(stage) {
    hugePool(stage, 2);
    mapHugetlb(stage, WINDOW, 2);
  },
  tasks: {
    mremap: (stage) => {
      const { process, page } = stage;
      const bytes = hugePages() * page;
      const away = WINDOW + 8 * hugePages();
      return task(
        move(stage, WINDOW, hugePages(), away),
        call('sysMunmap', process.ref, WINDOW * page + bytes, bytes),
        call('sysMunmap', process.ref, away * page, bytes),
      );
    },
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW + hugePages(), 1)),
  },
  variants: {
    linux: { expect: 'violation', rule: 'I24', preemptions: 0, note: 'Linux 6.18 as it is: what was not written to before the move stays reserved for ever' },
    split: { switches: ['hugetlbMoveSplitsFirst'], expect: 'clean', note: 'the mapping is split before it is copied: each part has its reservations' },
  },
});
