/**
 * E01: fork against a write fault of another thread.
 *
 * What fork shares is write-protected entry by entry and flushed once, at its end: until then the thread may still write into what the child will see. That
 * is right as long as nothing of the thread's is copied away in between; then the child would see a later store of the thread's and not an earlier one.
 */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E01',
  title: 'fork() copies the pages of a VMA while another thread takes write faults on them under the lock of the VMA',
  source: 'fb49c455323f (fork: lock VMAs of the parent process when forking)',
  setup(stage) {
    map(stage, WINDOW, 2);
    store(stage, WINDOW, 0);
    store(stage, WINDOW + 1, 0);
  },
  hardware: () => ({ speculate: [WINDOW + 1] }),
  tasks: {
    fork: ({ process }) => task(call('sysFork', process.ref)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 1), call('threadStore', process.ref, WINDOW + 1, 1)),
  },
  holds: {
    'one moment': ({ results }) => {
      const child = results.fork[0];
      const first = wordAt(child, WINDOW);
      const second = wordAt(child, WINDOW + 1);
      return second === 1 && first !== 1 ? 'the child has the second store of the thread, and not its first' : undefined;
    },
  },
  variants: {
    unlocked: { switches: ['forkNoVmaLock'], expect: 'violation', rule: 'one moment', preemptions: 1, note: 'faults run while the VMA is copied' },
    fixed: { expect: 'clean' },
  },
});
