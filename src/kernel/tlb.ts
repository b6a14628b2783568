/**
 * Translations that CPUs hold, and how kernel code gets rid of them.
 *
 * Two kinds of CPUs. A machine's soft TLB is a table of tags and page addresses which emulated CPUs look into before they ask the mm
 * (machine/soft-tlb.ts tells their layout); whoever owns one registers to hear of every flush. The CPUs of tasks (task.ts) have a list of
 * translations in the heap, which the scheduler fills at any moment from the tables as they stand, as hardware may, and which nothing but a flush empties.
 *
 * Invariants (I3, I4): when a page or a table goes to the allocator no CPU holds a translation to it or through it.
 */
import { get, set } from '../memory/heap.ts';
import { PG_TABLE } from '../memory/page-flags.ts';
import { heap, pageFlags, pageOfPfn, pfnOfPage, setSlot } from '../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_EXEC, PTE_GROUP, PTE_HUGE, PTE_PRESENT, PTE_PROTNONE, PTE_READ, PTE_TABLE, PTE_WRITE } from '../pagetable/canonical.ts';
import { entryAt, loadEntry, pageOfEntry, storeEntry, tableEntries, tableLevel, topLevel } from './arch.ts';
import { KernelBug } from './bug.ts';
import { leafPage } from './mmu.ts';
import {
  Cpu,
  type CpuRef,
  firstCpu,
  HW_CACHED_REFUSALS,
  HW_WALK_CACHES,
  KernelState,
  kernelState,
  LAZY,
  LAZY_UNKNOWN,
  ownCpu,
  running,
  Task,
  TLB_ENTRIES,
} from './task.ts';

type Flusher = (mm: number, start: number, end: number) => void;

let flusher: Flusher | undefined;

/** The mounted machine's soft TLB; called with vpns [start, end) of an address space whose translations must go. */
export const mountTlb = (next: Flusher | undefined): void => {
  flusher = next;
};

/** Who hears of the translations that CPUs of tasks take up (a check of runs: what came before a call must be gone after it); undefined for nobody. */
export let fillWatch: ((cpu: number, mm: number, vpn: number) => void) | undefined;
export const watchFills = (watch: typeof fillWatch): void => {
  fillWatch = watch;
};

// --- flushes ----------------------------------------------------------------------------------------------------------------

/** flush_tlb_range: no CPU translates a page of [start, end) of the address space any longer. */
export function flushTlbRange(mm: number, start: number, end: number): number {
  flusher?.(mm, start, end);
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) flushCpu(cpu, mm, start, end);
  return 0;
}

/** flush_tlb_mm: the whole address space. */
export function flushTlbMm(mm: number): number {
  return flushTlbRange(mm, 0, Number.MAX_SAFE_INTEGER);
}

/** What one CPU forgets: translations of the range, and which tables any others came through (INVLPG and its like drop all of those). */
export function flushCpu(cpu: CpuRef, mm: number, start: number, end: number): void {
  const lazy = get(cpu, Cpu.mm) === mm ? get(cpu, Cpu.lazy) : 0;
  if (lazy === LAZY_UNKNOWN) return;
  const tag = asidsOn() ? tagOf(mm) : 0;
  for (let i = get(cpu, Cpu.count) - 1; i >= 0; i--) {
    if (tag === 0 ? get(cpu, Cpu.mms + i) !== mm : get(cpu, Cpu.tags + i) !== tag) continue;
    const vpn = get(cpu, Cpu.vpns + i);
    if (get(cpu, Cpu.pages + i) === 0 || (vpn >= start && vpn < end)) dropEntry(cpu, i);
    else set(cpu, Cpu.tables + i, 0);
  }
  // A lazy CPU does not need these tables: it goes over to the kernel's instead of keeping up (flush_tlb_func).
  if (lazy === LAZY) leaveTables(cpu, mm);
}

/** A CPU has only the kernel's tables loaded, and forgets all of an address space. */
function leaveTables(cpu: CpuRef, mm: number): void {
  for (let i = get(cpu, Cpu.count) - 1; i >= 0; i--) if (get(cpu, Cpu.mms + i) === mm) dropEntry(cpu, i);
  set(cpu, Cpu.mm, 0);
  set(cpu, Cpu.pgd, 0);
  set(cpu, Cpu.tag, 0);
}

