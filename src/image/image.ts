/**
 * A physical memory image: frames by number, whatever file they came out of, and what the file tells about itself.
 *
 * Invariants: `frame` is a `FrameSource` whose views stay valid; a frame is present only when the file accounts for each of its 4096 bytes;
 * `readBytes` is exact to the byte. The cache of views is bounded, so an image of any size takes a bounded amount of memory.
 */
import { FRAME_BYTES, FRAME_WORDS, type FrameSource } from '../pagetable/source.ts';
import type { CaptureMeta } from './capture.ts';
import type { Folder } from './folder.ts';
import type { Notes } from './notes.ts';

/** A run of whole 4 KiB frames that an image has. */
export interface Segment {
  /** Frame number: physical address / 4096. */
  readonly start: number;
  readonly frames: number;
}

/** What a file says of the machine it was taken from; each fact only where the file states it. */
export interface ImageFacts {
  /** For people: 'ELF core', 'kdump (makedumpfile)', 'LiME', 'raw memory', 'pxd capture'. */
  readonly format: string;
  /** What had to be taken off first, outermost first: 'gzip', 'zstd', 'flattened'. */
  readonly layers: readonly string[];
  readonly elfMachine?: number;
  readonly endian?: 'little' | 'big';
  readonly bits?: 32 | 64;
  readonly notes: Notes;
  /** VMCOREINFO's lines `KEY=value`, and the text as it stands. */
  readonly vmcoreinfo?: ReadonlyMap<string, string>;
  readonly vmcoreinfoText?: string;
  /** The release of the kernel (`uname -r`). */
  readonly kernelRelease?: string;
  /** Present when pxd wrote the file. */
  readonly capture?: CaptureMeta;
  /** What lay beside the image, when it was opened as a folder. */
  readonly folder?: Folder;
  /** Anything worth telling people beyond the above, a line each. */
  readonly remarks: readonly string[];
}

export interface Image extends FrameSource, ImageFacts {
  /** Frames that are present, as runs in ascending order. */
  readonly segments: readonly Segment[];
  has(frame: number): boolean;
  /** Numbers of the frames whose contents the file stores, ascending; zero fill that stands for memory beyond the file's data is left out. */
  frames(): Iterable<number>;
  /** The bytes at a physical address, or undefined when the image lacks one of them. The result must not be written to. */
  readBytes(physical: number | bigint, length: number): Uint8Array | undefined;
  /** What this is, for people: a line each. */
  description(): string[];
  /** The same memory, with more known about it. */
  with(facts: Partial<ImageFacts>): Image;
  /** Gives up file descriptors. */
  close(): void;
}

/** What a reader of one format provides; `PhysicalImage` makes an `Image` of it. */
export interface FrameStore {
  /** The 4096 bytes of a frame, which may be a view of memory that lives as long as the store. */
  load(frame: number): Uint8Array | undefined;
  has(frame: number): boolean;
  frames(): Iterable<number>;
  segments(): Segment[];
  /** Reads within partly present frames, too; `into` may be in any state when it returns false. */
  read(physical: number, into: Uint8Array): boolean;
  /** How many views may be kept: what `load` returns costs memory, or it is a view of memory that is there anyhow. */
  readonly keep: number;
  close?(): void;
}

const HOST_IS_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** The bytes of a frame as words, without copying where the host allows. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  if (HOST_IS_LITTLE && bytes.byteOffset % 4 === 0) return new Uint32Array(bytes.buffer, bytes.byteOffset, FRAME_WORDS);
  const words = new Uint32Array(FRAME_WORDS);
  if (HOST_IS_LITTLE) new Uint8Array(words.buffer).set(bytes);
  else {
    const view = new DataView(bytes.buffer, bytes.byteOffset, FRAME_BYTES);
    for (let i = 0; i < FRAME_WORDS; i++) words[i] = view.getUint32(4 * i, true);
  }
  return words;
}

/** An image over a store of frames. */
export class PhysicalImage implements Image {
  readonly format: string;
  readonly layers: readonly string[];
  readonly elfMachine?: number;
  readonly endian?: 'little' | 'big';
  readonly bits?: 32 | 64;
  readonly notes: Notes;
  readonly vmcoreinfo?: ReadonlyMap<string, string>;
  readonly vmcoreinfoText?: string;
  readonly kernelRelease?: string;
  readonly capture?: CaptureMeta;
  readonly folder?: Folder;
  readonly remarks: readonly string[];
  readonly #facts: ImageFacts;
  readonly #store: FrameStore;
  #segments: readonly Segment[] | undefined;
  #longest: number | undefined;
  /** Two generations: when the young one is full it becomes the old one, and what was not asked for again is forgotten. */
  #young = new Map<number, Uint32Array>();
  #old = new Map<number, Uint32Array>();

