/**
 * The memory of the machine that is mounted: everything a modelled kernel knows lies in these arrays and nowhere else.
 *
 * - `heap`: structs, one double a slot (see struct.ts).
 * - `words`: RAM by 32-bit words, in the byte order of the modelled architecture, backed by one WebAssembly.Memory. Frames are backed in groups of
 *   64 KiB when they are first touched, so that a machine may have far more RAM than this process.
 * - columns `page*`: struct page of every backed frame, indexed by **page** (as `struct page *`), a dense number; `pfn ↔ page` by group.
 *
 * Invariants: one machine is mounted at a time (`mount`); code never keeps an array over a call that may grow it; every write goes through the
 * setters below, which is what makes the journal (undo), the hash and the snapshot complete. Word index of a page's first word:
 * `page << wordShift`.
 */
import { PG_TABLE } from './page-flags.ts';

/** Bytes of a group of frames: one page of WebAssembly memory. */
export const GROUP_BYTES = 65536;
const GROUP_WORDS = GROUP_BYTES / 4;

/** Numbers of the arrays in the journal. */
export const ARRAY = {
  heap: 0,
  words: 1,
  flags: 2,
  refcount: 3,
  mapcount: 4,
  pincount: 5,
  mapping: 6,
  index: 7,
  private: 8,
  next: 9,
  prev: 10,
  order: 11,
  groupOf: 12,
  groupPfn: 13,
} as const;

/** Columns of struct page that hold 32-bit integers, in the order of their numbers in the journal. */
const INT_COLUMNS = ['flags', 'refcount', 'mapcount', 'pincount', 'mapping', 'private', 'next', 'prev', 'order'] as const;
type IntColumn = (typeof INT_COLUMNS)[number];

/** A WebAssembly.Memory, described here for those who compile without the platform's types. */
export interface Ram {
  readonly buffer: ArrayBuffer;
  /** Grows by so many pages of 64 KiB; returns the pages before. The old buffer is detached. */
  grow(delta: number): number;
}

export interface MachineState {
  heap: Float64Array;
  ram: Ram;
  words: Int32Array;
  columns: Record<IntColumn, Int32Array>;
  index: Float64Array;
  /** Group of frames (by pfn) → 1 + its place in RAM, 0 when never touched. */
  groupOf: Int32Array;
  /** Place in RAM → first pfn of its group. */
  groupPfn: Float64Array;
  /** log2 of the bytes of a frame. */
  readonly pageShift: number;
  /** First frame that exists; groups are counted from here. */
  readonly basePfn: number;
  readonly frames: number;
  /** The journal, kept while another machine is mounted. */
  journal?: Journal;
}

interface Journal {
  readonly entries: Float64Array<ArrayBuffer>;
  readonly top: number;
  readonly hashLow: number;
  readonly hashHigh: number;
  readonly apart: readonly [of: Uint8Array<ArrayBuffer>, lanes: Int32Array<ArrayBuffer>];
}

export let heap = new Float64Array(0);
export let words = new Int32Array(0);
export let bytes = new Uint8Array(0);
export let pageFlags = new Int32Array(0);
export let pageRefcount = new Int32Array(0);
export let pageMapcount = new Int32Array(0);
export let pagePincount = new Int32Array(0);
export let pageMapping = new Int32Array(0);
export let pageIndex = new Float64Array(0);
export let pagePrivate = new Int32Array(0);
export let pageNext = new Int32Array(0);
export let pagePrev = new Int32Array(0);
export let pageOrder = new Int32Array(0);
let groupOf = new Int32Array(0);
let groupPfn = new Float64Array(0);
/** log2 of the 32-bit words of a frame. */
export let wordShift = 10;
/** Copying zeroes is faster than filling with them: the engine copies with wide stores. */
let zeroFrame = new Int32Array(0);
export let pageShift = 12;
let framesPerGroup = 16;
let groupShift = 4;
let basePfn = 0;
let state: MachineState | undefined;
/** Another number whenever frames may be at other places in RAM than before. */
export let placed = 0;

