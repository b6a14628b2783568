/**
 * exec: a process goes on with another program in a new address space (fs/exec.c, mm/vma_exec.c).
 *
 * Invariants:
 * - the new address space is its maker's alone until exec_mmap() gives it to the process; the old one loses a user then, and lives on while others use it;
 * - address space and credentials change under `execUpdateLock`, held for writing from exec_mmap() to setup_new_exec(): who holds it sees both of
 *   one program;
 * - RLIMIT_STACK is read once, into the exec's own record: the size of arguments, the layout and the stack go by that, and finalize_exec() writes it
 *   back, so that the program finds the limit that it was laid out for;
 * - what fails before begin_new_exec() leaves the old program as it was; what fails later kills the process.
 *
 * What programs look like is binfmt-elf.ts's.
 */
import { codec } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { downWrite, get, kfree, kmalloc, readOnce, set, spinLock, spinUnlock, switched, upWrite } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { pageShift } from '../memory/state.ts';
import { userLimits } from '../pagetable/canonical.ts';
import { loadElfBinary } from './binfmt-elf.ts';
import { contextSwitch } from './context.ts';
import { E2BIG, EFAULT, ENOMEM, ENOSYS } from './errno.ts';
import { Bprm, type BprmRef, EXSTACK_DISABLE_X, EXSTACK_ENABLE_X } from './exec-types.ts';
import { filePut } from './file.ts';
import { inheritedFlags, VM_INIT_DEF_MASK } from './fork-mm.ts';
import { globals } from './globals.ts';
import { getUserPageRemote } from './gup.ts';
import { FOLL_WRITE } from './gup-types.ts';
import { MMF_PKEY_0 } from './mm-flags.ts';
import { mmapReadLock, mmapReadUnlock, mmapWriteDowngrade, mmapWriteLock, mmapWriteUnlock, vmaStartWrite } from './mmap-lock.ts';
import { tlbFinish, tlbGather } from './mmu-gather.ts';
import { movePageTables } from './move-page-tables.ts';
import { mprotectFixup } from './mprotect.ts';
import { openExec } from './open.ts';
import { freePgdRange } from './pgtable.ts';
import { mmAlloc, mmdrop, mmput, sysExit } from './process.ts';
import { expandDownwards, expandStackLocked, stackGrowsUp } from './stack.ts';
import { folioPut } from './swap.ts';
import { File, type FileRef, Globals, Inode, Mm, type MmRef, type Page, Process, type ProcessRef, Vma, type VmaRef, type Vpn } from './types.ts';
import { copyFromUser, getUserInt, pointerBytes, strnlenUser } from './uaccess.ts';
import { archPickMmapLayout, mmapMinAddr } from './unmapped-area.ts';
import { enoughMemory, RLIMIT_STACK } from './util.ts';
import {
  VM_ACCOUNT,
  VM_EXEC,
  VM_GROWSDOWN,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_READ,
  VM_SOFTDIRTY,
  VM_STACK_INCOMPLETE_SETUP,
  VM_WRITE,
} from './vm-flags.ts';
import { vmAreaAlloc, vmAreaFree, vmaLink, vmaSetRange, vmaShrink } from './vma.ts';
import { newVmg, vmaExpand } from './vma-merge.ts';
import { findVma } from './vma-tree.ts';
import { freeVmg, Vmg } from './vmg.ts';

/** _STK_LIM: the stack limit that programs are made for. */
const STK_LIM = 8 * 2 ** 20;
/** Bytes of strings that are always allowed. */
const ARG_MAX = 131072;
/** Pages of one string, its end included, at most (MAX_ARG_STRLEN). */
const MAX_ARG_PAGES = 32;
/** Room below the arguments that a stack begins with, bytes. */
const STACK_EXPAND = 131072;
const S_ISUID = 0o4000;
const SIGSEGV = 11;

/** VM_STACK_FLAGS of a process whose data is not executable. */
const VM_STACK_FLAGS = VM_GROWSDOWN | VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_ACCOUNT;

/** Families whose STACK_TOP_MAX is the end of user space, and STACK_TOP that of the default window. */
const STACK_TOP_AT_END = ['x86', 'riscv', 'powerpc'];

