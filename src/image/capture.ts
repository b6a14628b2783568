/**
 * pxd's own capture: a sparse ELF64 core with some frames of a machine (page tables), its VMCOREINFO, and a note that says what a reader needs
 * to walk them: paging mode, kernel release, root registers of each process. Any tool that reads ELF cores of physical memory reads it, too.
 *
 * Layout: ELF header, program headers (one PT_NOTE, then a PT_LOAD a run of adjacent frames), notes, padding to 4 KiB, frames in ascending order.
 * `p_vaddr` is 0, `p_paddr` the physical address. With 65535 or more program headers the count moves to a section header (PN_XNUM).
 *
 * Invariant: writing is a pure function of its input: the same input gives the same bytes.
 */
import { PxdError } from '../pagetable/error.ts';
import { FRAME_BYTES } from '../pagetable/source.ts';
import type { Note } from './notes.ts';
import { isRecord, kindOf, type RootEntry, rootsFrom, rootToJson, shown } from './roots.ts';

export const CAPTURE_NOTE = { name: 'PXD', type: 1 } as const;

/** What the note of a capture says. */
export interface CaptureMeta {
  /** Name of the paging mode (`x86-4level`). */
  readonly mode?: string;
  /** Kernel release (`6.12.107-amd64`). */
  readonly kernel?: string;
  readonly roots: readonly RootEntry[];
  /** Anything else that the writer wants to keep, as JSON. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

export interface CaptureFrame {
  readonly frame: number;
  /** 4096 bytes. */
  readonly bytes: Uint8Array;
}

export interface CaptureInput {
  readonly elfMachine: number;
  readonly endian: 'little' | 'big';
  readonly frames: readonly CaptureFrame[];
  readonly meta: CaptureMeta;
  readonly vmcoreinfo?: string;
  /** Further notes, written as they are. */
  readonly notes?: readonly Note[];
}

const HEADER = 64;
const SEGMENT = 56;
const SECTION = 64;
const PN_XNUM = 0xffff;
const MOST_META = 16 * 2 ** 20;

/** The chunks of the file, in order. Frames are passed through, not copied. @throws {PxdError} `usage` for a frame of a wrong size or given twice. */
export function writeCapture(input: CaptureInput): Uint8Array[] {
  const little = input.endian === 'little';
  const frames = [...input.frames].sort((a, b) => a.frame - b.frame);
  checkFrames(frames);
  const runs = runsOf(frames);
  const notes = writeNotes(notesOf(input), little);
  const count = 1 + runs.length;
  const sections = count >= PN_XNUM ? SECTION : 0;
  const notesAt = HEADER + sections + count * SEGMENT;
  const dataAt = Math.ceil((notesAt + notes.length) / FRAME_BYTES) * FRAME_BYTES;
  const head = new Uint8Array(dataAt);
  const view = new DataView(head.buffer);
  writeHeader(view, little, input.elfMachine, count, sections > 0);
  let at = HEADER + sections;
  writeSegment(view, at, little, { type: 4, offset: notesAt, address: 0, size: notes.length, align: 4 });
  let offset = dataAt;
  for (const { frame, frames: n } of runs) {
    at += SEGMENT;
    writeSegment(view, at, little, { type: 1, offset, address: frame * FRAME_BYTES, size: n * FRAME_BYTES, align: FRAME_BYTES });
    offset += n * FRAME_BYTES;
  }
  head.set(notes, notesAt);
  return [head, ...frames.map((f) => f.bytes)];
}

function checkFrames(frames: readonly CaptureFrame[]): void {
  frames.forEach(({ frame, bytes }, i) => {
    if (!(Number.isSafeInteger(frame) && frame >= 0 && frame < 2 ** 41))
      throw new PxdError('usage', `frame ${frame} of a capture is not the number of a frame`);
    if (bytes.length !== FRAME_BYTES)
      throw new PxdError('usage', `frame 0x${frame.toString(16)} of a capture has ${bytes.length} bytes, expected ${FRAME_BYTES}`);
    if (i > 0 && frames[i - 1].frame === frame) throw new PxdError('usage', `frame 0x${frame.toString(16)} is twice in one capture`);
  });
}

function runsOf(frames: readonly CaptureFrame[]): { frame: number; frames: number }[] {
  const runs: { frame: number; frames: number }[] = [];
  for (const { frame } of frames) {
    const last = runs[runs.length - 1];
    if (last && last.frame + last.frames === frame) last.frames++;
    else runs.push({ frame, frames: 1 });
  }
  return runs;
}

