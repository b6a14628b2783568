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

// From a file of its own: of files that import nothing esbuild writes constants where they are used, and forgets them where the whole module is (import *).
export { swap32 } from './byte-order.ts';
