/**
 * C22: who releases the lock of a fault that must be tried again.
 *
 * VM_FAULT_RETRY of a fault under the VMA's lock: the fault has released it, once; the mmap lock is taken and the VMA looked up again. Under the mmap lock: the
 * fault has released that. Reading a page of a disk is what the lock is not held for.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'C22',
  title: 'a fault lets its lock go to read a page of a disk, and is tried again, while another thread unmaps the range',
  source: 'do_user_addr_fault(), maybe_unlock_mmap_for_io(), release_fault_lock()',
  // No fault-around: filemap_fault() itself.
  machine: { settings: { faultAroundPages: 1 } },
  setup(stage) {
    const fd = diskFile(stage, 1);
    map(stage, WINDOW, 1, { fd });
  },
  tasks: {
    fault: ({ process }) => task(call('threadLoad', process.ref, WINDOW)),
    munmap: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, page)),
  },
  variants: {
    'keeps-lock': {
      switches: ['retryKeepsLock'],
      expect: 'violation',
      rule: ['I27', 'I23', 'I22'],
      preemptions: 0,
      note: 'the lock of the VMA is still held when the mmap lock is taken',
    },
    'keeps-mmap-lock': {
      switches: ['retryKeepsLock', 'noVmaLocks'],
      expect: 'violation',
      rule: ['I22', 'I27'],
      preemptions: 0,
      note: 'the mmap lock is taken a second time',
    },
    'releases-twice': {
      switches: ['retryReleasesTwice'],
      expect: 'violation',
      rule: 'I23',
      preemptions: 0,
      note: 'the handler releases the VMA again',
    },
    'no-lookup': {
      switches: ['retryNoLookup'],
      expect: 'violation',
      rule: ['I19', 'guard'],
      preemptions: 1,
      note: 'the VMA may be gone by the time the mmap lock is held',
    },
    'mmap-lock': { switches: ['noVmaLocks'], expect: 'clean', note: 'as before 6.4: faults under the mmap lock' },
    fixed: { expect: 'clean' },
  },
});