/** STACK_TOP, a page number. */
const stackTop = (): Vpn => Math.floor(userLimits(codec.mode).stackTop / 2 ** pageShift);

/** STACK_TOP_MAX, a page number. */
function stackTopMax(): Vpn {
  const limits = userLimits(codec.mode);
  return Math.floor((STACK_TOP_AT_END.includes(codec.mode.family) ? limits.taskSize : limits.stackTop) / 2 ** pageShift);
}

// --- the exec's record ------------------------------------------------------------------------------------------------------

/**
 * alloc_bprm with bprm_mm_init: a new address space with a stack of one page, and the stack limit that counts from here on. The record, which takes over
 * the reference to `file`, or −ENOMEM with it dropped.
 */
export function* allocBprm(process: ProcessRef, file: FileRef, secure: number): Op<number> {
  const bprm = yield* kmalloc(Bprm.$type);
  if (bprm === 0) {
    if (file !== 0) yield* filePut(file);
    return -ENOMEM;
  }
  set(bprm, Bprm.process, process);
  set(bprm, Bprm.file, file);
  set(bprm, Bprm.secure, secure);
  const error = yield* bprmMmInit(bprm);
  if (error === 0) return bprm;
  yield* freeBprm(bprm);
  return error;
}

/** bprm_mm_init: 0 or −ENOMEM, with no address space then. */
function* bprmMmInit(bprm: BprmRef): Op<number> {
  const process = get(bprm, Bprm.process);
  const mm = yield* mmAlloc(process);
  if (mm === 0) return -ENOMEM;
  mmInitFrom(mm, get(process, Process.mm));
  yield* readStackLimit(bprm);
  const error = yield* createInitStackVma(bprm, mm);
  if (error !== 0) {
    yield* mmdrop(mm);
    return error;
  }
  set(bprm, Bprm.mm, mm);
  return 0;
}

/** Takes RLIMIT_STACK into the record. */
function* readStackLimit(bprm: BprmRef): Op<number> {
  const process = get(bprm, Bprm.process);
  yield* spinLock(process + Process.allocLock);
  set(bprm, Bprm.stackSoft, get(process, Process.rlimitCur + RLIMIT_STACK));
  set(bprm, Bprm.stackHard, get(process, Process.rlimitMax + RLIMIT_STACK));
  yield* spinUnlock(process + Process.allocLock);
  return 0;
}

/** mm_init: what a new address space has in common with the one that its process has now. Keys of pages are allocated anew. */
function mmInitFrom(mm: MmRef, old: MmRef): void {
  set(mm, Mm.flags, inheritedFlags(get(old, Mm.flags)) & ~MMF_PKEY_0);
  set(mm, Mm.defFlags, get(old, Mm.defFlags) & VM_INIT_DEF_MASK);
  set(mm, Mm.taskSize, get(old, Mm.taskSize));
  set(mm, Mm.mapWindow, get(old, Mm.mapWindow));
}

/** create_init_stack_vma: one page of stack at the highest place. 0 or −ENOMEM. */
function* createInitStackVma(bprm: BprmRef, mm: MmRef): Op<number> {
  const vma = yield* vmAreaAlloc(mm);
  if (vma === 0) return -ENOMEM;
  const top = stackTopMax();
  yield* mmapWriteLock(mm);
  vmaSetRange(vma, top - 1, top, top - 1);
  const softDirty = get(globals, Globals.softDirty) !== 0 ? VM_SOFTDIRTY : 0;
  set(vma, Vma.flags, softDirty | VM_STACK_FLAGS | VM_STACK_INCOMPLETE_SETUP);
  // insert_vm_struct
  const error = yield* enoughMemory(mm, 1);
  if (error === 0) {
    yield* vmaLink(mm, vma);
    set(mm, Mm.stackVm, 1);
    set(mm, Mm.totalVm, 1);
  }
  yield* mmapWriteUnlock(mm);
  if (error !== 0) {
    yield* vmAreaFree(vma);
    return error;
  }
  set(bprm, Bprm.vma, vma);
  set(bprm, Bprm.shift, top - stackTop());
  set(bprm, Bprm.p, stackTop() * 2 ** pageShift - pointerBytes());
  return 0;
}

