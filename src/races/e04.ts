/**
 * E04: munmap against a fault under the lock of the VMA, which it has found without the mmap lock.
 *
 * The catalogue says two preemptions. Without the second look at the sequence number it takes three: the fault stops after its first look; munmap() writes the
 * sequence and finds nobody to wait for; the fault takes the lock and stops in its middle; munmap() goes on to the end. The other way round munmap() waits.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E04',
  title: 'a fault finds a VMA under RCU while munmap() takes it out of the tree, empties it and frees its page tables',
  source: 'lock_vma_under_rcu(), vma_start_read(), vma_mark_detached(); vms_gather_munmap_vmas()',
  setup(stage) {
    // One page that nobody has touched: the fault makes the tables that munmap() frees.
    map(stage, WINDOW, 1);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    fault: ({ process }) => task(call('threadLoad', process.ref, WINDOW)),
    munmap: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, page)),
  },
  variants: {
    detached: {
      switches: ['vmaDetachedTaken'],
      expect: 'violation',
      rule: ['I2', 'I3', 'I11', 'I19'],
      preemptions: 2,
      note: 'a fault takes a VMA that is detached',
    },
    unchecked: {
      switches: ['vmaNoRecheck', 'vmaDetachNoWait'],
      expect: 'violation',
      rule: ['I2', 'I3', 'I11', 'I19', 'I23'],
      preemptions: 3,
      note: 'a fault goes on although the VMA was write-locked before it had the lock, and who detaches it does not wait',
    },
    fixed: { expect: 'clean' },
  },
});
