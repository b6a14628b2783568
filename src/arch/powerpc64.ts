/**
 * powerpc book3s/64: radix trees that the CPU walks, and the trees that Linux keeps where the CPU walks a hash table.
 * Sources: Power ISA 3.0B/3.1 book III, chapter 6 "Storage Control" (radix tree translation: process table entry, page directory
 * and page table entries); Linux arch/powerpc/include/asm/book3s/64/{pgtable,radix,radix-4k,radix-64k,hash,hash-4k,hash-64k}.h.
 *
 * Invariants: entries are big-endian in memory whatever the kernel's byte order; bit numbers here count from the least significant
 * bit (the ISA counts from the other end); a leaf is marked by bit 62 at every level, swap-type words carry it too, so presence is
 * asked first. The hash modes' trees are read by software only: the table that the CPU searches is src/arch/hpt64.ts.
 */
import { book3s64Linux, book3s64Swap } from './linux/powerpc64.ts';
import type { AddressBits, Allows, Fields, Form, Group, Level, PagingMode, Region, RootRegister } from './mode.ts';

const valid: Fields = {
  V: '63 valid (Linux _PAGE_PRESENT)',
  L: '62 leaf (Linux _PAGE_PTE)',
};

const leafCommon: Fields = {
  ...valid,
  INVALID: '61 software: taken away for a moment, still present to Linux',
  DEVMAP: '11 software: device memory with a struct page',
  SPECIAL: '10 software: no struct page behind it',
  SOFT_DIRTY: '9 software: soft-dirty',
  R: '8 reference (accessed)',
  C: '7 change (dirty)',
  ATT: '5:4 attributes (0 normal, 1 strong access order, 2 non-idempotent I/O, 3 tolerant I/O)',
  PRIVILEGED: '3 privileged state only (EAA bit 0)',
  READ: '2 load (EAA bit 1)',
  WRITE: '1 load and store (EAA bit 2)',
  EXEC: '0 instruction fetch (EAA bit 3)',
};

/** What the hash-MMU code keeps in an entry, by page size: where the hardware's entry for this page stands. */
const hashFields = {
  '4k': {
    HASHPTE: '60 the hash table has or had an entry',
    PKEY: '59:57 protection key',
    F_SECOND: '56 entry stands in the secondary group',
    F_GIX: '55:53 slot in the group',
    BUSY: '6 locked by the fault handler',
  },
  '64k': {
    PKEY: '60:56 protection key',
    HASHPTE: '55 the hash table has or had an entry',
    H_4K_PFN: '13 maps one 4K frame (pte); transparent huge page (pmd)',
    COMBO: '12 hashed as 4K pages',
    BUSY: '6 locked by the fault handler',
  },
} as const satisfies Record<string, Fields>;

/** An access is allowed by the entry alone; PROT_NONE is a leaf that is valid and allows nothing. */
const leafAllows: Allows = {
  read: 'READ | WRITE',
  write: 'WRITE',
  exec: 'EXEC',
  user: '!PRIVILEGED',
  dirty: 'C',
  accessed: 'R',
  present: 'READ | WRITE | EXEC',
};

const sized: Record<number, string> = { 12: '4K', 16: '64K', 21: '2M', 24: '16M', 28: '256M', 30: '1G', 34: '16G' };

/** What differs between the MMUs and page sizes. */
interface Shape {
  /** Highest bit of the frame address. */
  readonly top: number;
  readonly pageShift: 12 | 16;
  readonly fields: Fields;
  /** Mask of the bits that do not make an empty pte anything else. */
  readonly noise: bigint;
}

const radixShape = (pageShift: 12 | 16): Shape => ({ top: 56, pageShift, fields: {}, noise: 0x180n });
const hashShape = (pageShift: 12 | 16): Shape =>
  pageShift === 12
    ? { top: 52, pageShift, fields: hashFields['4k'], noise: 0x11e0000000000040n }
    : { top: 52, pageShift, fields: hashFields['64k'], noise: 0x0080000000001040n };

const without = (mask: bigint): string => `&0x${(0xffffffffffffffffn & ~mask).toString(16)}=0`;

const empty: Form = { kind: 'none', name: 'empty', when: '&=0' };
const swapForm: Form = { kind: 'nonpresent', name: 'swap-type entry', when: '!V !INVALID L', fields: { ...valid, INVALID: leafCommon.INVALID } };

/** A leaf at a level, and the same leaf while Linux has taken it away from the CPU (hardware sees it invalid, Linux present). */
function leafForms(shape: Shape, shift: number, groups?: readonly Group[]): Form[] {
  const name = `${sized[shift]} page`;
  const fields = { ...leafCommon, ...shape.fields };
  const address: AddressBits = [[`${shape.top}:${shift}`, shift]];
  return [
    { kind: 'leaf', name, when: 'V L', fields, address, allows: leafAllows, groups },
    {
      kind: 'leaf',
      name: `${name}, invalid for a moment`,
      when: '!V L INVALID',
      fields,
      address,
      allows: { user: leafAllows.user, dirty: 'C', accessed: 'R', present: '0' },
      groups,
    },
  ];
}