/** free_bprm. */
export function* freeBprm(bprm: BprmRef): Op<number> {
  yield* dropKept(bprm);
  if (get(bprm, Bprm.mm) !== 0) yield* mmput(get(bprm, Bprm.mm));
  if (get(bprm, Bprm.file) !== 0) yield* filePut(get(bprm, Bprm.file));
  return yield* kfree(Bprm.$type, bprm);
}

// --- arguments --------------------------------------------------------------------------------------------------------------

/**
 * bprm_stack_limits: how low strings may come: a quarter of the stack limit, 6 MiB at most and 128 KiB at least, less the pointers to them that the
 * program will be given. 0 or −E2BIG.
 */
function bprmStackLimits(bprm: BprmRef): number {
  const soft = get(bprm, Bprm.stackSoft);
  set(get(bprm, Bprm.mm), Mm.execArgumentLimit, soft);
  const quarter = soft < 0 ? Infinity : Math.floor(soft / 4);
  const limit = Math.max(Math.min((STK_LIM / 4) * 3, quarter), ARG_MAX);
  const pointers = (Math.max(get(bprm, Bprm.argc), 1) + get(bprm, Bprm.envc)) * pointerBytes();
  if (limit <= pointers) return -E2BIG;
  set(bprm, Bprm.argmin, get(bprm, Bprm.p) - (limit - pointers));
  return 0;
}

/** count: strings of a vector that ends with a null pointer, in the old program's memory; −EFAULT. */
function* countStrings(mm: MmRef, vector: number): Op<number> {
  if (vector === 0) return 0;
  const size = pointerBytes();
  for (let i = 0; ; i++) {
    const string = yield* getUserInt(mm, vector + i * size, size);
    if (string < 0) return -EFAULT;
    if (string === 0) return i;
  }
}

function* dropKept(bprm: BprmRef): Op<number> {
  const page = get(bprm, Bprm.keptPage);
  if (page !== 0) yield* folioPut(page);
  set(bprm, Bprm.keptPage, 0);
  set(bprm, Bprm.keptVpn, 0);
  return 0;
}

/** get_arg_page: a page of the new stack, which grows down to it, referenced; 0 where it cannot be had. */
function* getArgPage(bprm: BprmRef, vpn: Vpn): Op<Page> {
  const mm = get(bprm, Bprm.mm);
  const vma = get(bprm, Bprm.vma);
  if (vpn < get(vma, Vma.start)) {
    yield* mmapWriteLock(mm);
    if ((yield* expandDownwards(vma, vpn, 0)) !== 0) {
      yield* mmapWriteUnlock(mm);
      return 0;
    }
    yield* mmapWriteDowngrade(mm);
  } else yield* mmapReadLock(mm);
  const page = yield* getUserPageRemote(mm, vpn, FOLL_WRITE);
  yield* mmapReadUnlock(mm);
  return page < 0 ? 0 : page;
}

/** A page of the new stack by its number in the end, kept until another one is needed; 0 where it cannot be had. */
function* keptPage(bprm: BprmRef, vpn: Vpn): Op<Page> {
  if (get(bprm, Bprm.keptPage) !== 0 && get(bprm, Bprm.keptVpn) === vpn) return get(bprm, Bprm.keptPage);
  yield* dropKept(bprm);
  const page = yield* getArgPage(bprm, vpn + get(bprm, Bprm.shift));
  set(bprm, Bprm.keptPage, page);
  set(bprm, Bprm.keptVpn, vpn);
  return page;
}

