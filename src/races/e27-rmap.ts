/**
 * E27, the other half: a walk over all mappings of a page while the table that maps it is hung elsewhere. The locks of entries below do not change by that, so that
 * rmap must be kept out always, not only where the new VMA comes first.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, store, WINDOW } from '../explore/setup.ts';
import { movesTables } from './e27.ts';
import { move, writesAreNoticed } from './support/move.ts';

export default scenario({
  id: 'E27-rmap',
  title: 'mremap() moves a whole page table behind its neighbour while fsync() goes over the mappings of a page to write-protect them',
  source: '97113eb39fa7 (mm/mremap: hold the rmap lock in write mode when moving page table entries)',
  modes: movesTables,
  setup(stage) {
    const { notes, tablePages } = stage;
    notes.fd = diskFile(stage, tablePages + 1);
    notes.to = WINDOW + 4 * tablePages;
    // The file's first page stands right before the new place; the rest of the file is mapped elsewhere, at the begin of a table.
    map(stage, notes.to - 1, 1, { fd: notes.fd });
    map(stage, WINDOW, tablePages, { fd: notes.fd, pgoff: 1 });
    store(stage, WINDOW, 1);
  },
  tasks: {
    mremap: (stage) => task(move(stage, WINDOW, stage.tablePages, stage.notes.to)),
    fsync: ({ process, notes }) => task(call('sysFsync', process.ref, notes.fd)),
  },
  holds: {
    I11: (ending) => writesAreNoticed(ending, ending.notes.to),
  },
  variants: {
    'no-rmap-locks': { switches: ['moveTableNoRmapLocks'], expect: 'violation', rule: 'I11', preemptions: 1, note: 'the walk meets the page at neither place' },
    fixed: { expect: 'clean' },
  },
});
