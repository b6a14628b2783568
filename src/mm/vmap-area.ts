/**
 * Which ranges of vmalloc space are whose (mm/vmalloc.c: alloc_vmap_area, free_vmap_area_noflush, __purge_vmap_area_lazy).
 *
 * Invariants
 * - Every page of the space is in exactly one area: free, in use, or unmapped and waiting for its flush. Free areas stand in a list in order of address and no two of
 *   them touch (Linux: free_vmap_area_root, an augmented tree); those in use and those that wait have lists of their own, each with its lock (Linux: a tree and a list
 *   of each vmap_node; which node serves an address is a matter of contention alone).
 * - CPUs may hold translations of what waits, of nothing that is free: a purge takes what waits, flushes it, and only then gives it back.
 * - vmap_purge_lock is taken before the other locks, of which no two are held together.
 */
import { codec } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, downWrite, flushTlbRange, get, kfree, kmalloc, set, spinLock, spinUnlock, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { locate, Memory, memory } from '../memory/zone.ts';
import { EBUSY, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { vmallocEnd, vmallocStart } from './kernel-layout.ts';
import { Globals, type Vpn } from './types.ts';
import { VmapArea, type VmapAreaRef } from './vmalloc-types.ts';

/** vmalloc_init: all of the space is free. 0 or −ENOMEM; a second time it does nothing. */
export function* vmallocInit(): Op<number> {
  if (get(globals, Globals.vmapFree) !== 0 || get(globals, Globals.vmapBusy) !== 0) return 0;
  const all = yield* kmalloc(VmapArea.$type);
  if (all === 0) return -ENOMEM;
  set(all, VmapArea.start, vmallocStart());
  set(all, VmapArea.end, vmallocEnd());
  set(globals, Globals.vmapFree, all);
  return 0;
}

/** lazy_max_pages: how many pages may wait before somebody purges; grows with the number of CPUs. */
export function lazyMaxPages(): number {
  const set = get(globals, Globals.vmapLazyMax);
  if (set !== 0) return set;
  locate();
  return (Math.floor(Math.log2(get(memory(), Memory.cpus))) + 1) * 2 ** (25 - codec.pageShift);
}

// --- lists ------------------------------------------------------------------------------------------------------------------

/** Where in the space a run of pages begins that a free area has room for, aligned; −1 where none has. The lowest one is taken (__alloc_vmap_area). */
function findRoom(pages: number, align: number, from: Vpn, to: Vpn): Vpn {
  for (let area = get(globals, Globals.vmapFree); area !== 0; area = get(area, VmapArea.next)) {
    const start = Math.ceil(Math.max(get(area, VmapArea.start), from) / align) * align;
    if (start + pages <= Math.min(get(area, VmapArea.end), to)) return start;
  }
  return -1;
}

/** va_clip: takes pages out of the free area that has them. `spare`: an area for what is left at its end; whether it was used. */
function takeRoom(start: Vpn, end: Vpn, spare: VmapAreaRef): boolean {
  let area = get(globals, Globals.vmapFree);
  while (get(area, VmapArea.end) < end) area = get(area, VmapArea.next);
  const first = get(area, VmapArea.start);
  const last = get(area, VmapArea.end);
  if (first < start && end < last) {
    set(spare, VmapArea.start, end);
    set(spare, VmapArea.end, last);
    set(spare, VmapArea.next, get(area, VmapArea.next));
    set(area, VmapArea.end, start);
    set(area, VmapArea.next, spare);
    return true;
  }
  if (first < start) set(area, VmapArea.end, start);
  else set(area, VmapArea.start, end);
  return false;
}

/** Takes empty areas out of the list of free ones; one of them, 0 when there is none (any longer). */
function dropEmpty(): VmapAreaRef {
  let previous = 0;
  for (let area = get(globals, Globals.vmapFree); area !== 0; area = get(area, VmapArea.next)) {
    if (get(area, VmapArea.start) === get(area, VmapArea.end)) {
      if (previous === 0) set(globals, Globals.vmapFree, get(area, VmapArea.next));
      else set(previous, VmapArea.next, get(area, VmapArea.next));
      return area;
    }
    previous = area;
  }
  return 0;
}

/** merge_or_add_vmap_area: pages are free again. The area itself, or one that it was merged with, is left over: that one, else 0. */
function giveBack(area: VmapAreaRef): VmapAreaRef {
  const start = get(area, VmapArea.start);
  const end = get(area, VmapArea.end);
  let previous = 0;
  let next = get(globals, Globals.vmapFree);
  while (next !== 0 && get(next, VmapArea.start) < start) {
    previous = next;
    next = get(next, VmapArea.next);
  }
  if (previous !== 0 && get(previous, VmapArea.end) === start) {
    set(previous, VmapArea.end, end);
    if (next === 0 || get(next, VmapArea.start) !== end) return area;
    // It closed the gap: two of the three are left over, the later free one is emptied in place.
    set(previous, VmapArea.end, get(next, VmapArea.end));
    set(next, VmapArea.start, get(next, VmapArea.end));
    return area;
  }
  if (next !== 0 && get(next, VmapArea.start) === end) {
    set(next, VmapArea.start, start);
    return area;
  }
  set(area, VmapArea.next, next);
  if (previous === 0) set(globals, Globals.vmapFree, area);
  else set(previous, VmapArea.next, area);
  return 0;
}

// --- areas in use -----------------------------------------------------------------------------------------------------------

/** alloc_vmap_area: pages of [from, to), aligned; the area, −ENOMEM, or −EBUSY where there is no room, also after a purge. */
export function* allocVmapArea(pages: number, align: number, from: Vpn, to: Vpn): Op<number> {
  const area = yield* kmalloc(VmapArea.$type);
  if (area === 0) return -ENOMEM;
  let start = -1;
  for (let purged = 0; start < 0; purged++) {
    // What is left behind the pages needs an area, if they are in the middle (preload).
    const spare = yield* kmalloc(VmapArea.$type);
    if (spare === 0) {
      yield* kfree(VmapArea.$type, area);
      return -ENOMEM;
    }
    yield* spinLock(globals + Globals.vmapFreeLock);
    start = findRoom(pages, align, from, to);
    const used = start >= 0 && takeRoom(start, start + pages, spare);
    const empty = dropEmpty();
    yield* spinUnlock(globals + Globals.vmapFreeLock);
    if (!used) yield* kfree(VmapArea.$type, spare);
    if (empty !== 0) yield* kfree(VmapArea.$type, empty);
    if (start >= 0) break;
    if (purged > 0) {
      yield* kfree(VmapArea.$type, area);
      return -EBUSY;
    }
    // What waits is room too, once it is flushed.
    yield* purgeVmapAreaLazy();
  }
  set(area, VmapArea.start, start);
  set(area, VmapArea.end, start + pages);
  yield* spinLock(globals + Globals.vmapBusyLock);
  set(area, VmapArea.next, get(globals, Globals.vmapBusy));
  set(globals, Globals.vmapBusy, area);
  yield* spinUnlock(globals + Globals.vmapBusyLock);
  return area;
}

/** find_vmap_area: the area in use that has a page, 0 for none. Under the lock of those areas. */
export function vmapAreaOf(vpn: Vpn): VmapAreaRef {
  for (let area = get(globals, Globals.vmapBusy); area !== 0; area = get(area, VmapArea.next))
    if (vpn >= get(area, VmapArea.start) && vpn < get(area, VmapArea.end)) return area;
  return 0;
}

function unlinkBusy(area: VmapAreaRef): void {
  let previous = 0;
  for (let other = get(globals, Globals.vmapBusy); other !== area; other = get(other, VmapArea.next)) previous = other;
  if (previous === 0) set(globals, Globals.vmapBusy, get(area, VmapArea.next));
  else set(previous, VmapArea.next, get(area, VmapArea.next));
}

/** find_unlink_vmap_area: the area that begins at a page is nobody's any longer; 0 where none does. */
export function* findUnlinkVmapArea(start: Vpn): Op<number> {
  yield* spinLock(globals + Globals.vmapBusyLock);
  let area = vmapAreaOf(start);
  if (area !== 0 && get(area, VmapArea.start) !== start) area = 0;
  if (area !== 0) unlinkBusy(area);
  yield* spinUnlock(globals + Globals.vmapBusyLock);
  return area;
}

// --- what waits for its flush -----------------------------------------------------------------------------------------------

/** free_vmap_area_noflush: what an area mapped is unmapped; it waits for its flush. Above the limit whoever comes purges (drain_vmap_work; here at once). */
export function* freeVmapAreaNoflush(area: VmapAreaRef): Op<number> {
  const pages = get(area, VmapArea.end) - get(area, VmapArea.start);
  yield* spinLock(globals + Globals.vmapLazyLock);
  set(area, VmapArea.vm, 0);
  set(area, VmapArea.next, get(globals, Globals.vmapLazy));
  set(globals, Globals.vmapLazy, area);
  const waiting = add(globals, Globals.vmapLazyNr, pages);
  yield* spinUnlock(globals + Globals.vmapLazyLock);
  return waiting > lazyMaxPages() ? yield* purgeVmapAreaLazy() : 0;
}

/** purge_vmap_area_lazy, and vm_unmap_aliases: whatever waits is flushed and free. Pages that came back. */
export function* purgeVmapAreaLazy(): Op<number> {
  yield* downWrite(globals + Globals.vmapPurgeLock);
  yield* spinLock(globals + Globals.vmapLazyLock);
  let area = get(globals, Globals.vmapLazy);
  set(globals, Globals.vmapLazy, 0);
  yield* spinUnlock(globals + Globals.vmapLazyLock);
  const start = lowestOf(area);
  const end = highestOf(area);
  const early = switched(SW.vmapPurgeNoFlush);
  if (area !== 0 && !early) yield* flushTlbRange(get(globals, Globals.initMm), start, end);
  let pages = 0;
  while (area !== 0) {
    const next = get(area, VmapArea.next);
    pages += get(area, VmapArea.end) - get(area, VmapArea.start);
    yield* spinLock(globals + Globals.vmapFreeLock);
    const left = giveBack(area);
    const empty = dropEmpty();
    yield* spinUnlock(globals + Globals.vmapFreeLock);
    if (left !== 0) yield* kfree(VmapArea.$type, left);
    if (empty !== 0) yield* kfree(VmapArea.$type, empty);
    area = next;
  }
  if (pages !== 0) {
    yield* spinLock(globals + Globals.vmapLazyLock);
    add(globals, Globals.vmapLazyNr, -pages);
    yield* spinUnlock(globals + Globals.vmapLazyLock);
    if (early) yield* flushTlbRange(get(globals, Globals.initMm), start, end);
  }
  yield* upWrite(globals + Globals.vmapPurgeLock);
  return pages;
}

function lowestOf(first: VmapAreaRef): Vpn {
  let lowest = Infinity;
  for (let area = first; area !== 0; area = get(area, VmapArea.next)) lowest = Math.min(lowest, get(area, VmapArea.start));
  return lowest;
}

function highestOf(first: VmapAreaRef): Vpn {
  let highest = 0;
  for (let area = first; area !== 0; area = get(area, VmapArea.next)) highest = Math.max(highest, get(area, VmapArea.end));
  return highest;
}
