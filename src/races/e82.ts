/**
 * E82: two changes of attributes in one leaf of the direct map, and whoever looks meanwhile where a page is.
 *
 * Each wants the leaf split; the second that comes must not put a table in the place of the first's, which has the attributes that were changed since.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { tableEntries } from '../kernel/arch.ts';
import { LINEAR_BBML2 } from '../mm/direct-map.ts';
import { directMapVpn } from '../mm/kernel-layout.ts';
import { CPA_RO } from '../mm/set-memory.ts';
import { PTE_WRITE } from '../pagetable/canonical.ts';

const PAGES = [3, 5];
const frame = (i: number): number => tableEntries(0) + PAGES[i];

export default scenario({
  id: 'E82',
  title: 'two pages of one leaf of the direct map become read-only, both by splitting it',
  source: 'arch/x86/mm/pat/set_memory.c: __split_large_page',
  // 8xx and radix map RAM with large pages that they do not split.
  modes: (mode) => /^(x86-|arm64-4k-48|s390x|riscv-sv39)/.test(mode),
  setup({ machine, notes }) {
    machine.enter();
    notes.error = machine.kernel.makeDirectMap(4 * tableEntries(0), LINEAR_BBML2);
  },
  tasks: {
    first: () => task(call('setMemory', directMapVpn(frame(0)), 1, CPA_RO)),
    second: () => task(call('setMemory', directMapVpn(frame(1)), 1, CPA_RO)),
    walker: () => task(call('kernelPfn', directMapVpn(frame(0)))),
  },
  variants: {
    'no second look': {
      switches: ['cpaSplitNoRecheck'],
      expect: 'violation',
      rule: ['attributes', 'I2'],
      preemptions: 1,
      note: 'the leaf was read before the lock was taken',
    },
    'filled late': { switches: ['cpaFillLate'], racy: true, expect: 'violation', rule: 'walk', preemptions: 1, note: 'a walker finds the new table empty' },
    fixed: { expect: 'clean' },
  },
  holds: {
    walk: ({ results }) => (results.walker[0] === frame(0) ? undefined : `walk: the page was at frame ${results.walker[0]}`),
    attributes: ({ machine }) => {
      for (const i of [0, 1]) {
        const entry = machine.kernel.loadedKernelEntry(directMapVpn(frame(i)));
        if ((entry & PTE_WRITE) !== 0) return `attributes: frame ${frame(i)} may be written, although both calls have returned`;
      }
      return undefined;
    },
  },
});
