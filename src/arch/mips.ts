/**
 * MIPS32 and MIPS64, as Linux lays their tables out for its TLB refill handlers (the hardware knows only EntryLo0/1).
 * Sources: MIPS Architecture for Programmers volume III (EntryLo, fields PFN C D V G RI XI; KSEG0, XKPHYS, CKSEG0);
 * Linux arch/mips/include/asm/pgtable-bits.h, pgtable-32.h, pgtable-64.h, arch/mips/mm/tlbex.c, pgtable-64.c.
 *
 * The layout is that of release 2 and later cores (XI and RI have their places even where the CPU lacks them); 64-bit kernels
 * have the huge and special bits. EntryLo is the entry shifted right until G is bit 0.
 *
 * Invariants: table pointers are kernel virtual addresses; an unused slot points to `invalid_pte_table` or `invalid_pmd_table`, whose
 * entries are empty; there is no user bit: kernel mappings are the global ones.
 */
import { mipsLinux, mipsSwap } from './linux/mips.ts';
import type { Fields, Form, Level, PagingMode, PointerRule, Region, Root, RootRange, RootRegister } from './mode.ts';

const software: Fields = {
  PRESENT: '0 present (software)',
  WRITE: '1 writable (software)',
  ACCESSED: '2 accessed (software)',
  MODIFIED: '3 modified (software)',
};

const fields32: Fields = {
  ...software,
  XI: '4 execute inhibit',
  RI: '5 read inhibit',
  G: '6 global',
  V: '7 valid',
  D: '8 dirty: hardware may write',
  C: '11:9 cache coherency attribute',
};

const fields64: Fields = {
  ...software,
  HUGE: '4 huge page (software)',
  SPECIAL: '5 special (software)',
  XI: '6 execute inhibit',
  RI: '7 read inhibit',
  G: '8 global',
  V: '9 valid',
  D: '10 dirty: hardware may write',
  C: '13:11 cache coherency attribute',
};

/** What differs between the kernels. */
interface Shape {
  readonly wide: boolean;
  readonly pageShift: number;
}

const fieldsOf = (shape: Shape): Fields => (shape.wide ? fields64 : fields32);

/** Entry bits of a frame of `1 << shift` bytes: address bit 12 stands at bit 12 (32-bit kernels) or 14. */
function frameBits(shape: Shape, shift: number): Form['address'] {
  const up = shape.wide ? 2 : 0;
  return [[`${shape.wide ? 47 + up : 31}:${shift + up}`, shift]];
}

/**
 * Hardware uses an entry while V is set; Linux sets V when it first sees an access. So what the page allows is what software would
 * let pass: everything but RI and XI. On a CPU without RI and XI, RI marks PROT_NONE and V stays clear.
 */
function leafForm(shape: Shape, name: string, when: string, shift: number): Form {
  return {
    kind: 'leaf',
    name,
    when,
    fields: fieldsOf(shape),
    address: frameBits(shape, shift),
    allows: {
      read: 'PRESENT !RI',
      write: 'PRESENT WRITE',
      exec: 'PRESENT !XI !RI | PRESENT !XI V',
      user: '!G',
      global: 'G',
      dirty: 'MODIFIED',
      accessed: 'ACCESSED',
      present: 'PRESENT !RI | PRESENT WRITE | PRESENT V',
    },
  };
}

/** Table pointers: KSEG0 and KSEG1, or XKPHYS with any cache attribute, CKSEG0 and CKSEG1. */
const pointers32: readonly PointerRule[] = [
  { mask: 0xe0000000n, value: 0x80000000n, keep: 0x1fffffffn },
  { mask: 0xe0000000n, value: 0xa0000000n, keep: 0x1fffffffn },
];
const pointers64: readonly PointerRule[] = [
  { mask: 0xc000000000000000n, value: 0x8000000000000000n, keep: 0x07ffffffffffffffn },
  { mask: 0xffffffffe0000000n, value: 0xffffffff80000000n, keep: 0x1fffffffn },
  { mask: 0xffffffffe0000000n, value: 0xffffffffa0000000n, keep: 0x1fffffffn },
];

/** A pointer is sane when it lies in one of those segments and is aligned to a page. */
function tableForm(shape: Shape, name: string): Form {
  const inPage = (1n << BigInt(shape.pageShift)) - 1n;
  const when = (shape.wide ? pointers64 : pointers32).map((p) => `&0x${(p.mask | inPage).toString(16)}=0x${p.value.toString(16)}`).join(' | ');
  return { kind: 'table', name, when, address: [[`${shape.wide ? 63 : 31}:${shape.pageShift}`, shape.pageShift]] };
}

