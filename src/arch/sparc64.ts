/**
 * sparc64: Linux's four-level tables of 8K, whose lowest entries are TTEs as the CPU wants them in its TSB: the sun4u form
 * (UltraSPARC I to IV) and the sun4v form (under a hypervisor, UltraSPARC T1 and later).
 * Sources: UltraSPARC III Cu User's Manual chapter 12 (TTE), SPARC64-V and Panther extensions (Size2); UltraSPARC Architecture 2007
 * section 14 (sun4v TTE); Linux arch/sparc/include/asm/pgtable_64.h, arch/sparc/mm/hugetlbpage.c, tlb.c, tsb.c.
 *
 * Invariants: table pointers are physical addresses without flags; the top bit of a TTE is V; a huge page stands in the highest
 * level that it fills (64K in PTEs, 8M to 2G in PMDs, 16G in PUDs), as a run of entries that each map their own piece and tell the
 * size of the whole. The 8M page has size code 4M, because hardware needs two entries for it.
 */
import { type Sparc64Form, sparc64Linux, sparc64Swap, sun4u, sun4v } from './linux/sparc64.ts';
import type { Allows, Fields, Form, Group, Level, PagingMode, Root, RootRange, RootRegister } from './mode.ts';

/** Form-independent marks. */
const marks: Fields = { V: '63 valid (Linux: referenced)', SPECIAL: '57 special (software)', HUGE: '56 huge, in PMDs and PUDs (software)' };

const fields4u: Fields = {
  ...marks,
  SZ: '48,62:61 page size',
  NFO: '60 no-fault only',
  IE: '59 invert endianness',
  SOFT2: '58,55:50 soft2, free for software',
  SN: '47 snoop (Cheetah)',
  EXEC: '12 executable (software)',
  MODIFIED: '11 modified (software)',
  ACCESSED: '10 accessed (software)',
  READ: '9 readable (software)',
  WRITE: '8 writable (software)',
  PRESENT: '7 present (software)',
  L: '6 locked in the TLB',
  CP: '5 cacheable in the physical cache',
  CV: '4 cacheable in the virtual cache',
  E: '3 side effect',
  P: '2 privileged',
  W: '1 writable',
  G: '0 global',
};

const fields4v: Fields = {
  ...marks,
  NFO: '62 no-fault only',
  MODIFIED: '61 modified (software)',
  ACCESSED: '60 accessed (software)',
  READ: '59 readable (software)',
  WRITE: '58 writable (software)',
  IE: '12 invert endianness',
  E: '11 side effect',
  CP: '10 cacheable in the physical cache',
  CV: '9 cacheable in the virtual cache; on an M7 the memory corruption detection enable',
  P: '8 privileged',
  X: '7 executable',
  W: '6 writable',
  SOFT: '5 free for software',
  PRESENT: '4 present (software)',
  SZ: '2:0 page size',
};

/** Sizes of the whole that a size code tells, as runs at each level: log2 of bytes by code. */
interface Shape {
  readonly fields: Fields;
  readonly exec: string;
  /** Highest physical address bit of the frame field. */
  readonly paBits: number;
  readonly sizes: Readonly<Record<number, number>>;
  readonly global?: string;
  readonly form: Sparc64Form;
}

const shape4u: Shape = { fields: fields4u, exec: 'EXEC', paBits: 43, sizes: { 1: 16, 2: 19, 3: 22, 4: 25, 5: 28 }, global: 'G', form: sun4u };
const shape4v: Shape = { fields: fields4v, exec: 'X', paBits: 56, sizes: { 1: 16, 2: 19, 3: 22, 4: 25, 5: 28, 6: 31, 7: 34 }, form: sun4v };

/** Sizes that take several entries of a level and fit one of its tables. */
function groupsAt(shape: Shape, shift: number): Group[] {
  return Object.entries(shape.sizes)
    .filter(([, size]) => size > shift && size <= shift + 10)
    .map(([code, size]) => ({ when: `SZ=${code}`, entries: 2 ** (size - shift), address: 'advance' as const }));
}

