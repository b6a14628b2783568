/**
 * ELF notes of a dump: registers of the CPUs, VMCOREINFO, and whatever else stands there.
 *
 * Invariants: sizes in a note's header are checked against the bytes that are there; registers are taken only from notes whose length is the one that
 * the layout has; what is not understood stays in `all`.
 */
import { PxdError } from '../pagetable/error.ts';
import { Fields, hex, textOf } from './bytes.ts';

export interface Note {
  readonly name: string;
  readonly type: number;
  readonly data: Uint8Array;
}

/** Registers of one CPU at the moment of the dump. */
export interface CpuState {
  readonly cpu: number;
  /** Of the task that ran there, where the note has it. */
  readonly pid?: number;
  /** Lower-case names as in the manuals. */
  readonly registers: Readonly<Record<string, bigint>>;
}

export interface Notes {
  readonly all: readonly Note[];
  readonly cpus: readonly CpuState[];
}

export const NO_NOTES: Notes = { all: [], cpus: [] };

const NT_PRSTATUS = 1;
/** s390: control registers 0 to 15 and the prefix of the CPU whose NT_PRSTATUS came last. */
const NT_S390_CTRS = 0x304;
const NT_S390_PREFIX = 0x305;

const align4 = (n: number): number => Math.ceil(n / 4) * 4;

const MOST_NOTES = 200_000;

/** Takes a note segment apart and adds its notes to `notes`. `where` is its place in the file, for messages. */
export function parseNotes(bytes: Uint8Array, little: boolean, where: number, notes: Note[] = []): Note[] {
  for (let at = 0; at + 12 <= bytes.length; ) {
    const header = new Fields(bytes.subarray(at, at + 12), little, where + at, 'note');
    const nameBytes = header.u32(0);
    const dataBytes = header.u32(4);
    const type = header.u32(8);
    const dataAt = at + 12 + align4(nameBytes);
    const end = dataAt + dataBytes;
    if (end > bytes.length) {
      throw new PxdError(
        'bad-image',
        `the note at offset ${hex(where + at)} claims a name of ${nameBytes} and data of ${dataBytes} bytes, but only ${bytes.length - at - 12} bytes follow`,
        BigInt(where + at),
      );
    }
    if (notes.length >= MOST_NOTES) throw new PxdError('limit', `the file has more than ${MOST_NOTES} notes`, BigInt(where + at));
    // Room that was reserved for a CPU which never wrote its note is zero.
    if (nameBytes > 0 || dataBytes > 0) notes.push({ name: textOf(bytes.subarray(at + 12, at + 12 + nameBytes)), type, data: bytes.subarray(dataAt, end) });
    at = align4(end);
  }
  return notes;
}

interface RegisterLayout {
  readonly elfMachine: number;
  readonly bits: 32 | 64;
  readonly names: readonly string[];
  /** Registers in the note, when that is more than `names` (the rest has no name here). */
  readonly slots?: number;
}

const numbered = (prefix: string, from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, i) => `${prefix}${from + i}`);
const names = (text: string): string[] => text.split(' ');
const PPC = [...numbered('gpr', 0, 31), ...names('nip msr orig_gpr3 ctr lr xer ccr softe trap dar dsisr result')];
const RISCV = names('pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6');

/** Order of the registers in NT_PRSTATUS: `elf_gregset_t` of each architecture. An empty name is a slot without one. */
const LAYOUTS: readonly RegisterLayout[] = [
  {
    elfMachine: 62,
    bits: 64,
    names: names('r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs'),
  },
  { elfMachine: 3, bits: 32, names: names('ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp ss') },
  { elfMachine: 183, bits: 64, names: [...numbered('x', 0, 30), 'sp', 'pc', 'pstate'] },
  { elfMachine: 40, bits: 32, names: [...numbered('r', 0, 12), 'sp', 'lr', 'pc', 'cpsr', 'orig_r0'] },
  { elfMachine: 243, bits: 64, names: RISCV },
  { elfMachine: 243, bits: 32, names: RISCV },
  // The access registers follow the general ones as sixteen 32-bit words, then orig_gpr2.
  { elfMachine: 22, bits: 64, names: ['pswm', 'pswa', ...numbered('r', 0, 15)], slots: 27 },
  { elfMachine: 21, bits: 64, names: PPC, slots: 48 },
  { elfMachine: 20, bits: 32, names: PPC.map((n) => (n === 'softe' ? 'mq' : n)), slots: 48 },
  { elfMachine: 8, bits: 64, names: [...numbered('r', 0, 31), ...names('lo hi epc badvaddr status cause')], slots: 45 },
  { elfMachine: 8, bits: 32, names: [...numbered('', 0, 5).map(() => ''), ...numbered('r', 0, 31), ...names('lo hi epc badvaddr status cause')], slots: 45 },
  { elfMachine: 258, bits: 64, names: [...numbered('r', 0, 31), 'orig_a0', 'era', 'badv'], slots: 45 },
];

