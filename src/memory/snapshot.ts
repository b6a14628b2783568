/**
 * A machine's memory as bytes, and back.
 *
 * Invariants: two states give equal bytes exactly when every slot, word and column of them is equal, whatever lengths their arrays have grown
 * to; what was never touched takes next to no bytes. −0 is 0. The bytes name the layout of the structs that they were written with, and no
 * program with another one reads them. Words lie as the host has them, which is little-endian wherever this runs.
 *
 * Format: header (below); then the heap, RAM and each column, up to their used ends, as runs of 64 words of 32 bits: a bit map of the
 * runs that hold anything, and those runs.
 */
import { createState, GROUP_BYTES, type MachineState, SLOT_GROUPS, SLOT_TOP } from './state.ts';
import { layouts } from './struct.ts';

/** "PXDM" */
const MAGIC = 0x4d445850;
const VERSION = 1;
/** magic, version, signature of the layouts, page shift, base (2 words), frames (2), heap slots, groups. */
const HEADER_WORDS = 10;
const RUN_WORDS = 64;
/** A heap cannot be larger than what its bytes could describe. */
const MOST_SLOTS = 2 ** 30;

/** Columns in the order of the format. */
const COLUMNS = ['flags', 'refcount', 'mapcount', 'pincount', 'mapping', 'private', 'next', 'prev', 'order'] as const;

/** Hash of what the structs look like: bytes written under other layouts mean something else. */
function layoutSignature(): number {
  let hash = 0x811c9dc5;
  for (const layout of layouts)
    for (const part of [layout.name, layout.size, ...layout.fields.keys()]) for (const c of `${part};`) hash = Math.imul(hash ^ c.charCodeAt(0), 0x01000193);
  return hash;
}

const words32 = (array: Int32Array | Float64Array, from: number, to: number): Int32Array =>
  array instanceof Int32Array ? array.subarray(from, to) : new Int32Array(array.buffer, array.byteOffset + from * 8, (to - from) * 2);

/** Doubles with −0 as 0. */
function plain(array: Float64Array, end: number): Float64Array {
  const copy = array.slice(0, end);
  for (let i = 0; i < end; i++) copy[i] += 0;
  return copy;
}

/** Used parts of a state, in the order of the format. */
function sections(s: MachineState, heapTop: number, groups: number): Int32Array[] {
  const end = groups * (GROUP_BYTES >> s.pageShift);
  return [
    words32(plain(s.heap, heapTop), 0, heapTop),
    words32(s.groupPfn, 0, groups),
    s.words.subarray(0, (groups * GROUP_BYTES) / 4),
    words32(plain(s.index, end), 0, end),
    ...COLUMNS.map((name) => s.columns[name].subarray(0, end)),
  ];
}

const isEmpty = (words: Int32Array, from: number, to: number): boolean => {
  for (let i = from; i < to; i++) if (words[i] !== 0) return false;
  return true;
};

/** The bytes of a state. */
export function snapshot(s: MachineState): Uint8Array {
  const heapTop = s.heap[SLOT_TOP];
  const groups = s.heap[SLOT_GROUPS];
  const header = new Int32Array(HEADER_WORDS);
  header.set([MAGIC, VERSION, layoutSignature(), s.pageShift, low(s.basePfn), high(s.basePfn), low(s.frames), high(s.frames), heapTop, groups]);
  const parts: Int32Array[] = [header];
  for (const section of sections(s, heapTop, groups)) parts.push(...pack(section));
  const out = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return new Uint8Array(out.buffer);
}

const low = (x: number): number => (x % 2 ** 32) | 0;
const high = (x: number): number => Math.floor(x / 2 ** 32);
const join = (lower: number, upper: number): number => upper * 2 ** 32 + (lower >>> 0);

/** A bit map of the runs that hold anything, and those runs. */
function pack(words: Int32Array): Int32Array[] {
  const runs = Math.ceil(words.length / RUN_WORDS);
  const map = new Int32Array(Math.ceil(runs / 32));
  const parts: Int32Array[] = [map];
  for (let run = 0; run < runs; run++) {
    const to = Math.min(words.length, (run + 1) * RUN_WORDS);
    if (isEmpty(words, run * RUN_WORDS, to)) continue;
    map[run >> 5] |= 1 << (run & 31);
    parts.push(words.subarray(run * RUN_WORDS, to));
  }
  return parts;
}

/** Fills `words`, all zero, from packed ones; the position behind them. */
function unpack(from: Int32Array, at: number, words: Int32Array): number {
  const runs = Math.ceil(words.length / RUN_WORDS);
  const maps = Math.ceil(runs / 32);
  let next = at + maps;
  if (next > from.length) throw new RangeError('the snapshot is cut off');
  for (let run = 0; run < runs; run++) {
    if (((from[at + (run >> 5)] >> (run & 31)) & 1) === 0) continue;
    const length = Math.min(RUN_WORDS, words.length - run * RUN_WORDS);
    if (next + length > from.length) throw new RangeError('the snapshot is cut off');
    words.set(from.subarray(next, next + length), run * RUN_WORDS);
    next += length;
  }
  return next;
}

