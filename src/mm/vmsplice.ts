/**
 * vmsplice(2): user pages into a pipe by reference, and what a pipe holds into user memory (fs/splice.c).
 *
 * Invariants: a page that went into a pipe has a reference, no pin: the process may write to it and the reader sees that; after a fork a write
 * makes a copy for whoever writes first, and the pipe keeps the old page.
 */
import type { Op } from '../kernel/op.ts';
import { add, downWrite, get, set, upWrite, waitFor } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EAGAIN, EBADF, EFAULT, EINVAL, EPIPE } from './errno.ts';
import { fdGet, filePut, intArgument } from './file.ts';
import { FMODE_READ, FMODE_WRITE, INODE_PIPE, PIPE_BUF_FLAG_GIFT } from './file-types.ts';
import { getUserPagesFast } from './gup-fast.ts';
import { allocPageVector, freePageVector, PageVector } from './gup-types.ts';
import { ERESTARTSYS, pipeOccupancy, pipePop, pipePush, pipeRoom, pipeSlot } from './pipe.ts';
import { folioPut } from './swap.ts';
import { File, type FileRef, Inode, type MmRef, Pipe, type PipeRef, Process, type ProcessRef } from './types.ts';
import { copyPageToIter, freeIovec, importIovec, iovecAddress, iovecAdvance, iovecPart } from './uio.ts';
import { Iovec, type IovecRef } from './uio-types.ts';

const SPLICE_F_NONBLOCK = 2;
const SPLICE_F_GIFT = 8;
/** SPLICE_F_MOVE, _NONBLOCK, _MORE, _GIFT. */
const SPLICE_F_ALL = 15;
/** Pages that are looked up at once (PIPE_DEF_BUFFERS). */
const BATCH = 16;

/** vmsplice(2). */
export function* sysVmsplice(process: ProcessRef, fd: number, vector: number, segments: number, flagsArgument: number): Op<number> {
  const flags = intArgument(flagsArgument);
  if ((flags & ~SPLICE_F_ALL) !== 0) return -EINVAL;
  const file = yield* fdGet(process, fd);
  if (file < 0) return file;
  const result = yield* vmsplice(file, get(process, Process.mm), vector, segments, flags);
  yield* filePut(file);
  return result;
}

function* vmsplice(file: FileRef, mm: MmRef, vector: number, segments: number, flags: number): Op<number> {
  const mode = get(file, File.mode);
  if ((mode & (FMODE_READ | FMODE_WRITE)) === 0) return -EBADF;
  const iovec = yield* importIovec(mm, vector, segments);
  if (iovec < 0) return iovec;
  let result = 0;
  if (get(iovec, Iovec.left) > 0) {
    const inode = get(file, File.inode);
    if (get(inode, Inode.kind) !== INODE_PIPE) result = -EBADF;
    else if ((mode & FMODE_WRITE) !== 0) result = yield* vmspliceToPipe(get(inode, Inode.pipe), mm, iovec, flags);
    else result = yield* vmspliceToUser(get(inode, Inode.pipe), mm, iovec, flags);
  }
  freeIovec(iovec);
  return result;
}

/** vmsplice_to_pipe. */
function* vmspliceToPipe(pipe: PipeRef, mm: MmRef, iovec: IovecRef, flags: number): Op<number> {
  yield* downWrite(pipe + Pipe.mutex);
  let result = yield* waitForSpace(pipe, flags);
  if (result === 0) result = yield* iterToPipe(pipe, mm, iovec, (flags & SPLICE_F_GIFT) !== 0 ? PIPE_BUF_FLAG_GIFT : 0);
  yield* upWrite(pipe + Pipe.mutex);
  return result;
}

