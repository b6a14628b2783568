/**
 * Everything that the mounted machine holds, found by walking: objects of the heap, address spaces, page tables, entries, page caches. The checks
 * compare what the kernel has counted with what is there.
 *
 * Invariant: nothing here changes memory, and nothing uses a counter of the kernel's.
 */
import { codec, entryAt, loadEntry, slotCount, spanPages, tableEntries, tableLevel, tableOrder, topLevel } from '../../kernel/arch.ts';
import { get } from '../../memory/heap.ts';
import { FIRST_OBJECT, heap, pageIndex, pageOfPfn, pagesEnd, pfnOfPage, SLOT_TOP } from '../../memory/state.ts';
import { layouts } from '../../memory/struct.ts';
import { XaNode } from '../../memory/xarray.ts';
import { PTE_TABLE } from '../../pagetable/canonical.ts';
import { pagesInCache } from '../filemap.ts';
import { globals } from '../globals.ts';
import { MmSlot } from '../khugepaged-types.ts';
import { ptePfn } from '../pgtable.ts';
import { Globals, Inode, Mm, Pipe, Process, Vma } from '../types.ts';
import { vmPage } from '../vmalloc.ts';
import { VM_ALLOC, VmStruct } from '../vmalloc-types.ts';
import { type Findings, hex } from './findings.ts';

/** An entry that is not empty and leads to no table: of the lowest level, or a huge one above. */
export interface Entry {
  readonly vpn: number;
  readonly pte: number;
  readonly level: number;
}

/** A page table that an address space reaches. */
export interface Table {
  readonly page: number;
  readonly level: number;
  /** First page of the address space that it translates. */
  readonly vpn: number;
}

export interface Space {
  readonly mm: number;
  /** VMAs in order of the list from the first on. */
  readonly vmas: readonly number[];
  readonly tables: readonly Table[];
  /** Ascending by vpn. */
  readonly entries: readonly Entry[];
}

export interface Census {
  /** Live objects by type. */
  readonly live: ReadonlyMap<number, readonly number[]>;
  readonly spaces: readonly Space[];
  /** init_mm's tables; nobody counts what they map. */
  readonly kernel: Space | undefined;
  /** By page: how many page tables' entries point to it as a table. */
  readonly tableOwners: Int32Array;
  /** By page: references that page caches, pipes and the caller hold. */
  readonly cached: Int32Array;
  readonly piped: Int32Array;
  readonly held: Int32Array;
}

/** Live objects of a type. */
export const liveOf = (census: Census, struct: { readonly $type: number }): readonly number[] => census.live.get(struct.$type) ?? [];

/** Visits every index of an xarray that holds something, from the slot of its root. */
export function eachXaEntry(root: number, visit: (index: number, value: number) => void): void {
  const walk = (node: number, base: number): void => {
    const shift = get(node, XaNode.shift);
    for (let i = 0; i < 64; i++) {
      const value = heap[node + XaNode.slots + i];
      if (value === 0) continue;
      const index = base + i * 2 ** shift;
      if (shift === 0) visit(index, value);
      else walk(value, index);
    }
  };
  if (heap[root] !== 0) walk(heap[root], 0);
}

function liveObjects(found: Findings): Map<number, number[]> {
  const live = new Map<number, number[]>();
  const top = heap[SLOT_TOP];
  for (let ref = FIRST_OBJECT; ref < top; ) {
    const type = heap[ref];
    const layout = layouts[Math.abs(type)];
    if (!Number.isInteger(type) || layout === undefined || layout.size === 0) {
      found.add('heap', `slot ${ref} should begin an object, but holds ${type}`);
      break;
    }
    if (type > 0) {
      const list = live.get(type);
      if (list) list.push(ref);
      else live.set(type, [ref]);
    }
    ref += layout.size;
  }
  return live;
}

