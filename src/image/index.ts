/**
 * `pxd/image`: physical memory out of files.
 *
 * `openSource(bytes)` tells the format (ELF core, kdump, LiME, raw, any of them packed with gzip or zstd or flattened) and returns an `Image`: frames of 4 KiB
 * by number, exact reads by physical address, and what the file says of the machine (byte order, registers, VMCOREINFO). An `Image` is a `FrameSource`,
 * so that everything in `pxd/pagetable` walks it. `writeCapture` makes a sparse image of some frames, fit to be sent with a report.
 *
 * Nothing here touches a platform. On Node, `openImage(path)` of `pxd/image/node` opens files and folders. Elsewhere give `openSource` the decoders
 * that the platform has: `{ ...portableCodecs, zlib, gunzip }`.
 *
 * ```ts
 * const image = await openSource(new MemoryBytes(bytes));
 * image.description();        // ['kdump in zstd, 64-bit little-endian', …]
 * image.frame(0x1000)?.[0];   // first word of physical address 0x1000000
 * ```
 *
 * Everything that is wrong with a file is a `PxdError`: one sentence that says what, where and what was expected.
 */
export { PxdError, type PxdErrorCode } from '../pagetable/error.ts';
export { type ByteSource, MemoryBytes } from './bytes.ts';
export { type CaptureFrame, type CaptureInput, type CaptureMeta, writeCapture } from './capture.ts';
export { UNPACK_LIMITS, type UnpackLimits } from './chunks.ts';
export type { Codecs, PageDecoder, StreamDecoder, ZstdCodec } from './codec/codecs.ts';
export { portableCodecs } from './codec/portable.ts';
export { type Folder, type FolderMeta, parseMeta } from './folder.ts';
export { type Image, type ImageFacts, type Segment, sizeText } from './image.ts';
export { elfMachineOf, machineName } from './machines.ts';
export { type CpuState, type Note, type Notes, parseVmcoreinfo } from './notes.ts';
export { type ImageFormat, type OpenOptions, openSource } from './open.ts';
export { type LayoutRange, parseLayout } from './raw.ts';
export { parseRoots, type RootEntry } from './roots.ts';
