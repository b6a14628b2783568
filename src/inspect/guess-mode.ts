/**
 * Works out the paging mode from what an image says of itself: the ELF machine, lines of VMCOREINFO, registers of the CPUs.
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

/** The mode and why. @throws {PxdError} when nothing tells even the architecture. */
export function guessMode(image: Image, name: string): GuessedMode {
  const machine = image.elfMachine;
  if (machine === undefined)
    throw new PxdError(
      'unknown',
      `${printable(name)}: the image does not tell its architecture: give --mode (one of ${modeNames().slice(0, 4).join(', ')} …; "pxd modes" lists all)`,
    );
  const clues = CLUES[machine];
  if (!clues) return onlyMode(machine, name);
  for (const [clue, template] of clues) {
    if (!clueHolds(clue, image)) continue;
    const mode = filled(template, image);
    const sure = clue !== '' || image.vmcoreinfo !== undefined;
    const others = sure
      ? []
      : guessModes(machine)
          .map((m) => m.name)
          .filter((m) => m !== mode);
    const because = clue
      ? ` with ${clue.replaceAll(' ', ' and ')}${template.includes('{') ? ` and${sizes(template, image).slice(5)}` : ''}`
      : clues.length > 1
        ? ', nothing says otherwise'
        : sizes(template, image);
    return { name: mode, evidence: `${machineName(machine)} image${because}`, others };
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

function clueHolds(clue: string, image: Image): boolean {
  return clue.split(' ').every((one) => {
    if (one === '') return true;
    const register = /^([a-z]\w*)(?:&(0x[0-9a-f]+)|>>(\d+))=(\w+)$/.exec(one);
    if (register) {
      const [, name, mask, shift, want] = register;
      return image.notes.cpus.some(({ registers }) => {
        const value = registers[name];
        return value !== undefined && (mask ? value & BigInt(mask) : value >> BigInt(shift)) === BigInt(want);
      });
    }
    const pattern = /^(.+?)~(.+)$/.exec(one);
    if (pattern) return new RegExp(pattern[2]).test(line(image, pattern[1]) ?? '');
    const [key, value] = one.split('=');
    return line(image, key) === value;
  });
}

function filled(template: string, image: Image): string {
  const page = Number(line(image, 'PAGESIZE') ?? 4096);
  const t1sz = line(image, 'NUMBER(TCR_EL1_T1SZ)');
  const va = t1sz !== undefined ? 64 - Number(t1sz) : Number(line(image, 'NUMBER(VA_BITS)') ?? 48);
  return template.replace('{page}', `${page / 1024}k`).replace('{va}', String(va));
}

function sizes(template: string, image: Image): string {
  const told = [
    template.includes('{page}') ? (line(image, 'PAGESIZE') ? `PAGESIZE=${line(image, 'PAGESIZE')}` : 'page size not told') : '',
    template.includes('{va}')
      ? line(image, 'NUMBER(TCR_EL1_T1SZ)')
        ? `TCR_EL1.T1SZ=${line(image, 'NUMBER(TCR_EL1_T1SZ)')}`
        : `VA_BITS ${line(image, 'NUMBER(VA_BITS)') ?? 'not told'}`
      : '',
  ].filter((s) => s !== '');
  return told.length > 0 ? ` with ${told.join(', ')}` : '';
}
