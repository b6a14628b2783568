/**
 * read, write and lseek (fs/read_write.c, generic_perform_write of mm/filemap.c, shmem_file_read_iter of mm/shmem.c).
 *
 * Invariants: user memory is never touched while a page is locked but with faults forbidden; a call that has moved bytes returns their number,
 * whatever stopped it. Writers of one file take turns (the inode's lock), readers do not wait for them.
 *
 * Positions and lengths are bytes, negative where the register held a negative number.
 */
import { ACCESS_READ, mmuAccess } from '../kernel/mmu.ts';
import type { Op } from '../kernel/op.ts';
import { downRead, downWrite, folioUnlock, get, set, upRead, upWrite } from '../kernel/ops.ts';
import { compoundPages } from '../memory/folio.ts';
import { PG_HWPOISON, PG_READAHEAD } from '../memory/page-flags.ts';
import { copyFrame, pageFlags, pageIndex, pageShift } from '../memory/state.ts';
import { diskGetFolio, diskSeek, diskWriteBegin, diskWriteEnd } from './disk.ts';
import { EBADF, EFAULT, EFBIG, EINVAL, EIO, ENXIO, ESPIPE } from './errno.ts';
import { fdGet, filePut } from './file.ts';
import {
  EXT4_MAX_BYTES,
  FMODE_LSEEK,
  FMODE_PREAD,
  FMODE_PWRITE,
  FMODE_READ,
  FMODE_WRITE,
  INODE_DISK,
  INODE_PIPE,
  INODE_UFFD,
  kindIsHugetlb,
  kindIsRegular,
  MAX_LFS_FILESIZE,
  O_APPEND,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
} from './file-types.ts';
import { filemapGetEntry, folioFilePage, folioTestUptodate, LAST_INDEX, pageCacheEntry, pageCacheFind, pageCacheNext } from './filemap.ts';
import { maxPageCacheOrder } from './huge-orders.ts';
import { hugetlbRead } from './hugetlbfs.ts';
import { pipeRead, pipeWrite } from './pipe.ts';
import { pageCacheAsyncRa, pageCacheSyncRa } from './readahead.ts';
import { SGP_READ, shmemGetFolio, shmemWriteBegin, shmemWriteEnd } from './shmem.ts';
import { folioMarkAccessed, folioPut } from './swap.ts';
import { File, type FileRef, Inode, type InodeRef, Mm, type MmRef, type Page, Process, type ProcessRef } from './types.ts';
import { byteOf, clearUser, copyBytes, copyToUser, userPage } from './uaccess.ts';
import { accessOk, maxRwCount } from './uio.ts';
import { userfaultfdRead } from './userfaultfd.ts';
import { rlimit } from './util.ts';

const RLIMIT_FSIZE = 1;

/** Largest size of a file (s_maxbytes). */
export const maxBytes = (inode: InodeRef): number => (get(inode, Inode.kind) === INODE_DISK ? EXT4_MAX_BYTES : MAX_LFS_FILESIZE);

// --- copies that may not fault ----------------------------------------------------------------------------------------------

/** copy_folio_from_iter_atomic: copies from user memory as far as it can be read without a fault; bytes copied. */
export function copyFromUserAtomic(mm: MmRef, from: number, page: Page, offset: number, length: number): number {
  const size = 2 ** pageShift;
  let done = 0;
  while (done < length) {
    const vpn = Math.floor((from + done) / size);
    const inPage = from + done - vpn * size;
    const part = Math.min(length - done, size - inPage);
    const source = mmuAccess(get(mm, Mm.pgd), vpn, ACCESS_READ);
    if (source === 0) break;
    if (part === size) copyFrame(page, source);
    else copyBytes(byteOf(page, offset + done), byteOf(source, inPage), part);
    done += part;
  }
  return done;
}

/** fault_in_iov_iter_readable: faults the pages of a buffer in; whether at least its first byte can be read. */
function* faultInReadable(mm: MmRef, from: number, length: number): Op<boolean> {
  const size = 2 ** pageShift;
  const first = Math.floor(from / size);
  const last = Math.floor((from + length - 1) / size);
  for (let vpn = first; vpn <= last; vpn++) if ((yield* userPage(mm, vpn, ACCESS_READ)) === 0) return vpn > first;
  return true;
}

// --- reading ----------------------------------------------------------------------------------------------------------------