const pteForms = (shape: Shape): Form[] => [
  { ...empty, when: without(shape.noise), fields: { R: leafCommon.R, C: leafCommon.C, ...shape.fields } },
  ...leafForms(shape, shape.pageShift),
  swapForm,
];

// --- radix ------------------------------------------------------------------------------------------------------------

/** A page directory entry: next table and log2 of its entries. A size that is not the next level's makes the entry unfit. */
function radixTable(name: string, nextBits: number): Form {
  return {
    kind: 'table',
    name,
    when: `V !L NLS=${nextBits}`,
    fields: { ...valid, NLS: '4:0 next level size (log2 of the entries)' },
    address: [[`59:8`, 8]],
  };
}

function radixLevels(pageShift: 12 | 16): Level[] {
  const shape = radixShape(pageShift);
  const last = 21 - pageShift;
  return [
    { name: 'pgd', manual: 'root page directory (level 1)', shift: 39, bits: 13, entryBytes: 8, forms: [empty, radixTable('level 2 page directory', 9)] },
    {
      name: 'pud',
      manual: 'page directory (level 2)',
      shift: 30,
      bits: 9,
      entryBytes: 8,
      forms: [empty, ...leafForms(shape, 30), radixTable('level 3 page directory', 9), swapForm],
    },
    {
      name: 'pmd',
      manual: 'page directory (level 3)',
      shift: 21,
      bits: 9,
      entryBytes: 8,
      forms: [empty, ...leafForms(shape, 21), radixTable('page table', last), swapForm],
    },
    { name: 'pte', manual: 'page table (level 4)', shift: pageShift, bits: last, entryBytes: 8, forms: pteForms(shape) },
  ];
}

const PRTE = { RTS1: [61n, 3n], RPDB: 0x0fffffffffffff00n, RTS2: [5n, 7n], RPDS: 0x1fn } as const;
const VA_BITS = 52;
const ROOT_BITS = 13;

/** Table address of a process-table (or partition-table) doubleword. @throws {RangeError} when the geometry is not Linux's. */
function radixRoot(value: bigint): bigint {
  const rts = (((value >> PRTE.RTS1[0]) & PRTE.RTS1[1]) << 3n) | ((value >> PRTE.RTS2[0]) & PRTE.RTS2[1]);
  const rpds = value & PRTE.RPDS;
  const table = value & PRTE.RPDB;
  if (((value >> 60n) & 1n) !== 0n) throw new RangeError('bit 60 is set, expected a process-table doubleword (RTS, RPDB, RPDS) where it is reserved');
  if (rts !== BigInt(VA_BITS - 31)) throw new RangeError(`RTS is ${rts} (${rts + 31n} address bits), expected ${VA_BITS - 31} (${VA_BITS} bits)`);
  if (rpds !== BigInt(ROOT_BITS)) throw new RangeError(`RPDS is ${rpds}, expected ${ROOT_BITS} (a root directory of ${1 << ROOT_BITS} entries)`);
  if (table === 0n) throw new RangeError('RPDB is 0, expected the address of a root page directory');
  if ((table & 0xffffn) !== 0n) throw new RangeError(`RPDB 0x${table.toString(16)} is not aligned to the 64 KiB of a root page directory`);
  return table;
}

const KERNEL_VA = 0xc000000000000000n;

const radixRoots: readonly RootRegister[] = [
  {
    names: ['prte0', 'user_prte0'],
    of: 'user',
    doc: 'first doubleword of the process-table entry of the process (its PIDR): RTS, RPDB, RPDS; quadrant 0',
    resolve: (value) => ({
      table: radixRoot(value),
      level: 'pgd',
      ranges: [{ half: 'user', va: 0n, from: 0, to: 1 << ROOT_BITS }],
      label: `process-table entry 0x${value.toString(16)}`,
    }),
  },
  {
    names: ['kernel_prte0', 'prte0'],
    of: 'kernel',
    doc: 'first doubleword of process-table entry 0 (the kernel is PID 0); quadrant 3',
    resolve: (value, others) => {
      if (others.kernel_prte0 === undefined && others.pidr !== undefined && others.pidr !== 0n)
        throw new RangeError(`this is the process-table entry of PID ${others.pidr}, expected entry 0, which serves the kernel's addresses`);
      return {
        table: radixRoot(value),
        level: 'pgd',
        ranges: [{ half: 'kernel', va: KERNEL_VA, from: 0, to: 1 << ROOT_BITS }],
        label: `process-table entry 0: 0x${value.toString(16)}`,
      };
    },
  },
];

