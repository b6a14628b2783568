/**
 * kdump-compressed dumps, as makedumpfile and QEMU write them: one header block, a sub header, bitmaps, a table of page descriptors, then pages, each
 * compressed for itself. Offsets in the file count blocks of the dumped machine's page size.
 *
 * Invariants: header numbers are checked against the file before anything is read or allocated by them; a page is decompressed when it is asked for and
 * never to more than the page size; a page that does not decompress to exactly one page is an error of that read, not absent memory.
 */
import { PxdError } from '../pagetable/error.ts';
import { FRAME_BYTES } from '../pagetable/source.ts';
import { type ByteSource, Fields, hex, printable, textOf } from './bytes.ts';
import type { Codecs, PageDecoder } from './codec/codecs.ts';
import { type FrameStore, type Image, PhysicalImage, type Segment } from './image.ts';
import { PageBitmap } from './kdump-bitmap.ts';
import { type KdumpHeader, readKdumpHeader } from './kdump-header.ts';
import { elfMachineOf, machineName } from './machines.ts';
import { cpuStates, NO_NOTES, parseNotes, parseVmcoreinfo, vmcoreinfoOf } from './notes.ts';

const EM_ARM = 40;
const DESCRIPTOR = 24;
const MOST_TEXT = 2 ** 20;
const MOST_NOTE_BYTES = 64 * 2 ** 20;

/** `flags` of a page descriptor; the same bits in the header say which method the dump was asked for. */
const METHODS = { zlib: 1, lzo: 2, snappy: 4, zstd: 0x20 } as const;
type Method = keyof typeof METHODS;
/** The header's `status`: the writer ran out of room. */
const INCOMPLETE = 8;

/** Opens a kdump. @throws {PxdError} for damage, and for one file of a split dump. */
export async function openKdump(source: ByteSource, codecs: Codecs, layers: readonly string[] = []): Promise<Image> {
  const header = readKdumpHeader(source);
  const decoders: Partial<Record<Method, PageDecoder>> = {
    zlib: codecs.zlib,
    lzo: codecs.lzo,
    snappy: codecs.snappy,
    zstd: header.status & METHODS.zstd ? (await codecs.zstd?.())?.page : undefined,
  };
  const store = new KdumpStore(source, header, decoders);
  const { uname } = header;
  const elfMachine = elfMachineOf(uname.machine);
  const all = header.notes.size > 0 ? parseNotes(bounded(source, header.notes, MOST_NOTE_BYTES, 'notes'), header.little, header.notes.offset) : [];
  const text = header.vmcoreinfo.size > 0 ? textOf(bounded(source, header.vmcoreinfo, MOST_TEXT, 'VMCOREINFO')) : vmcoreinfoOf(all);
  const vmcoreinfo = text === undefined ? undefined : parseVmcoreinfo(text);
  return new PhysicalImage(store, {
    format: 'kdump',
    layers,
    elfMachine,
    endian: header.little ? 'little' : 'big',
    bits: header.bits,
    notes: all.length === 0 ? NO_NOTES : { all, cpus: cpuStates(all, elfMachine, header.bits, header.little) },
    vmcoreinfo,
    vmcoreinfoText: text,
    kernelRelease: vmcoreinfo?.get('OSRELEASE') ?? (uname.release || undefined),
    remarks: remarks(header, elfMachine),
  });
}

function remarks(header: KdumpHeader, elfMachine: number | undefined): string[] {
  const methods = (Object.keys(METHODS) as Method[]).filter((m) => header.status & METHODS[m]);
  const machine = elfMachine === undefined ? printable(header.uname.machine, 64) : machineName(elfMachine);
  return [
    `${machine}, header version ${header.version}, pages of ${header.blockSize} bytes, ${methods.length > 0 ? methods.join(' and ') : 'not compressed'}, dump level ${header.dumpLevel}`,
    ...(header.status & INCOMPLETE ? ['the dump is incomplete: its writer ran out of space'] : []),
  ];
}

function bounded(source: ByteSource, { offset, size }: { offset: number; size: number }, most: number, what: string): Uint8Array {
  if (size > most) throw new PxdError('limit', `the kdump's ${what} take ${size} bytes, more than the ${most} that pxd reads`, BigInt(offset));
  return source.read(offset, size);
}

/**
 * Page number of bit 0. On 32-bit arm makedumpfile counts pages from where RAM begins, QEMU from 0: the first page that is there tells, since none is
 * below RAM.
 */
function baseOf(header: KdumpHeader, bitmap: PageBitmap): number {
  if (header.bits !== 32 || elfMachineOf(header.uname.machine) !== EM_ARM) return 0;
  const base = Math.floor(Number(header.physBase) / header.blockSize);
  for (const first of bitmap.pages()) return first < base ? base : 0;
  return 0;
}

/** Decompressed pages larger than a frame that are kept, since their other frames are likely wanted next. */
const KEEP_PAGES = 64;

