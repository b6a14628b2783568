/**
 * Works out the paging mode from what an image says of itself: the ELF machine, lines of VMCOREINFO, registers of the CPUs; what it leaves open (LiME and raw
 * images say nothing) the registers of a roots file may tell.
 *
 * Invariant: the first clue of the machine's list that holds decides, and its text is the evidence; a list ends with a default that says so.
 * A clue is `KEY=value` (a line of VMCOREINFO), `KEY~pattern`, `reg&mask=value` or `reg>>shift=value` (any CPU); several joined by blanks must all hold; '' always does.
 */
import { guessModes, modeNames } from '../arch/registry.ts';
import { printable } from '../image/bytes.ts';
import type { Image } from '../image/image.ts';
import { machineName } from '../image/machines.ts';
import { PxdError } from '../pagetable/error.ts';

type Clues = readonly (readonly [clue: string, mode: string])[];

/** By e_machine. `{page}` is 4k, 16k or 64k out of PAGESIZE, `{va}` the virtual address bits out of TCR_EL1.T1SZ or VA_BITS. */
const CLUES: Readonly<Record<number, Clues>> = {
  62: [
    ['NUMBER(pgtable_l5_enabled)=1', 'x86-5level'],
    ['NUMBER(pgtable_l5_enabled)=0', 'x86-4level'],
    ['CONFIG_X86_PAE=y', 'x86-pae'],
    ['cr4&0x1000=0x1000', 'x86-5level'],
    ['', 'x86-4level'],
  ],
  3: [
    ['CONFIG_X86_PAE=y', 'x86-pae'],
    ['cr4&0x20=0x20', 'x86-pae'],
    ['', 'x86-2level'],
  ],
  40: [
    ['CONFIG_ARM_LPAE=y', 'arm-lpae'],
    ['ttbcr&0x80000000=0x80000000', 'arm-lpae'],
    ['', 'arm-short'],
  ],
  183: [['', 'arm64-{page}-{va}']],
  243: [
    ['NUMBER(VA_BITS)=57', 'riscv-sv57'],
    ['NUMBER(VA_BITS)=48', 'riscv-sv48'],
    ['NUMBER(VA_BITS)=39', 'riscv-sv39'],
    ['NUMBER(VA_BITS)=32', 'riscv-sv32'],
    ['satp>>60=10', 'riscv-sv57'],
    ['satp>>60=9', 'riscv-sv48'],
    ['', 'riscv-sv39'],
  ],
  22: [['', 's390x']],
  21: [
    ['NUMBER(RADIX_MMU)=1', 'ppc64-radix-{page}'],
    ['', 'ppc64-hash-{page}'],
  ],
  20: [['', 'ppc-book3s32']],
  // A 32-bit kernel's addresses have eight digits.
  8: [
    ['SYMBOL(swapper_pg_dir)~^[0-9a-f]{8}$', 'mips32-{page}'],
    ['', 'mips64-{page}'],
  ],
  258: [
    ['PAGESIZE=16384', 'loongarch64-16k'],
    ['', 'loongarch64-{page}'],
  ],
};

/** A mode and why; `others` are those that it might be as well, to be told apart by what the tables look like. */
export interface GuessedMode {
  readonly name: string;
  readonly evidence: string;
  readonly others: readonly string[];
}

type Registers = Readonly<Record<string, bigint>>;

/** Registers that only one architecture has, by e_machine; the first that is listed decides. `&mask` wants a bit of it set. */
const OWN_REGISTERS: readonly (readonly [name: string, mask: bigint, machine: number])[] = [
  ['tcr_el1', 0n, 183],
  ['ttbcr', 0n, 40],
  ['satp', 0n, 243],
  ['cr13', 0n, 22],
  // EFER.LMA: long mode is active.
  ['efer', 0x400n, 62],
  ['cr3', 0n, 3],
];

const machineOf = (listed: readonly Registers[]): number | undefined =>
  OWN_REGISTERS.find(([name, mask]) => listed.some((r) => r[name] !== undefined && (r[name] & mask) === mask))?.[2];

