/**
 * Linux on sparc64: protections, edits, predicates and swap-type words
 * (arch/sparc/include/asm/pgtable_64.h, arch/sparc/mm/init_64.c, hugetlbpage.c).
 *
 * Both TTE forms have the same software bits under the same names at other places, so one description serves both: V doubles as
 * "referenced" (clear until software has seen an access), and W is set only while WRITE and MODIFIED both are.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';
import { never, noOptionalPmd, noOptionalPte } from './software.ts';

/** MAX_PHYS_ADDRESS_BITS is 53. The eighth type bit became the exclusive mark in 6.3. */
export const sparc64Swap: readonly SwapLayout[] = [
  { kernel: '..6.3', type: '20:13', offset: '63:21', pfnBits: 40 },
  { kernel: '6.3..', type: '19:13', offset: '63:21', flags: { exclusive: '20' }, pfnBits: 40 },
];

/** What the two forms do not share. */
export interface Sparc64Form {
  /** Protections, by name. */
  readonly prots: Readonly<Record<string, string>>;
  /** Fields that uncacheable pages lose. */
  readonly cache: string;
  /** log2 of a huge page's size → the TTE's size code and mark. */
  readonly sizes: Readonly<Record<number, string>>;
  /** log2 of a page's size in the kernel's map of RAM → the TTE's size code, by level. */
  readonly linear: { readonly pmd: Readonly<Record<number, number>>; readonly pud: Readonly<Record<number, number>> };
  /** What arch_make_huge_pte clears before it puts the size in: the size, and bit 9, where an M7 has its MCD enable. */
  readonly resize: string;
}

export const sun4u: Sparc64Form = {
  prots: {
    PAGE_KERNEL: 'V PRESENT ACCESSED MODIFIED READ WRITE EXEC CP CV P W',
    PAGE_KERNEL_EXEC: 'V PRESENT ACCESSED MODIFIED READ WRITE EXEC CP CV P W',
    PAGE_KERNEL_RO: 'V PRESENT ACCESSED MODIFIED READ WRITE EXEC CP CV P W',
    PAGE_NONE: 'PRESENT ACCESSED CP CV',
    PAGE_READONLY: 'V PRESENT ACCESSED READ EXEC CP CV',
    PAGE_COPY: 'V PRESENT ACCESSED READ EXEC CP CV',
    PAGE_SHARED: 'V PRESENT ACCESSED READ WRITE EXEC CP CV',
  },
  cache: 'CP CV',
  sizes: { 16: 'SZ=1', 23: 'SZ=3 HUGE', 28: 'SZ=5 HUGE' },
  // kern_linear_pte_xor has 4M pages alone, whatever the level.
  linear: { pmd: { 23: 3 }, pud: { 33: 3 } },
  // Bit 9 is READ in this form: a huge page's readable bit goes with it, V stays.
  resize: 'SZ READ',
};

export const sun4v: Sparc64Form = {
  prots: {
    PAGE_KERNEL: 'V PRESENT ACCESSED MODIFIED READ WRITE X CP CV P W',
    PAGE_KERNEL_EXEC: 'V PRESENT ACCESSED MODIFIED READ WRITE X CP CV P W',
    PAGE_KERNEL_RO: 'V PRESENT ACCESSED MODIFIED READ WRITE X CP CV P W',
    PAGE_NONE: 'PRESENT ACCESSED CP CV',
    PAGE_READONLY: 'V PRESENT ACCESSED READ X CP CV',
    PAGE_COPY: 'V PRESENT ACCESSED READ X CP CV',
    PAGE_SHARED: 'V PRESENT ACCESSED READ WRITE X CP CV',
  },
  cache: 'CP CV',
  sizes: { 16: 'SZ=1', 23: 'SZ=3 HUGE', 28: 'SZ=5 HUGE', 31: 'SZ=6 HUGE', 34: 'SZ=7 HUGE' },
  // 8G that are no half of 16G: four pages of 2G.
  linear: { pmd: { 23: 3, 28: 5, 31: 6 }, pud: { 33: 6, 34: 7 } },
  resize: 'SZ CV',
};

