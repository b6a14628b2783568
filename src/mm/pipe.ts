/**
 * Pipes (fs/pipe.c): a ring of buffers, each a part of a page that holds one reference for it. vmsplice() puts user pages into it.
 *
 * Invariants: the ring changes under the pipe's mutex; buffers from `tail` to `head` are in use; `empty` and `full` say what the ring is, for
 * those who sleep until it changes.
 */
import type { Op } from '../kernel/op.ts';
import { add, allocPage, downWrite, get, kfree, kmalloc, set, upWrite, waitFor } from '../kernel/ops.ts';
import { GFP_HIGHUSER } from '../memory/gfp.ts';
import { pageShift } from '../memory/state.ts';
import { EAGAIN, EBADF, EFAULT, EINVAL, EMFILE, ENFILE, ENOMEM, EPIPE } from './errno.ts';
import { fdInstall, fileAlloc, filePut, intArgument, unusedFd } from './file.ts';
import {
  FMODE_READ,
  FMODE_WRITE,
  INODE_PIPE,
  O_CLOEXEC,
  O_DIRECT,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  PIPE_BUF_FLAG_CAN_MERGE,
  PIPE_BUF_FLAG_PACKET,
  PIPE_DEF_BUFFERS,
} from './file-types.ts';
import { igrab, iput, newInode } from './inode.ts';
import { folioPut } from './swap.ts';
import { File, type FileRef, Inode, type InodeRef, type MmRef, type Page, Pipe, type PipeRef, Process, type ProcessRef } from './types.ts';
import { copyFromUser, copyToUser, putUserInt } from './uaccess.ts';

/** What a call returns that would have slept and cannot: it is to be started again (ERESTARTSYS). */
export const ERESTARTSYS = 512;

/** Slot of a buffer in the arrays of a pipe. */
export const pipeSlot = (pipe: PipeRef, at: number): number => at % get(pipe, Pipe.ringSize);

/** Buffers in use. */
export const pipeOccupancy = (pipe: PipeRef): number => get(pipe, Pipe.head) - get(pipe, Pipe.tail);

function noteState(pipe: PipeRef): void {
  set(pipe, Pipe.empty, pipeOccupancy(pipe) === 0 && get(pipe, Pipe.writers) > 0 ? 1 : 0);
  set(pipe, Pipe.full, pipeOccupancy(pipe) >= get(pipe, Pipe.ringSize) && get(pipe, Pipe.readers) > 0 ? 1 : 0);
}

/** Buffers that are free. */
export const pipeRoom = (pipe: PipeRef): number => get(pipe, Pipe.ringSize) - pipeOccupancy(pipe);

/** Adds a buffer: bytes [offset, offset + length) of a page, whose reference the pipe takes over. Needs the mutex and room. */
export function pipePush(pipe: PipeRef, page: Page, offset: number, length: number, flags: number): void {
  const slot = pipeSlot(pipe, get(pipe, Pipe.head));
  set(pipe, Pipe.pages + slot, page);
  set(pipe, Pipe.offsets + slot, offset);
  set(pipe, Pipe.lengths + slot, length);
  set(pipe, Pipe.bufferFlags + slot, flags);
  add(pipe, Pipe.head, 1);
  noteState(pipe);
}

/** Drops the first buffer. Needs the mutex. */
export function* pipePop(pipe: PipeRef): Op<number> {
  const slot = pipeSlot(pipe, get(pipe, Pipe.tail));
  const page = get(pipe, Pipe.pages + slot);
  set(pipe, Pipe.pages + slot, 0);
  set(pipe, Pipe.lengths + slot, 0);
  add(pipe, Pipe.tail, 1);
  noteState(pipe);
  return yield* folioPut(page);
}

/** Capacity in bytes (F_GETPIPE_SZ), −EBADF for what is no pipe. */
export function pipeBytes(inode: InodeRef): number {
  if (get(inode, Inode.kind) !== INODE_PIPE) return -EBADF;
  return get(get(inode, Inode.pipe), Pipe.ringSize) * 2 ** pageShift;
}

/** pipe_release: an end is closed. */
export function* pipeRelease(inode: InodeRef, mode: number): Op<number> {
  const pipe = get(inode, Inode.pipe);
  yield* downWrite(pipe + Pipe.mutex);
  if ((mode & FMODE_READ) !== 0) add(pipe, Pipe.readers, -1);
  if ((mode & FMODE_WRITE) !== 0) add(pipe, Pipe.writers, -1);
  noteState(pipe);
  return yield* upWrite(pipe + Pipe.mutex);
}

/** free_pipe_info: both ends are closed. */
export function* pipeFree(pipe: PipeRef): Op<number> {
  while (pipeOccupancy(pipe) > 0) yield* pipePop(pipe);
  return yield* kfree(Pipe.$type, pipe);
}

