/**
 * Linux on powerpc book3s/64: protections, edits, predicates and swap-type words.
 * Sources: arch/powerpc/include/asm/book3s/64/{pgtable,pgtable-4k,pgtable-64k,hash,hash-4k,hash-64k,radix,hugetlb}.h, arch/powerpc/mm/book3s64/pgtable.c.
 *
 * The three MMU shapes share every operation; they differ in the bits that make a table bad, in the bits that `pte_none` looks
 * past, in the mark of a transparent huge page (hash with 64K pages) and in what counts as one.
 */
import type { EditStep, LinuxSide, Setting, SwapLayout } from '../mode.ts';

export interface Book3s64Shape {
  readonly mmu: 'radix' | 'hash';
  readonly pageShift: 12 | 16;
  /** Huge page directories exist (hash with 4K pages, until 6.10). */
  readonly hugepd: boolean;
}

const PRESENT = 0x8000000000000000n;
const PTE = 0x4000000000000000n;
const INVALID = 0x2000000000000000n;
const raw = (mask: bigint, op: '=' | '!=', value: bigint): string => `&0x${mask.toString(16)}${op}0x${value.toString(16)}`;
const set = (mask: bigint): string => raw(mask, '=', mask);
const some = (mask: bigint): string => raw(mask, '!=', 0n);
const none = (mask: bigint): string => raw(mask, '=', 0n);

/** Type in the low five bits, offset where a frame number stands, and the leaf mark, by which huge code knows the word. */
export const book3s64Swap = (pageShift: 12 | 16): readonly SwapLayout[] => [
  { type: '4:0', offset: `52:${pageShift}`, always: `&0x${PTE.toString(16)}`, flags: { exclusive: '5', softDirty: '9' }, pfnBits: 51 - pageShift },
];

// --- protections ------------------------------------------------------------------------------------------------------

/** _PAGE_BASE with the leaf mark that pfn_pte and its kin add. PROT_NONE was a privileged page without rights until 6.8. */
function prots(shape: Book3s64Shape, protNone: '' | 'PRIVILEGED'): Record<string, Setting> {
  const base = 'V L R';
  const kernel = `${base} PRIVILEGED READ`;
  const pages: Record<string, Setting> = {
    PAGE_NONE: `${base} ${protNone}`,
    PAGE_READONLY: `${base} READ`,
    PAGE_READONLY_X: `${base} READ EXEC`,
    PAGE_COPY: `${base} READ`,
    PAGE_COPY_X: `${base} READ EXEC`,
    PAGE_SHARED: `${base} READ WRITE`,
    PAGE_SHARED_X: `${base} READ WRITE EXEC`,
    PAGE_EXECONLY_X: `${base} EXEC`,
    PAGE_KERNEL: `${kernel} WRITE C`,
    PAGE_KERNEL_EXEC: `${kernel} WRITE C EXEC`,
    PAGE_KERNEL_X: `${kernel} WRITE C EXEC`,
    PAGE_KERNEL_RO: kernel,
    PAGE_KERNEL_ROX: `${kernel} EXEC`,
    PAGE_KERNEL_NC: `${kernel} WRITE C ATT=3`,
    PAGE_KERNEL_NCG: `${kernel} WRITE C ATT=2`,
  };
  if (shape.mmu === 'hash' && shape.pageShift === 16) for (const [name, setting] of Object.entries({ ...pages })) pages[`${name}@pmd`] = `${setting} H_4K_PFN`;
  return pages;
}

// --- edits ------------------------------------------------------------------------------------------------------------

/** The edits of an entry, without the level's prefix. */
function entryEdits(savedWrite: boolean): Record<string, readonly EditStep[]> {
  const write: readonly EditStep[] = [{ set: 'READ WRITE' }];
  return {
    mkdirty: [{ set: 'C SOFT_DIRTY' }],
    mkclean: [{ clear: 'C' }],
    mkyoung: [{ set: 'R' }],
    mkold: [{ clear: 'R' }],
    mkwrite: write,
    mkwrite_novma: write,
    // A NUMA hint that remembers that it was writable (no right, not privileged) becomes a plain PROT_NONE.
    wrprotect: savedWrite ? [{ when: none(0xfn), set: 'PRIVILEGED' }, { clear: 'WRITE' }] : [{ clear: 'WRITE' }],
    mkexec: [{ set: 'EXEC' }],
    exprotect: [{ clear: 'EXEC' }],
    mkprivileged: [{ set: 'PRIVILEGED' }],
    mkuser: [{ clear: 'PRIVILEGED' }],
    mksoft_dirty: [{ set: 'SOFT_DIRTY' }],
    clear_soft_dirty: [{ clear: 'SOFT_DIRTY' }],
    mkhuge: [],
  };
}

