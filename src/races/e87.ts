/** E87: looking into a process that execs a program with more rights. */
import { call, scenario, task } from '../explore/scenario.ts';
import { iovec, map, WINDOW } from '../explore/setup.ts';
import { codecFor } from '../machine/boot.ts';
import { set } from '../memory/heap.ts';
import { EFAULT, EPERM } from '../mm/errno.ts';
import { Process } from '../mm/types.ts';
import { userLimits } from '../pagetable/canonical.ts';
import { byProcess } from './support/address-spaces.ts';

export default scenario({
  id: 'E87',
  title: 'process_vm_readv() of a process that execs a set-user-ID program',
  source: '8cdb878dcb35 (Fix race in process_vm_rw_core); eea9673250db (exec: Add exec_update_mutex to replace cred_guard_mutex)',
  // Where stacks grow up exec is not modelled.
  modes: (mode) => codecFor(mode).mode.family !== 'parisc',
  setup(stage) {
    const { process, page, notes, machine } = stage;
    machine.enter();
    for (const field of [Process.capsLow, Process.capsHigh]) set(process.ref, field, 0);
    const reader = process.fork();
    Object.assign(notes, { reader: reader.ref, pid: process.pid });
    map(stage, WINDOW, 1, {}, reader);
    // Where to, and where from: the end of the new program's stack, where its arguments are.
    const top = Math.floor(userLimits(machine.codec.mode).stackTop / page) * page;
    iovec(stage, WINDOW * page, WINDOW * page + 64, 1, reader);
    iovec(stage, WINDOW * page + 16, top - 16, 1, reader);
    machine.enter();
  },
  tasks: {
    exec: ({ process }) => task(call('execProgram', process.ref, 16, 1)),
    reader: (stage) => {
      const { page, notes } = stage;
      return byProcess(stage, notes.reader, call('sysProcessVmReadv', notes.reader, notes.pid, WINDOW * page, 1, WINDOW * page + 16, 1, 0));
    },
  },
  holds: {
    secret: ({ results }) =>
      results.reader[0] === -EPERM || results.reader[0] === -EFAULT
        ? undefined
        : `process_vm_readv() returns ${results.reader[0]}: it has read of a program that its caller has no rights over`,
  },
  variants: {
    unlocked: {
      switches: ['execAccessUnlocked'],
      expect: 'violation',
      rule: 'secret',
      preemptions: 1,
      note: 'the mm is that of the new program, the credentials are those of the old one',
    },
    fixed: { expect: 'clean' },
  },
});
