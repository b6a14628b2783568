/** Linux on PowerPC 8xx: protections, edits, predicates and swap-type words (arch/powerpc/include/asm/nohash/32/pte-8xx.h, nohash/pgtable.h). */
import type { LinuxSide, SwapLayout } from '../mode.ts';
import { ERAS, pmdNever, pteNever, swapLayouts } from './powerpc-common.ts';

export interface Shape8xx {
  readonly pageShift: 12 | 14;
  readonly hugepd: boolean;
}

export const swap8xx = (pageShift: number): readonly SwapLayout[] => {
  const levels = swapLayouts({ type: '7:3', offset: '31:8', pfnBits: 32 - pageShift }, '2');
  return levels.map((l) => ({ ...l, levels: ['pte', 'pte-8m', 'hugepte-23'] }));
};

export function linux8xx(shape: Shape8xx): readonly LinuxSide[] {
  return ERAS.map((era) => ({
    kernel: era.kernel,
    prots: prots(shape),
    edits,
    keeps: { pte: 'DIRTY ACCESSED SPECIAL' },
    predicates: {
      pte: {
        ...pteNever,
        is_swap_pte: '!V &0xffffffff!=0',
        pte_ci: 'CI',
        pte_dirty: 'DIRTY',
        pte_exec: 'EXEC',
        pte_hashpte: '0',
        pte_hw_valid: 'V',
        pte_none: '&0xffffffff=0',
        pte_present: 'V',
        pte_read: 'PP!=1',
        pte_savedwrite: 'PP=0',
        pte_special: 'SPECIAL',
        pte_swp_exclusive: era.exclusive ? 'SH' : '0',
        pte_user: '!SH',
        pte_write: 'PP=0',
        pte_young: 'ACCESSED',
      },
      pmd: { ...pmdNever, pmd_none: '&0xffffffff=0', pmd_present: 'P', pmd_bad: '&0xf90!=0', is_hugepd: shape.hugepd ? '&0xc=0xc' : '0' },
    },
    populate: {
      pmd_populate_kernel: { level: 'pgd', form: 'level-two table', set: 'P' },
      'pmd_populate(user)': { level: 'pgd', form: 'level-two table', set: 'P USER' },
      ...(shape.hugepd
        ? {
            'hugepd_populate 8M (user)': { level: 'pgd', form: '8M huge page directory', set: 'P USER PS' },
            'hugepd_populate_kernel 8M': { level: 'pgd', form: '8M huge page directory', set: 'P PS' },
          }
        : { 'table entry of an 8M page (user)': { level: 'pgd', form: '8M level-two table', set: 'P USER PS' } }),
    },
  }));
}

/** With 16K base pages every protection carries the 16K mark. */
function prots({ pageShift }: Shape8xx): Record<string, string> {
  const base = pageShift === 14 ? 'V ACCESSED SPS' : 'V ACCESSED';
  const of = (more: string): string => `${base} ${more}`;
  return {
    PAGE_NONE: of('PP=1'),
    PAGE_READONLY: of('PP'),
    PAGE_READONLY_X: of('PP EXEC'),
    PAGE_COPY: of('PP'),
    PAGE_COPY_X: of('PP EXEC'),
    PAGE_SHARED: of(''),
    PAGE_SHARED_X: of('EXEC'),
    PAGE_EXECONLY_X: of('PP=1 EXEC'),
    PAGE_KERNEL: of('SH DIRTY'),
    PAGE_KERNEL_X: of('SH DIRTY EXEC'),
    PAGE_KERNEL_EXEC: of('SH DIRTY EXEC'),
    PAGE_KERNEL_RO: of('SH PP'),
    PAGE_KERNEL_ROX: of('SH PP EXEC'),
    PAGE_KERNEL_NC: of('SH DIRTY CI'),
    PAGE_KERNEL_NCG: of('SH DIRTY CI G'),
  };
}

const writable = [{ clear: 'PP' }];

const edits: LinuxSide['edits'] = {
  pte_mkdirty: [{ set: 'DIRTY' }],
  pte_mkclean: [{ clear: 'DIRTY' }],
  pte_mkyoung: [{ set: 'ACCESSED' }],
  pte_mkold: [{ clear: 'ACCESSED' }],
  pte_mkwrite: writable,
  pte_mkwrite_novma: writable,
  pte_wrprotect: [{ set: 'PP' }],
  pte_mkexec: [{ set: 'EXEC' }],
  pte_exprotect: [{ clear: 'EXEC' }],
  pte_mkspecial: [{ set: 'SPECIAL' }],
  pte_mkhuge: [{ set: 'SPS HUGE' }],
  pte_mkprivileged: [{ set: 'SH' }],
  pte_mkuser: [{ clear: 'SH' }],
  pgprot_noncached: [{ clear: 'CI G', set: 'CI G' }],
  pgprot_writecombine: [{ clear: 'CI G', set: 'CI' }],
  'arch_make_huge_pte shift=12': [],
  'arch_make_huge_pte shift=14': [{ set: 'SPS' }],
  'arch_make_huge_pte shift=19': [{ set: 'SPS HUGE' }],
  'arch_make_huge_pte shift=23': [{ set: 'SPS HUGE' }],
  '= set_huge_pte_at first-level entry low bits': [{ set: 'P USER PS' }],
};
