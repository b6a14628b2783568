/**
 * R17: retract_page_tables() finds a VMA by its file whose address space is ending, and works on its page tables: they stay as long as the VMA can be found.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp } from '../explore/setup.ts';
import { collapse, sharedHugeFile } from './support/collapse.ts';

export default scenario({
  id: 'R17',
  title: 'a process exits that maps a file, while another makes a huge page of it and takes the page tables of all who map it',
  source: '1043173eb5eb (mm/khugepaged: retract_page_tables() without mmap or vma lock); free_pgtables(): unlink_file_vma_batch_final()',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    stage.notes.other = sharedHugeFile(stage).ref;
  },
  tasks: {
    exit: ({ notes }) => task(call('sysExit', notes.other, 0)),
    collapse,
  },
  variants: {
    'unlinked-late': {
      switches: ['tablesBeforeUnlink'],
      expect: 'violation',
      rule: ['I2', 'I3', 'I13', 'I19', 'I23'],
      preemptions: 1,
      note: 'the VMA is found when its tables are going',
    },
    fixed: { expect: 'clean', bounded: { preemptions: 1, reason: 'an exit is long: 36,511 states without a bound, which are clean' } },
  },
});
