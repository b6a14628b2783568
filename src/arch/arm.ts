/**
 * arm, 32 bits: short descriptors (ARMv6 and later) and long descriptors (LPAE).
 * Sources: ARM ARM (DDI 0406) B3.5 "Short-descriptor translation table format", B3.6 "Long-descriptor translation table format", B3.7 "Memory access
 * control", B4.1.153 (TTBCR, TTBR0, TTBR1); Linux arch/arm/include/asm/pgtable-2level*.h, pgtable-3level*.h, arch/arm/mm/proc-v7-2level.S, proc-v7-3level.S.
 *
 * Invariants: a short-descriptor page table has 256 entries of 4 bytes, 1 KiB. Linux keeps its own word for each of them 2 KiB below, since hardware
 * has neither an accessed nor a dirty bit: the low half of a decoded entry is Linux's word, the high half the CPU's. Hardware's word is zero while the
 * page is not young or PROT_NONE, and read-only while it is clean: such a page stays a leaf, writable when Linux says so. The first level has
 * no second word. LPAE keeps Linux's bits in the entry itself, with the same meaning of clean pages.
 */
import { armLpaeLinux, armLpaeSwap, armShortLinux, armShortSwap } from './linux/arm.ts';
import type { Allows, Fields, Form, Level, PagingMode, Region, Registers, Root, RootRegister } from './mode.ts';

const noneForm: Form = { kind: 'none', name: 'empty', when: '&=0' };

// --- short descriptors, first level -------------------------------------------------------------------------------------

const sectionFields: Fields = {
  PXN: '0 privileged execute-never',
  SECTION: '1 section',
  B: '2 bufferable',
  C: '3 cacheable',
  XN: '4 execute-never',
  IMP: '9 implementation defined (ECC)',
  AP: '11:10 AP[1:0]',
  TEX: '14:12 type extension',
  AP2: '15 AP[2]: read-only',
  S: '16 shareable',
  nG: '17 not global',
  SUPER: '18 supersection',
  NS: '19 non-secure',
};

/** AP[2:0] without the access flag model (SCTLR.AFE clear, as in Linux): 1 privileged, 2 user read-only, 3 both; AP[2] takes writing away. */
const sectionAllows: Allows = {
  read: 'AP!=0',
  write: 'AP=1,3 !AP2',
  user: 'AP=2,3',
  exec: 'AP=2,3 !XN',
  execPrivileged: 'AP=1 !XN !PXN',
  global: '!nG',
};

const firstLevel: Level = {
  name: 'pgd',
  manual: 'first level',
  shift: 20,
  bits: 12,
  entryBytes: 4,
  forms: [
    noneForm,
    {
      kind: 'leaf',
      name: '16M supersection',
      when: 'SECTION SUPER',
      size: 2 ** 24,
      fields: sectionFields,
      // The same word stands in sixteen entries; bits 23:20 and 8:5 are the top of a 40-bit address.
      address: [
        ['31:24', 24],
        ['23:20', 32],
        ['8:5', 36],
      ],
      allows: sectionAllows,
    },
    { kind: 'leaf', name: '1M section', when: 'SECTION', fields: { ...sectionFields, DOMAIN: '8:5 domain' }, address: [['31:20', 20]], allows: sectionAllows },
    {
      kind: 'table',
      name: 'page table',
      when: 'TYPE=1',
      fields: {
        TYPE: '1:0 type',
        PXN: '2 privileged execute-never below',
        NS: '3 non-secure',
        BIT4: '4 must be one before ARMv6',
        DOMAIN: '8:5 domain',
        IMP: '9 implementation defined (ECC)',
      },
      address: [['31:10', 10]],
      allows: { execPrivileged: '!PXN' },
    },
    { kind: 'nonpresent', name: 'fault', when: '&0x3=0' },
  ],
};

// --- short descriptors, second level: Linux's word (31:0) and hardware's (63:32) --------------------------------------------

const linuxWord: Fields = {
  L_PRESENT: '0 Linux: present',
  L_YOUNG: '1 Linux: young',
  L_MT: '5:2 Linux: memory type',
  L_DIRTY: '6 Linux: dirty',
  L_RDONLY: '7 Linux: read-only',
  L_USER: '8 Linux: user',
  L_XN: '9 Linux: not executable',
  L_SHARED: '10 Linux: shared between processors',
  L_NONE: '11 Linux: PROT_NONE',
};

const smallPage: Fields = {
  XN: '32 execute-never',
  SMALL: '33 small page',
  B: '34 bufferable',
  C: '35 cacheable',
  AP: '37:36 AP[1:0]',
  TEX: '40:38 type extension',
  AP2: '41 AP[2]: read-only',
  S: '42 shareable',
  nG: '43 not global',
};

