/**
 * Programs: how an ELF file becomes an address space (fs/binfmt_elf.c).
 *
 * One kind of file in every paging mode: ELF64, little-endian, ET_EXEC, without an interpreter, its program headers in the first page. There is no vdso, and the
 * auxiliary vector is empty.
 *
 * Invariant: the file is looked at in full before the old program goes; afterwards only want of memory, or a range that cannot be mapped, ends it.
 */
import type { Op } from '../kernel/op.ts';
import { allocPage, get, set, writeOnce } from '../kernel/ops.ts';
import { __GFP_ZERO, GFP_KERNEL } from '../memory/gfp.ts';
import { bytes, pageShift } from '../memory/state.ts';
import { vmBrkFlags } from './brk.ts';
import { EFAULT, EINVAL, ENOEXEC, ENOMEM } from './errno.ts';
import { beginNewExec, finalizeExec, setupArgPages, setupNewExec } from './exec.ts';
import { Bprm, type BprmRef, EXSTACK_DEFAULT, EXSTACK_DISABLE_X, EXSTACK_ENABLE_X } from './exec-types.ts';
import { MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE } from './mman.ts';
import { vmMmapPgoff } from './mmap.ts';
import { mmapWriteLock, mmapWriteUnlock } from './mmap-lock.ts';
import { kernelReadPage } from './read-write.ts';
import { findExtendVmaLocked } from './stack.ts';
import { folioPut } from './swap.ts';
import { Mm, type MmRef, type Page, Process } from './types.ts';
import { byteOf, clearUser, pointerBytes, putUserInt, strnlenUser } from './uaccess.ts';
import { VM_EXEC } from './vm-flags.ts';

const ET_EXEC = 2;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_GNU_STACK = 0x6474e551;
const PF_X = 1;
const PF_W = 2;
const PF_R = 4;
const PHDR_BYTES = 56;

// --- the file's headers, in a page of the kernel's ------------------------------------------------------------------------

/** A little-endian number of up to 8 bytes of the page that holds the headers. */
function field(page: Page, offset: number, size: number): number {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + bytes[byteOf(page, offset + i)];
  return value;
}

/** Where program header i stands. */
const headerAt = (page: Page, i: number): number => field(page, 32, 8) + i * PHDR_BYTES;
const headers = (page: Page): number => field(page, 56, 2);
const typeOf = (page: Page, at: number): number => field(page, at, 4);
const flagsOf = (page: Page, at: number): number => field(page, at + 4, 4);
const offsetOf = (page: Page, at: number): number => field(page, at + 8, 8);
const addressOf = (page: Page, at: number): number => field(page, at + 16, 8);
const fileBytes = (page: Page, at: number): number => field(page, at + 32, 8);
const memoryBytes = (page: Page, at: number): number => field(page, at + 40, 8);

/** Whether a page begins a program that can be run. */
function isProgram(page: Page): boolean {
  // 7f 'E' 'L' 'F', 64 bits, little-endian.
  if (field(page, 0, 4) !== 0x464c457f || field(page, 4, 2) !== 0x0102) return false;
  if (field(page, 16, 2) !== ET_EXEC || field(page, 54, 2) !== PHDR_BYTES || headers(page) === 0) return false;
  if (headerAt(page, headers(page)) > 2 ** pageShift) return false;
  for (let i = 0; i < headers(page); i++) if (typeOf(page, headerAt(page, i)) === PT_INTERP) return false;
  return true;
}

/** What PT_GNU_STACK says of the stack (EXSTACK_*). */
function stackRights(page: Page): number {
  let rights = EXSTACK_DEFAULT;
  for (let i = 0; i < headers(page); i++)
    if (typeOf(page, headerAt(page, i)) === PT_GNU_STACK) rights = (flagsOf(page, headerAt(page, i)) & PF_X) !== 0 ? EXSTACK_ENABLE_X : EXSTACK_DISABLE_X;
  return rights;
}

// --- loading ----------------------------------------------------------------------------------------------------------------

/** load_elf_binary: 0 or an error; Bprm.committed tells whether the old program is gone. */
export function* loadElfBinary(bprm: BprmRef): Op<number> {
  const page = yield* allocPage(GFP_KERNEL | __GFP_ZERO, 0);
  if (page === 0) return -ENOMEM;
  let error = yield* kernelReadPage(get(bprm, Bprm.file), 0, page, get(get(bprm, Bprm.process), Process.mm));
  if (error === 0 && !isProgram(page)) error = -ENOEXEC;
  if (error === 0) {
    set(bprm, Bprm.executableStack, stackRights(page));
    yield* beginNewExec(bprm);
    yield* setupNewExec(bprm);
    error = yield* setupArgPages(bprm);
  }
  if (error === 0) error = yield* loadSegments(bprm, page);
  yield* folioPut(page);
  if (error === 0) error = yield* createElfTables(bprm);
  if (error === 0) yield* finalizeExec(bprm);
  return error;
}

