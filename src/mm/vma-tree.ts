/**
 * The VMAs of an mm by address. Linux keeps them in a maple tree (mm_mt); this is a treap with the same questions and answers.
 *
 * Invariants, for the tree under `Mm.vmas`:
 * - in order of address, no two VMAs overlap; `next`/`prev` are that order, 0-ended;
 * - a node's rank (`priority`, a hash of its start; equal ranks: the lower start) is above its children's, so that the same set of VMAs is
 *   always the same tree whatever happened before: two histories that lead to one address space lead to one state;
 * - `maxGap` is the largest hole directly below a VMA of the subtree (from its predecessor's end, or from 0). The hole above the last VMA is
 *   in no node;
 * - a VMA that is in no tree has zeros in all of these fields: read `next` before removing.
 *
 * Guard gaps of stacks are no part of the tree: holes are plain, and the two searches for free space look at the neighbours' guard gaps
 * afterwards, as mm/vma.c does. Every function is O(log n) in the expected case; the searches, times the guarded neighbours they reject.
 */
import { get } from '../memory/heap.ts';
import { FIRST_OBJECT, heap, pageShift, setSlot } from '../memory/state.ts';
import { Globals, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_GROWSDOWN, VM_GROWSUP } from './vm-flags.ts';

// Every fault asks findVma(), every mmap() and munmap() walks this tree some five times. Offsets as plain numbers, one read of `heap` a function (nothing
// here allocates) and references as int32 (`| 0`) make these walks about twice as fast as `get(vma, Vma.start)`.
const VMAS: number = Mm.vmas;
const START: number = Vma.start;
const END: number = Vma.end;
const NEXT: number = Vma.next;
const PREV: number = Vma.prev;
const LEFT: number = Vma.left;
const RIGHT: number = Vma.right;
const PARENT: number = Vma.parent;
const MAX_GAP: number = Vma.maxGap;
const RANK: number = Vma.priority;
if (RANK - NEXT !== 6) throw new Error('fields of the tree must follow one another');

/** VM_STARTGAP_FLAGS; shadow stacks (VM_SHADOW_STACK, one page of guard) are not modelled. */
const VM_STARTGAP_FLAGS = VM_GROWSDOWN;

// --- finding ----------------------------------------------------------------------------------------------------------------

/** First VMA that ends above an address, 0 if none (find_vma). It need not contain the address. */
export function findVma(mm: MmRef, vpn: Vpn): VmaRef {
  const h = heap;
  let node = h[mm + VMAS] | 0;
  let found = 0;
  while (node !== 0) {
    if (h[node + END] > vpn) {
      found = node;
      if (h[node + START] <= vpn) break;
      node = h[node + LEFT] | 0;
    } else node = h[node + RIGHT] | 0;
  }
  return found;
}

/** First VMA that has a page in [start, end), 0 if none (find_vma_intersection). */
export function findVmaIntersection(mm: MmRef, start: Vpn, end: Vpn): VmaRef {
  const vma = findVma(mm, start);
  return vma !== 0 && heap[vma + START] < end ? vma : 0;
}

/** The VMA that contains an address, or 0 (vma_lookup). */
export function vmaLookup(mm: MmRef, vpn: Vpn): VmaRef {
  const h = heap;
  let node = h[mm + VMAS] | 0;
  while (node !== 0) {
    if (h[node + START] > vpn) node = h[node + LEFT] | 0;
    else if (h[node + END] > vpn) return node;
    else node = h[node + RIGHT] | 0;
  }
  return 0;
}

/** Last VMA that ends at or below an address, 0 if none: what find_vma_prev() calls previous, whether or not a VMA contains the address. */
export function findVmaPrev(mm: MmRef, vpn: Vpn): VmaRef {
  const h = heap;
  let node = h[mm + VMAS] | 0;
  let found = 0;
  while (node !== 0) {
    if (h[node + END] <= vpn) {
      found = node;
      node = h[node + RIGHT] | 0;
    } else node = h[node + LEFT] | 0;
  }
  return found;
}

/** The lowest VMA, 0 in an empty mm. */
export const firstVma = (mm: MmRef): VmaRef => outermost(mm, LEFT);

/** The highest VMA, 0 in an empty mm. */
export const lastVma = (mm: MmRef): VmaRef => outermost(mm, RIGHT);

function outermost(mm: MmRef, side: number): VmaRef {
  const h = heap;
  let node = 0;
  for (let below = h[mm + VMAS] | 0; below !== 0; below = h[below + side] | 0) node = below;
  return node;
}