function edits(savedWrite: boolean): Record<string, readonly EditStep[]> {
  const all: Record<string, readonly EditStep[]> = {};
  for (const level of ['pte', 'pmd', 'pud']) for (const [name, steps] of Object.entries(entryEdits(savedWrite))) all[`${level}_${name}`] = steps;
  return {
    ...all,
    pte_mkspecial: [{ set: 'SPECIAL' }],
    pte_mkdevmap: [{ set: 'SPECIAL DEVMAP' }],
    pmd_mkdevmap: [{ set: 'DEVMAP' }],
    pud_mkdevmap: [{ set: 'DEVMAP' }],
    // Generic fallbacks: neither mark exists above the lowest level here.
    pmd_mkspecial: [],
    pud_mkspecial: [],
    pmd_mkuffd_wp: [],
    pmd_mkinvalid: [{ clear: 'V', set: 'INVALID' }],
    pgprot_noncached: [{ clear: 'ATT', set: 'ATT=2' }],
    pgprot_writecombine: [{ clear: 'ATT', set: 'ATT=3' }],
    arch_make_huge_pte: [],
    set_huge_pte_at: [],
  };
}

// --- predicates -------------------------------------------------------------------------------------------------------

const BAD = {
  'radix 12': { pmd: 0x60000000000000e0n, pud: 0x60000000000000e0n },
  'radix 16': { pmd: 0x60000000000000e0n, pud: 0x60000000000000e0n },
  'hash 12': { pmd: 0xfffn, pud: 0x3ffn },
  'hash 16': { pmd: 0xfffn, pud: 0x3fffn },
} as const;

/** Bits that `pte_none` looks past. */
const NOISE = { 'radix 12': 0x180n, 'radix 16': 0x180n, 'hash 12': 0x11e0000000000040n, 'hash 16': 0x0080000000001040n } as const;

/** What every level's entry answers about its bits. */
function common(level: string, savedWrite: boolean): Record<string, string> {
  return {
    [`${level}_write`]: savedWrite ? `${set(2n)} | ${none(0xfn)}` : set(2n),
    [`${level}_dirty`]: set(0x80n),
    [`${level}_young`]: set(0x100n),
    [`${level}_soft_dirty`]: set(0x200n),
    [`${level}_swp_soft_dirty`]: set(0x200n),
    [`${level}_uffd_wp`]: '0',
    [`${level}_swp_uffd_wp`]: '0',
    [`${level}_devmap`]: set(PTE | 0x800n),
    [`${level}_protnone`]: raw(PRESENT | PTE | 7n, '=', PRESENT | PTE),
    [`${level}_savedwrite`]: none(0xfn),
  };
}