/** A state with arrays for so many slots and groups, all zero. */
function roomFor(shape: { pageShift: number; basePfn: number; frames: number }, heapTop: number, groups: number): MachineState {
  const s = createState(shape.frames, shape.pageShift, shape.basePfn, groups);
  let slots = s.heap.length;
  while (slots < heapTop) slots *= 2;
  s.heap = new Float64Array(slots);
  return s;
}

/** groupOf is the inverse of groupPfn. */
function restoreGroups(s: MachineState, groups: number): void {
  const perGroup = GROUP_BYTES >> s.pageShift;
  for (let place = 1; place < groups; place++) s.groupOf[(s.groupPfn[place] - s.basePfn) / perGroup] = place;
}

/** A state from bytes. @throws {RangeError} when they are no snapshot of this program's structs, or cut off. */
export function restore(bytes: Uint8Array): MachineState {
  if (bytes.length % 4 !== 0 || bytes.length < HEADER_WORDS * 4) throw new RangeError('these bytes are no snapshot of a machine');
  const words = new Int32Array(bytes.slice().buffer);
  const [magic, version, signature, pageShift, baseLow, baseHigh, framesLow, framesHigh, heapTop, groups] = words;
  if (magic !== MAGIC) throw new RangeError('these bytes are no snapshot of a machine');
  if (version !== VERSION) throw new RangeError(`snapshot of version ${version}, this program reads version ${VERSION}`);
  if (signature !== layoutSignature()) throw new RangeError('the snapshot was made with other structs than this program has');
  if (pageShift < 12 || pageShift > 16 || heapTop < 0 || heapTop > MOST_SLOTS || groups < 1 || groups > 65536)
    throw new RangeError('the header of the snapshot is damaged');
  const s = roomFor({ pageShift, basePfn: join(baseLow, baseHigh), frames: join(framesLow, framesHigh) }, heapTop, groups);
  let at = HEADER_WORDS;
  at = unpack(words, at, words32(s.heap, 0, heapTop));
  at = unpack(words, at, words32(s.groupPfn, 0, groups));
  at = unpack(words, at, s.words.subarray(0, (groups * GROUP_BYTES) / 4));
  at = unpack(words, at, words32(s.index, 0, s.index.length));
  for (const name of COLUMNS) at = unpack(words, at, s.columns[name]);
  if (at !== words.length) throw new RangeError('the snapshot is followed by other bytes');
  restoreGroups(s, groups);
  return s;
}

/** A state of its own with equal content. */
export function clone(s: MachineState): MachineState {
  const heapTop = s.heap[SLOT_TOP];
  const groups = s.heap[SLOT_GROUPS];
  const copy = roomFor(s, heapTop, groups);
  const pages = groups * (GROUP_BYTES >> s.pageShift);
  copy.heap.set(s.heap.subarray(0, heapTop));
  copy.words.set(s.words.subarray(0, (groups * GROUP_BYTES) / 4));
  for (const name of COLUMNS) copy.columns[name].set(s.columns[name].subarray(0, pages));
  copy.index.set(s.index.subarray(0, pages));
  copy.groupPfn.set(s.groupPfn.subarray(0, groups));
  copy.groupOf.set(s.groupOf);
  return copy;
}

/** True when two states hold the same, never-touched space and the lengths of arrays aside. */
export function equalStates(a: MachineState, b: MachineState): boolean {
  const { heap: heapA } = a;
  const { heap: heapB } = b;
  if (a.pageShift !== b.pageShift || a.basePfn !== b.basePfn || a.frames !== b.frames) return false;
  const top = heapA[SLOT_TOP];
  const groups = heapA[SLOT_GROUPS];
  if (heapB[SLOT_TOP] !== top || heapB[SLOT_GROUPS] !== groups) return false;
  const pages = groups * (GROUP_BYTES >> a.pageShift);
  return (
    sameValues(heapA, heapB, top) &&
    sameValues(a.groupPfn, b.groupPfn, groups) &&
    sameValues(a.words, b.words, (groups * GROUP_BYTES) / 4) &&
    sameValues(a.index, b.index, pages) &&
    COLUMNS.every((name) => sameValues(a.columns[name], b.columns[name], pages))
  );
}

function sameValues(a: Int32Array | Float64Array, b: Int32Array | Float64Array, end: number): boolean {
  for (let i = 0; i < end; i++) if (a[i] !== b[i]) return false;
  return true;
}
