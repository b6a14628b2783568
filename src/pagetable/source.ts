/**
 * What a walk reads: physical memory in frames of 4 KiB, whatever the mode's page size.
 *
 * Invariant: reading is synchronous and never throws for an absent frame; a reader over slow media caches. The words are
 * those of the bytes in memory read as little-endian 32-bit numbers; walkers swap where the mode is big-endian.
 */
export interface FrameSource {
  /**
   * The 1024 words of 4 KiB frame number `frame` (physical address / 4096), or undefined when the image does not have it.
   * The view may be reused by later calls of the same source only if the reader says so; callers must not write to it.
   */
  frame(frame: number): Uint32Array | undefined;
}

export const FRAME_SHIFT = 12;
export const FRAME_BYTES = 4096;
export const FRAME_WORDS = 1024;

/** Swaps the bytes of a 32-bit word. */
export const swap32 = (w: number): number => (((w & 0xff) << 24) | ((w & 0xff00) << 8) | ((w >>> 8) & 0xff00) | (w >>> 24)) >>> 0;
