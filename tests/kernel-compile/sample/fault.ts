/** A mock of a fault: lock, look, allocate, write, unlock; calls three deep. */
import type { Op } from './op.ts';
import { addWord, compareExchange, readWord, tick, writeWord } from './ops.ts';
import { clampIndex } from './state.ts';

const LOCK = 1;
const NEXT_FRAME = 2;
const FIRST_ENTRY = 16;
export const VM_FAULT_OOM = 1;

export function* lockTable(owner: number): Op<number> {
  let spins = 0;
  while ((yield* compareExchange(LOCK, 0, owner, 0)) === 0) spins++;
  return spins;
}

export function* unlockTable(): Op<number> {
  yield* writeWord(LOCK, 0);
  return 0;
}

function* allocate(limit: number): Op<number> {
  const frame = yield* addWord(NEXT_FRAME, 1);
  if (frame >= limit) return 0;
  return frame + 1;
}

function* fillEntry(entry: number, limit: number): Op<number> {
  const old = yield* readWord(entry);
  if (old !== 0) return 0;
  const frame = yield* allocate(limit);
  if (frame === 0) return VM_FAULT_OOM;
  yield* writeWord(entry, frame);
  yield* addWord(3, 1);
  return 0;
}

/** Eight operations when the entry is empty (reads of the TLB word included). */
export function* fault(vpn: number, owner: number, limit: number): Op<number> {
  const entry = clampIndex(FIRST_ENTRY + (vpn & 31));
  if ((yield* readWord(8 + (owner & 3))) === vpn) return 0;
  yield* lockTable(owner);
  const result = yield* fillEntry(entry, limit);
  yield* unlockTable();
  if (result === 0) yield* writeWord(8 + (owner & 3), vpn);
  return result;
}

/** Throws when the word is 0, for stack traces. */
export function* faultThatThrows(vpn: number): Op<number> {
  const word = yield* readWord(vpn);
  if (word === 0) breakDown(vpn);
  return word;
}

function breakDown(vpn: number): void {
  throw new Error(`broken at ${vpn}`);
}

/** Adds twice; what was there before the second time. */
export function* addTwice(word: number, value: number): Op<number> {
  yield* addWord(word, value);
  return yield* addWord(word, value);
}

/** What is done with `secret` is over when `tick` comes. */
export function* deadHistory(secret: number, other: number): Op<number> {
  let n = secret * 3;
  for (let i = 0; i < 2; i++) {
    const inner = n + i;
    yield* readWord(inner);
    n += yield* keeps(inner);
  }
  if (n > 0) {
    n = other;
    yield* tick();
  }
  return n;
}

function* keeps(value: number): Op<number> {
  const before = yield* readWord(value);
  yield* readWord(before);
  return before + value;
}