/** wait_for_space: 0 once a buffer is free; −EPIPE without readers, −EAGAIN. Needs the mutex. */
function* waitForSpace(pipe: PipeRef, flags: number): Op<number> {
  let waited = 0;
  for (;;) {
    if (get(pipe, Pipe.readers) === 0) return -EPIPE;
    if (pipeRoom(pipe) > 0) return 0;
    if ((flags & SPLICE_F_NONBLOCK) !== 0) return -EAGAIN;
    if (waited !== 0) return -ERESTARTSYS;
    waited = 1;
    yield* upWrite(pipe + Pipe.mutex);
    yield* waitFor(pipe, Pipe.full, 0);
    yield* downWrite(pipe + Pipe.mutex);
  }
}

/** iter_to_pipe: bytes, or an error when there are none. What has no room any more was looked up (and faulted in) nevertheless. */
function* iterToPipe(pipe: PipeRef, mm: MmRef, iovec: IovecRef, bufferFlags: number): Op<number> {
  const size = 2 ** pageShift;
  const pages = allocPageVector();
  let total = 0;
  let result = 0;
  while (result >= 0 && get(iovec, Iovec.left) > 0) {
    const address = iovecAddress(iovec);
    const vpn = Math.floor(address / size);
    let start = address - vpn * size;
    const wanted = iovecPart(iovec);
    result = yield* getUserPagesFast(mm, vpn, Math.min(BATCH, Math.ceil((start + wanted) / size)), 0, pages);
    if (result <= 0) break;
    let left = Math.min(wanted, result * size - start);
    for (let i = 0; i < get(pages, PageVector.count); i++) {
      const page = get(pages, PageVector.pages + i);
      if (result >= 0 && (get(pipe, Pipe.readers) === 0 || pipeRoom(pipe) === 0)) result = get(pipe, Pipe.readers) === 0 ? -EPIPE : -EAGAIN;
      if (result < 0) yield* folioPut(page);
      else {
        const part = Math.min(left, size - start);
        pipePush(pipe, page, start, part, bufferFlags);
        iovecAdvance(iovec, part);
        total += part;
        left -= part;
        start = 0;
      }
      set(pages, PageVector.pages + i, 0);
    }
    set(pages, PageVector.count, 0);
  }
  freePageVector(pages);
  return total > 0 ? total : result;
}

/** vmsplice_to_user: what the pipe holds, copied; bytes, or an error when there are none. */
function* vmspliceToUser(pipe: PipeRef, mm: MmRef, iovec: IovecRef, flags: number): Op<number> {
  yield* downWrite(pipe + Pipe.mutex);
  const result = yield* drainToUser(pipe, mm, iovec, flags);
  yield* upWrite(pipe + Pipe.mutex);
  return result;
}

/** __splice_from_pipe with pipe_to_user. */
function* drainToUser(pipe: PipeRef, mm: MmRef, iovec: IovecRef, flags: number): Op<number> {
  let done = 0;
  let waited = 0;
  while (get(iovec, Iovec.left) > 0) {
    if (pipeOccupancy(pipe) > 0) {
      const slot = pipeSlot(pipe, get(pipe, Pipe.tail));
      const part = Math.min(get(pipe, Pipe.lengths + slot), get(iovec, Iovec.left));
      const copied = yield* copyPageToIter(mm, get(pipe, Pipe.pages + slot), get(pipe, Pipe.offsets + slot), part, iovec);
      // A buffer that could be copied in part stays whole.
      if (copied < part) return done > 0 ? done : -EFAULT;
      done += part;
      add(pipe, Pipe.offsets + slot, part);
      if (add(pipe, Pipe.lengths + slot, -part) === 0) yield* pipePop(pipe);
      continue;
    }
    if (get(pipe, Pipe.writers) === 0 || done > 0) return done;
    if ((flags & SPLICE_F_NONBLOCK) !== 0) return -EAGAIN;
    if (waited !== 0) return -ERESTARTSYS;
    waited = 1;
    yield* upWrite(pipe + Pipe.mutex);
    yield* waitFor(pipe, Pipe.empty, 0);
    yield* downWrite(pipe + Pipe.mutex);
  }
  return done;
}