const radixRegions: readonly Region[] = [
  { name: 'linear map', start: KERNEL_VA, end: 0xc008000000000000n },
  { name: 'vmalloc', start: 0xc008000000000000n, end: 0xc00a000000000000n },
  { name: 'I/O', start: 0xc00a000000000000n, end: 0xc00c000000000000n },
  { name: 'vmemmap', start: 0xc00c000000000000n, end: 0xc00e000000000000n },
];

// --- Linux's trees beside the hash table ------------------------------------------------------------------------------

/** Until 6.10 the low six bits tell a table from a huge page directory, which is declared before it. */
const hashTable = (name: string, low: number): Form => ({ kind: 'table', name, when: 'V !L', fields: valid, address: [[`52:${low}`, low]] });

/**
 * A huge page as a run of entries. The fault handler looks the first one up and gives new rights, dirty and hash slot to it alone
 * (ptep_set_access_flags, __hash_page_huge); taking rights away reaches all of them.
 */
const advancing = (entries: number): Group[] => [
  { when: '1', entries, address: 'advance', mayDiffer: 'READ WRITE EXEC R C SOFT_DIRTY BUSY HASHPTE F_SECOND F_GIX', decides: 'first' },
];

/** A huge page directory: table of huge entries of one size, `index` the number of that size in Linux's list (mmu_psize). */
function hugepd(next: string, size: string, index: number): Form {
  return {
    kind: 'hugepd',
    name: `huge page directory, ${size}`,
    when: `V !L PSIZE=${index} &0x3=0x0`,
    fields: { ...valid, PSIZE: '5:2 page size (number in mmu_psize_defs)' },
    address: [['52:6', 6]],
    next,
  };
}

/** Pages of 4K: huge pages are runs of PMDs (16M) and PUDs (16G), or, until 6.10, directories hung into PUD and PGD. */
function hash4kLevels(form: 'contiguous' | 'hugepd'): Level[] {
  const shape = hashShape(12);
  const runs = form === 'contiguous';
  const huge = (name: string, shift: number, bits: number): Level => ({
    name,
    manual: `${sized[shift]} pages of a huge page directory`,
    shift,
    bits,
    entryBytes: 8,
    next: null,
    forms: [{ ...empty, when: without(shape.noise) }, ...leafForms(shape, shift), swapForm],
  });
  return [
    {
      name: 'pgd',
      manual: 'PGD (Linux)',
      shift: 37,
      bits: 9,
      entryBytes: 8,
      forms: [empty, ...(runs ? [] : [hugepd('hugepte16g', '16G', 14)]), hashTable('PUD table', 12)],
    },
    {
      name: 'pud',
      manual: 'PUD (Linux)',
      shift: 28,
      bits: 9,
      entryBytes: 8,
      forms: [
        empty,
        ...(runs ? leafForms(shape, 28, advancing(64)) : []),
        ...(runs ? [] : [hugepd('hugepte16m', '16M', 10)]),
        hashTable('PMD table', 10),
        swapForm,
      ],
    },
    {
      name: 'pmd',
      manual: 'PMD (Linux)',
      shift: 21,
      bits: 7,
      entryBytes: 8,
      forms: [empty, ...(runs ? leafForms(shape, 21, advancing(8)) : []), hashTable('PTE table', 12), swapForm],
    },
    { name: 'pte', manual: 'PTE (Linux)', shift: 12, bits: 9, entryBytes: 8, next: null, forms: pteForms(shape) },
    ...(runs ? [] : [huge('hugepte16m', 24, 4), huge('hugepte16g', 34, 3)]),
  ];
}

/** Pages of 64K: 16M and 16G are leaves of their level. The second half of PTE, PMD and PUD tables holds the hash slots. */
function hash64kLevels(): Level[] {
  const shape = hashShape(16);
  return [
    { name: 'pgd', manual: 'PGD (Linux)', shift: 44, bits: 8, entryBytes: 8, forms: [empty, hashTable('PUD table', 14)] },
    {
      name: 'pud',
      manual: 'PUD (Linux)',
      shift: 34,
      bits: 10,
      entryBytes: 8,
      tableBytes: 16384,
      forms: [empty, ...leafForms(shape, 34), hashTable('PMD table', 14), swapForm],
    },
    {
      name: 'pmd',
      manual: 'PMD (Linux)',
      shift: 24,
      bits: 10,
      entryBytes: 8,
      tableBytes: 16384,
      forms: [empty, ...leafForms(shape, 24), hashTable('PTE table', 12), swapForm],
    },
    { name: 'pte', manual: 'PTE (Linux)', shift: 16, bits: 8, entryBytes: 8, tableBytes: 4096, next: null, forms: pteForms(shape) },
  ];
}

