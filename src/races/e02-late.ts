/**
 * E02, the flush in the wrong place: fork lets the parent's locks go before it flushes. One thread's fault copies the page that is shared now, while another
 * thread still stores into the page that is copied from: that store is lost to the parent.
 *
 * It takes two threads beside fork: three preemptions, of which the first (the load) stands for whatever brought the translation to the CPU.
 */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { ACCESS_WRITE } from '../kernel/mmu.ts';

export default scenario({
  id: 'E02-late',
  title: 'a page is copied for one thread while another one writes to it by a translation that fork() has not flushed yet',
  source: 'dup_mmap(): flush_tlb_mm() of the parent before its mmap lock is released',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
  },
  tasks: {
    fork: ({ process }) => task(call('sysFork', process.ref)),
    thread: ({ process }) => task(call('threadLoad', process.ref, WINDOW), call('threadStore', process.ref, WINDOW, 2)),
    other: ({ process }) => task({ run: 'userFault', args: [process.mm, WINDOW, ACCESS_WRITE], name: 'store to another word of the page' }),
  },
  holds: {
    'own store': ({ process }) => (wordAt(process.ref, WINDOW) === 2 ? undefined : 'the store of the thread is lost'),
  },
  variants: {
    late: {
      switches: ['forkFlushLate'],
      expect: 'violation',
      rule: 'own store',
      preemptions: 3,
      note: 'the parent is flushed when its locks are free again',
    },
    fixed: { expect: 'clean' },
  },
});