/** shmem_file_read_iter: bytes read, or −EFAULT. */
function* shmemRead(inode: InodeRef, mm: MmRef, to: number, length: number, position: number): Op<number> {
  const size = 2 ** pageShift;
  let done = 0;
  while (done < length && position + done < get(inode, Inode.size)) {
    const at = position + done;
    const index = Math.floor(at / size);
    const folio = yield* shmemGetFolio(inode, index, 0, SGP_READ, mm);
    if (folio < 0) return done === 0 && folio !== -EINVAL ? folio : done;
    if (folio > 0) yield* folioUnlock(folio);
    const page = folio > 0 ? folioFilePage(folio, index) : 0;
    if (page > 0 && (pageFlags[page] & PG_HWPOISON) !== 0) {
      yield* folioPut(page);
      return done === 0 ? -EIO : done;
    }
    // The size again: nobody keeps the file from being truncated.
    const end = get(inode, Inode.size);
    if (at >= end) {
      if (page > 0) yield* folioPut(page);
      break;
    }
    const offset = at - index * size;
    const part = Math.min(end - at, length - done, size - offset);
    let missed = 0;
    if (page > 0) {
      if (offset === 0) yield* folioMarkAccessed(page);
      missed = yield* copyToUser(mm, to + done, page, offset, part);
      yield* folioPut(page);
    } else missed = yield* clearUser(mm, to + done, part);
    done += part - missed;
    if (missed > 0) return done === 0 ? -EFAULT : done;
  }
  return done;
}

/** filemap_read: bytes read, or −EFAULT, −ENOMEM. */
function* diskRead(file: FileRef, mm: MmRef, to: number, length: number, position: number): Op<number> {
  const inode = get(file, File.inode);
  const size = 2 ** pageShift;
  let done = 0;
  let error = 0;
  while (done < length && error === 0 && position + done < get(inode, Inode.size)) {
    const at = position + done;
    const index = Math.floor(at / size);
    const page = yield* readablePage(file, inode, index, Math.ceil((position + length) / size) - index);
    if (page < 0) {
      error = page;
      break;
    }
    // The size again: nobody keeps the file from being truncated.
    const end = get(inode, Inode.size);
    const offset = at - index * size;
    const part = Math.max(0, Math.min(end - at, length - done, size - offset));
    const missed = yield* copyToUser(mm, to + done, folioFilePage(page, index), offset, part);
    yield* folioPut(page);
    done += part - missed;
    if (missed > 0) error = -EFAULT;
  }
  if (done > 0) set(file, File.raPrevPos, position + done);
  return done === 0 ? error : done;
}

/** filemap_get_pages for one page: referenced, with content; `request` pages are still to be read from it on. */
function* readablePage(file: FileRef, inode: InodeRef, index: number, request: number): Op<number> {
  if (pageCacheEntry(inode, index) === 0) yield* pageCacheSyncRa(file, index, request);
  let page = yield* filemapGetEntry(inode, index);
  if (page === 0) {
    // filemap_create_folio: no hole is made meanwhile.
    yield* downRead(inode + Inode.invalidateLock);
    page = yield* diskGetFolio(inode, index);
    yield* upRead(inode + Inode.invalidateLock);
    if (page < 0) return page;
    yield* folioUnlock(page);
  }
  // filemap_readahead: from the folio's first page on.
  if ((pageFlags[page] & PG_READAHEAD) !== 0) yield* pageCacheAsyncRa(file, pageIndex[page], request + index - pageIndex[page]);
  return page;
}

/** kernel_read of one page: what a page of a file holds goes into a page of the kernel's, which keeps what it has where the file holds nothing. 0 or −errno. */
export function* kernelReadPage(file: FileRef, index: number, to: Page, mm: MmRef): Op<number> {
  const inode = get(file, File.inode);
  if (index * 2 ** pageShift >= get(inode, Inode.size)) return 0;
  const disk = get(inode, Inode.kind) === INODE_DISK;
  const page = disk ? yield* readablePage(file, inode, index, 1) : yield* shmemGetFolio(inode, index, 0, SGP_READ, mm);
  if (page <= 0) return page;
  if (!disk) yield* folioUnlock(page);
  copyFrame(to, folioFilePage(page, index));
  yield* folioPut(page);
  return 0;
}

// --- writing ----------------------------------------------------------------------------------------------------------------