/** Copies one string of the old program onto the new stack, from its end on. 0, −E2BIG, −EFAULT. */
function* copyString(bprm: BprmRef, from: number): Op<number> {
  const mm = get(get(bprm, Bprm.process), Process.mm);
  const size = 2 ** pageShift;
  const most = MAX_ARG_PAGES * size;
  let left = yield* strnlenUser(mm, from, most);
  if (left === 0) return -EFAULT;
  if (left > most) return -E2BIG;
  let at = get(bprm, Bprm.p);
  set(bprm, Bprm.p, at - left);
  if (get(bprm, Bprm.p) < get(bprm, Bprm.argmin)) return -E2BIG;
  while (left > 0) {
    const vpn = Math.ceil(at / size) - 1;
    const part = Math.min(left, at - vpn * size);
    at -= part;
    left -= part;
    const page = yield* keptPage(bprm, vpn);
    if (page === 0) return -E2BIG;
    if ((yield* copyFromUser(mm, from + left, page, at - vpn * size, part)) !== 0) return -EFAULT;
  }
  return 0;
}

/** copy_strings: the strings of a vector, the last first. 0 or an error. */
function* copyStrings(bprm: BprmRef, count: number, vector: number): Op<number> {
  const mm = get(get(bprm, Bprm.process), Process.mm);
  const size = pointerBytes();
  for (let i = count - 1; i >= 0; i--) {
    const string = yield* getUserInt(mm, vector + i * size, size);
    if (string < 0) return -EFAULT;
    const error = yield* copyString(bprm, string);
    if (error !== 0) return error;
  }
  return 0;
}

/** What do_execveat_common() puts onto the stack before the program is looked at: its name, environment, arguments. 0 or an error. */
function* copyArguments(bprm: BprmRef, path: number, argv: number, envp: number): Op<number> {
  const mm = get(get(bprm, Bprm.process), Process.mm);
  const argc = yield* countStrings(mm, argv);
  if (argc < 0) return argc;
  const envc = yield* countStrings(mm, envp);
  if (envc < 0) return envc;
  set(bprm, Bprm.argc, argc);
  set(bprm, Bprm.envc, envc);
  let error = bprmStackLimits(bprm);
  if (error === 0) error = yield* copyString(bprm, path);
  if (error === 0) error = yield* copyStrings(bprm, envc, envp);
  if (error === 0) error = yield* copyStrings(bprm, argc, argv);
  if (error === 0 && argc === 0) error = yield* copyEmptyString(bprm);
  yield* dropKept(bprm);
  return error;
}

/** A program without arguments is given an empty one, as nobody looks whether there is any. The stack's pages come with zeroes. */
function* copyEmptyString(bprm: BprmRef): Op<number> {
  set(bprm, Bprm.p, get(bprm, Bprm.p) - 1);
  set(bprm, Bprm.argc, 1);
  if (get(bprm, Bprm.p) < get(bprm, Bprm.argmin)) return -E2BIG;
  return (yield* keptPage(bprm, Math.floor(get(bprm, Bprm.p) / 2 ** pageShift))) === 0 ? -E2BIG : 0;
}

/** The same for `bytes` bytes of strings that say nothing. */
function* reserveArguments(bprm: BprmRef, bytes: number): Op<number> {
  set(bprm, Bprm.argc, 1);
  let error = bprmStackLimits(bprm);
  const size = 2 ** pageShift;
  const end = get(bprm, Bprm.p);
  const start = end - bytes;
  set(bprm, Bprm.p, start);
  if (error === 0 && start < get(bprm, Bprm.argmin)) error = -E2BIG;
  for (let vpn = Math.ceil(end / size) - 1; error === 0 && bytes > 0 && vpn >= Math.floor(start / size); vpn--)
    if ((yield* keptPage(bprm, vpn)) === 0) error = -E2BIG;
  yield* dropKept(bprm);
  return error;
}

// --- commit -----------------------------------------------------------------------------------------------------------------

/** exec_mmap: the process has the new address space from here on, and one user less has the old one. Leaves `execUpdateLock` held for writing. */
function* execMmap(bprm: BprmRef): Op<number> {
  const process = get(bprm, Bprm.process);
  const mm = get(bprm, Bprm.mm);
  const old = get(process, Process.mm);
  yield* downWrite(process + Process.execUpdateLock);
  yield* mmapReadLock(old);
  yield* spinLock(process + Process.allocLock);
  set(process, Process.mm, mm);
  // activate_mm
  yield* contextSwitch(mm);
  yield* spinUnlock(process + Process.allocLock);
  yield* mmapReadUnlock(old);
  set(bprm, Bprm.mm, 0);
  return yield* mmput(old);
}

