/**
 * remap_file_pages(2), as it is emulated (mm/mmap.c): another part of the same shared mapping's object is mapped over the range.
 */
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EINVAL } from './errno.ts';
import { fileGet, filePut, releaseFiles, takeFilesToRelease } from './file.ts';
import { mmPopulate } from './gup.ts';
import { MAP_FIXED, MAP_LOCKED, MAP_NONBLOCK, MAP_POPULATE, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE } from './mman.ts';
import { doMmap } from './mmap.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { type FileRef, Mm, type MmRef, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { dropUffdUnmaps } from './userfaultfd-events.ts';
import { pfnDown } from './util.ts';
import { VM_EXEC, VM_LOCKED, VM_READ, VM_SHARED, VM_WRITE } from './vm-flags.ts';
import { vmaLookup } from './vma-tree.ts';

/** remap_file_pages(2); bytes, the offset in pages. 0 or −errno. */
export function* sysRemapFilePages(process: ProcessRef, address: number, length: number, prot: number, pgoff: Vpn, flags: number): Op<number> {
  const mm = get(process, Process.mm);
  if (prot !== 0) return -EINVAL;
  const start = pfnDown(address);
  const pages = pfnDown(length);
  const limit = 2 ** (64 - pageShift);
  if (pages === 0 || start + pages >= limit) return -EINVAL;
  if (pgoff + pages >= 2 ** 64) return -EINVAL;
  // What is mapped is looked at before the file may be asked, and must be the same afterwards.
  yield* mmapReadLock(mm);
  const seen = vmaLookup(mm, start);
  const seenFlags = seen === 0 ? 0 : get(seen, Vma.flags);
  if ((seenFlags & VM_SHARED) === 0) {
    yield* mmapReadUnlock(mm);
    return -EINVAL;
  }
  const file = get(seen, Vma.file);
  yield* fileGet(file);
  yield* mmapReadUnlock(mm);
  yield* mmapWriteLock(mm);
  const vma = vmaLookup(mm, start);
  let result = -EINVAL;
  if (vma !== 0 && get(vma, Vma.flags) === seenFlags && get(vma, Vma.file) === file && sameUntil(vma, start + pages))
    result = yield* mapOther(mm, vma, file, start, pages, pgoff, flags);
  const populate = result < 0 ? 0 : get(mm, Mm.populate);
  const files = takeFilesToRelease(mm);
  if (get(mm, Mm.uffdUnmaps) !== 0) yield* dropUffdUnmaps(mm);
  yield* mmapWriteUnlock(mm);
  if (populate !== 0) yield* mmPopulate(mm, start, populate);
  yield* filePut(file);
  if (files !== 0) yield* releaseFiles(files);
  return result < 0 ? result : 0;
}

/** Whether VMAs of the same file and with the same flags follow without a hole up to a page. */
function sameUntil(vma: VmaRef, end: Vpn): boolean {
  let at = vma;
  while (get(at, Vma.end) < end) {
    const next = get(at, Vma.next);
    if (next === 0 || get(next, Vma.start) !== get(at, Vma.end)) return false;
    if (get(next, Vma.file) !== get(vma, Vma.file) || get(next, Vma.flags) !== get(vma, Vma.flags)) return false;
    at = next;
  }
  return true;
}

function* mapOther(mm: MmRef, vma: VmaRef, file: FileRef, start: Vpn, pages: number, pgoff: Vpn, flags: number): Op<number> {
  const vmFlags = get(vma, Vma.flags);
  const prot = ((vmFlags & VM_READ) !== 0 ? PROT_READ : 0) | ((vmFlags & VM_WRITE) !== 0 ? PROT_WRITE : 0) | ((vmFlags & VM_EXEC) !== 0 ? PROT_EXEC : 0);
  const locked = (vmFlags & VM_LOCKED) !== 0 ? MAP_LOCKED : 0;
  const mapFlags = (flags & MAP_NONBLOCK) | MAP_SHARED | MAP_FIXED | MAP_POPULATE | locked;
  return yield* doMmap(mm, file, start * 2 ** pageShift, pages * 2 ** pageShift, prot, mapFlags, 0, pgoff);
}
