/**
 * E08: VMAs are merged while rmap walks them.
 *
 * A VMA whose range changes leaves the trees of rmap for that time: whoever walks a tree must find either all of the old range or all of the new one.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, memfd, must, PROT_READ, PROT_WRITE, store, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'E08',
  title: 'mprotect() merges two VMAs of a file while the file is truncated',
  source: 'vma_prepare(), vma_complete(): i_mmap_rwsem and the lock of the anon_vma from one to the other; unmap_mapping_range()',
  setup(stage) {
    const fd = memfd(stage, 2);
    map(stage, WINDOW, 2, { fd });
    store(stage, WINDOW, 1);
    store(stage, WINDOW + 1, 2);
    must(stage.process, 'mprotect', WINDOW * stage.page, stage.page, PROT_READ);
    stage.notes.fd = fd;
  },
  tasks: {
    mprotect: ({ process, page }) => task(call('sysMprotect', process.ref, WINDOW * page, page, PROT_READ | PROT_WRITE)),
    ftruncate: ({ process, notes }) => task(call('sysFtruncate', process.ref, notes.fd, 0)),
  },
  variants: {
    dropped: {
      switches: ['rmapLocksDropped'],
      expect: 'violation',
      rule: ['I1', 'I10'],
      preemptions: 1,
      note: 'truncation does not meet a VMA that is in no tree just then',
    },
    fixed: { expect: 'clean' },
  },
});
