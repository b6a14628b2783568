/**
 * Linux on 32-bit arm: protections, edits, predicates and swap-type words of both formats.
 * Sources: arch/arm/include/asm/pgtable.h, pgtable-2level.h, pgtable-3level.h; the values agree with entries that the kernel's own code computed
 * (golden vectors).
 *
 * Invariants: short descriptors: everything here is about Linux's word, the low half of the pair; hardware's word follows from it when it is written.
 * Linux sees 2048 pairs of first-level entries and page tables of 512 entries. 6.3 took bit 7 of swap-type words for "exclusive" and moved the offset up by one.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';

const swap: readonly SwapLayout[] = [
  { kernel: '..6.3', levels: ['pte'], type: '6:2', offset: '31:7', pfnBits: 20 },
  { kernel: '6.3..', levels: ['pte'], type: '6:2', offset: '31:8', flags: { exclusive: '7' }, pfnBits: 20 },
];

export const armShortSwap = swap;
export const armLpaeSwap: readonly SwapLayout[] = swap.map((s) => ({ ...s, pfnBits: 26 }));

const folded = (level: string): Record<string, string> => ({
  [`${level}_none`]: '0',
  [`${level}_present`]: '1',
  [`${level}_bad`]: '0',
  [`${level}_leaf`]: '0',
});
const never = (...names: string[]): Record<string, string> => Object.fromEntries(names.map((n) => [n, '0']));

// --- short descriptors ------------------------------------------------------------------------------------------------------

/** A processor with SMP caches: write-allocate (7), shared. */
const user = 'L_PRESENT L_YOUNG L_MT=7 L_SHARED L_USER';
const kernel = 'L_PRESENT L_YOUNG L_MT=7 L_SHARED L_DIRTY';

/** Hardware's word is made when Linux's is stored: zero unless the page is young and not PROT_NONE. */
const seen = 'L_PRESENT L_YOUNG !L_NONE';
const hardware = (bit: number): string => `&0x${(1n << BigInt(32 + bit)).toString(16)}`;

/** cpu_v7_set_pte_ext (arch/arm/mm/proc-v7-2level.S), and nG of user pages (set_ptes in arch/arm/mm/mmu.c). The frame goes along. */
const storeShort: readonly EditStep[] = [
  { clear: '&0xffffffff00000000' },
  { when: seen, set: `${hardware(1)} ${hardware(4)}` },
  // The memory type's low three bits are B, C and TEX[0].
  { when: `${seen} &0x4!=0`, set: hardware(2) },
  { when: `${seen} &0x8!=0`, set: hardware(3) },
  { when: `${seen} &0x10!=0`, set: hardware(6) },
  { when: `${seen} L_USER`, set: `${hardware(5)} ${hardware(11)}` },
  { when: `${seen} L_XN`, set: hardware(0) },
  { when: `${seen} L_RDONLY | ${seen} !L_DIRTY`, set: hardware(9) },
  { when: `${seen} L_SHARED`, set: hardware(10) },
];

const shortEdits: Record<string, readonly EditStep[]> = {
  pte_mkdirty: [{ set: 'L_DIRTY' }],
  pte_mkclean: [{ clear: 'L_DIRTY' }],
  pte_mkyoung: [{ set: 'L_YOUNG' }],
  pte_mkold: [{ clear: 'L_YOUNG' }],
  pte_mkwrite: [{ clear: 'L_RDONLY' }],
  pte_mkwrite_novma: [{ clear: 'L_RDONLY' }],
  pte_wrprotect: [{ set: 'L_RDONLY' }],
  pte_mkexec: [{ clear: 'L_XN' }],
  pte_mkspecial: [],
  set_pte_at: storeShort,
  pgprot_noncached: [{ clear: 'L_MT' }],
  pgprot_writecombine: [{ clear: 'L_MT', set: 'L_MT=1' }],
};

