/**
 * The kernel's own address space (mm/init-mm.c), as small as walks over it need: pages that somebody maps, and memory that goes away again with its
 * tables (arch/x86/mm/init_64.c: remove_pagetable).
 *
 * Invariants: it has no VMAs and no users; its tables are freed by nothing but memory hot-remove, which holds mem_hotplug_lock for writing and asks for no
 * mmap lock. Machines have none until `makeInitMm` made it.
 */
import { codec, entryAt, entryEnd, loadEntry, tableEntries } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { add, downRead, downWrite, entryGet, entrySet, flushTlbMm, get, kfree, kmalloc, set, spinLock, spinUnlock, upRead, upWrite } from '../kernel/ops.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_READ, PTE_TABLE, PTE_WRITE } from '../pagetable/canonical.ts';
import { ENOMEM } from './errno.ts';
import { globals } from './globals.ts';
import { entryPointer, mkPte, pgdAlloc, pteAlloc, pteFree, pteLockptr, tablePage } from './pgtable.ts';
import { pmdLockptr } from './pgtable-generic.ts';
import { Globals, Mm, type MmRef, type Page, type Vpn } from './types.ts';

/** init_mm, 0 in a machine that has none. */
export const initMm = (): MmRef => get(globals, Globals.initMm);

/** _PAGE_KERNEL as far as the mode has bits for it. */
const PAGE_KERNEL = PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY;

/** Gives the machine an init_mm; it, or −ENOMEM. */
export function* makeInitMm(): Op<number> {
  if (initMm() !== 0) return initMm();
  const mm = yield* kmalloc(Mm.$type);
  if (mm === 0) return -ENOMEM;
  const pgd = yield* pgdAlloc();
  if (pgd === 0) {
    yield* kfree(Mm.$type, mm);
    return -ENOMEM;
  }
  set(mm, Mm.pgd, pgd);
  set(mm, Mm.users, 2);
  set(mm, Mm.count, 1);
  set(globals, Globals.initMm, mm);
  return mm;
}

/** get_online_mems: no memory is removed until put_online_mems(). */
export function* getOnlineMems(): Op<number> {
  return yield* downRead(globals + Globals.memHotplugLock);
}

export function* putOnlineMems(): Op<number> {
  return yield* upRead(globals + Globals.memHotplugLock);
}

/** Maps a page at a page of the kernel's address space (vmap, the direct map). 0 or −ENOMEM. */
export function* mapKernelPage(vpn: Vpn, page: Page): Op<number> {
  const mm = initMm();
  const ptep = yield* pteAlloc(mm, vpn);
  if (ptep === 0) return -ENOMEM;
  yield* spinLock(pteLockptr(ptep));
  yield* entrySet(ptep, 0, mkPte(page, PAGE_KERNEL));
  return yield* spinUnlock(pteLockptr(ptep));
}

/** arch_remove_memory, its part in the tables: nothing of [start, end) is mapped any longer, and tables of the lowest level that are empty then are freed. */
export function* removeKernelPages(start: Vpn, end: Vpn): Op<number> {
  yield* downWrite(globals + Globals.memHotplugLock);
  for (let vpn = start; vpn < end; vpn = entryEnd(vpn, end, 1)) {
    const pmdp = yield* entryPointer(initMm(), vpn, 1);
    if (pmdp === 0) continue;
    const pmd = yield* entryGet(pmdp, 1);
    if ((pmd & PTE_TABLE) !== 0) yield* removePteTable(pmdp, tablePage(pmd), vpn, entryEnd(vpn, end, 1));
  }
  yield* flushTlbMm(initMm());
  return yield* upWrite(globals + Globals.memHotplugLock);
}

/** remove_pte_table, free_pte_table. Nobody reads kernel tables under RCU: an empty one is freed at once. */
function* removePteTable(pmdp: number, table: Page, start: Vpn, end: Vpn): Op<number> {
  const ptl = pteLockptr(entryAt(table, 0, start));
  yield* spinLock(ptl);
  for (let vpn = start; vpn < end; vpn++) yield* entrySet(entryAt(table, 0, vpn), 0, 0);
  yield* spinUnlock(ptl);
  if (!tableIsEmpty(table)) return 0;
  const lock = pmdLockptr(initMm(), pmdp);
  yield* spinLock(lock);
  yield* entrySet(pmdp, 1, 0);
  yield* spinUnlock(lock);
  add(initMm(), Mm.pgtablesBytes, -codec.levels[0].tableBytes);
  return yield* pteFree(table);
}

/** Only who holds mem_hotplug_lock for writing may ask: nobody else empties entries of the kernel's. */
function tableIsEmpty(table: Page): boolean {
  for (let i = 0; i < tableEntries(0); i++) if (loadEntry(entryAt(table, 0, i), 0) !== 0) return false;
  return true;
}