/** All PT_LOAD, then the heap behind them. 0 or an error. */
function* loadSegments(bprm: BprmRef, page: Page): Op<number> {
  const mm = get(get(bprm, Bprm.process), Process.mm);
  const size = 2 ** pageShift;
  const taskSize = get(mm, Mm.taskSize) * size;
  let first = MAP_FIXED_NOREPLACE;
  let brk = 0;
  let startData = 0;
  let endData = 0;
  for (let i = 0; i < headers(page); i++) {
    const at = headerAt(page, i);
    if (typeOf(page, at) !== PT_LOAD) continue;
    const error = yield* loadSegment(bprm, mm, page, at, first);
    if (error !== 0) return error;
    first = MAP_FIXED;
    const address = addressOf(page, at);
    const inMemory = memoryBytes(page, at);
    if (address >= taskSize || fileBytes(page, at) > inMemory || inMemory > taskSize || taskSize - inMemory < address) return -EINVAL;
    startData = Math.max(startData, address);
    endData = Math.max(endData, address + fileBytes(page, at));
    brk = Math.max(brk, address + inMemory);
  }
  set(mm, Mm.dataBytes, endData - startData);
  // Nobody takes the lock for these: only who shows them looks.
  yield* writeOnce(mm, Mm.startBrk, Math.ceil(brk / size) * size);
  yield* writeOnce(mm, Mm.brk, Math.ceil(brk / size) * size);
  return 0;
}

/** elf_load: the part that is in the file, mapped; zeroes for the rest of its last page, and memory behind it. 0 or an error. */
function* loadSegment(bprm: BprmRef, mm: MmRef, page: Page, at: number, fixed: number): Op<number> {
  const size = 2 ** pageShift;
  const flags = flagsOf(page, at);
  const address = addressOf(page, at);
  const inFile = fileBytes(page, at);
  const inMemory = memoryBytes(page, at);
  const offset = address % size;
  const prot = ((flags & PF_R) !== 0 ? PROT_READ : 0) | ((flags & PF_W) !== 0 ? PROT_WRITE : 0) | ((flags & PF_X) !== 0 ? PROT_EXEC : 0);
  let zeroes = address - offset;
  if (inFile > 0) {
    const position = offsetOf(page, at) - offset;
    if (position % size !== 0) return -EINVAL;
    const mapped = yield* vmMmapPgoff(mm, get(bprm, Bprm.file), address - offset, inFile + offset, prot, MAP_PRIVATE | fixed, position / size);
    if (mapped < 0) return mapped;
    zeroes = address + inFile;
    if (inMemory > inFile) {
      const rest = zeroes % size === 0 ? 0 : size - (zeroes % size);
      // Code that is not written may end in whatever the file goes on with.
      if (rest > 0 && (yield* clearUser(mm, zeroes, rest)) !== 0 && (flags & PF_W) !== 0) return -EFAULT;
    }
  }
  if (inMemory <= inFile) return 0;
  const from = Math.ceil(zeroes / size);
  return yield* vmBrkFlags(mm, from, Math.ceil((address + inMemory) / size) - from, (flags & PF_X) !== 0 ? VM_EXEC : 0);
}

// --- what the program finds on its stack ----------------------------------------------------------------------------------

/** Writes pointers to `count` strings that follow each other from `string` on, and a null pointer; the place behind the last string, or −EFAULT. */
function* putPointers(mm: MmRef, at: number, count: number, string: number): Op<number> {
  const size = pointerBytes();
  let next = string;
  for (let i = 0; i < count; i++) {
    if ((yield* putUserInt(mm, at + i * size, next, size)) !== 0) return -EFAULT;
    const length = yield* strnlenUser(mm, next, 32 * 2 ** pageShift);
    if (length === 0) return -EFAULT;
    next += length;
  }
  return (yield* putUserInt(mm, at + count * size, 0, size)) !== 0 ? -EFAULT : next;
}

/** create_elf_tables: the number of arguments, pointers to them and to the environment, the end of an empty auxiliary vector. 0 or −EFAULT. */
function* createElfTables(bprm: BprmRef): Op<number> {
  const mm = get(get(bprm, Bprm.process), Process.mm);
  const size = pointerBytes();
  const strings = get(bprm, Bprm.p);
  const argc = get(bprm, Bprm.argc);
  const envc = get(bprm, Bprm.envc);
  const words = 1 + (argc + 1) + (envc + 1) + 2;
  const sp = Math.floor((Math.floor(strings / 16) * 16 - words * size) / 16) * 16;
  set(bprm, Bprm.p, sp);
  yield* mmapWriteLock(mm);
  const vma = yield* findExtendVmaLocked(mm, Math.floor(sp / 2 ** pageShift));
  yield* mmapWriteUnlock(mm);
  if (vma === 0) return -EFAULT;
  if ((yield* putUserInt(mm, sp, argc, size)) !== 0) return -EFAULT;
  const environment = yield* putPointers(mm, sp + size, argc, strings);
  if (environment < 0) return environment;
  const end = yield* putPointers(mm, sp + (argc + 2) * size, envc, environment);
  if (end < 0) return end;
  for (let i = 0; i < 2; i++) if ((yield* putUserInt(mm, sp + (argc + envc + 3 + i) * size, 0, size)) !== 0) return -EFAULT;
  yield* writeOnce(mm, Mm.startStack, sp);
  return 0;
}
