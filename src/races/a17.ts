/**
 * A17: what makes walkers without locks safe, as a table: how tables are freed against what the walker keeps from happening. docs/check.md has the rows.
 *
 * Two walkers: get_user_pages_fast(), with interrupts off, and a fault that looks at an entry before it has its lock, under RCU (or, by a switch, with interrupts
 * off, or with nothing). Three ways of freeing: after a grace period; after a flush by interrupts that every CPU has to answer; after a flush that hardware
 * sends around, or a hypervisor does without.
 */
import { scenario } from '../explore/scenario.ts';
import { getPage, loadPage, walkedTable, zapTable } from './support/walked-table.ts';

const broken = { expect: 'violation', rule: 'I3', preemptions: 1 } as const;
const safe = { expect: 'clean' } as const;

export default scenario({
  id: 'A17',
  title: 'a walker without locks is in a page table that is emptied and freed',
  source: "mm/mmu_gather.c, its long comment; powerpc/64s/radix: don't need to broadcast IPI for radix pmd collapse flush (6.1)",
  ...walkedTable,
  hardware: ({ notes }) => ({ ipis: notes.ipis === 1 }),
  tasks: {
    zap: zapTable,
    walker: (stage) => (stage.notes.fault === 1 ? loadPage : getPage('getUserPagesFastOnly'))(stage),
  },
  variants: {
    'rcu-irqs-off': { ...safe, note: 'freed after a grace period, walker with interrupts off' },
    'rcu-rcu': { notes: { fault: 1 }, ...safe, note: 'freed after a grace period, walker under RCU' },
    'rcu-nothing': { switches: ['pteMapNothing'], notes: { fault: 1 }, ...broken, note: 'freed after a grace period, walker with neither' },
    'sched-irqs-off': {
      switches: ['rcuIgnoresIrqsOff'],
      ...broken,
      note: 'freed after a grace period of another flavour of RCU than the walker reads under',
    },
    'ipi-irqs-off': { switches: ['tableFreeAtOnce'], notes: { ipis: 1 }, ...safe, note: 'freed after a flush by interrupts, walker with interrupts off' },
    'ipi-rcu': { switches: ['tableFreeAtOnce'], notes: { ipis: 1, fault: 1 }, ...broken, note: 'freed after a flush by interrupts, walker under RCU' },
    'ipi-fault-irqs-off': {
      switches: ['tableFreeAtOnce', 'pteMapIrqsOff'],
      notes: { ipis: 1, fault: 1 },
      ...safe,
      note: 'freed after a flush by interrupts, faults with interrupts off, too',
    },
    'broadcast-irqs-off': { switches: ['tableFreeAtOnce'], ...broken, note: 'freed after a flush without interrupts, walker with interrupts off' },
    'broadcast-rcu': { switches: ['tableFreeAtOnce'], notes: { fault: 1 }, ...broken, note: 'freed after a flush without interrupts, walker under RCU' },
  },
});
