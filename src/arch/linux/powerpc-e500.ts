/** Linux on PowerPC e500: protections, edits, predicates and swap-type words (arch/powerpc/include/asm/nohash/pte-e500.h, pgtable.h). */
import type { LinuxSide, SwapLayout } from '../mode.ts';
import { ERAS, neverAt, pmdNever, pteNever, swapLayouts } from './powerpc-common.ts';

export interface ShapeE500 {
  readonly wide: boolean;
  readonly hugepd: boolean;
}

const HUGEPTES = ['hugepte-22', 'hugepte-24', 'hugepte-26', 'hugepte-28', 'hugepte-30'];

export const swapE500 = (wide: boolean): readonly SwapLayout[] => {
  const layouts = wide ? swapLayouts({ type: '6:2', offset: '63:24', pfnBits: 32 }, '7') : swapLayouts({ type: '7:3', offset: '31:8', pfnBits: 26 }, '2');
  return layouts.map((l) => ({ ...l, levels: ['pte', ...HUGEPTES] }));
};

export function linuxE500(shape: ShapeE500): readonly LinuxSide[] {
  return ERAS.map((era) => ({
    kernel: era.kernel,
    prots: prots(shape.hugepd ? 'TSIZE=2' : 'TSIZE=1'),
    edits: edits(shape, era.byRead),
    keeps: { pte: 'ACCESSED SW0 DIRTY', pmd: '' },
    predicates: { pte: ptePredicates(shape, era), pmd: pmdPredicates(shape), pud: pudPredicates(shape) },
    populate: populate(shape),
  }));
}

function ptePredicates(shape: ShapeE500, era: (typeof ERAS)[number]): Record<string, string> {
  const some = shape.wide ? '&!=0' : '&0xffffffff!=0';
  return {
    ...pteNever,
    is_swap_pte: `!PRESENT ${some}`,
    pte_ci: 'I',
    pte_dirty: 'DIRTY',
    pte_exec: 'SX | UX',
    pte_hashpte: '0',
    pte_hw_valid: 'PRESENT',
    pte_none: some.replace('!=', '='),
    pte_present: 'PRESENT',
    pte_read: era.byRead ? 'SR UR' : '1',
    pte_savedwrite: 'SW | UW',
    pte_special: 'SW0',
    pte_swp_exclusive: era.exclusive ? (shape.wide ? 'UX' : 'SR') : '0',
    pte_user: 'SR UR',
    pte_write: 'SW | UW',
    pte_young: 'ACCESSED',
  };
}

function pmdPredicates({ wide, hugepd }: ShapeE500): Record<string, string> {
  if (wide) return { ...pmdNever, ...upperPredicates('pmd', hugepd, '0xfff') };
  return {
    ...pmdNever,
    pmd_none: '&=0',
    pmd_present: '&0xfffffffffffff000!=0',
    pmd_bad: '&0xfff!=0',
    pmd_leaf: hugepd ? '0' : '&0xf00!=0',
    is_hugepd: hugepd ? '&0x80000000=0 &!=0' : '0',
  };
}

const pudPredicates = ({ wide, hugepd }: ShapeE500): Record<string, string> => {
  const never = neverAt('pud', 'devmap huge is_leaf special trans_huge');
  return wide ? { ...never, ...upperPredicates('pud', hugepd, '0x3ff'), pud_write: '&0x30!=0' } : never;
};

/** 64-bit: everything with the top bit clear is no table. */
const upperPredicates = (level: string, hugepd: boolean, low: string): Record<string, string> => ({
  [`${level}_none`]: '&=0',
  [`${level}_present`]: '&!=0',
  [`${level}_bad`]: `&0x8000000000000000=0 | &${low}!=0`,
  [`${level}_leaf`]: hugepd ? '0' : '&0x8000000000000000=0 &!=0',
  is_hugepd: hugepd ? '&0x8000000000000000=0 &!=0' : '0',
});

