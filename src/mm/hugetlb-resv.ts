/**
 * Maps of reservations (mm/hugetlb.c: file_region, resv_map, vma_needs_reservation and its kin).
 *
 * Invariants: for a shared mapping the map is the file's and a region says "reserved"; for a private one it belongs to the VMAs that mmap() made, and a region
 * says "the reservation was used". What region_chg() has announced region_add() can do: its descriptor is in the cache. Only VMAs that
 * made the mapping have a map (HPAGE_RESV_OWNER): a child of fork has none, and no reservation.
 *
 * `Vma.privateData` of a hugetlb VMA is four times a reference (the map of a private mapping, the lock of a shared one) and HPAGE_RESV_* of private ones.
 */
import type { Op } from '../kernel/op.ts';
import { add, atomicAdd, get, kfree, kmalloc, kmallocNowait, set, spinLock, spinUnlock } from '../kernel/ops.ts';
import { ENOMEM } from './errno.ts';
import { FileRegion, Hstate, type HstateRef, ResvMap, type ResvMapRef } from './hugetlb-types.ts';
import { File, Inode, type InodeRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_MAYSHARE } from './vm-flags.ts';

/** The VMA's mapping was made by its process, which has the reservations. */
export const HPAGE_RESV_OWNER = 1;
/** A page was taken away from this VMA for the owner's sake: faults fail from now on. */
export const HPAGE_RESV_UNMAPPED = 2;
const HPAGE_RESV_MASK = 3;

/** Base pages of a huge page. */
export const hugePages = (h: HstateRef): number => 2 ** get(h, Hstate.order);

/** hstate_vma. */
export const hstateVma = (vma: VmaRef): HstateRef => get(get(get(vma, Vma.file), File.inode), Inode.hstate);
export const inodeOfVma = (vma: VmaRef): InodeRef => get(get(vma, Vma.file), File.inode);

/** vma_hugecache_offset: number of a huge page in its file. */
export const hugecacheOffset = (h: HstateRef, vma: VmaRef, vpn: Vpn): number => Math.floor((vpn - get(vma, Vma.start) + get(vma, Vma.pgoff)) / hugePages(h));

// --- maps -------------------------------------------------------------------------------------------------------------------

/** resv_map_alloc: an empty map with one reference, 0 without memory. */
export function* resvMapAlloc(): Op<number> {
  const map = yield* kmalloc(ResvMap.$type);
  if (map === 0) return 0;
  const region = yield* kmalloc(FileRegion.$type);
  if (region === 0) {
    yield* kfree(ResvMap.$type, map);
    return 0;
  }
  set(map, ResvMap.refs, 1);
  set(map, ResvMap.cache, region);
  set(map, ResvMap.cacheCount, 1);
  return map;
}

/** kref_put of a map: the last reference frees it (resv_map_release). */
export function* resvMapPut(map: ResvMapRef): Op<number> {
  if ((yield* atomicAdd(map, ResvMap.refs, -1)) !== 0) return 0;
  yield* freeRegions(get(map, ResvMap.regions));
  yield* freeRegions(get(map, ResvMap.cache));
  return yield* kfree(ResvMap.$type, map);
}

function* freeRegions(first: number): Op<number> {
  let region = first;
  while (region !== 0) {
    const next = get(region, FileRegion.next);
    yield* kfree(FileRegion.$type, region);
    region = next;
  }
  return 0;
}

/** Huge pages of [from, to) that lie in regions. Needs the map's lock. */
export function covered(map: ResvMapRef, from: number, to: number): number {
  let sum = 0;
  for (let rg = get(map, ResvMap.regions); rg !== 0; rg = get(rg, FileRegion.next)) {
    const a = Math.max(from, get(rg, FileRegion.from));
    const b = Math.min(to, get(rg, FileRegion.to));
    if (b > a) sum += b - a;
  }
  return sum;
}

/** A descriptor out of the cache. */
function takeRegion(map: ResvMapRef, from: number, to: number): number {
  const region = get(map, ResvMap.cache);
  set(map, ResvMap.cache, get(region, FileRegion.next));
  add(map, ResvMap.cacheCount, -1);
  set(region, FileRegion.from, from);
  set(region, FileRegion.to, to);
  return region;
}

