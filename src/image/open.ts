/**
 * Which format a file has, and the reader for it.
 *
 * Invariant: nothing is guessed. A file whose beginning is not that of a format below is refused with what was expected; raw memory has no beginning to
 * know it by and is taken as such only when the caller says so.
 */
import { PxdError } from '../pagetable/error.ts';
import { type ByteSource, Fields } from './bytes.ts';
import { UNPACK_LIMITS, type UnpackLimits } from './chunks.ts';
import type { Codecs } from './codec/codecs.ts';
import { portableCodecs } from './codec/portable.ts';
import { openElf } from './elf.ts';
import { FLATTENED_MAGIC, FlattenedSource } from './flattened.ts';
import type { Image } from './image.ts';
import { openKdump } from './kdump.ts';
import { LIME_MAGIC, openLime } from './lime.ts';
import { type LayoutRange, openRaw } from './raw.ts';
import { unwrap, wrapperOf } from './wrapper.ts';

export type ImageFormat = 'elf' | 'kdump' | 'lime' | 'raw';

export interface OpenOptions {
  /** What the file is, when it cannot be told or should not be: `raw` for memory without a header. */
  readonly format?: ImageFormat;
  /** Which part of a raw file is which memory; implies `format: 'raw'`. */
  readonly layout?: readonly LayoutRange[];
  readonly codecs?: Codecs;
  readonly limits?: UnpackLimits;
}

/** Wrappers within wrappers that are taken off before it is called a trick. */
const MOST_LAYERS = 3;

/** Opens an image out of a source of bytes. @throws {PxdError} for everything that is not an image that pxd reads. */
export async function openSource(source: ByteSource, options: OpenOptions = {}): Promise<Image> {
  const codecs = options.codecs ?? portableCodecs;
  const layers: string[] = [];
  let inner = source;
  for (;;) {
    if (inner.size === 0)
      throw new PxdError(
        'bad-image',
        layers.length > 0 ? `the file is empty once its ${layers.join(' and ')} wrapper is taken off` : 'the file is empty: it has 0 bytes',
      );
    const head = inner.read(0, Math.min(inner.size, HEAD));
    const wrapper = wrapperOf(head);
    const flattened = wrapper === undefined && options.format !== 'raw' && startsWith(head, FLATTENED_MAGIC);
    if (wrapper === undefined && !flattened) return await openPlain(inner, head, layers, codecs, options);
    if (layers.length === MOST_LAYERS) throw new PxdError('limit', `the file is packed more than ${MOST_LAYERS} times over`);
    layers.push(wrapper ?? 'flattened form');
    inner = wrapper === undefined ? new FlattenedSource(inner) : await unwrap(inner, wrapper, codecs, options.limits ?? UNPACK_LIMITS);
  }
}

const HEAD = 64;

async function openPlain(source: ByteSource, head: Uint8Array, layers: readonly string[], codecs: Codecs, options: OpenOptions): Promise<Image> {
  const format = options.layout ? 'raw' : (options.format ?? formatOf(head));
  if (options.layout && options.format !== undefined && options.format !== 'raw') {
    throw new PxdError('usage', `a layout describes raw memory, but the format was given as ${options.format}`);
  }
  if (format === undefined) throw unknownFormat(head);
  if (format !== 'raw' && formatOf(head) !== format)
    throw new PxdError('bad-image', `the file was said to be ${format}, but it does not begin like that: ${startOf(head)}`);
  if (format === 'elf') return openElf(source, layers);
  if (format === 'kdump') return openKdump(source, codecs, layers);
  if (format === 'lime') return openLime(source, layers);
  return openRaw(source, options.layout, layers);
}

function formatOf(head: Uint8Array): ImageFormat | undefined {
  if (startsWith(head, '\x7fELF')) return 'elf';
  if (startsWith(head, 'KDUMP   ')) return 'kdump';
  if (head.length >= 4 && new Fields(head, true, 0, 'file').u32(0) === LIME_MAGIC) return 'lime';
  return undefined;
}

/** Beginnings of files that people try, with what they are and what to do. */
const OTHERS: readonly { readonly start: string; readonly is: string; readonly advice?: string }[] = [
  { start: 'DISKDUMP', is: 'a diskdump of an old Linux' },
  { start: 'AVML', is: 'an AVML image', advice: 'convert it with avml-convert to LiME' },
  { start: 'LMVA', is: 'an AVML image', advice: 'convert it with avml-convert to LiME' },
  { start: 'PAGEDUMP', is: 'a Windows crash dump', advice: 'pxd reads dumps of Linux' },
  { start: 'PAGEDU64', is: 'a Windows crash dump', advice: 'pxd reads dumps of Linux' },
  { start: 'MDMP', is: 'a Windows minidump', advice: 'pxd reads dumps of Linux' },
  { start: 'QEVM', is: 'a saved state of QEMU (migration or savevm)', advice: "use QEMU's dump-guest-memory instead" },
  { start: 'QFI\xfb', is: 'a qcow2 disk image', advice: "use QEMU's dump-guest-memory for memory" },
  { start: 'KDMV', is: 'a VMware disk image' },
  { start: '\xd2\xbe\xd2\xbe', is: 'a VMware saved state', advice: 'convert it with vmss2core' },
  { start: '\xd1\xba\xd1\xba', is: 'a VMware saved state', advice: 'convert it with vmss2core' },
  { start: '\xa8\x19\x01\x73\x61\x8f\x23\xfd', is: 'an s390 stand-alone dump', advice: 'convert it with zgetdump -f elf' },
  { start: '\xed\x23\x8f\x61\x73\x01\x19\xa8', is: 'an LKCD dump' },
  { start: '\xfd7zXZ', is: 'packed with xz', advice: 'unpack it first' },
  { start: 'BZh', is: 'packed with bzip2', advice: 'unpack it first' },
  { start: '\x04\x22\x4d\x18', is: 'packed with lz4', advice: 'unpack it first' },
  { start: '\x89LZO', is: 'packed with lzop', advice: 'unpack it first' },
  { start: 'PK\x03\x04', is: 'a zip archive', advice: 'unpack it first' },
  { start: '7z\xbc\xaf', is: 'a 7z archive', advice: 'unpack it first' },
];

function unknownFormat(head: Uint8Array): PxdError {
  const other = OTHERS.find((o) => startsWith(head, o.start));
  if (other) return new PxdError('bad-image', `the file is ${other.is}, which pxd does not read${other.advice ? `: ${other.advice}` : ''}`);
  return new PxdError(
    'bad-image',
    `the file is no memory image that pxd knows (${startOf(head)}): expected an ELF core, a kdump, LiME, or one of these packed with gzip or zstd; memory without a header must be called raw (format raw, or a layout)`,
  );
}

const startOf = (head: Uint8Array): string => `it begins with ${Array.from(head.subarray(0, 8), (b) => b.toString(16).padStart(2, '0')).join(' ')}`;

function startsWith(head: Uint8Array, text: string): boolean {
  if (head.length < text.length) return false;
  for (let i = 0; i < text.length; i++) if (head[i] !== text.charCodeAt(i)) return false;
  return true;
}
