/** R45: the stack limit changes while a process execs. */
import { call, scenario, task } from '../explore/scenario.ts';
import { codecFor } from '../machine/boot.ts';
import { get } from '../memory/heap.ts';
import { Mm } from '../mm/types.ts';
import { RLIMIT_STACK } from '../mm/util.ts';
import { byProcess } from './support/address-spaces.ts';

const GIB = 2 ** 30;

export default scenario({
  id: 'R45',
  title: 'another process changes RLIMIT_STACK of one that execs: after its arguments were measured, before its address space is laid out',
  source: 'c31dbb146dd4 (exec: pin stack limit during exec)',
  // Where stacks grow up exec is not modelled.
  modes: (mode) => codecFor(mode).mode.family !== 'parisc',
  setup({ machine, notes }) {
    notes.other = machine.spawn().ref;
    machine.enter();
  },
  tasks: {
    exec: ({ process }) => task(call('execProgram', process.ref, 16, 0)),
    prlimit: (stage) => byProcess(stage, stage.notes.other, call('doPrlimit', stage.notes.other, stage.process.ref, RLIMIT_STACK, GIB, -1)),
  },
  holds: {
    'one limit': ({ process }) => {
      const measured = get(process.mm, Mm.execArgumentLimit);
      const laidOut = get(process.mm, Mm.execStackLimit);
      return measured === laidOut
        ? undefined
        : `arguments were measured by a stack limit of ${measured} bytes, the address space is laid out by one of ${laidOut}`;
    },
  },
  variants: {
    reread: { switches: ['execStackLimitReread'], expect: 'violation', rule: 'one limit', preemptions: 1, note: 'the limit is read again for the layout' },
    fixed: { expect: 'clean', note: 'the limit is read once, into the record of the exec' },
  },
});