const largePage: Fields = {
  TYPE: '33:32 type',
  B: '34 bufferable',
  C: '35 cacheable',
  AP: '37:36 AP[1:0]',
  AP2: '41 AP[2]: read-only',
  S: '42 shareable',
  nG: '43 not global',
  TEX: '46:44 type extension',
  XN: '47 execute-never',
};

/** Hardware's rights; a clean page that Linux lets be written counts as writable. */
const pageAllows = (linux: boolean): Allows => ({
  read: 'AP!=0',
  write: linux ? 'AP=1,3 !AP2 | AP!=0 !L_RDONLY !L_DIRTY' : 'AP=1,3 !AP2',
  user: 'AP=2,3',
  exec: 'AP=2,3 !XN',
  execPrivileged: 'AP=1 !XN',
  global: '!nG',
  ...(linux ? { dirty: 'L_DIRTY', accessed: 'L_YOUNG' } : {}),
});

const secondLevel: Level = {
  name: 'pte',
  manual: 'second level',
  shift: 12,
  bits: 8,
  entryBytes: 4,
  companion: -2048,
  forms: [
    noneForm,
    {
      kind: 'leaf',
      name: '4K small page',
      when: 'SMALL L_PRESENT',
      fields: { ...linuxWord, ...smallPage },
      address: [['63:44', 12]],
      mirror: '31:12',
      allows: pageAllows(true),
    },
    {
      kind: 'leaf',
      name: '4K page of Linux, not in hardware',
      // Not young, PROT_NONE, or a word of Linux's alone.
      when: 'L_PRESENT &0x300000000=0',
      fields: { ...linuxWord, HW: '63:32 word of the CPU' },
      address: [['31:12', 12]],
      allows: {
        read: '!L_NONE',
        write: '!L_NONE !L_RDONLY',
        user: '!L_NONE L_USER',
        exec: '!L_NONE !L_XN',
        dirty: 'L_DIRTY',
        accessed: 'L_YOUNG',
        present: '!L_NONE',
      },
    },
    { kind: 'nonpresent', name: 'swap-type entry', when: '!L_PRESENT &0x300000000=0', fields: { L_PRESENT: '0 Linux: present' } },
    {
      kind: 'leaf',
      name: '4K small page of hardware alone',
      when: 'SMALL',
      fields: { ...smallPage, LINUX: "31:0 Linux's word" },
      address: [['63:44', 12]],
      allows: pageAllows(false),
    },
    {
      kind: 'leaf',
      name: '64K large page',
      when: 'TYPE=1',
      // The same word stands in sixteen entries.
      size: 65536,
      fields: { ...largePage, LINUX: "31:0 Linux's word" },
      address: [['63:48', 16]],
      allows: pageAllows(false),
    },
  ],
};

// --- long descriptors -------------------------------------------------------------------------------------------------------

const longFields: Fields = {
  V: '0 valid',
  T: '1 table or page (0: block)',
  AttrIndx: '4:2 memory type (index into MAIR)',
  NS: '5 non-secure',
  AP1: '6 AP[1]: user',
  AP2: '7 AP[2]: read-only (Linux: or clean)',
  SH: '9:8 shareability',
  AF: '10 access flag (Linux: young)',
  nG: '11 not global',
  Contiguous: '52 contiguous',
  PXN: '53 privileged execute-never',
  XN: '54 execute-never',
  DIRTY: '55 software (dirty)',
  SPECIAL: '56 software (special)',
  NONE: '57 software (PROT_NONE)',
  RDONLY: '58 software (read-only)',
  IGN: '63:59 ignored',
};

const longAllows: Allows = {
  read: '1',
  // A clean page is read-only to hardware until the first write makes it dirty.
  write: '!RDONLY !AP2 | !RDONLY !DIRTY',
  user: 'AP1',
  // User mode executes only what it may read.
  exec: 'AP1 !XN',
  execPrivileged: '!AP1 !XN !PXN',
  global: '!nG',
  dirty: 'DIRTY',
  accessed: 'AF',
};

const longNone: Allows = { read: '0', write: '0', exec: '0', user: 'AP1', dirty: 'DIRTY', accessed: 'AF', present: '0' };

const longTable = (name: string): Form => ({
  kind: 'table',
  name,
  when: 'V T',
  fields: {
    V: '0 valid',
    T: '1 table',
    IGN: '11:2 ignored',
    IGNS: '58:52 ignored (software)',
    PXNTable: '59 no privileged execution below',
    XNTable: '60 no execution below',
    APTable0: '61 APTable[0]: no user access below',
    APTable1: '62 APTable[1]: no write access below',
    NSTable: '63 non-secure below',
  },
  address: [['39:12', 12]],
  allows: { write: '!APTable1', user: '!APTable0', exec: '!XNTable', execPrivileged: '!XNTable !PXNTable' },
});

