/**
 * arm64 (VMSAv8-64): granules of 4K, 16K and 64K, virtual addresses of 36 to 52 bits.
 * Sources: Arm ARM (DDI 0487) D8.3 "Translation table descriptor formats", D8.4 "Memory access control", D8.6 (contiguous bit), TTBR0_EL1, TTBR1_EL1,
 * TCR_EL1; Linux arch/arm64/include/asm/pgtable-hwdef.h, pgtable-prot.h, memory.h.
 *
 * Invariants: bits 1:0 tell the kind: 3 is a table above level 3 and a page at level 3, 1 a block above level 3 and reserved at level 3. The level
 * list follows from granule and address bits alone; Linux calls the first level pgd and counts the rest up from pte. 52-bit physical addresses
 * stand in two pieces: with 64K pages bits 51:48 in 15:12 (LPA), with 4K and 16K pages and 49 to 52 virtual bits bits 51:50 in 9:8, where
 * shareability was (LPA2). Until 6.10 Linux marked present-but-inaccessible pages by bit 58, since then by nG in an invalid entry.
 */
import { arm64Linux, arm64Swap } from './linux/arm64.ts';
import type { AddressBits, Allows, Fields, Form, Group, Level, PagingMode, Region, Registers, Root, RootRegister } from './mode.ts';

export type Granule = '4k' | '16k' | '64k';

export interface Arm64Geometry {
  readonly granule: Granule;
  /** log2 of the page. */
  readonly page: number;
  readonly vaBits: number;
  /** Physical address bits 51:50 in 9:8 (LPA2) or 51:48 in 15:12 (LPA); absent: 48 bits. */
  readonly high?: 'lpa' | 'lpa2';
  /** Manual's level numbers of the level list, top down (-1 … 3). */
  readonly numbers: readonly number[];
}

const PAGE_SHIFT: Record<Granule, number> = { '4k': 12, '16k': 14, '64k': 16 };

function geometry(granule: Granule, vaBits: number): Arm64Geometry {
  const page = PAGE_SHIFT[granule];
  const levels = Math.ceil((vaBits - page) / (page - 3));
  const high = granule === '64k' ? 'lpa' : vaBits > 48 ? 'lpa2' : undefined;
  return { granule, page, vaBits, ...(high ? { high } : {}), numbers: Array.from({ length: levels }, (_, i) => 4 - levels + i) };
}

const shiftOf = (g: Arm64Geometry, number: number): number => g.page + (3 - number) * (g.page - 3);

/** An output address from bit `low` up, with its high piece. */
function outputAddress(g: Arm64Geometry, low: number): AddressBits {
  if (g.high === 'lpa2')
    return [
      [`49:${low}`, low],
      ['9:8', 50],
    ];
  if (g.high === 'lpa')
    return [
      [`47:${low}`, low],
      ['15:12', 48],
    ];
  return [[`47:${low}`, low]];
}

/** Blocks: levels 1 and 2; level 0 with LPA2 and 4K, level 1 of the larger granules only with 52-bit physical addresses. */
function hasBlocks(g: Arm64Geometry, number: number): boolean {
  if (number === 2) return true;
  if (number === 1) return g.granule === '4k' || g.high !== undefined;
  return number === 0 && g.granule === '4k' && g.high === 'lpa2';
}

/** Entries of a contiguous run by level; the architecture defines none above these. */
const CONTIGUOUS: Record<Granule, Readonly<Record<number, number>>> = {
  '4k': { 1: 16, 2: 16, 3: 16 },
  '16k': { 2: 32, 3: 128 },
  '64k': { 2: 32, 3: 32 },
};

function groupsOf(g: Arm64Geometry, number: number): Group[] {
  const entries = CONTIGUOUS[g.granule][number];
  // Hardware may set AF or write through (clearing the read-only bit under DBM) in any one entry of the run.
  return entries ? [{ when: 'Contiguous', entries, address: 'advance', mayDiffer: 'AF DIRTY', mayClear: 'AP2' }] : [];
}

/** 64K pages: reserved in the manual, but Linux repeats a part of the address here. */
const repeated = (g: Arm64Geometry): Fields => (g.high === 'lpa' ? { ADDR49: '49:48 reserved (Linux repeats address bits 49:48)' } : {});

