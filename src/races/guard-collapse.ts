/**
 * guard-collapse: MADV_GUARD_INSTALL, like UFFDIO_COPY (R14), sets entries of a private mapping of a file with no lock of any of its pages. Linux 6.18 holds the lock of a table that
 * goes for a huge page from its first entry to its end only where a userfaultfd is armed.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { entryOf } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp } from '../explore/setup.ts';
import { MADV_GUARD_INSTALL } from '../mm/madv.ts';
import { isGuardPte } from '../mm/pgtable.ts';
import { collapseAt, collapseFile, mapPrivately, privateAt } from './support/collapse.ts';

/** What becomes a guard region, of the private mapping. */
const guarded = (): number => privateAt() + 1;

export default scenario({
  id: 'guard-collapse',
  title: 'a page of a private mapping of a file becomes a guard region while the page table goes for a huge page',
  source: 'collapse_pte_mapped_thp() of Linux 6.18, between its steps 2 and 4; guard_install_pte_entry()',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    mapPrivately(stage, 2);
    collapseFile(stage);
  },
  tasks: {
    guard: ({ process, page }) => task(call('sysMadvise', process.ref, guarded() * page, page, MADV_GUARD_INSTALL)),
    collapse: (stage) => collapseAt(stage, privateAt()),
  },
  holds: {
    guarded: ({ process, results }) => {
      if (results.guard[0] !== 0) return `MADV_GUARD_INSTALL returns ${results.guard[0]}`;
      return isGuardPte(entryOf(process.ref, guarded())) ? undefined : 'the page is no guard region after MADV_GUARD_INSTALL has returned';
    },
  },
  variants: {
    linux: { expect: 'violation', rule: 'guarded', preemptions: 1, note: 'as Linux 6.18: the marker is set in a table that was emptied and goes next' },
    fixed: { switches: ['collapseLocked'], expect: 'clean', note: 'the lock of the table is not released in between' },
  },
});
