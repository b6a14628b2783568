/**
 * E51: a huge entry is split while hardware marks it dirty: what it held is known only when no CPU uses it any more.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others; not the 8xx.
 */
import { entryOf, pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, hugePages, mapHuge, must, store, WINDOW } from '../explore/setup.ts';
import { pageFolio } from '../memory/folio.ts';
import { PG_DIRTY } from '../memory/page-flags.ts';
import { pageFlags } from '../memory/state.ts';
import { MADV_DONTNEED, MADV_FREE } from '../mm/madv.ts';
import { PTE_DIRTY } from '../pagetable/canonical.ts';

export default scenario({
  id: 'E51',
  title: 'a huge page that was given up by MADV_FREE is written to while MADV_DONTNEED of a part splits its entry',
  source: 'mm: do not lose dirty and accessed bits in pmdp_invalidate() (4.16); __split_huge_pmd_locked()',
  modes: hasThp,
  setup(stage) {
    mapHuge(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    must(stage.process, 'madvise', WINDOW * stage.page, hugePages() * stage.page, MADV_FREE);
  },
  tasks: {
    split: ({ process, page }) => task(call('sysMadvise', process.ref, (WINDOW + hugePages() - 1) * page, page, MADV_DONTNEED)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 7)),
  },
  holds: {
    I6: ({ process }) => {
      const page = pageAt(process.ref, WINDOW);
      const dirty = (entryOf(process.ref, WINDOW) & PTE_DIRTY) !== 0 || (pageFlags[pageFolio(page)] & PG_DIRTY) !== 0;
      return dirty ? undefined : `page ${page} was written to, and neither its entry nor its folio says so: reclaim would throw it away`;
    },
  },
  variants: {
    'reads-early': {
      switches: ['thpSplitReadsEarly'],
      expect: 'violation',
      rule: ['I6', 'I32'],
      preemptions: 1,
      note: 'the bits are those from before the entry was made invalid',
    },
    fixed: { expect: 'clean' },
  },
});