const leafFields = (g: Arm64Geometry, number: number): Fields => ({
  V: '0 valid',
  T: '1 table or page (0: block)',
  AttrIndx: '4:2 memory type (index into MAIR_EL1)',
  NS: '5 non-secure',
  AP1: '6 AP[1]: EL0 may access',
  AP2: '7 AP[2]: read-only',
  ...(g.high === 'lpa2' ? {} : { SH: '9:8 shareability' }),
  AF: '10 access flag',
  nG: ['..6.10 11 not global', '6.10.. 11 not global; in an invalid entry: present to Linux'],
  ...repeated(g),
  ...(number < 3 ? { nT: '16 block translation entry' } : {}),
  GP: '50 guarded page (BTI)',
  DBM: '51 dirty bit modifier (Linux: writable)',
  Contiguous: '52 contiguous',
  PXN: '53 privileged execute-never',
  UXN: '54 unprivileged execute-never',
  DIRTY: '55 software (dirty)',
  SPECIAL: '56 software (special)',
  SOFTW57: ['..6.17 57 software (devmap)', '6.17.. 57 software'],
  PROT_NONE: '..6.10 58 software (present but inaccessible, in an invalid entry)',
  UFFD_WP: '6.10.. 58 software (userfaultfd write protection)',
  PRESENT_INVALID: '..6.10 59 software (huge page invalid while it is split)',
  PBHA59: '6.10.. 59 hardware use (PBHA)',
  PBHA: '62:60 hardware use (PBHA) or permission overlay index (POIndex)',
  IGN63: '63 ignored (AMEC with realms)',
});

/**
 * The rights of a valid leaf. A page without AP[1] but without UXN is open to EL0 for execution alone. DBM lets hardware clear the read-only bit
 * on a write, so such a page is writable.
 */
const leafAllows: Allows = {
  read: 'AP1 | UXN',
  write: '!AP2 AP1 | !AP2 UXN | DBM AP1 | DBM UXN',
  exec: '!UXN',
  execPrivileged: '!AP1 !PXN',
  user: 'AP1 | !UXN',
  global: '!nG',
  dirty: 'DIRTY | DBM !AP2',
  accessed: 'AF',
};

const noAccess: Allows = { read: '0', write: '0', exec: '0', user: 'AP1', dirty: leafAllows.dirty, accessed: 'AF', present: '0' };

/** Entries that hardware faults on while Linux keeps the page: PROT_NONE, NUMA hints, huge pages being split. */
function invalidForms(name: string, fields: Fields, address: AddressBits, number: number): Form[] {
  const form = { kind: 'leaf', name: `${name}, not valid`, fields, address, allows: noAccess } as const;
  return [
    { ...form, when: number === 3 ? '!V PROT_NONE' : '!V PROT_NONE | !V PRESENT_INVALID', kernel: '..6.10' },
    { ...form, when: '!V nG', kernel: '6.10..' },
  ];
}

const swapForm: Form = { kind: 'nonpresent', name: 'swap-type entry', when: '!V', fields: { V: '0 valid' } };
const noneForm: Form = { kind: 'none', name: 'empty', when: '&=0' };

function sizeName(shift: number): string {
  const units = ['', 'K', 'M', 'G', 'T'];
  return `${2 ** (shift % 10)}${units[Math.floor(shift / 10)]}`;
}

function leafForms(g: Arm64Geometry, number: number): Form[] {
  const shift = shiftOf(g, number);
  const fields = leafFields(g, number);
  const address = outputAddress(g, shift);
  const groups = groupsOf(g, number);
  const name = `${sizeName(shift)} ${number === 3 ? 'page' : 'block'}`;
  const leaf = { kind: 'leaf', name, when: number === 3 ? 'V T' : 'V !T', fields, address, allows: leafAllows, groups } as const;
  // Linux calls a level 3 entry with bit 1 clear present all the same; hardware faults on it.
  const reserved: Form[] = number === 3 ? [{ ...leaf, name: `${name}, reserved type`, when: 'V !T', allows: { ...noAccess, write: '0' } }] : [];
  return [leaf, ...reserved, ...invalidForms(name, fields, address, number)];
}

