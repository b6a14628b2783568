/** The part of the WebAssembly API that machines use; the project is typed without a browser's library. */
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { initial: number; maximum?: number; shared?: boolean });
    readonly buffer: ArrayBuffer;
    /** Grows by so many pages of 64 KiB; returns the pages before. The old buffer is detached. */
    grow(delta: number): number;
  }
}