function predicates(shape: Book3s64Shape, savedWrite: boolean): Record<string, Record<string, string>> {
  const key = `${shape.mmu} ${shape.pageShift}` as keyof typeof BAD;
  const notNone = some(0xffffffffffffffffn & ~NOISE[key]);
  const swapPmd = `&!=0x0 ${none(PRESENT | INVALID)}`;
  const leaf = set(PTE);
  // pmd_huge and pud_huge (gone with 6.10) are constants where huge pages are directories.
  const huge = shape.mmu === 'hash' && shape.pageShift === 12 ? '0' : leaf;
  const trans = {
    'radix 12': raw(PTE | 0x800n, '=', PTE),
    'radix 16': raw(PTE | 0x800n, '=', PTE),
    'hash 12': '0',
    'hash 16': raw(PTE | 0x2800n, '=', PTE | 0x2000n),
  }[key];
  const isHugepd = shape.hugepd ? `${raw(PRESENT | PTE, '=', PRESENT)} ${some(0x3fn)}` : '0';
  return {
    pte: {
      ...common('pte', savedWrite),
      pte_none: none(0xffffffffffffffffn & ~NOISE[key]),
      pte_present: `${set(PRESENT | PTE)} | ${set(INVALID | PTE)}`,
      pte_hw_valid: set(PRESENT | PTE),
      pte_read: set(4n),
      pte_exec: set(1n),
      pte_user: none(8n),
      pte_special: set(0x400n),
      pte_ci: set(0x20n),
      pte_swp_exclusive: set(0x20n),
      is_swap_pte: `${notNone} ${none(PTE)} | ${notNone} ${none(PRESENT | INVALID)}`,
    },
    pmd: {
      ...common('pmd', savedWrite),
      pmd_none: '&=0x0',
      pmd_present: some(PRESENT | INVALID),
      pmd_leaf: leaf,
      pmd_large: leaf,
      pmd_is_leaf: leaf,
      pmd_huge: huge,
      pmd_bad: some(BAD[key].pmd),
      pmd_trans_huge: trans === '0' ? '0' : `${some(PRESENT | INVALID)} ${trans}`,
      pmd_special: '0',
      is_hugepd: isHugepd,
      is_swap_pmd: swapPmd,
      is_pmd_migration_entry: `${swapPmd} @migration`,
    },
    pud: {
      ...common('pud', savedWrite),
      pud_none: '&=0x0',
      pud_present: set(PRESENT),
      pud_leaf: leaf,
      pud_large: leaf,
      pud_is_leaf: leaf,
      pud_huge: huge,
      pud_bad: some(BAD[key].pud),
      // Transparent huge PUDs came with 6.6, for radix.
      pud_trans_huge: shape.mmu === 'radix' && !savedWrite ? `${set(PRESENT)} ${trans}` : '0',
      pud_special: '0',
      is_hugepd: isHugepd,
    },
  };
}

// --- table entries ----------------------------------------------------------------------------------------------------

const HUGEPD_SIZES = { 21: 7, 24: 10, 30: 13, 34: 14 } as const;

function populate(shape: Book3s64Shape): LinuxSide['populate'] {
  const of = (level: string, form: string, nextBits: number): LinuxSide['populate'][string] => ({
    level,
    form,
    set: shape.mmu === 'radix' ? `V NLS=${nextBits}` : 'V',
  });
  const radix = shape.mmu === 'radix';
  const pmd = of('pmd', radix ? 'page table' : 'PTE table', 21 - shape.pageShift);
  const all: Record<string, LinuxSide['populate'][string]> = {
    pmd_populate: pmd,
    pmd_populate_kernel: pmd,
    'pmd_populate(user)': pmd,
    pud_populate: of('pud', radix ? 'level 3 page directory' : 'PMD table', 9),
    p4d_populate: of('pgd', radix ? 'level 2 page directory' : 'PUD table', 9),
  };
  if (shape.hugepd)
    for (const [shift, index] of Object.entries(HUGEPD_SIZES))
      all[`hugepd_populate shift=${shift}`] = { level: 'pud', form: 'huge page directory, 16M', set: `V PSIZE=${index}` };
  return all;
}

export function book3s64Linux(shape: Book3s64Shape): readonly LinuxSide[] {
  // Bits besides the frame that a change of protection keeps (_PAGE_CHG_MASK, _HPAGE_CHG_MASK).
  const software = shape.pageShift === 12 ? 0x51e0000000000000n : 0x4080000000000000n;
  const keeps = {
    pte: `&0x${(software | (shape.pageShift === 12 ? 0xfc0n : 0x1fc0n)).toString(16)}`,
    pmd: `&0x${(software | (shape.pageShift === 12 ? 0xbc0n : 0x3bc0n)).toString(16)}`,
  };
  const side = (kernel: string, savedWrite: boolean, protNone: '' | 'PRIVILEGED'): LinuxSide => ({
    kernel,
    prots: prots(shape, protNone),
    edits: edits(savedWrite),
    keeps: { ...keeps, pud: keeps.pmd },
    predicates: predicates(shape, savedWrite),
    populate: populate(shape),
  });
  return [side('..6.2', true, 'PRIVILEGED'), side('6.2..6.8', false, 'PRIVILEGED'), side('6.8..', false, '')];
}
