/**
 * PowerPC e500 (Book E, nohash) with 64-bit PTEs: 32-bit two-level, 64-bit (e5500, e6500) four-level tables; pages of 4K and 4M … 1G.
 * Sources: Power ISA 2.07 Book III-E chapter 6 (MAS registers, TLB entry fields); Freescale EREF; Linux
 * arch/powerpc/include/asm/nohash/pte-e500.h, hugetlb-e500.h, nohash/{32,64}/pgtable.h, arch/powerpc/mm/pgtable.c, mm/nohash/.
 *
 * Invariants: hardware reads no tables (e6500: no huge pages in them), so the format is Linux's own; protection bits lie as MAS3 wants them. Table
 * pointers are kernel virtual addresses, their top bit set. A huge page stands in neighbouring upper entries, each with the frame of its own part and
 * the page size in TSIZE (size = 1K << 2·TSIZE: powers of 4); before Linux 6.11 (`-hugepd`) its slots hold one huge page directory: the pointer with the
 * top bit clear and log2 of the page size in the low bits, and TSIZE (then size = 1K << TSIZE) keeps the value of 4K.
 */
import { linuxE500, swapE500 } from './linux/powerpc-e500.ts';
import type { Allows, Fields, Form, Group, Level, PagingMode, PointerRule, RootRegister } from './mode.ts';
import { pgdRoot, tableAddress } from './powerpc-common.ts';

const fields = (hugepd: boolean): Fields => ({
  PRESENT: '0 present',
  SW1: '1 software 1',
  SR: '2 supervisor read',
  UR: '3 user read',
  SW: '4 supervisor write',
  UW: '5 user write',
  SX: '6 supervisor execute',
  UX: '7 user execute',
  TSIZE: `11:8 page size: 1K << ${hugepd ? 'TSIZE' : '2 * TSIZE'}`,
  DIRTY: '12 dirty (software)',
  SW0: '13 software 0 (special)',
  U3: '14 user attribute 3',
  U2: '15 user attribute 2',
  U1: '16 user attribute 1',
  U0: '17 user attribute 0',
  ACCESSED: '18 accessed (software)',
  E: '19 little-endian page',
  G: '20 guarded',
  M: '21 memory coherence required',
  I: '22 caching inhibited',
  W: '23 write-through required',
});

/** A page is the user's when user mode may do anything with it; then the user's bits count, else the supervisor's. */
const allows: Allows = {
  read: 'UR | SR !UW !UX',
  write: 'UW | SW !UR !UX',
  exec: 'UX | SX !UR !UW',
  user: 'UR | UW | UX',
  dirty: 'DIRTY',
  accessed: 'ACCESSED',
};

const RPN: Form['address'] = [['63:24', 12]];

interface Shape {
  readonly wide: boolean;
  readonly hugepd: boolean;
}

const noneForm = (low: boolean): Form => ({ kind: 'none', name: 'empty', when: low ? '&0xffffffff=0' : '&=0' });

/** PTEs; on 32-bit the kernel looks at the low word alone to tell an empty one. */
const pteForms = (shape: Shape, name: string, size?: number): Form[] => [
  noneForm(!shape.wide),
  { kind: 'leaf', name, when: 'PRESENT', fields: fields(shape.hugepd), address: RPN, allows, ...(size ? { size } : {}) },
  { kind: 'nonpresent', name: 'swap-type entry', when: '!PRESENT', fields: { PRESENT: '0 present' } },
];

/** log2 of the huge page sizes by the shift of the slot that holds them. */
const HUGE: Readonly<Record<number, Readonly<Record<number, readonly number[]>>>> = {
  32: { 21: [22, 24, 26, 28, 30] },
  64: { 21: [22, 24, 26], 28: [28, 30] },
};

const hugeIn = (shape: Shape, slot: number): readonly number[] => HUGE[shape.wide ? 64 : 32][slot] ?? [];

/** From 6.11: leaves in upper entries, in runs where the page is larger than the slot. */
function leafForm(shape: Shape, slot: number): Form {
  const sizes = hugeIn(shape, slot);
  const tsize = (shift: number): number => (shift - 10) / 2;
  const groups = sizes
    .filter((s) => s > slot)
    .map((s): Group => ({ when: `TSIZE=${tsize(s)}`, entries: 2 ** (s - slot), address: 'advance', mayDiffer: 'ACCESSED DIRTY' }));
  const top = shape.wide ? '&0x8000000000000000=0 ' : '';
  return { kind: 'leaf', name: 'huge page', when: `${top}PRESENT TSIZE=${sizes.map(tsize).join(',')}`, fields: fields(false), address: RPN, allows, groups };
}

/** Until 6.10: one form for each page size. */
const hugepdForms = (shape: Shape, slot: number): Form[] =>
  hugeIn(shape, slot).map(
    (shift): Form => ({
      kind: 'hugepd',
      name: `huge page directory, ${2 ** (shift - (shift < 30 ? 20 : 30))}${shift < 30 ? 'M' : 'G'}`,
      when: shape.wide ? `&0x800000000000003f=0x${shift.toString(16)}` : `&0x8000003f=0x${shift.toString(16)}`,
      fields: { SHIFT: '5:0 log2 of the page size' },
      // The top bit is no address bit here: it is what tells a directory of huge pages from a table.
      address: shape.wide
        ? [
            ['62:32', 32],
            ['31:6', 6],
          ]
        : [['30:6', 6]],
      next: `hugepte-${shift}`,
    }),
  );