const contiguous = [{ when: 'Contiguous', entries: 16, address: 'advance', mayDiffer: 'AF DIRTY' }] as const;

const longLevels: readonly Level[] = [
  {
    name: 'pgd',
    manual: 'first level',
    shift: 30,
    bits: 2,
    entryBytes: 8,
    forms: [
      noneForm,
      { kind: 'leaf', name: '1G block', when: 'V !T', fields: longFields, address: [['39:30', 30]], allows: longAllows },
      longTable('second-level table'),
      { kind: 'nonpresent', name: 'not valid', when: '!V', fields: { V: '0 valid' } },
    ],
  },
  {
    name: 'pmd',
    manual: 'second level',
    shift: 21,
    bits: 9,
    entryBytes: 8,
    forms: [
      noneForm,
      { kind: 'leaf', name: '2M block', when: 'V !T', fields: longFields, address: [['39:21', 21]], allows: longAllows, groups: contiguous },
      longTable('page table'),
      // PROT_NONE, or a huge page being split: Linux has no swap-type words at this level.
      { kind: 'leaf', name: '2M block, not valid', when: '!V', fields: longFields, address: [['39:21', 21]], allows: longNone },
    ],
  },
  {
    name: 'pte',
    manual: 'third level',
    shift: 12,
    bits: 9,
    entryBytes: 8,
    forms: [
      noneForm,
      { kind: 'leaf', name: '4K page', when: 'V T', fields: longFields, address: [['39:12', 12]], allows: longAllows, groups: contiguous },
      { kind: 'leaf', name: '4K page, reserved type', when: 'V !T', fields: longFields, address: [['39:12', 12]], allows: longNone },
      { kind: 'leaf', name: '4K page, not valid', when: '!V T', fields: longFields, address: [['39:12', 12]], allows: longNone },
      { kind: 'nonpresent', name: 'swap-type entry', when: '!V !T', fields: { V: '0 valid', T: '1 table or page' } },
    ],
  },
];

// --- roots -----------------------------------------------------------------------------------------------------------------

const EAE = 1n << 31n;

/** Linux ends user space 16 MiB below PAGE_OFFSET 0xc0000000 (CONFIG_VMSPLIT_3G), where modules begin. */
const USER_SECTIONS = 0xbf0;

function shortControl(others: Registers): number {
  const ttbcr = others.ttbcr ?? 0n;
  if ((ttbcr & EAE) !== 0n) throw new RangeError(`TTBCR 0x${ttbcr.toString(16)} has EAE set: these tables have long descriptors (arm-lpae)`);
  return Number(ttbcr & 7n);
}

const shortRoots: readonly RootRegister[] = [
  {
    names: ['ttbr0', 'ttbr0_el1'],
    of: 'both',
    doc: 'TTBR0; TTBCR.N tells how much it translates (0: all 4 GiB, also when TTBCR is not known)',
    resolve: (value, others): Root => {
      const n = shortControl(others);
      const entries = 4096 >> n;
      const user = Math.min(entries, USER_SECTIONS);
      return {
        table: value & ~BigInt(entries * 4 - 1) & 0xffffffffn,
        level: 'pgd',
        ranges: [
          { half: 'user', va: 0n, from: 0, to: user },
          ...(entries > user ? [{ half: 'kernel', va: BigInt(user) << 20n, from: user, to: entries } as const] : []),
        ],
        label: `TTBR0 0x${value.toString(16)}`,
      };
    },
  },
  {
    names: ['ttbr1', 'ttbr1_el1'],
    of: 'kernel',
    doc: 'TTBR1, which translates above TTBR0 when TTBCR.N is not 0',
    resolve: (value, others): Root => {
      // With N=0 hardware does not look here; what Linux keeps in it is the kernel's own first level, so it is read as such.
      const n = shortControl(others);
      const first = n === 0 ? USER_SECTIONS : 4096 >> n;
      return {
        table: value & 0xffffc000n,
        level: 'pgd',
        ranges: [{ half: 'kernel', va: BigInt(first) << 20n, from: first, to: 4096 }],
        label: `TTBR1 0x${value.toString(16)}`,
      };
    },
  },
];

/** T0SZ and T1SZ; without TTBCR as Linux sets them (user 3 GiB, TTBR1 the top 1 GiB). */
function longControl(others: Registers): { t0: number; t1: number } {
  const ttbcr = others.ttbcr;
  if (ttbcr === undefined) return { t0: 0, t1: 2 };
  if ((ttbcr & EAE) === 0n) throw new RangeError(`TTBCR 0x${ttbcr.toString(16)} has EAE clear: these tables have short descriptors (arm-short)`);
  return { t0: Number(ttbcr & 7n), t1: Number((ttbcr >> 16n) & 7n) };
}

