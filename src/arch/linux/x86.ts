/**
 * Linux on x86: protections, edits, predicates and swap-type words.
 * Sources: arch/x86/include/asm/pgtable_types.h, pgtable.h, pgtable-2level.h, pgtable-3level.h, pgtable_64.h; the values agree with entries that
 * the kernel's own code computed (golden vectors).
 *
 * Invariants: 6.6 brought shadow stacks and with them SAVED_DIRTY, the dirty bit of an entry that is not writable (Write=0, Dirty=1 means a shadow
 * stack since); userfaultfd write protection, soft-dirty and protection keys exist on x86-64 only. Predicates are those of a kernel without
 * CONFIG_NUMA_BALANCING (pte_protnone is false) on a CPU without shadow stacks.
 */
import type { EditStep, LinuxSide, SwapLayout } from '../mode.ts';

export type X86Shape = '2level' | 'pae' | '4level' | '5level';

/** Swap-type words: 64 bits wide with the offset inverted (against L1TF), or 32 bits. `pfnBits`: Linux's MAX_PHYSMEM_BITS, or what the word has room for. */
export function x86Swap(shape: X86Shape): readonly SwapLayout[] {
  if (shape === '2level') return [{ type: '5:1', offset: '31:9', flags: { exclusive: '7' }, pfnBits: 20 }];
  if (shape === 'pae') return [{ type: '63:59', offset: '58:9', inverted: true, flags: { exclusive: '7' }, pfnBits: 26 }];
  return [{ type: '63:59', offset: '58:9', inverted: true, flags: { softDirty: '1', uffdWp: '2', exclusive: '3' }, pfnBits: shape === '5level' ? 40 : 34 }];
}

/** What differs between the formats, as masks of raw bits. */
interface Bits {
  readonly wide: boolean;
  /** Soft-dirty, userfaultfd write protection, devmap: x86-64. */
  readonly soft: boolean;
  /** SAVED_DIRTY's bit, from 6.6. */
  readonly saved: bigint;
  readonly savedDirty: boolean;
}

const hex = (value: bigint): string => `&0x${value.toString(16)}`;

const P = 0x1n;
const RW = 0x2n;
const A = 0x20n;
const D = 0x40n;
const PSE = 0x80n;
const G = 0x100n;
const SPECIAL = 0x200n;
const UFFD_WP = 0x400n;
const SOFT_DIRTY = 0x800n;
const DEVMAP = 1n << 57n;
const NX = 1n << 63n;
/** Bits that hardware of one CPU model sets in an empty entry (_PAGE_KNL_ERRATUM_MASK): accessed and dirty. */
const ERRATUM = A | D;

const set = (bits: bigint): EditStep => ({ set: hex(bits) });
const clear = (bits: bigint): EditStep => ({ clear: hex(bits) });

/** An entry that is not writable keeps its dirtiness in SAVED_DIRTY, a writable one in D. */
const save = (b: Bits): EditStep[] => (b.savedDirty ? [{ when: `${hex(RW | D)}=0x40`, clear: hex(D), set: hex(b.saved) }] : []);
const unsave = (b: Bits): EditStep[] => (b.savedDirty ? [{ when: `${hex(RW)}!=0 ${hex(b.saved)}!=0`, clear: hex(b.saved), set: hex(D) }] : []);

/** The edits of one level; `large` levels have no pte-only ones. */
function editsOf(level: 'pte' | 'pmd' | 'pud', b: Bits): Record<string, readonly EditStep[]> {
  const dirty = b.savedDirty ? D | b.saved : D;
  const optional = (bits: bigint): EditStep[] => (b.soft ? [set(bits)] : []);
  const edits: Record<string, readonly EditStep[]> = {
    mkdirty: [set(b.soft ? D | SOFT_DIRTY : D), ...save(b)],
    mkyoung: [set(A)],
    mkold: [clear(A)],
    mkclean: [clear(dirty)],
    mkwrite_novma: [set(RW), ...unsave(b)],
    mkwrite: [set(RW), ...unsave(b)],
    wrprotect: [clear(RW), ...save(b)],
    mkhuge: [set(PSE)],
    mksoft_dirty: optional(SOFT_DIRTY),
    clear_soft_dirty: b.soft ? [clear(SOFT_DIRTY)] : [],
    mkuffd_wp: b.soft ? [set(UFFD_WP), clear(RW), ...save(b)] : [],
    clear_uffd_wp: b.soft ? [clear(UFFD_WP)] : [],
    mkspecial: level === 'pte' ? [set(SPECIAL)] : optional(SPECIAL),
    mkdevmap: b.wide ? [set(level === 'pte' ? DEVMAP | SPECIAL : DEVMAP)] : [],
    modify: [...save(b), ...unsave(b)],
    ...(level === 'pte' ? { mkexec: b.wide ? [clear(NX)] : [], mkglobal: [set(G)] } : { mkinvalid: [clear(P | G)] }),
  };
  return Object.fromEntries(Object.entries(edits).map(([name, steps]) => [`${level}_${name}`, steps]));
}

