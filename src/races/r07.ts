/**
 * R07: a pin that lasts, for writing, of a page of a file that wants to hear of writes: writeback cleans the page, and a device writes to it later without
 * a word to the file system. Such pages are not pinned.
 */
import { entryOf, pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, store, WINDOW } from '../explore/setup.ts';
import { PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE } from '../mm/gup-types.ts';
import { PTE_WRITE } from '../pagetable/canonical.ts';

export default scenario({
  id: 'R07',
  title: 'a page of a shared mapping of a disk file is pinned for a device that writes to it while fsync() cleans it',
  source: 'a6e79df92e4a (mm/gup: disallow FOLL_LONGTERM GUP-fast writing to file-backed mappings); 8ac268436e6d, of the slow way',
  setup(stage) {
    const { machine, notes } = stage;
    notes.fd = diskFile(stage, 1);
    map(stage, WINDOW, 1, { fd: notes.fd });
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    device: ({ process, notes }) =>
      task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_WRITE | FOLL_LONGTERM, notes.vector), call('deviceWrite', notes.vector, 7)),
    fsync: ({ process, notes }) => task(call('sysFsync', process.ref, notes.fd)),
  },
  holds: {
    I6: ({ process }) => {
      const page = pageAt(process.ref, WINDOW);
      // A store makes the entry writable before it makes the page dirty (page_mkwrite); nobody else wrote.
      return page === 0 || (pageFlags[page] & PG_DIRTY) === 0 || (entryOf(process.ref, WINDOW) & PTE_WRITE) !== 0
        ? undefined
        : `page ${page} is dirty, and nobody has told its file since it was cleaned`;
    },
  },
  variants: {
    'any-file': {
      switches: ['gupFastAnyFile'],
      expect: 'violation',
      rule: 'I6',
      preemptions: 1,
      note: 'without locks there is no VMA to ask, and the page is not asked either',
    },
    fixed: { expect: 'clean' },
  },
});