const emptyForm: Form = { kind: 'none', name: 'empty', when: '&=0' };
const sizeName = (shift: number): string => (shift >= 20 ? `${2 ** (shift - 20)}M page` : `${2 ** (shift - 10)}K page`);

function pteLevel(shape: Shape, bits: number): Level {
  const g = shape.wide ? '0xfffffffffffffeff' : '0xffffffbf';
  return {
    name: 'pte',
    manual: 'page table',
    shift: shape.pageShift,
    bits,
    entryBytes: shape.wide ? 8 : 4,
    forms: [
      { kind: 'none', name: 'empty', when: `&${g}=0`, fields: { G: fieldsOf(shape).G } },
      leafForm(shape, sizeName(shape.pageShift), 'PRESENT', shape.pageShift),
      { kind: 'nonpresent', name: 'swap-type entry', when: '!PRESENT', fields: { PRESENT: software.PRESENT } },
    ],
  };
}

/** A level of pointers; 64-bit kernels may have a huge page in the one above the page tables. */
function directory(shape: Shape, name: string, shift: number, bits: number, points: string): Level {
  const huge = shape.wide && points === 'page table';
  const size = sizeName(shift);
  return {
    name,
    manual: name === 'pgd' ? 'page global directory' : 'page middle directory',
    shift,
    bits,
    entryBytes: shape.wide ? 8 : 4,
    // A table is a page even where its entries take less.
    tableBytes: Math.max(2 ** shape.pageShift, 2 ** bits * (shape.wide ? 8 : 4)),
    forms: [
      emptyForm,
      ...(huge ? [leafForm(shape, size, 'HUGE PRESENT', shift), leafForm(shape, `${size}, invalid while it is split`, 'HUGE !PRESENT', shift)] : []),
      tableForm(shape, points),
    ],
  };
}

/** mm->pgd, physical or as the kernel holds it (kernel virtual). */
function resolver(shape: Shape, ranges: readonly RootRange[]) {
  return (value: bigint): Root => {
    const rule = (shape.wide ? pointers64 : pointers32).find((p) => (value & p.mask) === p.value);
    const table = rule ? value & rule.keep : value;
    if (!rule && value >> (shape.wide ? 48n : 32n) !== 0n)
      throw new RangeError(`expected a physical address or one in ${shape.wide ? 'XKPHYS or CKSEG0' : 'KSEG0'}`);
    if (table & 0xfffn) throw new RangeError('the top table is aligned to a page');
    return { table, level: 'pgd', ranges, label: `pgd 0x${value.toString(16)}` };
  };
}

function roots(shape: Shape, user: readonly RootRange[], kernel: readonly RootRange[]): RootRegister[] {
  return [
    {
      names: ['pgd'],
      of: 'both',
      doc: 'physical (or kernel virtual) address of the top table, mm->pgd; hardware has no register for it',
      resolve: resolver(shape, user),
    },
    { names: ['swapper_pg_dir'], of: 'kernel', doc: "the kernel's own top table", resolve: resolver(shape, kernel) },
  ];
}

/** 32-bit: kseg2 and kseg3 stand at their own place in every table. */
function ranges32(entries: number): RootRange[] {
  return [
    { half: 'user', va: 0n, from: 0, to: entries / 2 },
    { half: 'kernel', va: 0x80000000n, from: entries / 2, to: entries, supervisor: true },
  ];
}

/**
 * 64-bit: the index leaves out the high bits of an address, so a slot serves XKSEG (0xc000000000000000 upward) and, at the top of the table,
 * CKSSEG and CKSEG3 (the last GiB). Linux leaves the last 4 GiB of XKSEG unused for that; where a slot is larger than that, both meet in one.
 * `userTo`: entries that serve user space.
 */