/** The tree is software's: its root is the physical address of the PGD. */
function hashRoots(bits: number, shift: number): readonly RootRegister[] {
  const entries = 1 << bits;
  const check = (value: bigint): bigint => {
    if (value === 0n || (value & (BigInt(entries * 8) - 1n)) !== 0n || value >> 53n !== 0n)
      throw new RangeError(`expected the physical address of a PGD, a multiple of ${entries * 8} below 2^53`);
    return value;
  };
  return [
    {
      names: ['pgd'],
      of: 'user',
      doc: `physical address of mm->pgd; user addresses below 2^${bits + shift}`,
      resolve: (value) => ({
        table: check(value),
        level: 'pgd',
        ranges: [{ half: 'user', va: 0n, from: 0, to: entries }],
        label: `pgd 0x${value.toString(16)}`,
      }),
    },
    {
      names: ['swapper_pg_dir', 'kernel_pgd', 'pgd'],
      of: 'kernel',
      doc: 'physical address of swapper_pg_dir: vmalloc, I/O and vmemmap (the linear map is bolted into the hash table only)',
      resolve: (value, others) => {
        if (others.swapper_pg_dir === undefined && others.kernel_pgd === undefined && (others.mm !== undefined || others.context_id !== undefined))
          throw new RangeError("this is the PGD of a process, expected swapper_pg_dir, which serves the kernel's addresses");
        return {
          table: check(value),
          level: 'pgd',
          ranges: [{ half: 'kernel', va: KERNEL_VA, from: 0, to: entries }],
          label: `swapper_pg_dir 0x${value.toString(16)}`,
        };
      },
    },
  ];
}

const hash4kRegions: readonly Region[] = [
  { name: 'linear map', start: KERNEL_VA, end: 0xc0003d0000000000n },
  { name: 'vmalloc', start: 0xc0003d0000000000n, end: 0xc0003e0000000000n },
  { name: 'I/O', start: 0xc0003e0000000000n, end: 0xc0003f0000000000n },
  { name: 'vmemmap', start: 0xc0003f0000000000n, end: 0xc000400000000000n },
];

// --- modes ------------------------------------------------------------------------------------------------------------

const base = { family: 'powerpc', endian: 'big', specials: { hwpoison: true, migration: true, device: false, marker: false }, elfMachines: [21] } as const;
const radixSources = [
  'Power ISA 3.0B book III, 6.7 (radix tree translation)',
  'Linux arch/powerpc/include/asm/book3s/64/radix.h, radix-4k.h, radix-64k.h, pgtable.h',
];
const hashSources = ['Linux arch/powerpc/include/asm/book3s/64/hash.h, hash-4k.h, hash-64k.h, pgtable.h'];
const hugepdSources = [...hashSources, 'Linux 6.1 arch/powerpc/include/asm/book3s/64/hugetlb.h, arch/powerpc/mm/hugetlbpage.c'];

const radix = (pageShift: 12 | 16): PagingMode => ({
  ...base,
  name: `ppc64-radix-${pageShift === 12 ? '4k' : '64k'}`,
  title: `powerpc book3s/64, radix, ${sized[pageShift]} pages`,
  sources: radixSources,
  pageShift,
  vaBits: VA_BITS,
  paBits: 52,
  levels: radixLevels(pageShift),
  roots: radixRoots,
  regions: radixRegions,
  swap: book3s64Swap(pageShift),
  linux: book3s64Linux({ mmu: 'radix', pageShift, hugepd: false }),
});

const hash = (pageShift: 12 | 16, form: 'contiguous' | 'hugepd'): PagingMode => ({
  ...base,
  name: `ppc64-hash-${pageShift === 12 ? '4k' : '64k'}${form === 'hugepd' ? '-hugepd' : ''}`,
  title: `powerpc book3s/64, Linux's tree beside the hash table, ${sized[pageShift]} pages${form === 'hugepd' ? ' (with huge page directories, until 6.10)' : ''}`,
  sources: form === 'hugepd' ? hugepdSources : hashSources,
  pageShift,
  vaBits: pageShift === 12 ? 46 : 52,
  paBits: 50,
  levels: pageShift === 12 ? hash4kLevels(form) : hash64kLevels(),
  roots: pageShift === 12 ? hashRoots(9, 37) : hashRoots(8, 44),
  regions: pageShift === 12 ? hash4kRegions : radixRegions,
  swap: book3s64Swap(pageShift),
  linux: book3s64Linux({ mmu: 'hash', pageShift, hugepd: form === 'hugepd' && pageShift === 12 }),
});

export const powerpc64Modes: readonly PagingMode[] = [
  radix(12),
  radix(16),
  hash(12, 'contiguous'),
  hash(16, 'contiguous'),
  hash(12, 'hugepd'),
  hash(16, 'hugepd'),
];
