/** Writers of small images in every format, for tests: each takes plain data and writes it as the format's own tools would. */
import { deflateSync } from 'node:zlib';
import { snappyCompress } from 'hysnappy';
import { writeNotes } from '../../src/image/capture.ts';
import type { Note } from '../../src/image/notes.ts';
import { lzoOf } from './lzo.ts';

export const PAGE = 4096;

/** Fails with the first place where bytes differ; much faster on pages than comparing arrays element by element. */
export function expectBytes(actual: Uint8Array | undefined, expected: Uint8Array): void {
  if (actual === undefined) throw new Error('there are no bytes');
  if (Buffer.compare(actual, expected) === 0) return;
  const at = expected.findIndex((byte, i) => byte !== actual[i]);
  throw new Error(`bytes differ: lengths ${actual.length} and ${expected.length}, first at ${at}: ${actual[at]} instead of ${expected[at]}`);
}

/** Contents that tell which page they are: a pattern over a seed, compressible. */
export function pageOf(seed: number, bytes = PAGE): Uint8Array {
  const page = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) page[i] = i % 64 < 16 ? (seed * 31 + (i >> 6)) & 0xff : seed & 0xff;
  return page;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A growing file that is written at any offset. */
class Writer {
  bytes = new Uint8Array(0);
  readonly #little: boolean;

  constructor(little: boolean) {
    this.#little = little;
  }

