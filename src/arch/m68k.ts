/**
 * m68k: the 68020/68851 and 68030 (and 68040, 68060) three-level tables as Linux lays them out, and ColdFire's two levels.
 * Sources: MC68030 User's Manual section 9 (short-format descriptors, early termination, CRP), MC68040 User's Manual section 3
 * (URP, SRP, page descriptor), MCF547x Reference Manual chapter 5 (MMUTR, MMUDR); Linux arch/m68k/include/asm/motorola_pgtable.h,
 * mcf_pgtable.h, arch/m68k/mm/motorola.c, kmap.c, mcfmmu.c.
 *
 * Invariants: descriptors are big-endian, 4 bytes (long-format ones do not occur under Linux); there is no execute bit on the Motorola
 * MMUs; user and kernel have tables of their own.
 */
import { coldfireLinux, coldfireSwap, motorolaLinux, motorolaSwap } from './linux/m68k.ts';
import type { Fields, Form, Level, PagingMode, Registers, Root, RootRange, RootRegister } from './mode.ts';

const descriptor: Fields = {
  DT: '1:0 descriptor type (1 page, 2 valid 4-byte table)',
  WP: '2 write protected',
  U: '3 used',
};

const pageFields: Fields = {
  ...descriptor,
  DT: '1:0 descriptor type (1, and 3 on the 68040: resident page)',
  M: '4 modified',
  CM: '6:5 cache mode (bit 6 alone: cache inhibit on the 68030)',
  S: '7 supervisor (68040)',
  U0: '8 user attribute 0 (68040)',
  U1: '9 user attribute 1 (68040)',
  G: '10 global (68040)',
  UR: '11 user reserved (68040)',
};

const pageAllows: Form['allows'] = { read: 'DT', write: 'DT !WP', exec: 'DT', user: '!S', global: 'G', dirty: 'M', accessed: 'U' };

/** Early termination: a page descriptor in a table above the lowest maps all that the entry spans (68020 and 68030). */
function earlyPage(name: string, shift: number): Form {
  return { kind: 'leaf', name, when: 'DT=1', fields: pageFields, address: [[`31:${shift}`, shift]], allows: pageAllows };
}

function pointerLevel(name: string, manual: string, shift: number, points: string, page: string, align: number): Level {
  return {
    name,
    manual,
    shift,
    bits: 7,
    entryBytes: 4,
    forms: [
      { kind: 'none', name: 'empty', when: '&=0' },
      earlyPage(page, shift),
      // Hardware takes the address from bit 4 up; Linux's tables stand at multiples of their size, and the bits between stay zero.
      { kind: 'table', name: points, when: 'DT=2', fields: descriptor, address: [[`31:${align}`, align]], allows: { write: '!WP' } },
    ],
  };
}

const motorolaPte: Level = {
  name: 'pte',
  manual: 'page table',
  shift: 12,
  bits: 6,
  entryBytes: 4,
  forms: [
    { kind: 'none', name: 'empty', when: '&=0' },
    { kind: 'leaf', name: '4K page', when: 'DT=1,3', fields: pageFields, address: [['31:12', 12]], allows: pageAllows },
    // Linux marks PROT_NONE by WP in a descriptor that hardware calls invalid.
    {
      kind: 'leaf',
      name: '4K page, PROT_NONE',
      when: '&0x5=0x4',
      fields: pageFields,
      address: [['31:12', 12]],
      allows: { user: '!S', dirty: 'M', accessed: 'U', present: '0' },
    },
    { kind: 'nonpresent', name: 'swap-type entry', when: '&0x5=0', fields: { DT: '1:0 descriptor type', WP: descriptor.WP } },
  ],
};

const whole = (half: 'user' | 'kernel', entries: number): RootRange[] => [{ half, va: 0n, from: 0, to: entries }];

/** A root pointer of `align` bytes. The 68030's CRP and SRP are 64 bits wide: limit and descriptor type above the address. */
function rootPointer(names: readonly string[], of: RootRegister['of'], doc: string, ranges: readonly RootRange[], align: bigint): RootRegister {
  return {
    names,
    of,
    doc,
    resolve: (value: bigint, _others: Registers): Root => {
      const upper = value >> 32n;
      if (upper !== 0n && (upper & 3n) !== 2n)
        throw new RangeError(`descriptor type ${upper & 3n} in the upper half, expected 2 (a table of 4-byte descriptors)`);
      const table = value & 0xffffffffn;
      if (table === 0n || table % align !== 0n) throw new RangeError(`expected the address of a top table, a multiple of ${align}`);
      return { table, level: 'pgd', ranges, label: `${names[0].toUpperCase()} 0x${value.toString(16)}` };
    },
  };
}

