/** Linux on PowerPC book3s/32: protections, edits, predicates and swap-type words (arch/powerpc/include/asm/book3s/32/pgtable.h). */
import type { LinuxSide, SwapLayout } from '../mode.ts';
import { ERAS, pmdNever, pteNever, swapLayouts } from './powerpc-common.ts';

export const swapBook3s32 = (pfnBits: number): readonly SwapLayout[] => swapLayouts({ type: '7:3', offset: '31:8', pfnBits }, '2');

export function linuxBook3s32(): readonly LinuxSide[] {
  return ERAS.map((era) => ({
    kernel: era.kernel,
    prots: prots(era.byRead),
    edits: edits(era.byRead),
    keeps: { pte: 'HASHPTE DIRTY ACCESSED SPECIAL' },
    predicates: {
      pte: {
        ...pteNever,
        is_swap_pte: '!PRESENT &0xfffffffd!=0',
        pte_ci: 'I',
        pte_dirty: 'DIRTY',
        pte_exec: 'EXEC',
        pte_hashpte: 'HASHPTE',
        pte_hw_valid: 'PRESENT',
        pte_none: '&0xfffffffd=0',
        pte_present: 'PRESENT',
        pte_read: era.byRead ? 'READ' : '1',
        pte_special: 'SPECIAL',
        pte_swp_exclusive: era.exclusive ? '&0x4!=0' : '0',
        pte_user: '&0x4!=0',
        pte_write: 'WRITE',
        pte_young: 'ACCESSED',
      },
      pmd: { ...pmdNever, pmd_none: '&0xffffffff=0', pmd_present: '&0xfffff000!=0', pmd_bad: '&0xfff!=0' },
    },
    populate: {
      pmd_populate_kernel: { level: 'pgd', form: 'page table' },
      'pmd_populate(user)': { level: 'pgd', form: 'page table' },
    },
  }));
}

function prots(byRead: boolean): Record<string, string> {
  const base = 'PRESENT ACCESSED M';
  const uncached = 'PRESENT ACCESSED I';
  // Bit 2: readable since 6.7, user before.
  const [user, kernel] = byRead ? ['READ', 'READ'] : ['USER', ''];
  return {
    PAGE_NONE: base,
    PAGE_READONLY: `${base} ${user}`,
    PAGE_READONLY_X: `${base} ${user} EXEC`,
    PAGE_COPY: `${base} ${user}`,
    PAGE_COPY_X: `${base} ${user} EXEC`,
    PAGE_SHARED: `${base} ${user} WRITE`,
    PAGE_SHARED_X: `${base} ${user} WRITE EXEC`,
    ...(byRead ? { PAGE_EXECONLY_X: `${base} EXEC` } : {}),
    PAGE_KERNEL: `${base} ${kernel} WRITE DIRTY`,
    PAGE_KERNEL_X: `${base} ${kernel} WRITE DIRTY EXEC`,
    PAGE_KERNEL_EXEC: `${base} ${kernel} WRITE DIRTY EXEC`,
    PAGE_KERNEL_RO: `${base} ${kernel}`,
    PAGE_KERNEL_ROX: `${base} ${kernel} EXEC`,
    PAGE_KERNEL_NC: `${uncached} ${kernel} WRITE DIRTY`,
    PAGE_KERNEL_NCG: `${uncached} ${kernel} WRITE DIRTY G`,
  };
}

function edits(byRead: boolean): LinuxSide['edits'] {
  const writable = [{ set: byRead ? 'READ WRITE' : 'WRITE' }];
  return {
    pte_mkdirty: [{ set: 'DIRTY' }],
    pte_mkclean: [{ clear: 'DIRTY' }],
    pte_mkyoung: [{ set: 'ACCESSED' }],
    pte_mkold: [{ clear: 'ACCESSED' }],
    pte_mkwrite: writable,
    pte_mkwrite_novma: writable,
    pte_wrprotect: [{ clear: 'WRITE' }],
    pte_mkexec: [{ set: 'EXEC' }],
    pte_exprotect: [{ clear: 'EXEC' }],
    pte_mkspecial: [{ set: 'SPECIAL' }],
    pte_mkhuge: [],
    pte_mkpte: [],
    pgprot_noncached: [{ clear: 'W I M G', set: 'I G' }],
    pgprot_writecombine: [{ clear: 'W I M G', set: 'I' }],
  };
}
