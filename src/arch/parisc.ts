/**
 * PA-RISC, 32 bit: Linux's two-level tables, which the TLB miss handlers read.
 * Sources: PA-RISC 2.0 Architecture chapter 3 (TLB fields T D B U, access rights); Linux arch/parisc/include/asm/pgtable.h,
 * arch/parisc/kernel/entry.S (how an entry becomes a TLB insert), arch/parisc/mm/hugetlbpage.c.
 *
 * Invariants: user and kernel have tables of their own, told apart by space registers; a directory entry holds its table's address
 * shifted right by 8, so that it reaches 40 address bits; a huge page is a run of base entries that fill a table, each marked.
 */
import { pariscLinux, pariscSwap } from './linux/parisc.ts';
import type { Fields, Level, PagingMode, RootRegister } from './mode.ts';

const fields: Fields = {
  READ: '0 read',
  WRITE: '1 write',
  EXEC: '2 execute',
  GATEWAY: '3 gateway: a branch may raise the privilege level',
  B: '4 data memory break trap',
  DIRTY: '5 dirty (D)',
  T: '6 page reference trap',
  U: '7 uncacheable',
  ACCESSED: '8 accessed (software)',
  PRESENT: '9 present (software)',
  SPECIAL: '10 special; part of a huge page (software)',
  USER: '11 user (software)',
};

const pte: Level = {
  name: 'pte',
  manual: 'page table',
  shift: 12,
  bits: 10,
  entryBytes: 4,
  forms: [
    { kind: 'none', name: 'empty', when: '&=0' },
    {
      kind: 'leaf',
      name: '4K page',
      when: 'PRESENT',
      fields,
      address: [['31:12', 12]],
      allows: {
        read: 'READ',
        write: 'WRITE',
        exec: 'EXEC | GATEWAY',
        user: 'USER',
        dirty: 'DIRTY',
        accessed: 'ACCESSED',
        present: 'READ | WRITE | EXEC | GATEWAY',
      },
      groups: [{ when: 'SPECIAL', entries: 1024, address: 'advance', optional: true }],
    },
    { kind: 'nonpresent', name: 'swap-type entry', when: '!PRESENT', fields: { PRESENT: fields.PRESENT } },
  ],
};

const pgd: Level = {
  name: 'pgd',
  manual: 'page directory',
  shift: 22,
  bits: 10,
  entryBytes: 4,
  tableBytes: 8192,
  forms: [
    { kind: 'none', name: 'empty', when: '&=0' },
    {
      kind: 'table',
      name: 'page table',
      when: 'PRESENT VALID',
      fields: { PRESENT: '0 present', VALID: '1 valid' },
      address: [['31:4', 12]],
    },
  ],
};

function directory(names: readonly string[], half: 'user' | 'kernel', doc: string): RootRegister {
  return {
    names,
    of: half,
    doc,
    resolve: (value) => {
      if (value === 0n || value & 0xfffn || value >> 40n !== 0n) throw new RangeError('expected the physical address of a page directory, aligned to a page');
      return {
        table: value,
        level: 'pgd',
        ranges: [{ half, va: 0n, from: 0, to: 1024, supervisor: half === 'kernel' }],
        label: `${names[0].toUpperCase()} 0x${value.toString(16)}`,
      };
    },
  };
}

export const pariscModes: readonly PagingMode[] = [
  {
    name: 'parisc',
    family: 'parisc',
    title: 'PA-RISC, 32 bit (2-level)',
    sources: ['PA-RISC 2.0 Architecture, chapter 3', 'Linux arch/parisc/include/asm/pgtable.h, arch/parisc/kernel/entry.S, arch/parisc/mm/hugetlbpage.c'],
    endian: 'big',
    pageShift: 12,
    vaBits: 32,
    paBits: 32,
    levels: [pgd, pte],
    roots: [
      directory(['cr25', 'pgd'], 'user', "CR25: physical address of the running process's page directory"),
      directory(['cr24', 'swapper_pg_dir'], 'kernel', "CR24: physical address of the kernel's page directory"),
    ],
    swap: pariscSwap,
    specials: { hwpoison: true, migration: true, device: false },
    linux: pariscLinux,
    elfMachines: [15],
  },
];