/** Heap slots with a fixed meaning. */
const SLOT_TOP = 1;
const SLOT_GROUPS = 2;
/** The first of the tasks' pools of objects (pools.ts), 0 without. */
const SLOT_POOLS = 5;
/** Free lists of struct types follow from here. */
const SLOT_FREE = 8;
const MAX_TYPES = 120;
const FIRST_OBJECT = SLOT_FREE + MAX_TYPES;

/**
 * Groups of a small machine: its RAM is there from the beginning and never grows. Growing detaches a buffer, and from the first one on that a process has
 * detached V8 looks at each access to any typed array whether its buffer still is attached: a tenth of what kernel code and searches take.
 */
const SMALL_GROUPS = 256;

/** Empty memory for a machine of `frames` frames of `1 << shift` bytes from `base` on, with room for `groups` groups of them. */
export function createState(frames: number, shift = 12, base = 0, groups = roomOf(frames, shift)): MachineState {
  const ram = new WebAssembly.Memory({ initial: groups, maximum: 65536 });
  const heap = new Float64Array(4096);
  heap[SLOT_TOP] = FIRST_OBJECT;
  // Group 0 stays unused: page 0 is no page, as a null pointer.
  heap[SLOT_GROUPS] = 1;
  const perGroup = GROUP_BYTES >> shift;
  const column = (): Int32Array<ArrayBuffer> => new Int32Array(groups * perGroup);
  return {
    heap,
    ram,
    words: new Int32Array(ram.buffer),
    columns: Object.fromEntries(INT_COLUMNS.map((name) => [name, column()])) as Record<IntColumn, Int32Array<ArrayBuffer>>,
    index: new Float64Array(groups * perGroup),
    groupOf: new Int32Array(Math.ceil(frames / perGroup)),
    groupPfn: new Float64Array(groups),
    pageShift: shift,
    basePfn: base,
    frames,
  };
}

/** Groups that there is room for at first: all of a small machine's, with the one that stays unused. */
function roomOf(frames: number, shift: number): number {
  const all = 1 + Math.ceil(frames / (GROUP_BYTES >> shift));
  return all <= SMALL_GROUPS ? all : 1;
}

/** Makes a machine's memory the one that all kernel code works on. */
export function mount(next: MachineState): void {
  if (state === next) return;
  if (state !== undefined) putJournalAway(state);
  state = next;
  pageShift = next.pageShift;
  wordShift = next.pageShift - 2;
  if (zeroFrame.length !== 1 << wordShift) zeroFrame = new Int32Array(1 << wordShift);
  framesPerGroup = GROUP_BYTES >> next.pageShift;
  groupShift = 16 - next.pageShift;
  basePfn = next.basePfn;
  adopt(next);
  takeJournalUp(next);
}

/** The mounted memory. */
export const mounted = (): MachineState => state as MachineState;

/** Takes over the arrays of the mounted state after they were replaced by larger ones. */
function adopt(s: MachineState): void {
  placed++;
  heap = s.heap as Float64Array<ArrayBuffer>;
  words = s.words as Int32Array<ArrayBuffer>;
  bytes = new Uint8Array(s.ram.buffer);
  const c = s.columns as Record<IntColumn, Int32Array<ArrayBuffer>>;
  pageFlags = c.flags;
  pageRefcount = c.refcount;
  pageMapcount = c.mapcount;
  pagePincount = c.pincount;
  pageMapping = c.mapping;
  pagePrivate = c.private;
  pageNext = c.next;
  pagePrev = c.prev;
  pageOrder = c.order;
  pageIndex = s.index as Float64Array<ArrayBuffer>;
  groupOf = s.groupOf as Int32Array<ArrayBuffer>;
  groupPfn = s.groupPfn as Float64Array<ArrayBuffer>;
  arrays = arraysOf(s);
}

// --- journal ----------------------------------------------------------------------------------------------------------------

/** All arrays of the mounted state, by their numbers in the journal. */
let arrays: (Int32Array | Float64Array)[] = [];
/** True while writes are recorded. */
export let recording = false;
/** Triples: array, index, old value. */
let journal = new Float64Array(3 << 10);
let journalTop = 0;
/** Two lanes of the incremental hash of everything that was written while recording. */
let hashLow = 0;
let hashHigh = 0;

const bits = new DataView(new ArrayBuffer(8));

