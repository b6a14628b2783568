/** E15: the end of a process whose page a device has pinned, and the reaper that unmaps it meanwhile: the pin is the last to hold the page. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE, PageVector } from '../mm/gup-types.ts';

export default scenario({
  id: 'E15',
  title: 'a process ends, and the OOM reaper unmaps its memory, while a device writes to a page that it had pinned',
  source: 'Documentation/core-api/pin_user_pages.rst; tlb_finish_mmu(): free_pages_and_swap_cache() drops the reference of the mapping alone',
  setup(stage) {
    const { machine, notes } = stage;
    const victim = stage.process.fork();
    map(stage, WINDOW, 1, {}, victim);
    store(stage, WINDOW, 1, victim);
    machine.enter();
    notes.vector = allocPageVector();
    machine.kernel.pinUserPagesFast(victim.mm, WINDOW, 1, FOLL_WRITE | FOLL_LONGTERM, notes.vector);
    notes.pinned = get(notes.vector, PageVector.count);
    notes.victim = victim.ref;
    notes.mm = victim.mm;
    // mark_oom_victim
    machine.kernel.mmgrab(victim.mm);
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    exit: ({ notes }) => task(call('sysExit', notes.victim, 0)),
    reaper: ({ notes }) => task(call('oomReapTask', notes.mm)),
    device: ({ notes }) => task(call('deviceWrite', notes.vector, 7)),
  },
  holds: {
    pinned: ({ notes }) => (notes.pinned === 1 ? undefined : 'nothing was pinned'),
  },
  variants: {
    uncounted: {
      switches: ['gatherIgnoresReferences'],
      expect: 'violation',
      rule: ['I26', 'I1'],
      preemptions: 0,
      note: 'what nobody maps any longer is free, pinned or not',
    },
    fixed: { expect: 'clean', note: 'the page is freed by whoever lets it go last' },
  },
});
