/**
 * LoongArch64: page tables that software lays out and hardware walks (LDDIR, LDPTE, or a page-table walker), as Linux builds them with 4K, 16K and 64K pages.
 * Sources: LoongArch Reference Manual volume 1, 5.4 "Page table mapping", 5.4.5 "Multi-level page table", 7.5 (CSR PGDL, PGDH, PWCL, PWCH, DMW0–3);
 * Linux arch/loongarch/include/asm/pgtable.h, pgtable-bits.h.
 *
 * Invariants: table pointers are virtual addresses in a direct-mapped window (top nibble 8 uncached, 9 cached, a write-combined); an unused slot holds the
 * address of an empty table that all share, not zero. A directory entry with H maps a page of its span; global is then bit 12, since H stands where G is.
 * V doubles as Linux's young bit and D as its dirty bit of writable pages, so a leaf grants what P and W promise. Lower half of the address
 * space: PGDL; upper half (bit 63): PGDH.
 */
import { loongarchLinux, loongarchSwap } from './linux/loongarch.ts';
import type { Allows, Fields, Form, Level, LevelName, PagingMode, Registers, Root, RootRegister } from './mode.ts';

const fields: Fields = {
  V: '0 valid (young in Linux)',
  D: '1 dirty: stores are allowed',
  PLV: '3:2 privilege level (3 user)',
  MAT: '5:4 memory access type: 0 strongly ordered uncached (SUC), 1 coherent cached (CC), 2 weakly ordered uncached (WUC)',
  P: '7 physical page exists (present in Linux)',
  W: '8 writable',
  MODIFIED: '9 software: dirty',
  PROTNONE: '10 software: present but inaccessible',
  SPECIAL: '11 software: special',
  DEVMAP: ['..6.17 59 software: device memory with struct pages'],
  PRESENT_INVALID: '60 software: being split',
  NR: '61 not readable',
  NX: '62 not executable',
  RPLV: '63 only privilege level PLV itself may access',
};

/** V D: what the hardware lets through whatever the software bits say. */
const granted: Allows = {
  read: 'P !NR | V !NR',
  write: 'P W | V D',
  exec: 'P !NX | V !NX',
  user: 'PLV=3',
  global: 'G',
  dirty: 'D | MODIFIED',
  accessed: 'V',
  present: 'P | V',
};

const none: Form = { kind: 'none', name: 'empty', when: '&0xffffffffffffffbf=0', fields: { G: '6 global: the other entry of the pair is' } };

/** The last level. Its swap-type words have the low 16 bits clear; V without P or PROTNONE is nothing that Linux writes. */
function lastLevel(pageShift: number): Form[] {
  return [
    none,
    {
      kind: 'leaf',
      name: `${1 << (pageShift - 10)}K page`,
      when: 'P | PROTNONE',
      fields: { ...fields, G: '6 global' },
      address: [[`47:${pageShift}`, pageShift]],
      allows: granted,
    },
    { kind: 'nonpresent', name: 'swap-type entry', when: '!P !PROTNONE !V', fields: { V: fields.V, P: fields.P, PROTNONE: fields.PROTNONE } },
  ];
}

/** A directory: huge page, swap-type entry of one (both with H), or the pointer to a table, which is aligned to a page. */
function directory(shift: number, size: string, next: string, pageShift: number): Form[] {
  const low = (1n << BigInt(pageShift)) - 1n;
  const H = '6 huge page';
  return [
    { kind: 'none', name: 'empty', when: '&=0' },
    {
      kind: 'leaf',
      name: `${size} page`,
      when: 'H P | H PROTNONE | H PRESENT_INVALID',
      fields: { ...fields, H, G: '12 global' },
      address: [[`47:${shift}`, shift]],
      allows: granted,
    },
    {
      kind: 'nonpresent',
      name: 'swap-type entry',
      when: 'H !P !PROTNONE !PRESENT_INVALID !V',
      fields: { V: fields.V, P: fields.P, PROTNONE: fields.PROTNONE, H, PRESENT_INVALID: fields.PRESENT_INVALID },
    },
    { kind: 'table', name: next, when: `!H &0x${low.toString(16)}=0`, fields: { H }, address: [[`63:${pageShift}`, pageShift]] },
  ];
}

const sizeText = (shift: number): string => (shift >= 30 ? `${2 ** (shift - 30)}G` : `${2 ** (shift - 20)}M`);

/** Levels top down: every table fills one page. */
function levelsOf(pageShift: number, names: readonly LevelName[]): Level[] {
  const bits = pageShift - 3;
  return names.map((name, i) => {
    const depth = names.length - 1 - i;
    const shift = pageShift + depth * bits;
    const forms = depth === 0 ? lastLevel(pageShift) : directory(shift, sizeText(shift), depth === 1 ? 'page table' : `directory ${depth - 1}`, pageShift);
    return { name, manual: depth === 0 ? 'page table' : `directory ${depth}`, shift, bits, entryBytes: 8, forms };
  });
}

