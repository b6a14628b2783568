/**
 * R03: get_user_pages_fast() of an entry that maps a huge page: it must be read again after the references were taken, as one of the lowest level must.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others. Pages of hugetlb, in huge page directories too: r03-hugetlb.ts.
 */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, hugePages, mapHuge, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

export default scenario({
  id: 'R03',
  title: 'a part of a huge page is pinned for a device while MADV_DONTNEED throws it away and another place gets it',
  source: 'gup_fast_pmd_leaf(): the entry is read again; gup_hugepte() as it was, mails of April 2024',
  modes: hasThp,
  machine: { ramBytes: 8 * 2 ** 20 },
  setup(stage) {
    const { machine, notes } = stage;
    mapHuge(stage, WINDOW, 2);
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    device: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_WRITE, notes.vector), call('deviceWrite', notes.vector, 7)),
    thread: ({ process, page }) =>
      task(call('sysMadvise', process.ref, WINDOW * page, hugePages() * page, MADV_DONTNEED), call('threadStore', process.ref, WINDOW + hugePages(), 5)),
  },
  holds: {
    own: ({ process }) => {
      const word = wordAt(process.ref, WINDOW + hugePages());
      return word === 5 ? undefined : `the device has written ${word} to a page that it never asked for`;
    },
  },
  variants: {
    'no-reload': { switches: ['gupFastNoReload'], expect: 'violation', rule: ['own', 'I32'], preemptions: 1, note: 'the entry is not read again' },
    fixed: { expect: 'clean' },
  },
});