/** Bits that a change of protection keeps (_PAGE_CHG_MASK, _HPAGE_CHG_MASK). */
function keptBits(level: 'pte' | 'pmd', b: Bits): string {
  const common = 0x18n | A | D | SPECIAL | PSE | (b.savedDirty ? b.saved : 0n) | (b.soft ? UFFD_WP | SOFT_DIRTY : 0n) | (b.wide ? DEVMAP : 0n);
  return hex(level === 'pmd' && b.wide ? common | 0x1000n : common);
}

/** `{ name: bits }` → protections; `nx` bits are dropped where the format has no NX. */
function protections(b: Bits): Record<string, string> {
  const plain: Record<string, bigint> = {
    PAGE_NONE: A | G,
    PAGE_SHARED: 0x27n | NX,
    PAGE_SHARED_EXEC: 0x27n,
    PAGE_COPY: 0x25n | NX,
    PAGE_COPY_NOEXEC: 0x25n | NX,
    PAGE_COPY_EXEC: 0x25n,
    PAGE_READONLY: 0x25n | NX,
    PAGE_READONLY_EXEC: 0x25n,
    PAGE_KERNEL: 0x163n | NX,
    PAGE_KERNEL_EXEC: 0x163n,
    PAGE_KERNEL_RO: 0x121n | NX,
    PAGE_KERNEL_ROX: 0x121n,
    PAGE_KERNEL_VVAR: 0x125n | NX,
    PAGE_KERNEL_IO: 0x163n | NX,
    PAGE_KERNEL_LARGE: 0x1e3n | NX,
    PAGE_KERNEL_LARGE_EXEC: 0x1e3n,
  };
  return Object.fromEntries(Object.entries(plain).map(([name, bits]) => [name, hex(b.wide ? bits : bits & ~NX)]));
}

/** Attribute bits of an entry that holds no large page. */
const flagMask = (b: Bits): bigint => (b.wide ? 0xfff0000000000fffn : 0xfffn);
const is = (bits: bigint): string => `${hex(bits)}!=0`;
const only = (condition: boolean, text: string): string => (condition ? text : '0');

function ptePredicates(b: Bits): Record<string, string> {
  const some = hex((b.wide ? 0xffffffffffffffffn : 0xffffffffn) & ~ERRATUM);
  return {
    pte_none: `${some}=0`,
    pte_present: is(P | G),
    is_swap_pte: `${hex(P | G)}=0 ${some}!=0`,
    pte_write: is(RW),
    pte_dirty: is(b.savedDirty ? D | b.saved : D),
    pte_young: is(A),
    pte_exec: b.wide ? `${hex(NX)}=0` : '1',
    pte_global: is(G),
    pte_huge: is(PSE),
    pte_special: is(SPECIAL),
    pte_devmap: only(b.soft, is(DEVMAP)),
    pte_protnone: '0',
    pte_soft_dirty: only(b.soft, is(SOFT_DIRTY)),
    pte_uffd_wp: only(b.soft, is(UFFD_WP)),
    pte_swp_exclusive: is(b.soft ? 0x8n : 0x80n),
    pte_swp_soft_dirty: only(b.soft, is(0x2n)),
    pte_swp_uffd_wp: only(b.soft, is(0x4n)),
  };
}

