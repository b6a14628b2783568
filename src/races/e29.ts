/** E29: truncation against a fault that has found the page already. */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { MAP_PRIVATE, map, memfd, store, WINDOW } from '../explore/setup.ts';

const FILE = WINDOW + 16;

export default scenario({
  id: 'E29',
  title: 'a write fault makes its private copy of a page of a file while the file is truncated to nothing',
  source: 'd00806b18315 (mm: fix fault vs invalidate race for linear mappings); shmem_get_folio_gfp(), truncate_pagecache()',
  setup(stage) {
    const fd = memfd(stage, 1);
    map(stage, FILE, 1, { fd });
    store(stage, FILE, 1);
    map(stage, WINDOW, 1, { fd, flags: MAP_PRIVATE });
    stage.notes.fd = fd;
  },
  tasks: {
    fault: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
    truncate: ({ process, notes }) => task(call('sysFtruncate', process.ref, notes.fd, 0)),
  },
  holds: {
    end: ({ process }) => (pageAt(process.ref, WINDOW) === 0 ? undefined : 'a page is mapped beyond the end of the file: an access gives no SIGBUS'),
  },
  variants: {
    'no-mapping-check': {
      switches: ['faultNoMappingCheck'],
      expect: 'violation',
      rule: 'end',
      preemptions: 1,
      note: 'the fault copies the page that it has locked, which has left the file by then',
    },
    'no-size-check': {
      switches: ['faultNoSizeCheck'],
      expect: 'violation',
      rule: 'end',
      preemptions: 1,
      note: 'the fault puts a page into the file beyond the end, which has come down since it looked',
    },
    'unmapped-once': {
      switches: ['truncateUnmapsOnce'],
      expect: 'violation',
      rule: 'end',
      preemptions: 1,
      note: 'the private copy is made after the file was unmapped and before its pages leave it',
    },
    fixed: { expect: 'clean' },
  },
});
