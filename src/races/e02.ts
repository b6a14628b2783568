/** E02: fork and what the parent's CPUs remember of entries that were writable. What a flush that comes too late does is E02-late. */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E02',
  title: 'fork() write-protects a page that another CPU of the parent has cached as writable',
  source: 'dup_mmap(): flush_tlb_mm() of the parent',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 0);
  },
  tasks: {
    fork: ({ process }) => task(call('sysFork', process.ref), call('threadLoad', process.ref, WINDOW)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 1), call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: {
    snapshot: ({ results }) => {
      const [child, before] = results.fork;
      const now = wordAt(child, WINDOW);
      return now !== undefined && now > before ? `the child reads ${now}, which its parent stored after fork() had returned` : undefined;
    },
  },
  variants: {
    none: {
      switches: ['forkNoFlush'],
      expect: 'violation',
      rule: ['snapshot', 'I4'],
      preemptions: 1,
      note: 'the parent is not flushed at all',
    },
    fixed: { expect: 'clean' },
  },
});