export const armShortLinux: readonly LinuxSide[] = [
  {
    masksProt: true,
    prots: {
      PAGE_NONE: 'L_PRESENT L_YOUNG L_MT=7 L_SHARED L_RDONLY L_XN L_NONE',
      PAGE_SHARED: `${user} L_XN`,
      PAGE_SHARED_EXEC: user,
      PAGE_COPY: `${user} L_RDONLY L_XN`,
      PAGE_COPY_EXEC: `${user} L_RDONLY`,
      PAGE_READONLY: `${user} L_RDONLY L_XN`,
      PAGE_READONLY_EXEC: `${user} L_RDONLY`,
      PAGE_KERNEL: `${kernel} L_XN`,
      PAGE_KERNEL_EXEC: kernel,
      PAGE_KERNEL_RO: `${kernel} L_XN`,
    },
    edits: shortEdits,
    // All but XN, read-only, user, PROT_NONE and valid.
    keeps: { pte: 'L_YOUNG L_MT L_DIRTY L_SHARED' },
    predicates: {
      pte: {
        pte_none: '&0xffffffff=0',
        pte_present: 'L_PRESENT',
        pte_valid: 'L_PRESENT',
        is_swap_pte: '!L_PRESENT &0xffffffff!=0',
        pte_write: '!L_RDONLY',
        pte_dirty: 'L_DIRTY',
        pte_young: 'L_YOUNG',
        pte_exec: '!L_XN',
        pte_swp_exclusive: 'L_RDONLY',
        ...never('pte_special', 'pte_devmap', 'pte_protnone', 'pte_soft_dirty', 'pte_uffd_wp', 'pte_swp_soft_dirty', 'pte_swp_uffd_wp', 'pte_huge'),
      },
      pmd: {
        pmd_none: '&=0',
        pmd_present: '&!=0',
        pmd_bad: '&0x2!=0',
        pmd_leaf: '&0x2!=0',
        ...never(
          'is_pmd_migration_entry',
          'is_swap_pmd',
          'pmd_write',
          'pmd_dirty',
          'pmd_young',
          'pmd_protnone',
          'pmd_special',
          'pmd_devmap',
          'pmd_soft_dirty',
          'pmd_uffd_wp',
          'pmd_swp_soft_dirty',
          'pmd_trans_huge',
        ),
      },
      pud: folded('pud'),
      p4d: folded('p4d'),
      pgd: folded('pgd'),
    },
    // Linux's table comes first in its page, hardware's two follow at 2 KiB.
    populate: {
      pmd_populate_kernel: { level: 'pgd', form: 'page table', set: 'TYPE=1 BIT4', base: 0x800n },
      pmd_populate: { level: 'pgd', form: 'page table', set: 'TYPE=1 BIT4 DOMAIN=1', base: 0x800n },
      '__pmd_populate(user)': { level: 'pgd', form: 'page table', set: 'TYPE=1', base: 0x800n },
    },
    // MT_MEMORY_RW of mem_types (arch/arm/mm/mmu.c) as build_mem_type_table leaves it on an ARMv7 with several processors.
    kernelLeaves: [{ level: 'pgd', shift: 20, set: 'SECTION B C XN AP=1 TEX=1 S' }],
    geometry: { PTRS_PER_PTE: 512, PTRS_PER_PGD: 2048, PGDIR_SHIFT: 21, PMD_SHIFT: 21, 'sizeof(pgd_t)': 8 },
  },
];

// --- long descriptors -------------------------------------------------------------------------------------------------------

const page = 'V T AttrIndx=7 SH AF';

/** Both levels that hold pages know these. */
const longEdits: Record<string, readonly EditStep[]> = {
  mkdirty: [{ set: 'DIRTY' }],
  mkclean: [{ clear: 'DIRTY' }],
  mkyoung: [{ set: 'AF' }],
  mkold: [{ clear: 'AF' }],
  mkwrite: [{ clear: 'RDONLY' }],
  mkwrite_novma: [{ clear: 'RDONLY' }],
  wrprotect: [{ set: 'RDONLY' }],
  mkhuge: [{ clear: 'T' }],
  mkexec: [{ clear: 'XN' }],
};

const named = (level: string): Record<string, readonly EditStep[]> =>
  Object.fromEntries(Object.entries(longEdits).map(([name, steps]) => [`${level}_${name}`, steps]));