/** generic_perform_write: bytes written, or an error when there are none. Needs the inode's lock. */
function* performWrite(inode: InodeRef, mm: MmRef, from: number, length: number, position: number): Op<number> {
  const size = 2 ** pageShift;
  const disk = get(inode, Inode.kind) === INODE_DISK;
  // As much at once as a folio can hold (mapping_max_folio_size).
  const chunk = disk || (get(inode, Inode.orders) & 1) !== 0 ? size * 2 ** maxPageCacheOrder() : size;
  let done = 0;
  let bytes = 0;
  while (done < length) {
    const at = position + done;
    // After a short copy only what could be copied is tried again.
    if (bytes === 0) bytes = Math.min(chunk - (at % chunk), length - done);
    const page = disk ? yield* diskWriteBegin(inode, at, bytes) : yield* shmemWriteBegin(inode, at, bytes, mm);
    if (page < 0) return done === 0 ? page : done;
    const copied = copyToFolio(mm, from + done, page, at, bytes);
    if (disk) yield* diskWriteEnd(inode, page, at, copied);
    else yield* shmemWriteEnd(inode, page, at, copied);
    done += copied;
    bytes = 0;
    // Nothing could be copied with the page locked: fault the buffer in without it.
    if (copied === 0 && !(yield* faultInReadable(mm, from + done, Math.min(size - (at % size), length - done)))) return done === 0 ? -EFAULT : done;
  }
  return done;
}

/** copy_folio_from_iter_atomic: as much of `bytes` bytes as lies in the folio from a position on and can be had without a fault. */
function copyToFolio(mm: MmRef, from: number, folio: Page, position: number, bytes: number): number {
  const size = 2 ** pageShift;
  const most = Math.min(bytes, compoundPages(folio) * size - (position % (compoundPages(folio) * size)));
  let done = 0;
  while (done < most) {
    const at = position + done;
    const part = Math.min(most - done, size - (at % size));
    const copied = copyFromUserAtomic(mm, from + done, folioFilePage(folio, Math.floor(at / size)), at % size, part);
    done += copied;
    if (copied < part) break;
  }
  return done;
}

/** generic_write_checks: how many bytes may be written at a position, or −EFBIG. */
function writeLimit(inode: InodeRef, mm: MmRef, position: number, length: number): number {
  const limit = rlimit(mm, RLIMIT_FSIZE);
  if (position >= limit || position >= maxBytes(inode)) return -EFBIG;
  return Math.min(length, limit - position, maxBytes(inode) - position);
}

/** A write to a regular file; bytes written or an error. With O_APPEND it goes to the end; `positionOfFile` moves the file's position. */
function* fileWrite(file: FileRef, mm: MmRef, from: number, length: number, position: number, positionOfFile: number): Op<number> {
  const inode = get(file, File.inode);
  if (length === 0) return 0;
  yield* downWrite(inode + Inode.lock);
  const at = (get(file, File.flags) & O_APPEND) !== 0 ? get(inode, Inode.size) : position;
  let done = writeLimit(inode, mm, at, length);
  if (done > 0) done = yield* performWrite(inode, mm, from, done, at);
  if (done > 0 && positionOfFile !== 0) set(file, File.position, at + done);
  yield* upWrite(inode + Inode.lock);
  return done;
}

// --- system calls -----------------------------------------------------------------------------------------------------------

/** Checks that reading and writing share: 0 or an error. */
function checkTransfer(mm: MmRef, address: number, length: number, position: number): number {
  if (!accessOk(mm, address, length)) return -EFAULT;
  if (length >= 2 ** 63) return -EINVAL;
  return position < 0 ? -EINVAL : 0;
}

function* vfsRead(file: FileRef, mm: MmRef, address: number, length: number, position: number): Op<number> {
  if ((get(file, File.mode) & FMODE_READ) === 0) return -EBADF;
  const error = checkTransfer(mm, address, length, position);
  if (error !== 0) return error;
  const count = Math.min(length, maxRwCount());
  const inode = get(file, File.inode);
  const kind = get(inode, Inode.kind);
  if (kind === INODE_PIPE) return yield* pipeRead(file, mm, address, count);
  if (kind === INODE_UFFD) return yield* userfaultfdRead(file, mm, address, count);
  if (!kindIsRegular(kind)) return -EINVAL;
  if (kindIsHugetlb(kind)) return yield* hugetlbRead(inode, mm, address, count, position);
  return kind === INODE_DISK ? yield* diskRead(file, mm, address, count, position) : yield* shmemRead(inode, mm, address, count, position);
}

