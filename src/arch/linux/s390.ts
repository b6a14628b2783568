/**
 * Linux on s390: protections, edits, predicates and swap-type words (arch/s390/include/asm/pgtable.h, arch/s390/mm/hugetlbpage.c).
 *
 * Invariants: I is set on a present entry that is not young or not readable, P on one that is not dirty or not writable, so every edit of a
 * software bit that a fault records sets or clears the hardware's bit with it. Until 6.13 large entries had neither a present bit nor a swap form.
 * Each predicate of an upper level first asks TT whether the level is folded away.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';

const large = { type: '10:6', offset: '63:12', flags: { softDirty: '1' } } as const;

export const s390Swap: readonly SwapLayout[] = [
  { levels: ['pte'], type: '6:2', offset: '63:12', always: '&0x600', flags: { exclusive: '11', softDirty: '1' }, pfnBits: 34 },
  { kernel: '6.13..', levels: ['pmd'], ...large, always: '&0x30', pfnBits: 34 },
  { kernel: '6.13..', levels: ['pud'], ...large, always: '&0x34', pfnBits: 34 },
];

/** Protections of a page; then those that they become in a segment-table entry (massage_pgprot_pmd) and in a region-third one. */
function protections(present: string): Record<string, string> {
  const pte: Record<string, string> = {
    PAGE_NONE: 'PRESENT I P',
    PAGE_RO: 'PRESENT R IEP I P',
    PAGE_RX: 'PRESENT R I P',
    PAGE_RW: 'PRESENT R W IEP I P',
    PAGE_RWX: 'PRESENT R W I P',
    PAGE_SHARED: 'PRESENT R W Y D IEP',
    PAGE_KERNEL: 'PRESENT R W Y D IEP',
    PAGE_KERNEL_EXEC: 'PRESENT R W Y D',
    PAGE_KERNEL_RO: 'PRESENT R Y P IEP',
  };
  const pmd: Record<string, string> = { PAGE_NONE: 'I P', PAGE_RO: 'P R IEP', PAGE_RX: 'P R', PAGE_RW: 'R W IEP' };
  const of = (level: string, more: string): [string, string][] =>
    Object.keys(pte).map((name) => [`${name}@${level}`, `${present}${pmd[name] ?? 'R W'}${more}`]);
  return { ...pte, ...Object.fromEntries([...of('pmd', ''), ...of('pud', ' TT=1')]) };
}

/** Edits that page, segment and region-third entries have in common. */
const leafEdits: Readonly<Record<string, readonly EditStep[]>> = {
  mkdirty: [{ set: 'D SOFT_DIRTY' }, { when: 'W', clear: 'P' }],
  mkclean: [{ clear: 'D', set: 'P' }],
  mkyoung: [{ set: 'Y' }, { when: 'R', clear: 'I' }],
  mkold: [{ clear: 'Y', set: 'I' }],
  mkwrite_novma: [{ set: 'W' }, { when: 'D', clear: 'P' }],
  wrprotect: [{ clear: 'W', set: 'P' }],
  mksoft_dirty: [{ set: 'SOFT_DIRTY' }],
  clear_soft_dirty: [{ clear: 'SOFT_DIRTY' }],
};
const onLevel = (level: string): Record<string, readonly EditStep[]> =>
  Object.fromEntries(Object.entries(leafEdits).map(([name, steps]) => [`${level}_${name}`, steps]));

/** A new protection has I and P set; young and dirty entries lose them again. */
const afterModify: readonly EditStep[] = [
  { when: 'Y R', clear: 'I' },
  { when: 'D W', clear: 'P' },
];

const edits: LinuxSide['edits'] = {
  ...onLevel('pte'),
  ...onLevel('pmd'),
  ...onLevel('pud'),
  pfn_pte: leafEdits.mkyoung,
  pte_mkspecial: [{ set: 'SPECIAL' }],
  pte_mkhuge: [{ set: '&0x800' }],
  pte_modify: afterModify,
  pmd_modify: [
    { when: '!D', set: 'P' },
    { when: '!Y', set: 'I' },
  ],
  pmd_mkhuge: [{ set: 'FC Y P' }],
  pmd_mkspecial: [],
  pmd_mkuffd_wp: [],
  pgprot_noncached: [],
  arch_make_huge_pte: [{ set: '&0x800' }],
  // From the pte that stands for a huge page to the entry in the tables.
  set_huge_pte_at: [{ set: 'FC Y' }, { when: '!D', set: 'P' }, { when: 'R', clear: 'I' }],
  '= empty segment': [{ set: '&0x20' }],
  '= empty region3': [{ set: '&0x24' }],
  '= empty region2': [{ set: '&0x28' }],
  '= empty region1': [{ set: '&0x2c' }],
  '= pte invalid': [{ set: 'I' }],
};
/** Until 6.13 a swap-type word could not stand in a large entry: the slot was emptied instead. */
const noSwap: LinuxSide['edits'] = {
  '= set_huge_pte_at swap-type (migration write)': [{ set: '&0x20' }],
  '= set_huge_pte_at swap-type (migration write)@pud': [{ set: '&0x24' }],
};