/** begin_new_exec: there is no way back. Address space, then credentials. Descriptors stay: none is closed on exec here. */
export function* beginNewExec(bprm: BprmRef): Op<number> {
  const process = get(bprm, Bprm.process);
  set(bprm, Bprm.committed, 1);
  yield* execMmap(bprm);
  if (get(bprm, Bprm.secure) !== 0) {
    // The one who started it does not decide how much stack a program with more rights has.
    const soft = get(bprm, Bprm.stackSoft);
    if (soft < 0 || soft > STK_LIM) set(bprm, Bprm.stackSoft, STK_LIM);
    // commit_creds
    set(process, Process.capsLow, -1);
    set(process, Process.capsHigh, 0x1ff);
  }
  return 0;
}

/** setup_new_exec: the layout, by the limit that the arguments were measured by; others may look at the process again. */
export function* setupNewExec(bprm: BprmRef): Op<number> {
  const process = get(bprm, Bprm.process);
  if (switched(SW.execStackLimitReread)) yield* readStackLimit(bprm);
  archPickMmapLayout(get(process, Process.mm), get(bprm, Bprm.stackSoft), stackTop());
  return yield* upWrite(process + Process.execUpdateLock);
}

/** finalize_exec: the process has the stack limit that it was laid out for. */
export function* finalizeExec(bprm: BprmRef): Op<number> {
  const process = get(bprm, Bprm.process);
  yield* spinLock(process + Process.allocLock);
  set(process, Process.rlimitCur + RLIMIT_STACK, get(bprm, Bprm.stackSoft));
  set(process, Process.rlimitMax + RLIMIT_STACK, get(bprm, Bprm.stackHard));
  return yield* spinUnlock(process + Process.allocLock);
}

// --- the stack --------------------------------------------------------------------------------------------------------------

/** setup_arg_pages: the stack goes to where the program is to have it, gets its final rights and some room. 0, −ENOMEM, −EFAULT. */
export function* setupArgPages(bprm: BprmRef): Op<number> {
  const mm = get(get(bprm, Bprm.process), Process.mm);
  const vma = get(bprm, Bprm.vma);
  const size = 2 ** pageShift;
  const top = stackTop();
  // Without the lock, as Linux does it: whoever may look at the process since setup_new_exec() can let the stack grow, which harms nobody here.
  const pages = (yield* readOnce(vma, Vma.end)) - (yield* readOnce(vma, Vma.start));
  if (pages >= top - Math.ceil(mmapMinAddr() / size)) return -ENOMEM;
  yield* mmapWriteLock(mm);
  let error = yield* finishStack(bprm, mm, vma, get(bprm, Bprm.shift));
  if (error === 0) {
    const soft = get(bprm, Bprm.stackSoft);
    const limit = soft < 0 ? Infinity : Math.floor(soft / size) * size;
    const room = Math.min(limit, (get(vma, Vma.end) - get(vma, Vma.start)) * size + STACK_EXPAND);
    set(mm, Mm.startStack, get(bprm, Bprm.p));
    // A limit below what the arguments take already makes no stack smaller.
    if ((yield* expandStackLocked(vma, get(vma, Vma.end) - Math.floor(room / size), 0)) !== 0) error = -EFAULT;
  }
  yield* mmapWriteUnlock(mm);
  return error;
}

/** Rights and place of the stack, under the mmap lock. 0 or an error. */
function* finishStack(bprm: BprmRef, mm: MmRef, vma: VmaRef, shift: number): Op<number> {
  const executable = get(bprm, Bprm.executableStack);
  let flags = VM_STACK_FLAGS | get(mm, Mm.defFlags) | VM_STACK_INCOMPLETE_SETUP;
  if (executable === EXSTACK_ENABLE_X) flags |= VM_EXEC;
  else if (executable === EXSTACK_DISABLE_X) flags &= ~VM_EXEC;
  const tlb = yield* tlbGather(mm);
  const changed = yield* mprotectFixup(tlb, vma, 0, get(vma, Vma.start), get(vma, Vma.end), flags);
  yield* tlbFinish(tlb);
  if (changed < 0) return changed;
  const error = shift === 0 ? 0 : yield* relocateVmaDown(vma, shift);
  if (error !== 0) return error;
  // vm_flags_clear
  yield* vmaStartWrite(vma);
  set(vma, Vma.flags, get(vma, Vma.flags) & ~VM_STACK_INCOMPLETE_SETUP);
  return 0;
}