function tableForm(g: Arm64Geometry): Form {
  return {
    kind: 'table',
    name: 'table',
    when: 'V T',
    fields: {
      V: '0 valid',
      T: '1 table',
      IGN: '7:2 ignored',
      ...(g.high === 'lpa2' ? {} : { IGN8: '9:8 ignored' }),
      AF: '10 access flag (FEAT_HAFT)',
      IGN11: '11 ignored',
      IGNS: '58:51 ignored (software)',
      PXNTable: '59 no privileged execution below',
      UXNTable: '60 no unprivileged execution below',
      APTable0: '61 APTable[0]: no EL0 access below',
      APTable1: '62 APTable[1]: no write access below',
      NSTable: '63 non-secure below',
      ...repeated(g),
    },
    // With 64K pages bits 15:12 are part of the address (LPA), so the table's base begins at bit 16.
    address: outputAddress(g, g.page),
    allows: { write: '!APTable1', user: '!APTable0', exec: '!UXNTable', execPrivileged: '!PXNTable' },
  };
}

/** Linux's names, bottom up; the top table of any depth is the pgd. */
const NAMES = ['pte', 'pmd', 'pud', 'p4d'];

function levelOf(g: Arm64Geometry, number: number): Level {
  const shift = shiftOf(g, number);
  const top = number === g.numbers[0];
  return {
    name: top ? 'pgd' : NAMES[3 - number],
    manual: `level ${number}`,
    shift,
    bits: top ? g.vaBits - shift : g.page - 3,
    entryBytes: 8,
    forms: [noneForm, ...(number === 3 || hasBlocks(g, number) ? leafForms(g, number) : []), ...(number === 3 ? [] : [tableForm(g)]), swapForm],
  };
}

// --- roots ------------------------------------------------------------------------------------------------------------

/** TG0 and TG1 of TCR_EL1 number the granules differently. */
const TG0: readonly (Granule | undefined)[] = ['4k', '64k', '16k', undefined];
const TG1: readonly (Granule | undefined)[] = [undefined, '16k', '4k', '64k'];

/** Address bits that a half translates: TCR_EL1's, where it is known and agrees with the mode. */
function bitsOf(g: Arm64Geometry, half: 'user' | 'kernel', others: Registers): number {
  const tcr = others.tcr_el1 ?? others.tcr;
  if (tcr === undefined) return g.vaBits;
  const [size, granules, at] = half === 'user' ? [0n, TG0, 14n] : [16n, TG1, 30n];
  const granule = granules[Number((tcr >> at) & 3n)];
  if (granule !== g.granule) throw new RangeError(`TCR_EL1 0x${tcr.toString(16)} says ${granule ?? 'a reserved'} granule, this mode has ${g.granule} pages`);
  const bits = 64 - Number((tcr >> size) & 0x3fn);
  if (bits > g.vaBits || shiftOf(g, 3) >= bits) throw new RangeError(`TCR_EL1 0x${tcr.toString(16)} says ${bits}-bit addresses, this mode has ${g.vaBits}`);
  return bits;
}

function ttbr(g: Arm64Geometry, half: 'user' | 'kernel'): RootRegister {
  const name = half === 'user' ? 'TTBR0_EL1' : 'TTBR1_EL1';
  const sizeField = half === 'user' ? 'T0SZ' : 'T1SZ';
  return {
    names: half === 'user' ? ['ttbr0_el1', 'ttbr0', 'ttbr0_el2'] : ['ttbr1_el1', 'ttbr1', 'ttbr1_el2'],
    of: half,
    doc: `${name}; ASID (63:48) and CnP (bit 0) are ignored${g.high ? ', bits 5:2 are bits 51:48 of the address' : ''}; TCR_EL1.${sizeField} tells the range where it is known`,
    resolve: (value, others): Root => {
      const bits = bitsOf(g, half, others);
      const number = g.numbers.find((n) => shiftOf(g, n) < bits) as number;
      const entries = 2 ** (bits - shiftOf(g, number));
      // The base is aligned to the table's size; with 52-bit addresses to 64 bytes at least, since bits 5:2 hold the top of the address.
      const align = BigInt(Math.max(entries * 8, g.high ? 64 : 2));
      const low = value & 0x0000fffffffffffen & ~(align - 1n);
      const stray = value & 0x0000fffffffffffen & (align - 1n) & ~(g.high ? 0x3cn : 0n);
      if (stray !== 0n) throw new RangeError(`bits 0x${stray.toString(16)} lie below the alignment of a table of ${entries} entries`);
      const table = g.high ? low | (((value >> 2n) & 0xfn) << 48n) : low;
      return {
        table,
        level: number === g.numbers[0] ? 'pgd' : NAMES[3 - number],
        ranges: [{ half, va: half === 'user' ? 0n : (1n << 64n) - (1n << BigInt(bits)), from: 0, to: entries }],
        label: `${name} 0x${value.toString(16)}`,
      };
    },
  };
}