/** struct elf_prstatus: signal, masks, four ids and four times come before the registers, `pr_fpvalid` after them. */
const PRSTATUS = { 32: { pid: 24, registers: 72, word: 4 }, 64: { pid: 32, registers: 112, word: 8 } } as const;

/** Registers per CPU out of the notes of a machine. */
export function cpuStates(all: readonly Note[], elfMachine: number | undefined, bits: 32 | 64, little: boolean): CpuState[] {
  const cpus: { pid?: number; registers: [string, bigint][] }[] = [];
  let qemu = 0;
  for (const note of all) {
    if (note.name === 'CORE' && note.type === NT_PRSTATUS) cpus.push(prstatus(note.data, elfMachine, bits, little));
    else if (note.name === 'QEMU' && (elfMachine === 62 || elfMachine === 3)) {
      // QEMU writes the notes of its own after all others, in the order of the CPUs.
      cpus[qemu] ??= { registers: [] };
      cpus[qemu++].registers.push(...qemuState(note.data, little));
    } else if (note.name === 'LINUX' && elfMachine === 22 && cpus.length > 0) cpus[cpus.length - 1].registers.push(...s390State(note));
  }
  return cpus.map(({ pid, registers }, cpu) => ({ cpu, ...(pid === undefined ? {} : { pid }), registers: Object.fromEntries(registers) }));
}

function prstatus(data: Uint8Array, elfMachine: number | undefined, noteBits: 32 | 64, little: boolean): { pid?: number; registers: [string, bigint][] } {
  // QEMU writes 32-bit notes into the 64-bit core of a 32-bit guest: the length decides.
  for (const bits of [noteBits, noteBits === 64 ? 32 : 64] as const) {
    const layout = LAYOUTS.find((l) => l.elfMachine === elfMachine && l.bits === bits);
    if (!layout) continue;
    const { pid, registers, word } = PRSTATUS[bits];
    const size = registers + word * (layout.slots ?? layout.names.length);
    if (data.length < size || data.length > size + 2 * word) continue;
    const fields = new Fields(data, little, 0, 'NT_PRSTATUS note');
    const values = layout.names.map((name, i): [string, bigint] => {
      const at = registers + i * word;
      return [name, word === 8 ? fields.big(at) : BigInt(fields.u32(at))];
    });
    return { pid: fields.u32(pid), registers: values.filter(([name]) => name !== '') };
  }
  return { registers: [] };
}

const QEMU_GENERAL = names('rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags');
const QEMU_SEGMENTS = names('cs ds es fs gs ss ldt tr gdt idt');

/** struct QEMUCPUState of QEMU's target/i386: general registers, ten segments, CR0 to CR4. */
function qemuState(data: Uint8Array, little: boolean): [string, bigint][] {
  if (data.length < 432) return [];
  const fields = new Fields(data, little, 0, 'QEMU note');
  if (fields.u32(0) !== 1) return [];
  const out: [string, bigint][] = QEMU_GENERAL.map((name, i) => [name, fields.big(8 + 8 * i)]);
  QEMU_SEGMENTS.forEach((name, i) => {
    const at = 152 + 24 * i;
    out.push([name, BigInt(fields.u32(at))], [`${name}_base`, fields.big(at + 16)]);
  });
  for (const cr of [0, 2, 3, 4]) out.push([`cr${cr}`, fields.big(392 + 8 * cr)]);
  return out;
}

function s390State(note: Note): [string, bigint][] {
  const fields = new Fields(note.data, false, 0, 'LINUX note');
  if (note.type === NT_S390_CTRS && note.data.length === 128) return numbered('cr', 0, 15).map((name, i) => [name, fields.big(8 * i)]);
  if (note.type === NT_S390_PREFIX && note.data.length === 4) return [['prefix', BigInt(fields.u32(0))]];
  return [];
}

/** VMCOREINFO as the kernel wrote it: text, and its `KEY=value` lines. A key that stands twice keeps its first value. */
export function parseVmcoreinfo(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (equals > 0 && !values.has(line.slice(0, equals))) values.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return values;
}

/** The text of the note that carries VMCOREINFO. */
export function vmcoreinfoOf(all: readonly Note[]): string | undefined {
  const note = all.find((n) => n.name === 'VMCOREINFO');
  return note && textOf(note.data);
}