/** V is clear on a page that software has not yet seen used: what the page allows is what the fault handler would let pass. */
const allowsOf = (shape: Shape): Allows => ({
  read: 'READ | V',
  // The kernel's map of RAM has hardware's bit alone.
  write: 'WRITE | W',
  exec: shape.exec,
  user: '!P',
  ...(shape.global ? { global: shape.global } : {}),
  dirty: 'MODIFIED',
  accessed: 'ACCESSED',
  present: `V | READ | WRITE | ${shape.exec}`,
});

function leaf(shape: Shape, name: string, when: string, shift: number): Form {
  return {
    kind: 'leaf',
    name,
    when,
    fields: shape.fields,
    address: [[`${shape.paBits - 1}:${shift}`, shift]],
    allows: allowsOf(shape),
    groups: groupsAt(shape, shift),
  };
}

const none: Form = { kind: 'none', name: 'empty', when: '&=0' };

function directory(shape: Shape, name: string, manual: string, shift: number, points: string, page?: string): Level {
  return {
    name,
    manual,
    shift,
    bits: 10,
    entryBytes: 8,
    forms: [
      none,
      ...(page ? [leaf(shape, page, 'HUGE', shift)] : []),
      { kind: 'table', name: points, when: '&0xffe0000000001fff=0', address: [['52:13', 13]] },
    ],
  };
}

function levels(shape: Shape): Level[] {
  return [
    directory(shape, 'pgd', 'page global directory', 43, 'page upper directory'),
    directory(shape, 'pud', 'page upper directory', 33, 'page middle directory', '8G piece of a 16G page'),
    directory(shape, 'pmd', 'page middle directory', 23, 'page table', '8M page'),
    {
      name: 'pte',
      manual: 'page table',
      shift: 13,
      bits: 10,
      entryBytes: 8,
      forms: [
        none,
        leaf(shape, '8K page', 'PRESENT', 13),
        { kind: 'nonpresent', name: 'swap-type entry', when: '!PRESENT', fields: { PRESENT: shape.fields.PRESENT } },
      ],
    },
  ];
}

/** Addresses are sign-extended: the upper half of the table serves the top of the address space, for user and kernel alike. */
const wholeSpace = (half: 'user' | 'kernel'): RootRange[] => [
  { half, va: 0n, from: 0, to: 512, supervisor: half === 'kernel' },
  { half, va: (1n << 64n) - (1n << 52n), from: 512, to: 1024, supervisor: half === 'kernel' },
];

function top(name: string, half: 'user' | 'kernel', doc: string): RootRegister {
  return {
    names: [name],
    of: half,
    doc,
    resolve: (value): Root => {
      if (value === 0n || value & 0x1fffn || value >> 53n !== 0n) throw new RangeError('expected the physical address of the top table, a multiple of 8 KiB');
      return { table: value, level: 'pgd', ranges: wholeSpace(half), label: `${name} 0x${value.toString(16)}` };
    },
  };
}

function mode(name: string, title: string, shape: Shape): PagingMode {
  return {
    name,
    family: 'sparc64',
    title,
    sources: [
      'UltraSPARC III Cu User’s Manual, TTE format',
      'UltraSPARC Architecture 2007, sun4v TTE format',
      'Linux arch/sparc/include/asm/pgtable_64.h, arch/sparc/mm/hugetlbpage.c',
    ],
    endian: 'big',
    pageShift: 13,
    vaBits: 53,
    paBits: shape.paBits,
    levels: levels(shape),
    roots: [
      top('pgd', 'user', "physical address of the process's top table; the TSB miss handlers keep it in a scratch register"),
      top('swapper_pg_dir', 'kernel', "physical address of the kernel's top table"),
    ],
    swap: sparc64Swap,
    specials: { hwpoison: false, migration: true, device: false },
    linux: sparc64Linux(shape.form, shape.exec),
    elfMachines: [43],
  };
}

export const sparc64Modes: readonly PagingMode[] = [
  mode('sparc64', 'sparc64, sun4v under its short name', shape4v),
  mode('sparc64-sun4v', 'sparc64, sun4v TTEs (UltraSPARC T1 and later), 8K pages (4-level)', shape4v),
  mode('sparc64-sun4u', 'sparc64, sun4u TTEs (UltraSPARC I to IV), 8K pages (4-level)', shape4u),
];
