/**
 * E86: a new top table is copied from the kernel's while the kernel's gets an entry: whoever is copied must be on the list already, or it is missed.
 *
 * Of 32-bit x86, where a process's top table has the kernel's entries in its upper half. The protocol stands apart from the tables (mm/pgd-list.ts), so it is
 * the same in all modes.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { get } from '../memory/heap.ts';
import { allocPgdList } from '../mm/pgd-list.ts';
import { KERNEL_ENTRIES, PgdCopy, PgdList } from '../mm/pgd-list-types.ts';

export default scenario({
  id: 'E86',
  title: 'fork makes a top table while vmalloc adds an entry to the one of the kernel',
  source: 'pgd_ctor(): pgd_lock; arch_sync_kernel_mappings(), 86cf69f1d893 (x86/mm/32: implement arch_sync_kernel_mappings())',
  setup({ machine, notes }) {
    machine.enter();
    notes.list = allocPgdList();
    machine.kernel.setKernelEntry(notes.list, 0, 5);
    machine.kernel.pgdCtor(notes.list);
  },
  roots: ({ notes }) => [notes.list],
  tasks: {
    fork: ({ notes }) => task(call('pgdCtor', notes.list)),
    vmalloc: ({ notes }) => task(call('setKernelEntry', notes.list, 1, 7)),
  },
  holds: {
    I2: ({ notes }) => {
      for (let copy = get(notes.list, PgdList.first); copy !== 0; copy = get(copy, PgdCopy.next))
        for (let i = 0; i < KERNEL_ENTRIES; i++)
          if (get(copy, PgdCopy.entries + i) !== get(notes.list, PgdList.entries + i)) return `a top table lacks entry ${i} of the kernel's: an access faults`;
      return undefined;
    },
  },
  variants: {
    unlocked: { switches: ['pgdCtorUnlocked'], expect: 'violation', rule: 'I2', preemptions: 1, note: 'the entry comes between the copy and the list' },
    fixed: { expect: 'clean' },
  },
});
