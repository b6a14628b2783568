/**
 * Linux on m68k: protections, edits, predicates and swap-type words
 * (arch/m68k/include/asm/motorola_pgtable.h, mcf_pgtable.h, pgtable_mm.h).
 *
 * Motorola MMUs: protections carry no cache bits, as on the 68020 and 68030; a 68040 or 68060 kernel adds CM=1.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';
import { never, noHugePmd, noOptionalPte } from './software.ts';

/** The eighth type bit became the exclusive mark in 6.3. */
export const motorolaSwap: readonly SwapLayout[] = [
  { kernel: '..6.3', type: '11:4', offset: '31:12' },
  { kernel: '6.3..', type: '10:4', offset: '31:12', flags: { exclusive: '11' } },
];

export const coldfireSwap: readonly SwapLayout[] = [
  { kernel: '..6.3', type: '7:0', offset: '31:11' },
  { kernel: '6.3..', type: '6:0', offset: '31:11', flags: { exclusive: '7' } },
];

const motorolaEdits: Record<string, readonly EditStep[]> = {
  pte_mkdirty: [{ set: 'M' }],
  pte_mkclean: [{ clear: 'M' }],
  pte_mkyoung: [{ set: 'U' }],
  pte_mkold: [{ clear: 'U' }],
  pte_mkwrite: [{ clear: 'WP' }],
  pte_mkwrite_novma: [{ clear: 'WP' }],
  pte_wrprotect: [{ set: 'WP' }],
  pte_mkspecial: [],
  // The cache bits depend on the CPU found at boot; on a 68020 there are none.
  pgprot_noncached: [],
  pgprot_writecombine: [],
};

export const motorolaLinux: readonly LinuxSide[] = [
  {
    prots: {
      PAGE_NONE: 'WP U',
      PAGE_SHARED: 'DT=1 U',
      PAGE_COPY: 'DT=1 WP U',
      PAGE_READONLY: 'DT=1 WP U',
      PAGE_KERNEL: 'DT=1 U M',
      PAGE_KERNEL_EXEC: 'DT=1 U M',
      PAGE_KERNEL_RO: 'DT=1 U M',
    },
    edits: motorolaEdits,
    keeps: { pte: 'U M CM' },
    predicates: {
      pte: {
        ...noOptionalPte,
        ...never('pte_special'),
        pte_none: '&=0',
        pte_present: '&0x5!=0',
        is_swap_pte: '&!=0 &0x5=0',
        pte_write: '!WP',
        pte_dirty: 'M',
        pte_young: 'U',
        pte_swp_exclusive: '&0x800!=0',
      },
      pmd: { ...noHugePmd, pmd_none: '&=0', pmd_present: '&0x2!=0', pmd_bad: '&0x3!=0x2' },
    },
    populate: {
      pmd_populate_kernel: { level: 'pmd', form: 'page table', set: 'DT=2 U' },
      'pmd_populate(user)': { level: 'pmd', form: 'page table', set: 'DT=2 U' },
      pmd_populate: { level: 'pmd', form: 'page table', set: 'DT=2 U' },
      pud_populate: { level: 'pgd', form: 'pointer table', set: 'DT=2 U' },
    },
  },
];

export const coldfireLinux: readonly LinuxSide[] = [
  {
    prots: {
      PAGE_NONE: 'V ACCESSED',
      PAGE_SHARED: 'V ACCESSED SG',
      PAGE_COPY: 'V ACCESSED R DIRTY',
      // Slots of protection_map (arch/m68k/mm/mcfmmu.c), which have no names there.
      PAGE_R: 'V ACCESSED R',
      PAGE_X: 'V ACCESSED X',
      PAGE_RX: 'V ACCESSED R X',
      PAGE_KERNEL: 'V ACCESSED R W X SP SG',
      PAGE_KERNEL_EXEC: 'V ACCESSED R W X SP SG',
      PAGE_KERNEL_RO: 'V ACCESSED R W X SP SG',
    },
    edits: {
      pte_mkdirty: [{ set: 'DIRTY' }],
      pte_mkclean: [{ clear: 'DIRTY' }],
      pte_mkyoung: [{ set: 'ACCESSED' }],
      pte_mkold: [{ clear: 'ACCESSED' }],
      pte_mkwrite: [{ set: 'W' }],
      pte_mkwrite_novma: [{ set: 'W' }],
      pte_wrprotect: [{ clear: 'W' }],
      pte_mkread: [{ set: 'R' }],
      pte_rdprotect: [{ clear: 'R' }],
      pte_mkexec: [{ set: 'X' }],
      pte_exprotect: [{ clear: 'X' }],
      pte_mkspecial: [],
      pgprot_noncached: [{ set: 'CM=2' }],
      pgprot_writecombine: [{ set: 'CM=2' }],
    },
    keeps: { pte: 'ACCESSED DIRTY' },
    predicates: {
      pte: {
        ...noOptionalPte,
        ...never('pte_special'),
        pte_none: '&=0',
        pte_present: 'V',
        is_swap_pte: '&!=0 !V',
        pte_read: 'R',
        pte_write: 'W',
        pte_exec: 'X',
        pte_dirty: 'DIRTY',
        pte_young: 'ACCESSED',
        pte_swp_exclusive: '&0x80!=0',
      },
      pmd: { ...noHugePmd, pmd_none: '&=0', pmd_present: '&!=0', pmd_bad: '0' },
    },
    populate: {
      pmd_populate_kernel: { level: 'pmd', form: 'page table' },
      'pmd_populate(user)': { level: 'pmd', form: 'page table' },
      pmd_populate: { level: 'pmd', form: 'page table' },
    },
  },
];
