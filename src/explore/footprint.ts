/**
 * What an operation touches: places of memory, and how. From it follows which operations of different tasks may be exchanged without anybody noticing.
 *
 * A place is a slot of the heap, a word of RAM, a column of a page, or something that stands for many (translations of CPUs, the free lists of a CPU). How a
 * place is touched is its kind: reads go with reads, additions that nobody reads with additions; taking a lock goes with releasing it,
 * since who waits sees neither. `CLASH` tells which kinds do not go together.
 *
 * Invariants: what a footprint was computed from is part of it, so that whoever changes that clashes. What is told here is all that other tasks can notice of an operation, but for plain accesses under guards (kernel/guards.ts proves that whoever
 * touches such a field holds the lock, so that locks keep those apart) and for the addresses of what is allocated. An operation that is not known
 * touches everything (`EVERYTHING`).
 */
import { entryAt, loadEntry, pageOfEntry, tableLevel, topLevel } from '../kernel/arch.ts';
import { armedFailures } from '../kernel/effects.ts';
import type { HardwareKind } from '../kernel/hardware.ts';
import { leafPage } from '../kernel/mmu.ts';
import * as ops from '../kernel/ops.ts';
import { Cpu, cpuOf, HW_WALK_CACHES, KernelState, kernelState, RcuHead, Task, type TaskRef } from '../kernel/task.ts';
import { tlbFind } from '../kernel/tlb.ts';
import { peekPage } from '../memory/buddy.ts';
import { nextPage, pageFolio } from '../memory/folio.ts';
import { get } from '../memory/heap.ts';
import { PG_TABLE } from '../memory/page-flags.ts';
import { ARRAY, GROUP_BYTES, heap, pageOfPfn, pageShift, peekObject, wordShift } from '../memory/state.ts';
import { layouts } from '../memory/struct.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_GROUP, PTE_PRESENT, PTE_TABLE } from '../pagetable/canonical.ts';

/** Ways to touch a place. */
export const READ = 0;
export const WRITE = 1;
/** A change whose result nobody is told: it goes with others of its kind. */
export const ADD = 2;
export const TAKE_SHARED = 3;
export const TAKE = 4;
export const DROP_SHARED = 5;
export const DROP = 6;
/** Attempts, which see whether a lock is held. */
export const TRY_SHARED = 7;
export const TRY = 8;
export const KINDS = 9;

const bits = (...kinds: number[]): number => kinds.reduce((set, kind) => set | (1 << kind), 0);
const ANY = (1 << KINDS) - 1;

/**
 * Kinds of others' touches over which an operation cannot be moved to the left: to right behind what its task did before. Releases move over
 * whatever waits for them; nobody else sees them but who tries, or reads the word itself.
 */
export const CLASH: readonly number[] = [];
const clash = CLASH as number[];
clash[READ] = ANY & ~bits(READ);
clash[WRITE] = ANY;
clash[ADD] = ANY & ~bits(ADD);
clash[TAKE_SHARED] = bits(READ, WRITE, ADD, TAKE, TRY);
clash[TAKE] = bits(READ, WRITE, ADD, TAKE_SHARED, TAKE, TRY_SHARED, TRY);
clash[DROP_SHARED] = bits(READ, WRITE, ADD, TRY);
clash[DROP] = bits(READ, WRITE, ADD, TRY_SHARED, TRY);
clash[TRY_SHARED] = bits(READ, WRITE, ADD, TAKE, DROP, TRY);
clash[TRY] = ANY;

// --- places -----------------------------------------------------------------------------------------------------------------

const SPAN = 2 ** 32;
const HEAP = ARRAY.heap * SPAN;
const WORDS = ARRAY.words * SPAN;
const FLAGS = ARRAY.flags * SPAN;
const REFCOUNT = ARRAY.refcount * SPAN;
const MAPCOUNT = ARRAY.mapcount * SPAN;
const MAPPING = ARRAY.mapping * SPAN;
const PRIVATE = ARRAY.private * SPAN;
/** What the CPU of a number translates. */
export const TLB = 32 * SPAN;
/** Who reads under RCU. */
const RCU = 33 * SPAN;
/** Free pages of a CPU. */
const LISTS = 34 * SPAN;
/** Free pages of zones. */
const ZONES = 35 * SPAN;
/** Whether a page is a page table. */
const TABLE = 36 * SPAN;
/** PG_locked of a page: apart from the other flags, whose readers do not ask for it. */
const FOLIO = 37 * SPAN;

