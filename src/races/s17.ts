/**
 * S17: what MADV_COLLAPSE takes out of a page table (collapse_pte_mapped_thp) is counted once, also where it begins anew: as in the version of the repair of R14 that tries to get the
 * lock of the upper entry and, when somebody has it, releases that of the table.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import {
  hasThp,
  hugePages,
  load,
  map,
  must,
  PROT_READ,
  PROT_WRITE,
  REGISTER_MISSING,
  UFFDIO_REGISTER,
  userfaultfd,
  WINDOW,
  words64,
} from '../explore/setup.ts';
import { collapseAt, collapseFile, mapPrivately, privateAt } from './support/collapse.ts';

const SCRATCH = WINDOW - 16;
/** Memory that needs a table of its own, below the same upper table. */
const far = (): number => WINDOW + 2 * hugePages();

export default scenario({
  id: 'S17',
  title: 'a page table is emptied for a huge page in two goes, as a fault has the lock of the upper entry',
  source: 'second version of a98460494b16 (mm/khugepaged: fix collapse_pte_mapped_thp() versus uffd), August 2023',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    const { process, page } = stage;
    map(stage, SCRATCH, 1);
    map(stage, far(), 1);
    mapPrivately(stage, 1);
    // Small entries of the private mapping map the huge page.
    load(stage, privateAt());
    collapseFile(stage);
    // As many small entries as one fault makes where the range is no single VMA.
    must(process, 'mprotect', privateAt() * page, page, PROT_READ);
    load(stage, privateAt() + 5);
    must(process, 'mprotect', privateAt() * page, page, PROT_READ | PROT_WRITE);
    const uffd = userfaultfd(stage, SCRATCH);
    must(process, 'ioctl', uffd, UFFDIO_REGISTER, words64(stage, SCRATCH * page, [privateAt() * page, hugePages() * page, REGISTER_MISSING, 0]));
  },
  tasks: {
    collapse: (stage) => collapseAt(stage, privateAt()),
    thread: ({ process }) => task(call('threadStore', process.ref, far(), 8)),
  },
  variants: {
    twice: {
      switches: ['collapseTrylock', 'collapseCountsTwice'],
      expect: 'violation',
      rule: ['I1', 'I12', 'I13', 'I3', 'I26', 'I32', 'guard'],
      preemptions: 1,
      note: 'references and resident pages of the first go are taken away again',
    },
    trylock: { switches: ['collapseTrylock'], expect: 'clean' },
    fixed: { expect: 'clean' },
  },
});
