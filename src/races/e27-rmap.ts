/**
 * E27, the other half: a walk over all mappings of a page while the table that maps it is hung elsewhere. The locks of entries below do not change by that, so that
 * rmap must be kept out always, not only where the new VMA comes first.
 */
import { entryOf, pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, store, WINDOW } from '../explore/setup.ts';
import { PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { PTE_WRITE } from '../pagetable/canonical.ts';
import { movesTables } from './e27.ts';

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
    mremap: ({ process, page, tablePages, notes }) =>
      task(call('sysMremap', process.ref, WINDOW * page, tablePages * page, tablePages * page, 3, notes.to * page)),
    fsync: ({ process, notes }) => task(call('sysFsync', process.ref, notes.fd)),
  },
  holds: {
    I11: ({ process, notes }) => {
      const page = pageAt(process.ref, notes.to);
      const writable = (entryOf(process.ref, notes.to) & PTE_WRITE) !== 0;
      return writable && (pageFlags[page] & PG_DIRTY) === 0 ? 'the page is clean and can be written to without notice' : undefined;
    },
  },
  variants: {
    'no-rmap-locks': { switches: ['moveTableNoRmapLocks'], expect: 'violation', rule: 'I11', preemptions: 1, note: 'the walk meets the page at neither place' },
    fixed: { expect: 'clean' },
  },
});
