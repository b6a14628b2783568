/**
 * x86: 32-bit two-level, PAE, 4-level and 5-level (LA57) paging.
 * Sources: Intel SDM volume 3A chapter 4 (tables 4-5 … 4-20), AMD APM volume 2 chapters 5 and 15.34.4 (memory encryption); Linux
 * arch/x86/include/asm/pgtable_types.h.
 *
 * Invariants: NX exists only in 64-bit entries; a leaf above the lowest level is marked by PS; PAT moves from bit 7 (PTE) to
 * bit 12 (larger leaves); PAE's top table has four entries without permission bits. With memory encryption one address bit of every
 * entry and of CR3 is the C-bit: it belongs to no address, and the mode's name tells which bit it is (`x86-4level-c51`).
 */
import { type X86Shape, x86Linux, x86Swap } from './linux/x86.ts';
import type { AddressBits, Allows, Fields, Form, Level, PagingMode, Region, Root, RootRegister } from './mode.ts';

const common: Fields = {
  P: '0 present',
  RW: '1 writable',
  US: '2 user',
  PWT: '3 write-through',
  PCD: '4 cache disable',
  A: '5 accessed',
};

/** What the formats differ in. */
interface Format {
  /** 64-bit entries: NX, and frames of entries that are not present stored inverted (against L1TF). */
  readonly wide: boolean;
  /** Software bits and protection keys of long mode. */
  readonly long: boolean;
  /** Highest physical address bit + 1. */
  readonly pa: number;
  /** The encryption bit, when one address bit is that. */
  readonly cBit?: number;
}

const twoLevel: Format = { wide: false, long: false, pa: 32 };
const pae: Format = { wide: true, long: false, pa: 52 };
const longMode: Format = { wide: true, long: true, pa: 52 };

/** Fields of every leaf. Before 6.6 nothing sets SAVED_DIRTY. */
function leafFields(f: Format): Fields {
  return {
    ...common,
    D: '6 dirty',
    G: '8 global',
    SOFTW1: '9 software 1 (special)',
    ...(f.long
      ? { UFFD_WP: '10 software 2 (userfaultfd write protection)', SOFT_DIRTY: '11 software 3 (soft-dirty)' }
      : { SAVED_DIRTY: '10 software 2 (dirty kept beside a shadow stack)', SOFTW3: '11 software 3' }),
    ...(f.long
      ? {
          IGN: '56:52 ignored (software)',
          SOFTW4: ['..6.17 57 software 4 (devmap)', '6.17.. 57 software 4'],
          SAVED_DIRTY: '58 software 5 (dirty kept beside a shadow stack)',
          PKEY: '62:59 protection key',
        }
      : {}),
    ...(f.wide ? { NX: '63 no execute' } : {}),
    ...encryption(f),
  };
}

const encryption = (f: Format): Fields => (f.cBit === undefined ? {} : { C: `${f.cBit} memory encryption (C-bit; TDX: shared)` });

/** The address from bit `low` up, around the encryption bit. */
function frame(f: Format, low: number): AddressBits {
  const top = f.pa - 1;
  const c = f.cBit;
  if (c === undefined) return [[`${top}:${low}`, low]];
  return c === top
    ? [[`${top - 1}:${low}`, low]]
    : [
        [`${top}:${c + 1}`, c + 1],
        [`${c - 1}:${low}`, low],
      ];
}

const leafAllows = (f: Format): Allows => ({
  read: 'P',
  write: 'P RW',
  exec: f.wide ? 'P !NX' : 'P',
  user: 'US',
  global: 'P G',
  dirty: 'D | SAVED_DIRTY',
  accessed: 'A',
  present: 'P',
});

/** Present-but-inaccessible leaves keep G (= PROT_NONE) with P clear; the frame is stored inverted where the word is 64 bits wide. */
function protnoneForm(f: Format, name: string, fields: Fields, address: AddressBits, condition: string): Form {
  const { dirty } = leafAllows(f);
  return {
    kind: 'leaf',
    name,
    when: condition,
    fields,
    address,
    inverted: f.wide,
    allows: { read: '0', write: '0', exec: '0', user: 'US', dirty, accessed: 'A', present: '0' },
  };
}

/** Empty: nothing but the accessed and dirty bits that one CPU model sets by mistake. i386 with PAE looks only at the low half of a PMD. */
function noneForm(f: Format, half = !f.wide): Form {
  return { kind: 'none', name: 'empty', when: `&${half ? '0xffffff9f' : '0xffffffffffffff9f'}=0`, fields: { A: common.A, D: '6 dirty' } };
}

function pteForms(f: Format): Form[] {
  const fields: Fields = { ...leafFields(f), PAT: '7 page attribute table' };
  return [
    noneForm(f),
    { kind: 'leaf', name: '4K page', when: 'P', fields, address: frame(f, 12), allows: leafAllows(f) },
    protnoneForm(f, '4K page, PROT_NONE', fields, frame(f, 12), '!P G'),
    { kind: 'nonpresent', name: 'swap-type entry', when: '!P !G', fields: { P: common.P, G: '8 global' } },
  ];
}

