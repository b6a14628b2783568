/**
 * Interval trees of reverse mapping: which VMAs map a range of an object. One per address_space (`Inode.iMmap`, of VMAs) and one per anon_vma
 * (`AnonVma.tree`, of the chains that lead to VMAs). A node's interval is its VMA's [pgoff, pgoff + pages − 1], both ends included.
 *
 * Invariants: nodes are in order of their first page; of equal ones, the earlier inserted comes first (or where insertAfter put it), as in
 * mm/interval_tree.c: so walks by first/next visit VMAs in Linux's order. A node's rank, a hash of its reference, is above its children's:
 * the shape follows from the sequence alone. `last` (`sharedLast`) is the largest last page of a subtree. A VMA's range and pgoff never change while
 * it (or a chain of it) is in a tree; a node in no tree has zeros in its fields.
 *
 * A tree is named by the heap slot of its root: `inode + Inode.iMmap`, `anonVma + AnonVma.tree`.
 */
import { get } from '../memory/heap.ts';
import { heap, setSlot } from '../memory/state.ts';
import { Avc, type AvcRef, Vma, type VmaRef, type Vpn } from './types.ts';

/** Heap slot of a tree's root. */
export type RootSlot = number;

type Node = VmaRef | AvcRef;

// A tree of VMAs is linked through sharedLeft … of Vma, a tree of chains through left … of Avc, each four fields that follow one another. `base` is
// the offset of the first of them; all else is the same.
const LEFT = 0;
const RIGHT = 1;
const PARENT = 2;
const LAST = 3;
for (const [base, right, parent, last] of [
  [Vma.sharedLeft, Vma.sharedRight, Vma.sharedParent, Vma.sharedLast],
  [Avc.left, Avc.right, Avc.parent, Avc.last],
])
  if (right !== base + RIGHT || parent !== base + PARENT || last !== base + LAST) throw new Error('fields of interval tree nodes must follow one another');

const baseOf = (node: Node): number => (heap[node] === Avc.$type ? Avc.left : Vma.sharedLeft);
const vmaOf = (node: number): VmaRef => (heap[node] === Avc.$type ? get(node, Avc.vma) : node);
/** First page of a node's interval (vma_start_pgoff, avc_start_pgoff). */
const startOf = (node: number): Vpn => get(vmaOf(node), Vma.pgoff);

/** Last page of a node's interval (vma_last_pgoff, avc_last_pgoff). */
function lastOf(node: number): Vpn {
  const vma = vmaOf(node);
  return get(vma, Vma.pgoff) + get(vma, Vma.end) - get(vma, Vma.start) - 1;
}

/** Rank of a node: one to one in its reference (below 2^32), so no two are equal. */
function rankOf(node: number): number {
  let x = Math.imul(node, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39);
  return x ^ (x >>> 15);
}

/** Recomputes the largest last page of a node's subtree. Returns whether it changed. */
function refresh(node: number, base: number): boolean {
  let last = lastOf(node);
  const left = heap[node + base + LEFT] | 0;
  if (left !== 0) last = Math.max(last, heap[left + base + LAST]);
  const right = heap[node + base + RIGHT] | 0;
  if (right !== 0) last = Math.max(last, heap[right + base + LAST]);
  if (last === heap[node + base + LAST]) return false;
  setSlot(node + base + LAST, last);
  return true;
}

/** Makes `child` (or nothing) what hangs where `slot` says, below `parent`. */
function hang(slot: number, child: number, parent: number, base: number): void {
  setSlot(slot, child);
  if (child !== 0) setSlot(child + base + PARENT, parent);
}

/** The slot that refers to a node. */
function slotOf(root: RootSlot, node: number, base: number): number {
  const parent = heap[node + base + PARENT] | 0;
  if (parent === 0) return root;
  return parent + base + (heap[parent + base + LEFT] === node ? LEFT : RIGHT);
}

/** Puts a node into an empty place, then lifts it above all that it outranks. */
function attach(root: RootSlot, slot: number, parent: number, node: number, base: number): void {
  const rank = rankOf(node);
  hang(slot, node, parent, base);
  let above = parent;
  while (above !== 0 && rankOf(above) < rank) {
    const place = slotOf(root, above, base);
    const grand = heap[above + base + PARENT] | 0;
    const isLeft = heap[above + base + LEFT] === node;
    const inner = node + base + (isLeft ? RIGHT : LEFT);
    hang(above + base + (isLeft ? LEFT : RIGHT), heap[inner], above, base);
    hang(inner, above, node, base);
    hang(place, node, grand, base);
    refresh(above, base);
    above = grand;
  }
  refresh(node, base);
  while (above !== 0 && refresh(above, base)) above = heap[above + base + PARENT] | 0;
}

function insert(root: RootSlot, node: Node): void {
  const base = baseOf(node);
  const start = startOf(node);
  let slot = root;
  let parent = 0;
  for (let at = heap[root] | 0; at !== 0; at = heap[slot] | 0) {
    parent = at;
    slot = at + base + (start < startOf(at) ? LEFT : RIGHT);
  }
  attach(root, slot, parent, node, base);
}

