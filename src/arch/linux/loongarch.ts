/**
 * Linux on LoongArch: protections, edits, predicates and swap-type words (arch/loongarch/include/asm/pgtable.h, pgtable-bits.h).
 *
 * Invariants: V is the young bit; D is set only while a page is writable and modified, MODIFIED remembers it when write permission goes. G and H share
 * bit 6, hence protections name the bit itself. An empty directory slot holds the address of invalid_pte_table or its kin, which differs
 * from kernel to kernel: the predicates here answer for all other words.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';

const DIRECTORIES = ['pgd', 'pud', 'pmd'];

/** From 6.3 the topmost of eight type bits remembers exclusivity. Swap-type words of huge pages carry H. */
export const loongarchSwap: readonly SwapLayout[] = [
  { kernel: '..6.3', levels: ['pte'], type: '23:16', offset: '63:24' },
  { kernel: '..6.3', levels: DIRECTORIES, type: '23:16', offset: '63:24', always: '&0x40' },
  { kernel: '6.3..', levels: ['pte'], type: '22:16', offset: '63:24', flags: { exclusive: '23' } },
  { kernel: '6.3..', levels: DIRECTORIES, type: '22:16', offset: '63:24', flags: { exclusive: '23' }, always: '&0x40' },
];

const kernel = 'V D P W &0x40';
const prots: LinuxSide['prots'] = {
  PAGE_NONE: 'PROTNONE NR PLV=3 MAT=1',
  PAGE_READONLY: 'P PLV=3 MAT=1',
  PAGE_SHARED: 'P W PLV=3 MAT=1',
  PAGE_KERNEL: `${kernel} MAT=1`,
  PAGE_KERNEL_EXEC: `${kernel} MAT=1`,
  PAGE_KERNEL_RO: `${kernel} MAT=1`,
  PAGE_KERNEL_SUC: kernel,
  PAGE_KERNEL_WUC: `${kernel} MAT=2`,
};

const leafEdits: Readonly<Record<string, readonly EditStep[]>> = {
  mkdirty: [{ set: 'MODIFIED' }, { when: 'W', set: 'D' }],
  mkclean: [{ clear: 'D MODIFIED' }],
  mkyoung: [{ set: 'V' }],
  mkold: [{ clear: 'V' }],
  mkwrite_novma: [{ set: 'W' }, { when: 'MODIFIED', set: 'D' }],
  wrprotect: [{ when: 'D', set: 'MODIFIED' }, { clear: 'W D' }],
  mkdevmap: [{ set: '&0x800000000000000' }],
};
const onLevel = (level: string): Record<string, readonly EditStep[]> =>
  Object.fromEntries(Object.entries(leafEdits).map(([name, steps]) => [`${level}_${name}`, steps]));

const edits: LinuxSide['edits'] = {
  ...onLevel('pte'),
  ...onLevel('pmd'),
  pte_mkspecial: [{ set: 'SPECIAL' }],
  pte_mkhuge: [{ set: '&0x40' }],
  // Global moves to bit 12 before H takes its place.
  pmd_mkhuge: [{ when: '&0x40!=0', set: 'G' }, { set: 'H' }],
  pmd_mkinvalid: [{ clear: 'P V D PROTNONE', set: 'PRESENT_INVALID' }],
  pmd_mkspecial: [],
  pmd_mksoft_dirty: [],
  pmd_mkuffd_wp: [],
  // Write-combining is off unless the firmware or the command line asks for it.
  pgprot_noncached: [{ clear: 'MAT' }],
  pgprot_writecombine: [{ clear: 'MAT' }],
  arch_make_huge_pte: [{ set: '&0x40' }],
};

const ptePredicates: Record<string, string> = {
  is_swap_pte: '!P !PROTNONE &0xffffffffffffffbf!=0',
  pte_none: '&0xffffffffffffffbf=0',
  pte_present: 'P | PROTNONE',
  pte_protnone: 'PROTNONE',
  pte_dirty: 'D | MODIFIED',
  pte_young: 'V',
  pte_write: 'W',
  pte_special: 'SPECIAL',
  pte_devmap: '&0x800000000000000!=0',
  pte_huge: '&0x40!=0',
  pte_soft_dirty: '0',
  pte_uffd_wp: '0',
  pte_swp_exclusive: '&0x800000!=0',
  pte_swp_soft_dirty: '0',
  pte_swp_uffd_wp: '0',
};

const huge = 'H P | H PROTNONE | H PRESENT_INVALID';
const swapped = 'H !P !PROTNONE !PRESENT_INVALID';

const pmdPredicates = (low: string): Record<string, string> => ({
  pmd_none: '0',
  pmd_present: `!H | ${huge}`,
  pmd_leaf: 'H',
  pmd_trans_huge: huge,
  pmd_bad: `&${low}!=0`,
  pmd_protnone: 'PROTNONE',
  pmd_dirty: 'D | MODIFIED',
  pmd_young: 'V',
  pmd_write: 'W',
  pmd_special: '0',
  pmd_devmap: '&0x800000000000000!=0',
  pmd_soft_dirty: '0',
  pmd_swp_soft_dirty: '0',
  pmd_uffd_wp: '0',
  is_swap_pmd: swapped,
  // The three migration types below four of device memory and one of markers.
  is_pmd_migration_entry: [0x18, 0x19, 0x1a].map((type) => `${swapped} &0x7f0000=0x${type.toString(16)}0000`).join(' | '),
});

export function loongarchLinux(pageShift: number): readonly LinuxSide[] {
  const low = `0x${((1n << BigInt(pageShift)) - 1n).toString(16)}`;
  const folded = pageShift === 16;
  const table = { level: 'pmd', form: 'page table' };
  return [
    {
      prots,
      edits,
      // PLV, MAT, MODIFIED and SPECIAL stay, and H of a huge page; with 4K pages the frame mask covers bit 12 (global) too.
      keeps: { pte: '&0x800000000000a3c', pmd: pageShift === 12 ? '&0x800000000001a7c' : '&0x800000000000a7c' },
      masksProt: true,
      predicates: { pte: ptePredicates, pmd: pmdPredicates(low) },
      populate: { pmd_populate_kernel: table, pmd_populate: table, ...(folded ? {} : { pud_populate: { level: 'pgd', form: 'directory 1' } }) },
    },
  ];
}