/** pipe2(2): writes the two descriptors to user memory. */
export function* sysPipe2(process: ProcessRef, fdsAddress: number, flagsArgument: number): Op<number> {
  const flags = intArgument(flagsArgument);
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) !== 0) return -EINVAL;
  const inode = yield* newInode(INODE_PIPE, 0o600);
  if (inode === 0) return -ENFILE;
  const pipe = yield* kmalloc(Pipe.$type);
  if (pipe === 0) {
    yield* kfree(Inode.$type, inode);
    return -ENFILE;
  }
  set(inode, Inode.pipe, pipe);
  set(pipe, Pipe.ringSize, PIPE_DEF_BUFFERS);
  const writer = yield* fileAlloc(inode, O_WRONLY | (flags & (O_NONBLOCK | O_DIRECT)), FMODE_WRITE);
  if (writer === 0) {
    yield* iput(inode);
    return -ENFILE;
  }
  set(pipe, Pipe.writers, 1);
  yield* igrab(inode);
  const reader = yield* fileAlloc(inode, O_RDONLY | (flags & O_NONBLOCK), FMODE_READ);
  if (reader === 0) {
    yield* iput(inode);
    yield* filePut(writer);
    return -ENFILE;
  }
  set(pipe, Pipe.readers, 1);
  noteState(pipe);
  const first = unusedFd(process, 0);
  const second = first < 0 ? first : unusedFd(process, first + 1);
  let error = second < 0 ? -EMFILE : 0;
  // Descriptors are told before they lead anywhere, so that nothing has to be taken back.
  if (error === 0) error = yield* putUserInt(get(process, Process.mm), fdsAddress, first, 4);
  if (error === 0) error = yield* putUserInt(get(process, Process.mm), fdsAddress + 4, second, 4);
  if (error !== 0) {
    yield* filePut(reader);
    yield* filePut(writer);
    return error;
  }
  fdInstall(process, first, reader);
  fdInstall(process, second, writer);
  return 0;
}

/** anon_pipe_read: bytes that were read, 0 at the end, −EAGAIN, −EFAULT. */
export function* pipeRead(file: FileRef, mm: MmRef, to: number, length: number): Op<number> {
  if (length === 0) return 0;
  const pipe = get(get(file, File.inode), Inode.pipe);
  let done = 0;
  let waited = 0;
  yield* downWrite(pipe + Pipe.mutex);
  for (;;) {
    if (pipeOccupancy(pipe) > 0) {
      const slot = pipeSlot(pipe, get(pipe, Pipe.tail));
      const part = Math.min(get(pipe, Pipe.lengths + slot), length - done);
      const missed = yield* copyToUser(mm, to + done, get(pipe, Pipe.pages + slot), get(pipe, Pipe.offsets + slot), part);
      if (missed > 0) {
        if (done === 0) done = -EFAULT;
        break;
      }
      done += part;
      add(pipe, Pipe.offsets + slot, part);
      // What is left of a packet is lost.
      if ((get(pipe, Pipe.bufferFlags + slot) & PIPE_BUF_FLAG_PACKET) !== 0) {
        yield* pipePop(pipe);
        break;
      }
      if (add(pipe, Pipe.lengths + slot, -part) === 0) yield* pipePop(pipe);
      if (done === length) break;
      continue;
    }
    if (get(pipe, Pipe.writers) === 0 || done !== 0) break;
    if ((get(file, File.flags) & O_NONBLOCK) !== 0) {
      done = -EAGAIN;
      break;
    }
    if (waited !== 0) {
      done = -ERESTARTSYS;
      break;
    }
    waited = 1;
    yield* upWrite(pipe + Pipe.mutex);
    yield* waitFor(pipe, Pipe.empty, 0);
    yield* downWrite(pipe + Pipe.mutex);
  }
  yield* upWrite(pipe + Pipe.mutex);
  return done;
}

/** anon_pipe_write: bytes that were written, −EPIPE, −EAGAIN, −EFAULT, −ENOMEM. */
export function* pipeWrite(file: FileRef, mm: MmRef, from: number, length: number): Op<number> {
  if (length === 0) return 0;
  const pipe = get(get(file, File.inode), Inode.pipe);
  yield* downWrite(pipe + Pipe.mutex);
  const done = yield* writeLocked(pipe, get(file, File.flags), mm, from, length);
  yield* upWrite(pipe + Pipe.mutex);
  return done;
}

function* writeLocked(pipe: PipeRef, flags: number, mm: MmRef, from: number, length: number): Op<number> {
  if (get(pipe, Pipe.readers) === 0) return -EPIPE;
  const size = 2 ** pageShift;
  let done = 0;
  const rest = length % size;
  // The odd bytes first, behind those of the last buffer when they fit.
  if (rest !== 0 && pipeOccupancy(pipe) > 0) {
    const slot = pipeSlot(pipe, get(pipe, Pipe.head) - 1);
    const end = get(pipe, Pipe.offsets + slot) + get(pipe, Pipe.lengths + slot);
    if ((get(pipe, Pipe.bufferFlags + slot) & PIPE_BUF_FLAG_CAN_MERGE) !== 0 && end + rest <= size) {
      const missed = yield* copyFromUser(mm, from, get(pipe, Pipe.pages + slot), end, rest);
      if (missed > 0) return -EFAULT;
      add(pipe, Pipe.lengths + slot, rest);
      done = rest;
      if (done === length) return done;
    }
  }
  let waited = 0;
  for (;;) {
    if (get(pipe, Pipe.readers) === 0) return done === 0 ? -EPIPE : done;
    if (pipeRoom(pipe) > 0) {
      const page = yield* allocPage(GFP_HIGHUSER, 0);
      if (page === 0) return done === 0 ? -ENOMEM : done;
      const part = Math.min(size, length - done);
      const missed = yield* copyFromUser(mm, from + done, page, 0, part);
      if (missed > 0) {
        yield* folioPut(page);
        return done === 0 ? -EFAULT : done;
      }
      pipePush(pipe, page, 0, part, (flags & O_DIRECT) !== 0 ? PIPE_BUF_FLAG_PACKET : PIPE_BUF_FLAG_CAN_MERGE);
      done += part;
      if (done === length) return done;
      continue;
    }
    if ((flags & O_NONBLOCK) !== 0) return done === 0 ? -EAGAIN : done;
    if (waited !== 0) return done === 0 ? -ERESTARTSYS : done;
    waited = 1;
    yield* upWrite(pipe + Pipe.mutex);
    yield* waitFor(pipe, Pipe.full, 0);
    yield* downWrite(pipe + Pipe.mutex);
  }
}