function edits(level: 'pte' | 'pmd'): Record<string, readonly EditStep[]> {
  return {
    [`${level}_mkdirty`]: [{ set: 'MODIFIED' }, { when: 'WRITE', set: 'W' }],
    [`${level}_mkclean`]: [{ clear: 'MODIFIED W' }],
    [`${level}_mkyoung`]: [{ set: 'ACCESSED V' }],
    [`${level}_mkold`]: [{ clear: 'ACCESSED V' }],
    [`${level}_mkwrite`]: [{ set: 'WRITE' }, { when: 'MODIFIED', set: 'W' }],
    [`${level}_mkwrite_novma`]: [{ set: 'WRITE' }, { when: 'MODIFIED', set: 'W' }],
    [`${level}_wrprotect`]: [{ clear: 'WRITE W' }],
    [`${level}_mkspecial`]: level === 'pte' ? [{ set: 'SPECIAL' }] : [],
    // SZ=3, 4M: an 8M page is two TLB entries.
    [`${level}_mkhuge`]: [{ set: level === 'pte' ? 'SZ=3' : 'SZ=3 HUGE' }],
  };
}

const word = (level: string): Record<string, string> => ({ [`${level}_none`]: '&=0', [`${level}_present`]: '&!=0', [`${level}_bad`]: '&0x1fff!=0' });

/** Linux's side of a form; `exec` names its executable bit. */
export function sparc64Linux(form: Sparc64Form, exec: string): readonly LinuxSide[] {
  const huge = Object.fromEntries(Object.entries(form.sizes).map(([shift, set]) => [`arch_make_huge_pte shift=${shift}`, [{ clear: form.resize, set }]]));
  return [
    {
      prots: form.prots,
      edits: {
        ...edits('pte'),
        ...edits('pmd'),
        pmd_mksoft_dirty: [],
        pmd_mkuffd_wp: [],
        pgprot_noncached: [{ clear: form.cache, set: 'E' }],
        pgprot_writecombine: [{ clear: form.cache, set: 'E' }],
        ...huge,
      },
      keeps: { pte: 'MODIFIED ACCESSED CP CV E SPECIAL HUGE SZ', pmd: 'MODIFIED ACCESSED CP CV E SPECIAL HUGE SZ' },
      masksProt: true,
      predicates: {
        pte: {
          ...noOptionalPte,
          pte_none: '&=0',
          pte_present: 'PRESENT',
          is_swap_pte: '&!=0 !PRESENT',
          pte_write: 'WRITE',
          pte_dirty: 'MODIFIED',
          pte_young: 'ACCESSED',
          pte_exec: exec,
          pte_special: 'SPECIAL',
          pte_swp_exclusive: '&0x100000!=0',
        },
        pmd: {
          ...noOptionalPmd,
          ...word('pmd'),
          pmd_leaf: 'HUGE',
          pmd_trans_huge: 'HUGE',
          pmd_write: 'WRITE',
          pmd_dirty: 'MODIFIED',
          pmd_young: 'ACCESSED',
          is_swap_pmd: '0',
        },
        pud: { ...never('pud_devmap', 'pud_special', 'pud_trans_huge'), ...word('pud'), pud_leaf: 'HUGE', pud_write: 'WRITE' },
      },
      populate: {
        pmd_populate_kernel: { level: 'pmd', form: 'page table' },
        'pmd_populate(user)': { level: 'pmd', form: 'page table' },
        pmd_populate: { level: 'pmd', form: 'page table' },
        pud_populate: { level: 'pud', form: 'page middle directory' },
        p4d_populate: { level: 'pgd', form: 'page upper directory' },
      },
      // kern_linear_pte_xor (arch/sparc/mm/init_64.c): what hardware looks at, and no mark of software's but that of a huge page.
      kernelLeaves: (['pmd', 'pud'] as const).flatMap((level) =>
        Object.entries(form.linear[level]).map(([shift, size]) => ({ level, shift: Number(shift), set: `V CP CV P W SZ=${size} HUGE` })),
      ),
    },
  ];
}
