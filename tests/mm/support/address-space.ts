/**
 * What must hold of every address space between two system calls, recomputed from nothing but the objects in the heap. Each finding is a sentence.
 */
import { entryAt, loadEntry, spanPages, topLevel } from '../../../src/kernel/arch.ts';
import { get } from '../../../src/memory/heap.ts';
import { PG_ANON } from '../../../src/memory/page-flags.ts';
import { FIRST_OBJECT, heap, pageFlags, pageIndex, pageMapping, pageOfPfn, SLOT_TOP } from '../../../src/memory/state.ts';
import { layouts } from '../../../src/memory/struct.ts';
import { globals } from '../../../src/mm/globals.ts';
import { anonVmaIntervalTreeIterFirst, anonVmaIntervalTreeIterNext, vmaIntervalTreeIterFirst, vmaIntervalTreeIterNext } from '../../../src/mm/interval-tree.ts';
import { AnonVma, Avc, File, Globals, Inode, Mm, Process, Vma } from '../../../src/mm/types.ts';
import { firstVma } from '../../../src/mm/vma-tree.ts';
import { PTE_PRESENT, PTE_SPECIAL, PTE_TABLE } from '../../../src/pagetable/canonical.ts';

const WRITE = 2;
const EXEC = 4;
const SHARED = 8;
const MAYWRITE = 0x20;
const GROWSDOWN = 0x100;
const LOCKED = 0x2000;
const ACCOUNT = 0x100000;
const EVERYTHING = 2 ** 52;

/** All live objects of the heap, by the number of their type. */
export function liveObjects(): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (let ref = FIRST_OBJECT; ref < heap[SLOT_TOP]; ) {
    const type = heap[ref];
    const layout = layouts[Math.abs(type)];
    if (layout === undefined || layout.type === 0) throw new Error(`heap slot ${ref} holds no object`);
    if (type > 0) found.set(type, [...(found.get(type) ?? []), ref]);
    ref += layout.size;
  }
  return found;
}

/** Names of the types of live objects, with their number. */
export function census(): Record<string, number> {
  return Object.fromEntries([...liveObjects()].map(([type, refs]) => [layouts[type].name, refs.length]));
}

/** What is wrong with the mounted machine's address spaces. */
export function findings(): string[] {
  const wrong: string[] = [];
  const objects = liveObjects();
  const vmas: number[] = [];
  let accounted = 0;
  for (let process = get(globals, Globals.processes); process !== 0; process = get(process, Process.next)) {
    const mm = get(process, Process.mm);
    if (mm === 0) continue;
    const own = vmasOf(mm, wrong);
    vmas.push(...own);
    accounted += totals(mm, own, wrong);
  }
  const listed = new Set(vmas);
  for (const ref of objects.get(Vma.$type) ?? []) if (!listed.has(ref)) wrong.push(`vma ${ref} is in no address space`);
  anonVmas(vmas, objects, wrong);
  files(vmas, objects, wrong);
  for (const vma of vmas) pages(vma, wrong);
  if (get(globals, Globals.committed) < accounted) wrong.push(`${get(globals, Globals.committed)} pages are promised, VMAs alone have ${accounted}`);
  return wrong;
}

function vmasOf(mm: number, wrong: string[]): number[] {
  const found: number[] = [];
  let prev = 0;
  for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) {
    found.push(vma);
    if (get(vma, Vma.start) >= get(vma, Vma.end)) wrong.push(`vma ${vma} is empty`);
    if (get(vma, Vma.prev) !== prev) wrong.push(`vma ${vma} does not know its neighbour`);
    if (prev !== 0 && get(prev, Vma.end) > get(vma, Vma.start)) wrong.push(`vma ${vma} overlaps`);
    if (get(vma, Vma.refcnt) !== 1) wrong.push(`vma ${vma} has refcnt ${get(vma, Vma.refcnt)}`);
    if (get(vma, Vma.mm) !== mm) wrong.push(`vma ${vma} belongs elsewhere`);
    prev = vma;
  }
  if (found.length !== get(mm, Mm.mapCount)) wrong.push(`map_count is ${get(mm, Mm.mapCount)} with ${found.length} VMAs`);
  if (get(mm, Mm.mmapLock) !== 0 || get(mm, Mm.mmapLock + 1) !== 0 || get(mm, Mm.lockSeq) % 2 !== 0) wrong.push('the mmap lock is held');
  return found;
}

