/** E31: fault-around against a page that leaves the file, or comes back at another place of it. */
import { pageAt, wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, memfd, store, WINDOW } from '../explore/setup.ts';
import { PUNCH } from './support/files.ts';

/** Where the other thread maps the same file. */
const OTHER = WINDOW + 16;

export default scenario({
  id: 'E31',
  title: 'a read fault maps cached pages around itself without asking the file, while a hole is punched and the page is used for another offset',
  source: 'filemap_map_pages(), next_uptodate_folio(): folio_try_get(), xas_reload(), folio_trylock(), folio->mapping',
  setup(stage) {
    const fd = memfd(stage, 2);
    map(stage, OTHER, 2, { fd });
    store(stage, OTHER, 1);
    map(stage, WINDOW, 1, { fd });
    stage.notes.fd = fd;
  },
  tasks: {
    fault: ({ process }) => task(call('threadLoad', process.ref, WINDOW)),
    punch: ({ process, notes, page }) => task(call('sysFallocate', process.ref, notes.fd, PUNCH, 0, page), call('threadStore', process.ref, OTHER + 1, 7)),
  },
  holds: {
    offset: ({ process, results }) =>
      results.fault[0] > 1
        ? `the load of the first page gives ${results.fault[0]}, which was stored to the second`
        : pageAt(process.ref, WINDOW) !== 0 && pageAt(process.ref, WINDOW) === pageAt(process.ref, OTHER + 1)
          ? `the first page of the mapping is the second of the file (${wordAt(process.ref, WINDOW)})`
          : undefined,
  },
  variants: {
    'no-reload': {
      switches: ['mapPagesNoReload'],
      expect: 'violation',
      rule: 'offset',
      preemptions: 1,
      note: 'the slot is not read again once the reference is taken',
    },
    'no-mapping-check': {
      switches: ['mapPagesNoMappingCheck'],
      expect: 'violation',
      rule: ['offset', 'I10'],
      preemptions: 1,
      note: 'the page is mapped although it has left the file before it was locked',
    },
    fixed: { expect: 'clean' },
  },
});
