/** Random page tables for any mode: a handful of frames full of entries that fit the mode's own forms, pointing at each other. */
import type { Root } from '../../src/arch/mode.ts';
import type { CompiledForm, CompiledLevel, CompiledMode } from '../../src/pagetable/compile.ts';
import { encode, formOf, levelNamed } from '../../src/pagetable/entry.ts';
import { FRAME_WORDS, type FrameSource, swap32 } from '../../src/pagetable/source.ts';

/** mulberry32: small, seedable, good enough for tests. */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Address bits that the form can hold. */
export function addressable(form: CompiledForm): bigint {
  let mask = 0n;
  for (const p of form.address?.pieces ?? []) mask |= ((1n << BigInt(p.width)) - 1n) << BigInt(p.at);
  return mask;
}

/** A word of the form with random fields; undefined when chance makes it another form. */
export function wordOf(level: CompiledLevel, form: CompiledForm, next: () => number, address: bigint): { lo: number; hi: number } | undefined {
  if (form.when.length === 0) return undefined;
  const conjunction = form.when[Math.floor(next() * form.when.length)];
  // Software's own words may hold anything; elsewhere only named bits are set.
  const any = form.kind === 'nonpresent' && next() < 0.9;
  let lo = any ? Math.floor(next() * 2 ** 32) | 0 : 0;
  let hi = any ? Math.floor(next() * 2 ** 32) | 0 : 0;
  for (const [, pieces] of form.fields)
    for (const p of pieces)
      if (next() < 0.5) {
        if (p.low < 32) lo |= 1 << p.low;
        else hi |= 1 << (p.low - 32);
      }
  for (const a of conjunction) {
    lo = (lo & ~a.mask.lo) | (a.negated ? a.mask.lo & -a.mask.lo : a.value.lo);
    hi = (hi & ~a.mask.hi) | (a.negated ? (a.mask.lo ? 0 : a.mask.hi & -a.mask.hi) : a.value.hi);
  }
  if (form.address) {
    lo &= ~form.address.mask.lo;
    hi &= ~form.address.mask.hi;
    const word = encode(form, { address: address & addressable(form) });
    lo |= word.lo;
    hi |= word.hi;
  }
  lo >>>= 0;
  hi = level.wide ? hi >>> 0 : 0;
  return formOf(level, lo, hi) === form ? { lo, hi } : undefined;
}

export interface RandomMemory extends FrameSource {
  readonly frames: Map<number, Uint32Array>;
}

/** Writes an entry into memory as the mode lays it out. */
export function putEntry(mode: CompiledMode, level: CompiledLevel, memory: RandomMemory, table: bigint, index: number, word: { lo: number; hi: number }): void {
  const at = table + BigInt(index * level.stride);
  const set = (address: bigint, value: number): void => {
    const words = memory.frames.get(Number(address >> 12n));
    if (words) words[Number(address & 0xfffn) / 4] = mode.bigEndian ? swap32(value) : value >>> 0;
  };
  if (level.level.companion !== undefined) {
    set(at, word.hi);
    set(at + BigInt(level.level.companion), word.lo);
  } else if (level.level.entryBytes === 4) set(at, word.lo);
  else {
    set(at + (mode.bigEndian ? 4n : 0n), word.lo);
    set(at + (mode.bigEndian ? 0n : 4n), word.hi);
  }
}

/** Some frames of tables below a root of the mode, with sharing, repetition and cycles. */
export function randomTables(mode: CompiledMode, seed: number, density = 6): { memory: RandomMemory; root: Root } {
  const next = random(seed);
  const frames = new Map<number, Uint32Array>();
  const memory: RandomMemory = { frames, frame: (n) => frames.get(n) };
  const first = 16;
  const tableFrames = 16;
  // Blocks of 16 frames: the largest tables (64 KiB) fit, aligned.
  for (let f = 0; f < tableFrames * 5; f++) frames.set(first + f, new Uint32Array(FRAME_WORDS));
  const base = (k: number): bigint => BigInt(first + tableFrames * k) << 12n;
  const top = mode.levels[0];
  for (let k = 0; k < 5; k++) {
    // Each block is filled as a table of some level; pointers may well read it as another.
    const level = k === 0 ? top : mode.levels[Math.floor(next() * mode.levels.length)];
    for (let n = 0; n < density; n++) {
      const form = level.forms[Math.floor(next() * level.forms.length)];
      const address =
        form.kind === 'leaf'
          ? BigInt(Math.floor(next() * 64)) << BigInt(Math.max(mode.mode.pageShift, level.level.shift))
          : base(Math.floor(next() * 6)) + (mode.mode.linearBase ?? 0n);
      const word = wordOf(level, form, next, address);
      if (!word) continue;
      const from = Math.floor(next() * level.entries);
      const run = next() < 0.4 ? Math.floor(next() * 20) : 1;
      for (let i = from; i < Math.min(level.entries, from + run); i++) putEntry(mode, level, memory, base(k), i, word);
    }
  }
  return {
    memory,
    root: { table: base(0), level: top.level.name, label: 'random', ranges: [{ half: 'user', va: 0n, from: 0, to: levelNamed(mode, top.level.name).entries }] },
  };
}
