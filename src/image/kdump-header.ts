/**
 * The header and sub header of a kdump.
 *
 * Both are C structures as the compiler of the writer laid them out: fields move with the size of `long` and, in 32-bit files, with whether 64-bit numbers
 * are aligned to 8 bytes (arm) or not (i386, and QEMU for every machine). The layout is found by trying: a layout fits when its block size is a power of two in
 * range and its offsets and counts fit the file.
 *
 * Invariant: what is returned has been checked against the file's size; all offsets are bytes.
 */
import { PxdError } from '../pagetable/error.ts';
import { type ByteSource, Fields, hex, printable, textOf } from './bytes.ts';

export interface KdumpHeader {
  readonly version: number;
  readonly little: boolean;
  readonly bits: 32 | 64;
  readonly uname: { readonly release: string; readonly version: string; readonly machine: string };
  readonly status: number;
  /** Page size of the dumped machine. */
  readonly blockSize: number;
  /** Bits in each bitmap. */
  readonly pages: number;
  readonly dumpLevel: number;
  /** Physical address where RAM begins, where the writer says so. */
  readonly physBase: bigint;
  /** Where the bitmap of the pages that exist, of those that are in the file, and the table of descriptors begin. */
  readonly ramBitmap: number;
  readonly dumpedBitmap: number;
  readonly descriptors: number;
  readonly vmcoreinfo: Extent;
  readonly notes: Extent;
}

export interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** Offsets of the fields of one layout. */
interface Layout {
  readonly bits: 32 | 64;
  /** `status` in the header; block size, sub header blocks, bitmap blocks and max_mapnr follow, 4 bytes each. */
  readonly status: number;
  readonly sub: {
    readonly dumpLevel: number;
    readonly split: number;
    readonly startPfn: number;
    readonly vmcoreinfo: number;
    readonly notes: number;
    /** start_pfn_64, end_pfn_64, max_mapnr_64. */
    readonly wide: number;
    /** From an offset to its size. */
    readonly sizeAfter: number;
  };
}

const LAYOUTS: readonly Layout[] = [
  { bits: 64, status: 424, sub: { dumpLevel: 8, split: 12, startPfn: 16, vmcoreinfo: 32, notes: 48, wide: 80, sizeAfter: 8 } },
  { bits: 32, status: 412, sub: { dumpLevel: 4, split: 8, startPfn: 12, vmcoreinfo: 20, notes: 32, wide: 56, sizeAfter: 8 } },
  { bits: 32, status: 412, sub: { dumpLevel: 4, split: 8, startPfn: 12, vmcoreinfo: 24, notes: 40, wide: 72, sizeAfter: 8 } },
];

const UNAME_FIELD = 65;
const HEADER = 464;
const SUB_HEADER = 104;
const SMALLEST_PAGE = 4096;
const LARGEST_PAGE = 65536;
const LARGEST_SUB_HEADER = 2 ** 16;
const NEWEST = 6;

export function readKdumpHeader(source: ByteSource): KdumpHeader {
  const bytes = source.read(0, HEADER);
  let refused: PxdError | undefined;
  for (const little of [true, false]) {
    const version = new Fields(bytes, little, 0, 'kdump header').u32(8);
    if (version === 0 || version > 0xff) continue;
    for (const layout of LAYOUTS) {
      const header = new Fields(bytes, little, 0, 'kdump header');
      const blockSize = header.u32(layout.status + 4);
      if (blockSize < SMALLEST_PAGE || blockSize > LARGEST_PAGE || (blockSize & (blockSize - 1)) !== 0) continue;
      try {
        return checked(source, bytes, layout, little, version);
      } catch (error) {
        if (!(error instanceof PxdError) || error.code !== 'bad-image') throw error;
        refused ??= error;
      }
    }
  }
  throw refused ?? new PxdError('bad-image', 'the kdump header has no page size between 4 KiB and 64 KiB where one is expected (offset 416 or 428)', 416n);
}