/** One word of a position and value, mixed; integers below 2^31 take the short way. */
function mix(array: number, index: number, value: number, seed: number): number {
  let low = value | 0;
  let high = 0;
  if (low !== value) {
    bits.setFloat64(0, value);
    low = bits.getInt32(4);
    high = bits.getInt32(0);
  }
  let x = Math.imul((index + Math.imul(array, 0x9e3779b1)) ^ seed, 0x85ebca6b) ^ low;
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) ^ high;
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39);
  return x ^ (x >>> 15);
}

function growJournal(): void {
  const larger = new Float64Array(journal.length * 2);
  larger.set(journal);
  journal = larger;
}

function note(array: number, index: number, old: number, value: number): void {
  if (journalTop + 3 > journal.length) growJournal();
  journal[journalTop++] = array;
  journal[journalTop++] = index;
  journal[journalTop++] = old;
  // References come out of the heap, as doubles: the engine is told that this is an index.
  if (array !== ARRAY.heap || apartOf[index | 0] !== UNHASHED) rehash(array, index | 0, old, value);
}

/** By slot of the heap: 0, or the first of the two lanes of `hashApart` that its share of the hash goes to beside LANE_APART, ALONE for none, or UNHASHED: it has no share. */
let apartOf = new Uint8Array(0);
/**
 * Shares of the hash, two lanes each. One is that of RAM, with which groups of frames are backed, and which pages are tables: all that hardware reads of memory.
 */
export let hashApart = new Int32Array(0);
/** Where the sum of all slots that are told apart stands, and RAM's. */
export const LANE_APART = 0;
export const LANE_RAM = 2;
export const ALONE = 254;
export const UNHASHED = 255;

/** From now on so many lanes of shares of the hash are known apart, which are 0 at this moment; none for no longer. */
export function keepApart(of: Uint8Array<ArrayBuffer>, lanes: number): void {
  apartOf = of;
  hashApart = new Int32Array(lanes);
}

/** A word changes: what it was leaves the hash, what it is comes in. */
function rehash(array: number, index: number, old: number, value: number): void {
  let low = 0;
  let high = 0;
  // A zero word hashes to nothing, so that memory never touched and memory zeroed again are the same state.
  if (old !== 0) {
    low = mix(array, index, old, 0x165667b1);
    high = mix(array, index, old, 0x27d4eb2f);
  }
  if (value !== 0) {
    low ^= mix(array, index, value, 0x165667b1);
    high ^= mix(array, index, value, 0x27d4eb2f);
  }
  hashLow ^= low;
  hashHigh ^= high;
  if (hashApart.length === 0) return;
  let lane = LANE_RAM;
  if (array === ARRAY.heap) {
    if (index >= apartOf.length || apartOf[index] === 0) return;
    lane = apartOf[index];
    hashApart[LANE_APART] ^= low;
    hashApart[LANE_APART + 1] ^= high;
    if (lane === ALONE) return;
  } else if (array === ARRAY.flags) {
    if (((old ^ value) & PG_TABLE) === 0) return;
    low = mix(array, index, PG_TABLE, 0x165667b1);
    high = mix(array, index, PG_TABLE, 0x27d4eb2f);
  } else if (array !== ARRAY.words && array < ARRAY.groupOf) return;
  hashApart[lane] ^= low;
  hashApart[lane + 1] ^= high;
}

/** Starts recording writes; `undo(0)` then leads back to this moment. */
export function startJournal(): void {
  recording = true;
  journalTop = 0;
  hashLow = 0;
  hashHigh = 0;
  hashApart.fill(0);
}

export function stopJournal(): void {
  recording = false;
  journalTop = 0;
  keepApart(new Uint8Array(0), 0);
}

/** A journal belongs to one machine: it rests while another is mounted. */
function putJournalAway(s: MachineState): void {
  if (!recording) return;
  s.journal = { entries: journal, top: journalTop, hashLow, hashHigh, apart: [apartOf, hashApart.slice()] };
  journal = new Float64Array(3 << 10);
  stopJournal();
}

function takeJournalUp(s: MachineState): void {
  const kept = s.journal;
  if (kept === undefined) return;
  s.journal = undefined;
  recording = true;
  journal = kept.entries;
  journalTop = kept.top;
  hashLow = kept.hashLow;
  hashHigh = kept.hashHigh;
  const [of, lanes] = kept.apart;
  keepApart(of, lanes.length);
  hashApart.set(lanes);
}

