/**
 * Reading vectors of buffers, and copying between them and pages (lib/iov_iter.c).
 *
 * Invariant: an iterator stands behind what was copied, wherever a copy stopped.
 */
import type { Op } from '../kernel/op.ts';
import { get, kmalloc, set } from '../kernel/ops.ts';
import { allocObject, freeObject, pageShift } from '../memory/state.ts';
import { EFAULT, EINVAL, ENOMEM } from './errno.ts';
import { Mm, type MmRef, type Page } from './types.ts';
import { copyFromUser, copyToUser, getUserInt, pointerBytes } from './uaccess.ts';
import { Iovec, type IovecRef, UIO_FASTIOV, UIO_MAXIOV } from './uio-types.ts';

/** MAX_RW_COUNT: bytes that one call moves at most. */
export const maxRwCount = (): number => Math.floor(0x7fffffff / 2 ** pageShift) * 2 ** pageShift;

/** access_ok: [address, address + length) lies in user space. */
export const accessOk = (mm: MmRef, address: number, length: number): boolean => address + length <= get(mm, Mm.taskSize) * 2 ** pageShift;

export const freeIovec = (iovec: IovecRef): void => freeObject(iovec, Iovec.$size);

/** iovec_from_user: a vector as it stands in user memory; −EINVAL (too long, or a negative length), −EFAULT, −ENOMEM. */
export function* iovecFromUser(mm: MmRef, address: number, segments: number): Op<number> {
  if (segments > UIO_MAXIOV) return -EINVAL;
  const iovec = segments > UIO_FASTIOV ? yield* kmalloc(Iovec.$type) : allocObject(Iovec.$type, Iovec.$size);
  if (iovec === 0) return -ENOMEM;
  const error = accessOk(mm, address, segments * 2 * pointerBytes()) ? yield* readIovec(mm, iovec, address, segments) : -EFAULT;
  if (segments > 0 && error !== 0) {
    freeIovec(iovec);
    return error;
  }
  set(iovec, Iovec.count, segments);
  return iovec;
}

/** The vector's buffers (struct iovec: an address and a length, each as wide as a pointer). A length is signed. */
function* readIovec(mm: MmRef, iovec: IovecRef, address: number, segments: number): Op<number> {
  const wide = pointerBytes();
  for (let i = 0; i < segments; i++) {
    const at = address + i * 2 * wide;
    const low = yield* getUserInt(mm, at + wide, 4);
    const high = wide === 8 ? yield* getUserInt(mm, at + wide + 4, 4) : 0;
    const base = yield* getUserInt(mm, at, wide);
    if (low < 0 || high < 0 || base < 0) return -EFAULT;
    if (high >= 2 ** 31 || (wide === 4 && low >= 2 ** 31)) return -EINVAL;
    set(iovec, Iovec.bases + i, base);
    set(iovec, Iovec.lengths + i, high * 2 ** 32 + low);
  }
  return 0;
}

/** import_iovec: a vector to iterate over, all of it in user space and no longer than one call may move. The same errors. */
export function* importIovec(mm: MmRef, address: number, segments: number): Op<number> {
  // The parameter has 32 bits.
  const iovec = yield* iovecFromUser(mm, address, segments < 2 ** 53 ? segments % 2 ** 32 : segments);
  if (iovec < 0) return iovec;
  const count = get(iovec, Iovec.count);
  const limit = maxRwCount();
  // A single buffer is cut before it is looked at.
  if (count === 1 && get(iovec, Iovec.lengths) > limit) set(iovec, Iovec.lengths, limit);
  let total = 0;
  for (let i = 0; i < count; i++) {
    const length = get(iovec, Iovec.lengths + i);
    if (!accessOk(mm, get(iovec, Iovec.bases + i), length)) {
      freeIovec(iovec);
      return -EFAULT;
    }
    if (length > limit - total) set(iovec, Iovec.lengths + i, limit - total);
    total += get(iovec, Iovec.lengths + i);
  }
  set(iovec, Iovec.left, total);
  return iovec;
}

/** Address of the next byte of the iterator, which has one; empty buffers are passed. */
export function iovecAddress(iovec: IovecRef): number {
  while (get(iovec, Iovec.offset) === get(iovec, Iovec.lengths + get(iovec, Iovec.segment))) {
    set(iovec, Iovec.segment, get(iovec, Iovec.segment) + 1);
    set(iovec, Iovec.offset, 0);
  }
  return get(iovec, Iovec.bases + get(iovec, Iovec.segment)) + get(iovec, Iovec.offset);
}

/** Bytes from there to the end of the buffer. */
export const iovecPart = (iovec: IovecRef): number => get(iovec, Iovec.lengths + get(iovec, Iovec.segment)) - get(iovec, Iovec.offset);

/** iov_iter_advance within a buffer. */
export function iovecAdvance(iovec: IovecRef, bytes: number): void {
  set(iovec, Iovec.offset, get(iovec, Iovec.offset) + bytes);
  set(iovec, Iovec.left, get(iovec, Iovec.left) - bytes);
}

/** copy_page_to_iter: bytes of a page into user memory; how many. */
export function* copyPageToIter(mm: MmRef, page: Page, offset: number, length: number, iovec: IovecRef): Op<number> {
  let done = 0;
  while (done < length && get(iovec, Iovec.left) > 0) {
    const to = iovecAddress(iovec);
    const part = Math.min(length - done, iovecPart(iovec));
    const missed = yield* copyToUser(mm, to, page, offset + done, part);
    iovecAdvance(iovec, part - missed);
    done += part - missed;
    if (missed > 0) break;
  }
  return done;
}

/** copy_page_from_iter: user memory into a page; how many bytes. */
export function* copyPageFromIter(mm: MmRef, page: Page, offset: number, length: number, iovec: IovecRef): Op<number> {
  let done = 0;
  while (done < length && get(iovec, Iovec.left) > 0) {
    const from = iovecAddress(iovec);
    const part = Math.min(length - done, iovecPart(iovec));
    const missed = yield* copyFromUser(mm, from, page, offset + done, part);
    iovecAdvance(iovec, part - missed);
    done += part - missed;
    if (missed > 0) break;
  }
  return done;
}
