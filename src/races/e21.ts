/**
 * E21: clearing soft-dirty bits against what writes.
 *
 * A store that comes before clear_refs has returned may or may not be recorded. Later ones must be, and who takes rights away must not rely on entries that
 * clear_refs has write-protected and not flushed yet.
 */
import { entryOf } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, PROT_READ, store, WINDOW } from '../explore/setup.ts';
import { codecFor } from '../machine/boot.ts';
import { get } from '../memory/heap.ts';
import { CLEAR_REFS_SOFT_DIRTY } from '../mm/task-mmu.ts';
import { Vma } from '../mm/types.ts';
import { VM_SOFTDIRTY } from '../mm/vm-flags.ts';
import { vmaLookup } from '../mm/vma-tree.ts';
import { PTE_SOFT_DIRTY } from '../pagetable/canonical.ts';

export default scenario({
  id: 'E21',
  title: 'clear_refs write-protects entries and clears their soft-dirty bits; a CPU still has a translation that allows writes',
  source: 'clear_refs_write(): flush_tlb_mm() and dec_tlb_flush_pending() before mmap_write_unlock(); 29a951dfb3c3 (mm: fix clear_refs_write locking)',
  modes: (mode) => (codecFor(mode).supports & PTE_SOFT_DIRTY) !== 0,
  machine: { settings: { softDirty: 1 } },
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    clear: ({ process }) => task(call('clearRefs', process.mm, CLEAR_REFS_SOFT_DIRTY), call('threadStore', process.ref, WINDOW, 2)),
    protect: ({ process, page }) => task(call('sysMprotect', process.ref, WINDOW * page, page, PROT_READ)),
  },
  holds: {
    I14: ({ process, results }) => {
      const vma = vmaLookup(process.mm, WINDOW);
      const seen = (entryOf(process.ref, WINDOW) & PTE_SOFT_DIRTY) !== 0 || (get(vma, Vma.flags) & VM_SOFTDIRTY) !== 0;
      return results.clear[1] !== 0 || seen ? undefined : 'a store since clear_refs has returned left no soft-dirty bit';
    },
  },
  variants: {
    unflushed: { switches: ['clearRefsNoFlush'], expect: 'violation', rule: ['I14', 'I4'], preemptions: 0, note: 'the store goes through the old translation' },
    late: {
      switches: ['clearRefsFlushLate'],
      expect: 'violation',
      rule: 'I4',
      preemptions: 1,
      note: 'mprotect() finds nothing to take away and does not flush, while the flush of clear_refs is still to come',
    },
    fixed: { expect: 'clean' },
  },
});
