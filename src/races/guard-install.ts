/**
 * Guard regions (MADV_GUARD_INSTALL) against faults that map their pages and zaps that take them away.
 *
 * The thread takes faults and does not try its access again: one that did could be zapped each time before it comes to it, and map the page each time before
 * the marker is set. Linux accepts that the two may go round so (MAX_MADVISE_GUARD_RETRIES, −ERESTARTNOINTR); I27 finds it.
 */
import { entryOf } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { ACCESS_WRITE } from '../kernel/mmu.ts';
import { MADV_DONTNEED, MADV_GUARD_INSTALL } from '../mm/madv.ts';
import { isGuardPte } from '../mm/pgtable.ts';

const SIGSEGV = 11;

export default scenario({
  id: 'guard-install',
  title: 'a page is faulted in and zapped while it becomes a guard region',
  source: 'madvise_guard_install(), guard_install_pte_entry(): an entry that is not empty is zapped, and the walk begins again',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    guard: ({ process, page }) => task(call('sysMadvise', process.ref, WINDOW * page, page, MADV_GUARD_INSTALL), call('threadLoad', process.ref, WINDOW)),
    thread: ({ process, page }) =>
      task(
        { run: 'userFault', args: [process.mm, WINDOW, ACCESS_WRITE], name: 'write fault' },
        call('sysMadvise', process.ref, WINDOW * page, page, MADV_DONTNEED),
        { run: 'userFault', args: [process.mm, WINDOW, ACCESS_WRITE], name: 'write fault' },
      ),
  },
  holds: {
    guarded: ({ process, results }) => {
      if (results.guard[0] !== 0) return `MADV_GUARD_INSTALL returns ${results.guard[0]}`;
      if (!isGuardPte(entryOf(process.ref, WINDOW))) return 'the page is no guard region after MADV_GUARD_INSTALL has returned';
      return -results.guard[1] >> 8 === SIGSEGV ? undefined : `a load from the guard region gives ${results.guard[1]}`;
    },
  },
  variants: {
    blind: {
      switches: ['guardNoSecondLook', 'guardFlushesPending'],
      expect: 'violation',
      rule: ['I1', 'I12'],
      preemptions: 1,
      note: 'a page that was mapped since the zap is overwritten by the marker',
    },
    linux: {
      expect: 'violation',
      rule: 'guarded',
      preemptions: 1,
      note: 'as Linux 6.18: an entry that MADV_DONTNEED has emptied and not flushed yet becomes a marker, and the old page is read although the call has returned',
    },
    fixed: { switches: ['guardFlushesPending'], expect: 'clean', note: 'the range is flushed where a flush is pending' },
  },
});
