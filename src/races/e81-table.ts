/** E81, tables: a huge mapping takes the place of a page table, through which CPUs may still walk. */
import { call, scenario } from '../explore/scenario.ts';
import { hasKernelLayout, vmallocStart } from '../mm/kernel-layout.ts';
import { PAGE_KERNEL } from '../mm/kernel-map.ts';
import { byKernel } from './support/address-spaces.ts';

export default scenario({
  id: 'E81-table',
  title: 'a huge kernel mapping replaces a page table that CPUs have walked through',
  source: '5e0fb5df2ee8 (x86/mm: Add TLB purge to free pmd/pte page interfaces)',
  // s390 and 8xx map vmalloc space with no leaves above the lowest level.
  modes: (mode) => /^(x86-[45]level|x86-pae|arm64-4k-48|riscv-sv39|ppc64-radix-4k)$/.test(mode),
  setup({ machine }) {
    machine.enter();
    const { kernel } = machine;
    if (!hasKernelLayout()) return;
    kernel.vfree(kernel.vmalloc(1));
    kernel.vmUnmapAliases();
  },
  hardware: () => ({ speculate: [vmallocStart()], walkCaches: true }),
  tasks: {
    ioremap: () => byKernel(call('ioremap', 512, 512, PAGE_KERNEL)),
  },
  variants: {
    'no flush': {
      switches: ['kernelTableFreeNoFlush'],
      expect: 'violation',
      rule: ['I3', 'I4'],
      preemptions: 0,
      note: 'the table is freed as soon as the leaf has its place',
    },
    fixed: { expect: 'clean' },
  },
});
