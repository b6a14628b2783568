/**
 * x86: 32-bit two-level, PAE, 4-level and 5-level (LA57) paging.
 * Sources: Intel SDM volume 3A chapter 4 (tables 4-5 … 4-20), AMD APM volume 2 chapter 5; Linux arch/x86/include/asm/pgtable_types.h.
 *
 * Invariants: NX exists only in 64-bit entries; a leaf above the lowest level is marked by PS; PAT moves from bit 7 (PTE) to
 * bit 12 (larger leaves); PAE's top table has four entries without permission bits.
 */
import type { Allows, Fields, Form, Level, PagingMode, Region, Root, RootRegister } from './mode.ts';
import { x86Linux, x86Swap } from './linux/x86.ts';

const common: Fields = {
  P: '0 present',
  RW: '1 writable',
  US: '2 user',
  PWT: '3 write-through',
  PCD: '4 cache disable',
  A: '5 accessed',
};

const leafFields: Fields = {
  ...common,
  D: '6 dirty',
  G: '8 global',
  SOFTW1: '9 software 1 (special)',
  UFFD_WP: '10 software 2 (userfaultfd write protection)',
  SOFT_DIRTY: '11 software 3 (soft-dirty)',
};

const high: Fields = {
  IGN: '57:53 ignored (software)',
  SAVED_DIRTY: '58 software (dirty kept beside a shadow stack)',
  PKEY: '62:59 protection key',
  NX: '63 no execute',
};

const leafAllows = (nx: boolean): Allows => ({
  read: 'P',
  write: 'P RW',
  exec: nx ? 'P !NX' : 'P',
  user: 'US',
  global: 'P G',
  dirty: nx ? 'D | SAVED_DIRTY' : 'D',
  accessed: 'A',
  present: 'P',
});

interface Shape {
  readonly wide: boolean;
  /** Highest physical address bit + 1. */
  readonly pa: number;
}

/** Present-but-inaccessible leaves keep G (= PROT_NONE) with P clear; the frame is stored inverted where the word is 64 bits wide. */
function protnoneForm(shape: Shape, name: string, fields: Fields, low: number, condition: string): Form {
  return {
    kind: 'leaf',
    name,
    when: condition,
    fields,
    address: [[`${shape.pa - 1}:${low}`, low]],
    inverted: shape.wide,
    allows: { read: '0', write: '0', exec: '0', user: 'US', dirty: leafAllows(shape.wide).dirty, accessed: 'A', present: '0' },
  };
}

function pteForms(shape: Shape): Form[] {
  const fields: Fields = { ...leafFields, PAT: '7 page attribute table', ...(shape.wide ? high : {}) };
  return [
    { kind: 'none', name: 'empty', when: `&${shape.wide ? '0xffffffffffffff9f' : '0xffffff9f'}=0`, fields: { A: common.A, D: leafFields.D } },
    { kind: 'leaf', name: '4K page', when: 'P', fields, address: [[`${shape.pa - 1}:12`, 12]], allows: leafAllows(shape.wide) },
    protnoneForm(shape, '4K page, PROT_NONE', fields, 12, '!P G'),
    { kind: 'nonpresent', name: 'swap-type entry', when: '!P !G', fields: { P: common.P, G: leafFields.G } },
  ];
}

function tableForm(shape: Shape, name: string): Form {
  const fields: Fields = { ...common, IGN6: '6 ignored (dirty in Linux)', IGN8: '8 ignored (global in Linux)', SOFTW: '11:9 ignored (software)', ...(shape.wide ? { IGNH: '62:52 ignored', NX: high.NX } : {}) };
  return {
    kind: 'table',
    name,
    when: 'P',
    fields: { ...fields, PS: '7 page size' },
    address: [[`${shape.pa - 1}:12`, 12]],
    allows: { write: 'RW', user: 'US', ...(shape.wide ? { exec: '!NX' } : {}) },
  };
}

function largeForms(shape: Shape, name: string, shift: number, address: Form['address']): Form[] {
  const fields: Fields = { ...leafFields, PS: '7 page size', PAT: '12 page attribute table', ...(shape.wide ? high : {}) };
  return [
    { kind: 'leaf', name, when: 'P PS', fields, address, allows: leafAllows(shape.wide) },
    // Linux keeps PS in a PMD that is PROT_NONE, or invalid while it is split (pmd_mkinvalid keeps PS and sets PROT_NONE).
    { ...protnoneForm(shape, `${name}, PROT_NONE`, fields, shift, '!P PS'), address },
  ];
}

const noneForm = (wide: boolean): Form => ({ kind: 'none', name: 'empty', when: `&${wide ? '0xffffffffffffff9f' : '0xffffff9f'}=0`, fields: { A: common.A, D: leafFields.D } });
const swapForm: Form = { kind: 'nonpresent', name: 'swap-type entry', when: '!P', fields: { P: common.P } };