/** Removes a translation; the list keeps its order, so that equal contents are equal memory. */
function dropEntry(cpu: CpuRef, at: number): void {
  const last = get(cpu, Cpu.count) - 1;
  for (const column of [Cpu.mms, Cpu.vpns, Cpu.pages, Cpu.bits, Cpu.tables, Cpu.older, Cpu.tags]) {
    for (let i = at; i < last; i++) setSlot(cpu + column + i, heap[cpu + column + i + 1]);
    setSlot(cpu + column + last, 0);
  }
  set(cpu, Cpu.count, last);
}

/** A CPU forgets its i-th translation, as it may at any time. */
export function evict(cpu: CpuRef, i: number): void {
  dropEntry(cpu, i);
}

/** A flush is sent to every other CPU; each does it when it takes the interrupt (`takeIpi`), the sender waits for all (`ipisDone`). */
export function sendIpis(mm: number, start: number, end: number): void {
  const own = running === 0 ? 0 : ownCpu();
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) {
    if (cpu === own || get(cpu, Cpu.device) !== 0) continue;
    set(cpu, Cpu.ipi, heap[running + Task.number] + 1);
    set(cpu, Cpu.ipiMm, mm);
    set(cpu, Cpu.ipiStart, start);
    set(cpu, Cpu.ipiEnd, end);
  }
}

/** No CPU is still asked by another to flush: only then may the next one ask. */
export function ipisIdle(): boolean {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) if (get(cpu, Cpu.ipi) !== 0) return false;
  return true;
}

/** A CPU takes the interrupt. */
export function takeIpi(cpu: CpuRef): void {
  flushCpu(cpu, get(cpu, Cpu.ipiMm), get(cpu, Cpu.ipiStart), get(cpu, Cpu.ipiEnd));
  for (const field of [Cpu.ipi, Cpu.ipiMm, Cpu.ipiStart, Cpu.ipiEnd]) set(cpu, field, 0);
}

// --- address spaces of CPUs -------------------------------------------------------------------------------------------------

/** Tag (number of the ASID) of an address space, 0 when it has none: told by whoever knows mm_struct (mm/context-id.ts). */
let tagOf: (mm: number) => number = () => 0;
export const tagBy = (next: typeof tagOf): void => {
  tagOf = next;
};

/** Whether translations are tagged by ASIDs. */
const asidsOn = (): boolean => kernelState() !== 0 && heap[kernelState() + KernelState.asids] !== 0;

/**
 * The running task's CPU loads a top table (cpu_switch_mm, a write to CR3): 0, 0 for the kernel's tables alone. Without ASIDs its TLB is empty then.
 *
 * @throws {KernelBug} I4 when it still has translations of another address space under this tag
 */
export function loadPgd(mm: number, pgd: number, tag: number): number {
  if (running === 0) return 0;
  const cpu = ownCpu();
  if (!asidsOn()) while (get(cpu, Cpu.count) > 0) dropEntry(cpu, get(cpu, Cpu.count) - 1);
  else
    for (let i = get(cpu, Cpu.count) - 1; i >= 0 && tag !== 0; i--)
      if (get(cpu, Cpu.tags + i) === tag && get(cpu, Cpu.mms + i) !== mm)
        throw new KernelBug('I4', `CPU ${get(cpu, Cpu.number)} loads mm ${mm} with ASID ${tag}, under which ${placeOf(cpu, i)}`);
  set(cpu, Cpu.mm, mm);
  set(cpu, Cpu.pgd, pgd);
  set(cpu, Cpu.tag, tag);
  set(cpu, Cpu.lazy, 0);
  return 0;
}

/** enter_lazy_tlb: the running task's CPU goes on with tables that its task does not need. `kind`: LAZY_. */
export function borrowPgd(pgd: number, kind: number): number {
  if (running === 0) return 0;
  set(ownCpu(), Cpu.pgd, pgd);
  set(ownCpu(), Cpu.lazy, kind);
  return 0;
}

/** local_flush_tlb_all: the running task's CPU forgets everything. */
export function localFlushTlbAll(): number {
  if (running === 0) return 0;
  const cpu = ownCpu();
  while (get(cpu, Cpu.count) > 0) dropEntry(cpu, get(cpu, Cpu.count) - 1);
  return 0;
}

/** Adds to a counter of the address space that the running task's CPU has loaded, which its task keeps from going; that address space, 0 for none. */
export function loadedAdd(field: number, delta: number): number {
  const mm = running === 0 ? 0 : get(ownCpu(), Cpu.mm);
  if (mm !== 0) setSlot(mm + field, heap[mm + field] + delta);
  return mm;
}

