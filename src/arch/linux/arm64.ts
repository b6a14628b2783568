/**
 * Linux on arm64: protections, edits, predicates and swap-type words.
 * Sources: arch/arm64/include/asm/pgtable-prot.h, pgtable-hwdef.h, pgtable.h, hugetlb code in arch/arm64/mm/hugetlbpage.c; the values of 6.12
 * agree with entries that the kernel's own code computed (golden vectors).
 *
 * Invariants: a page is writable when DBM is set; its read-only bit then means "not dirty yet". 6.10 moved present-but-invalid from bits 58 (PROT_NONE)
 * and 59 (huge pages) to nG of an invalid entry, and the swap type up to bits 10:6 to make room. Levels are named by their depth: pud and p4d are folded
 * where the mode has fewer levels.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';

export const arm64Swap: readonly SwapLayout[] = [
  { kernel: '..6.10', type: '7:3', offset: '57:8', flags: { exclusive: '2' } },
  { kernel: '6.10..', type: '10:6', offset: '61:12', flags: { exclusive: '2', uffdWp: '3' } },
];

type High = 'lpa' | 'lpa2' | undefined;

/** Sharing is inner shareable wherever the entry has the field; with LPA2 TCR_EL1 says it for all. */
const usual = (high: High): string => (high === 'lpa2' ? 'AF' : 'AF SH');

function protections(high: High, modern: boolean): Record<string, string> {
  const page = `V T ${usual(high)}`;
  const user = `${page} nG PXN`;
  // Kernel pages are born dirty, so that a write need not fault.
  const kernel = `${page} UXN${modern ? ' DIRTY' : ''}`;
  return {
    PAGE_NONE: modern ? `T ${usual(high)} nG AP2 PXN UXN` : `T ${usual(high)} nG AP2 PXN UXN PROT_NONE`,
    PAGE_SHARED: `${user} UXN AP1 AP2 DBM`,
    PAGE_SHARED_EXEC: `${user} AP1 AP2 DBM`,
    PAGE_READONLY: `${user} UXN AP1 AP2`,
    PAGE_READONLY_EXEC: `${user} AP1 AP2`,
    PAGE_EXECONLY: `${user} AP2`,
    PAGE_KERNEL: `${kernel} PXN DBM`,
    PAGE_KERNEL_RO: `${kernel} PXN AP2`,
    PAGE_KERNEL_ROX: `${kernel} AP2`,
    PAGE_KERNEL_EXEC: `${kernel} DBM`,
    PAGE_KERNEL_EXEC_CONT: `${kernel} DBM Contiguous`,
  };
}

/** Hugetlb sizes: how the entry is marked. */
const HUGE: Record<string, Readonly<Record<number, EditStep[]>>> = {
  '4k': { 16: [{ set: 'Contiguous V T' }], 21: [{ clear: 'T' }], 25: [{ clear: 'T', set: 'Contiguous' }], 30: [{ clear: 'T' }] },
  '16k': { 21: [{ set: 'Contiguous V T' }], 25: [{ clear: 'T' }], 30: [{ clear: 'T', set: 'Contiguous' }] },
  '64k': { 21: [{ set: 'Contiguous V T' }], 29: [{ clear: 'T' }], 34: [{ clear: 'T', set: 'Contiguous' }] },
};

