/**
 * Linux on PA-RISC, 32 bit: protections, edits, predicates and swap-type words (arch/parisc/include/asm/pgtable.h).
 *
 * The header says READ, WRITE … by PA-RISC's bit numbers, which count from the most significant bit.
 */
import type { LinuxSide, SwapLayout } from '../mode.ts';
import { never, noHugePmd, noOptionalPte } from './software.ts';

/** The exclusive mark of 6.3 stands where offset bits were, so the offset moved. */
export const pariscSwap: readonly SwapLayout[] = [
  { kernel: '..6.3', type: '4:0', offset: '31:11,8:6' },
  { kernel: '6.3..', type: '4:0', offset: '31:10,7:5', flags: { exclusive: '8' } },
];

const kernel = 'PRESENT READ DIRTY ACCESSED';
const user = 'PRESENT USER';

export const pariscLinux: readonly LinuxSide[] = [
  {
    prots: {
      PAGE_NONE: user,
      PAGE_READONLY: `${user} READ`,
      PAGE_WRITEONLY: `${user} WRITE`,
      PAGE_SHARED: `${user} READ WRITE`,
      PAGE_EXECREAD: `${user} READ EXEC`,
      PAGE_COPY: `${user} READ EXEC`,
      PAGE_RWX: `${user} READ WRITE EXEC`,
      PAGE_GATEWAY: `${user} GATEWAY READ`,
      PAGE_KERNEL: `${kernel} WRITE`,
      PAGE_KERNEL_EXEC: `${kernel} EXEC`,
      PAGE_KERNEL_RWX: `${kernel} EXEC WRITE`,
      PAGE_KERNEL_RO: kernel,
      PAGE_KERNEL_UNC: `${kernel} WRITE U`,
    },
    edits: {
      pte_mkdirty: [{ set: 'DIRTY' }],
      pte_mkclean: [{ clear: 'DIRTY' }],
      pte_mkyoung: [{ set: 'ACCESSED' }],
      pte_mkold: [{ clear: 'ACCESSED' }],
      pte_mkwrite: [{ set: 'WRITE' }],
      pte_mkwrite_novma: [{ set: 'WRITE' }],
      pte_wrprotect: [{ clear: 'WRITE' }],
      pte_mkspecial: [{ set: 'SPECIAL' }],
      // Marks nothing without hugetlb; with it (PA 2.0) it sets the special bit.
      pte_mkhuge: [],
      pgprot_noncached: [{ set: 'U' }],
      pgprot_writecombine: [{ set: 'U' }],
    },
    keeps: { pte: 'ACCESSED DIRTY SPECIAL' },
    predicates: {
      pte: {
        ...noOptionalPte,
        ...never('pte_huge'),
        pte_none: '&=0',
        pte_present: 'PRESENT',
        is_swap_pte: '&!=0 !PRESENT',
        pte_write: 'WRITE',
        pte_dirty: 'DIRTY',
        pte_young: 'ACCESSED',
        pte_special: 'SPECIAL',
        pte_user: 'USER',
        pte_swp_exclusive: '&0x100!=0',
      },
      pmd: { ...noHugePmd, pmd_none: '&=0', pmd_present: 'PRESENT', pmd_bad: '!VALID' },
    },
    populate: {
      pmd_populate_kernel: { level: 'pmd', form: 'page table', set: 'PRESENT VALID' },
      'pmd_populate(user)': { level: 'pmd', form: 'page table', set: 'PRESENT VALID' },
      pmd_populate: { level: 'pmd', form: 'page table', set: 'PRESENT VALID' },
    },
  },
];