/** A kernel pointer, aligned to the size of the table below. */
function tableForm(shape: Shape, name: string, align: number): Form {
  const low: [string, number] = [`31:${align}`, align];
  if (shape.wide) return { kind: 'table', name, when: '&0x8000000000000000!=0', address: [['63:32', 32], low] };
  return { kind: 'table', name, when: shape.hugepd ? '&0x80000000!=0' : '&0xf00=0 &0xfffffffffffff000!=0', address: [low] };
}

function upper(shape: Shape, name: string, shift: number, bits: number, points: string, align: number): Level {
  const huge = hugeIn(shape, shift);
  const special = huge.length === 0 ? [] : shape.hugepd ? hugepdForms(shape, shift) : [leafForm(shape, shift)];
  return {
    name,
    manual: `${name} table`,
    shift,
    bits,
    // 32-bit: entries grew to 64 bits so that a PTE fits into them.
    entryBytes: shape.wide || !shape.hugepd ? 8 : 4,
    forms: [noneForm(!shape.wide && shape.hugepd), ...special, tableForm(shape, points, align)],
  };
}

function levels(shape: Shape): Level[] {
  const pte: Level = { name: 'pte', manual: 'page table', shift: 12, bits: 9, entryBytes: 8, forms: pteForms(shape, '4K page'), next: null };
  const above = shape.wide
    ? [upper(shape, 'pgd', 37, 9, 'PUD table', 12), upper(shape, 'pud', 28, 9, 'PMD table', 10), upper(shape, 'pmd', 21, 7, 'page table', 12)]
    : [upper(shape, 'pgd', 21, 11, 'page table', 12)];
  const directories = shape.hugepd ? above.flatMap((l) => hugeIn(shape, l.shift).map((shift) => hugepte(shape, l.shift, shift))) : [];
  return [...above, pte, ...directories];
}

/** The table behind a huge page directory: one entry, to which all slots of the page point. */
const hugepte = (shape: Shape, slot: number, shift: number): Level => ({
  name: `hugepte-${shift}`,
  manual: 'huge page directory',
  shift: slot,
  bits: 0,
  entryBytes: 8,
  forms: pteForms(shape, 'huge page', 2 ** shift),
  next: null,
});

/** Linear map from PAGE_OFFSET; in a huge page directory the top bit of the pointer is cleared. */
const narrowPointers: readonly PointerRule[] = [
  { mask: 0xc0000000n, value: 0xc0000000n, keep: 0x3fffffffn },
  { mask: 0xc0000000n, value: 0x40000000n, keep: 0x3fffffffn },
];
const widePointers: readonly PointerRule[] = [
  { mask: 0xf000000000000000n, value: 0xc000000000000000n, keep: 0x0fffffffffffffffn },
  { mask: 0xf000000000000000n, value: 0x4000000000000000n, keep: 0x0fffffffffffffffn },
];

const KERNEL64 = 0xc000000000000000n;

const wideRoot = (names: readonly string[], of: 'user' | 'kernel', va: bigint, doc: string): RootRegister => ({
  names,
  of,
  doc,
  resolve: (value) => ({
    table: tableAddress(value, 4096, KERNEL64),
    level: 'pgd',
    ranges: [{ half: of, va, from: 0, to: 512 }],
    label: `${names[0]} 0x${value.toString(16)}`,
  }),
});

const mode = (shape: Shape): PagingMode => ({
  name: `${shape.wide ? 'ppc64' : 'ppc'}-e500${shape.hugepd ? '-hugepd' : ''}`,
  family: 'powerpc',
  title: `PowerPC e500, ${shape.wide ? '64-bit (4 levels)' : '32-bit with 64-bit PTEs (2 levels)'}${shape.hugepd ? ', huge page directories (until Linux 6.10)' : ''}`,
  sources: [
    'Power ISA 2.07 Book III-E, chapter 6',
    'Linux arch/powerpc/include/asm/nohash/pte-e500.h, hugetlb-e500.h, nohash/32/pgtable.h, nohash/64/pgtable.h',
  ],
  endian: 'big',
  pageShift: 12,
  vaBits: shape.wide ? 46 : 32,
  paBits: shape.wide ? 40 : 36,
  levels: levels(shape),
  roots: shape.wide
    ? [
        wideRoot(['pgd'], 'user', 0n, 'physical address of the PGD of a process'),
        wideRoot(
          ['kernel_pgd', 'swapper_pg_dir'],
          'kernel',
          KERNEL64,
          "physical address of the kernel's PGD (the PACA holds it); it translates the virtual areas above the linear map",
        ),
      ]
    : [
        pgdRoot(['pgd'], {
          bits: 11,
          tableBytes: shape.hugepd ? 8192 : 16384,
          kernel: 0xc0000000n,
          shift: 21,
          doc: 'physical address of the PGD; user space ends at PAGE_OFFSET 0xc0000000',
        }),
      ],
  pointers: shape.wide ? widePointers : narrowPointers,
  linearBase: shape.wide ? KERNEL64 : 0xc0000000n,
  ...(shape.wide ? { regions: [{ name: 'linear map', start: KERNEL64, end: 0xc000100000000000n }] } : {}),
  swap: swapE500(shape.wide),
  specials: { hwpoison: false, migration: true, device: false, marker: false },
  linux: linuxE500(shape),
  elfMachines: [shape.wide ? 21 : 20],
});

export const e500Modes: readonly PagingMode[] = [
  mode({ wide: false, hugepd: false }),
  mode({ wide: false, hugepd: true }),
  mode({ wide: true, hugepd: false }),
  mode({ wide: true, hugepd: true }),
];