// --- changing ---------------------------------------------------------------------------------------------------------------

/** Rank of a VMA that starts here: 32 bits, one to one in the low 32 bits of the page number. */
function rankOf(start: Vpn): number {
  let x = Math.imul(start ^ Math.imul(start / 0x100000000, 0x9e3779b1), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39);
  return x ^ (x >>> 15);
}

/** Whether a VMA ranks above a place with this rank and start. */
function above(vma: number, rank: number, start: Vpn): boolean {
  const own = heap[vma + RANK] | 0;
  return own > rank || (own === rank && heap[vma + START] < start);
}

/** Writes a slot that is likely to hold the value already: the journal is spared. */
function put(slot: number, value: number): void {
  if (heap[slot] !== value) setSlot(slot, value);
}

/** Pages between a VMA and its predecessor, or address 0. */
function gapBelow(vma: number): number {
  const prev = heap[vma + PREV] | 0;
  return prev === 0 ? heap[vma + START] : heap[vma + START] - heap[prev + END];
}

/** Recomputes the largest gap of a node from its own and its children's. Returns whether it changed. */
function refreshGap(node: number): boolean {
  const h = heap;
  const prev = h[node + PREV] | 0;
  let gap = prev === 0 ? h[node + START] : h[node + START] - h[prev + END];
  const left = h[node + LEFT] | 0;
  if (left !== 0 && h[left + MAX_GAP] > gap) gap = h[left + MAX_GAP];
  const right = h[node + RIGHT] | 0;
  if (right !== 0 && h[right + MAX_GAP] > gap) gap = h[right + MAX_GAP];
  if (gap === h[node + MAX_GAP]) return false;
  setSlot(node + MAX_GAP, gap);
  return true;
}

/** The hole below some VMA of a subtree has become so large: tells the subtree's root and all above. */
function growUpwards(from: number, gap: number): void {
  const h = heap;
  for (let node = from; node !== 0 && h[node + MAX_GAP] < gap; node = h[node + PARENT] | 0) setSlot(node + MAX_GAP, gap);
}

/** A hole that was so large is gone or smaller in the subtree of a node: looks anew there and above, up to `stop` (0: the root), which is left out. */
function shrinkUpwards(from: number, gap: number, stop: number): void {
  const h = heap;
  // Where another hole is the largest, nothing changes, nor above.
  for (let node = from; node !== stop && h[node + MAX_GAP] === gap && refreshGap(node); ) node = h[node + PARENT] | 0;
}

/** Makes `child` (or nothing) what hangs where `slot` says, below `parent`. */
function hang(slot: number, child: number, parent: number): void {
  put(slot, child);
  if (child !== 0) put(child + PARENT, parent);
}

/** The heap slot that refers to a node: a child field of its parent, or the root of the mm. */
function slotOf(mm: MmRef, node: number): number {
  const parent = heap[node + PARENT] | 0;
  if (parent === 0) return mm + VMAS;
  return parent + ((heap[parent + LEFT] | 0) === node ? LEFT : RIGHT);
}

/**
 * Adds a VMA (vma_iter_store of a new range); `start` and `end` stand already.
 * @throws {Error} when it overlaps one that is there: a bug of the caller
 */
export function vmaTreeInsert(mm: MmRef, vma: VmaRef): void {
  const h = heap;
  const start = h[vma + START];
  const rank = rankOf(start);
  // Down to where it outranks what is there; then its neighbours, on the rest of the way down.
  let prev = 0;
  let next = 0;
  let parent = 0;
  let slot = mm + VMAS;
  let node = h[slot] | 0;
  while (node !== 0 && above(node, rank, start)) {
    parent = node;
    if (h[node + START] < start) {
      prev = node;
      slot = node + RIGHT;
    } else {
      next = node;
      slot = node + LEFT;
    }
    node = h[slot] | 0;
  }
  const nextAbove = next;
  for (let below = node; below !== 0; ) {
    if (h[below + START] < start) {
      prev = below;
      below = h[below + RIGHT] | 0;
    } else {
      next = below;
      below = h[below + LEFT] | 0;
    }
  }
  const prevEnd = prev === 0 ? 0 : h[prev + END];
  if (prevEnd > start || (next !== 0 && h[next + START] < h[vma + END])) throw new Error(`vma ${vma} overlaps another`);
  put(vma + PREV, prev);
  put(vma + NEXT, next);
  if (prev !== 0) put(prev + NEXT, vma);
  if (next !== 0) put(next + PREV, vma);
  put(vma + RANK, rank);
  hang(slot, vma, parent);
  if (node === 0) {
    put(vma + LEFT, 0);
    put(vma + RIGHT, 0);
    put(vma + MAX_GAP, start - prevEnd);
  } else split(vma, node, start);
  // The hole that it lies in was its successor's.
  const hole = next === 0 ? 0 : h[next + START] - prevEnd;
  if (next !== nextAbove) shrinkUpwards(parent, hole, 0);
  else {
    growUpwards(parent, start - prevEnd);
    if (next !== 0) shrinkUpwards(next, hole, 0);
  }
}