/** Objects above this size have no shared words: their first slot stands for them. */
const LARGE = 512;

/** What the task at hand is on, and what is known. */
export interface Surroundings {
  /** Numbers of tasks that share their CPU with others, as bits. */
  readonly crowded: number;
  /** CPUs whose translations are filled in, as far as is known: where none is, a flush does nothing. */
  readonly filled: number;
  readonly ipis: boolean;
}

/** The footprint that was computed last: places and kinds up to `count`. */
export const footprint = {
  places: new Float64Array(1 << 12),
  kinds: new Uint8Array(1 << 12),
  count: 0,
  /** It touches whatever there is, or may not be moved for a reason of its own. */
  everything: false,
  pinned: false,
};

function touch(place: number, kind: number): void {
  const { count } = footprint;
  if (count === footprint.places.length) {
    footprint.everything = true;
    return;
  }
  footprint.places[count] = place;
  footprint.kinds[count] = kind;
  footprint.count = count + 1;
}

export function clearFootprint(): void {
  footprint.count = 0;
  footprint.everything = false;
  footprint.pinned = false;
}

/** An object is freed, or made. */
function touchObject(ref: number, size: number): void {
  const end = size > LARGE ? 1 : size;
  for (let i = 0; i < end; i++) touch(HEAP + ref + i, WRITE);
}

/** A block of pages comes from the allocator or goes to it. */
function touchPages(page: number, order: number): void {
  // Pages of larger blocks are not numbered one after the other.
  if (1 << order > GROUP_BYTES >> pageShift) footprint.everything = true;
  for (let p = page; p < page + (1 << order); p++) {
    for (const column of [FLAGS, REFCOUNT, MAPCOUNT, MAPPING, PRIVATE, TABLE, FOLIO]) touch(column + p, WRITE);
    touch(WORDS + (p << wordShift), WRITE);
  }
}

const touchLock = (lock: number, kind: number): void => touch(lock > 0 ? HEAP + lock : PRIVATE - lock, kind);

function touchTlbs(filled: number, kind: number): void {
  for (let cpu = 0; filled >>> cpu !== 0; cpu++) if (((filled >>> cpu) & 1) !== 0) touch(TLB + cpu, kind);
}

function touchEntry(at: number, kind: number): void {
  touch(WORDS + at, kind);
  touch(TABLE + pageOfEntry(at), READ);
}

/** Entries on the way to a page's, and what a walk that uses it does to the last: it sets bits of it, and touches the page (`content`: how, −1 not at all). */
function touchWalk(cpu: number, mm: number, pgd: number, vpn: number, used: number, content: number): void {
  let table = pgd;
  for (let level = topLevel; level > 0; level--) {
    const at = entryAt(table, level, vpn);
    touchEntry(at, READ);
    const entry = loadEntry(at, level);
    if ((entry & PTE_TABLE) === 0) {
      if (entry === 0) return;
      if ((entry & used) !== used) touchEntry(at, WRITE);
      if (content >= 0 && (entry & PTE_PRESENT) !== 0) touch(WORDS + (leafPage(entry, level, vpn) << wordShift), content);
      return;
    }
    table = pageOfPfn((entry - (entry & 0xfffff)) / 1048576);
    if ((entry & PTE_GROUP) !== 0) {
      touchLeaf(table, tableLevel(entry, level), vpn, used, content);
      return;
    }
  }
  touchLeaf(table, 0, vpn, used, content);
  // From tables that it remembers a CPU goes on without looking above.
  if ((heap[kernelState() + KernelState.hardware] & HW_WALK_CACHES) === 0) return;
  for (let i = get(cpu, Cpu.count) - 1; i >= 0; i--)
    if (get(cpu, Cpu.mms + i) === mm && get(cpu, Cpu.tables + i) !== 0) touchLeaf(get(cpu, Cpu.tables + i), 0, vpn, used, content);
}

function touchLeaf(table: number, level: number, vpn: number, used: number, content: number): void {
  const at = entryAt(table, level, vpn);
  const entry = loadEntry(at, level);
  touchEntry(at, entry !== 0 && (entry & used) !== used ? WRITE : READ);
  // What is not present names no frame: to look for it would back one.
  if (content >= 0 && (entry & PTE_PRESENT) !== 0) touch(WORDS + (leafPage(entry, level, vpn) << wordShift), content);
}

