/**
 * Linux on Alpha: protections, edits, predicates and swap-type words (arch/alpha/include/asm/pgtable.h).
 *
 * Protection is by the fault-on bits; the enables KRE, URE, KWE and UWE go with accessed and dirty, so that the first
 * access and the first write trap.
 */
import type { LinuxSide, SwapLayout } from '../mode.ts';
import { never, noHugePmd, noOptionalPte } from './software.ts';

const pfnBits = 51;

/** The eighth type bit became the exclusive mark in 6.3. */
export const alphaSwap: readonly SwapLayout[] = [
  { kernel: '..6.3', type: '39:32', offset: '63:40', pfnBits },
  { kernel: '6.3..', type: '38:32', offset: '63:40', flags: { exclusive: '39' }, pfnBits },
];

const access = 'ACCESSED KRE URE';
const dirty = 'DIRTY KWE UWE';
const table = { level: 'pmd', form: 'page table', set: `V ${access} ${dirty}` } as const;

export const alphaLinux: readonly LinuxSide[] = [
  {
    prots: {
      PAGE_NONE: `V ${access} FOR FOW FOE`,
      PAGE_SHARED: `V ${access}`,
      PAGE_COPY: `V ${access} FOW`,
      PAGE_READONLY: `V ${access} FOW`,
      PAGE_KERNEL: 'V ASM KRE KWE',
      PAGE_KERNEL_EXEC: 'V ASM KRE KWE',
      PAGE_KERNEL_RO: 'V ASM KRE KWE',
    },
    edits: {
      pte_mkdirty: [{ set: dirty }],
      pte_mkclean: [{ clear: dirty }],
      pte_mkyoung: [{ set: access }],
      pte_mkold: [{ clear: access }],
      pte_mkwrite: [{ clear: 'FOW' }],
      pte_mkwrite_novma: [{ clear: 'FOW' }],
      pte_wrprotect: [{ set: 'FOW' }],
      pte_mkspecial: [],
      pgprot_noncached: [],
      pgprot_writecombine: [],
    },
    keeps: { pte: `${dirty} ${access}` },
    predicates: {
      pte: {
        ...noOptionalPte,
        // pte_swp_exclusive() returns an int and so drops the mark, which is bit 39.
        ...never('pte_special', 'pte_swp_exclusive'),
        pte_none: '&=0',
        pte_present: 'V',
        is_swap_pte: '&!=0 !V',
        pte_write: '!FOW',
        pte_dirty: 'DIRTY',
        pte_young: 'ACCESSED',
      },
      pmd: { ...noHugePmd, pmd_none: '&=0', pmd_present: 'V', pmd_bad: '&0xffffffff!=0x63301' },
    },
    populate: {
      pmd_populate_kernel: table,
      'pmd_populate(user)': table,
      pmd_populate: table,
      pud_populate: { ...table, level: 'pgd', form: 'level 2 table' },
    },
    geometry: { USER_PTRS_PER_PGD: 512 },
  },
];