function populate({ wide, hugepd }: ShapeE500): LinuxSide['populate'] {
  const pmd = wide ? 'pmd' : 'pgd';
  const tables = {
    pmd_populate_kernel: { level: pmd, form: 'page table' },
    'pmd_populate(user)': { level: pmd, form: 'page table' },
    ...(wide ? { pud_populate: { level: 'pud', form: 'PMD table' }, p4d_populate: { level: 'pgd', form: 'PUD table' } } : {}),
  };
  if (!hugepd) return tables;
  // hugepd_populate writes any shift that it is given; forms exist for the sizes that the hardware has.
  const directory = (shift: number) => ({ level: pmd, form: 'huge page directory, 4M', set: `SHIFT=${shift}`, base: wide ? 0x4000000000000000n : 0x40000000n });
  return { ...tables, ...Object.fromEntries([21, 22, 24, 26, 28, 30, 34].map((shift) => [`hugepd_populate shift=${shift}`, directory(shift)])) };
}

function prots(size: string): Record<string, string> {
  const base = `PRESENT ${size} ACCESSED M`;
  const uncached = `PRESENT ${size} ACCESSED I`;
  const kernel = 'SR SW DIRTY';
  return {
    PAGE_NONE: base,
    PAGE_READONLY: `${base} SR UR`,
    PAGE_READONLY_X: `${base} SR UR UX`,
    PAGE_COPY: `${base} SR UR`,
    PAGE_COPY_X: `${base} SR UR UX`,
    PAGE_SHARED: `${base} SR UR SW UW`,
    PAGE_SHARED_X: `${base} SR UR SW UW UX`,
    PAGE_EXECONLY_X: `${base} UX`,
    PAGE_KERNEL: `${base} ${kernel}`,
    PAGE_KERNEL_X: `${base} ${kernel} SX`,
    PAGE_KERNEL_EXEC: `${base} ${kernel} SX`,
    PAGE_KERNEL_RO: `${base} SR`,
    PAGE_KERNEL_ROX: `${base} SR SX`,
    PAGE_KERNEL_NC: `${uncached} ${kernel}`,
    PAGE_KERNEL_NCG: `${uncached} ${kernel} G`,
  };
}

function edits({ hugepd }: ShapeE500, byRead: boolean): LinuxSide['edits'] {
  const cache = 'G W I M';
  const writable = [{ set: byRead ? 'SR UR SW UW' : 'SW UW' }];
  return {
    pte_mkdirty: [{ set: 'DIRTY' }],
    pte_mkclean: [{ clear: 'DIRTY' }],
    pte_mkyoung: [{ set: 'ACCESSED' }],
    pte_mkold: [{ clear: 'ACCESSED' }],
    pte_mkwrite: writable,
    pte_mkwrite_novma: writable,
    pte_wrprotect: [{ clear: 'SW UW' }],
    // Until 6.6 a page that user mode may not read becomes executable for the kernel.
    pte_mkexec: byRead
      ? [{ set: 'UX' }]
      : [
          { when: 'UR', clear: 'SX', set: 'UX' },
          { when: '!UR', clear: 'UX', set: 'SX' },
        ],
    pte_exprotect: [{ clear: 'SX UX' }],
    pte_mkspecial: [{ set: 'SW0' }],
    pte_mkhuge: [],
    pte_mkprivileged: [{ clear: 'UR', set: 'SR' }],
    pte_mkuser: [{ set: 'SR UR' }],
    pgprot_noncached: [{ clear: cache, set: 'I G' }],
    pgprot_writecombine: [{ clear: cache, set: 'I' }],
    arch_make_huge_pte: [],
    // Before its removal the page directory told the size; since then the entry does.
    ...(hugepd
      ? {}
      : Object.fromEntries([22, 24, 26, 28, 30].map((s) => [`arch_make_huge_pte shift=${s}`, [{ clear: 'TSIZE', set: `TSIZE=${(s - 10) / 2}` }]]))),
  };
}
