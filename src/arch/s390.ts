/**
 * s390x: region-first, region-second, region-third, segment and page tables of z/Architecture.
 * Sources: z/Architecture Principles of Operation, chapter 3 "Dynamic Address Translation" (address-space-control element, region-, segment- and
 * page-table entries, enhanced DAT facilities 1 and 2, instruction-execution protection); Linux arch/s390/include/asm/pgtable.h.
 *
 * Invariants: depth is a property of the root (the ASCE's designation type picks the first table) and each valid entry repeats it (TT): an entry
 * whose TT is not its level's stops a walk, and fits no form here. Table offset and length limit the table below. The hardware knows neither read
 * nor user permission nor accessed and dirty bits in entries: Linux keeps its own and sets I (invalid) and P (protection) until a fault has
 * recorded young and dirty. A leaf therefore grants what Linux's bits promise, or what the hardware's allow, whichever is more. User and kernel
 * have spaces of their own: a table is the kernel's because CR13 names it. Kernel 6.13 moved the software bits of large entries.
 */
import { s390Linux, s390Swap } from './linux/s390.ts';
import type { Allows, Condition, Fields, Form, Level, PagingMode, Registers, Root, RootRegister } from './mode.ts';

const pteFields: Fields = {
  PRESENT: '0 software: present',
  SOFT_DIRTY: '1 software: soft-dirty',
  Y: '2 software: young',
  D: '3 software: dirty',
  R: '4 software: read',
  W: '5 software: write',
  SPECIAL: '6 software: special',
  UNUSED: '7 software: unused by the guest (PGSTE)',
  IEP: '8 instruction-execution protection',
  P: '9 DAT protection',
  I: '10 page invalid',
};

/** Bits of entries above the page table that every kind of entry shares. */
const common: Fields = { TT: '3:2 table type', I: '5 invalid', P: '9 DAT protection' };
const origin: Fields = { ...common, TL: '1:0 table length', TF: '7:6 table offset' };
const large: Fields = {
  ...common,
  C: '4 common region or segment (marks a swap-type entry in Linux from 6.13)',
  IEP: '8 instruction-execution protection',
  FC: '10 format control: this entry maps memory',
  F: '11 fetch protection, where AV',
  Y: '12 software: young (access key where AV)',
  D: '13 software: dirty (access key where AV)',
  PRESENT: ['6.13.. 0 software: present'],
  R: ['..6.13 0 software: read', '6.13.. 14 software: read (access key where AV)'],
  W: ['..6.13 1 software: write', '6.13.. 15 software: write (access key where AV)'],
  SOFT_DIRTY: ['..6.13 14 software: soft-dirty', '6.13.. 1 software: soft-dirty'],
  GMAP_IN: ['..6.13 15 software: guest mapping has a notifier'],
  AV: '16 access key and fetch protection are valid',
};

const granted: Allows = { read: 'R | !I', write: 'W | !I !P', exec: 'R !IEP | !I !IEP', user: '1', dirty: 'D', accessed: 'Y', present: 'R | !I' };

/** Linux's own answer to an entry that hardware calls invalid and that maps nothing. */
const none = (word: number): Form => ({ kind: 'none', name: 'empty', when: `&=0x${word.toString(16)}`, fields: common });
const invalid: Form = { kind: 'nonpresent', name: 'invalid', when: 'I', fields: common };
const tableWindow = { first: '7:6', last: '1:0', unit: 512 } as const;

/** A region table: its entries' type is 3, 2 or 1, the empty entry has I and that type. */
function region(name: string, manual: string, shift: number, type: number, next: string, leaves: readonly Form[] = []): Level {
  const points: Form = {
    kind: 'table',
    name: next,
    when: leaves.length > 0 ? `!I TT=${type} !FC` : `!I TT=${type}`,
    fields: leaves.length > 0 ? { ...origin, FC: large.FC } : origin,
    address: [['63:12', 12]],
    allows: { write: '!P' },
    window: tableWindow,
  };
  return { name, manual, shift, bits: 11, entryBytes: 8, forms: [none(0x20 | (type << 2)), ...leaves, points, invalid] };
}