function checked(source: ByteSource, bytes: Uint8Array, layout: Layout, little: boolean, version: number): KdumpHeader {
  const header = new Fields(bytes, little, 0, 'kdump header');
  if (version > NEWEST) throw new PxdError('bad-image', `the kdump header has version ${version}, the newest that pxd knows is ${NEWEST}`, 8n);
  const [status, blockSize, subBlocks, bitmapBlocks, narrowPages] = [0, 4, 8, 12, 16].map((o) => header.u32(layout.status + o));
  if (subBlocks === 0 || subBlocks > LARGEST_SUB_HEADER)
    throw new PxdError('bad-image', `the kdump header claims a sub header of ${subBlocks} blocks, expected a few`, BigInt(layout.status + 8));
  const sub = new Fields(source.read(blockSize, SUB_HEADER), little, blockSize, 'kdump sub header');
  const at = layout.sub;
  const long = (offset: number, name: string): number => (layout.bits === 64 ? sub.u64(offset, name) : sub.u32(offset));
  const pages = version >= 6 ? sub.u64(at.wide + 16, 'max_mapnr') : narrowPages;
  // In version 6 the old field holds the low half of the new one: which tells the layouts apart.
  if (version >= 6 && pages % 2 ** 32 !== narrowPages)
    throw new PxdError('bad-image', `the kdump's header counts ${narrowPages} pages, but its sub header ${pages}`, BigInt(blockSize + at.wide + 16));
  if (version >= 2 && sub.u32(at.split) !== 0) throw splitError(sub, layout, version);
  const bitmaps = blockSize * (1 + subBlocks);
  const bitmapBytes = bitmapBlocks * blockSize;
  const one = Math.ceil(pages / 8);
  if (one > bitmapBytes)
    throw new PxdError('bad-image', `the kdump header gives bitmaps ${bitmapBytes} bytes, too few for ${pages} pages`, BigInt(layout.status + 12));
  const descriptors = bitmaps + bitmapBytes;
  if (descriptors > source.size) {
    throw new PxdError(
      'bad-image',
      `the file ends too early: the kdump's bitmaps should end at offset ${hex(descriptors)}, but it has ${source.size} bytes`,
      BigInt(bitmaps),
    );
  }
  const extent = (from: number, since: number, name: string): Extent => {
    if (version < since) return { offset: 0, size: 0 };
    const found = { offset: sub.u64(from, `the offset of ${name}`), size: long(from + at.sizeAfter, `the size of ${name}`) };
    if (found.size === 0 || found.offset + found.size <= source.size) return found;
    throw new PxdError(
      'bad-image',
      `the kdump's ${name} should lie at offset ${hex(found.offset)} with ${found.size} bytes, but the file has ${source.size}`,
      BigInt(blockSize + from),
    );
  };
  return {
    version,
    little,
    bits: layout.bits,
    uname: unameOf(bytes),
    status,
    blockSize,
    pages,
    dumpLevel: version >= 1 ? sub.u32(at.dumpLevel) : 0,
    physBase: layout.bits === 64 ? sub.big(0) : BigInt(sub.u32(0)),
    ramBitmap: bitmaps,
    // Two bitmaps of equal size, or a single one in old files.
    dumpedBitmap: bitmapBytes / 2 >= one ? bitmaps + bitmapBytes / 2 : bitmaps,
    descriptors,
    vmcoreinfo: extent(at.vmcoreinfo, 3, 'VMCOREINFO'),
    notes: extent(at.notes, 4, 'notes'),
  };
}

function splitError(sub: Fields, layout: Layout, version: number): PxdError {
  const word = layout.bits / 8;
  const [from, to] =
    version >= 6
      ? [sub.big(layout.sub.wide), sub.big(layout.sub.wide + 8)]
      : [0, word].map((o) => BigInt(word === 8 ? sub.big(layout.sub.startPfn + o) : sub.u32(layout.sub.startPfn + o)));
  return new PxdError('usage', `this is one file of a split dump (pages ${hex(from)} to ${hex(to)}): put the files together first (makedumpfile --reassemble)`);
}

function unameOf(bytes: Uint8Array): KdumpHeader['uname'] {
  const field = (i: number): string => printable(textOf(bytes.subarray(12 + i * UNAME_FIELD, 12 + (i + 1) * UNAME_FIELD)), UNAME_FIELD);
  return { release: field(2), version: field(3), machine: field(4) };
}
