/**
 * R14: MADV_COLLAPSE maps a huge page of a file in place of its small entries (collapse_pte_mapped_thp), while UFFDIO_COPY fills the private mapping: that sets entries without the
 * lock of any page of the file. So the table must be taken away before its lock is released.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, hugePages, map, must, REGISTER_MISSING, store, UFFDIO_COPY, UFFDIO_REGISTER, userfaultfd, WINDOW, words64 } from '../explore/setup.ts';
import { collapseAt, collapseFile, mapPrivately, privateAt } from './support/collapse.ts';

/** Arguments of ioctls, and the page that is copied. */
const SCRATCH = WINDOW - 16;

export default scenario({
  id: 'R14',
  title: 'UFFDIO_COPY fills a private mapping of a file, whose page table goes for a huge page',
  source: 'a98460494b16 (mm/khugepaged: fix collapse_pte_mapped_thp() versus uffd)',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    const { process, page } = stage;
    map(stage, SCRATCH, 2);
    store(stage, SCRATCH + 1, 1);
    mapPrivately(stage, 2);
    collapseFile(stage);
    const uffd = userfaultfd(stage, SCRATCH);
    must(process, 'ioctl', uffd, UFFDIO_REGISTER, words64(stage, SCRATCH * page, [privateAt() * page, hugePages() * page, REGISTER_MISSING, 0]));
    words64(stage, SCRATCH * page, [(privateAt() + 1) * page, (SCRATCH + 1) * page, page, 0, 0]);
    stage.notes.uffd = uffd;
  },
  tasks: {
    copy: ({ process, page, notes }) => task(call('sysIoctl', process.ref, notes.uffd, UFFDIO_COPY, SCRATCH * page)),
    collapse: (stage) => collapseAt(stage, privateAt()),
  },
  variants: {
    unlocked: {
      switches: ['collapseUffdUnlocked'],
      expect: 'violation',
      rule: ['I1', 'I2', 'I3', 'I4', 'I12', 'I13', 'I26', 'I32'],
      preemptions: 1,
      note: 'the page that was copied is mapped by a table that is gone',
    },
    trylock: { switches: ['collapseTrylock'], expect: 'clean', note: 'the second version of the repair: it begins anew when it had to let the lock go' },
    fixed: { expect: 'clean' },
  },
});