/** Windows of direct mapping that Linux sets up (CSR DMW0 … DMW2). */
const WINDOWS = [0x8000000000000000n, 0x9000000000000000n, 0xa000000000000000n];
const LOW48 = (1n << 48n) - 1n;
const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** Top table of a PGDL, PGDH or PGD: a direct-mapped address as the CSR holds it, or a physical one. */
function topTable(value: bigint): bigint {
  const window = value & ~LOW48;
  if (window !== 0n && !WINDOWS.includes(window))
    throw new RangeError(`${hex(value)} lies in no direct-mapped window; expected a physical address or one that begins with 0x8000, 0x9000 or 0xa000`);
  if ((value & 0xfffn) !== 0n) throw new RangeError(`${hex(value)} is not aligned to 4 KiB, as a top table must be`);
  return value & LOW48;
}

/** What PWCL and PWCH say of the geometry: (base, width) of the page table and of each directory that exists, lowest first. */
function geometry(pwcl: bigint, pwch: bigint): [number, number][] {
  const five = (word: bigint, at: number, width = 5): number => Number((word >> BigInt(at)) & ((1n << BigInt(width)) - 1n));
  const all: [number, number][] = [
    [five(pwcl, 0), five(pwcl, 5)],
    [five(pwcl, 10), five(pwcl, 15)],
    [five(pwcl, 20), five(pwcl, 25)],
    [five(pwch, 0, 6), five(pwch, 6, 6)],
    [five(pwch, 12, 6), five(pwch, 18, 6)],
  ];
  return all.filter(([, width]) => width > 0);
}

/** PWCL and PWCH, where known, must describe the levels of the mode. */
function checkGeometry(levels: readonly Level[], others: Registers): void {
  if (others.pwcl === undefined || others.pwch === undefined) return;
  const said = geometry(others.pwcl, others.pwch)
    .map(([base, width]) => `${base}/${width}`)
    .join(', ');
  const own = [...levels]
    .reverse()
    .map((l) => `${l.shift}/${l.bits}`)
    .join(', ');
  if (said !== own) throw new RangeError(`PWCL and PWCH describe levels (shift/bits) ${said}, this mode has ${own}`);
}

/** Where Linux's mapped kernel space begins: the lowest address of the upper half of 47 implemented bits and sign. */
const KERNEL = 0xffff800000000000n;

function rootsOf(levels: readonly Level[]): RootRegister[] {
  const top = levels[0];
  const root = (name: string, value: bigint, half: 'user' | 'kernel', others: Registers): Root => {
    checkGeometry(levels, others);
    return {
      table: topTable(value),
      level: top.name,
      ranges: [{ half, va: half === 'user' ? 0n : KERNEL, from: 0, to: 2 ** top.bits }],
      label: `${name.toUpperCase()} ${hex(value)}`,
    };
  };
  const isKernels = (value: bigint, others: Registers): boolean => others.pgdh !== undefined && (others.pgdh & LOW48) === (value & LOW48);
  return [
    {
      names: ['pgdl'],
      of: 'user',
      doc: 'CSR PGDL: top table of the lower half, a direct-mapped or physical address',
      resolve: (value, others) => root('pgdl', value, 'user', others),
    },
    {
      names: ['pgdh'],
      of: 'kernel',
      doc: 'CSR PGDH: top table of the upper half, a direct-mapped or physical address',
      resolve: (value, others) => root('pgdh', value, 'kernel', others),
    },
    {
      names: ['pgd'],
      of: 'user',
      doc: "a process's top table (mm->pgd), physical or direct-mapped; the kernel's where PGDH says the same",
      resolve: (value, others) => root('pgd', value, isKernels(value, others) ? 'kernel' : 'user', others),
    },
  ];
}

function loongarch(page: '4k' | '16k' | '64k', pageShift: number, names: readonly LevelName[]): PagingMode {
  const levels = levelsOf(pageShift, names);
  const vaBits = levels[0].shift + levels[0].bits;
  return {
    name: `loongarch64-${page}`,
    family: 'loongarch',
    title: `LoongArch64, ${page.toUpperCase()} pages, ${names.length} levels`,
    sources: [
      'LoongArch Reference Manual volume 1, 5.4 "Page table mapping" and 7.5 "Control and status registers for page tables"',
      'Linux arch/loongarch/include/asm/pgtable.h, pgtable-bits.h',
    ],
    endian: 'little',
    pageShift,
    vaBits,
    paBits: 48,
    levels,
    roots: rootsOf(levels),
    pointers: WINDOWS.map((value) => ({ mask: ~LOW48 & ((1n << 64n) - 1n), value, keep: LOW48 })),
    linearBase: WINDOWS[1],
    sharedEmpty: true,
    regions: [
      { name: 'PCI I/O', start: KERNEL, end: KERNEL + 0x2000000n },
      { name: 'modules, vmalloc, vmemmap', start: KERNEL + 0x2000000n, end: KERNEL + (1n << BigInt(vaBits)) },
    ],
    specials: { hwpoison: false, migration: true, device: true },
    swap: loongarchSwap,
    linux: loongarchLinux(pageShift),
    elfMachines: [258],
  };
}

export const loongarchModes: readonly PagingMode[] = [
  loongarch('4k', 12, ['pgd', 'pmd', 'pte']),
  loongarch('16k', 14, ['pgd', 'pmd', 'pte']),
  loongarch('64k', 16, ['pgd', 'pte']),
];