/** The tables and entries of an address space. */
function readTables(mm: number, owners: Int32Array, found: Findings): { tables: Table[]; entries: Entry[] } {
  const tables: Table[] = [];
  const entries: Entry[] = [];
  const walk = (page: number, level: number, base: number): void => {
    tables.push({ page, level, vpn: base });
    const span = spanPages(level);
    for (let i = 0; i < tableEntries(level); i++) {
      const vpn = base + i * span;
      const entry = loadEntry(entryAt(page, level, vpn), level);
      if (entry === 0) continue;
      else if ((entry & PTE_TABLE) === 0 && mm === get(globals, Globals.initMm)) continue;
      if (level === 0) entries.push({ vpn, pte: entry, level });
      else if ((entry & PTE_TABLE) === 0) {
        if (codec.tables[level].leaves || codec.tables[level].groups.length > 0) entries.push({ vpn, pte: entry, level });
        else found.add('I11', `mm ${mm}: entry ${hex(entry)} of level ${level} at vpn ${hex(vpn)} is neither empty nor a table`);
      } else {
        const below = pageOfPfn(ptePfn(entry));
        // A table that is met twice is not walked again: it may lead to itself.
        const own = tableLevel(entry, level);
        // All slots of a huge page directory together are one owner.
        const first = vpn - (vpn % (slotCount(own) * span));
        if (own > topLevel && vpn !== first) {
          if (loadEntry(entryAt(page, level, first), level) !== entry)
            found.add('I11', `mm ${mm}: the slots of a huge page directory at vpn ${hex(first)} and ${hex(vpn)} differ`);
        } else if (owners[below]++ === 0) walk(below, own, vpn);
        // Of hugetlb, where others have it, too: what it maps is counted once, the table for each.
        else if (level - 1 === 1 && pageIndex[below] > 0) tables.push({ page: below, level: 1, vpn });
      }
    }
  };
  const pgd = get(mm, Mm.pgd);
  if (owners[pgd]++ === 0) walk(pgd, topLevel, 0);
  return { tables, entries };
}

/** Takes the census. `held` are references that tasks or the caller have beyond what the machine's memory tells: page → count. */
export function takeCensus(found: Findings, held: ReadonlyMap<number, number>): Census {
  const live = liveObjects(found);
  const pages = pagesEnd();
  const tableOwners = new Int32Array(pages);
  const cached = new Int32Array(pages);
  const piped = new Int32Array(pages);
  const extra = new Int32Array(pages);
  for (const [page, count] of held) extra[page] += count;
  for (const inode of live.get(Inode.$type) ?? [])
    eachXaEntry(inode + Inode.pages, (_, page) => {
      if (page > 0) cached[page] += pagesInCache(inode, page);
    });
  for (const pipe of live.get(Pipe.$type) ?? [])
    for (let i = 0; i < 16; i++) {
      const page = get(pipe, Pipe.pages + i);
      if (page > 0) piped[page]++;
    }
  for (const vm of live.get(VmStruct.$type) ?? []) {
    if ((get(vm, VmStruct.flags) & VM_ALLOC) === 0) continue;
    for (let i = 0; i < get(vm, VmStruct.nrPages); i++) extra[vmPage(vm, i)]++;
  }
  const spaces: Space[] = [];
  for (let process = get(globals, Globals.processes); process !== 0; process = get(process, Process.next)) {
    const mm = get(process, Process.mm);
    if (mm === 0 || spaces.some((s) => s.mm === mm)) continue;
    spaces.push({ mm, vmas: listVmas(mm, found), ...readTables(mm, tableOwners, found) });
  }
  // khugepaged keeps those that have ended until it comes to them.
  for (const slot of live.get(MmSlot.$type) ?? []) {
    const mm = get(slot, MmSlot.mm);
    if (!spaces.some((s) => s.mm === mm)) spaces.push({ mm, vmas: listVmas(mm, found), ...readTables(mm, tableOwners, found) });
  }
  const init = get(globals, Globals.initMm);
  const kernel = init === 0 ? undefined : { mm: init, vmas: [], ...readTables(init, tableOwners, found) };
  return { live, spaces, kernel, tableOwners, cached, piped, held: extra };
}

/** VMAs of a tree from the lowest on, by the list. */
function listVmas(mm: number, found: Findings): number[] {
  const vmas: number[] = [];
  let first = get(mm, Mm.vmas);
  const known = new Set<number>();
  while (first !== 0 && get(first, Vma.left) !== 0 && !known.has(first)) {
    known.add(first);
    first = get(first, Vma.left);
  }
  const met = new Set<number>();
  for (let vma = first; vma !== 0; vma = get(vma, Vma.next)) {
    if (met.has(vma)) {
      found.add('I31', `mm ${mm}: the list of VMAs comes back to VMA ${vma}`);
      break;
    }
    met.add(vma);
    vmas.push(vma);
  }
  return vmas;
}

/** Bytes that pgtables_bytes counts for a table. */
export const accountedBytes = (level: number): number => (level <= 2 && level < topLevel ? codec.levels[level].tableBytes : 0);

/** Every page of the frames that a table takes. */
export function tableFrames(table: Table): number[] {
  const frames: number[] = [];
  const pfn = pfnOfPage(table.page);
  for (let i = 0; i < 2 ** tableOrder(table.level); i++) frames.push(pageOfPfn(pfn + i));
  return frames;
}