/** Splits the tree below `top` into what lies below and above a new node, which takes its place: each node is hung at the inner edge of its side. */
function split(vma: number, top: number, start: Vpn): void {
  const h = heap;
  let low = vma;
  let lowSlot = vma + LEFT;
  let high = vma;
  let highSlot = vma + RIGHT;
  for (let node = top; node !== 0; ) {
    if (h[node + START] < start) {
      hang(lowSlot, node, low);
      low = node;
      lowSlot = node + RIGHT;
      node = h[lowSlot] | 0;
    } else {
      hang(highSlot, node, high);
      high = node;
      highSlot = node + LEFT;
      node = h[highSlot] | 0;
    }
  }
  put(lowSlot, 0);
  put(highSlot, 0);
  for (; low !== vma; low = h[low + PARENT] | 0) refreshGap(low);
  for (; high !== vma; high = h[high + PARENT] | 0) refreshGap(high);
  refreshGap(vma);
}

/** Takes a VMA out of list and tree, joining what hung below it. Its own fields stay. */
function detach(mm: MmRef, vma: number): void {
  const h = heap;
  const prev = h[vma + PREV] | 0;
  const next = h[vma + NEXT] | 0;
  if (prev !== 0) setSlot(prev + NEXT, next);
  if (next !== 0) setSlot(next + PREV, prev);
  const prevEnd = prev === 0 ? 0 : h[prev + END];
  const parent = h[vma + PARENT] | 0;
  let slot = slotOf(mm, vma);
  let end = parent;
  let low = h[vma + LEFT] | 0;
  let high = h[vma + RIGHT] | 0;
  const nextBelow = high !== 0;
  while (low !== 0 && high !== 0) {
    if (above(low, h[high + RANK] | 0, h[high + START])) {
      hang(slot, low, end);
      end = low;
      slot = low + RIGHT;
      low = h[slot] | 0;
    } else {
      hang(slot, high, end);
      end = high;
      slot = high + LEFT;
      high = h[slot] | 0;
    }
  }
  hang(slot, low !== 0 ? low : high, end);
  // The successor's hole is now all from the predecessor on. It is larger than the one that is gone, but where the successor is further up, or
  // there is none, the latter counted alone.
  const hole = next === 0 ? 0 : h[next + START] - prevEnd;
  if (nextBelow) {
    if (high !== 0) growUpwards(next, hole);
    for (; end !== parent; end = h[end + PARENT] | 0) refreshGap(end);
    growUpwards(parent, hole);
  } else {
    shrinkUpwards(parent, h[vma + START] - prevEnd, next);
    if (next !== 0) growUpwards(next, hole);
  }
}

/** Takes a VMA out (vma_iter_clear of its range). Its fields of the tree and of the list are zero afterwards. */
export function vmaTreeRemove(mm: MmRef, vma: VmaRef): void {
  detach(mm, vma);
  for (let slot = vma + NEXT; slot <= vma + RANK; slot++) put(slot, 0);
}

/**
 * Changes the range of a VMA that is in the tree; it must stay between its neighbours.
 * @throws {Error} when it would overlap one of them: a bug of the caller
 */