function tableForm(f: Format, name: string): Form {
  return {
    kind: 'table',
    name,
    when: 'P',
    fields: {
      ...common,
      IGN6: '6 ignored (dirty in Linux)',
      PS: '7 page size',
      IGN8: '8 ignored (global in Linux)',
      SOFTW: '11:9 ignored (software)',
      ...(f.long ? { IGNH: '62:52 ignored' } : {}),
      ...(f.wide ? { NX: '63 no execute' } : {}),
      ...encryption(f),
    },
    address: frame(f, 12),
    allows: { write: 'RW', user: 'US', ...(f.wide ? { exec: '!NX' } : {}) },
  };
}

function largeForms(f: Format, name: string, address: AddressBits): Form[] {
  const fields: Fields = { ...leafFields(f), PS: '7 page size', PAT: '12 page attribute table' };
  return [
    { kind: 'leaf', name, when: 'P PS', fields, address, allows: leafAllows(f) },
    // Linux keeps PS in a PMD that is PROT_NONE, or invalid while it is split (pmd_mkinvalid clears both P and PROT_NONE).
    protnoneForm(f, `${name}, PROT_NONE`, fields, address, '!P PS'),
  ];
}

const swapForm: Form = { kind: 'nonpresent', name: 'swap-type entry', when: '!P', fields: { P: common.P } };

function middle(f: Format, name: string, manual: string, shift: number, points: string, leaf?: string): Level {
  return {
    name,
    manual,
    shift,
    bits: 9,
    entryBytes: 8,
    forms: [noneForm(f, !f.long), ...(leaf ? largeForms(f, leaf, frame(f, shift)) : []), tableForm(f, points), swapForm],
  };
}

/** The levels below the top, which PAE and long mode share but for their fields. */
const lower = (f: Format): { pmd: Level; pte: Level } => ({
  pmd: middle(f, 'pmd', 'PD', 21, 'page table', '2M page'),
  pte: { name: 'pte', manual: 'PT', shift: 12, bits: 9, entryBytes: 8, forms: pteForms(f) },
});

/** CR3 of long mode: bits 51:12, without the encryption bit; bits 11:0 are the PCID or cache bits. */
function cr3(f: Format, level: string, vaBits: number, doc: string): RootRegister {
  const kernel = (1n << 64n) - (1n << BigInt(vaBits - 1));
  const mask = 0x000ffffffffff000n & ~(f.cBit === undefined ? 0n : 1n << BigInt(f.cBit));
  return {
    names: ['cr3'],
    of: 'both',
    doc,
    pairBit: 0x1000n,
    resolve: (value): Root => ({
      table: value & mask,
      level,
      ranges: [
        { half: 'user', va: 0n, from: 0, to: 256 },
        { half: 'kernel', va: kernel, from: 256, to: 512 },
      ],
      label: `CR3 0x${value.toString(16)}`,
    }),
  };
}

function cr3Narrow(level: string, tableMask: bigint, entries: number, kernelFrom: number, kernelVa: bigint): RootRegister {
  return {
    names: ['cr3'],
    of: 'both',
    doc: 'CR3; user space ends at PAGE_OFFSET 0xc0000000 (CONFIG_VMSPLIT_3G)',
    resolve: (value): Root => ({
      table: value & tableMask,
      level,
      ranges: [
        { half: 'user', va: 0n, from: 0, to: kernelFrom },
        { half: 'kernel', va: kernelVa, from: kernelFrom, to: entries },
      ],
      label: `CR3 0x${value.toString(16)}`,
    }),
  };
}

/** Parts of the 64-bit layout that KASLR does not move (Documentation/arch/x86/x86_64/mm.rst). */
const fixed64: readonly Region[] = [
  { name: 'cpu entry area', start: 0xfffffe0000000000n, end: 0xfffffe8000000000n },
  { name: 'espfix', start: 0xffffff0000000000n, end: 0xffffff8000000000n },
  { name: 'EFI runtime', start: 0xffffffef00000000n, end: 0xffffffff00000000n },
  { name: 'kernel image', start: 0xffffffff80000000n, end: 0xffffffffc0000000n },
  { name: 'modules', start: 0xffffffffc0000000n, end: 0xffffffffff000000n },
  { name: 'fixmap', start: 0xffffffffff000000n, end: 0xffffffffff600000n },
  { name: 'vsyscall', start: 0xffffffffff600000n, end: 0xffffffffff601000n },
];