function touchUser(task: TaskRef, mm: number, pgd: number, vpn: number, used: number, content: number): void {
  const cpu = get(task, Task.cpu);
  touch(TLB + get(cpu, Cpu.number), WRITE);
  const held = tlbFind(cpu, mm, vpn);
  if (held >= 0) touch(WORDS + (get(cpu, Cpu.pages + held) << wordShift), content);
  touchWalk(cpu, mm, pgd, vpn, used, content);
}

/** What is freed when the last reader leaves. */
function touchFreedBy(readers: (bits: number) => boolean, filled: number): void {
  for (let head = get(kernelState(), KernelState.rcu); head !== 0; head = get(head, RcuHead.next))
    if (readers(get(head, RcuHead.readers))) {
      touchTlbs(filled, READ);
      touchPages(get(head, RcuHead.page), get(head, RcuHead.order));
    }
}

const touchFailures = (): void => {
  const slot = armedFailures();
  if (slot !== 0) touch(HEAP + slot, WRITE);
};

// --- operations -------------------------------------------------------------------------------------------------------------

type Touches = (a: number, b: number, c: number, d: number, task: TaskRef, where: Surroundings) => void;

const known = new Map<number, Touches>();
const tells = ({ code }: { readonly code: number }, touches: Touches): void => {
  known.set(code, touches);
};

/** Whoever cannot be preempted keeps other tasks off its CPU: that is seen by those. */
function pinOn(task: TaskRef, { crowded }: Surroundings): void {
  if (((crowded >>> get(task, Task.number)) & 1) !== 0) footprint.pinned = true;
}

tells(ops.spinLock, (lock, _b, _c, _d, task, where) => {
  touchLock(lock, TAKE);
  pinOn(task, where);
});
tells(ops.spinTrylock, (lock, _b, _c, _d, task, where) => {
  touchLock(lock, TRY);
  pinOn(task, where);
});
tells(ops.spinUnlock, (lock) => touchLock(lock, DROP));
tells(ops.downRead, (sem) => touchLock(sem, TAKE_SHARED));
tells(ops.downReadTrylock, (sem) => touchLock(sem, TRY_SHARED));
tells(ops.upRead, (sem) => touchLock(sem, DROP_SHARED));
tells(ops.downWrite, (sem) => touchLock(sem, TAKE));
tells(ops.downWriteTrylock, (sem) => touchLock(sem, TRY));
tells(ops.upWrite, (sem) => touchLock(sem, DROP));
tells(ops.downgradeWrite, (sem) => touchLock(sem, DROP));
tells(ops.folioLock, (page) => touch(FOLIO + page, TAKE));
tells(ops.folioTrylock, (page) => touch(FOLIO + page, TRY));
tells(ops.folioWaitLocked, (page) => touch(FOLIO + page, TAKE));
tells(ops.folioUnlock, (page) => touch(FOLIO + page, DROP));
tells(ops.vmaReadTrylock, (vma, count) => touch(HEAP + vma + count, TRY_SHARED));
tells(ops.vmaReadUnlock, (vma, count) => touch(HEAP + vma + count, DROP_SHARED));
tells(ops.localIrqDisable, (_a, _b, _c, _d, task, where) => {
  pinOn(task, where);
  if (where.ipis) footprint.pinned = true;
  touch(RCU, TAKE_SHARED);
});
tells(ops.localIrqEnable, (_a, _b, _c, _d, task, { filled }) => {
  touch(RCU, DROP_SHARED);
  const own = 1 << get(task, Task.number);
  if (get(task, Task.irqsOff) === 1 && get(task, Task.rcuDepth) === 0) touchFreedBy((readers) => readers === own, filled);
});
tells(ops.syncInterrupts, () => touch(RCU, WRITE));

tells(ops.readOnce, (ref, field) => touch(HEAP + ref + field, READ));
tells(ops.waitFor, (ref, field) => touch(HEAP + ref + field, READ));
for (const op of [ops.writeOnce, ops.atomicAdd, ops.cmpxchg]) tells(op, (ref, field) => touch(HEAP + ref + field, WRITE));
for (const op of [ops.refAdd, ops.refFreeze, ops.refGetUnlessZero]) tells(op, (page) => touch(REFCOUNT + page, WRITE));
for (const op of [ops.mapcountAdd, ops.entireMapcountAdd])
  tells(op, (page) => {
    // The counts of all parts of a folio stand for each other.
    const folio = pageFolio(page);
    touch(MAPCOUNT + folio, WRITE);
    // Only a page that is in use may be mapped.
    touch(REFCOUNT + folio, READ);
  });