/** A point that `undo` can return to. */
export const journalMark = (): number => journalTop;
/** What was recorded since a mark: from there on three words a write (array, index, old value), up to `journalMark()`. */
export const journalWord = (at: number): number => journal[at];

/** Hash of all that differs from the moment when recording started, its two halves. */
export const stateHash = (): { low: number; high: number } => ({ low: hashLow, high: hashHigh });
export const stateHashLow = (): number => hashLow;
export const stateHashHigh = (): number => hashHigh;

/** Takes back every write since a mark, newest first. */
export function undo(mark: number): void {
  let top = journalTop;
  while (top > mark) {
    top -= 3;
    const array = journal[top];
    const index = journal[top + 1] | 0;
    const old = journal[top + 2];
    const now = arrays[array][index];
    if (now === old) continue;
    if (array !== ARRAY.heap || apartOf[index] !== UNHASHED) rehash(array, index, now, old);
    arrays[array][index] = old;
  }
  journalTop = mark;
}

/** The same for who knows the hash of that moment (`stateHash`), which then need not be found by going back. */
export function undoTo(mark: number, low: number, high: number): void {
  for (let top = journalTop - 3; top >= mark; top -= 3) {
    const array = journal[top];
    const index = journal[top + 1] | 0;
    // Most of what tasks write is the heap: the engine is told so.
    if (array === ARRAY.heap) heap[index] = journal[top + 2];
    else arrays[array][index] = journal[top + 2];
  }
  journalTop = mark;
  hashLow = low;
  hashHigh = high;
}

/** Writes words beside the journal and the hash: `list` holds, from `at` up to `end`, four numbers a word (array, index, old value, value), of which the one at `which` is written. */
export function writeWords(list: Float64Array, at: number, end: number, which: 2 | 3): void {
  for (let i = at; i < end; i += 4) {
    const array = list[i];
    const index = list[i + 1] | 0;
    // Most of what tasks write is the heap: the engine is told so.
    if (array === ARRAY.heap) heap[index] = list[i + which];
    else arrays[array][index] = list[i + which];
  }
}

/** What such writes do to the hash and to LANE_APART, either way. */
export function shiftHash(low: number, high: number, apartLow: number, apartHigh: number): void {
  hashLow ^= low;
  hashHigh ^= high;
  const apart = hashApart;
  apart[LANE_APART] ^= apartLow;
  apart[LANE_APART + 1] ^= apartHigh;
}

/** What they do to the other lanes, up to `lanes`: it stands in `shifts`, with that to LANE_APART, from `by` on. */
export function shiftLanes(shifts: Int32Array, by: number, lanes: number): void {
  const apart = hashApart;
  for (let lane = LANE_APART + 2; lane < lanes; lane++) apart[lane] ^= shifts[by + lane];
}

/** What a word of an array is now. */
export const wordOf = (array: number, index: number): number => arrays[array][index];

/** All arrays of a state, by their numbers in the journal. */
export function arraysOf(s: MachineState): (Int32Array | Float64Array)[] {
  const c = s.columns;
  return [s.heap, s.words, c.flags, c.refcount, c.mapcount, c.pincount, c.mapping, s.index, c.private, c.next, c.prev, c.order, s.groupOf, s.groupPfn];
}

// --- writing ----------------------------------------------------------------------------------------------------------------

/** Writes a heap slot. */
export function setSlot(slot: number, value: number): void {
  if (recording) note(0, slot, heap[slot], value);
  heap[slot] = value;
}

/** Writes a word of RAM. */
export function setWord(at: number, value: number): void {
  if (recording) note(1, at, words[at], value | 0);
  words[at] = value;
}

export function setPageFlags(page: number, value: number): void {
  if (recording) note(2, page, pageFlags[page], value);
  pageFlags[page] = value;
}

export function setPageRefcount(page: number, value: number): void {
  if (recording) note(3, page, pageRefcount[page], value);
  pageRefcount[page] = value;
}

export function setPageMapcount(page: number, value: number): void {
  if (recording) note(4, page, pageMapcount[page], value);
  pageMapcount[page] = value;
}

