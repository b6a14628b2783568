/** A small x86-4level memory made by hand: tables at known frames, entries put where a test wants them. */
import type { Root } from '../../src/arch/mode.ts';
import { findMode } from '../../src/arch/registry.ts';
import type { WalkedRoot } from '../../src/inspect/aliases.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { putEntry, type RandomMemory } from '../support/random-tables.ts';

export const mode = compileMode(findMode('x86-4level') as NonNullable<ReturnType<typeof findMode>>);

export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PS = 0x80n;
export const NX = 1n << 63n;

export class Made {
  readonly memory: RandomMemory;
  readonly root: Root;
  #next = 0x101;

  readonly top: number;

  constructor(top = 0x100) {
    this.top = top;
    const frames = new Map<number, Uint32Array>();
    this.memory = { frames, frame: (n) => frames.get(n) };
    frames.set(top, new Uint32Array(1024));
    this.root = rootFromRegisters(mode, { cr3: BigInt(top) << 12n }, 'user');
  }

  put(level: number, table: number, index: number, word: bigint): void {
    putEntry(mode, mode.levels[level], this.memory, BigInt(table) << 12n, index, { lo: Number(word & 0xffffffffn), hi: Number(word >> 32n) });
  }

  word(level: number, table: number, index: number): bigint {
    const words = this.memory.frames.get(table) as Uint32Array;
    void level;
    return (BigInt(words[2 * index + 1]) << 32n) | BigInt(words[2 * index]);
  }

  /** Frame of the lowest table for an address, made where it is not there. */
  table(va: bigint, downTo = 3): number {
    let table = this.top;
    for (let level = 0; level < downTo; level++) {
      const index = Number((va >> BigInt(39 - 9 * level)) & 511n);
      const word = this.word(level, table, index);
      if (word === 0n) {
        const frame = this.#next++;
        this.memory.frames.set(frame, new Uint32Array(1024));
        this.put(level, table, index, (BigInt(frame) << 12n) | P | RW | A | (va < 1n << 47n ? US : 0n));
        table = frame;
      } else table = Number((word >> 12n) & 0xffffffffffn);
    }
    return table;
  }

  /** Maps one 4K page. */
  map(va: bigint, pfn: number, flags: bigint): this {
    this.put(3, this.table(va), Number((va >> 12n) & 511n), (BigInt(pfn) << 12n) | flags);
    return this;
  }

  walked(name = 'a', pid?: number): WalkedRoot {
    return { name, ...(pid !== undefined ? { pid } : {}), tables: readPageTables(mode, this.memory, this.root) };
  }
}
