/** E30: a hole is punched while a fault reads the page that lies in it. */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, must, store, WINDOW } from '../explore/setup.ts';
import { POSIX_FADV_DONTNEED } from '../mm/open.ts';
import { PUNCH } from './support/files.ts';

export default scenario({
  id: 'E30',
  title: 'fallocate() punches a hole: pages leave the cache, then blocks are freed; a fault reads the block in between',
  source: 'ea3d7209ca01 (ext4: fix races between page faults and hole punching); mapping->invalidate_lock',
  setup(stage) {
    const { process, page, notes } = stage;
    const fd = diskFile(stage, 1);
    notes.fd = fd;
    map(stage, WINDOW, 1, { fd });
    store(stage, WINDOW, 7);
    must(process, 'fsync', fd);
    must(process, 'munmap', WINDOW * page, page);
    must(process, 'fadvise64', fd, 0, 0, POSIX_FADV_DONTNEED);
    map(stage, WINDOW, 1, { fd });
  },
  tasks: {
    punch: ({ process, notes, page }) => task(call('sysFallocate', process.ref, notes.fd, PUNCH, 0, page)),
    fault: ({ process }) => task(call('threadLoad', process.ref, WINDOW)),
  },
  holds: {
    hole: ({ process }) => {
      const word = wordAt(process.ref, WINDOW);
      return word === undefined || word === 0 ? undefined : `the hole reads as ${word}, which its block held before`;
    },
  },
  variants: {
    unlocked: {
      switches: ['punchNoInvalidateLock'],
      expect: 'violation',
      rule: 'hole',
      preemptions: 1,
      // That blocks are read under invalidate_lock alone no guard says.
      racy: true,
      note: 'nothing keeps the fault from reading a block that goes',
    },
    fixed: { expect: 'clean', note: 'invalidate_lock: for reading while a page is read, for writing while pages and blocks go' },
  },
});