function cacheRegion(map: ResvMapRef, region: number): void {
  set(region, FileRegion.next, get(map, ResvMap.cache));
  set(map, ResvMap.cache, region);
  add(map, ResvMap.cacheCount, 1);
}

/**
 * region_chg: announces that [from, to) is to be added; how many of its pages lie in no region yet, or −ENOMEM. One descriptor is enough for each
 * announcement, since neighbours are taken together.
 */
export function* regionChg(map: ResvMapRef, from: number, to: number): Op<number> {
  yield* spinLock(map + ResvMap.lock);
  const missing = to - from - covered(map, from, to);
  add(map, ResvMap.addsInProgress, 1);
  // allocate_file_region_entries: without the lock, then looked at again.
  while (get(map, ResvMap.cacheCount) < get(map, ResvMap.addsInProgress)) {
    yield* spinUnlock(map + ResvMap.lock);
    const region = yield* kmalloc(FileRegion.$type);
    yield* spinLock(map + ResvMap.lock);
    if (region === 0) {
      add(map, ResvMap.addsInProgress, -1);
      yield* spinUnlock(map + ResvMap.lock);
      return -ENOMEM;
    }
    cacheRegion(map, region);
  }
  yield* spinUnlock(map + ResvMap.lock);
  return missing;
}

/** region_add: [from, to) is in regions from now on; how many pages that are more. It was announced. */
export function* regionAdd(map: ResvMapRef, from: number, to: number): Op<number> {
  yield* spinLock(map + ResvMap.lock);
  const added = to - from - covered(map, from, to);
  let first = from;
  let last = to;
  let prev = 0;
  let rg = get(map, ResvMap.regions);
  while (rg !== 0 && get(rg, FileRegion.to) < from) {
    prev = rg;
    rg = get(rg, FileRegion.next);
  }
  // What touches or overlaps it becomes one region with it.
  while (rg !== 0 && get(rg, FileRegion.from) <= to) {
    first = Math.min(first, get(rg, FileRegion.from));
    last = Math.max(last, get(rg, FileRegion.to));
    const next = get(rg, FileRegion.next);
    cacheRegion(map, rg);
    rg = next;
  }
  const made = takeRegion(map, first, last);
  set(made, FileRegion.next, rg);
  if (prev === 0) set(map, ResvMap.regions, made);
  else set(prev, FileRegion.next, made);
  add(map, ResvMap.addsInProgress, -1);
  yield* trimCache(map);
  yield* spinUnlock(map + ResvMap.lock);
  return added;
}

/** region_abort: what was announced will not be done. */
export function* regionAbort(map: ResvMapRef): Op<number> {
  yield* spinLock(map + ResvMap.lock);
  add(map, ResvMap.addsInProgress, -1);
  return yield* spinUnlock(map + ResvMap.lock);
}

/** Descriptors beyond what is announced and one go back. Needs the lock. */
function* trimCache(map: ResvMapRef): Op<number> {
  while (get(map, ResvMap.cacheCount) > get(map, ResvMap.addsInProgress) + 1) yield* kfree(FileRegion.$type, takeRegion(map, 0, 0));
  return 0;
}

/** region_del: [from, to) leaves the regions; how many pages that were, or −ENOMEM where a region must be cut in two and there is no descriptor. */
export function* regionDel(map: ResvMapRef, from: number, to: number): Op<number> {
  yield* spinLock(map + ResvMap.lock);
  let deleted = 0;
  let prev = 0;
  let rg = get(map, ResvMap.regions);
  while (rg !== 0 && get(rg, FileRegion.from) < to) {
    const start = get(rg, FileRegion.from);
    const end = get(rg, FileRegion.to);
    const next = get(rg, FileRegion.next);
    if (end <= from) prev = rg;
    else if (start < from && end > to) {
      if (get(map, ResvMap.cacheCount) <= get(map, ResvMap.addsInProgress)) {
        const more = yield* kmallocNowait(FileRegion.$type);
        if (more === 0) {
          yield* spinUnlock(map + ResvMap.lock);
          return -ENOMEM;
        }
        cacheRegion(map, more);
      }
      const upper = takeRegion(map, to, end);
      set(upper, FileRegion.next, next);
      set(rg, FileRegion.to, from);
      set(rg, FileRegion.next, upper);
      deleted += to - from;
      break;
    } else if (start < from) {
      deleted += end - from;
      set(rg, FileRegion.to, from);
      prev = rg;
    } else if (end > to) {
      deleted += to - start;
      set(rg, FileRegion.from, to);
      break;
    } else {
      deleted += end - start;
      if (prev === 0) set(map, ResvMap.regions, next);
      else set(prev, FileRegion.next, next);
      yield* kfree(FileRegion.$type, rg);
    }
    rg = next;
  }
  yield* spinUnlock(map + ResvMap.lock);
  return deleted;
}