/** An address space is gone. CPUs that were given it at the beginning, and never asked for it, have nothing loaded then. */
export function forgetSpace(mm: number): void {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) if (get(cpu, Cpu.mm) === mm && get(cpu, Cpu.pgd) === 0) set(cpu, Cpu.mm, 0);
}

/** Whether a translation is of no use to its CPU any more: under a tag that is not loaded, with a flush to come before any other is. */
export const isDead = (cpu: CpuRef, i: number): boolean => heap[cpu + Cpu.flushPending] !== 0 && heap[cpu + Cpu.tags + i] !== heap[cpu + Cpu.tag];

/** Whether a translation serves an address space on its CPU. */
const serves = (cpu: CpuRef, i: number, mm: number): boolean => (asidsOn() ? get(cpu, Cpu.tags + i) === get(cpu, Cpu.tag) : get(cpu, Cpu.mms + i) === mm);

// --- filling ----------------------------------------------------------------------------------------------------------------

/** The translation that a CPU holds for a page, −1 for none. */
export function tlbFind(cpu: CpuRef, mm: number, vpn: number): number {
  for (let i = get(cpu, Cpu.count) - 1; i >= 0; i--) if (get(cpu, Cpu.pages + i) !== 0 && get(cpu, Cpu.vpns + i) === vpn && serves(cpu, i, mm)) return i;
  return -1;
}

/** Level of the table that the last walk ended at: above the lowest where a huge page is mapped. */
let walkLevel = 0;

function mustBeTable(table: number, vpn: number): void {
  if ((pageFlags[table] & PG_TABLE) === 0)
    throw new KernelBug('I3', `a CPU walks through page ${table} for vpn 0x${vpn.toString(16)}, which is no page table (any longer)`);
}

/** The table whose entry translates a page: of the lowest level, or one above that maps a huge page; 0 where one is missing. Sets `walkLevel`. */
function lowestTable(pgd: number, vpn: number): number {
  let table = pgd;
  for (let level = topLevel; level > 0; level--) {
    mustBeTable(table, vpn);
    const entry = loadEntry(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) === 0) {
      walkLevel = level;
      return (entry & (PTE_PRESENT | PTE_HUGE)) === (PTE_PRESENT | PTE_HUGE) ? table : 0;
    }
    table = pageOfPfn((entry - (entry & 0xfffff)) / 1048576);
    if ((entry & PTE_GROUP) !== 0) {
      mustBeTable(table, vpn);
      walkLevel = tableLevel(entry, level);
      return table;
    }
  }
  walkLevel = 0;
  return table;
}

/** Where a CPU begins to walk: at a table that it remembers to have come through for this region, where it keeps such, else at the top. */
function walkTable(cpu: CpuRef, mm: number, pgd: number, vpn: number): number {
  walkLevel = 0;
  if ((heap[kernelState() + KernelState.hardware] & HW_WALK_CACHES) !== 0) {
    const span = tableEntries(0);
    const region = Math.floor(vpn / span);
    for (let i = get(cpu, Cpu.count) - 1; i >= 0; i--)
      if (serves(cpu, i, mm) && get(cpu, Cpu.tables + i) !== 0 && Math.floor(get(cpu, Cpu.vpns + i) / span) === region) return get(cpu, Cpu.tables + i);
  }
  return lowestTable(pgd, vpn);
}

function remember(cpu: CpuRef, mm: number, vpn: number, page: number, bits: number, table: number): void {
  for (let i = 0; i < get(cpu, Cpu.count); i++)
    if (serves(cpu, i, mm) && get(cpu, Cpu.vpns + i) === vpn && (get(cpu, Cpu.pages + i) === 0) === (page === 0)) {
      dropEntry(cpu, i);
      break;
    }
  if (page !== 0) fillWatch?.(cpu, mm, vpn);
  // A full TLB forgets the oldest.
  if (get(cpu, Cpu.count) === TLB_ENTRIES) dropEntry(cpu, 0);
  const at = get(cpu, Cpu.count);
  set(cpu, Cpu.mms + at, mm);
  set(cpu, Cpu.vpns + at, vpn);
  set(cpu, Cpu.pages + at, page);
  set(cpu, Cpu.bits + at, bits);
  set(cpu, Cpu.tables + at, table);
  set(cpu, Cpu.tags + at, get(cpu, Cpu.tag));
  set(cpu, Cpu.count, at + 1);
}

