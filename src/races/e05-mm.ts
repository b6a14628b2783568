/**
 * E05, the other half: the object of a VMA that was merged away is used again for another address space.
 *
 * Memory that can be read all the time since it was mapped must not look as if it could not.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, map, PROT_READ, PROT_WRITE, WINDOW } from '../explore/setup.ts';
import { SEGV_ACCERR } from '../mm/fault.ts';

const FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

export default scenario({
  id: 'E05-mm',
  title: 'a fault finds a VMA under RCU, which is merged with its neighbour and used again by another process before the fault has its lock',
  source: 'vma_start_read(): vma->vm_mm is looked at once the reference is held; SLAB_TYPESAFE_BY_RCU for VMAs since 6.15',
  setup(stage) {
    stage.notes.other = stage.machine.spawn().ref;
    map(stage, WINDOW + 1, 1);
  },
  tasks: {
    fault: ({ process }) => task(call('threadLoad', process.ref, WINDOW)),
    reuse: ({ process, page, notes }) =>
      task(
        call('sysMmap', process.ref, WINDOW * page, page, PROT_READ, FLAGS, -1, 0),
        call('sysMprotect', process.ref, WINDOW * page, page, PROT_READ | PROT_WRITE),
        { run: 'sysMmap', args: [notes.other, WINDOW * page, page, 0, FLAGS, -1, 0], name: 'mmap(PROT_NONE) of another process' },
      ),
  },
  holds: {
    access: ({ results }) => (results.fault[0] === -SEGV_ACCERR ? 'a load is refused although the memory was never without PROT_READ' : undefined),
  },
  variants: {
    mm: {
      switches: ['vmaNoMmCheck'],
      expect: 'violation',
      rule: 'access',
      preemptions: 2,
      note: 'nobody looks whose VMA it is that is locked',
    },
    fixed: { expect: 'clean' },
  },
});