export function setPagePincount(page: number, value: number): void {
  if (recording) note(5, page, pagePincount[page], value);
  pagePincount[page] = value;
}

export function setPageMapping(page: number, value: number): void {
  if (recording) note(6, page, pageMapping[page], value);
  pageMapping[page] = value;
}

export function setPageIndex(page: number, value: number): void {
  if (recording) note(7, page, pageIndex[page], value);
  pageIndex[page] = value;
}

export function setPagePrivate(page: number, value: number): void {
  if (recording) note(8, page, pagePrivate[page], value);
  pagePrivate[page] = value;
}

export function setPageNext(page: number, value: number): void {
  if (recording) note(9, page, pageNext[page], value);
  pageNext[page] = value;
}

export function setPagePrev(page: number, value: number): void {
  if (recording) note(10, page, pagePrev[page], value);
  pagePrev[page] = value;
}

export function setPageOrder(page: number, value: number): void {
  if (recording) note(11, page, pageOrder[page], value);
  pageOrder[page] = value;
}

// --- heap -------------------------------------------------------------------------------------------------------------------

/** Slots of a pool before the heads of its lists: its type, its size, how many pools there are. */
const POOL_LISTS = 3;

/** The pool of the task that runs, 0 without. */
let ownPool = 0;

/** Makes the pool of a task the one that is allocated from; −1 for none. */
export function usePool(task: number): void {
  const first = heap[SLOT_POOLS];
  ownPool = first === 0 || task < 0 || task >= heap[first + 2] ? 0 : first + task * heap[first + 1];
}

/** The pool that an object belongs to, 0 when to none. The machine has pools. */
function poolOf(ref: number): number {
  const first = heap[SLOT_POOLS];
  const number = Math.floor((ref - first) / heap[first + 1]);
  return number < 0 || number >= heap[first + 2] ? 0 : first + number * heap[first + 1];
}

/** Where the next object of a type will be that a task allocates. */
export function peekObject(type: number, task: number): number {
  const first = heap[SLOT_POOLS];
  const own = first === 0 || task >= heap[first + 2] ? 0 : heap[first + task * heap[first + 1] + POOL_LISTS + type];
  return own || heap[SLOT_FREE + type] || heap[SLOT_TOP];
}

/** Allocates a zeroed object of a type; 0 is never returned, the heap grows. */
export function allocObject(type: number, size: number): number {
  const own = ownPool + POOL_LISTS + type;
  const head = ownPool !== 0 && heap[own] !== 0 ? own : SLOT_FREE + type;
  let ref = heap[head];
  if (ref !== 0) setSlot(head, heap[ref + 1]);
  else {
    ref = heap[SLOT_TOP];
    if (ref + size > heap.length) growHeap(ref + size);
    setSlot(SLOT_TOP, ref + size);
  }
  setSlot(ref, type);
  setSlot(ref + 1, 0);
  return ref;
}

/** Gives an object back. All slots but the first two are zeroed, so that a new object is clean and a stale reader finds nothing. */
export function freeObject(ref: number, size: number): void {
  const type = heap[ref];
  if (!(type > 0)) throw new Error(`object ${ref} is freed twice`);
  if (recording) {
    for (let i = 2; i < size; i++) if (heap[ref + i] !== 0) setSlot(ref + i, 0);
  } else {
    // A loop: objects are small, and a call of fill() costs more than they do.
    for (let i = ref + 2; i < ref + size; i++) heap[i] = 0;
  }
  const pool = heap[SLOT_POOLS] === 0 ? 0 : poolOf(ref);
  let before = pool === 0 ? SLOT_FREE + type : pool + POOL_LISTS + type;
  // Lists of pools are in the order of addresses.
  if (pool !== 0) while (heap[before] !== 0 && heap[before] < ref) before = heap[before] + 1;
  setSlot(ref, -type);
  setSlot(ref + 1, heap[before]);
  setSlot(before, ref);
}

function growHeap(need: number): void {
  const s = mounted();
  let length = s.heap.length;
  while (length < need) length *= 2;
  const larger = new Float64Array(length);
  larger.set(s.heap);
  s.heap = larger;
  heap = larger;
  arrays[ARRAY.heap] = larger;
}

