/**
 * R04, of a large folio that small entries map: get_user_pages_fast() counts the entries that go on with the first before it has a reference, and takes as many references
 * at once. When it has them the folio may have been split, into pages that the very same entries map: what it has then are references of the first page alone.
 *
 * Linux 6.18 takes the pages of such a folio one by one; that they can be had together is what is shown here. Where huge pages have an entry of their own: x86, arm64,
 * s390 and others.
 */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, map, must, store, WINDOW } from '../explore/setup.ts';
import { thpSetting } from '../machine/thp-settings.ts';
import { pageFolio } from '../memory/folio.ts';
import { get } from '../memory/heap.ts';
import { pagePincount } from '../memory/state.ts';
import { allocPageVector, FOLL_WRITE, PageVector } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

/** Pages of the folio. */
const PAGES = 4;

export default scenario({
  id: 'R04-split',
  title: 'two pages of a large folio are pinned while it is split',
  source: 'gup_fast_pte_range(), try_get_folio(): whose the reference is, is asked again once it is there',
  modes: hasThp,
  setup(stage) {
    const { machine, process, page, notes } = stage;
    machine.enter();
    thpSetting(`/sys/kernel/mm/transparent_hugepage/hugepages-${(PAGES * page) / 1024}kB/enabled`)?.write('always');
    map(stage, WINDOW, PAGES);
    // All of them: an empty page would be exchanged for the zero page.
    for (let i = 0; i < PAGES; i++) store(stage, WINDOW + i, i + 1);
    // A part is gone: the folio waits to be split.
    must(process, 'madvise', (WINDOW + PAGES - 1) * page, page, MADV_DONTNEED);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    device: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 2, FOLL_WRITE, notes.vector)),
    shrinker: () => task(call('deferredSplitScan', 1)),
  },
  holds: {
    pinned: ({ process, notes, results }) => {
      for (let i = 0; i < results.device[0]; i++) {
        const page = get(notes.vector, PageVector.pages + i);
        if (page !== pageAt(process.ref, WINDOW + i)) return `page ${page} was returned, which the process has not`;
        if (pagePincount[pageFolio(page)] === 0) return `page ${page} was returned without a pin`;
      }
      return results.device[0] === 2 ? undefined : `${results.device[0]} pages were pinned`;
    },
  },
  variants: {
    uncut: {
      switches: ['gupFastUncut'],
      expect: 'violation',
      rule: ['pinned', 'I1', 'I8'],
      preemptions: 1,
      note: 'how far the folio goes is asked before there is a reference, and not again',
    },
    fixed: { expect: 'clean' },
  },
});