function ranges64(entries: number, shift: number, userTo: number): { user: RootRange[]; kernel: RootRange[] } {
  const span = (n: number): bigint => BigInt(n) << BigInt(shift);
  const compat = (1n << 64n) - 0x80000000n;
  const high = Math.max(1, Math.ceil(2 ** (30 - shift)));
  const shared = 2 ** shift > 2 ** 32;
  const top: RootRange = {
    half: 'kernel',
    va: (1n << 64n) - span(high),
    from: entries - high,
    to: entries,
    supervisor: true,
    ...(shared ? { window: { from: compat, to: 1n << 64n } } : {}),
  };
  const xkseg = (from: number): RootRange => {
    const va = 0xc000000000000000n + span(from);
    const end = 0xc000000000000000n + span(entries) - 0x80000000n;
    return { half: 'kernel', va, from, to: shared ? entries : entries - high, supervisor: true, ...(shared ? { window: { from: va, to: end } } : {}) };
  };
  return {
    user: [{ half: 'user', va: 0n, from: 0, to: userTo }, ...(userTo < entries ? [...(shared ? [xkseg(userTo)] : []), top] : [])],
    kernel: [xkseg(0), top],
  };
}

const regions32: readonly Region[] = [{ name: 'kseg2 and kseg3 (vmalloc, fixmap)', start: 0xc0000000n, end: 0x100000000n }];
const regions64: readonly Region[] = [
  { name: 'xkseg (vmalloc)', start: 0xc000000000000000n, end: 0xc000800000000000n },
  { name: 'cksseg and ckseg3 (modules, fixmap)', start: 0xffffffffc0000000n, end: 0x10000000000000000n },
];

const base = {
  family: 'mips',
  sources: [
    'MIPS Architecture for Programmers volume III, EntryLo0/EntryLo1 and the segment map',
    'Linux arch/mips/include/asm/pgtable-bits.h, pgtable-32.h, pgtable-64.h, arch/mips/mm/tlbex.c',
  ],
  endian: 'little',
  specials: { hwpoison: false, migration: true, device: false },
  elfMachines: [8],
  sharedEmpty: true,
} as const;

function mode32(name: string, title: string, pageShift: number, pgdBits: number, pteBits: number): PagingMode {
  const shape: Shape = { wide: false, pageShift };
  const ranges = ranges32(2 ** pgdBits);
  return {
    ...base,
    name,
    title,
    pageShift,
    vaBits: 32,
    paBits: 32,
    levels: [directory(shape, 'pgd', pageShift + pteBits, pgdBits, 'page table'), pteLevel(shape, pteBits)],
    roots: roots(shape, ranges, ranges),
    pointers: pointers32,
    linearBase: 0x80000000n,
    regions: regions32,
    swap: mipsSwap(false),
    linux: mipsLinux(false, pageShift, 2 ** (pgdBits - 1)),
  };
}

/** `userTo`: top entries that serve user space; the rest of a process's table is the kernel's. */
function mode64(name: string, title: string, pageShift: number, bits: { pgd: number; pmd: number; pte: number }, userTo: number): PagingMode {
  const shape: Shape = { wide: true, pageShift };
  const pmdShift = pageShift + bits.pte;
  const pgdShift = pmdShift + bits.pmd;
  const ranges = ranges64(2 ** bits.pgd, pgdShift, userTo);
  const top =
    bits.pmd === 0
      ? [directory(shape, 'pgd', pgdShift, bits.pgd, 'page table')]
      : [directory(shape, 'pgd', pgdShift, bits.pgd, 'page middle directory'), directory(shape, 'pmd', pmdShift, bits.pmd, 'page table')];
  return {
    ...base,
    name,
    title,
    pageShift,
    vaBits: pgdShift + bits.pgd,
    paBits: 48,
    levels: [...top, pteLevel(shape, bits.pte)],
    roots: roots(shape, ranges.user, ranges.kernel),
    pointers: pointers64,
    linearBase: 0x9800000000000000n,
    regions: regions64,
    swap: mipsSwap(true),
    linux: mipsLinux(true, pageShift, 2 ** (40 - pgdShift)),
  };
}

export const mipsModes: readonly PagingMode[] = [
  mode32('mips32-4k', 'MIPS32, 4K pages (2-level)', 12, 10, 10),
  mode32('mips32-16k', 'MIPS32, 16K pages (2-level)', 14, 6, 12),
  mode64('mips64-4k', 'MIPS64, 4K pages (3-level)', 12, { pgd: 10, pmd: 9, pte: 9 }, 1024),
  mode64('mips64-16k', 'MIPS64, 16K pages (3-level)', 14, { pgd: 11, pmd: 11, pte: 11 }, 2047),
  mode64('mips64-64k', 'MIPS64, 64K pages (2-level)', 16, { pgd: 13, pmd: 0, pte: 13 }, 8190),
];
