/** E14: the OOM reaper takes away the memory of a process that is ending. What rmap meets of it is E14-rmap. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E14',
  title: 'the OOM reaper takes away the memory of a process that is freeing its page tables',
  source: '212925802454 (mm: oom: let oom_reap_task and exit_mmap run concurrently); exit_mmap(): MMF_OOM_SKIP, then the mmap lock for writing',
  setup(stage) {
    map(stage, WINDOW, 1);
    const victim = stage.process.fork();
    store(stage, WINDOW, 2, victim);
    stage.notes.victim = victim.ref;
    stage.notes.mm = victim.mm;
    stage.machine.enter();
    // mark_oom_victim
    stage.machine.kernel.mmgrab(victim.mm);
  },
  tasks: {
    reaper: ({ notes }) => task(call('oomReapTask', notes.mm)),
    victim: ({ notes }) => task(call('sysExit', notes.victim, 0)),
  },
  variants: {
    'any-time': {
      switches: ['reaperIgnoresExit'],
      expect: 'violation',
      rule: ['guard', 'I3', 'I19'],
      preemptions: 1,
      note: 'the reaper works without the mmap lock and whether or not tables are being freed',
    },
    unlocked: {
      switches: ['exitMmapUnlocked'],
      expect: 'violation',
      rule: ['I3', 'I19'],
      preemptions: 1,
      note: 'the end of the process does not wait for a reaper that is at work',
    },
    fixed: { expect: 'clean' },
  },
});
