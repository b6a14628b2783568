/**
 * RISC-V: Sv32, Sv39, Sv48 and Sv57, with Svnapot (64 KiB pages), Svpbmt (memory types), Svadu (A and D set by hardware) and Svrsw60t59b (two more software bits).
 * Sources: RISC-V Privileged Architecture, chapter "Supervisor-Level ISA" (sections on Sv32 … Sv57 and on these extensions); Linux arch/riscv/include/asm/pgtable*.h.
 *
 * Invariants: an entry with V is a leaf exactly when one of R, W and X is set, at any level but the last, where it is a leaf always; W without R is a
 * reserved encoding and grants nothing. One table serves both halves of the address space. A NAPOT leaf is sixteen equal entries: bits 13:10 hold the size
 * code, hence the address starts at 64 KiB. The vendor memory types of T-Head cores (bits 63:59) are not declared: they come out as reserved bits.
 */
import { riscvLinux, riscvSwap } from './linux/riscv.ts';
import type { Allows, Fields, Form, Level, LevelName, PagingMode, Region, Root, RootRegister } from './mode.ts';

const rights: Fields = {
  V: '0 valid',
  R: '1 read',
  W: '2 write',
  X: '3 execute',
  U: '4 user',
  G: '5 global (PROT_NONE in Linux while V is clear)',
  A: '6 accessed',
  D: '7 dirty',
};
const software: Fields = {
  SPECIAL: '8 RSW: software (special)',
  DEVMAP: ['..6.17 9 RSW: software (device memory with struct pages)', '6.17.. 9 RSW: software'],
};
/** What 64-bit entries hold above the page number. */
const high: Fields = {
  SOFT_DIRTY: ['6.19.. 59 Svrsw60t59b: software (soft-dirty)'],
  UFFD_WP: ['6.19.. 60 Svrsw60t59b: software (userfaultfd write protection)'],
  PBMT: '62:61 Svpbmt memory type: 0 as the region says (PMA), 1 non-cacheable (NC), 2 I/O (IO)',
};

const granted: Allows = { read: 'V R', write: 'V R W', exec: 'V X', user: 'U', global: 'V G', dirty: 'D', accessed: 'A', present: 'V' };
const nothing: Allows = { read: '0', write: '0', exec: '0', user: 'U', dirty: 'D', accessed: 'A', present: '0' };

/** Any of the three permission bits that make an entry a leaf, beside `v`. */
const anyOf = (v: string): string => ['R', 'W', 'X'].map((bit) => `${v} ${bit}`).join(' | ');

const none: Form = { kind: 'none', name: 'empty', when: '&=0' };
/** Linux's own word: the bits of a leaf and PROT_NONE's are clear. On the last level R, W and X do not matter. */
const swapType = (when: string): Form => ({ kind: 'nonpresent', name: 'swap-type entry', when, fields: { V: rights.V, G: rights.G } });

function lastLevel(wide: boolean): Form[] {
  const fields = { ...rights, ...software, ...(wide ? { ...high, N: '63 Svnapot: part of a larger page' } : {}) };
  const page: Form = { kind: 'leaf', name: '4K page', when: wide ? 'V !N' : 'V', fields, address: [[wide ? '53:10' : '31:10', 12]], allows: granted };
  const without: Form = { ...page, name: '4K page, PROT_NONE', when: wide ? '!V G !N' : '!V G', allows: nothing };
  const napot: Form = {
    kind: 'leaf',
    name: '64K NAPOT page',
    when: 'V N NAPOT=8',
    fields: { ...fields, NAPOT: '13:10 size code (1000 = 64 KiB, all others reserved)' },
    address: [['53:14', 16]],
    allows: granted,
    groups: [{ when: 'N', entries: 16, address: 'same', mayDiffer: 'A D' }],
  };
  const napotWithout: Form = { ...napot, name: '64K NAPOT page, PROT_NONE', when: '!V G N NAPOT=8', allows: nothing };
  return [none, page, ...(wide ? [napot] : []), without, ...(wide ? [napotWithout] : []), swapType('!V !G')];
}

