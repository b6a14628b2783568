/**
 * R05 of files: a pin for reading that lasts, of a page of the page cache. In a private mapping the owner's next write gives him a copy, so he gets that first;
 * in a shared one nothing is to be unshared, ever.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { load, MAP_PRIVATE, MAP_SHARED, map, memfd, PROT_READ, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_LONGTERM } from '../mm/gup-types.ts';
import { pinnedStaysMapped } from './support/pages.ts';

export default scenario({
  id: 'R05-file',
  title: 'a page of a file is pinned for reading while another thread uses it',
  source: '84209e87c696 (mm/gup: reliable R/O long-term pinning in COW mappings); 01d89b93e176 (mm/gup: fix hugepd handling in hugetlb rework)',
  setup(stage) {
    const { machine, notes } = stage;
    const fd = memfd(stage, 1);
    map(stage, WINDOW, 1, notes.shared === 1 ? { fd, flags: MAP_SHARED, prot: PROT_READ } : { fd, flags: MAP_PRIVATE });
    load(stage, WINDOW);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    pin: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_LONGTERM, notes.vector)),
    owner: ({ process, notes }) => task(notes.shared === 1 ? call('threadLoad', process.ref, WINDOW) : call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: { I5: pinnedStaysMapped },
  variants: {
    cached: { switches: ['gupNoUnshare'], expect: 'violation', rule: 'I5', preemptions: 0, note: 'the page of the file is pinned as it is' },
    fixed: { expect: 'clean' },
    unasked: {
      switches: ['gupUnshareUnasked'],
      notes: { shared: 1 },
      expect: 'violation',
      rule: 'I27',
      note: 'the slow way does not ask whether the mapping is private: it faults and looks for ever',
    },
    shared: { notes: { shared: 1 }, expect: 'clean', note: 'a shared mapping' },
  },
});