function pmdPredicates(b: Bits): Record<string, string> {
  // i386 with PAE looks at the low word only, as `unsigned long` is 32 bits there.
  const some = hex((b.soft ? 0xffffffffffffffffn : 0xffffffffn) & ~ERRATUM);
  const swap = `${hex(P | PSE | G)}=0 ${some}!=0`;
  return {
    pmd_none: `${some}=0`,
    pmd_present: is(P | PSE | G),
    is_swap_pmd: swap,
    is_pmd_migration_entry: only(b.soft, `${swap} @migration`),
    pmd_bad: `${hex(flagMask(b) & ~0x24n)}!=0x43`,
    pmd_leaf: is(PSE),
    pmd_trans_huge: b.wide ? `${hex(PSE | DEVMAP)}=0x80` : is(PSE),
    pmd_devmap: only(b.soft, is(DEVMAP)),
    pmd_write: is(RW),
    pmd_dirty: is(b.savedDirty ? D | b.saved : D),
    pmd_young: is(A),
    pmd_protnone: '0',
    pmd_special: only(b.soft, is(SPECIAL)),
    pmd_soft_dirty: only(b.soft, is(SOFT_DIRTY)),
    pmd_uffd_wp: only(b.soft, is(UFFD_WP)),
    pmd_swp_soft_dirty: only(b.soft, is(0x2n)),
  };
}

/** Levels above pmd on x86-64: no swap-type words there. */
function upperPredicates(b: Bits): Record<string, Record<string, string>> {
  const some = hex(0xffffffffffffffffn & ~ERRATUM);
  return {
    pud: {
      pud_none: `${some}=0`,
      pud_present: is(P),
      pud_bad: is(flagMask(b) & ~0x67n),
      pud_leaf: is(PSE),
      pud_trans_huge: `${hex(PSE | DEVMAP)}=0x80`,
      pud_devmap: is(DEVMAP),
      pud_write: is(RW),
      pud_dirty: is(b.savedDirty ? D | b.saved : D),
      pud_young: is(A),
      pud_special: is(SPECIAL),
      pud_soft_dirty: is(SOFT_DIRTY),
    },
    p4d: { p4d_none: `${some}=0`, p4d_present: is(P), p4d_bad: is(flagMask(b) & ~0x67n & ~NX), p4d_leaf: '0' },
  };
}

/** A level that folds into the next: always there, never bad, never a leaf. */
const folded = (level: string): Record<string, string> => ({
  [`${level}_none`]: '0',
  [`${level}_present`]: '1',
  [`${level}_bad`]: '0',
  [`${level}_leaf`]: '0',
});

function populateOf(shape: X86Shape): LinuxSide['populate'] {
  const table = (level: string, form: string) => ({ level, form, set: '&0x67' });
  if (shape === '2level') return { pmd_populate_kernel: table('pmd', 'page table'), pmd_populate: table('pmd', 'page table') };
  const pmd = { pmd_populate_kernel: table('pmd', 'page table'), pmd_populate: table('pmd', 'page table') };
  // The top level of PAE has four pointers without permission bits.
  if (shape === 'pae') return { ...pmd, pud_populate: { level: 'pud', form: 'page directory', set: 'P' } };
  const p4d = { ...pmd, pud_populate: table('pud', 'page directory'), p4d_populate: table('p4d', 'PDPT') };
  return shape === '4level' ? { ...p4d, pgd_populate: null } : { ...p4d, pgd_populate: table('pgd', 'PML4'), 'pgd_populate without LA57': null };
}

function sideOf(shape: X86Shape, kernel: string, savedDirty: boolean): LinuxSide {
  const long = shape === '4level' || shape === '5level';
  const b: Bits = { wide: shape !== '2level', soft: long, saved: long ? 1n << 58n : 0x400n, savedDirty };
  const pgd = shape === '5level' ? { pgd_none: '&=0', pgd_present: is(P), pgd_bad: `${hex(flagMask(b) & ~NX & ~0x4n)}!=0x63`, pgd_leaf: '0' } : folded('pgd');
  return {
    kernel,
    masksProt: true,
    prots: protections(b),
    edits: {
      ...editsOf('pte', b),
      ...editsOf('pmd', b),
      ...(long ? editsOf('pud', b) : {}),
      // Uncached-minus in the page attribute table that Linux sets up.
      pgprot_noncached: [set(0x10n)],
      // CPUs before the 486 cannot choose a cache mode for a page.
      'pgprot_noncached on a 386': [],
      pgprot_writecombine: [set(0x8n)],
      arch_make_huge_pte: [set(PSE)],
    },
    keeps: { pte: keptBits('pte', b), pmd: keptBits('pmd', b) },
    predicates: {
      pte: ptePredicates(b),
      pmd: pmdPredicates(b),
      ...(long ? upperPredicates(b) : { pud: folded('pud'), p4d: folded('p4d') }),
      pgd,
      'pgd without LA57': folded('pgd'),
    },
    populate: populateOf(shape),
  };
}

export const x86Linux = (shape: X86Shape): readonly LinuxSide[] => [sideOf(shape, '..6.6', false), sideOf(shape, '6.6..', true)];