/** Leaf forms of a region-third or segment table, before and after 6.13, and the swap-type entry that came with it. */
function largeForms(name: string, shift: number, type: number): Form[] {
  const leaf = (when: Condition, kernel: string): Form => ({
    kind: 'leaf',
    name,
    when,
    fields: large,
    address: [[`63:${shift}`, shift]],
    allows: granted,
    kernel,
  });
  return [
    leaf(`FC TT=${type}`, '..6.13'),
    // A swap-type entry has I, C and no PRESENT; its type may reach into FC.
    leaf(`FC TT=${type} PRESENT | FC TT=${type} !I`, '6.13..'),
    {
      kind: 'nonpresent',
      name: 'swap-type entry',
      when: `I C !PRESENT TT=${type}`,
      fields: { ...common, C: large.C, PRESENT: '0 software: present' },
      kernel: '6.13..',
    },
  ];
}

const segment: Level = {
  name: 'pmd',
  manual: 'segment table',
  shift: 20,
  bits: 11,
  entryBytes: 8,
  forms: [
    none(0x20),
    ...largeForms('1M page', 20, 0),
    {
      kind: 'table',
      name: 'page table',
      when: '!I !FC TT=0',
      fields: { ...common, C: '4 common segment', FC: large.FC, SW: '1:0 software (bit 0: present in Linux from 6.13)' },
      address: [['63:11', 11]],
      allows: { write: '!P' },
    },
    invalid,
  ],
};

const page: Level = {
  name: 'pte',
  manual: 'page table',
  shift: 12,
  bits: 8,
  entryBytes: 8,
  forms: [
    { kind: 'none', name: 'empty', when: '&=0x400', fields: { I: pteFields.I } },
    { kind: 'leaf', name: '4K page', when: 'PRESENT', fields: pteFields, address: [['63:12', 12]], allows: granted },
    { kind: 'nonpresent', name: 'swap-type entry', when: '!PRESENT I', fields: { PRESENT: pteFields.PRESENT, P: pteFields.P, I: pteFields.I } },
  ],
};

const TABLES = ['pmd', 'pud', 'p4d', 'pgd'];
const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** What an address-space-control element designates. The kernel's space is not open to user mode, whatever its entries say. */
function designated(register: string, value: bigint, half: 'user' | 'kernel'): Root {
  if (value >> 64n !== 0n) throw new RangeError('an address-space-control element has 64 bits');
  if ((value & 0x20n) !== 0n)
    throw new RangeError(
      'the element is a real-space designation (bit 0x20): its space has no tables, virtual addresses are real addresses; expected a region- or segment-table designation',
    );
  const type = Number((value >> 2n) & 3n);
  const entries = (Number(value & 3n) + 1) * 512;
  return {
    table: value & ~0xfffn,
    level: TABLES[type],
    ranges: [{ half, va: 0n, from: 0, to: entries, ...(half === 'kernel' ? { supervisor: true } : {}) }],
    label: `${register.toUpperCase()} ${hex(value)}`,
  };
}

const DOC = 'address-space-control element: table origin, designation type in bits 3:2 (3 region-first … 0 segment), table length in bits 1:0';

/** In kernel mode CR1 may hold either space; CR13 is always the kernel's. */
const primary = (value: bigint, others: Registers): Root => designated('cr1', value, others.cr13 === value ? 'kernel' : 'user');

const roots: readonly RootRegister[] = [
  { names: ['cr7'], of: 'user', doc: `CR7, secondary space: ${DOC}`, resolve: (value) => designated('cr7', value, 'user') },
  { names: ['cr1', 'asce'], of: 'user', doc: `CR1, primary space: ${DOC}`, resolve: primary },
  { names: ['cr13'], of: 'kernel', doc: `CR13, home space: ${DOC}`, resolve: (value) => designated('cr13', value, 'kernel') },
];

export const s390Modes: readonly PagingMode[] = [
  {
    name: 's390x',
    family: 's390',
    title: 's390x, region, segment and page tables; 2 to 5 levels as the root says',
    sources: [
      'z/Architecture Principles of Operation, chapter 3 "Storage", "Dynamic Address Translation"',
      'Linux arch/s390/include/asm/pgtable.h, arch/s390/mm/hugetlbpage.c',
    ],
    endian: 'big',
    pageShift: 12,
    vaBits: 64,
    // Entries hold 64 bits; Linux maps physical memory below the span of one region-first entry.
    paBits: 53,
    levels: [
      region('pgd', 'region-first table', 53, 3, 'region-second table'),
      region('p4d', 'region-second table', 42, 2, 'region-third table'),
      region('pud', 'region-third table', 31, 1, 'segment table', largeForms('2G page', 31, 1)),
      segment,
      page,
    ],
    roots,
    specials: { hwpoison: false, migration: true, device: false },
    swap: s390Swap,
    linux: s390Linux,
    elfMachines: [22],
  },
];
