/** E24: a kernel thread that keeps the tables of a process loaded, against the end of that process. */
import { call, type Stage, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E24',
  title: 'a CPU goes over to a kernel thread and keeps the tables that it has loaded; the process that they belong to ends on another CPU',
  source: 'enter_lazy_tlb(), context_switch(), mmgrab_lazy_tlb(), exit_mmap(); the CPU is asked to flush as long as it has the tables loaded',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    const other = stage.process.fork();
    stage.notes.otherMm = other.mm;
    stage.machine.enter();
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    idle: ({ process, notes }: Stage) => ({ ...task(call('contextSwitch', 0), call('contextSwitch', notes.otherMm)), process }),
    exit: ({ process }) => task(call('sysExit', process.ref, 0)),
  },
  variants: {
    uncounted: {
      switches: ['lazyTlbUncounted'],
      expect: 'violation',
      rule: ['I3', 'I4'],
      preemptions: 1,
      note: 'nobody counts the CPU or asks it to flush: it walks tables that were given back',
    },
    fixed: { expect: 'clean', note: 'the CPU holds the mm by its count; the flush that precedes the freeing of tables makes it leave them' },
  },
});