/** Compares the mm's counters with its VMAs. Returns the pages that these account for. */
function totals(mm: number, vmas: readonly number[], wrong: string[]): number {
  const sum = { totalVm: 0, lockedVm: 0, dataVm: 0, execVm: 0, stackVm: 0 };
  let accounted = 0;
  for (const vma of vmas) {
    const size = get(vma, Vma.end) - get(vma, Vma.start);
    const flags = get(vma, Vma.flags);
    sum.totalVm += size;
    if (flags & LOCKED) sum.lockedVm += size;
    if (flags & ACCOUNT) accounted += size;
    if ((flags & (EXEC | WRITE | GROWSDOWN)) === EXEC) sum.execVm += size;
    else if (flags & GROWSDOWN) sum.stackVm += size;
    else if ((flags & (WRITE | SHARED)) === WRITE) sum.dataVm += size;
  }
  for (const [name, expected] of Object.entries(sum)) {
    const stands = get(mm, Mm[name as keyof typeof sum]);
    if (stands !== expected) wrong.push(`${name} is ${stands}, the VMAs have ${expected}`);
  }
  return accounted;
}

function chainsOf(vma: number): number[] {
  const found: number[] = [];
  for (let avc = get(vma, Vma.avcs); avc !== 0; avc = get(avc, Avc.next)) found.push(avc);
  return found;
}

function anonVmas(vmas: readonly number[], objects: Map<number, number[]>, wrong: string[]): void {
  const all = objects.get(AnonVma.$type) ?? [];
  const active = new Map(all.map((a) => [a, 0]));
  const children = new Map(all.map((a) => [a, 0]));
  const family = new Map(all.map((a) => [a, 0]));
  const linked = new Set<number>();
  for (const vma of vmas) {
    const own = get(vma, Vma.anonVma);
    const chains = chainsOf(vma);
    if (own === 0 && chains.length > 0) wrong.push(`vma ${vma} has chains without an anon_vma`);
    if (own !== 0) {
      active.set(own, (active.get(own) ?? Number.NaN) + 1);
      if (!chains.some((c) => get(c, Avc.anonVma) === own)) wrong.push(`vma ${vma} does not hang below its anon_vma`);
    }
    for (const chain of chains) {
      linked.add(chain);
      if (get(chain, Avc.vma) !== vma) wrong.push(`chain ${chain} leads elsewhere`);
      if (get(get(chain, Avc.anonVma), AnonVma.root) !== get(own, AnonVma.root)) wrong.push(`vma ${vma} belongs to two families`);
    }
  }
  for (const chain of objects.get(Avc.$type) ?? []) if (!linked.has(chain)) wrong.push(`chain ${chain} belongs to no VMA`);
  let inTrees = 0;
  for (const a of all) {
    const root = a + AnonVma.tree;
    for (let chain = anonVmaIntervalTreeIterFirst(root, 0, EVERYTHING); chain !== 0; chain = anonVmaIntervalTreeIterNext(chain, 0, EVERYTHING)) {
      inTrees++;
      if (!linked.has(chain) || get(chain, Avc.anonVma) !== a) wrong.push(`anon_vma ${a} holds a foreign chain`);
    }
    const parent = get(a, AnonVma.parent);
    children.set(parent, (children.get(parent) ?? Number.NaN) + 1);
    family.set(get(a, AnonVma.root), (family.get(get(a, AnonVma.root)) ?? Number.NaN) + 1);
  }
  if (inTrees !== linked.size) wrong.push(`${linked.size} chains, ${inTrees} in trees`);
  for (const a of all) {
    if (get(a, AnonVma.numActiveVmas) !== active.get(a)) wrong.push(`anon_vma ${a}: ${get(a, AnonVma.numActiveVmas)} active VMAs, ${active.get(a)} are`);
    // An empty one that waits for its descendants is no child any longer.
    const gone = get(a, AnonVma.refcount) > 0 && get(a, AnonVma.tree) === 0;
    if (gone && get(a, AnonVma.root) !== a) wrong.push(`anon_vma ${a} is empty and stays`);
    const expected = (children.get(a) ?? 0) - (gone && get(a, AnonVma.parent) === a ? 1 : 0);
    if (get(a, AnonVma.numChildren) !== expected) wrong.push(`anon_vma ${a}: ${get(a, AnonVma.numChildren)} children, ${expected} are`);
    const refs = get(a, AnonVma.root) === a ? (family.get(a) ?? 0) - (gone ? 1 : 0) : 1;
    if (get(a, AnonVma.refcount) !== refs) wrong.push(`anon_vma ${a}: ${get(a, AnonVma.refcount)} references, ${refs} are`);
  }
}

