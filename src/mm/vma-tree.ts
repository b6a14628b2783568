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
import { get, set } from '../memory/heap.ts';
import { FIRST_OBJECT, pageShift, setSlot } from '../memory/state.ts';
import { Globals, Mm, type MmRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_GROWSDOWN, VM_GROWSUP } from './vm-flags.ts';

/** VM_STARTGAP_FLAGS; shadow stacks (VM_SHADOW_STACK, one page of guard) are not modelled. */
const VM_STARTGAP_FLAGS = VM_GROWSDOWN;

// --- finding ----------------------------------------------------------------------------------------------------------------

/** First VMA that ends above an address, 0 if none (find_vma). It need not contain the address. */
export function findVma(mm: MmRef, vpn: Vpn): VmaRef {
  let node: VmaRef = get(mm, Mm.vmas);
  let found: VmaRef = 0;
  while (node !== 0) {
    if (get(node, Vma.end) > vpn) {
      found = node;
      if (get(node, Vma.start) <= vpn) break;
      node = get(node, Vma.left);
    } else node = get(node, Vma.right);
  }
  return found;
}

/** First VMA that has a page in [start, end), 0 if none (find_vma_intersection). */
export function findVmaIntersection(mm: MmRef, start: Vpn, end: Vpn): VmaRef {
  const vma = findVma(mm, start);
  return vma !== 0 && get(vma, Vma.start) < end ? vma : 0;
}

/** The VMA that contains an address, or 0 (vma_lookup). */
export function vmaLookup(mm: MmRef, vpn: Vpn): VmaRef {
  let node: VmaRef = get(mm, Mm.vmas);
  while (node !== 0) {
    if (get(node, Vma.start) > vpn) node = get(node, Vma.left);
    else if (get(node, Vma.end) > vpn) return node;
    else node = get(node, Vma.right);
  }
  return 0;
}

/** Last VMA that ends at or below an address, 0 if none: what find_vma_prev() calls previous, whether or not a VMA contains the address. */
export function findVmaPrev(mm: MmRef, vpn: Vpn): VmaRef {
  let node: VmaRef = get(mm, Mm.vmas);
  let found: VmaRef = 0;
  while (node !== 0) {
    if (get(node, Vma.end) <= vpn) {
      found = node;
      node = get(node, Vma.right);
    } else node = get(node, Vma.left);
  }
  return found;
}

/** The lowest VMA, 0 in an empty mm. */
export function firstVma(mm: MmRef): VmaRef {
  let node: VmaRef = get(mm, Mm.vmas);
  if (node === 0) return 0;
  for (let left = get(node, Vma.left); left !== 0; left = get(node, Vma.left)) node = left;
  return node;
}