  view(at: number, length: number): DataView {
    if (at + length > this.bytes.length) {
      const larger = new Uint8Array(at + length);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    return new DataView(this.bytes.buffer, at, length);
  }

  u16(at: number, value: number): void {
    this.view(at, 2).setUint16(0, value, this.#little);
  }

  u32(at: number, value: number): void {
    this.view(at, 4).setUint32(0, value, this.#little);
  }

  u64(at: number, value: number | bigint): void {
    this.view(at, 8).setBigUint64(0, BigInt(value), this.#little);
  }

  put(at: number, bytes: Uint8Array): void {
    this.view(at, bytes.length);
    this.bytes.set(bytes, at);
  }

  text(at: number, text: string): void {
    this.put(at, new TextEncoder().encode(text));
  }
}

export interface ElfSegment {
  readonly paddr: number | bigint;
  readonly bytes: Uint8Array;
  readonly memsz?: number | bigint;
  readonly vaddr?: number | bigint;
  /** Where the header says that the data lies; absent: where it is put. */
  readonly offset?: number | bigint;
  readonly filesz?: number | bigint;
}

export interface ElfInput {
  readonly bits?: 32 | 64;
  readonly little?: boolean;
  readonly machine?: number;
  readonly type?: number;
  readonly segments: readonly ElfSegment[];
  readonly notes?: readonly Note[];
  /** Count in the section header, as with 65535 or more program headers. */
  readonly extended?: boolean;
  /** Bytes that segments' data is aligned to. */
  readonly align?: number;
}

export function makeElf({ bits = 64, little = true, machine = 62, type = 4, segments, notes = [], extended = false, align = 1 }: ElfInput): Uint8Array {
  const out = new Writer(little);
  const wide = bits === 64;
  const [header, size, section] = wide ? [64, 56, 64] : [52, 32, 40];
  const word = (at: number, value: number | bigint): void => (wide ? out.u64(at, value) : out.u32(at, Number(value)));
  const count = segments.length + 1;
  out.put(0, Uint8Array.from([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, little ? 1 : 2, 1]));
  out.u16(16, type);
  out.u16(18, machine);
  out.u32(20, 1);
  const phoff = header + (extended ? section : 0);
  word(wide ? 32 : 28, phoff);
  const tail = wide ? 52 : 40;
  out.u16(tail, header);
  out.u16(tail + 2, size);
  out.u16(tail + 4, extended ? 0xffff : count);
  if (extended) {
    word(wide ? 40 : 32, header);
    out.u16(tail + 6, section);
    out.u16(tail + 8, 1);
    out.u32(header + (wide ? 44 : 28), count);
  }
  const noteBytes = writeNotes(notes, little);
  let data = phoff + count * size;
  const entry = (
    i: number,
    s: { type: number; offset: number | bigint; vaddr: number | bigint; paddr: number | bigint; filesz: number | bigint; memsz: number | bigint },
  ): void => {
    const at = phoff + i * size;
    out.u32(at, s.type);
    if (wide)
      for (const [o, v] of [
        [8, s.offset],
        [16, s.vaddr],
        [24, s.paddr],
        [32, s.filesz],
        [40, s.memsz],
      ] as const)
        out.u64(at + o, v);
    else
      for (const [o, v] of [
        [4, s.offset],
        [8, s.vaddr],
        [12, s.paddr],
        [16, s.filesz],
        [20, s.memsz],
      ] as const)
        out.u32(at + o, Number(v));
  };
  entry(0, { type: 4, offset: data, vaddr: 0, paddr: 0, filesz: noteBytes.length, memsz: 0 });
  out.put(data, noteBytes);
  data += noteBytes.length;
  segments.forEach((s, i) => {
    data = Math.ceil(data / align) * align;
    entry(i + 1, {
      type: 1,
      offset: s.offset ?? data,
      vaddr: s.vaddr ?? 0,
      paddr: s.paddr,
      filesz: s.filesz ?? s.bytes.length,
      memsz: s.memsz ?? s.bytes.length,
    });
    out.put(data, s.bytes);
    data += s.bytes.length;
  });
  return out.bytes;
}

export function makeLime(ranges: readonly { start: number; bytes: Uint8Array }[]): Uint8Array {
  return concat(
    ranges.flatMap(({ start, bytes }) => {
      const header = new Writer(true);
      header.u32(0, 0x4c694d45);
      header.u32(4, 1);
      header.u64(8, start);
      header.u64(16, start + bytes.length - 1);
      header.u64(24, 0);
      return [header.bytes, bytes];
    }),
  );
}

export type Method = 'zlib' | 'lzo' | 'snappy' | 'zstd' | 'none';
const FLAGS: Readonly<Record<Method, number>> = { none: 0, zlib: 1, lzo: 2, snappy: 4, zstd: 0x20 };
const COMPRESS: Readonly<Record<Method, (page: Uint8Array) => Uint8Array>> = {
  none: (page) => page,
  zlib: (page) => deflateSync(page),
  lzo: lzoOf,
  snappy: snappyCompress,
  zstd: (page) => zstdFrame(page),
};

export interface KdumpInput {
  /** Page number → bytes, one page each. */
  readonly pages: ReadonlyMap<number, Uint8Array>;
  readonly method?: Method;
  readonly little?: boolean;
  /** 32-bit structures: 64-bit fields aligned to 4 bytes (`packed`) or 8 (`natural`). */
  readonly form?: '64' | '32-packed' | '32-natural';
  readonly version?: number;
  readonly blockSize?: number;
  readonly maxPages?: number;
  readonly machine?: string;
  readonly physBase?: number;
  /** Taken off page numbers, as makedumpfile does on arm. */
  readonly firstPage?: number;
  readonly vmcoreinfo?: string;
  readonly notes?: readonly Note[];
  readonly split?: boolean;
  /** One bitmap instead of two. */
  readonly single?: boolean;
  readonly status?: number;
}

const SUB = {
  '64': { word: 8, dumpLevel: 8, split: 12, pfns: 16, vmcoreinfo: 32, notes: 48, wide: 80, status: 424 },
  '32-packed': { word: 4, dumpLevel: 4, split: 8, pfns: 12, vmcoreinfo: 20, notes: 32, wide: 56, status: 412 },
  '32-natural': { word: 4, dumpLevel: 4, split: 8, pfns: 12, vmcoreinfo: 24, notes: 40, wide: 72, status: 412 },
} as const;

export function makeKdump(input: KdumpInput): Uint8Array {
  const { pages, method = 'zlib', little = true, form = '64', version = 6, blockSize = PAGE, firstPage = 0 } = input;
  const out = new Writer(little);
  const at = SUB[form];
  const numbers = [...pages.keys()].sort((a, b) => a - b);
  const count = input.maxPages ?? (numbers.length > 0 ? numbers[numbers.length - 1] - firstPage + 1 : 0);
  const bitmapBlocks = Math.max(1, Math.ceil(count / 8 / blockSize));
  const blocks = input.single ? bitmapBlocks : 2 * bitmapBlocks;
  out.text(0, 'KDUMP   ');
  out.u32(8, version);
  ['Linux', 'test', '6.1.0-test', '#1', input.machine ?? 'x86_64', ''].forEach((text, i) => {
    out.text(12 + 65 * i, text);
  });
  [input.status ?? FLAGS[method], blockSize, 1, blocks, count % 2 ** 32, 0, 0, 0, 0, 1].forEach((value, i) => {
    out.u32(at.status + 4 * i, value);
  });
  const sub = blockSize;
  out.view(sub, blockSize);
  const long = (offset: number, value: number): void => (at.word === 8 ? out.u64(sub + offset, value) : out.u32(sub + offset, value));
  long(0, input.physBase ?? 0);
  out.u32(sub + at.dumpLevel, 1);
  out.u32(sub + at.split, input.split ? 1 : 0);
  long(at.pfns, 0);
  long(at.pfns + at.word, count);
  if (version >= 6)
    [0, count, count].forEach((value, i) => {
      out.u64(sub + at.wide + 8 * i, value);
    });
  const bitmaps = 2 * blockSize;
  out.view(bitmaps, blocks * blockSize);
  for (const number of numbers) {
    const bit = number - firstPage;
    for (const map of input.single ? [0] : [0, bitmapBlocks * blockSize]) out.bytes[bitmaps + map + (bit >> 3)] |= 1 << (bit & 7);
  }
  const descriptors = bitmaps + blocks * blockSize;
  let data = descriptors + 24 * numbers.length;
  out.view(descriptors, 24 * numbers.length);
  numbers.forEach((number, i) => {
    const page = pages.get(number) as Uint8Array;
    const packed = COMPRESS[method](page);
    const smaller = packed.length < page.length;
    const stored = smaller ? packed : page;
    out.u64(descriptors + 24 * i, data);
    out.u32(descriptors + 24 * i + 8, stored.length);
    out.u32(descriptors + 24 * i + 12, smaller ? FLAGS[method] : 0);
    out.put(data, stored);
    data += stored.length;
  });
  const extra = (offset: number, bytes: Uint8Array): void => {
    out.u64(sub + offset, data);
    long(offset + 8, bytes.length);
    out.put(data, bytes);
    data += bytes.length;
  };
  if (input.vmcoreinfo !== undefined && version >= 3) extra(at.vmcoreinfo, new TextEncoder().encode(input.vmcoreinfo));
  if (input.notes && version >= 4) extra(at.notes, writeNotes(input.notes, little));
  return out.bytes;
}

/** The flattened form: records in the order given, each `[offset, bytes]`. */
export function makeFlattened(records: readonly (readonly [number, Uint8Array])[], end = true): Uint8Array {
  const header = new Writer(false);
  header.view(0, 4096);
  header.text(0, 'makedumpfile');
  header.u64(16, 1);
  header.u64(24, 1);
  const record = (offset: number | bigint, size: number | bigint): Uint8Array => {
    const out = new Writer(false);
    out.u64(0, offset);
    out.u64(8, size);
    return out.bytes;
  };
  const marks = end ? [record(2n ** 64n - 1n, 2n ** 64n - 1n)] : [];
  return concat([header.bytes, ...records.flatMap(([offset, bytes]) => [record(offset, bytes.length), bytes]), ...marks]);
}

export interface ZstdOptions {
  /** Write the content's size into the frame header. */
  readonly sized?: boolean;
}

/** A zstd frame of stored and run-length blocks, no compression: enough to make any contents. */
export function zstdFrame(bytes: Uint8Array, { sized = true }: ZstdOptions = {}): Uint8Array {
  // Descriptor: 4-byte content size and single segment, or neither and a window of 128 KiB.
  const head = sized ? [0x28, 0xb5, 0x2f, 0xfd, 0xa0, ...little32(bytes.length)] : [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
  const parts: Uint8Array[] = [Uint8Array.from(head)];
  for (let at = 0; ; ) {
    const { length, run } = blockAt(bytes, at);
    const last = at + length >= bytes.length;
    const header = (length << 3) | (run ? 2 : 0) | (last ? 1 : 0);
    parts.push(Uint8Array.from([header & 0xff, (header >> 8) & 0xff, header >> 16]), run ? bytes.subarray(at, at + 1) : bytes.subarray(at, at + length));
    at += length;
    if (last) return concat(parts);
  }
}

function blockAt(bytes: Uint8Array, at: number): { length: number; run: boolean } {
  const most = Math.min(bytes.length - at, 128 * 1024);
  let run = 1;
  while (run < most && bytes[at + run] === bytes[at]) run++;
  return run >= 16 ? { length: run, run: true } : { length: Math.min(most, 4096), run: false };
}

/** A frame that decoders pass over. */
export const zstdSkippable = (bytes: Uint8Array): Uint8Array => concat([Uint8Array.from([0x5a, 0x2a, 0x4d, 0x18, ...little32(bytes.length)]), bytes]);

const little32 = (n: number): number[] => [n & 0xff, (n >> 8) & 0xff, (n >> 16) & 0xff, n >>> 24];

/** NT_PRSTATUS of a machine with 64-bit registers: pid, then the registers in the architecture's order. */
export function prstatus(pid: number, registers: readonly bigint[], little = true): Note {
  const data = new Uint8Array(112 + 8 * registers.length + 8);
  const view = new DataView(data.buffer);
  view.setUint32(32, pid, little);
  registers.forEach((value, i) => {
    view.setBigUint64(112 + 8 * i, value, little);
  });
  return { name: 'CORE', type: 1, data };
}