const UTF8 = new TextEncoder();

function notesOf({ meta, vmcoreinfo, notes }: CaptureInput): Note[] {
  const json = {
    ...meta.extra,
    schema: 1,
    ...(meta.mode === undefined ? {} : { mode: meta.mode }),
    ...(meta.kernel === undefined ? {} : { kernel: meta.kernel }),
    roots: meta.roots.map(rootToJson),
  };
  return [
    ...(notes ?? []),
    ...(vmcoreinfo === undefined ? [] : [{ name: 'VMCOREINFO', type: 0, data: UTF8.encode(vmcoreinfo) }]),
    { ...CAPTURE_NOTE, data: UTF8.encode(JSON.stringify(json)) },
  ];
}

/** Notes as an ELF file holds them: name with its NUL and data, each padded to 4 bytes. */
export function writeNotes(notes: readonly Note[], little: boolean): Uint8Array {
  const align = (n: number): number => Math.ceil(n / 4) * 4;
  const parts = notes.map((note) => ({ name: UTF8.encode(`${note.name}\0`), type: note.type, data: note.data }));
  const out = new Uint8Array(parts.reduce((n, p) => n + 12 + align(p.name.length) + align(p.data.length), 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const { name, type, data } of parts) {
    view.setUint32(at, name.length, little);
    view.setUint32(at + 4, data.length, little);
    view.setUint32(at + 8, type, little);
    out.set(name, at + 12);
    at += 12 + align(name.length);
    out.set(data, at);
    at += align(data.length);
  }
  return out;
}

function writeHeader(view: DataView, little: boolean, machine: number, count: number, extended: boolean): void {
  [0x7f, 0x45, 0x4c, 0x46, 2, little ? 1 : 2, 1].forEach((byte, i) => {
    view.setUint8(i, byte);
  });
  view.setUint16(16, 4, little);
  view.setUint16(18, machine, little);
  view.setUint32(20, 1, little);
  view.setBigUint64(32, BigInt(HEADER + (extended ? SECTION : 0)), little);
  view.setUint16(52, HEADER, little);
  view.setUint16(54, SEGMENT, little);
  view.setUint16(56, extended ? PN_XNUM : count, little);
  if (!extended) return;
  view.setBigUint64(40, BigInt(HEADER), little);
  view.setUint16(58, SECTION, little);
  view.setUint16(60, 1, little);
  view.setUint32(HEADER + 44, count, little);
}

function writeSegment(view: DataView, at: number, little: boolean, s: { type: number; offset: number; address: number; size: number; align: number }): void {
  view.setUint32(at, s.type, little);
  view.setUint32(at + 4, s.type === 1 ? 4 : 0, little);
  view.setBigUint64(at + 8, BigInt(s.offset), little);
  view.setBigUint64(at + 24, BigInt(s.address), little);
  view.setBigUint64(at + 32, BigInt(s.size), little);
  view.setBigUint64(at + 40, BigInt(s.type === 1 ? s.size : 0), little);
  view.setBigUint64(at + 48, BigInt(s.align), little);
}

/** Reads the note of a capture back. @throws {PxdError} when it is not what `writeCapture` writes. */
export function parseCaptureMeta(data: Uint8Array): CaptureMeta {
  if (data.length > MOST_META) throw new PxdError('limit', `the PXD note of the capture has ${data.length} bytes, more than pxd reads`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(data));
  } catch {
    throw new PxdError('bad-image', 'the PXD note of the capture is not JSON');
  }
  if (!isRecord(value)) throw new PxdError('bad-image', `the PXD note of the capture holds ${kindOf(value)}, expected an object`);
  const { schema, mode, kernel, roots, ...extra } = value;
  if (schema !== 1) throw new PxdError('bad-image', `the PXD note of the capture has schema ${shown(schema)}, expected 1: a newer pxd may have written it`);
  if (mode !== undefined && typeof mode !== 'string') throw new PxdError('bad-image', `the PXD note of the capture has mode ${shown(mode)}, expected a text`);
  if (kernel !== undefined && typeof kernel !== 'string')
    throw new PxdError('bad-image', `the PXD note of the capture has kernel ${shown(kernel)}, expected a text`);
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(kernel === undefined ? {} : { kernel }),
    roots: rootsFrom(roots ?? [], "the capture's list of roots"),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}
