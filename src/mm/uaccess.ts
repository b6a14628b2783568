/**
 * User memory as the kernel reaches it for a system call (copy_from_user, copy_to_user, get_user, put_user): through the caller's own page
 * tables, with the faults that the caller's access would take.
 *
 * Invariant: nothing is kept over a fault; a page that `userPage` returned may be used until the next operation.
 */
import { codec } from '../kernel/arch.ts';
import { ACCESS_READ, ACCESS_WRITE, mmuAccess } from '../kernel/mmu.ts';
import type { Op } from '../kernel/op.ts';
import { get } from '../kernel/ops.ts';
import { bytes, pageShift, setByte } from '../memory/state.ts';
import { EFAULT } from './errno.ts';
import { kernelFault } from './fault.ts';
import { Mm, type MmRef, type Page, type Vpn } from './types.ts';

/** The page of RAM behind a user page, faulted in for an access (ACCESS_READ, ACCESS_WRITE); 0 when the access is not allowed. */
export function* userPage(mm: MmRef, vpn: Vpn, access: number): Op<number> {
  for (;;) {
    const page = mmuAccess(get(mm, Mm.pgd), vpn, access);
    if (page !== 0) return page;
    if ((yield* kernelFault(mm, vpn, access)) !== 0) return 0;
  }
}

/** Copies bytes from one user address space place to a page of RAM; returns the bytes that could not be copied. */
export function* copyFromUser(mm: MmRef, from: number, page: Page, offset: number, length: number): Op<number> {
  let done = 0;
  while (done < length) {
    const address = from + done;
    const vpn = Math.floor(address / 2 ** pageShift);
    const inPage = address - vpn * 2 ** pageShift;
    const part = Math.min(length - done, 2 ** pageShift - inPage);
    const source = yield* userPage(mm, vpn, ACCESS_READ);
    if (source === 0) return length - done;
    copyBytes(byteOf(page, offset + done), byteOf(source, inPage), part);
    done += part;
  }
  return 0;
}

/** Copies bytes of a page of RAM into user memory; returns the bytes that could not be copied. */
export function* copyToUser(mm: MmRef, to: number, page: Page, offset: number, length: number): Op<number> {
  let done = 0;
  while (done < length) {
    const address = to + done;
    const vpn = Math.floor(address / 2 ** pageShift);
    const inPage = address - vpn * 2 ** pageShift;
    const part = Math.min(length - done, 2 ** pageShift - inPage);
    const target = yield* userPage(mm, vpn, ACCESS_WRITE);
    if (target === 0) return length - done;
    copyBytes(byteOf(target, inPage), byteOf(page, offset + done), part);
    done += part;
  }
  return 0;
}

/** clear_user: zeroes user memory; returns the bytes that could not be. */
export function* clearUser(mm: MmRef, to: number, length: number): Op<number> {
  let done = 0;
  while (done < length) {
    const address = to + done;
    const vpn = Math.floor(address / 2 ** pageShift);
    const inPage = address - vpn * 2 ** pageShift;
    const part = Math.min(length - done, 2 ** pageShift - inPage);
    const target = yield* userPage(mm, vpn, ACCESS_WRITE);
    if (target === 0) return length - done;
    fillBytes(byteOf(target, inPage), 0, part);
    done += part;
  }
  return 0;
}

/** put_user of one byte: 0 or −EFAULT. */
export function* putUserByte(mm: MmRef, to: number, value: number): Op<number> {
  const vpn = Math.floor(to / 2 ** pageShift);
  const page = yield* userPage(mm, vpn, ACCESS_WRITE);
  if (page === 0) return -EFAULT;
  setByte(byteOf(page, to - vpn * 2 ** pageShift), value);
  return 0;
}

/** get_user of one byte: its value or −EFAULT. */
export function* getUserByte(mm: MmRef, from: number): Op<number> {
  const vpn = Math.floor(from / 2 ** pageShift);
  const page = yield* userPage(mm, vpn, ACCESS_READ);
  if (page === 0) return -EFAULT;
  return bytes[byteOf(page, from - vpn * 2 ** pageShift)];
}

/**
 * get_user of a little-endian integer of up to 8 bytes as a number (values of 2^53 and more are rounded), or −EFAULT. Pointers and lengths of
 * arguments in memory come this way.
 */
export function* getUserInt(mm: MmRef, from: number, size: number): Op<number> {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) {
    const byte = yield* getUserByte(mm, from + i);
    if (byte < 0) return -EFAULT;
    value = value * 256 + byte;
  }
  return value;
}

/** strnlen_user: bytes of a string with its end; 0 where it cannot be read, more than `most` when it is longer. */
export function* strnlenUser(mm: MmRef, from: number, most: number): Op<number> {
  const size = 2 ** pageShift;
  let done = 0;
  while (done < most) {
    const vpn = Math.floor((from + done) / size);
    const page = yield* userPage(mm, vpn, ACCESS_READ);
    if (page === 0) return 0;
    const offset = from + done - vpn * size;
    const part = Math.min(size - offset, most - done);
    const length = bytes.subarray(byteOf(page, offset), byteOf(page, offset + part)).indexOf(0);
    if (length >= 0) return done + length + 1;
    done += part;
  }
  return most + 1;
}

/** Bytes of a pointer. */
export const pointerBytes = (): number => (codec.mode.vaBits > 32 ? 8 : 4);

/** put_user of a little-endian integer (0 ≤ value < 2^53): 0 or −EFAULT. */
export function* putUserInt(mm: MmRef, to: number, value: number, size: number): Op<number> {
  let rest = value;
  for (let i = 0; i < size; i++) {
    if ((yield* putUserByte(mm, to + i, rest % 256)) !== 0) return -EFAULT;
    rest = Math.floor(rest / 256);
  }
  return 0;
}

/** Byte address in RAM of a place in a page. */
export const byteOf = (page: Page, offset: number): number => page * 2 ** pageShift + offset;

/**
 * Copies within RAM, upwards. Where ranges overlap one sees in which portions: fewer than 64 bytes go by 8 and the rest one by one
 * (arch/x86/lib/copy_user_64.S), more by the processor's string instruction, which moves 16 at a time on the processor of the recordings.
 */
export function copyBytes(to: number, from: number, length: number): void {
  let i = 0;
  if (to > from && to - from < 16) {
    const portion = length < 64 ? 8 : 16;
    for (; i + portion <= length; i += portion) copyPortion(to + i, from + i, portion);
    if (length >= 64) {
      copyPortion(to + i, from + i, length - i);
      return;
    }
  }
  for (; i < length; i++) setByte(to + i, bytes[from + i]);
}

/** Bytes that are all read before one is written, to a higher address: downwards this is the same. */
function copyPortion(to: number, from: number, length: number): void {
  for (let i = length - 1; i >= 0; i--) setByte(to + i, bytes[from + i]);
}

export function fillBytes(at: number, value: number, length: number): void {
  for (let i = 0; i < length; i++) setByte(at + i, value);
}
