/**
 * Linux on RISC-V: protections, edits, predicates and swap-type words (arch/riscv/include/asm/pgtable*.h).
 *
 * Invariant: Linux decides the depth at boot, so levels that the mode does not have stand here as they behave then: in Sv39 the kernel's pud is
 * our pgd, and its pgd and p4d answer constants. Memory types (Svpbmt) are patched in at boot; the edits are those of a CPU without them.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';

export type RiscvShape = 'sv32' | 'sv39' | 'sv48' | 'sv57';

/** Until 6.3 there was no exclusive bit and all stood one bit lower. */
export function riscvSwap(bits: 32 | 64): readonly SwapLayout[] {
  // MAX_PHYSMEM_BITS is 32 on RV32 although entries hold 34 bits.
  const narrow = bits === 32 ? { pfnBits: 20 } : {};
  const now = { type: '11:7', offset: `${bits - 1}:12`, ...narrow };
  return [
    { kernel: '..6.3', type: '10:6', offset: `${bits - 1}:11`, ...narrow },
    { kernel: '6.3..6.19', ...now, flags: { exclusive: '6' } },
    // A PMD with bit 3 (X) set would count as present: soft-dirty is told by the lowest level only.
    { kernel: '6.19..', levels: ['pte'], ...now, flags: bits === 64 ? { exclusive: '6', softDirty: '3', uffdWp: '4' } : { exclusive: '6' } },
    { kernel: '6.19..', ...now, flags: { exclusive: '6' } },
  ];
}

const user = 'V A U';
const kernel = 'V R A D G';
const prots: LinuxSide['prots'] = {
  PAGE_NONE: 'G R',
  PAGE_READ: `${user} R`,
  PAGE_COPY: `${user} R`,
  PAGE_WRITE: `${user} R W`,
  PAGE_SHARED: `${user} R W`,
  PAGE_EXEC: `${user} X`,
  PAGE_READ_EXEC: `${user} R X`,
  PAGE_COPY_EXEC: `${user} R X`,
  PAGE_WRITE_EXEC: `${user} R W X`,
  PAGE_SHARED_EXEC: `${user} R W X`,
  PAGE_KERNEL: `${kernel} W`,
  PAGE_KERNEL_READ: kernel,
  PAGE_KERNEL_EXEC: `${kernel} W X`,
  PAGE_KERNEL_READ_EXEC: `${kernel} X`,
  PAGE_KERNEL_RO: `${kernel} W`,
  PAGE_KERNEL_IO: `${kernel} W`,
};

/** The same edits on every level that can hold a leaf. */
const leafEdits: Readonly<Record<string, readonly EditStep[]>> = {
  mkdirty: [{ set: 'D' }],
  mkclean: [{ clear: 'D' }],
  mkyoung: [{ set: 'A' }],
  mkold: [{ clear: 'A' }],
  mkwrite_novma: [{ set: 'W' }],
  wrprotect: [{ clear: 'W' }],
  mkdevmap: [{ set: '&0x200' }],
  mkhuge: [],
};
const onLevel = (level: string): Record<string, readonly EditStep[]> =>
  Object.fromEntries(Object.entries(leafEdits).map(([name, steps]) => [`${level}_${name}`, steps]));

const edits: LinuxSide['edits'] = {
  ...onLevel('pte'),
  ...onLevel('pmd'),
  ...onLevel('pud'),
  pte_mkspecial: [{ set: 'SPECIAL' }],
  pmd_mkspecial: [],
  pmd_mksoft_dirty: [],
  pmd_mkuffd_wp: [],
  pmd_mkinvalid: [{ clear: 'V G' }],
  pgprot_noncached: [],
  pgprot_writecombine: [],
  arch_make_huge_pte: [],
};
/** Svnapot: N, and the size code over the low bits of the page number. */
const napot: LinuxSide['edits'] = { 'arch_make_huge_pte shift=16': [{ clear: '&0x3c00', set: '&0x8000000000002000' }] };

const leafBits = 'R | W | X';
const noLeafBits = '!R !W !X';

const ptePredicates = (wide: boolean): Record<string, string> => ({
  is_swap_pte: '!V !G &!=0',
  pte_none: '&=0',
  pte_present: 'V | G',
  pte_protnone: '0',
  pte_huge: 'V R | V W | V X | G R | G W | G X',
  pte_dirty: 'D',
  pte_young: 'A',
  pte_write: 'W',
  pte_exec: 'X',
  pte_user: 'U',
  pte_special: 'SPECIAL',
  pte_devmap: wide ? '&0x200!=0' : '0',
  pte_napot: wide ? 'N' : '0',
  pte_soft_dirty: '0',
  pte_uffd_wp: '0',
  pte_swp_exclusive: '&0x40!=0',
  pte_swp_soft_dirty: '0',
  pte_swp_uffd_wp: '0',
});

