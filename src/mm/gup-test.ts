/**
 * The ioctls of /sys/kernel/debug/gup_test (mm/gup_test.c), by which tests ask get_user_pages for their own pages: get and give back at once, or pin for long,
 * look at what a device would see, and let go.
 *
 * Invariants: what the first kind takes it has given back when it returns; one range at a time is pinned for long in the whole machine
 * (Globals.pinLongtermTest). A vector holds what one call takes: ranges have PAGE_VECTOR pages at most.
 */
import { KernelBug } from '../kernel/bug.ts';
import type { Op } from '../kernel/op.ts';
import { get, set, setFlags, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageFolio } from '../memory/folio.ts';
import { pagePincount, pageShift, setWord, wordShift } from '../memory/state.ts';
import { EFAULT, EINVAL, ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { getUserPages, pinUserPages } from './gup-calls.ts';
import { getUserPagesFast, pinUserPagesFast } from './gup-fast.ts';
import { folioIsLongtermPinnable, folioMarkDirtyLock, isZeroPage, putUserPages, unpinUserPages, unpinUserPagesDirtyLock } from './gup-pin.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE, freePageVector, PAGE_VECTOR, PageVector, type PageVectorRef } from './gup-types.ts';
import { mmapReadLock, mmapReadUnlock } from './mmap-lock.ts';
import { Globals, type MmRef, Process, type ProcessRef, type Vpn } from './types.ts';
import { copyToUser } from './uaccess.ts';

/** Commands, by the number in the ioctl. */
export const GUP_FAST_BENCHMARK = 1;
export const PIN_FAST_BENCHMARK = 2;
export const PIN_LONGTERM_BENCHMARK = 3;
export const GUP_BASIC_TEST = 4;
export const PIN_BASIC_TEST = 5;
export const DUMP_USER_PAGES_TEST = 6;

/** Of DUMP_USER_PAGES_TEST: pins instead of references. */
export const GUP_TEST_FLAG_DUMP_PAGES_USE_PIN = 1;
/** Of PIN_LONGTERM_TEST_START. */
export const PIN_LONGTERM_TEST_FLAG_USE_WRITE = 1;
export const PIN_LONGTERM_TEST_FLAG_USE_FAST = 2;

const pageSize = (): number => 2 ** pageShift;

// --- take and give back -----------------------------------------------------------------------------------------------------

const takesPins = (command: number, testFlags: number): boolean =>
  command === PIN_FAST_BENCHMARK ||
  command === PIN_LONGTERM_BENCHMARK ||
  command === PIN_BASIC_TEST ||
  (command === DUMP_USER_PAGES_TEST && (testFlags & GUP_TEST_FLAG_DUMP_PAGES_USE_PIN) !== 0);

const isFast = (command: number): boolean => command === GUP_FAST_BENCHMARK || command === PIN_FAST_BENCHMARK;

/**
 * GUP_FAST_BENCHMARK to DUMP_USER_PAGES_TEST: takes the pages of `size` bytes at an address, `perCall` at a time, and gives them back. How many were taken: fewer
 * where a call came short, whatever its error, which is not told (struct gup_test has no room for it); −EINVAL for no such command.
 */
export function* gupTest(
  process: ProcessRef,
  command: number,
  address: number,
  size: number,
  perCall: number,
  gupFlags: number,
  testFlags: number,
): Op<number> {
  const mm = get(process, Process.mm);
  const pages = Math.floor(size / pageSize());
  if (pages > PAGE_VECTOR) return -ENOMEM;
  if (command < GUP_FAST_BENCHMARK || command > DUMP_USER_PAGES_TEST) return -EINVAL;
  const vector = allocPageVector();
  if (!isFast(command)) yield* mmapReadLock(mm);
  const start = Math.floor(address / pageSize());
  let done = 0;
  while (done < pages) {
    const wanted = Math.min(perCall, pages - done);
    const got = yield* gupTestCall(command, mm, start + done, wanted, gupFlags, testFlags, vector);
    if (got <= 0) break;
    done += got;
    if (got !== wanted) break;
  }
  if (!isFast(command)) yield* mmapReadUnlock(mm);
  if (takesPins(command, testFlags)) {
    verifyDmaPinned(vector, command === PIN_LONGTERM_BENCHMARK);
    yield* unpinUserPages(vector, 0);
  } else yield* putUserPages(vector);
  freePageVector(vector);
  return done;
}

function* gupTestCall(command: number, mm: MmRef, vpn: Vpn, count: number, gupFlags: number, testFlags: number, vector: PageVectorRef): Op<number> {
  if (command === GUP_FAST_BENCHMARK) return yield* getUserPagesFast(mm, vpn, count, gupFlags, vector);
  if (command === PIN_FAST_BENCHMARK) return yield* pinUserPagesFast(mm, vpn, count, gupFlags, vector);
  if (command === PIN_LONGTERM_BENCHMARK) return yield* pinUserPages(mm, vpn, count, gupFlags | FOLL_LONGTERM, vector);
  if (takesPins(command, testFlags)) return yield* pinUserPages(mm, vpn, count, gupFlags, vector);
  return yield* getUserPages(mm, vpn, count, gupFlags, vector);
}

/** verify_dma_pinned. @throws {KernelBug} for a page that is not pinned, or pinned for long where it may not stay */
function verifyDmaPinned(vector: PageVectorRef, lasting: boolean): void {
  for (let i = 0; i < get(vector, PageVector.count); i++) {
    const page = get(vector, PageVector.pages + i);
    if (pagePincount[pageFolio(page)] === 0 && !isZeroPage(page)) throw new KernelBug('I1', `page ${page} is not pinned`);
    if (lasting && !folioIsLongtermPinnable(page)) throw new KernelBug('I5', `page ${page} is pinned for long where it may not stay`);
  }
}

// --- pinned for long --------------------------------------------------------------------------------------------------------

/** PIN_LONGTERM_TEST_START: pins `size` bytes at an address. 0; −EINVAL for bad arguments or while a range is pinned; the error of the call that failed. */
export function* pinLongtermTestStart(process: ProcessRef, address: number, size: number, flags: number): Op<number> {
  const mm = get(process, Process.mm);
  if (get(globals, Globals.pinLongtermTest) !== 0) return -EINVAL;
  if ((flags & ~(PIN_LONGTERM_TEST_FLAG_USE_WRITE | PIN_LONGTERM_TEST_FLAG_USE_FAST)) !== 0) return -EINVAL;
  if (address % pageSize() !== 0 || size % pageSize() !== 0 || size <= 0) return -EINVAL;
  const pages = size / pageSize();
  if (pages > PAGE_VECTOR) return -ENOMEM;
  const gupFlags = FOLL_LONGTERM | ((flags & PIN_LONGTERM_TEST_FLAG_USE_WRITE) !== 0 ? FOLL_WRITE : 0);
  const fast = (flags & PIN_LONGTERM_TEST_FLAG_USE_FAST) !== 0;
  const vector = allocPageVector();
  set(globals, Globals.pinLongtermTest, vector);
  if (!fast) yield* mmapReadLock(mm);
  let result = 0;
  while (result >= 0 && get(vector, PageVector.count) < pages) {
    const done = get(vector, PageVector.count);
    const vpn = address / pageSize() + done;
    result = fast ? yield* pinUserPagesFast(mm, vpn, pages - done, gupFlags, vector) : yield* pinUserPages(mm, vpn, pages - done, gupFlags, vector);
  }
  if (!fast) yield* mmapReadUnlock(mm);
  if (result >= 0) return 0;
  yield* pinLongtermTestStop();
  return result;
}

/** PIN_LONGTERM_TEST_STOP, and the end of the file: lets go of what is pinned. */
export function* pinLongtermTestStop(): Op<number> {
  const vector = get(globals, Globals.pinLongtermTest);
  if (vector === 0) return 0;
  set(globals, Globals.pinLongtermTest, 0);
  yield* unpinUserPages(vector, 0);
  freePageVector(vector);
  return 0;
}

/** PIN_LONGTERM_TEST_READ: what the pinned pages hold, to an address. 0; −EINVAL while nothing is pinned, −EFAULT. */
export function* pinLongtermTestRead(process: ProcessRef, address: number): Op<number> {
  const vector = get(globals, Globals.pinLongtermTest);
  if (vector === 0) return -EINVAL;
  for (let i = 0; i < get(vector, PageVector.count); i++)
    if ((yield* copyToUser(get(process, Process.mm), address + i * pageSize(), get(vector, PageVector.pages + i), 0, pageSize())) !== 0) return -EFAULT;
  return 0;
}

// --- what a device does -----------------------------------------------------------------------------------------------------

/** A device writes to the first word of each page that is pinned for it, and is done: the pages are dirty and let go (unpin_user_pages_dirty_lock). */
export function* deviceWrite(vector: PageVectorRef, value: number): Op<number> {
  const early = switched(SW.deviceDirtiesFirst);
  if (early) {
    for (let i = 0; i < get(vector, PageVector.count); i++) yield* folioMarkDirtyLock(get(vector, PageVector.pages + i));
    // The device gets to it when it does.
    yield* setFlags(get(vector, PageVector.pages), 0);
  }
  for (let i = 0; i < get(vector, PageVector.count); i++) setWord(get(vector, PageVector.pages + i) << wordShift, value);
  return yield* unpinUserPagesDirtyLock(vector, early ? 0 : 1);
}