export function vmaTreeAdjust(mm: MmRef, vma: VmaRef, start: Vpn, end: Vpn): void {
  const h = heap;
  const prev = h[vma + PREV] | 0;
  const next = h[vma + NEXT] | 0;
  if ((prev !== 0 && h[prev + END] > start) || (next !== 0 && h[next + START] < end)) throw new Error(`vma ${vma} would overlap another`);
  const oldEnd = h[vma + END];
  if (oldEnd !== end) {
    setSlot(vma + END, end);
    if (next !== 0) regap(next, h[next + START] - oldEnd);
  }
  const oldStart = h[vma + START];
  if (oldStart === start) return;
  const rank = rankOf(start);
  const parent = h[vma + PARENT] | 0;
  const left = h[vma + LEFT] | 0;
  const right = h[vma + RIGHT] | 0;
  if ((parent === 0 || above(parent, rank, start)) && (left === 0 || !above(left, rank, start)) && (right === 0 || !above(right, rank, start))) {
    setSlot(vma + START, start);
    setSlot(vma + RANK, rank);
    regap(vma, prev === 0 ? oldStart : oldStart - h[prev + END]);
    return;
  }
  // The new start has another rank, hence another place.
  detach(mm, vma);
  setSlot(vma + START, start);
  vmaTreeInsert(mm, vma);
}

/** The hole below a VMA has changed from a size to another. */
function regap(vma: number, old: number): void {
  const gap = gapBelow(vma);
  if (gap > old) growUpwards(vma, gap);
  else shrinkUpwards(vma, old, 0);
}

// --- free space -------------------------------------------------------------------------------------------------------------

/** Highest VMA of a subtree with a hole of so many pages below it. There is one: maxGap says so. */
function highestGap(root: VmaRef, pages: number): VmaRef {
  let node = root;
  for (;;) {
    const right = heap[node + RIGHT] | 0;
    if (right !== 0 && heap[right + MAX_GAP] >= pages) node = right;
    else if (gapBelow(node) >= pages) return node;
    else node = heap[node + LEFT] | 0;
  }
}

/** Lowest VMA of a subtree with a hole of so many pages below it. There is one: maxGap says so. */
function lowestGap(root: VmaRef, pages: number): VmaRef {
  let node = root;
  for (;;) {
    const left = heap[node + LEFT] | 0;
    if (left !== 0 && heap[left + MAX_GAP] >= pages) node = left;
    else if (gapBelow(node) >= pages) return node;
    else node = heap[node + RIGHT] | 0;
  }
}

/** The last VMA before a given one with a hole of so many pages below it, 0 if none. */
function gapBefore(vma: VmaRef, pages: number): VmaRef {
  let node = vma;
  let below = heap[node + LEFT] | 0;
  for (;;) {
    if (below !== 0 && heap[below + MAX_GAP] >= pages) return highestGap(below, pages);
    let parent = heap[node + PARENT] | 0;
    while (parent !== 0 && (heap[parent + LEFT] | 0) === node) {
      node = parent;
      parent = heap[node + PARENT] | 0;
    }
    if (parent === 0) return 0;
    node = parent;
    if (gapBelow(node) >= pages) return node;
    below = heap[node + LEFT] | 0;
  }
}

/** The first VMA after a given one with a hole of so many pages below it, 0 if none. */
function gapAfter(vma: VmaRef, pages: number): VmaRef {
  let node = vma;
  let beyond = heap[node + RIGHT] | 0;
  for (;;) {
    if (beyond !== 0 && heap[beyond + MAX_GAP] >= pages) return lowestGap(beyond, pages);
    let parent = heap[node + PARENT] | 0;
    while (parent !== 0 && (heap[parent + RIGHT] | 0) === node) {
      node = parent;
      parent = heap[node + PARENT] | 0;
    }
    if (parent === 0) return 0;
    node = parent;
    if (gapBelow(node) >= pages) return node;
    beyond = heap[node + RIGHT] | 0;
  }
}

/** Start of a VMA with the guard gap below it (vm_start_gap). */
export function vmStartGap(vma: VmaRef): Vpn {
  const start = heap[vma + START];
  return (get(vma, Vma.flags) & VM_STARTGAP_FLAGS) === 0 ? start : Math.max(0, start - get(FIRST_OBJECT, Globals.stackGuardGap));
}

/** End of a VMA with the guard gap above it (vm_end_gap). */
export function vmEndGap(vma: VmaRef): Vpn {
  const end = heap[vma + END];
  return (get(vma, Vma.flags) & VM_GROWSUP) === 0 ? end : end + get(FIRST_OBJECT, Globals.stackGuardGap);
}

/** mmap_min_addr in pages, below which neither search looks. */
const minVpn = (): Vpn => Math.ceil(Math.max(get(FIRST_OBJECT, Globals.mmapMinAddr), get(FIRST_OBJECT, Globals.lsmMmapMinAddr)) / 2 ** pageShift);

