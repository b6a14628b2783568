/**
 * XArrays (lib/xarray.c): index → value in nodes of 64 slots, with marks. Page caches, swap caches and sparse tables are made of them.
 *
 * An array is named by the heap slot of its root, which holds the top node or 0. Indices are exact numbers from 0 to 2^53 − 1, values any number but 0.
 *
 * Invariants: no node is empty; the top node is as low as the highest index allows: the same content has the same shape. `count` is the number of
 * slots in use. A mark's bit of a slot above the lowest level is set when it is set anywhere below; an entry that is erased or stored anew
 * where nothing was has no mark, one that is replaced keeps its marks (as xas_store does).
 *
 * Nodes come from `alloc`, which never fails: a caller that models allocation failure asks before it stores.
 */
import { alloc, free, get, set } from './heap.ts';
import { heap, setSlot } from './state.ts';
import { array, defineStruct, type Ref } from './struct.ts';

const BITS = 6;
const SLOTS = 1 << BITS;
const MASK = SLOTS - 1;

/** Marks of entries; the page cache's uses of XA_MARK_0 to 2 (PAGECACHE_TAG_…). */
export const XA_MARK_DIRTY = 0;
export const XA_MARK_WRITEBACK = 1;
export const XA_MARK_TOWRITE = 2;
const MARKS = 3;

/** struct xa_node. */
export const XaNode = defineStruct('xaNode', {
  parent: 'ref:xaNode',
  /** Slot in the parent. */
  offset: 'number',
  /** Bits of the index below this node's: 0 at the level of entries. */
  shift: 'number',
  count: 'count',
  /** A bit a slot, two words of 32 a mark. */
  marks: array(2 * MARKS, 'flags'),
  slots: array(SLOTS),
});
type XaNodeRef = Ref<'xaNode'>;

// Offsets as plain numbers for the walks that every fault of a file makes.
const SHIFT: number = XaNode.shift;
const ENTRIES: number = XaNode.slots;

/** Slot of a node that leads to an index. Indices may have more bits than JavaScript's shifts take. */
function offsetOf(index: number, shift: number): number {
  if (index <= 0x7fffffff) return shift > 30 ? 0 : (index >> shift) & MASK;
  return (index / 2 ** shift) & MASK;
}

/** Highest index below a node of this shift, counted from its first. */
const span = (shift: number): number => 2 ** (shift + BITS) - 1;

/** The node of the lowest level that an index belongs to, 0 when it has none. */
function leafOf(root: number, index: number): XaNodeRef {
  const h = heap;
  let node = h[root] | 0;
  if (node === 0) return 0;
  let shift = h[node + SHIFT] | 0;
  if (shift <= 24) {
    // The usual sizes: up to 2^30 entries, where JavaScript's shifts do.
    if (index >= 1 << (shift + BITS)) return 0;
    const bits = index | 0;
    for (; shift !== 0; shift -= BITS) {
      node = h[node + ENTRIES + ((bits >> shift) & MASK)] | 0;
      if (node === 0) return 0;
    }
    return node;
  }
  if (index > span(shift)) return 0;
  for (; shift !== 0; shift -= BITS) {
    node = h[node + ENTRIES + offsetOf(index, shift)] | 0;
    if (node === 0) return 0;
  }
  return node;
}

/** What is stored at an index, 0 for nothing (xa_load). */
export function xaLoad(root: number, index: number): number {
  const leaf = leafOf(root, index);
  return leaf === 0 ? 0 : heap[leaf + ENTRIES + (index & MASK)];
}

function newNode(parent: XaNodeRef, offset: number, shift: number): XaNodeRef {
  const node = alloc(XaNode);
  set(node, XaNode.parent, parent);
  set(node, XaNode.offset, offset);
  set(node, XaNode.shift, shift);
  return node;
}

/** Makes the top node high enough for an index. */
function expand(root: number, index: number): XaNodeRef {
  let top: XaNodeRef = heap[root];
  if (top === 0) {
    let shift = 0;
    while (index > span(shift)) shift += BITS;
    top = newNode(0, 0, shift);
    setSlot(root, top);
    return top;
  }
  while (index > span(get(top, XaNode.shift))) {
    const above = newNode(0, 0, get(top, XaNode.shift) + BITS);
    setSlot(above + XaNode.slots, top);
    set(above, XaNode.count, 1);
    for (let mark = 0; mark < MARKS; mark++) if (anyMarked(top, mark)) setMarkBit(above, 0, mark);
    set(top, XaNode.parent, above);
    setSlot(root, above);
    top = above;
  }
  return top;
}

