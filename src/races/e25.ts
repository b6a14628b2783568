/** E25: an address space identifier that is given to another process while a CPU still holds translations under it. */
import { call, type Ending, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';

/** Three identifiers for four processes: the last one asks for a new generation. */
const ASIDS = 3;

export default scenario({
  id: 'E25',
  title: 'address space identifiers run out on one CPU; the other loads a process under a number that its TLB knows from before',
  source: 'arch/arm64/mm/context.c: check_and_switch_context(), flush_context(); x86: choose_new_asid() and tlb_gen',
  machine: { cpus: 2 },
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    for (const [name, value] of [
      ['b', 2],
      ['c', 3],
      ['d', 4],
    ] as const) {
      const other = stage.process.fork();
      store(stage, WINDOW, value, other);
      stage.notes[name] = other.ref;
      stage.notes[`${name}Mm`] = other.mm;
    }
  },
  hardware: () => ({ asids: ASIDS }),
  tasks: {
    one: ({ process, notes }) =>
      task(
        call('contextSwitch', process.mm),
        call('threadLoad', process.ref, WINDOW),
        call('contextSwitch', notes.bMm),
        call('contextSwitch', notes.dMm),
        call('threadLoad', notes.d, WINDOW),
      ),
    two: ({ notes }) =>
      task(call('contextSwitch', notes.cMm), call('threadLoad', notes.c, WINDOW), call('contextSwitch', notes.dMm), call('threadLoad', notes.d, WINDOW)),
  },
  holds: {
    own: ({ results: { one, two } }: Ending) =>
      one[1] === 1 && one[4] === 4 && two[1] === 3 && two[3] === 4
        ? undefined
        : `a process reads the page of another: ${one[1]}, ${one[4]} (its own: 1, 4), ${two[1]}, ${two[3]} (3, 4)`,
  },
  variants: {
    'no-flush': {
      switches: ['asidReuseNoFlush'],
      expect: 'violation',
      rule: ['I4', 'own'],
      preemptions: 1,
      note: 'a generation begins, and CPUs do not empty their TLBs before they load anything else',
    },
    fixed: { expect: 'clean' },
  },
});