const sources = [
  'Intel SDM volume 3A, chapter 4 "Paging"',
  'AMD APM volume 2, chapter 5',
  'Linux arch/x86/include/asm/pgtable_types.h, pgtable_64.h, pgtable-2level.h, pgtable-3level.h',
];
// Debian's kernels have device memory of other processors' (CONFIG_DEVICE_PRIVATE) from 6.15 on; PTE markers need userfaultfd write protection until 6.2.
const base = {
  family: 'x86',
  sources,
  endian: 'little',
  pageShift: 12,
  specials: { hwpoison: true, migration: true, device: '6.15..', marker: true },
} as const;
const base32 = { ...base, specials: { hwpoison: true, migration: true, device: false, marker: false }, elfMachines: [3, 62] } as const;

function long(shape: X86Shape & ('4level' | '5level'), cBit?: number): PagingMode {
  const f: Format = cBit === undefined ? longMode : { ...longMode, cBit };
  const five = shape === '5level';
  const { pmd, pte } = lower(f);
  const pud = middle(f, 'pud', 'PDPT', 30, 'page directory', '1G page');
  const p4d = middle(f, 'p4d', 'PML4', 39, 'PDPT');
  const vaBits = five ? 57 : 48;
  const ldt = five ? [0xff10000000000000n, 0xff11000000000000n] : [0xffff880000000000n, 0xffff888000000000n];
  return {
    ...base,
    name: `x86-${shape}${cBit === undefined ? '' : `-c${cBit}`}`,
    title: `x86-64, ${five ? '5-level paging (LA57)' : '4-level paging'}${cBit === undefined ? '' : `, bit ${cBit} marks encrypted memory`}`,
    vaBits,
    paBits: 52,
    levels: five ? [middle(f, 'pgd', 'PML5', 48, 'PML4'), p4d, pud, pmd, pte] : [{ ...p4d, name: 'pgd' }, pud, pmd, pte],
    roots: [cr3(f, 'pgd', vaBits, `CR3${five ? ' with CR4.LA57 set' : ''}; with page-table isolation user mode's table is the kernel's + 4 KiB (bit 12)`)],
    regions: [{ name: 'LDT remap', start: ldt[0], end: ldt[1] }, ...fixed64],
    swap: x86Swap(shape),
    linux: x86Linux(shape),
    elfMachines: [62],
  };
}

const paeMode: PagingMode = {
  ...base32,
  name: 'x86-pae',
  title: 'i386 with PAE (3-level)',
  vaBits: 32,
  paBits: 52,
  levels: [
    {
      name: 'pgd',
      manual: 'PDPT',
      shift: 30,
      bits: 2,
      entryBytes: 8,
      forms: [
        { kind: 'none', name: 'empty', when: '&=0' },
        {
          kind: 'table',
          name: 'page directory',
          when: 'P',
          fields: {
            P: common.P,
            PWT: common.PWT,
            PCD: common.PCD,
            A5: '5 reserved by the manual, but QEMU marks entries that it walked here',
            IGN: '11:9 ignored (software)',
          },
          address: [['51:12', 12]],
        },
        swapForm,
      ],
    },
    lower(pae).pmd,
    lower(pae).pte,
  ],
  roots: [cr3Narrow('pgd', 0xffffffe0n, 4, 3, 0xc0000000n)],
  swap: x86Swap('pae'),
  linux: x86Linux('pae'),
};

const twoLevelMode: PagingMode = {
  ...base32,
  name: 'x86-2level',
  title: 'i386 without PAE (2-level, PSE 4M pages)',
  vaBits: 32,
  // PSE-36: a 4M page reaches 40 bits of physical address, everything else 32.
  paBits: 40,
  levels: [
    {
      name: 'pgd',
      manual: 'page directory',
      shift: 22,
      bits: 10,
      entryBytes: 4,
      forms: [
        noneForm(twoLevel),
        ...largeForms(twoLevel, '4M page', [
          ['31:22', 22],
          ['20:13', 32],
        ]),
        tableForm(twoLevel, 'page table'),
        swapForm,
      ],
    },
    { name: 'pte', manual: 'page table', shift: 12, bits: 10, entryBytes: 4, forms: pteForms(twoLevel) },
  ],
  roots: [cr3Narrow('pgd', 0xfffff000n, 1024, 768, 0xc0000000n)],
  swap: x86Swap('2level'),
  linux: x86Linux('2level'),
};

export const x86Modes: readonly PagingMode[] = [long('4level'), long('5level'), paeMode, twoLevelMode];

/** `x86-4level-c51`, `x86-5level-c47`: the mode with that address bit as encryption bit (CPUID 8000001Fh EBX bits 5:0). */
export function x86Encrypted(name: string): PagingMode | undefined {
  const found = /^x86-([45]level)-c(\d\d)$/.exec(name);
  if (!found) return undefined;
  const bit = Number(found[2]);
  return bit >= 32 && bit <= 51 ? long(found[1] as '4level' | '5level', bit) : undefined;
}