// --- layout -----------------------------------------------------------------------------------------------------------

/** Linux's fixed parts (Documentation/arch/arm64/memory.rst). A 52-bit kernel keeps the layout of 48 bits (47 with 16K pages) above its linear map. */
function regionsOf(g: Arm64Geometry): Region[] {
  const top = 1n << 64n;
  const min = g.vaBits === 52 ? (g.granule === '16k' ? 47n : 48n) : BigInt(g.vaBits);
  const linear = top - (1n << BigInt(g.vaBits));
  const modules = top - (1n << (min - 1n));
  const M = 1n << 20n;
  // struct page takes 64 bytes: vmemmap is the linear map's size in pages times that.
  const vmemmap = (modules - linear) >> BigInt(g.page - 6);
  const oldMemmap = top - (1n << BigInt(g.vaBits - g.page + 6));
  const newMemmap = top - 1024n * M - vmemmap;
  return [
    { name: 'linear map', start: linear, end: modules },
    { name: 'modules', start: modules, end: modules + 128n * M, kernel: '..6.5' },
    { name: 'modules', start: modules, end: modules + 2048n * M, kernel: '6.5..' },
    { name: 'vmalloc', start: modules + 128n * M, end: oldMemmap - 256n * M, kernel: '..6.5' },
    { name: 'vmalloc', start: modules + 2048n * M, end: oldMemmap - 256n * M, kernel: '6.5..6.9' },
    { name: 'vmalloc', start: modules + 2048n * M, end: newMemmap - 8n * M, kernel: '6.9..' },
    { name: 'fixmap', start: oldMemmap - 48n * M, end: oldMemmap - 32n * M, kernel: '..6.9' },
    { name: 'vmemmap', start: oldMemmap, end: oldMemmap + vmemmap, kernel: '..6.9' },
    { name: 'vmemmap', start: newMemmap, end: newMemmap + vmemmap, kernel: '6.9..' },
    { name: 'fixmap', start: top - 24n * M, end: top - 8n * M, kernel: '6.9..' },
  ];
}

const sources = ['Arm Architecture Reference Manual DDI 0487, chapter D8', 'Linux arch/arm64/include/asm/pgtable-hwdef.h, pgtable-prot.h, pgtable.h'];

function modeOf(granule: Granule, vaBits: number): PagingMode {
  const g = geometry(granule, vaBits);
  const levels = g.numbers.map((n) => levelOf(g, n));
  return {
    name: `arm64-${granule}-${vaBits}`,
    family: 'arm64',
    title: `arm64, ${granule.toUpperCase()} pages, ${vaBits}-bit virtual addresses, ${levels.length} levels${g.high ? ` (${g.high.toUpperCase()}: 52-bit physical)` : ''}`,
    sources,
    endian: 'little',
    pageShift: g.page,
    vaBits,
    paBits: g.high ? 52 : 48,
    levels,
    roots: [ttbr(g, 'user'), ttbr(g, 'kernel')],
    regions: regionsOf(g),
    swap: arm64Swap,
    // Debian's and the defconfig kernels: memory failure and migration, no device memory; PTE markers only where userfaultfd write protection is.
    specials: { hwpoison: true, migration: true, device: false, marker: false },
    linux: arm64Linux(granule, g.high, levels.length),
    elfMachines: [183],
  };
}

const REGISTERED: readonly (readonly [Granule, readonly number[]])[] = [
  ['4k', [39, 48, 52]],
  ['16k', [36, 47, 48, 52]],
  ['64k', [42, 48, 52]],
];

/** The sizes that Linux offers; every other size from 36 to 52 bits goes by name (`arm64Mode`). */
export const arm64Modes: readonly PagingMode[] = REGISTERED.flatMap(([granule, sizes]) => sizes.map((bits) => modeOf(granule, bits)));

/** `arm64-<granule>-<va bits>` for every size from 36 to 52 bits. */
export function arm64Mode(name: string): PagingMode | undefined {
  const found = /^arm64-(4k|16k|64k)-(\d\d)$/.exec(name);
  if (!found) return undefined;
  const bits = Number(found[2]);
  return bits >= 36 && bits <= 52 ? modeOf(found[1] as Granule, bits) : undefined;
}