/** Page number one above the highest address. */
const topVpn = (): Vpn => 2 ** (64 - pageShift);

/**
 * Highest place for `pages` pages inside [low, high), at or above mmap_min_addr, or −1 (unmapped_area_topdown, mm/vma.c).
 *
 * `alignMask` (below 2^31) and `alignOffset` are in pages: the result is `alignOffset` modulo `alignMask + 1`. The hole must be large enough for the
 * worst alignment, though less might do; `startGap` pages more are asked for (info.start_gap) but not left free on a given side. The
 * hole's upper neighbour, when a stack, must keep its guard gap; only when it is none, the lower neighbour (growing up) must: as in Linux.
 */
export function gapTopDown(mm: MmRef, pages: number, low: Vpn, high: Vpn, alignMask: number, alignOffset: number, startGap = 0): Vpn {
  const length = pages + alignMask + startGap;
  const from = Math.max(low, minVpn());
  let limit = high;
  for (;;) {
    // Linux hands the search `limit − 1`, so a stack whose guard gap reaches address 0 opens the whole address space again. The result then lies above
    // TASK_SIZE, which get_unmapped_area() refuses; it does not try bottom-up.
    if (limit === 0) limit = topVpn();
    if (limit - from < length) return -1;
    // The hole that `limit − 1` is in or above, then those below it, which `limit` does not cut.
    let next = findVma(mm, limit - 1);
    let prev: VmaRef = next === 0 ? lastVma(mm) : heap[next + PREV] | 0;
    let holeStart = prev === 0 ? 0 : heap[prev + END];
    let holeEnd = next === 0 ? limit : Math.min(heap[next + START], limit);
    if (holeEnd - Math.max(holeStart, from) < length) {
      const root = heap[mm + VMAS] | 0;
      if (next !== 0) next = gapBefore(next, length);
      else if (root !== 0 && heap[root + MAX_GAP] >= length) next = highestGap(root, length);
      if (next === 0) return -1;
      prev = heap[next + PREV] | 0;
      holeStart = prev === 0 ? 0 : heap[prev + END];
      holeEnd = heap[next + START];
      // Only this one can be cut by `from`: all others lie lower.
      if (holeEnd - Math.max(holeStart, from) < length) return -1;
    }
    let gap = holeEnd - pages;
    gap -= (gap - alignOffset) & alignMask;
    if (next !== 0 && (get(next, Vma.flags) & VM_STARTGAP_FLAGS) !== 0) {
      const guarded = vmStartGap(next);
      if (guarded >= holeEnd) return gap;
      limit = guarded;
    } else {
      if (prev === 0 || vmEndGap(prev) <= gap) return gap;
      limit = heap[prev + START];
    }
  }
}

/**
 * Lowest place for `pages` pages inside [low, high), at or above mmap_min_addr, or −1 (unmapped_area, mm/vma.c). Arguments as for `gapTopDown`;
 * here `startGap` pages below the result are part of the hole.
 */
export function gapBottomUp(mm: MmRef, pages: number, low: Vpn, high: Vpn, alignMask: number, alignOffset: number, startGap = 0): Vpn {
  const length = pages + alignMask + startGap;
  let from = Math.max(low, minVpn());
  for (;;) {
    if (high - from < length) return -1;
    let next = findVma(mm, from);
    let prev: VmaRef = next === 0 ? lastVma(mm) : heap[next + PREV] | 0;
    let holeStart = from;
    if ((next === 0 ? high : Math.min(heap[next + START], high)) - holeStart < length) {
      // Without a VMA above `from` the hole reached to `high`, which the first check has seen.
      const last = next;
      next = gapAfter(last, length);
      prev = next === 0 ? lastVma(mm) : heap[next + PREV] | 0;
      holeStart = heap[prev + END];
      // Only this one can be cut by `high`: all others lie higher.
      if ((next === 0 ? high : Math.min(heap[next + START], high)) - holeStart < length) return -1;
    }
    let gap = holeStart + startGap;
    gap += (alignOffset - gap) & alignMask;
    if (next !== 0 && (get(next, Vma.flags) & VM_STARTGAP_FLAGS) !== 0) {
      // Linux asks for the whole length above the aligned place, as if alignment had cost nothing.
      if (vmStartGap(next) >= gap + length) return gap;
      from = heap[next + END];
    } else {
      if (prev === 0 || vmEndGap(prev) <= gap) return gap;
      from = vmEndGap(prev);
    }
  }
}
