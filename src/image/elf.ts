/**
 * ELF cores of physical memory: QEMU's dump-guest-memory, /proc/vmcore, makedumpfile -E, pxd's own captures.
 *
 * Invariants: nothing is allocated by a count out of the file before the bytes that it counts were seen to be there; segments without a
 * physical address are left out; a core that has none with one is refused, since it holds the virtual memory of a process.
 */
import { PxdError } from '../pagetable/error.ts';
import { type ByteSource, checkRange, Fields, hex } from './bytes.ts';
import { CAPTURE_NOTE, type CaptureMeta, parseCaptureMeta } from './capture.ts';
import { type Image, PhysicalImage } from './image.ts';
import { machineName } from './machines.ts';
import { PieceStore } from './memory.ts';
import { cpuStates, type Note, parseNotes, parseVmcoreinfo, vmcoreinfoOf } from './notes.ts';
import { type Piece, ZERO } from './pieces.ts';

const PT_LOAD = 1;
const PT_NOTE = 4;
const ET_CORE = 4;
const PN_XNUM = 0xffff;
const NT_PRPSINFO = 3;
const NT_AUXV = 6;

const MOST_SEGMENTS = 400_000;
const MOST_NOTE_BYTES = 64 * 2 ** 20;

/** Offsets of the fields that differ between the classes. */
interface Class {
  readonly bits: 32 | 64;
  readonly header: number;
  readonly phoff: number;
  readonly shoff: number;
  readonly phentsize: number;
  readonly phnum: number;
  readonly sectionBytes: number;
  readonly sectionInfo: number;
  readonly segmentBytes: number;
  readonly segment: { readonly offset: number; readonly vaddr: number; readonly paddr: number; readonly filesz: number; readonly memsz: number };
}

const CLASSES: Readonly<Record<number, Class>> = {
  1: {
    bits: 32,
    header: 52,
    phoff: 28,
    shoff: 32,
    phentsize: 42,
    phnum: 44,
    sectionBytes: 40,
    sectionInfo: 28,
    segmentBytes: 32,
    segment: { offset: 4, vaddr: 8, paddr: 12, filesz: 16, memsz: 20 },
  },
  2: {
    bits: 64,
    header: 64,
    phoff: 32,
    shoff: 40,
    phentsize: 54,
    phnum: 56,
    sectionBytes: 64,
    sectionInfo: 44,
    segmentBytes: 56,
    segment: { offset: 8, vaddr: 16, paddr: 24, filesz: 32, memsz: 40 },
  },
};

interface Header {
  readonly form: Class;
  readonly little: boolean;
  readonly machine: number;
  readonly phoff: number;
  readonly count: number;
}

interface Load {
  readonly offset: number;
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly filesz: number;
  readonly memsz: number;
}

/** Opens an ELF core. @throws {PxdError} for anything that is not one of physical memory. */
export function openElf(source: ByteSource, layers: readonly string[] = []): Image {
  const header = readHeader(source);
  const { loads, noteRanges } = readSegments(source, header);
  const all: Note[] = [];
  for (const [offset, length] of noteRanges) parseNotes(source.read(offset, length), header.little, offset, all);
  const ranges = physicalRanges(loads, all, header.form.bits);
  const text = vmcoreinfoOf(all);
  const vmcoreinfo = text === undefined ? undefined : parseVmcoreinfo(text);
  const capture = captureOf(all);
  return new PhysicalImage(new PieceStore(source, ranges), {
    format: capture ? 'pxd capture' : 'ELF core',
    layers,
    elfMachine: header.machine,
    endian: header.little ? 'little' : 'big',
    bits: header.form.bits,
    notes: { all, cpus: cpuStates(all, header.machine, header.form.bits, header.little) },
    vmcoreinfo,
    vmcoreinfoText: text,
    kernelRelease: vmcoreinfo?.get('OSRELEASE') ?? capture?.kernel,
    capture,
    remarks: [machineName(header.machine)],
  });
}