/** A table for 2^bits bytes: it begins at the first level when it needs more than one entry there. */
function longTop(bits: number, value: bigint): { table: bigint; level: string; shift: number; entries: number } {
  const [level, shift] = bits > 30 ? ['pgd', 30] : ['pmd', 21];
  const entries = 2 ** (bits - (shift as number));
  return { table: value & 0xffffffffffn & ~BigInt(entries * 8 - 1), level: level as string, shift: shift as number, entries };
}

const longRoots: readonly RootRegister[] = [
  {
    names: ['ttbr0', 'ttbr0_el1'],
    of: 'both',
    doc: 'TTBR0; TTBCR.T0SZ and T1SZ tell what it translates; ASID (55:48) is ignored',
    resolve: (value, others): Root => {
      const { t0, t1 } = longControl(others);
      const { table, level, shift, entries } = longTop(32 - t0, value);
      // TTBR1 has the top of the address space when T1SZ is not 0; when both are 0 TTBR0 has it all and the kernel lies from 3 GiB on.
      const end = t1 > 0 ? 2 ** 32 - 2 ** (32 - t1) : 2 ** 32;
      const to = Math.min(entries, end / 2 ** shift);
      const user = Math.min(to, 0xc0000000 / 2 ** shift);
      return {
        table,
        level,
        ranges: [
          { half: 'user', va: 0n, from: 0, to: user },
          ...(to > user ? [{ half: 'kernel', va: BigInt(user * 2 ** shift), from: user, to } as const] : []),
        ],
        label: `TTBR0 0x${value.toString(16)}`,
      };
    },
  },
  {
    names: ['ttbr1', 'ttbr1_el1'],
    of: 'kernel',
    doc: 'TTBR1, which translates the top 2^(32 - TTBCR.T1SZ) bytes, from the second level on when that is 1 GiB or less',
    resolve: (value, others): Root => {
      const { t0, t1 } = longControl(others);
      if (t1 === 0 && t0 === 0) throw new RangeError('TTBCR says that TTBR0 translates everything');
      const bits = t1 > 0 ? 32 - t1 : 32;
      const { table, level, shift, entries } = longTop(bits, value);
      const from = t1 > 0 ? 0 : 2 ** (32 - t0 - shift);
      const va = t1 > 0 ? (1n << 32n) - (1n << BigInt(bits)) : 1n << BigInt(32 - t0);
      return { table, level, ranges: [{ half: 'kernel', va, from, to: entries }], label: `TTBR1 0x${value.toString(16)}` };
    },
  },
];

// --- modes -----------------------------------------------------------------------------------------------------------------

/** Fixed parts of Linux's layout (Documentation/arch/arm/memory.rst) with the usual 3 GiB split. */
const regions: readonly Region[] = [
  { name: 'modules', start: 0xbf000000n, end: 0xbfe00000n },
  { name: 'pkmap', start: 0xbfe00000n, end: 0xc0000000n },
  { name: 'direct map', start: 0xc0000000n, end: 0xf0000000n },
  { name: 'vmalloc', start: 0xf0000000n, end: 0xff800000n },
  { name: 'device tree', start: 0xff800000n, end: 0xffc00000n },
  { name: 'fixmap', start: 0xffc80000n, end: 0xfff00000n },
  { name: 'vectors', start: 0xffff0000n, end: 0xffff2000n },
];

const base = {
  family: 'arm',
  endian: 'little',
  pageShift: 12,
  vaBits: 32,
  paBits: 40,
  regions,
  // No memory failure, no device memory, no userfaultfd write protection on 32-bit arm.
  specials: { hwpoison: false, migration: true, device: false, marker: false },
  elfMachines: [40],
} as const;

export const armModes: readonly PagingMode[] = [
  {
    ...base,
    name: 'arm-short',
    title: 'arm, short descriptors (sections, 4K and 64K pages)',
    sources: [
      'ARM Architecture Reference Manual DDI 0406, B3.5',
      'Linux arch/arm/include/asm/pgtable-2level.h, pgtable-2level-hwdef.h, arch/arm/mm/proc-v7-2level.S',
    ],
    levels: [firstLevel, secondLevel],
    roots: shortRoots,
    swap: armShortSwap,
    linux: armShortLinux,
  },
  {
    ...base,
    name: 'arm-lpae',
    title: 'arm, long descriptors (LPAE, 3 levels)',
    sources: [
      'ARM Architecture Reference Manual DDI 0406, B3.6',
      'Linux arch/arm/include/asm/pgtable-3level.h, pgtable-3level-hwdef.h, arch/arm/mm/proc-v7-3level.S',
    ],
    levels: longLevels,
    roots: longRoots,
    swap: armLpaeSwap,
    linux: armLpaeLinux,
  },
];
