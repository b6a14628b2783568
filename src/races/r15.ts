/**
 * R15: retract_page_tables() takes the page table of whoever maps a new huge page of a file, without any lock of the address space, while that one registers with a userfaultfd and
 * write-protects what is not mapped: the markers stand in the table.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { entryOf } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, hugePages, map, REGISTER_WP, UFFDIO_REGISTER, UFFDIO_WRITEPROTECT, userfaultfd, WINDOW, words64 } from '../explore/setup.ts';
import { PTE_MARKER_UFFD_WP, pteMarker } from '../mm/pgtable.ts';
import { collapse, sharedHugeFile } from './support/collapse.ts';

/** Arguments of ioctls. */
const SCRATCH = WINDOW - 16;

export default scenario({
  id: 'R15',
  title: 'a hole is write-protected by a userfaultfd while the page table that it stands in goes for a huge page of the file',
  source: '1043173eb5eb (mm/khugepaged: retract_page_tables() without mmap or vma lock): userfaultfd_wp() is asked again under both locks',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    const { page } = stage;
    const other = sharedHugeFile(stage);
    map(stage, SCRATCH, 1, {}, other);
    stage.notes.uffd = userfaultfd(stage, SCRATCH, other);
    words64(stage, SCRATCH * page, [WINDOW * page, hugePages() * page, REGISTER_WP, 0], other);
    words64(stage, SCRATCH * page + 64, [(WINDOW + 1) * page, page, 1], other);
    stage.notes.other = other.ref;
  },
  tasks: {
    protect: ({ notes, page }) =>
      task(
        call('sysIoctl', notes.other, notes.uffd, UFFDIO_REGISTER, SCRATCH * page),
        call('sysIoctl', notes.other, notes.uffd, UFFDIO_WRITEPROTECT, SCRATCH * page + 64),
      ),
    collapse,
  },
  holds: {
    I16: ({ notes, results }) => {
      const wrong = results.protect.find((result) => result !== 0);
      if (wrong !== undefined) return `an ioctl of the userfaultfd returns ${wrong}`;
      return pteMarker(entryOf(notes.other, WINDOW + 1)) === PTE_MARKER_UFFD_WP
        ? undefined
        : 'UFFDIO_WRITEPROTECT has returned, and no marker stands in the hole';
    },
  },
  variants: {
    'wp-once': { switches: ['retractWpOnce'], expect: 'violation', rule: 'I16', preemptions: 1, note: 'the markers are lost with the table' },
    fixed: { expect: 'clean' },
  },
});