/** region_count: pages of [from, to) that lie in regions. */
export function* regionCount(map: ResvMapRef, from: number, to: number): Op<number> {
  yield* spinLock(map + ResvMap.lock);
  const count = covered(map, from, to);
  yield* spinUnlock(map + ResvMap.lock);
  return count;
}

// --- a VMA's map ------------------------------------------------------------------------------------------------------------

const isShared = (vma: VmaRef): boolean => (get(vma, Vma.flags) & VM_MAYSHARE) !== 0;
/** The reference in `Vma.privateData`, without flags. */
export const privateRef = (vma: VmaRef): number => Math.floor(get(vma, Vma.privateData) / 4);

/** vma_resv_map: the file's map of a shared mapping, the owner's own of a private one; 0 where there is none. */
export const vmaResvMap = (vma: VmaRef): ResvMapRef => (isShared(vma) ? get(inodeOfVma(vma), Inode.resvMap) : privateRef(vma));

export function setVmaResvMap(vma: VmaRef, map: ResvMapRef): void {
  set(vma, Vma.privateData, map * 4 + (get(vma, Vma.privateData) & HPAGE_RESV_MASK));
}

export function setVmaResvFlags(vma: VmaRef, flags: number): void {
  set(vma, Vma.privateData, get(vma, Vma.privateData) + (flags & ~(get(vma, Vma.privateData) & HPAGE_RESV_MASK)));
}

/** is_vma_resv_set. */
export const isVmaResvSet = (vma: VmaRef, flag: number): boolean => (get(vma, Vma.privateData) & HPAGE_RESV_MASK & flag) !== 0;

/** __vma_private_lock: a private mapping that has its map. */
export const vmaPrivateLock = (vma: VmaRef): boolean => !isShared(vma) && privateRef(vma) !== 0 && isVmaResvSet(vma, HPAGE_RESV_OWNER);

/** What region_chg() and its kin say of a map, as an answer for a private mapping: there regions are what was used. */
const answer = (vma: VmaRef, changed: number): number => {
  if (isShared(vma) || changed < 0) return changed;
  return changed > 0 ? 0 : 1;
};

/** vma_needs_reservation: 0 when a page has a reservation to use, 1 when not, −ENOMEM. Must be followed by one of the three below. */
export function* vmaNeedsReservation(h: HstateRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const map = vmaResvMap(vma);
  if (map === 0) return 1;
  const index = hugecacheOffset(h, vma, vpn);
  return answer(vma, yield* regionChg(map, index, index + 1));
}

/** vma_commit_reservation. */
export function* vmaCommitReservation(h: HstateRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const map = vmaResvMap(vma);
  if (map === 0) return 1;
  const index = hugecacheOffset(h, vma, vpn);
  return answer(vma, yield* regionAdd(map, index, index + 1));
}

/** vma_end_reservation: it was but a question. */
export function* vmaEndReservation(vma: VmaRef): Op<number> {
  const map = vmaResvMap(vma);
  return map === 0 ? 0 : yield* regionAbort(map);
}

/** vma_add_reservation: the page has a reservation again. */
export function* vmaAddReservation(h: HstateRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const map = vmaResvMap(vma);
  if (map === 0) return 1;
  const index = hugecacheOffset(h, vma, vpn);
  if (isShared(vma)) return yield* regionAdd(map, index, index + 1);
  yield* regionAbort(map);
  return answer(vma, yield* regionDel(map, index, index + 1));
}

/** vma_del_reservation: the page has none any longer. */
export function* vmaDelReservation(h: HstateRef, vma: VmaRef, vpn: Vpn): Op<number> {
  const map = vmaResvMap(vma);
  if (map === 0) return 1;
  const index = hugecacheOffset(h, vma, vpn);
  if (!isShared(vma)) return yield* regionAdd(map, index, index + 1);
  yield* regionAbort(map);
  return yield* regionDel(map, index, index + 1);
}