/** What every level has; a page is cleaned by making it read-only, and dirtied by hardware clearing that bit. */
function commonEdits(modern: boolean): Record<string, readonly EditStep[]> {
  const wrprotect: EditStep[] = [
    { when: 'DBM !AP2', set: 'DIRTY' },
    { clear: 'DBM', set: 'AP2' },
  ];
  return {
    mkdirty: [{ set: 'DIRTY' }, { when: 'DBM', clear: 'AP2' }],
    mkyoung: [{ set: 'AF' }],
    mkold: [{ clear: 'AF' }],
    mkclean: [{ clear: 'DIRTY', set: 'AP2' }],
    mkwrite_novma: [{ set: 'DBM' }, { when: 'DIRTY', clear: 'AP2' }],
    mkwrite: [{ set: 'DBM' }, { when: 'DIRTY', clear: 'AP2' }],
    wrprotect,
    mkspecial: [{ set: 'SPECIAL' }],
    mksoft_dirty: [],
    mkuffd_wp: modern ? [...wrprotect, { set: 'UFFD_WP' }] : [],
    clear_uffd_wp: modern ? [{ clear: 'UFFD_WP' }] : [],
    mkhuge: [{ clear: 'T' }],
    mkdevmap: [{ set: 'SOFTW57' }],
    mkinvalid: modern ? [{ clear: 'V', set: 'nG' }] : [{ clear: 'V', set: 'PRESENT_INVALID' }],
    // A page that hardware has dirtied stays dirty under its new protection.
    'modify before': [{ when: 'DBM !AP2', set: 'DIRTY' }],
    modify: [{ when: 'DIRTY DBM', clear: 'AP2' }],
  };
}

function edits(granule: string, modern: boolean): Record<string, readonly EditStep[]> {
  const all: Record<string, readonly EditStep[]> = {};
  for (const level of ['pte', 'pmd', 'pud']) for (const [name, steps] of Object.entries(commonEdits(modern))) all[`${level}_${name}`] = steps;
  return {
    ...all,
    pte_mkdevmap: [{ set: 'SOFTW57 SPECIAL' }],
    pte_mkcont: [{ set: 'Contiguous V T' }],
    // Device-nGnRnE and normal non-cacheable, by their places in the MAIR_EL1 that Linux writes.
    pgprot_noncached: [{ clear: 'AttrIndx', set: 'AttrIndx=3 PXN UXN' }],
    pgprot_writecombine: [{ clear: 'AttrIndx', set: 'AttrIndx=2 PXN UXN' }],
    // No architecture support for special puds.
    pud_mkspecial: [],
    ...Object.fromEntries(Object.entries(HUGE[granule]).map(([shift, steps]) => [`arch_make_huge_pte shift=${shift}`, steps])),
  };
}

/** From 6.9 on Linux with 64K pages leaves address bits 49:48 standing where LPA2 has them, beside their place in bits 13:12; hardware ignores them there. */
const repeat: EditStep[] = [
  { when: '&0x1000!=0', set: '&0x1000000000000' },
  { when: '&0x2000!=0', set: '&0x2000000000000' },
];
const repeated: Record<string, readonly EditStep[]> = { pfn_pte: repeat, pfn_pmd: repeat, pfn_pud: repeat };

/** What a change of protection leaves alone: all but valid, memory type, rights, nG, guarded page and overlay index. */
const KEPT = '&0x8f90000000000722';
const KEPT_OLD = '&0xfb90000000000f22';

const never = (level: string, ...names: string[]): Record<string, string> => Object.fromEntries(names.map((n) => [`${level}_${n}`, '0']));

