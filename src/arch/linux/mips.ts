/**
 * Linux on MIPS: protections, edits, predicates and swap-type words
 * (arch/mips/include/asm/pgtable.h, pgtable-bits.h, pgtable-32.h, pgtable-64.h, arch/mips/mm/cache.c).
 *
 * Present, writable, accessed and modified are software's; V and D follow from them: V only on a page that is accessed and
 * readable, D only on one that is writable and modified. The protections are those of a CPU without RI and XI (boot code
 * chooses), with cache attribute 3; `PAGE_COPY` and its kin of a CPU with them add XI.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';
import { never, noHugePmd, noOptionalPmd, noOptionalPte } from './software.ts';

/** 32-bit kernels keep the type in bits 12:8; the exclusive mark came with 6.3. */
const swap32: readonly SwapLayout[] = [
  { kernel: '..6.3', type: '12:8', offset: '31:13' },
  { kernel: '6.3..', type: '12:8', offset: '31:13', flags: { exclusive: '1' } },
];

/** 64-bit kernels had eight type bits until 6.3 took the top one for the exclusive mark. */
const swap64: readonly SwapLayout[] = [
  { kernel: '..6.3', type: '23:16', offset: '63:24' },
  { kernel: '6.3..', type: '22:16', offset: '63:24', flags: { exclusive: '23' } },
];

export const mipsSwap = (wide: boolean): readonly SwapLayout[] => (wide ? swap64 : swap32);

/** The edits of one level; PMDs that map memory are edited as PTEs are. */
function edits(level: 'pte' | 'pmd', wide: boolean): Record<string, readonly EditStep[]> {
  return {
    [`${level}_mkdirty`]: [{ set: 'MODIFIED' }, { when: 'WRITE', set: 'D' }],
    [`${level}_mkclean`]: [{ clear: 'MODIFIED D' }],
    [`${level}_mkyoung`]: [{ set: 'ACCESSED' }, { when: '!RI', set: 'V' }],
    [`${level}_mkold`]: [{ clear: 'ACCESSED V' }],
    [`${level}_mkwrite_novma`]: [{ set: 'WRITE' }, { when: 'MODIFIED', set: 'D' }],
    [`${level}_mkwrite`]: [{ set: 'WRITE' }, { when: 'MODIFIED', set: 'D' }],
    [`${level}_wrprotect`]: [{ clear: 'WRITE D' }],
    [`${level}_mkspecial`]: level === 'pte' && wide ? [{ set: 'SPECIAL' }] : [],
    [`${level}_mkhuge`]: wide ? [{ set: 'HUGE' }] : [],
    // pte_modify takes V away with the old protection and gives it back to an accessed, readable page.
    ...(level === 'pte' ? { pte_modify: [{ when: 'ACCESSED !RI', set: 'V' }] } : {}),
  };
}

/** `userEntries` are the entries of a top table that user space has (USER_PTRS_PER_PGD). */
export function mipsLinux(wide: boolean, pageShift: number, userEntries: number): readonly LinuxSide[] {
  const inPage = `0x${(2 ** pageShift - 1).toString(16)}`;
  const kernel = 'PRESENT WRITE ACCESSED MODIFIED G V D';
  return [
    {
      prots: {
        PAGE_KERNEL: `${kernel} C=3`,
        PAGE_KERNEL_EXEC: `${kernel} C=3`,
        PAGE_KERNEL_RO: `${kernel} C=3`,
        PAGE_KERNEL_NC: `${kernel} C=3`,
        PAGE_KERNEL_UNCACHED: `${kernel} C=2`,
        PAGE_SHARED: 'PRESENT WRITE C=3',
        PAGE_NONE: 'PRESENT RI C=3',
        PAGE_READONLY: 'PRESENT C=3',
        PAGE_COPY: 'PRESENT C=3',
        // Slots of protection_map: none, read, read and execute, shared and executable.
        PAGE_NONE_: 'PRESENT RI C=3',
        PAGE_READONLY_: 'PRESENT C=3',
        PAGE_READONLY_X_: 'PRESENT C=3',
        PAGE_SHARED_X_: 'PRESENT WRITE C=3',
      },
      edits: {
        ...edits('pte', wide),
        ...(wide ? hugeEdits : {}),
        pgprot_noncached: [{ clear: 'C', set: 'C=2' }],
        // cpu_data[0].writecombine, which is 0 until cpu_probe() has chosen.
        pgprot_writecombine: [{ clear: 'C' }],
      },
      keeps: { pte: wide ? 'ACCESSED MODIFIED C SPECIAL' : 'ACCESSED MODIFIED C', ...(wide ? { pmd: 'ACCESSED MODIFIED C SPECIAL HUGE' } : {}) },
      masksProt: true,
      predicates: {
        pte: ptePredicates(wide),
        pmd: wide ? hugePmd(inPage) : { ...noHugePmd, ...linkedPmd(inPage) },
      },
      populate: {
        pmd_populate_kernel: { level: 'pmd', form: 'page table' },
        pmd_populate: { level: 'pmd', form: 'page table' },
        ...(wide && pageShift !== 16 ? { pud_populate: { level: 'pud', form: 'page middle directory' } } : {}),
      },
      geometry: { USER_PTRS_PER_PGD: userEntries },
    },
  ];
}

const hugeEdits: Record<string, readonly EditStep[]> = {
  arch_make_huge_pte: [{ set: 'HUGE' }],
  ...edits('pmd', true),
  // Keeps everything but what lets software or hardware use the entry.
  pmd_mkinvalid: [{ clear: 'PRESENT V D' }],
  pmd_mksoft_dirty: [],
  pmd_mkuffd_wp: [],
  pmd_mkspecial: [],
};

function ptePredicates(wide: boolean): Record<string, string> {
  // G alone stands in an empty entry whose buddy is global: the two halves of a TLB entry share that bit.
  const rest = wide ? '0xfffffffffffffeff' : '0xffffffbf';
  return {
    ...noOptionalPte,
    pte_none: `&${rest}=0`,
    is_swap_pte: `!PRESENT &${rest}!=0`,
    pte_present: 'PRESENT',
    pte_write: 'WRITE',
    pte_dirty: 'MODIFIED',
    pte_young: 'ACCESSED',
    pte_special: wide ? 'SPECIAL' : '0',
    pte_huge: wide ? 'HUGE' : '0',
    pte_no_exec: 'XI',
    pte_swp_exclusive: wide ? '&0x800000!=0' : '&0x2!=0',
  };
}

/** An entry is none when it points to `invalid_pte_table`, whose address is the build's: no word is none by itself. */
const linkedPmd = (inPage: string): Record<string, string> => ({ pmd_none: '0', pmd_present: '1', pmd_bad: `&${inPage}!=0` });

function hugePmd(inPage: string): Record<string, string> {
  return {
    ...noOptionalPmd,
    ...never('pmd_none'),
    pmd_present: '!HUGE | PRESENT',
    pmd_bad: `!HUGE &${inPage}!=0`,
    pmd_leaf: 'HUGE',
    pmd_trans_huge: 'HUGE',
    pmd_write: 'WRITE',
    pmd_dirty: 'MODIFIED',
    pmd_young: 'ACCESSED',
    is_swap_pmd: 'HUGE !PRESENT',
  };
}
