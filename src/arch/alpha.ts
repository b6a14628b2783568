/**
 * Alpha: three levels of 8K tables under OSF PALcode, which both hardware and Linux use.
 * Sources: Alpha Architecture Reference Manual part II-A (OpenVMS) and II-B (OSF) chapter 3 "Memory Management" (PTE fields, PTBR);
 * Linux arch/alpha/include/asm/pgtable.h, arch/alpha/mm/init.c.
 *
 * Invariants: all levels have the same entry; the last slot of the top table points to the table itself (the virtual page table);
 * rights come from the lowest entry alone.
 */
import { alphaLinux, alphaSwap } from './linux/alpha.ts';
import type { Fields, Form, Level, PagingMode, RootRegister } from './mode.ts';

const fields: Fields = {
  V: '0 valid',
  FOR: '1 fault on read',
  FOW: '2 fault on write',
  FOE: '3 fault on execute',
  ASM: '4 address space match (global)',
  GH: '6:5 granularity hint',
  KRE: '8 kernel read enable',
  URE: '9 user read enable',
  KWE: '12 kernel write enable',
  UWE: '13 user write enable',
  DIRTY: '17 dirty (software)',
  ACCESSED: '18 accessed (software)',
};

/** Bits 31:16 are software's; Linux names two of them. */
const ignored = '31:19,16';
const address: Form['address'] = [['63:32', 13]];

const none: Form = { kind: 'none', name: 'empty', when: '&=0' };

function directory(name: string, manual: string, shift: number, points: string): Level {
  return { name, manual, shift, bits: 10, entryBytes: 8, forms: [none, { kind: 'table', name: points, when: 'V', fields, address, ignored }] };
}

const pte: Level = {
  name: 'pte',
  manual: 'level 3 table',
  shift: 13,
  bits: 10,
  entryBytes: 8,
  forms: [
    none,
    {
      kind: 'leaf',
      name: '8K page',
      when: 'V',
      fields,
      address,
      ignored,
      allows: {
        read: '!FOR',
        write: '!FOW',
        exec: '!FOE',
        // Linux takes the enables away from a page that is not young; kernel mappings are those that match every address space.
        user: 'URE | UWE | !ASM',
        global: 'ASM',
        dirty: 'DIRTY',
        accessed: 'ACCESSED',
        present: '!FOR | !FOW | !FOE',
      },
    },
    { kind: 'nonpresent', name: 'swap-type entry', when: '!V', fields: { V: fields.V } },
  ],
};

const top: RootRegister['resolve'] = (value) => {
  if (value & 0x1fffn || value === 0n || value >> 45n !== 0n) throw new RangeError('expected the physical address of the top table, a multiple of 8 KiB');
  return {
    table: value,
    level: 'pgd',
    ranges: [
      { half: 'user', va: 0n, from: 0, to: 512 },
      { half: 'kernel', va: 0xfffffc0000000000n, from: 512, to: 1024 },
    ],
    label: `pgd 0x${value.toString(16)}`,
  };
};

export const alphaModes: readonly PagingMode[] = [
  {
    name: 'alpha',
    family: 'alpha',
    title: 'Alpha, 8K pages (3-level)',
    sources: ['Alpha Architecture Reference Manual, OSF memory management', 'Linux arch/alpha/include/asm/pgtable.h, arch/alpha/mm/init.c'],
    endian: 'little',
    pageShift: 13,
    vaBits: 43,
    paBits: 44,
    levels: [directory('pgd', 'level 1 table', 33, 'level 2 table'), directory('pmd', 'level 2 table', 23, 'page table'), pte],
    roots: [
      { names: ['pgd', 'swapper_pg_dir'], of: 'both', doc: 'physical address of the top table', resolve: top },
      {
        names: ['ptbr'],
        of: 'both',
        doc: 'page table base register of the process control block: frame number of the top table',
        resolve: (value, others) => {
          if (value >> 32n !== 0n) throw new RangeError('expected a frame number of at most 32 bits');
          return { ...top(value << 13n, others), label: `PTBR 0x${value.toString(16)}` };
        },
      },
    ],
    regions: [
      { name: 'vmalloc', start: 0xfffffffc00000000n, end: 0xfffffffe00000000n },
      { name: 'virtual page table', start: 0xfffffffe00000000n, end: 0x10000000000000000n },
    ],
    swap: alphaSwap,
    specials: { hwpoison: false, migration: true, device: false },
    linux: alphaLinux,
    elfMachines: [0x9026, 41],
  },
];