function middle(shape: Shape, name: string, manual: string, shift: number, points: string, leaf?: { name: string; address: Form['address'] }): Level {
  return {
    name,
    manual,
    shift,
    bits: 9,
    entryBytes: 8,
    forms: [noneForm(true), ...(leaf ? largeForms(shape, leaf.name, shift, leaf.address) : []), tableForm(shape, points), swapForm],
  };
}

const wide: Shape = { wide: true, pa: 52 };
const pte: Level = { name: 'pte', manual: 'PT', shift: 12, bits: 9, entryBytes: 8, forms: pteForms(wide) };
const pmd = middle(wide, 'pmd', 'PD', 21, 'page table', { name: '2M page', address: [['51:21', 21]] });
const pud = middle(wide, 'pud', 'PDPT', 30, 'page directory', { name: '1G page', address: [['51:30', 30]] });

function cr3(level: string, bits: number, vaBits: number, doc: string): RootRegister {
  const top = 1 << bits;
  const kernel = (1n << 64n) - (1n << BigInt(vaBits - 1));
  return {
    names: ['cr3'],
    of: 'both',
    doc,
    resolve: (value): Root => ({
      table: value & 0x000ffffffffff000n,
      level,
      ranges: [
        { half: 'user', va: 0n, from: 0, to: top / 2 },
        { half: 'kernel', va: kernel, from: top / 2, to: top },
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

const sources = ['Intel SDM volume 3A, chapter 4 "Paging"', 'AMD APM volume 2, chapter 5', 'Linux arch/x86/include/asm/pgtable_types.h, pgtable_64.h, pgtable-2level.h, pgtable-3level.h'];
const base = { family: 'x86', sources, endian: 'little', pageShift: 12, specials: { hwpoison: true, migration: true, device: true } } as const;

const pgd5 = middle(wide, 'pgd', 'PML5', 48, 'PML4');
const p4d = middle(wide, 'p4d', 'PML4', 39, 'PDPT');
const pgd4: Level = { ...p4d, name: 'pgd' };

const narrow: Shape = { wide: false, pa: 32 };

export const x86Modes: readonly PagingMode[] = [
  {
    ...base,
    name: 'x86-4level',
    title: 'x86-64, 4-level paging',
    vaBits: 48,
    paBits: 52,
    levels: [pgd4, pud, pmd, pte],
    roots: [cr3('pgd', 9, 48, 'CR3; with page-table isolation the user root is the kernel root + 4 KiB (bit 12)')],
    regions: [
      { name: 'LDT remap', start: 0xffff880000000000n, end: 0xffff888000000000n },
      ...fixed64,
    ],
    swap: x86Swap('wide'),
    linux: x86Linux('4level'),
    elfMachines: [62],
  },
  {
    ...base,
    name: 'x86-5level',
    title: 'x86-64, 5-level paging (LA57)',
    vaBits: 57,
    paBits: 52,
    levels: [pgd5, p4d, pud, pmd, pte],
    roots: [cr3('pgd', 9, 57, 'CR3 with CR4.LA57 set')],
    regions: [
      { name: 'LDT remap', start: 0xff10000000000000n, end: 0xff11000000000000n },
      ...fixed64,
    ],
    swap: x86Swap('wide'),
    linux: x86Linux('5level'),
    elfMachines: [62],
  },
  {
    ...base,
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
          { kind: 'table', name: 'page directory', when: 'P', fields: { P: common.P, PWT: common.PWT, PCD: common.PCD, IGN: '11:9 ignored (software)' }, address: [['51:12', 12]] },
          swapForm,
        ],
      },
      pmd,
      pte,
    ],
    roots: [cr3Narrow('pgd', 0xffffffe0n, 4, 3, 0xc0000000n)],
    swap: x86Swap('pae'),
    linux: x86Linux('pae'),
    elfMachines: [3, 62],
  },
  {
    ...base,
    name: 'x86-2level',
    title: 'i386 without PAE (2-level, PSE 4M pages)',
    vaBits: 32,
    paBits: 40,
    levels: [
      {
        name: 'pgd',
        manual: 'page directory',
        shift: 22,
        bits: 10,
        entryBytes: 4,
        forms: [
          noneForm(false),
          ...largeForms(narrow, '4M page', 22, [
            ['31:22', 22],
            ['20:13', 32],
          ]),
          tableForm(narrow, 'page table'),
          swapForm,
        ],
      },
      { name: 'pte', manual: 'page table', shift: 12, bits: 10, entryBytes: 4, forms: pteForms(narrow) },
    ],
    roots: [cr3Narrow('pgd', 0xfffff000n, 1024, 768, 0xc0000000n)],
    swap: x86Swap('2level'),
    linux: x86Linux('2level'),
    elfMachines: [3, 62],
  },
];