class KdumpStore implements FrameStore {
  readonly keep = 4096;
  readonly #source: ByteSource;
  readonly #little: boolean;
  readonly #decoders: Partial<Record<Method, PageDecoder>>;
  readonly #bitmap: PageBitmap;
  readonly #descriptors: number;
  readonly #pageBytes: number;
  /** Frames in a page of the dumped machine. */
  readonly #perPage: number;
  /** Page number of bit 0. */
  readonly #base: number;
  readonly #pages = new Map<number, Uint8Array>();

  constructor(source: ByteSource, header: KdumpHeader, decoders: Partial<Record<Method, PageDecoder>>) {
    this.#source = source;
    this.#little = header.little;
    this.#decoders = decoders;
    this.#pageBytes = header.blockSize;
    this.#perPage = header.blockSize / FRAME_BYTES;
    this.#bitmap = new PageBitmap(source, header.dumpedBitmap, header.pages);
    this.#descriptors = header.descriptors;
    const end = header.descriptors + this.#bitmap.count * DESCRIPTOR;
    if (end > source.size) {
      throw new PxdError(
        'bad-image',
        `the file ends too early: its bitmap lists ${this.#bitmap.count} pages, whose descriptors would end at offset ${hex(end)}, but it has ${source.size} bytes`,
        BigInt(header.descriptors),
      );
    }
    this.#base = baseOf(header, this.#bitmap);
  }

  load(frame: number): Uint8Array | undefined {
    const page = Math.floor(frame / this.#perPage) - this.#base;
    if (page < 0) return undefined;
    if (this.#perPage === 1) return this.#page(page);
    const bytes = this.#kept(page);
    const from = (frame % this.#perPage) * FRAME_BYTES;
    return bytes?.slice(from, from + FRAME_BYTES);
  }

  has(frame: number): boolean {
    const page = Math.floor(frame / this.#perPage) - this.#base;
    return page >= 0 && this.#bitmap.has(page);
  }

  *frames(): Iterable<number> {
    for (const page of this.#bitmap.pages()) {
      const first = (page + this.#base) * this.#perPage;
      for (let i = 0; i < this.#perPage; i++) yield first + i;
    }
  }

  segments(): Segment[] {
    const out: { start: number; frames: number }[] = [];
    for (const page of this.#bitmap.pages()) {
      const start = (page + this.#base) * this.#perPage;
      const last = out[out.length - 1];
      if (last && last.start + last.frames === start) last.frames += this.#perPage;
      else out.push({ start, frames: this.#perPage });
    }
    return out;
  }

  read(physical: number, into: Uint8Array): boolean {
    for (let done = 0; done < into.length; ) {
      const frame = Math.floor((physical + done) / FRAME_BYTES);
      const bytes = this.load(frame);
      if (!bytes) return false;
      const from = physical + done - frame * FRAME_BYTES;
      const part = bytes.subarray(from, Math.min(FRAME_BYTES, from + into.length - done));
      into.set(part, done);
      done += part.length;
    }
    return true;
  }

  close(): void {
    this.#source.close?.();
  }

  #kept(page: number): Uint8Array | undefined {
    const kept = this.#pages.get(page);
    if (kept) return kept;
    const bytes = this.#page(page);
    if (!bytes) return undefined;
    if (this.#pages.size >= KEEP_PAGES) this.#pages.delete(this.#pages.keys().next().value as number);
    this.#pages.set(page, bytes);
    return bytes;
  }

  /** A page, decompressed. */
  #page(page: number): Uint8Array | undefined {
    const rank = this.#bitmap.rank(page);
    if (rank < 0) return undefined;
    const at = this.#descriptors + rank * DESCRIPTOR;
    const fields = this.#descriptor(at);
    const offset = fields.u64(0, 'an offset');
    const size = fields.u32(8);
    const flags = fields.u32(12);
    if (size > this.#pageBytes) this.#refuse(page, at, `has ${size} bytes in the file, more than a page`);
    const bytes = this.#source.read(offset, size);
    const method = (Object.keys(METHODS) as Method[]).find((m) => flags & METHODS[m]);
    const out = method === undefined ? bytes : this.#decode(method, bytes, page, at);
    if (out.length !== this.#pageBytes)
      this.#refuse(page, at, `has ${out.length} bytes${method ? ` once its ${method} data is decompressed` : ''}, expected ${this.#pageBytes}`);
    return out;
  }

  #descriptor(at: number): Fields {
    return new Fields(this.#source.read(at, DESCRIPTOR), this.#little, at, 'page descriptor');
  }

  #decode(method: Method, bytes: Uint8Array, page: number, at: number): Uint8Array {
    const decode = this.#decoders[method];
    if (!decode) throw new PxdError('unavailable', `the dump's pages are compressed with ${method}, for which there is no decoder here`, BigInt(at));
    try {
      return decode(bytes, this.#pageBytes);
    } catch (error) {
      if (error instanceof PxdError) throw error;
      return this.#refuse(page, at, `does not decompress: ${(error as Error).message}`);
    }
  }

  #refuse(page: number, at: number, why: string): never {
    throw new PxdError('bad-image', `the page at physical ${hex((page + this.#base) * this.#pageBytes)} (descriptor at offset ${hex(at)}) ${why}`, BigInt(at));
  }
}