function* vfsWrite(file: FileRef, mm: MmRef, address: number, length: number, position: number, positionOfFile: number): Op<number> {
  if ((get(file, File.mode) & FMODE_WRITE) === 0) return -EBADF;
  const error = checkTransfer(mm, address, length, position);
  if (error !== 0) return error;
  const count = Math.min(length, maxRwCount());
  const kind = get(get(file, File.inode), Inode.kind);
  if (kind === INODE_PIPE) return yield* pipeWrite(file, mm, address, count);
  if (!kindIsRegular(kind) || kindIsHugetlb(kind)) return -EINVAL;
  return yield* fileWrite(file, mm, address, count, position, positionOfFile);
}

/** read(2). */
export function* sysRead(process: ProcessRef, fd: number, address: number, length: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const position = get(file, File.position);
  const done = yield* vfsRead(file, get(process, Process.mm), address, length, position);
  if (done > 0) set(file, File.position, position + done);
  yield* filePut(file);
  return done;
}

/** write(2). */
export function* sysWrite(process: ProcessRef, fd: number, address: number, length: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const done = yield* vfsWrite(file, get(process, Process.mm), address, length, get(file, File.position), 1);
  yield* filePut(file);
  return done;
}

/** pread64(2). */
export function* sysPread64(process: ProcessRef, fd: number, address: number, length: number, position: number): Op<number> {
  if (position < 0) return -EINVAL;
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  let done = -ESPIPE;
  if ((get(file, File.mode) & FMODE_PREAD) !== 0) done = yield* vfsRead(file, get(process, Process.mm), address, length, position);
  yield* filePut(file);
  return done;
}

/** pwrite64(2). */
export function* sysPwrite64(process: ProcessRef, fd: number, address: number, length: number, position: number): Op<number> {
  if (position < 0) return -EINVAL;
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  let done = -ESPIPE;
  if ((get(file, File.mode) & FMODE_PWRITE) !== 0) done = yield* vfsWrite(file, get(process, Process.mm), address, length, position, 0);
  yield* filePut(file);
  return done;
}

/** lseek(2). */
export function* sysLseek(process: ProcessRef, fd: number, offset: number, whence: number): Op<number> {
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const position = whence < SEEK_SET || whence > SEEK_HOLE ? -EINVAL : yield* doLseek(file, offset, whence);
  yield* filePut(file);
  return position;
}

function* doLseek(file: FileRef, offset: number, whence: number): Op<number> {
  if ((get(file, File.mode) & FMODE_LSEEK) === 0) return -ESPIPE;
  const inode = get(file, File.inode);
  let position = offset;
  if (whence === SEEK_END) position += get(inode, Inode.size);
  else if (whence === SEEK_CUR) {
    position += get(file, File.position);
    if (offset === 0) return position;
  } else if (whence === SEEK_DATA || whence === SEEK_HOLE) {
    yield* downWrite(inode + Inode.lock);
    position = get(inode, Inode.kind) === INODE_DISK ? diskSeek(inode, offset, whence) : shmemSeek(inode, offset, whence);
    yield* upWrite(inode + Inode.lock);
    if (position < 0) return position;
  }
  if (position < 0 || position > maxBytes(inode)) return -EINVAL;
  set(file, File.position, position);
  return position;
}

/** mapping_seek_hole_data for shared memory: pages with content are data. −ENXIO at or behind the end, or where no data follows. */
function shmemSeek(inode: InodeRef, offset: number, whence: number): number {
  const bytes = get(inode, Inode.size);
  if (!(offset >= 0 && offset < bytes)) return -ENXIO;
  const size = 2 ** pageShift;
  let index = Math.floor(offset / size);
  if (whence === SEEK_HOLE) {
    while (index * size < bytes && hasContent(inode, index)) index = pageCacheNext(inode, index);
    return Math.min(Math.max(offset, index * size), bytes);
  }
  for (
    index = pageCacheFind(inode, index, LAST_INDEX);
    index >= 0 && index * size < bytes;
    index = pageCacheFind(inode, pageCacheNext(inode, index), LAST_INDEX)
  )
    if (hasContent(inode, index)) return Math.max(offset, index * size);
  return -ENXIO;
}

function hasContent(inode: InodeRef, index: number): boolean {
  const entry = pageCacheEntry(inode, index);
  return entry < 0 || (entry > 0 && folioTestUptodate(entry));
}