/**
 * relocate_vma_down: moves the new stack `shift` pages down: the VMA covers both places while entries move. Offsets in the object stay what they were, so
 * rmap finds the pages at their places all the time.
 */
function* relocateVmaDown(vma: VmaRef, shift: number): Op<number> {
  const mm = get(vma, Vma.mm);
  const oldStart = get(vma, Vma.start);
  const oldEnd = get(vma, Vma.end);
  const newStart = oldStart - shift;
  const newEnd = oldEnd - shift;
  const pgoff = get(vma, Vma.pgoff);
  if (findVma(mm, newStart) !== vma) return -EFAULT;
  const vmg = newVmg(mm, 0, get(vma, Vma.next), newStart, oldEnd, get(vma, Vma.flags), pgoff);
  set(vmg, Vmg.target, vma);
  const expanded = yield* vmaExpand(vmg);
  freeVmg(vmg);
  if (expanded !== 0) return -ENOMEM;
  const pages = oldEnd - oldStart;
  if ((yield* movePageTables(vma, oldStart, vma, newStart, pages, 0)) !== pages) return -ENOMEM;
  const next = get(vma, Vma.next);
  const ceiling = next === 0 ? Infinity : get(next, Vma.start);
  const tlb = yield* tlbGather(mm);
  yield* freePgdRange(tlb, mm, newEnd > oldStart ? newEnd : oldStart, oldEnd, newEnd, ceiling);
  yield* tlbFinish(tlb);
  yield* vmaShrink(vma, newStart, newEnd, pgoff);
  return 0;
}

// --- system calls -----------------------------------------------------------------------------------------------------------

/** The end of an exec: nothing is kept; a process that can neither go on nor return dies as of SIGSEGV. The result of the call. */
function* endExec(bprm: BprmRef, error: number): Op<number> {
  const process = get(bprm, Bprm.process);
  const committed = get(bprm, Bprm.committed);
  yield* freeBprm(bprm);
  if (error !== 0 && committed !== 0) yield* sysExit(process, SIGSEGV);
  return error;
}

/**
 * execve(2): `path`, and vectors of strings, in the memory of the old program. 0 or −errno; once the old program is gone a failure ends the process. The caller is the
 * only thread of its process.
 */
export function* sysExecve(process: ProcessRef, path: number, argv: number, envp: number): Op<number> {
  if (stackGrowsUp()) return -ENOSYS;
  const file = yield* openExec(process, path);
  if (file < 0) return file;
  const secure = (get(get(file, File.inode), Inode.mode) & S_ISUID) !== 0 ? 1 : 0;
  const bprm = yield* allocBprm(process, file, secure);
  if (bprm < 0) return bprm;
  let error = yield* copyArguments(bprm, path, argv, envp);
  if (error === 0) error = yield* loadElfBinary(bprm);
  return yield* endExec(bprm, error);
}

/**
 * The same for a program without file and segments, whose arguments take so many bytes; `secure` is 1 for one that gains rights. For whoever asks what
 * exec does to an address space and nothing else.
 */
export function* execProgram(process: ProcessRef, argumentBytes: number, secure: number): Op<number> {
  if (stackGrowsUp()) return -ENOSYS;
  const bprm = yield* allocBprm(process, 0, secure);
  if (bprm < 0) return bprm;
  let error = yield* reserveArguments(bprm, argumentBytes);
  if (error === 0) {
    yield* beginNewExec(bprm);
    yield* setupNewExec(bprm);
    error = yield* setupArgPages(bprm);
  }
  if (error === 0) yield* finalizeExec(bprm);
  return yield* endExec(bprm, error);
}
