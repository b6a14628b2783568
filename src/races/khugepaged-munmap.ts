/**
 * khugepaged-munmap: khugepaged releases the mmap lock to look for memory: what it saw of the range is to be seen again when it has the lock for writing.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, hugePages, mapCollapsible, WINDOW } from '../explore/setup.ts';

export default scenario({
  id: 'khugepaged-munmap',
  title: 'a half of a range is unmapped while khugepaged makes a huge page of it',
  source: 'hugepage_vma_revalidate() in collapse_huge_page()',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup: (stage) => mapCollapsible(stage),
  tasks: {
    khugepaged: () => task(call('khugepagedDoScan')),
    unmap: ({ process, page }) => task(call('sysMunmap', process.ref, (WINDOW + hugePages() / 2) * page, (hugePages() / 2) * page)),
  },
  variants: {
    'not-again': {
      switches: ['collapseNoRevalidate'],
      expect: 'violation',
      rule: ['I1', 'I2', 'I11', 'I12', 'I19', 'I31'],
      preemptions: 1,
      note: 'the huge page reaches beyond the end of the VMA',
    },
    fixed: { expect: 'clean' },
  },
});