const coldfireFields: Fields = {
  DIRTY: '0 dirty (software)',
  LK: '1 locked',
  X: '2 execute',
  W: '3 write',
  R: '4 read',
  SP: '5 supervisor protect',
  CM: '7:6 cache mode',
  V: '10 valid',
  SG: '11 shared global: matches every address space',
  ACCESSED: '12 accessed (software)',
};

const coldfireLevels: readonly Level[] = [
  {
    name: 'pgd',
    manual: 'page directory',
    shift: 22,
    bits: 10,
    entryBytes: 4,
    tableBytes: 8192,
    forms: [
      { kind: 'none', name: 'empty', when: '&=0' },
      { kind: 'table', name: 'page table', when: '&0x7ff=0', address: [['31:11', 11]] },
    ],
  },
  {
    name: 'pte',
    manual: 'page table',
    shift: 13,
    bits: 9,
    entryBytes: 4,
    tableBytes: 8192,
    forms: [
      { kind: 'none', name: 'empty', when: '&=0' },
      {
        kind: 'leaf',
        name: '8K page',
        when: 'V',
        fields: coldfireFields,
        address: [['31:13', 13]],
        allows: { read: 'R', write: 'W', exec: 'X', user: '!SP', global: 'SG', dirty: 'DIRTY', accessed: 'ACCESSED', present: 'R | W | X' },
      },
      { kind: 'nonpresent', name: 'swap-type entry', when: '!V', fields: { V: coldfireFields.V } },
    ],
  },
];

const coldfireRanges: readonly RootRange[] = [
  { half: 'user', va: 0n, from: 0, to: 768 },
  { half: 'kernel', va: 0xc0000000n, from: 768, to: 1024, supervisor: true },
];

const base = { family: 'm68k', endian: 'big', specials: { hwpoison: false, migration: true, device: false }, elfMachines: [4] } as const;

export const m68kModes: readonly PagingMode[] = [
  {
    ...base,
    name: 'm68k',
    title: 'm68k, Motorola MMUs (68020/68851, 68030, 68040, 68060; 3-level)',
    sources: [
      "MC68030 User's Manual, section 9",
      "MC68040 User's Manual, section 3",
      'Linux arch/m68k/include/asm/motorola_pgtable.h, arch/m68k/mm/motorola.c',
    ],
    pageShift: 12,
    vaBits: 32,
    paBits: 32,
    levels: [
      pointerLevel('pgd', 'root table (level A)', 25, 'pointer table', '32M page (early termination)', 9),
      pointerLevel('pmd', 'pointer table (level B)', 18, 'page table', '256K page (early termination)', 8),
      motorolaPte,
    ],
    roots: [
      rootPointer(['crp', 'urp', 'pgd'], 'user', 'CPU root pointer (68030, 64 bits), user root pointer (68040), or mm->pgd', whole('user', 128), 512n),
      rootPointer(['srp', 'swapper_pg_dir', 'kernel_pg_dir'], 'kernel', 'supervisor root pointer', [{ ...whole('kernel', 128)[0], supervisor: true }], 512n),
    ],
    swap: motorolaSwap,
    linux: motorolaLinux,
  },
  {
    ...base,
    name: 'm68k-coldfire',
    title: 'm68k, ColdFire V4e (8K pages, 2-level)',
    sources: ['MCF547x Reference Manual, chapter 5 (MMUTR, MMUDR)', 'Linux arch/m68k/include/asm/mcf_pgtable.h, arch/m68k/mm/mcfmmu.c'],
    pageShift: 13,
    vaBits: 32,
    paBits: 32,
    levels: coldfireLevels,
    roots: [
      rootPointer(['pgd'], 'both', 'physical address of the top table, mm->pgd; the TLB is filled by software', coldfireRanges, 4096n),
      rootPointer(['swapper_pg_dir', 'kernel_pg_dir'], 'kernel', "the kernel's own top table", coldfireRanges, 4096n),
    ],
    swap: coldfireSwap,
    linux: coldfireLinux,
  },
];
