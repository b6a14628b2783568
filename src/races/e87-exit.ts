/** E87: looking into a process that ends. */
import { call, scenario, task } from '../explore/scenario.ts';
import { iovec, map, store, WINDOW } from '../explore/setup.ts';
import { ESRCH } from '../mm/errno.ts';
import { byProcess } from './support/address-spaces.ts';

export default scenario({
  id: 'E87-exit',
  title: 'process_vm_readv() of a process that ends',
  source: 'get_task_mm(): task_lock(); exit_mm()',
  setup(stage) {
    const { process, page, notes, machine } = stage;
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 7);
    const reader = process.fork();
    Object.assign(notes, { reader: reader.ref, pid: process.pid });
    const at = WINDOW + 16;
    map(stage, at, 1, {}, reader);
    iovec(stage, at * page, at * page + 64, 4, reader);
    iovec(stage, at * page + 16, WINDOW * page, 4, reader);
    machine.enter();
  },
  tasks: {
    exit: ({ process }) => task(call('sysExit', process.ref, 0)),
    reader: (stage) => {
      const { page, notes } = stage;
      return byProcess(stage, notes.reader, call('sysProcessVmReadv', notes.reader, notes.pid, (WINDOW + 16) * page, 1, (WINDOW + 16) * page + 16, 1, 0));
    },
  },
  holds: {
    answer: ({ results }) =>
      results.reader[0] === 4 || results.reader[0] === -ESRCH ? undefined : `process_vm_readv() returns ${results.reader[0]}, neither 4 bytes nor ESRCH`,
  },
  variants: {
    unlocked: {
      switches: ['taskMmUnlocked'],
      expect: 'violation',
      rule: ['I19', 'I3', 'I1'],
      preemptions: 1,
      note: 'the mm has no user any more, or is gone, when it is given one',
    },
    fixed: { expect: 'clean' },
  },
});