function readHeader(source: ByteSource): Header {
  const ident = source.read(0, 20);
  const form = CLASSES[ident[4]];
  if (!form) throw new PxdError('bad-image', `the ELF header has class ${ident[4]} at offset 4, expected 1 (32-bit) or 2 (64-bit)`, 4n);
  if (ident[5] !== 1 && ident[5] !== 2)
    throw new PxdError('bad-image', `the ELF header has byte order ${ident[5]} at offset 5, expected 1 (little) or 2 (big)`, 5n);
  const little = ident[5] === 1;
  const fields = new Fields(source.read(0, form.header), little, 0, 'ELF header');
  const type = fields.u16(16);
  if (type !== ET_CORE)
    throw new PxdError('bad-image', `the ELF file has type ${type}, expected 4: a core dump of memory, not a program, library or object`, 16n);
  const offset = (at: number, name: string): number => (form.bits === 64 ? fields.u64(at, name) : fields.u32(at));
  const phoff = offset(form.phoff, 'e_phoff');
  const size = fields.u16(form.phentsize);
  let count = fields.u16(form.phnum);
  if (count > 0 && size !== form.segmentBytes) {
    throw new PxdError('bad-image', `the ELF header says that a program header has ${size} bytes, expected ${form.segmentBytes}`, BigInt(form.phentsize));
  }
  if (count === PN_XNUM) {
    // The real count stands in the first section header.
    const shoff = offset(form.shoff, 'e_shoff');
    count = new Fields(source.read(shoff, form.sectionBytes), little, shoff, 'section header').u32(form.sectionInfo);
  }
  if (count > MOST_SEGMENTS) throw new PxdError('limit', `the ELF header claims ${count} program headers, more than the ${MOST_SEGMENTS} that pxd reads`);
  checkRange(phoff, count * form.segmentBytes, source.size);
  return { form, little, machine: fields.u16(18), phoff, count };
}

function readSegments(source: ByteSource, { form, little, phoff, count }: Header): { loads: Load[]; noteRanges: [number, number][] } {
  const loads: Load[] = [];
  const noteRanges: [number, number][] = [];
  let noteBytes = 0;
  for (let i = 0; i < count; i++) {
    const at = phoff + i * form.segmentBytes;
    const fields = new Fields(source.read(at, form.segmentBytes), little, at, 'program header');
    const type = fields.u32(0);
    if (type !== PT_LOAD && type !== PT_NOTE) continue;
    const number = (field: keyof Class['segment']): number =>
      form.bits === 64 ? fields.u64(form.segment[field], `p_${field}`) : fields.u32(form.segment[field]);
    const address = (field: 'vaddr' | 'paddr'): bigint => (form.bits === 64 ? fields.big(form.segment[field]) : BigInt(fields.u32(form.segment[field])));
    if (type === PT_LOAD) {
      loads.push({ offset: number('offset'), vaddr: address('vaddr'), paddr: address('paddr'), filesz: number('filesz'), memsz: number('memsz') });
    } else {
      noteBytes += number('filesz');
      if (noteBytes > MOST_NOTE_BYTES) throw new PxdError('limit', `the notes take more than ${MOST_NOTE_BYTES} bytes, more than pxd reads`, BigInt(at));
      checkRange(number('offset'), number('filesz'), source.size);
      noteRanges.push([number('offset'), number('filesz')]);
    }
  }
  return { loads, noteRanges };
}

/** Physical ranges of the segments that have a physical address: where each one's data lies, then the zeros that follow it in memory. */
function physicalRanges(loads: readonly Load[], notes: readonly Note[], bits: 32 | 64): Piece[] {
  const used = loads.filter((l) => l.memsz > 0 || l.filesz > 0);
  if (used.length === 0) throw new PxdError('bad-image', 'the ELF core has no segment with memory in it (PT_LOAD)');
  const ofProcess = notes.some((n) => n.name === 'CORE' && (n.type === NT_PRPSINFO || n.type === NT_AUXV));
  if (used.every((l) => l.paddr === 0n) && (used.length > 1 || (ofProcess && used[0].vaddr !== 0n))) {
    throw new PxdError(
      'bad-image',
      'the ELF core holds the virtual memory of a process (no segment has a physical address), but page tables are found in physical memory: a dump of the whole machine is needed',
    );
  }
  const none = bits === 64 ? 0xffff_ffff_ffff_ffffn : 0xffff_ffffn;
  const out: Piece[] = [];
  for (const load of used) {
    // /proc/kcore marks mappings without one physical address (vmalloc) so.
    if (load.paddr === none) continue;
    const start = Number(load.paddr);
    const data = start + load.filesz;
    const end = start + Math.max(load.memsz, load.filesz);
    if (!Number.isSafeInteger(end) || !Number.isSafeInteger(load.offset + load.filesz)) {
      throw new PxdError(
        'bad-image',
        `a segment of the ELF core claims physical memory ${hex(load.paddr)} with ${hex(load.memsz)} bytes at offset ${hex(load.offset)}, beyond any memory or file`,
      );
    }
    if (data > start) out.push({ start, end: data, offset: load.offset });
    if (end > data) out.push({ start: data, end, offset: ZERO });
  }
  if (out.length === 0) throw new PxdError('bad-image', 'no segment of the ELF core has a physical address');
  return out;
}

function captureOf(notes: readonly Note[]): CaptureMeta | undefined {
  const note = notes.find((n) => n.name === CAPTURE_NOTE.name && n.type === CAPTURE_NOTE.type);
  return note && parseCaptureMeta(note.data);
}