/**
 * The hardware of a CPU walks the tables for a page, without being asked (speculation): it keeps what it finds, be it the table alone. Sets the accessed
 * bit, and the dirty bit never: only a store that happens does that. Whether it learned anything new.
 */
export function speculate(cpu: CpuRef, mm: number, pgd: number, vpn: number): boolean {
  if (tlbFind(cpu, mm, vpn) >= 0) return false;
  const table = walkTable(cpu, mm, pgd, vpn);
  if (table === 0) return false;
  const ptep = entryAt(table, walkLevel, vpn);
  const entry = loadEntry(ptep, walkLevel);
  if ((entry & (PTE_READ | PTE_WRITE | PTE_EXEC)) === 0 || (entry & PTE_PROTNONE) !== 0) {
    if (walkLevel > 0) return false;
    for (let i = 0; i < get(cpu, Cpu.count); i++) if (serves(cpu, i, mm) && get(cpu, Cpu.tables + i) === table) return false;
    remember(cpu, mm, vpn, 0, 0, table);
    return true;
  }
  if ((entry & PTE_ACCESSED) === 0) storeEntry(ptep, walkLevel, entry + PTE_ACCESSED);
  remember(cpu, mm, vpn, leafPage(entry, walkLevel, vpn), entry & (PTE_READ | PTE_WRITE | PTE_EXEC | PTE_DIRTY), walkLevel > 0 ? 0 : table);
  return true;
}

/** Whether that would learn nothing, and set no bit. */
export function speculatesInVain(cpu: CpuRef, mm: number, pgd: number, vpn: number): boolean {
  if ((heap[kernelState() + KernelState.hardware] & HW_WALK_CACHES) !== 0) return false;
  let table = pgd;
  for (let level = topLevel; level > 0; level--) {
    if ((pageFlags[table] & PG_TABLE) === 0) return false;
    const entry = loadEntry(entryAt(table, level, vpn), level);
    if ((entry & PTE_TABLE) === 0) return entry === 0;
    if ((entry & PTE_GROUP) !== 0) return false;
    table = pageOfPfn((entry - (entry & 0xfffff)) / 1048576);
  }
  const entry = loadEntry(entryAt(table, 0, vpn), 0);
  if ((entry & (PTE_READ | PTE_WRITE | PTE_EXEC)) !== 0 && (entry & PTE_PROTNONE) === 0) return false;
  for (let i = 0; i < get(cpu, Cpu.count); i++) if (serves(cpu, i, mm) && get(cpu, Cpu.tables + i) === table) return true;
  return false;
}

const NEEDED = [PTE_READ, PTE_WRITE, PTE_EXEC];

/**
 * A load, store or fetch of user code on a CPU: the page, by its own translation or by a walk; 0 for a fault. A first store through a clean
 * translation walks again to set the dirty bit, which fails when the entry has changed its mind (as x86 does).
 */
export function userAccess(cpu: CpuRef, mm: number, pgd: number, vpn: number, access: number): number {
  if (asidsOn() && get(cpu, Cpu.mm) !== mm) throw new Error(`user code of mm ${mm} runs on a CPU that has mm ${get(cpu, Cpu.mm)} loaded`);
  const at = tlbFind(cpu, mm, vpn);
  if (at >= 0) {
    const bits = get(cpu, Cpu.bits + at);
    if ((bits & NEEDED[access]) !== 0 && (access !== 1 || (bits & PTE_DIRTY) !== 0)) return get(cpu, Cpu.pages + at);
    if ((bits & NEEDED[access]) === 0 && (get(kernelState(), KernelState.hardware) & HW_CACHED_REFUSALS) !== 0) return 0;
    // The entry is read again before a fault is raised.
    dropEntry(cpu, at);
  }
  const table = walkTable(cpu, mm, pgd, vpn);
  if (table === 0) return 0;
  const ptep = entryAt(table, walkLevel, vpn);
  const entry = loadEntry(ptep, walkLevel);
  if ((entry & NEEDED[access]) === 0 || (entry & PTE_PROTNONE) !== 0) return 0;
  const used = access === 1 ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
  const now = entry + (used & ~(entry & 0xfffff));
  if (now !== entry) storeEntry(ptep, walkLevel, now);
  const page = leafPage(entry, walkLevel, vpn);
  remember(cpu, mm, vpn, page, now & (PTE_READ | PTE_WRITE | PTE_EXEC | PTE_DIRTY), walkLevel > 0 ? 0 : table);
  return page;
}