  constructor(store: FrameStore, facts: ImageFacts) {
    this.#store = store;
    this.#facts = facts;
    this.format = facts.format;
    this.layers = facts.layers;
    this.elfMachine = facts.elfMachine;
    this.endian = facts.endian;
    this.bits = facts.bits;
    this.notes = facts.notes;
    this.vmcoreinfo = facts.vmcoreinfo;
    this.vmcoreinfoText = facts.vmcoreinfoText;
    this.kernelRelease = facts.kernelRelease;
    this.capture = facts.capture;
    this.folder = facts.folder;
    this.remarks = facts.remarks;
  }

  get segments(): readonly Segment[] {
    this.#segments ??= this.#store.segments();
    return this.#segments;
  }

  frame(frame: number): Uint32Array | undefined {
    return this.#young.get(frame) ?? this.#miss(frame);
  }

  #miss(frame: number): Uint32Array | undefined {
    let words = this.#old.get(frame);
    if (words === undefined) {
      if (!isFrame(frame)) return undefined;
      const bytes = this.#store.load(frame);
      if (bytes === undefined) return undefined;
      words = wordsOf(bytes);
    }
    if (this.#young.size >= this.#store.keep) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(frame, words);
    return words;
  }

  has(frame: number): boolean {
    return isFrame(frame) && this.#store.has(frame);
  }

  frames(): Iterable<number> {
    return this.#store.frames();
  }

  readBytes(physical: number | bigint, length: number): Uint8Array | undefined {
    const at = Number(physical);
    if (!(at >= 0 && length >= 0 && Number.isSafeInteger(at) && Number.isSafeInteger(at + length))) return undefined;
    if (length > this.#present()) return undefined;
    const into = new Uint8Array(length);
    return this.#store.read(at, into) ? into : undefined;
  }

  /** An upper bound of the bytes that one read can ask for with success: the longest segment and the partial frames at its ends. */
  #present(): number {
    if (this.#longest === undefined) {
      this.#longest = 2 * FRAME_BYTES;
      for (const segment of this.segments) this.#longest = Math.max(this.#longest, (segment.frames + 2) * FRAME_BYTES);
    }
    return this.#longest;
  }

  description(): string[] {
    return describe(this);
  }

  with(facts: Partial<ImageFacts>): Image {
    return new PhysicalImage(this.#store, { ...this.#facts, ...facts });
  }

  close(): void {
    this.#store.close?.();
  }
}

const isFrame = (frame: number): boolean => Number.isSafeInteger(frame) && frame >= 0 && frame < 2 ** 41;

/** Sizes as people say them. */
export function sizeText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  let unit = 0;
  let size = bytes;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${Number.isInteger(size) ? size : size.toFixed(1)} ${units[unit]}`;
}

function describe(image: Image): string[] {
  const { segments } = image;
  let frames = 0;
  for (const segment of segments) frames += segment.frames;
  const last = segments[segments.length - 1];
  const kind = [image.bits ? `${image.bits}-bit` : '', image.endian ? `${image.endian}-endian` : ''].filter((s) => s !== '').join(' ');
  const lines = [`${image.format}${image.layers.length > 0 ? ` in ${[...image.layers].reverse().join(' in ')}` : ''}${kind ? `, ${kind}` : ''}`];
  lines.push(
    last
      ? `${sizeText(frames * FRAME_BYTES)} of memory in ${segments.length} segment${segments.length === 1 ? '' : 's'}, physical 0x${(segments[0].start * FRAME_BYTES).toString(16)} to 0x${((last.start + last.frames) * FRAME_BYTES).toString(16)}`
      : 'no whole frame of memory',
  );
  if (image.kernelRelease) lines.push(`Linux ${image.kernelRelease}`);
  if (image.notes.cpus.length > 0) lines.push(`registers of ${image.notes.cpus.length} CPU${image.notes.cpus.length === 1 ? '' : 's'}`);
  return [...lines, ...image.remarks];
}