/** Where transparent huge pages exist (64-bit), a PMD with R, W or X counts as present even without V: it is being split. */
const pmdPredicates = (wide: boolean): Record<string, string> => ({
  pmd_none: '&=0',
  pmd_present: wide ? `V | G | ${leafBits}` : 'V | G',
  pmd_leaf: wide ? leafBits : 'V R | V W | V X | G R | G W | G X',
  pmd_trans_huge: wide ? leafBits : '0',
  pmd_bad: wide ? `!V !G ${noLeafBits} | ${leafBits}` : `!V !G | ${leafBits}`,
  pmd_protnone: '0',
  pmd_dirty: 'D',
  pmd_young: 'A',
  pmd_write: 'W',
  pmd_user: 'U',
  pmd_special: '0',
  pmd_devmap: wide ? '&0x200!=0' : '0',
  pmd_soft_dirty: '0',
  pmd_swp_soft_dirty: '0',
  pmd_uffd_wp: '0',
  is_swap_pmd: wide ? `!V !G ${noLeafBits} &!=0` : '0',
  // The three migration types below four of device memory and one of markers.
  is_pmd_migration_entry: wide ? [0xc00, 0xc80, 0xd00].map((type) => `!V !G ${noLeafBits} &0xf80=0x${type.toString(16)}`).join(' | ') : '0',
});

const pudPredicates: Record<string, string> = {
  pud_none: '&=0',
  pud_present: 'V',
  pud_bad: '!V',
  pud_leaf: 'V R | V W | V X',
  pud_user: 'U',
  pud_write: 'W',
  pud_devmap: '0',
  pud_special: '0',
  pud_trans_huge: '0',
};

/** A table-only level, or the same level folded away at boot. */
const upper = (level: string, real: boolean): Record<string, string> => ({
  [`${level}_none`]: real ? '&=0' : '0',
  [`${level}_present`]: real ? 'V' : '1',
  [`${level}_bad`]: real ? '!V' : '0',
  [`${level}_leaf`]: '0',
});

/** Lowest level that Linux populates as pud, p4d and pgd. */
const DEPTH: Readonly<Record<RiscvShape, number>> = { sv32: 2, sv39: 3, sv48: 4, sv57: 5 };

export function riscvLinux(shape: RiscvShape): readonly LinuxSide[] {
  const depth = DEPTH[shape];
  if (depth === 2) {
    return [
      {
        prots,
        edits,
        keeps: { pte: '&0xffffffc0', pmd: '&0xffffffc0' },
        predicates: { pte: ptePredicates(false), pmd: pmdPredicates(false) },
        populate: { pmd_populate_kernel: { level: 'pgd', form: 'level 0 table', set: 'V' }, pmd_populate: { level: 'pgd', form: 'level 0 table', set: 'V' } },
      },
    ];
  }
  const table = (name: string, below: number): LinuxSide['populate'][string] => ({ level: name, form: `level ${below} table`, set: 'V' });
  const side: LinuxSide = {
    prots,
    edits: { ...edits, ...napot },
    keeps: { pte: '&0xffffffffffffffc0', pmd: '&0xffffffffffffffc0', pud: '&0xffffffffffffffc0' },
    predicates: { pte: ptePredicates(true), pmd: pmdPredicates(true), pud: pudPredicates, p4d: upper('p4d', depth >= 4), pgd: upper('pgd', depth >= 5) },
    populate: {
      pmd_populate_kernel: table('pmd', 0),
      pmd_populate: table('pmd', 0),
      pud_populate: table('pud', 1),
      p4d_populate: depth >= 4 ? table('p4d', 2) : null,
      pgd_populate: depth >= 5 ? table('pgd', 3) : null,
    },
    // create_p4d_mapping (arch/riscv/mm/init.c): RAM alone has such leaves.
    ...(depth >= 5 ? { kernelLeaves: [{ level: 'p4d', shift: 39, set: prots.PAGE_KERNEL }] } : {}),
    // Table sizes are constants whatever the depth.
    geometry: { PTRS_PER_PUD: 512, PTRS_PER_P4D: 512 },
  };
  return [
    { ...side, kernel: '..6.19' },
    { ...side, kernel: '6.19..', ...softBits(side) },
  ];
}

/** Soft-dirty and userfaultfd write protection, from 6.19 on CPUs with Svrsw60t59b. */
function softBits(side: LinuxSide): Pick<LinuxSide, 'edits' | 'predicates'> {
  const of = (level: string): Record<string, readonly EditStep[]> => ({
    [`${level}_mkdirty`]: [{ set: 'D SOFT_DIRTY' }],
    [`${level}_mksoft_dirty`]: [{ set: 'SOFT_DIRTY' }],
    [`${level}_clear_soft_dirty`]: [{ clear: 'SOFT_DIRTY' }],
    [`${level}_mkuffd_wp`]: [{ clear: 'W', set: 'UFFD_WP' }],
    [`${level}_clear_uffd_wp`]: [{ clear: 'UFFD_WP' }],
  });
  const { pte, pmd } = side.predicates;
  return {
    edits: { ...side.edits, ...of('pte'), ...of('pmd') },
    predicates: {
      ...side.predicates,
      pte: { ...pte, pte_soft_dirty: 'SOFT_DIRTY', pte_uffd_wp: 'UFFD_WP', pte_swp_soft_dirty: '&0x8!=0', pte_swp_uffd_wp: '&0x10!=0' },
      pmd: { ...pmd, pmd_soft_dirty: 'SOFT_DIRTY', pmd_uffd_wp: 'UFFD_WP', pmd_swp_soft_dirty: '&0x8!=0' },
    },
  };
}