/** A task begins a call: what CPUs hold now is older than the call (for checks of what it takes away). */
export function tlbCallBegins(task: number): void {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next))
    for (let i = get(cpu, Cpu.count) - 1; i >= 0; i--) set(cpu, Cpu.older + i, get(cpu, Cpu.older + i) | (1 << task));
}

/** A task's call has returned. */
export function tlbCallEnds(task: number): void {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next))
    for (let i = get(cpu, Cpu.count) - 1; i >= 0; i--) set(cpu, Cpu.older + i, get(cpu, Cpu.older + i) & ~(1 << task));
}

// --- checks -----------------------------------------------------------------------------------------------------------------

const placeOf = (cpu: CpuRef, i: number): string =>
  `CPU ${get(cpu, Cpu.number)} still translates vpn 0x${get(cpu, Cpu.vpns + i).toString(16)} of mm ${get(cpu, Cpu.mms + i)}`;

/** Whether a page is one of a block's, whose numbers need not follow each other. */
const isWithin = (held: number, page: number, order: number): boolean => {
  if (order === 0) return held === page;
  const distance = pfnOfPage(held) - pfnOfPage(page);
  return distance >= 0 && distance < 2 ** order;
};

/** A page goes to the allocator. @throws {KernelBug} I4 when a CPU still translates to it */
export function checkPageFree(page: number, order: number): void {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next)) {
    const pgd = get(cpu, Cpu.pgd);
    if (pgd >= page && pgd < page + 2 ** order)
      throw new KernelBug('I3', `page ${page} is freed while CPU ${get(cpu, Cpu.number)} has it loaded as the top table of mm ${get(cpu, Cpu.mm)}`);
    for (let i = 0; i < get(cpu, Cpu.count); i++) {
      const held = get(cpu, Cpu.pages + i);
      if (held !== 0 && isWithin(held, page, order) && !isDead(cpu, i)) throw new KernelBug('I4', `page ${held} is freed while ${placeOf(cpu, i)} to it`);
    }
  }
}

/** A page table goes to the allocator. @throws {KernelBug} I3 when a CPU still walks through it */
export function checkTableFree(table: number): void {
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next))
    for (let i = 0; i < get(cpu, Cpu.count); i++)
      if (get(cpu, Cpu.tables + i) === table && !isDead(cpu, i)) throw new KernelBug('I3', `page table ${table} is freed while ${placeOf(cpu, i)} through it`);
}

/** Whoever touches an entry must look at a table. @throws {KernelBug} I3 */
export function checkEntryAccess(at: number, level: number): void {
  if (running !== 0) checkTable(pageOfEntry(at, level), 'reaches into');
}

/** Whoever takes a table's own lock must look at a table. @throws {KernelBug} I3 */
export function checkTable(page: number, what: string): void {
  if ((pageFlags[page] & PG_TABLE) === 0)
    throw new KernelBug('I3', `task ${heap[running + Task.number]} ${what} page ${page}, which is no page table (any longer)`);
}

/** Translations that the tables do not grant (any longer), for when nobody is in the middle of anything (I4, I15). `pgdOf`: top table of an mm. */
export function staleTranslations(pgdOf: (mm: number) => number): string[] {
  const stale: string[] = [];
  for (let cpu = firstCpu(); cpu !== 0; cpu = get(cpu, Cpu.next))
    for (let i = 0; i < get(cpu, Cpu.count); i++) {
      if (isDead(cpu, i)) continue;
      const through = get(cpu, Cpu.tables + i);
      if (through !== 0 && (pageFlags[through] & PG_TABLE) === 0) stale.push(`${placeOf(cpu, i)} through page ${through}, which is no page table`);
      const page = get(cpu, Cpu.pages + i);
      if (page === 0) continue;
      const vpn = get(cpu, Cpu.vpns + i);
      const table = lowestTable(pgdOf(get(cpu, Cpu.mms + i)), vpn);
      const entry = table === 0 ? 0 : loadEntry(entryAt(table, walkLevel, vpn), walkLevel);
      const bits = get(cpu, Cpu.bits + i) & (PTE_READ | PTE_WRITE | PTE_EXEC);
      const now = (entry & PTE_PROTNONE) !== 0 ? 0 : entry & bits;
      if (now !== bits || leafPage(entry, walkLevel, vpn) !== page)
        stale.push(`${placeOf(cpu, i)} to page ${page} (rights ${bits}), the entry is 0x${entry.toString(16)}`);
    }
  return stale;
}