function files(vmas: readonly number[], objects: Map<number, number[]>, wrong: string[]): void {
  for (const inode of objects.get(Inode.$type) ?? []) {
    const mapped = vmas.filter((v) => get(v, Vma.file) !== 0 && get(get(v, Vma.file), File.inode) === inode);
    const tree: number[] = [];
    for (let vma = vmaIntervalTreeIterFirst(inode + Inode.iMmap, 0, EVERYTHING); vma !== 0; vma = vmaIntervalTreeIterNext(vma, 0, EVERYTHING)) tree.push(vma);
    if (tree.length !== mapped.length || mapped.some((v) => !tree.includes(v))) wrong.push(`inode ${inode} is mapped by ${mapped}, its tree holds ${tree}`);
    const writable = mapped.filter((v) => (get(v, Vma.flags) & (SHARED | MAYWRITE)) === (SHARED | MAYWRITE)).length;
    if (get(inode, Inode.iMmapWritable) !== writable)
      wrong.push(`inode ${inode}: i_mmap_writable is ${get(inode, Inode.iMmapWritable)}, ${writable} mappings are`);
  }
}

/** Each anonymous page that a VMA maps is found by rmap: through an anon_vma of the VMA's chains, at the right index. */
function pages(vma: number, wrong: string[]): void {
  const pgd = get(get(vma, Vma.mm), Mm.pgd);
  const anonVmasOf = chainsOf(vma).map((c) => get(c, Avc.anonVma));
  const end = get(vma, Vma.end);
  for (let vpn = get(vma, Vma.start); vpn < end; ) {
    let table = pgd;
    let level = topLevel;
    for (; level > 0; level--) {
      const entry = loadEntry(entryAt(table, level, vpn), level);
      if ((entry & PTE_TABLE) === 0) break;
      table = pageOfPfn(Math.floor(entry / 2 ** 20));
    }
    if (level > 0) {
      vpn = (Math.floor(vpn / spanPages(level)) + 1) * spanPages(level);
      continue;
    }
    const pte = loadEntry(entryAt(table, 0, vpn), 0);
    if ((pte & PTE_PRESENT) !== 0 && (pte & PTE_SPECIAL) === 0) {
      const page = pageOfPfn(Math.floor(pte / 2 ** 20));
      if ((pageFlags[page] & PG_ANON) !== 0) {
        if (!anonVmasOf.includes(pageMapping[page])) wrong.push(`page ${page} at ${vpn.toString(16)} is not found through its VMA`);
        if (pageIndex[page] !== get(vma, Vma.pgoff) + vpn - get(vma, Vma.start)) wrong.push(`page ${page} at ${vpn.toString(16)} has index ${pageIndex[page]}`);
      }
    }
    vpn++;
  }
}
