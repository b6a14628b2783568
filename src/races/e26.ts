/**
 * E26: mremap() moves an entry past a walk over all mappings of a page.
 *
 * The walk goes by offset in the file. Where the moved range joins a VMA that begins at a lower offset, that one comes first: it is looked at before the entry
 * arrives there, and the old place after the entry has left.
 *
 * The catalogue says one preemption. It takes two: mremap() is left when it has made the new place, or the walk would find no VMA there; the walk is left between
 * the two. Truncation and reclaim go over a page until it is unmapped, so they get there late; cleaning goes over it once.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, store, WINDOW } from '../explore/setup.ts';
import { move, writesAreNoticed } from './support/move.ts';

/** Where the second page of the file is mapped, alone. */
const OLD = WINDOW;
/** Where the first page is mapped; the second comes behind it. */
const NEW = WINDOW + 16;

export default scenario({
  id: 'E26',
  title: 'mremap() moves a page of a file behind its neighbour while fsync() goes over the mappings of the page to write-protect them',
  source: 'copy_vma(), take_rmap_locks(); 38a76013ad80 (mm: avoid taking rmap locks in move_ptes())',
  setup(stage) {
    const fd = diskFile(stage, 2);
    stage.notes.fd = fd;
    map(stage, NEW, 1, { fd });
    map(stage, OLD, 1, { fd, pgoff: 1 });
    store(stage, OLD, 1);
  },
  tasks: {
    mremap: (stage) => task(move(stage, OLD, 1, NEW + 1)),
    fsync: ({ process, notes }) => task(call('sysFsync', process.ref, notes.fd)),
  },
  holds: {
    I11: (ending) => writesAreNoticed(ending, NEW + 1),
  },
  variants: {
    'no-rmap-locks': { switches: ['mremapNoRmapLocks'], expect: 'violation', rule: 'I11', preemptions: 2, note: 'the walk meets the page at neither place' },
    fixed: { expect: 'clean' },
  },
});
