/**
 * SysV shared memory (ipc/shm.c).
 *
 * Invariants: a segment's file is its own reference to the memory; each attachment has an open file of its own (File.shm) of the same inode.
 * `attaches` counts the VMAs that map it. IPC_RMID takes the segment away once that is 0.
 */
import type { Op } from '../kernel/op.ts';
import { add, downWrite, get, kfree, kmalloc, set, upWrite } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC } from './errno.ts';
import { fileAlloc, filePut, releaseFiles, takeFilesToRelease } from './file.ts';
import { FMODE_READ, FMODE_WRITE, INODE_SYSV, O_RDONLY, O_RDWR } from './file-types.ts';
import { globals } from './globals.ts';
import { mmPopulate } from './gup.ts';
import { igrab, iput, nameOf } from './inode.ts';
import { MAP_FIXED, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE } from './mman.ts';
import { doMmap } from './mmap.ts';
import { mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { doMunmap } from './munmap.ts';
import { shmemFileSetup } from './shmem.ts';
import { File, type FileRef, Globals, Inode, Mm, type NameRef, Process, type ProcessRef, Shm, type ShmRef, Vma, type VmaRef } from './types.ts';
import { dropUffdUnmaps } from './userfaultfd-events.ts';
import { OVERCOMMIT_NEVER, pfnDown } from './util.ts';
import { VM_NORESERVE } from './vm-flags.ts';
import { VMOPS_SHM } from './vm-ops-types.ts';
import { findVma, findVmaIntersection } from './vma-tree.ts';

export const IPC_RMID = 0;
const IPC_PRIVATE = 0;
const IPC_CREAT = 0o1000;
const IPC_EXCL = 0o2000;
const SHM_HUGETLB = 0o4000;
const SHM_NORESERVE = 0o10000;
const SHM_RDONLY = 0o10000;
const SHM_RND = 0o20000;
const SHM_REMAP = 0o40000;
const SHM_EXEC = 0o100000;
/** SHMMNI: segments. */
const SHM_MAX_SEGMENTS = 4096;
/** SHMMAX: bytes of a segment, and SHMALL in pages of all. */
const SHM_MAX_BYTES = 2 ** 64 - 2 ** 24;

// --- segments ---------------------------------------------------------------------------------------------------------------

/** The segment of an identifier, 0 for none. */
function findId(id: number): ShmRef {
  let shm: ShmRef = get(globals, Globals.segments);
  while (shm !== 0 && get(shm, Shm.id) !== id) shm = get(shm, Shm.next);
  return shm;
}

/** The segment of a key. IPC_RMID makes a key free at once. */
function findKey(key: number): ShmRef {
  let shm: ShmRef = get(globals, Globals.segments);
  while (shm !== 0 && (get(shm, Shm.key) !== key || get(shm, Shm.removed) !== 0)) shm = get(shm, Shm.next);
  return shm;
}

function countSegments(): number {
  let count = 0;
  for (let shm: ShmRef = get(globals, Globals.segments); shm !== 0; shm = get(shm, Shm.next)) count++;
  return count;
}

const segmentName = (key: number): NameRef => nameOf(`SYSV${(key >>> 0).toString(16).padStart(8, '0')}`);

/** newseg: the identifier of a new segment, or an error. */
function* newSegment(process: ProcessRef, key: number, bytes: number, flags: number): Op<number> {
  if (!(bytes >= 1 && bytes <= SHM_MAX_BYTES)) return -EINVAL;
  if (countSegments() >= SHM_MAX_SEGMENTS) return -ENOSPC;
  if ((flags & SHM_HUGETLB) !== 0) return -ENOMEM;
  const shm = yield* kmalloc(Shm.$type);
  if (shm === 0) return -ENOMEM;
  const noreserve = (flags & SHM_NORESERVE) !== 0 && get(globals, Globals.overcommitMemory) !== OVERCOMMIT_NEVER;
  const file = yield* shmemFileSetup(INODE_SYSV, segmentName(key), bytes, noreserve ? VM_NORESERVE : 0, get(process, Process.mm));
  if (file < 0) {
    yield* kfree(Shm.$type, shm);
    return file;
  }
  const id = get(globals, Globals.nextShmid);
  set(globals, Globals.nextShmid, id + 1);
  set(shm, Shm.id, id);
  set(shm, Shm.key, key);
  set(shm, Shm.file, file);
  set(shm, Shm.segmentBytes, bytes);
  set(shm, Shm.mode, flags & 0o777);
  set(shm, Shm.creatorPid, get(process, Process.pid));
  set(shm, Shm.next, get(globals, Globals.segments));
  set(globals, Globals.segments, shm);
  return id;
}

/** shm_destroy. */
function* destroySegment(shm: ShmRef): Op<number> {
  const next = get(shm, Shm.next);
  let at: ShmRef = get(globals, Globals.segments);
  if (at === shm) set(globals, Globals.segments, next);
  else {
    while (get(at, Shm.next) !== shm) at = get(at, Shm.next);
    set(at, Shm.next, next);
  }
  yield* filePut(get(shm, Shm.file));
  return yield* kfree(Shm.$type, shm);
}

/** One attachment more. */
function* attach(shm: ShmRef): Op<number> {
  yield* downWrite(globals + Globals.shmLock);
  add(shm, Shm.attaches, 1);
  return yield* upWrite(globals + Globals.shmLock);
}

/** One attachment less; the last takes a removed segment along. */
function* detach(shm: ShmRef): Op<number> {
  yield* downWrite(globals + Globals.shmLock);
  if (add(shm, Shm.attaches, -1) === 0 && get(shm, Shm.removed) !== 0) yield* destroySegment(shm);
  return yield* upWrite(globals + Globals.shmLock);
}

/** shmget(2): the identifier of a segment, or an error. */
export function* sysShmget(process: ProcessRef, key: number, bytes: number, flags: number): Op<number> {
  yield* downWrite(globals + Globals.shmLock);
  const id = yield* getSegment(process, key, bytes, flags);
  yield* upWrite(globals + Globals.shmLock);
  return id;
}

function* getSegment(process: ProcessRef, key: number, bytes: number, flags: number): Op<number> {
  if (key === IPC_PRIVATE) return yield* newSegment(process, key, bytes, flags);
  const shm = findKey(key);
  if (shm === 0) return (flags & IPC_CREAT) === 0 ? -ENOENT : yield* newSegment(process, key, bytes, flags);
  if ((flags & IPC_CREAT) !== 0 && (flags & IPC_EXCL) !== 0) return -EEXIST;
  return bytes > get(shm, Shm.segmentBytes) ? -EINVAL : get(shm, Shm.id);
}

/** shmctl(2), of which only IPC_RMID is told apart. */
export function* sysShmctl(_process: ProcessRef, id: number, command: number, _buffer: number): Op<number> {
  if (command !== IPC_RMID || id < 0) return -EINVAL;
  yield* downWrite(globals + Globals.shmLock);
  const shm = findId(id);
  if (shm !== 0 && get(shm, Shm.attaches) === 0) yield* destroySegment(shm);
  else if (shm !== 0) {
    set(shm, Shm.removed, 1);
    set(shm, Shm.key, IPC_PRIVATE);
  }
  yield* upWrite(globals + Globals.shmLock);
  return shm === 0 ? -EINVAL : 0;
}

// --- attachments ------------------------------------------------------------------------------------------------------------

/** shm_mmap: a VMA maps an attachment's file. */
export function* shmMmap(vma: VmaRef): Op<number> {
  yield* attach(get(get(vma, Vma.file), File.shm));
  set(vma, Vma.ops, VMOPS_SHM);
  return 0;
}

/** shm_open: the VMA was copied. */
export function* shmOpen(vma: VmaRef): Op<number> {
  return yield* attach(get(get(vma, Vma.file), File.shm));
}

/** shm_close: the VMA goes. */
export function* shmClose(vma: VmaRef): Op<number> {
  return yield* detach(get(get(vma, Vma.file), File.shm));
}

/** shmat(2): the address, or an error. */
export function* sysShmat(process: ProcessRef, id: number, address: number, flags: number): Op<number> {
  if (id < 0) return -EINVAL;
  const size = 2 ** pageShift;
  let at = address;
  let mapFlags = MAP_SHARED;
  if (at !== 0) {
    if (at % size !== 0) {
      if ((flags & SHM_RND) === 0) return -EINVAL;
      at = Math.floor(at / size) * size;
      if (at === 0 && (flags & SHM_REMAP) !== 0) return -EINVAL;
    }
    mapFlags |= MAP_FIXED;
  } else if ((flags & SHM_REMAP) !== 0) return -EINVAL;
  const readOnly = (flags & SHM_RDONLY) !== 0;
  const prot = (readOnly ? PROT_READ : PROT_READ | PROT_WRITE) | ((flags & SHM_EXEC) !== 0 ? PROT_EXEC : 0);
  const shm = findId(id);
  if (shm === 0) return -EINVAL;
  // The segment must not go while it is being attached.
  yield* attach(shm);
  const inode = get(get(shm, Shm.file), File.inode);
  yield* igrab(inode);
  const file = yield* fileAlloc(inode, readOnly ? O_RDONLY : O_RDWR, readOnly ? FMODE_READ : FMODE_READ | FMODE_WRITE);
  let result = -ENOMEM;
  if (file === 0) yield* iput(inode);
  else {
    set(file, File.shm, shm);
    result = yield* attachFile(process, file, at, get(inode, Inode.size), prot, mapFlags, flags);
    yield* filePut(file);
  }
  yield* detach(shm);
  return result;
}

/** The part of do_shmat() under the mmap lock. */
function* attachFile(process: ProcessRef, file: FileRef, at: number, bytes: number, prot: number, mapFlags: number, flags: number): Op<number> {
  const mm = get(process, Process.mm);
  const size = 2 ** pageShift;
  yield* mmapWriteLock(mm);
  let result = 0;
  let populate = 0;
  const first = at / size;
  // Without SHM_REMAP nothing that is mapped gives way.
  if (at !== 0 && (flags & SHM_REMAP) === 0 && findVmaIntersection(mm, first, first + Math.ceil(bytes / size)) !== 0) result = -EINVAL;
  else {
    result = yield* doMmap(mm, file, at, bytes, prot, mapFlags, 0, 0);
    populate = get(mm, Mm.populate);
  }
  const files = takeFilesToRelease(mm);
  if (get(mm, Mm.uffdUnmaps) !== 0) yield* dropUffdUnmaps(mm);
  yield* mmapWriteUnlock(mm);
  if (populate !== 0) yield* mmPopulate(mm, pfnDown(result), populate);
  if (files !== 0) yield* releaseFiles(files);
  return result;
}

/** shmdt(2): unmaps every part of the attachment that began at an address. */
export function* sysShmdt(process: ProcessRef, address: number): Op<number> {
  const size = 2 ** pageShift;
  if (address % size !== 0) return -EINVAL;
  const mm = get(process, Process.mm);
  const start = address / size;
  yield* mmapWriteLock(mm);
  let result = -EINVAL;
  let file = 0;
  let end = Infinity;
  let vma = findVma(mm, start);
  while (vma !== 0 && (file === 0 || get(vma, Vma.end) <= end)) {
    const next = get(vma, Vma.next);
    const fits = get(vma, Vma.ops) === VMOPS_SHM && get(vma, Vma.start) - start === get(vma, Vma.pgoff);
    if (fits && (file === 0 || get(vma, Vma.file) === file)) {
      file = get(vma, Vma.file);
      if (end === Infinity) end = start + Math.ceil(get(get(file, File.inode), Inode.size) / size);
      yield* doMunmap(mm, get(vma, Vma.start), get(vma, Vma.end) - get(vma, Vma.start));
      result = 0;
    }
    vma = next;
  }
  if (get(mm, Mm.uffdUnmaps) !== 0) yield* dropUffdUnmaps(mm);
  yield* mmapWriteUnlock(mm);
  return result;
}
