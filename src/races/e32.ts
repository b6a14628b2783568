/** E32: the lookup of a page without a lock against its being freed and used again. */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, memfd, store, WINDOW } from '../explore/setup.ts';
import { PUNCH } from './support/files.ts';

const OTHER = WINDOW + 16;

export default scenario({
  id: 'E32',
  title: 'a fault reads a slot of the page cache; before it has its reference the page is freed and becomes the page of another offset',
  source: 'filemap_get_entry(): folio_try_get(), xas_reload()',
  setup(stage) {
    const fd = memfd(stage, 2);
    map(stage, OTHER, 2, { fd });
    store(stage, OTHER, 1);
    map(stage, WINDOW, 1, { fd });
    stage.notes.fd = fd;
  },
  tasks: {
    // A store is not served by fault-around (E31): shmem_fault() looks the page up.
    fault: ({ process }) => task(call('threadStore', process.ref, WINDOW, 5)),
    punch: ({ process, notes, page }) => task(call('sysFallocate', process.ref, notes.fd, PUNCH, 0, page), call('threadStore', process.ref, OTHER + 1, 7)),
  },
  holds: {
    offset: ({ process }) =>
      wordAt(process.ref, OTHER + 1) === 7 ? undefined : `the second page of the file holds ${wordAt(process.ref, OTHER + 1)}, which was stored to the first`,
  },
  variants: {
    'no-reload': {
      switches: ['filemapNoReload'],
      expect: 'violation',
      rule: 'offset',
      preemptions: 1,
      note: 'the slot is not read again once the reference is taken',
    },
    'plain-get': {
      switches: ['filemapPlainGet'],
      expect: 'violation',
      rule: 'I1',
      preemptions: 2,
      note: 'the reference is taken without a look whether there is one left',
    },
    fixed: { expect: 'clean' },
  },
});