/** A level above the last: the leaf of `1 << shift` bytes, or the next table. */
function upperLevel(wide: boolean, shift: number, size: string, next: string): Form[] {
  const bit = shift - 2;
  const leaf: Form = {
    kind: 'leaf',
    name: `${size} page`,
    when: anyOf('V'),
    fields: { ...rights, ...software, ...(wide ? high : {}) },
    address: [[`${wide ? 53 : 31}:${bit}`, shift]],
    allows: granted,
  };
  const table: Form = {
    kind: 'table',
    name: next,
    when: 'V',
    fields: { V: rights.V, R: rights.R, W: rights.W, X: rights.X, G: '5 global: so is all below', RSW: '9:8 software' },
    address: [[wide ? '53:10' : '31:10', 12]],
  };
  // Linux clears V and PROT_NONE of a huge PMD while it is split, and still counts it as present.
  return [none, leaf, { ...leaf, name: `${size} page, PROT_NONE or being split`, when: anyOf('!V'), allows: nothing }, table, swapType('!V !G')];
}

/** The levels of a 64-bit mode, top down: `names` are Linux's. */
function levels64(names: readonly LevelName[]): Level[] {
  const sizes = ['4K', '2M', '1G', '512G', '256T'];
  return names.map((name, i) => {
    const depth = names.length - 1 - i;
    const shift = 12 + 9 * depth;
    const forms = depth === 0 ? lastLevel(true) : upperLevel(true, shift, sizes[depth], `level ${depth - 1} table`);
    return { name, manual: `level ${depth} table`, shift, bits: 9, entryBytes: 8, forms };
  });
}

const levels32: readonly Level[] = [
  { name: 'pgd', manual: 'level 1 table', shift: 22, bits: 10, entryBytes: 4, forms: upperLevel(false, 22, '4M', 'level 0 table') },
  { name: 'pte', manual: 'level 0 table', shift: 12, bits: 10, entryBytes: 4, forms: lastLevel(false) },
];

const MODES = ['Bare', '', '', '', '', '', '', '', 'Sv39', 'Sv48', 'Sv57', 'Sv64'];
const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** satp of RV64: MODE 63:60, ASID 59:44, PPN 43:0. */
function satp64(vaBits: number, wanted: number): RootRegister {
  return {
    names: ['satp'],
    of: 'both',
    doc: `satp: MODE 63:60 = ${wanted} (${MODES[wanted]}), ASID 59:44, PPN 43:0`,
    resolve: (value): Root => {
      if (value >> 64n !== 0n) throw new RangeError('satp has 64 bits');
      const mode = Number(value >> 60n);
      if (mode === 0) throw new RangeError(`MODE is 0 (Bare: no translation), expected ${wanted} (${MODES[wanted]})`);
      if (mode !== wanted) throw new RangeError(`MODE is ${mode} (${MODES[mode] || 'reserved'}), expected ${wanted} (${MODES[wanted]})`);
      return {
        table: (value & 0xfffffffffffn) << 12n,
        level: 'pgd',
        ranges: [
          { half: 'user', va: 0n, from: 0, to: 256 },
          { half: 'kernel', va: (1n << 64n) - (1n << BigInt(vaBits - 1)), from: 256, to: 512 },
        ],
        label: `satp ${hex(value)} (ASID ${(value >> 44n) & 0xffffn})`,
      };
    },
  };
}

/** satp of RV32: MODE 31, ASID 30:22, PPN 21:0. Linux splits the space where its fixmap begins; the kernel's own ends of the table start there. */
const satp32: RootRegister = {
  names: ['satp'],
  of: 'both',
  doc: 'satp: MODE 31 = 1 (Sv32), ASID 30:22, PPN 21:0; user space ends at 0x9c800000 (TASK_SIZE)',
  resolve: (value): Root => {
    if (value >> 32n !== 0n) throw new RangeError('satp of RV32 has 32 bits');
    if (value >> 31n !== 1n) throw new RangeError('MODE is 0 (Bare: no translation), expected 1 (Sv32)');
    return {
      table: (value & 0x3fffffn) << 12n,
      level: 'pgd',
      ranges: [
        { half: 'user', va: 0n, from: 0, to: 626 },
        { half: 'kernel', va: 626n << 22n, from: 626, to: 1024 },
      ],
      label: `satp ${hex(value)} (ASID ${(value >> 22n) & 0x1ffn})`,
    };
  },
};