/** Stores a value and returns what was there (xa_store). Storing 0 erases. @throws {RangeError} for an index that is no exact number */
export function xaStore(root: number, index: number, value: number): number {
  if (value === 0) return xaErase(root, index);
  if (!(index >= 0 && index <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`index ${index} of an xarray`);
  let node = expand(root, index);
  for (let shift = get(node, XaNode.shift); shift !== 0; shift -= BITS) {
    const offset = offsetOf(index, shift);
    let child: XaNodeRef = heap[node + ENTRIES + offset];
    if (child === 0) {
      child = newNode(node, offset, shift - BITS);
      setSlot(node + ENTRIES + offset, child);
      set(node, XaNode.count, get(node, XaNode.count) + 1);
    }
    node = child;
  }
  const slot = node + ENTRIES + (index & MASK);
  const old = heap[slot];
  setSlot(slot, value);
  if (old === 0) set(node, XaNode.count, get(node, XaNode.count) + 1);
  return old;
}

/** Removes an entry with its marks and returns what was there (xa_erase). */
export function xaErase(root: number, index: number): number {
  let node = leafOf(root, index);
  if (node === 0) return 0;
  let offset = index & MASK;
  const old = heap[node + ENTRIES + offset];
  if (old === 0) return 0;
  for (let mark = 0; mark < MARKS; mark++) clearMarkUpwards(node, offset, mark);
  // Emptied nodes go with their last slot.
  for (;;) {
    setSlot(node + ENTRIES + offset, 0);
    const count = get(node, XaNode.count) - 1;
    set(node, XaNode.count, count);
    if (count !== 0) break;
    const parent: XaNodeRef = get(node, XaNode.parent);
    offset = get(node, XaNode.offset);
    free(XaNode, node);
    if (parent === 0) {
      setSlot(root, 0);
      return old;
    }
    node = parent;
  }
  shrink(root);
  return old;
}

/** Drops top nodes of which only the first slot is used. */
function shrink(root: number): void {
  for (;;) {
    const top: XaNodeRef = heap[root];
    if (get(top, XaNode.shift) === 0 || get(top, XaNode.count) !== 1) return;
    const only: XaNodeRef = heap[top + XaNode.slots];
    if (only === 0) return;
    set(only, XaNode.parent, 0);
    setSlot(root, only);
    // Freeing costs least when all is zero: the marks and the slot of a node with one child.
    free(XaNode, top);
  }
}

/** Lowest index from `index` to `max` that holds a value, −1 if none (xa_find); the value is `xaLoad`'s. To iterate, go on at the result + 1. */
export function xaFind(root: number, index: number, max: number): number {
  return find(root, index, max, -1);
}

/** Lowest index from `index` to `max` whose entry has a mark, −1 if none (xa_find with a mark). */
export function xaFindMarked(root: number, index: number, max: number, mark: number): number {
  return find(root, index, max, mark);
}

function find(root: number, from: number, max: number, mark: number): number {
  let node: XaNodeRef = heap[root];
  if (node === 0 || from > max) return -1;
  let shift = get(node, XaNode.shift);
  if (from > span(shift)) return -1;
  // `index` is within slot `offset` of `node`, from which on (or behind which, when a level was climbed) the search goes on.
  let index = from;
  let offset = offsetOf(index, shift);
  let begin = offset;
  for (;;) {
    const found = mark < 0 ? usedSlot(node, begin) : markedSlot(node, begin, mark);
    if (found === SLOTS) {
      offset = get(node, XaNode.offset);
      begin = offset + 1;
      node = get(node, XaNode.parent);
      if (node === 0) return -1;
      shift += BITS;
      continue;
    }
    if (found !== offset) {
      const unit = 2 ** shift;
      // The difference first: a sum on the way may lie beyond 2^53.
      index = (Math.floor(index / unit) + (found - offset)) * unit;
    }
    if (index > max) return -1;
    if (shift === 0) return index;
    node = heap[node + ENTRIES + found];
    shift -= BITS;
    offset = offsetOf(index, shift);
    begin = offset;
  }
}

/** First slot in use of a node from an offset on, SLOTS if none. */
function usedSlot(node: XaNodeRef, offset: number): number {
  const h = heap;
  let at = offset;
  while (at < SLOTS && h[node + ENTRIES + at] === 0) at++;
  return at;
}

/** Number of entries with an index from `first` to `last`. */
export function xaCount(root: number, first = 0, last = Number.MAX_SAFE_INTEGER): number {
  let total = 0;
  for (let index = xaFind(root, first, last); index >= 0; index = xaFind(root, index, last)) {
    // Whole leaves count at once.
    const leaf = leafOf(root, index);
    const offset = index & MASK;
    // The difference first, as above.
    const end = index + (MASK - offset);
    if (offset === 0 && end <= last) total += get(leaf, XaNode.count);
    else {
      const stop = Math.min(MASK, last - index + offset);
      for (let at = offset; at <= stop; at++) if (heap[leaf + ENTRIES + at] !== 0) total++;
    }
    if (end >= last) break;
    index = end + 1;
  }
  return total;
}

/** Whether nothing is stored. */
export const xaEmpty = (root: number): boolean => heap[root] === 0;

/** Frees all nodes; what the values refer to is the caller's (xa_destroy). */
export function xaDestroy(root: number): void {
  let node: XaNodeRef = heap[root];
  setSlot(root, 0);
  let offset = 0;
  while (node !== 0) {
    const at = get(node, XaNode.shift) === 0 ? SLOTS : usedSlot(node, offset);
    if (at < SLOTS) {
      node = heap[node + ENTRIES + at];
      offset = 0;
    } else {
      const parent: XaNodeRef = get(node, XaNode.parent);
      offset = get(node, XaNode.offset) + 1;
      free(XaNode, node);
      node = parent;
    }
  }
}

// --- marks ------------------------------------------------------------------------------------------------------------------

/** Heap slot of the word with a slot's bit of a mark. */
const markWord = (node: XaNodeRef, offset: number, mark: number): number => node + XaNode.marks + 2 * mark + (offset >> 5);

function setMarkBit(node: XaNodeRef, offset: number, mark: number): void {
  const word = markWord(node, offset, mark);
  setSlot(word, heap[word] | (1 << (offset & 31)));
}

const isMarked = (node: XaNodeRef, offset: number, mark: number): boolean => ((heap[markWord(node, offset, mark)] >>> (offset & 31)) & 1) !== 0;

const anyMarked = (node: XaNodeRef, mark: number): boolean => heap[markWord(node, 0, mark)] !== 0 || heap[markWord(node, 32, mark)] !== 0;

/** First marked slot of a node from an offset on, SLOTS if none. */
function markedSlot(node: XaNodeRef, offset: number, mark: number): number {
  for (let from = offset; from < SLOTS; from = (from | 31) + 1) {
    const rest = heap[markWord(node, from, mark)] & (-1 << (from & 31));
    if (rest !== 0) return (from & 32) + 31 - Math.clz32(rest & -rest);
  }
  return SLOTS;
}

/** Clears a slot's mark, and those above that stood for it alone. */
function clearMarkUpwards(from: XaNodeRef, at: number, mark: number): void {
  let node = from;
  let offset = at;
  while (node !== 0 && isMarked(node, offset, mark)) {
    const word = markWord(node, offset, mark);
    setSlot(word, heap[word] & ~(1 << (offset & 31)));
    if (anyMarked(node, mark)) return;
    offset = get(node, XaNode.offset);
    node = get(node, XaNode.parent);
  }
}

/** Whether an entry has a mark (xa_get_mark). */
export function xaGetMark(root: number, index: number, mark: number): boolean {
  const leaf = leafOf(root, index);
  return leaf !== 0 && isMarked(leaf, index & MASK, mark);
}

/** Marks an entry; nothing happens where there is none (xa_set_mark). */
export function xaSetMark(root: number, index: number, mark: number): void {
  let node = leafOf(root, index);
  let offset = index & MASK;
  if (node === 0 || heap[node + ENTRIES + offset] === 0) return;
  while (node !== 0 && !isMarked(node, offset, mark)) {
    setMarkBit(node, offset, mark);
    offset = get(node, XaNode.offset);
    node = get(node, XaNode.parent);
  }
}

/** Takes a mark off an entry (xa_clear_mark). */
export function xaClearMark(root: number, index: number, mark: number): void {
  const leaf = leafOf(root, index);
  if (leaf !== 0) clearMarkUpwards(leaf, index & MASK, mark);
}

/** Whether any entry has a mark (xa_marked). */
export function xaMarked(root: number, mark: number): boolean {
  const top: XaNodeRef = heap[root];
  return top !== 0 && anyMarked(top, mark);
}