/** The mode and why; `listed` are the registers of a roots file. @throws {PxdError} when nothing tells even the architecture. */
export function guessMode(image: Image, name: string, listed: readonly Registers[] = []): GuessedMode {
  const machine = image.elfMachine ?? machineOf(listed);
  const registers = [...image.notes.cpus.map((cpu) => cpu.registers), ...listed];
  if (machine === undefined)
    throw new PxdError(
      'unknown',
      `${printable(name)}: the image does not tell its architecture: give --mode (one of ${modeNames().slice(0, 4).join(', ')} …; "pxd modes" lists all)`,
    );
  const clues = CLUES[machine];
  if (!clues) return onlyMode(machine, name);
  for (const [clue, template] of clues) {
    if (!clueHolds(clue, image, registers)) continue;
    const size = sizesOf(image, registers);
    const mode = filled(template, size);
    const sure = clue !== '' || image.vmcoreinfo !== undefined;
    const others = sure
      ? []
      : guessModes(machine)
          .map((m) => m.name)
          .filter((m) => m !== mode);
    const because = clue
      ? ` with ${clue.replaceAll(' ', ' and ')}${template.includes('{') ? ` and${sizes(template, size).slice(5)}` : ''}`
      : clues.length > 1
        ? ', nothing says otherwise'
        : sizes(template, size);
    return { name: mode, evidence: `${machineName(machine)} ${image.elfMachine === undefined ? 'registers in the roots file' : 'image'}${because}`, others };
  }
  throw new PxdError('unknown', `${printable(name)}: cannot tell the paging mode of this ${machineName(machine)} image: give --mode`);
}

function onlyMode(machine: number, name: string): GuessedMode {
  const modes = guessModes(machine);
  if (modes.length === 0)
    throw new PxdError(
      'unknown',
      `${printable(name)}: the image is of ${machineName(machine)}, of which pxd knows no paging mode; give --mode if it is mislabelled`,
    );
  return { name: modes[0].name, evidence: `${machineName(machine)} image`, others: modes.slice(1).map((m) => m.name) };
}

/** A line of VMCOREINFO, fit to be shown. */
function line(image: Image, key: string): string | undefined {
  const value = image.vmcoreinfo?.get(key);
  return value === undefined ? undefined : printable(value, 40);
}

function clueHolds(clue: string, image: Image, registers: readonly Registers[]): boolean {
  return clue.split(' ').every((one) => {
    if (one === '') return true;
    const register = /^([a-z]\w*)(?:&(0x[0-9a-f]+)|>>(\d+))=(\w+)$/.exec(one);
    if (register) {
      const [, name, mask, shift, want] = register;
      return registers.some((set) => {
        const value = set[name];
        return value !== undefined && (mask ? value & BigInt(mask) : value >> BigInt(shift)) === BigInt(want);
      });
    }
    const pattern = /^(.+?)~(.+)$/.exec(one);
    if (pattern) return new RegExp(pattern[2]).test(line(image, pattern[1]) ?? '');
    const [key, value] = one.split('=');
    return line(image, key) === value;
  });
}

/** What stands for `{page}` and `{va}`, and where each was read. */
interface Sizes {
  readonly page: number;
  readonly va: number;
  readonly pageTold: string;
  readonly vaTold: string;
}

/** TCR_EL1.TG1 by its code. */
const GRANULES: Readonly<Record<number, number>> = { 1: 16384, 2: 4096, 3: 65536 };

function sizesOf(image: Image, registers: readonly Registers[]): Sizes {
  const [pagesize, t1sz, vaBits] = ['PAGESIZE', 'NUMBER(TCR_EL1_T1SZ)', 'NUMBER(VA_BITS)'].map((key) => line(image, key));
  const tcr = registers.find((r) => r.tcr_el1 !== undefined)?.tcr_el1;
  const granule = tcr === undefined ? undefined : GRANULES[Number((tcr >> 30n) & 3n)];
  const bits = tcr === undefined ? undefined : 64 - Number((tcr >> 16n) & 63n);
  return {
    page: pagesize !== undefined ? Number(pagesize) : (granule ?? 4096),
    va: t1sz !== undefined ? 64 - Number(t1sz) : vaBits !== undefined ? Number(vaBits) : (bits ?? 48),
    pageTold: pagesize !== undefined ? `PAGESIZE=${pagesize}` : granule !== undefined ? `TCR_EL1.TG1 for pages of ${granule / 1024}K` : 'page size not told',
    vaTold:
      t1sz !== undefined
        ? `TCR_EL1.T1SZ=${t1sz}`
        : vaBits !== undefined || bits === undefined
          ? `VA_BITS ${vaBits ?? 'not told'}`
          : `TCR_EL1.T1SZ=0x${(64 - bits).toString(16)}`,
  };
}

const filled = (template: string, { page, va }: Sizes): string => template.replace('{page}', `${page / 1024}k`).replace('{va}', String(va));

function sizes(template: string, { pageTold, vaTold }: Sizes): string {
  const told = [template.includes('{page}') ? pageTold : '', template.includes('{va}') ? vaTold : ''].filter((s) => s !== '');
  return told.length > 0 ? ` with ${told.join(', ')}` : '';
}