/** The kernel's half, which KASLR moves only inside the last 2 GiB (Documentation/arch/riscv/vm-layout.rst): start of the vmemmap, of vmalloc and of the direct map, KASAN's shadow. */
function layout(vmemmap: bigint, vmalloc: bigint, direct: bigint, kasan: bigint, kasanEnd: bigint, kernel?: string): Region[] {
  const range = kernel === undefined ? {} : { kernel };
  return [
    { name: 'fixmap', start: vmemmap - 0x1600000n, end: vmemmap - 0x1000000n, ...range },
    { name: 'PCI I/O', start: vmemmap - 0x1000000n, end: vmemmap, ...range },
    { name: 'vmemmap', start: vmemmap, end: vmalloc, ...range },
    { name: 'vmalloc', start: vmalloc, end: direct, ...range },
    { name: 'direct map', start: direct, end: kasan, ...range },
    { name: 'KASAN shadow', start: kasan, end: kasanEnd, ...range },
  ];
}
const image: readonly Region[] = [
  { name: 'modules, BPF', start: 0xffffffff00000000n, end: 0xffffffff80000000n },
  { name: 'kernel image', start: 0xffffffff80000000n, end: 1n << 64n },
];

const base = {
  family: 'riscv',
  sources: [
    'RISC-V Privileged Architecture, "Supervisor-Level ISA": Sv32, Sv39, Sv48, Sv57; Svnapot, Svpbmt, Svadu, Svrsw60t59b',
    'Linux arch/riscv/include/asm/pgtable.h, pgtable-bits.h, pgtable-32.h, pgtable-64.h; Documentation/arch/riscv/vm-layout.rst',
  ],
  endian: 'little',
  pageShift: 12,
  elfMachines: [243],
} as const;

const wide = { ...base, paBits: 56, specials: { hwpoison: false, migration: true, device: true }, swap: riscvSwap(64) } as const;

export const riscvModes: readonly PagingMode[] = [
  {
    ...base,
    name: 'riscv-sv32',
    title: 'RISC-V Sv32 (2 levels)',
    vaBits: 32,
    paBits: 34,
    levels: levels32,
    roots: [satp32],
    specials: { hwpoison: false, migration: true, device: false },
    swap: riscvSwap(32),
    linux: riscvLinux('sv32'),
  },
  {
    ...wide,
    name: 'riscv-sv39',
    title: 'RISC-V Sv39 (3 levels)',
    vaBits: 39,
    levels: levels64(['pgd', 'pmd', 'pte']),
    roots: [satp64(39, 8)],
    regions: [
      ...layout(0xffffffc700000000n, 0xffffffc800000000n, 0xffffffd800000000n, 0xfffffff700000000n, 0xffffffff00000000n, '..6.4'),
      ...layout(0xffffffc500000000n, 0xffffffc600000000n, 0xffffffd600000000n, 0xfffffff700000000n, 0xffffffff00000000n, '6.4..'),
      ...image,
    ],
    linux: riscvLinux('sv39'),
  },
  {
    ...wide,
    name: 'riscv-sv48',
    title: 'RISC-V Sv48 (4 levels)',
    vaBits: 48,
    levels: levels64(['pgd', 'pud', 'pmd', 'pte']),
    roots: [satp64(48, 9)],
    regions: [...layout(0xffff8d8000000000n, 0xffff8f8000000000n, 0xffffaf8000000000n, 0xffffef8000000000n, 0xffffffff00000000n), ...image],
    linux: riscvLinux('sv48'),
  },
  {
    ...wide,
    name: 'riscv-sv57',
    title: 'RISC-V Sv57 (5 levels)',
    vaBits: 57,
    levels: levels64(['pgd', 'p4d', 'pud', 'pmd', 'pte']),
    roots: [satp64(57, 10)],
    regions: [...layout(0xff1c000000000000n, 0xff20000000000000n, 0xff60000000000000n, 0xffdf000000000000n, 0xffffffff00000000n), ...image],
    linux: riscvLinux('sv57'),
  },
];
