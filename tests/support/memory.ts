/** Physical memory made by hand: frames appear as words are written. */
import type { FrameSource } from '../../src/pagetable/source.ts';

export class Memory implements FrameSource {
  readonly #frames = new Map<number, Uint32Array>();
  readonly #little: boolean;

  constructor(endian: 'little' | 'big') {
    this.#little = endian === 'little';
  }

  frame(n: number): Uint32Array | undefined {
    return this.#frames.get(n);
  }

  /** Writes an entry of 4 or 8 bytes as the CPU would. */
  put(pa: number, value: bigint | number, bytes: 4 | 8 = 4): void {
    const n = Math.floor(pa / 4096);
    let frame = this.#frames.get(n);
    if (!frame) this.#frames.set(n, (frame = new Uint32Array(1024)));
    const view = new DataView(frame.buffer);
    if (bytes === 8) view.setBigUint64(pa % 4096, BigInt(value), this.#little);
    else view.setUint32(pa % 4096, Number(value), this.#little);
  }
}