const ptePredicates: Record<string, string> = {
  is_swap_pte: '!PRESENT &!=0x400',
  pte_none: '&=0x400',
  pte_present: 'PRESENT',
  pte_protnone: 'PRESENT !R',
  pte_dirty: 'D',
  pte_young: 'Y',
  pte_write: 'W',
  pte_special: 'SPECIAL',
  pte_devmap: '0',
  pte_soft_dirty: 'SOFT_DIRTY',
  pte_uffd_wp: '0',
  pte_swp_exclusive: '&0x800!=0',
  pte_swp_soft_dirty: 'SOFT_DIRTY',
  pte_swp_uffd_wp: '0',
};

const ORIGIN = '&0xfffffffffffff000!=0';

/** `leaf`: pmd_leaf; `present`: pmd_present and pud_present of an entry that is not folded. */
function upperPredicates(now: boolean): LinuxSide['predicates'] {
  const leaf = now ? 'PRESENT FC' : 'FC';
  const pudLeaf = now ? 'TT=1 PRESENT FC' : 'TT=1 FC &0xfffffffffffff000!=0';
  return {
    pmd: {
      pmd_none: '&=0x20',
      pmd_present: now ? 'PRESENT' : '&!=0x20',
      pmd_leaf: leaf,
      pmd_trans_huge: leaf,
      pmd_bad: `TT!=0 | ${leaf} | &0x1c0!=0`,
      pmd_protnone: `${leaf} !R`,
      pmd_dirty: 'D',
      pmd_young: 'Y',
      pmd_write: 'W',
      pmd_soft_dirty: 'SOFT_DIRTY',
      pmd_swp_soft_dirty: '0',
      pmd_special: '0',
      pmd_devmap: '0',
      pmd_uffd_wp: '0',
      is_swap_pmd: now ? '!PRESENT &!=0x20' : '0',
      is_pmd_migration_entry: '0',
    },
    pud: {
      pud_folded: 'TT=0',
      pud_none: '&=0x24',
      pud_present: now ? 'TT=0 | PRESENT' : `TT=0 | ${ORIGIN}`,
      pud_leaf: pudLeaf,
      pud_bad: `TT=2,3 | ${pudLeaf} | TT=1 &0xdd0!=0`,
      pud_write: 'W',
      pud_special: '0',
      pud_devmap: '0',
      pud_trans_huge: '0',
    },
    p4d: { p4d_none: '&=0x28', p4d_present: `TT=0,1 | ${ORIGIN}`, p4d_bad: 'TT=3 | TT=2 &0xdd0!=0', p4d_leaf: '0' },
    pgd: { pgd_none: 'TT=3 I', pgd_present: `TT=0,1,2 | ${ORIGIN}`, pgd_bad: 'TT=3 &0xdd0!=0', pgd_leaf: '0' },
  };
}

function side(now: boolean): LinuxSide {
  const segmentTable = { level: 'pmd', form: 'page table', ...(now ? { set: 'SW=1' } : {}) };
  return {
    kernel: now ? '6.13..' : '..6.13',
    prots: protections(now ? 'PRESENT ' : ''),
    edits: now ? edits : { ...edits, ...noSwap },
    keeps: { pte: 'SPECIAL D Y SOFT_DIRTY', pmd: 'D Y FC SOFT_DIRTY', pud: 'D Y FC SOFT_DIRTY TT' },
    predicates: { pte: ptePredicates, ...upperPredicates(now) },
    populate: {
      pmd_populate_kernel: segmentTable,
      pmd_populate: segmentTable,
      'pmd_populate(user)': segmentTable,
      pud_populate: { level: 'pud', form: 'segment table', set: 'TT=1 TL=3' },
      p4d_populate: { level: 'p4d', form: 'region-third table', set: 'TT=2 TL=3' },
      pgd_populate: { level: 'pgd', form: 'region-second table', set: 'TT=3 TL=3' },
    },
  };
}

export const s390Linux: readonly LinuxSide[] = [side(false), side(true)];