function insertAfter(root: RootSlot, node: Node, prev: Node): void {
  const base = baseOf(node);
  let parent: number = prev;
  let slot = prev + base + RIGHT;
  for (let at = heap[slot] | 0; at !== 0; at = heap[slot] | 0) {
    parent = at;
    slot = at + base + LEFT;
  }
  attach(root, slot, parent, node, base);
}

function remove(root: RootSlot, node: Node): void {
  const base = baseOf(node);
  let slot = slotOf(root, node, base);
  let end = heap[node + base + PARENT] | 0;
  let low = heap[node + base + LEFT] | 0;
  let high = heap[node + base + RIGHT] | 0;
  const parent = end;
  while (low !== 0 && high !== 0) {
    if (rankOf(low) > rankOf(high)) {
      hang(slot, low, end, base);
      end = low;
      slot = low + base + RIGHT;
      low = heap[slot] | 0;
    } else {
      hang(slot, high, end, base);
      end = high;
      slot = high + base + LEFT;
      high = heap[slot] | 0;
    }
  }
  hang(slot, low !== 0 ? low : high, end, base);
  // All joined nodes and the old parent have other children than before; above, until nothing changes.
  for (; end !== parent; end = heap[end + base + PARENT] | 0) refresh(end, base);
  while (end !== 0 && refresh(end, base)) end = heap[end + base + PARENT] | 0;
  for (let field = LEFT; field <= LAST; field++) setSlot(node + base + field, 0);
}

/** First node in order within a subtree whose interval meets [start, last]; 0 if none. Some interval of the subtree ends at or after `start`. */
function search(subtree: number, start: Vpn, last: Vpn, base: number): number {
  let node = subtree;
  for (;;) {
    const left = heap[node + base + LEFT] | 0;
    if (left !== 0 && heap[left + base + LAST] >= start) {
      // Whatever reaches `start` on the left begins no later than anything here or right of here.
      node = left;
      continue;
    }
    if (startOf(node) > last) return 0;
    if (lastOf(node) >= start) return node;
    node = heap[node + base + RIGHT] | 0;
    if (node === 0 || heap[node + base + LAST] < start) return 0;
  }
}

function first<N extends Node>(root: RootSlot, start: Vpn, last: Vpn): N {
  const top = heap[root] | 0;
  if (top === 0) return 0 as N;
  const base = baseOf(top);
  return (heap[top + base + LAST] < start ? 0 : search(top, start, last, base)) as N;
}

function next<N extends Node>(after: N, start: Vpn, last: Vpn): N {
  const base = baseOf(after);
  let node: number = after;
  for (;;) {
    const right = heap[node + base + RIGHT] | 0;
    if (right !== 0 && heap[right + base + LAST] >= start) return search(right, start, last, base) as N;
    let parent = heap[node + base + PARENT] | 0;
    while (parent !== 0 && heap[parent + base + RIGHT] === node) {
      node = parent;
      parent = heap[node + base + PARENT] | 0;
    }
    if (parent === 0 || startOf(parent) > last) return 0 as N;
    node = parent;
    if (lastOf(node) >= start) return node as N;
  }
}

/** Adds a VMA to a mapping's tree, after all VMAs that begin at the same page. */
export const vmaIntervalTreeInsert = (vma: VmaRef, root: RootSlot): void => insert(root, vma);

/** Adds a VMA directly behind another of the same first page (dup_mmap: the child's copy behind the parent's VMA). */
export const vmaIntervalTreeInsertAfter = (vma: VmaRef, prev: VmaRef, root: RootSlot): void => insertAfter(root, vma, prev);

/** Takes a VMA out; its range must still be what it was when it was added. */
export const vmaIntervalTreeRemove = (vma: VmaRef, root: RootSlot): void => remove(root, vma);

/** First VMA that maps a page of [start, last], 0 if none. */
export const vmaIntervalTreeIterFirst = (root: RootSlot, start: Vpn, last: Vpn): VmaRef => first(root, start, last);

/** The next such VMA after one; the tree must not have changed since. */
export const vmaIntervalTreeIterNext = (vma: VmaRef, start: Vpn, last: Vpn): VmaRef => next(vma, start, last);

/** Adds a chain to its anon_vma's tree, after all chains that begin at the same page. */
export const anonVmaIntervalTreeInsert = (avc: AvcRef, root: RootSlot): void => insert(root, avc);

/** Takes a chain out; its VMA's range must still be what it was when it was added. */
export const anonVmaIntervalTreeRemove = (avc: AvcRef, root: RootSlot): void => remove(root, avc);

/** First chain whose VMA may hold anonymous pages of [start, last], 0 if none. */
export const anonVmaIntervalTreeIterFirst = (root: RootSlot, start: Vpn, last: Vpn): AvcRef => first(root, start, last);

/** The next such chain after one; the tree must not have changed since. */
export const anonVmaIntervalTreeIterNext = (avc: AvcRef, start: Vpn, last: Vpn): AvcRef => next(avc, start, last);
