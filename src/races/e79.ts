/**
 * E79: memory that holds a page of a file has failed, and a fault is about to map the page: whether it is poisoned is looked at with the page locked.
 *
 * Where entries can say that a page is poisoned: x86, arm64, 64-bit powerpc and parisc.
 */
import { entryOf } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, memfd, store, WINDOW } from '../explore/setup.ts';
import { codecFor } from '../machine/boot.ts';
import { PG_HWPOISON } from '../memory/page-flags.ts';
import { pageFlags, pageOfPfn } from '../memory/state.ts';
import { MADV_HWPOISON } from '../mm/madv.ts';
import { PTE_PRESENT } from '../pagetable/canonical.ts';

/** Where the file is mapped a second time, and not there yet. */
const SECOND = WINDOW + 8;

export default scenario({
  id: 'E79',
  title: 'MADV_HWPOISON of a page of shared memory while a fault maps it once more',
  source: 'memory_failure(); __do_fault(): PageHWPoison()',
  modes: (mode) => codecFor(mode).typeOf('hwpoison') >= 0,
  machine: { settings: { memoryFailure: 1, faultAroundPages: 1 } },
  setup(stage) {
    const fd = memfd(stage, 1);
    map(stage, WINDOW, 1, { fd });
    map(stage, SECOND, 1, { fd });
    store(stage, WINDOW, 1);
  },
  tasks: {
    failure: ({ process, page }) => task(call('sysMadvise', process.ref, WINDOW * page, page, MADV_HWPOISON)),
    fault: ({ process }) => task(call('threadLoad', process.ref, SECOND)),
  },
  holds: {
    poison: ({ process }) => {
      const entry = entryOf(process.ref, SECOND);
      if ((entry & PTE_PRESENT) === 0) return undefined;
      const page = pageOfPfn(Math.floor(entry / 2 ** 20));
      return (pageFlags[page] & PG_HWPOISON) === 0 ? undefined : `page ${page} is poisoned, and mapped`;
    },
  },
  variants: {
    unasked: { switches: ['faultMapsPoison'], expect: 'violation', rule: 'poison', preemptions: 0, note: 'a fault maps what the cache has' },
    fixed: { expect: 'clean' },
  },
});