export const armLpaeLinux: readonly LinuxSide[] = [
  {
    masksProt: true,
    prots: {
      PAGE_NONE: `${page} RDONLY XN NONE`,
      PAGE_SHARED: `${page} AP1 XN`,
      PAGE_SHARED_EXEC: `${page} AP1`,
      PAGE_COPY: `${page} AP1 RDONLY XN`,
      PAGE_COPY_EXEC: `${page} AP1 RDONLY`,
      PAGE_READONLY: `${page} AP1 RDONLY XN`,
      PAGE_READONLY_EXEC: `${page} AP1 RDONLY`,
      PAGE_KERNEL: `${page} DIRTY XN`,
      PAGE_KERNEL_EXEC: `${page} DIRTY`,
      PAGE_KERNEL_RO: `${page} DIRTY XN`,
    },
    edits: {
      ...named('pte'),
      ...named('pmd'),
      pte_mkspecial: [{ set: 'SPECIAL' }],
      pmd_mkspecial: [],
      pmd_mksoft_dirty: [],
      pmd_mkuffd_wp: [],
      pmd_mkinvalid: [{ clear: 'V' }],
      pgprot_noncached: [{ clear: 'AttrIndx' }],
      pgprot_writecombine: [{ clear: 'AttrIndx', set: 'AttrIndx=1' }],
      arch_make_huge_pte: [{ clear: 'T' }],
      // cpu_v7_set_pte_ext (arch/arm/mm/proc-v7-3level.S) and set_ptes: PROT_NONE is not valid, a clean page read-only, a user's not global.
      set_pte_at: [
        { when: 'V NONE', clear: 'V' },
        { when: 'V RDONLY | V !DIRTY', set: 'AP2' },
        { when: 'V DIRTY !RDONLY', clear: 'AP2' },
        { when: 'V AP1 AF', set: 'nG' },
      ],
      set_pmd_at: [{ when: 'NONE', clear: 'V' }, { when: 'RDONLY | !DIRTY', set: 'AP2' }, { when: 'DIRTY !RDONLY', clear: 'AP2' }, { set: 'nG' }],
    },
    // All but valid, user, XN, PROT_NONE and read-only.
    keeps: { pte: 'T AttrIndx NS AP2 SH AF nG Contiguous PXN DIRTY SPECIAL IGN', pmd: 'T AttrIndx NS AP2 SH AF nG Contiguous PXN DIRTY SPECIAL IGN' },
    predicates: {
      pte: {
        pte_none: '&=0',
        pte_present: 'V | T',
        pte_valid: 'V',
        is_swap_pte: '!V !T &!=0',
        pte_write: '!RDONLY',
        pte_dirty: 'DIRTY',
        pte_young: 'AF',
        pte_exec: '!XN',
        pte_special: 'SPECIAL',
        pte_huge: '!T &!=0',
        pte_swp_exclusive: 'AP2',
        ...never('pte_devmap', 'pte_protnone', 'pte_soft_dirty', 'pte_uffd_wp', 'pte_swp_soft_dirty', 'pte_swp_uffd_wp'),
      },
      pmd: {
        pmd_none: '&=0',
        pmd_present: 'V',
        is_swap_pmd: '!V &!=0',
        pmd_bad: '!T',
        pmd_table: '&0x3=3',
        pmd_sect: '&0x3=1',
        pmd_leaf: '&0x3=1',
        pmd_trans_huge: '&0x3!=3 &!=0',
        pmd_write: '!RDONLY',
        pmd_dirty: 'DIRTY',
        pmd_young: 'AF',
        ...never('is_pmd_migration_entry', 'pmd_devmap', 'pmd_protnone', 'pmd_special', 'pmd_soft_dirty', 'pmd_uffd_wp', 'pmd_swp_soft_dirty'),
      },
      pud: { pud_none: '&=0', pud_present: '&!=0', pud_bad: '!T', pud_leaf: '0' },
      p4d: folded('p4d'),
      pgd: folded('pgd'),
    },
    populate: {
      pmd_populate: { level: 'pmd', form: 'page table', set: 'V T' },
      pmd_populate_kernel: { level: 'pmd', form: 'page table', set: 'V T' },
      '__pmd_populate(user)': { level: 'pmd', form: 'page table', set: 'V T' },
      pud_populate: { level: 'pgd', form: 'second-level table', set: 'V T' },
    },
    // MT_MEMORY_RW of mem_types (arch/arm/mm/mmu.c): neither dirty nor, as what set_pmd_at stores, read-only for that.
    kernelLeaves: [{ level: 'pmd', shift: 21, set: 'V AttrIndx=7 SH=3 AF XN' }],
  },
];