function predicates(granule: string, modern: boolean, levels: number): LinuxSide['predicates'] {
  const present = (level: string): string => (modern ? 'V | nG' : level === 'pte' ? 'V | PROT_NONE' : 'V | PROT_NONE | PRESENT_INVALID');
  const absent = (level: string): string => (modern ? '!V !nG' : level === 'pte' ? '!V !PROT_NONE' : '!V !PROT_NONE !PRESENT_INVALID');
  const protnone = modern ? '!V nG !AP1 UXN' : '!V PROT_NONE';
  const invalid = (level: string): string => (modern ? '!V nG' : level === 'pte' ? '!V PROT_NONE' : '!V PROT_NONE | !V PRESENT_INVALID');
  const bits = (level: string): Record<string, string> => ({
    [`${level}_valid`]: 'V',
    [`${level}_present`]: present(level),
    [`${level}_none`]: '&=0',
    [`${level}_write`]: 'DBM',
    [`${level}_young`]: 'AF',
    [`${level}_user`]: 'AP1',
  });
  const page = (level: string): Record<string, string> => ({
    ...bits(level),
    [`is_swap_${level}`]: `${absent(level)} &!=0`,
    [`${level}_dirty`]: 'DIRTY | DBM !AP2',
    [`${level}_cont`]: 'Contiguous',
    [`${level}_devmap`]: 'SOFTW57',
    [`${level}_special`]: 'SPECIAL',
    [`${level}_protnone`]: protnone,
    [`${level}_uffd_wp`]: modern ? 'UFFD_WP' : '0',
    ...never(level, 'soft_dirty', 'swp_soft_dirty'),
  });
  const large = (level: string): Record<string, string> => ({
    [`${level}_bad`]: '&0x3!=3',
    [`${level}_table`]: '&0x3=3',
    [`${level}_sect`]: '&0x3=1',
    [`${level}_leaf`]: `V !T | ${invalid(level)}`,
  });
  // A table of 64K pages has no pud of its own to ask: sections there are taken for impossible.
  const pudLarge = granule === '64k' || levels < 3 ? { pud_bad: '&0x3!=3', pud_table: '1', pud_sect: '0', pud_leaf: '0' } : large('pud');
  const upper = (level: string): Record<string, string> => ({
    [`${level}_none`]: '&=0',
    [`${level}_present`]: '&!=0',
    [`${level}_bad`]: '!T',
    [`${level}_leaf`]: '0',
  });
  const folded = (level: string): Record<string, string> => ({
    [`${level}_none`]: '0',
    [`${level}_present`]: '1',
    [`${level}_bad`]: '0',
    [`${level}_leaf`]: '0',
  });
  return {
    pte: { ...page('pte'), pte_user_exec: '!UXN', pte_swp_exclusive: '&0x4!=0', pte_swp_uffd_wp: modern ? '&0x8!=0' : '0' },
    pmd: {
      ...page('pmd'),
      ...large('pmd'),
      pmd_trans_huge: modern ? 'V !T | nG !T' : `V !T | PROT_NONE !T | PRESENT_INVALID !T`,
      is_pmd_migration_entry: `${absent('pmd')} &!=0 @migration`,
    },
    pud: { ...bits('pud'), ...pudLarge, ...never('pud', 'devmap', 'special', 'trans_huge') },
    p4d: levels > 3 ? upper('p4d') : folded('p4d'),
    pgd: levels > 4 ? upper('pgd') : folded('pgd'),
  };
}

const table = (level: string, set: string) => ({ level, form: 'table', set: `V T ${set}` });

/** `haft`: tables are born accessed, for CPUs that keep an access flag in them (FEAT_HAFT, from 6.13). */
function sideOf(granule: string, high: High, levels: number, kernel: string, modern: boolean, haft: boolean): LinuxSide {
  const AF = haft ? 'AF ' : '';
  return {
    kernel,
    masksProt: true,
    prots: protections(high, modern),
    edits: { ...edits(granule, modern), ...(high === 'lpa' && modern ? repeated : {}) },
    keeps: { pte: modern ? KEPT : KEPT_OLD, pmd: modern ? KEPT : KEPT_OLD },
    predicates: predicates(granule, modern, levels),
    // Tables of user mappings forbid privileged execution below, the kernel's forbid unprivileged.
    populate: {
      pmd_populate: table('pmd', `${AF}PXNTable`),
      pmd_populate_kernel: table('pmd', `${AF}UXNTable`),
      '__pmd_populate(user)': table('pmd', ''),
      pud_populate: table('pud', `${AF}PXNTable`),
      '__pud_populate(user)': table('pud', `${AF}PXNTable`),
      p4d_populate: levels > 3 ? table('p4d', `${AF}PXNTable`) : null,
      pgd_populate: levels > 4 ? table('pgd', `${AF}PXNTable`) : null,
    },
  };
}

export function arm64Linux(granule: string, high: High, levels: number): readonly LinuxSide[] {
  return [
    sideOf(granule, high, levels, '..6.10', false, false),
    sideOf(granule, high, levels, '6.10..6.13', true, false),
    sideOf(granule, high, levels, '6.13..', true, true),
  ];
}