/** The highest VMA, 0 in an empty mm. */
export function lastVma(mm: MmRef): VmaRef {
  let node: VmaRef = get(mm, Mm.vmas);
  if (node === 0) return 0;
  for (let right = get(node, Vma.right); right !== 0; right = get(node, Vma.right)) node = right;
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
function above(vma: VmaRef, rank: number, start: Vpn): boolean {
  const own = get(vma, Vma.priority);
  return own > rank || (own === rank && get(vma, Vma.start) < start);
}

/** Pages between a VMA and its predecessor, or address 0. */
function gapBelow(vma: VmaRef): number {
  const prev: VmaRef = get(vma, Vma.prev);
  return prev === 0 ? get(vma, Vma.start) : get(vma, Vma.start) - get(prev, Vma.end);
}

/** Recomputes the largest gap of a node from its own and its children's. Returns whether it changed. */
function refreshGap(node: VmaRef): boolean {
  let gap = gapBelow(node);
  const left: VmaRef = get(node, Vma.left);
  if (left !== 0) gap = Math.max(gap, get(left, Vma.maxGap));
  const right: VmaRef = get(node, Vma.right);
  if (right !== 0) gap = Math.max(gap, get(right, Vma.maxGap));
  if (gap === get(node, Vma.maxGap)) return false;
  set(node, Vma.maxGap, gap);
  return true;
}

/**
 * Recomputes gaps from a node towards the root. All nodes up to and including `top` are new in some way; above it, the walk ends where
 * nothing changes. 0 for `top` walks to the root.
 */
function refreshUpwards(from: VmaRef, top: VmaRef): void {
  let pending = true;
  for (let node = from; node !== 0; node = get(node, Vma.parent)) {
    const changed = refreshGap(node);
    if (node === top) pending = false;
    if (!pending && !changed) return;
  }
}

/** Makes `child` (or nothing) what hangs where `slot` says, below `parent`. */
function hang(slot: number, child: VmaRef, parent: VmaRef): void {
  setSlot(slot, child);
  if (child !== 0) set(child, Vma.parent, parent);
}

/** The heap slot that refers to a node: a child field of its parent, or the root of the mm. */
function slotOf(mm: MmRef, node: VmaRef): number {
  const parent: VmaRef = get(node, Vma.parent);
  if (parent === 0) return mm + Mm.vmas;
  return get(parent, Vma.left) === node ? parent + Vma.left : parent + Vma.right;
}

/**
 * Puts a VMA whose start, rank and neighbours in the list stand into the tree: down to where it outranks what is there, which is then split
 * in two about it.
 */
function link(mm: MmRef, vma: VmaRef): void {
  const start = get(vma, Vma.start);
  const rank = get(vma, Vma.priority);
  let parent: VmaRef = 0;
  let slot = mm + Mm.vmas;
  let node: VmaRef = get(mm, Mm.vmas);
  while (node !== 0 && above(node, rank, start)) {
    parent = node;
    slot = get(node, Vma.start) < start ? node + Vma.right : node + Vma.left;
    node = get(parent, slot - parent);
  }
  hang(slot, vma, parent);
  // Split: nodes of the search path go below or above the VMA, each hung at the end of its side's inner edge.
  let lowEnd: VmaRef = vma;
  let lowSlot = vma + Vma.left;
  let highEnd: VmaRef = vma;
  let highSlot = vma + Vma.right;
  while (node !== 0) {
    if (get(node, Vma.start) < start) {
      hang(lowSlot, node, lowEnd);
      lowEnd = node;
      lowSlot = node + Vma.right;
      node = get(node, Vma.right);
    } else {
      hang(highSlot, node, highEnd);
      highEnd = node;
      highSlot = node + Vma.left;
      node = get(node, Vma.left);
    }
  }
  hang(lowSlot, 0, lowEnd);
  hang(highSlot, 0, highEnd);
  for (let n = lowEnd; n !== vma; n = get(n, Vma.parent)) refreshGap(n);
  for (let n = highEnd; n !== vma; n = get(n, Vma.parent)) refreshGap(n);
  // The successor's own gap changed too: it is the lowest node of the right side, or, when there is none, above (0: there is none).
  const next: VmaRef = get(vma, Vma.next);
  refreshUpwards(vma, highEnd === vma && next !== 0 ? next : parent);
}

/** Takes a VMA out of the tree, joining what hung below it. Its neighbours in the list must be those of afterwards; `next` is the successor. */
function unlink(mm: MmRef, vma: VmaRef, next: VmaRef): void {
  let low: VmaRef = get(vma, Vma.left);
  let high: VmaRef = get(vma, Vma.right);
  let slot = slotOf(mm, vma);
  const parent: VmaRef = get(vma, Vma.parent);
  let end = parent;
  const inHigh = high !== 0;
  while (low !== 0 && high !== 0) {
    if (above(low, get(high, Vma.priority), get(high, Vma.start))) {
      hang(slot, low, end);
      end = low;
      slot = low + Vma.right;
      low = get(low, Vma.right);
    } else {
      hang(slot, high, end);
      end = high;
      slot = high + Vma.left;
      high = get(high, Vma.left);
    }
  }
  hang(slot, low !== 0 ? low : high, end);
  // The successor's gap grew. When it came from the right side it is the lowest node there, else it is above (0: there is none).
  if (inHigh) refreshUpwards(high !== 0 ? next : end, parent);
  else refreshUpwards(parent, next === 0 ? parent : next);
}

/**
 * Adds a VMA (vma_iter_store of a new range); `start` and `end` stand already.
 * @throws {Error} when it overlaps one that is there: a bug of the caller
 */
export function vmaTreeInsert(mm: MmRef, vma: VmaRef): void {
  const start = get(vma, Vma.start);
  let prev: VmaRef = 0;
  let next: VmaRef = 0;
  for (let node: VmaRef = get(mm, Mm.vmas); node !== 0; ) {
    if (get(node, Vma.start) < start) {
      prev = node;
      node = get(node, Vma.right);
    } else {
      next = node;
      node = get(node, Vma.left);
    }
  }
  if ((prev !== 0 && get(prev, Vma.end) > start) || (next !== 0 && get(next, Vma.start) < get(vma, Vma.end))) throw new Error(`vma ${vma} overlaps another`);
  set(vma, Vma.prev, prev);
  set(vma, Vma.next, next);
  if (prev !== 0) set(prev, Vma.next, vma);
  if (next !== 0) set(next, Vma.prev, vma);
  set(vma, Vma.priority, rankOf(start));
  link(mm, vma);
}

/** Takes a VMA out (vma_iter_clear of its range). Its fields of the tree and of the list are zero afterwards. */
export function vmaTreeRemove(mm: MmRef, vma: VmaRef): void {
  const prev: VmaRef = get(vma, Vma.prev);
  const next: VmaRef = get(vma, Vma.next);
  if (prev !== 0) set(prev, Vma.next, next);
  if (next !== 0) set(next, Vma.prev, prev);
  unlink(mm, vma, next);
  set(vma, Vma.prev, 0);
  set(vma, Vma.next, 0);
  set(vma, Vma.left, 0);
  set(vma, Vma.right, 0);
  set(vma, Vma.parent, 0);
  set(vma, Vma.maxGap, 0);
  set(vma, Vma.priority, 0);
}

/**
 * Changes the range of a VMA that is in the tree; it must stay between its neighbours.
 * @throws {Error} when it would overlap one of them: a bug of the caller
 */
export function vmaTreeAdjust(mm: MmRef, vma: VmaRef, start: Vpn, end: Vpn): void {
  const prev: VmaRef = get(vma, Vma.prev);
  const next: VmaRef = get(vma, Vma.next);
  if ((prev !== 0 && get(prev, Vma.end) > start) || (next !== 0 && get(next, Vma.start) < end)) throw new Error(`vma ${vma} would overlap another`);
  if (get(vma, Vma.end) !== end) {
    set(vma, Vma.end, end);
    if (next !== 0) refreshUpwards(next, next);
  }
  if (get(vma, Vma.start) === start) return;
  const rank = rankOf(start);
  const parent: VmaRef = get(vma, Vma.parent);
  const left: VmaRef = get(vma, Vma.left);
  const right: VmaRef = get(vma, Vma.right);
  if ((parent === 0 || above(parent, rank, start)) && (left === 0 || !above(left, rank, start)) && (right === 0 || !above(right, rank, start))) {
    set(vma, Vma.start, start);
    set(vma, Vma.priority, rank);
    refreshUpwards(vma, vma);
    return;
  }
  // The new start has another rank, hence another place: out, and in again. While it is out, its neighbours are each other's.
  if (next !== 0) set(next, Vma.prev, prev);
  unlink(mm, vma, next);
  if (next !== 0) set(next, Vma.prev, vma);
  set(vma, Vma.start, start);
  set(vma, Vma.priority, rank);
  link(mm, vma);
}

// --- free space -------------------------------------------------------------------------------------------------------------

/** Highest VMA of a subtree with a hole of so many pages below it. There is one: maxGap says so. */
function highestGap(root: VmaRef, pages: number): VmaRef {
  let node = root;
  for (;;) {
    const right: VmaRef = get(node, Vma.right);
    if (right !== 0 && get(right, Vma.maxGap) >= pages) node = right;
    else if (gapBelow(node) >= pages) return node;
    else node = get(node, Vma.left);
  }
}

/** Lowest VMA of a subtree with a hole of so many pages below it. There is one: maxGap says so. */
function lowestGap(root: VmaRef, pages: number): VmaRef {
  let node = root;
  for (;;) {
    const left: VmaRef = get(node, Vma.left);
    if (left !== 0 && get(left, Vma.maxGap) >= pages) node = left;
    else if (gapBelow(node) >= pages) return node;
    else node = get(node, Vma.right);
  }
}

/** The last VMA before a given one with a hole of so many pages below it, 0 if none. */
function gapBefore(vma: VmaRef, pages: number): VmaRef {
  let node = vma;
  let below: VmaRef = get(node, Vma.left);
  for (;;) {
    if (below !== 0 && get(below, Vma.maxGap) >= pages) return highestGap(below, pages);
    let parent: VmaRef = get(node, Vma.parent);
    while (parent !== 0 && get(parent, Vma.left) === node) {
      node = parent;
      parent = get(node, Vma.parent);
    }
    if (parent === 0) return 0;
    node = parent;
    if (gapBelow(node) >= pages) return node;
    below = get(node, Vma.left);
  }
}

/** The first VMA after a given one with a hole of so many pages below it, 0 if none. */
function gapAfter(vma: VmaRef, pages: number): VmaRef {
  let node = vma;
  let beyond: VmaRef = get(node, Vma.right);
  for (;;) {
    if (beyond !== 0 && get(beyond, Vma.maxGap) >= pages) return lowestGap(beyond, pages);
    let parent: VmaRef = get(node, Vma.parent);
    while (parent !== 0 && get(parent, Vma.right) === node) {
      node = parent;
      parent = get(node, Vma.parent);
    }
    if (parent === 0) return 0;
    node = parent;
    if (gapBelow(node) >= pages) return node;
    beyond = get(node, Vma.right);
  }
}

/** Start of a VMA with the guard gap below it (vm_start_gap). */
export function vmStartGap(vma: VmaRef): Vpn {
  const start = get(vma, Vma.start);
  return (get(vma, Vma.flags) & VM_STARTGAP_FLAGS) === 0 ? start : Math.max(0, start - get(FIRST_OBJECT, Globals.stackGuardGap));
}

/** End of a VMA with the guard gap above it (vm_end_gap). */
export function vmEndGap(vma: VmaRef): Vpn {
  const end = get(vma, Vma.end);
  return (get(vma, Vma.flags) & VM_GROWSUP) === 0 ? end : end + get(FIRST_OBJECT, Globals.stackGuardGap);
}

/** mmap_min_addr in pages, below which neither search looks. */
const minVpn = (): Vpn => Math.ceil(get(FIRST_OBJECT, Globals.mmapMinAddr) / 2 ** pageShift);

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
    let prev: VmaRef = next === 0 ? lastVma(mm) : get(next, Vma.prev);
    let holeStart = prev === 0 ? 0 : get(prev, Vma.end);
    let holeEnd = next === 0 ? limit : Math.min(get(next, Vma.start), limit);
    if (holeEnd - Math.max(holeStart, from) < length) {
      const root: VmaRef = get(mm, Mm.vmas);
      if (next !== 0) next = gapBefore(next, length);
      else if (root !== 0 && get(root, Vma.maxGap) >= length) next = highestGap(root, length);
      if (next === 0) return -1;
      prev = get(next, Vma.prev);
      holeStart = prev === 0 ? 0 : get(prev, Vma.end);
      holeEnd = get(next, Vma.start);
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
      limit = get(prev, Vma.start);
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
    let prev: VmaRef = next === 0 ? lastVma(mm) : get(next, Vma.prev);
    let holeStart = from;
    if ((next === 0 ? high : Math.min(get(next, Vma.start), high)) - holeStart < length) {
      // Without a VMA above `from` the hole reached to `high`, which the first check has seen.
      const last = next;
      next = gapAfter(last, length);
      prev = next === 0 ? lastVma(mm) : get(next, Vma.prev);
      holeStart = get(prev, Vma.end);
      // Only this one can be cut by `high`: all others lie higher.
      if ((next === 0 ? high : Math.min(get(next, Vma.start), high)) - holeStart < length) return -1;
    }
    let gap = holeStart + startGap;
    gap += (alignOffset - gap) & alignMask;
    if (next !== 0 && (get(next, Vma.flags) & VM_STARTGAP_FLAGS) !== 0) {
      // Linux asks for the whole length above the aligned place, as if alignment had cost nothing.
      if (vmStartGap(next) >= gap + length) return gap;
      from = get(next, Vma.end);
    } else {
      if (prev === 0 || vmEndGap(prev) <= gap) return gap;
      from = vmEndGap(prev);
    }
  }
}