tells(ops.mappingGet, (page) => touch(MAPPING + page, READ));
tells(ops.mappingSet, (page) => touch(MAPPING + page, WRITE));
for (const op of [ops.setFlags, ops.clearFlags])
  tells(op, (page, flags, count) => {
    touch(FLAGS + page, WRITE);
    for (let i = 1; i < count; i++) touch(FLAGS + nextPage(page, i), WRITE);
    if ((flags & PG_TABLE) !== 0) touch(TABLE + page, WRITE);
  });

tells(ops.entryGet, (at) => touchEntry(at, READ));
for (const op of [ops.entrySet, ops.entryGetAndClear, ops.entryClearBits]) tells(op, (at) => touchEntry(at, WRITE));

for (const op of [ops.kmalloc, ops.kmallocNowait])
  tells(op, (type, _b, _c, _d, task) => {
    touchFailures();
    touchObject(peekObject(type, get(task, Task.number)), layouts[type].size);
  });
tells(ops.kfree, (type, ref) => touchObject(ref, layouts[type].size));
tells(ops.allocPage, (gfp, order, _c, _d, task) => {
  const cpu = get(get(task, Task.cpu), Cpu.number);
  touchFailures();
  touch(LISTS + cpu, WRITE);
  const page = order === 0 ? peekPage(gfp, cpu) : 0;
  if (page !== 0) touchPages(page, order);
  // Out of the lists that all CPUs share: which page it will be hangs on the others.
  else touch(ZONES, WRITE);
});
tells(ops.freePage, (page, order, _c, _d, task, { filled }) => {
  touch(LISTS + get(get(task, Task.cpu), Cpu.number), WRITE);
  if (order > 0) touch(ZONES, WRITE);
  touchTlbs(filled, READ);
  touchPages(page, order);
});

for (const op of [ops.flushTlbRange, ops.flushTlbMm])
  tells(op, (_mm, _start, _end, _d, _task, { filled, ipis }) => {
    touchTlbs(filled, ADD);
    if (ipis) footprint.pinned = true;
  });

tells(ops.rcuReadLock, () => touch(RCU, TAKE_SHARED));
tells(ops.rcuReadUnlock, (_a, _b, _c, _d, task, { filled }) => {
  touch(RCU, DROP_SHARED);
  const own = 1 << get(task, Task.number);
  if (get(task, Task.rcuDepth) === 1 && get(task, Task.irqsOff) === 0) touchFreedBy((readers) => readers === own, filled);
});
tells(ops.callRcuFreeTable, (page, order, _c, _d, task, { filled }) => {
  touch(RCU, WRITE);
  touch(LISTS + get(get(task, Task.cpu), Cpu.number), WRITE);
  if (order > 0) touch(ZONES, WRITE);
  touchTlbs(filled, READ);
  touchPages(page, order);
});

tells(ops.userLoad, (mm, pgd, vpn, _d, task) => touchUser(task, mm, pgd, vpn, PTE_ACCESSED, READ));
tells(ops.userStore, (mm, pgd, vpn, _d, task) => touchUser(task, mm, pgd, vpn, PTE_ACCESSED | PTE_DIRTY, WRITE));

/** The footprint of what a task has announced (of its call's beginning, when that is what comes). */
export function footprintOfTask(task: TaskRef, where: Surroundings): void {
  clearFootprint();
  const code = get(task, Task.code);
  // A call that begins notes which translations there are.
  if (code === 0) {
    touchTlbs(where.filled, WRITE);
    return;
  }
  const touches = known.get(code);
  if (touches === undefined) footprint.everything = true;
  else touches(get(task, Task.a), get(task, Task.b), get(task, Task.c), get(task, Task.d), task, where);
}

/** The footprint of an action of hardware. `page`: what is read ahead of time, when it is that. */
export function footprintOfHardware(
  what: { readonly kind: HardwareKind; readonly cpu: number; readonly vpn: number },
  pgd: (mm: number) => number,
  where: Surroundings,
): void {
  clearFootprint();
  const { kind, cpu, vpn } = what;
  if (kind === 'callback') {
    touch(RCU, WRITE);
    touch(ZONES, WRITE);
    touchFreedBy((readers) => readers === 0, where.filled);
    return;
  }
  if (kind === 'drain') footprint.everything = true;
  touch(TLB + cpu, WRITE);
  if (kind !== 'speculate') return;
  const mm = get(cpuOf(cpu), Cpu.mm);
  touchWalk(cpuOf(cpu), mm, pgd(mm), vpn, PTE_ACCESSED, -1);
}