// --- frames -----------------------------------------------------------------------------------------------------------------

/** The page of a frame that exists; its group is backed when it is not yet. */
export function pageOfPfn(pfn: number): number {
  const frame = pfn - basePfn;
  const place = groupOf[frame >> groupShift];
  return ((place === 0 ? backGroup(frame >> groupShift) : place) << groupShift) + (frame & (framesPerGroup - 1));
}

/** The page of a frame, or 0 when nothing was ever kept in it. */
export function knownPageOfPfn(pfn: number): number {
  const frame = pfn - basePfn;
  if (frame < 0 || frame >= mounted().frames) return 0;
  const place = groupOf[frame >> groupShift];
  return place === 0 ? 0 : (place << groupShift) + (frame & (framesPerGroup - 1));
}

export const pfnOfPage = (page: number): number => groupPfn[page >> groupShift] + (page & (framesPerGroup - 1));

/** Pages that are backed: every valid page is below. */
export const pagesEnd = (): number => heap[SLOT_GROUPS] << groupShift;

function backGroup(group: number): number {
  placed++;
  const place = heap[SLOT_GROUPS];
  const s = mounted();
  if (place * GROUP_BYTES >= s.ram.buffer.byteLength) growRam(s, place + 1);
  if (recording) {
    note(ARRAY.groupOf, group, 0, place);
    note(ARRAY.groupPfn, place, 0, basePfn + (group << groupShift));
  }
  groupOf[group] = place;
  groupPfn[place] = basePfn + (group << groupShift);
  setSlot(SLOT_GROUPS, place + 1);
  return place;
}

/** Doubles RAM (up to the 4 GiB that WebAssembly can hold). @throws {RangeError} when more frames are touched than that. */
function growRam(s: MachineState, groups: number): void {
  const now = s.ram.buffer.byteLength / GROUP_BYTES;
  const wanted = Math.min(65536, Math.max(groups, now * 2));
  if (groups > 65536) throw new RangeError('more than 4 GiB of frames hold data: the machine cannot keep them');
  s.ram.grow(wanted - now);
  s.words = new Int32Array(s.ram.buffer);
  const pages = wanted * framesPerGroup;
  for (const name of INT_COLUMNS) {
    const larger = new Int32Array(pages);
    larger.set(s.columns[name]);
    s.columns[name] = larger;
  }
  const index = new Float64Array(pages);
  index.set(s.index);
  s.index = index;
  const pfns = new Float64Array(wanted);
  pfns.set(s.groupPfn);
  s.groupPfn = pfns;
  adopt(s);
}

/** Zeroes a frame. */
export function clearFrame(page: number): void {
  const from = page << wordShift;
  const to = from + (1 << wordShift);
  if (recording) {
    for (let i = from; i < to; i++) if (words[i] !== 0) setWord(i, 0);
  } else words.set(zeroFrame, from);
}

/** Pages whose content plain code has read, one after the other, while somebody listens (explore/steps.ts); when there is no more room the first are forgotten. */
export const framesRead = { on: false, count: 0, pages: new Int32Array(64) };

/** Plain code is about to read a frame's content: no operation tells of that. */
export function noteFrameRead(page: number): void {
  if (framesRead.on) framesRead.pages[framesRead.count++ % framesRead.pages.length] = page;
}

/** Copies a frame's content. */
export function copyFrame(to: number, from: number): void {
  noteFrameRead(from);
  const source = from << wordShift;
  const target = to << wordShift;
  if (recording) {
    for (let i = 0; i < 1 << wordShift; i++) if (words[target + i] !== words[source + i]) setWord(target + i, words[source + i]);
  } else words.copyWithin(target, source, source + (1 << wordShift));
}

/** Writes one byte of RAM, by the byte's address in `bytes`. */
export function setByte(at: number, value: number): void {
  if (recording) {
    const word = at >>> 2;
    const old = words[word];
    bytes[at] = value;
    const now = words[word];
    note(1, word, old, now);
    return;
  }
  bytes[at] = value;
}

export { FIRST_OBJECT, GROUP_WORDS, MAX_TYPES, POOL_LISTS, SLOT_FREE, SLOT_GROUPS, SLOT_POOLS, SLOT_TOP };
