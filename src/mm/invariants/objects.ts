/**
 * The heap: no lock is held, every reference leads to a living object of its kind, every living object is reached, references are counted (I19, I23).
 */
import { get } from '../../memory/heap.ts';
import { heap } from '../../memory/state.ts';
import { fieldName, layouts, shapeOf } from '../../memory/struct.ts';
import { XaNode } from '../../memory/xarray.ts';
import { CmaBits, memory, Pageblocks } from '../../memory/zone.ts';
import { BLOCK_UNWRITTEN } from '../file-types.ts';
import { globals } from '../globals.ts';
import { privateRef } from '../hugetlb-resv.ts';
import { HugetlbVmaLock, ResvMap } from '../hugetlb-types.ts';
import { NR_FILES } from '../process.ts';
import { Block, File, Globals, Inode, Mm, Process, Shm, Vma } from '../types.ts';
import { VM_HUGETLB, VM_MAYSHARE } from '../vm-flags.ts';
import { type Census, liveOf } from './census.ts';
import type { Findings } from './findings.ts';

const nameOf = (ref: number): string => `${layouts[Math.abs(heap[ref])]?.name ?? 'slot'} ${ref}`;

/** Hears of a reference: what it leads to, which type that should have, where the reference stands (told when it is wrong). */
type Reach = (target: number, type: number, from: string | number, slot?: number) => void;

const placeOf = (from: string | number, slot: number): string =>
  typeof from === 'string' ? from : slot === 0 ? nameOf(from) : `${fieldName(heap[from], slot)} of ${from}`;

/** References that no field's kind tells: roots of xarrays, what disk files keep in theirs. */
function hiddenRefs(ref: number, reach: Reach): void {
  if (heap[ref] === Inode.$type) {
    if (get(ref, Inode.pages) !== 0) reach(get(ref, Inode.pages), XaNode.$type, ref, Inode.pages);
    const extents = get(ref, Inode.extents);
    if (extents !== 0) reachExtents(extents, reach);
  }
  if (heap[ref] === Vma.$type && (get(ref, Vma.flags) & VM_HUGETLB) !== 0 && privateRef(ref) !== 0)
    reach(privateRef(ref), (get(ref, Vma.flags) & VM_MAYSHARE) !== 0 ? HugetlbVmaLock.$type : ResvMap.$type, ref, Vma.privateData);
  if (heap[ref] === XaNode.$type && get(ref, XaNode.shift) > 0)
    for (let i = 0; i < 64; i++) {
      const child = heap[ref + XaNode.slots + i];
      if (child !== 0) reach(child, XaNode.$type, ref);
    }
}

/** Blocks that the extents of a disk file name. */
function reachExtents(root: number, reach: Reach): void {
  reach(root, XaNode.$type, 'extents');
  const walk = (node: number): void => {
    for (let i = 0; i < 64; i++) {
      const value = heap[node + XaNode.slots + i];
      if (value === 0) continue;
      if (get(node, XaNode.shift) > 0) walk(value);
      else if (value > BLOCK_UNWRITTEN) reach(value, Block.$type, node);
    }
  };
  walk(root);
}

/** Follows references from the roots; says which lead nowhere and which objects nobody refers to. */
function checkReferences(census: Census, roots: readonly number[], found: Findings): void {
  const reached = new Set<number>();
  const queue: number[] = [];
  const reach: Reach = (target, type, from, slot = 0) => {
    if (heap[target] !== type) {
      found.add('I19', `${placeOf(from, slot)} refers to ${nameOf(target)} (type ${heap[target]}), where a ${layouts[type]?.name} should be`);
      return;
    }
    if (reached.has(target)) return;
    reached.add(target);
    queue.push(target);
  };
  reach(globals, Globals.$type, 'the machine');
  if (memory() !== 0) reach(memory(), heap[memory()], 'the machine');
  for (const root of roots) reach(root, Math.abs(heap[root]), 'a root');
  for (let ref = queue.pop(); ref !== undefined; ref = queue.pop()) {
    for (const { slot, type } of shapeOf(heap[ref]).refs) {
      const target = heap[ref + slot];
      if (target !== 0) reach(target, type, ref, slot);
    }
    hiddenRefs(ref, reach);
  }
  for (const [type, refs] of census.live) {
    // Tables that stand one after the other, of which the first is referred to.
    if (type === Pageblocks.$type || type === CmaBits.$type) continue;
    for (const ref of refs) if (!reached.has(ref)) found.add('leak', `${nameOf(ref)} lives, but nothing refers to it`);
  }
}

/** Every lock in every object is free. */
function checkLocks(census: Census, found: Findings): void {
  for (const [type, refs] of census.live)
    for (const slot of shapeOf(type).locks)
      for (const ref of refs) if (heap[ref + slot] !== 0) found.add('lock', `${fieldName(type, slot)} of ${ref} is held (${heap[ref + slot]})`);
  for (const { mm } of census.spaces) {
    if (get(mm, Mm.lockSeq) % 2 !== 0) found.add('lock', `mm ${mm}: the sequence of its lock says that somebody writes`);
    found.equal('lock', `mm ${mm}: gathers that are open`, get(mm, Mm.tlbFlushPending), 0);
  }
}

/** Files, inodes, processes: who refers to them. */
function checkCounts(census: Census, found: Findings): void {
  const files = new Map<number, number>();
  const count = (map: Map<number, number>, ref: number): void => {
    if (ref !== 0) map.set(ref, (map.get(ref) ?? 0) + 1);
  };
  for (const process of liveOf(census, Process)) for (let fd = 0; fd < NR_FILES; fd++) count(files, get(process, Process.files + fd));
  for (const vma of liveOf(census, Vma)) count(files, get(vma, Vma.file));
  for (const shm of liveOf(census, Shm)) count(files, get(shm, Shm.file));
  for (const file of liveOf(census, File)) found.equal('I19', `file ${file}: references`, get(file, File.refcount), files.get(file) ?? 0);
  const inodes = new Map<number, number>();
  for (const file of liveOf(census, File)) count(inodes, get(file, File.inode));
  for (let inode = get(globals, Globals.directory); inode !== 0; inode = get(inode, Inode.next)) count(inodes, inode);
  for (const inode of liveOf(census, Inode)) found.equal('I19', `inode ${inode}: references`, get(inode, Inode.refcount), inodes.get(inode) ?? 0);
  for (const process of liveOf(census, Process))
    if ((get(process, Process.alive) !== 0) !== (get(process, Process.mm) !== 0))
      found.add('I19', `process ${process}: alive ${get(process, Process.alive)}, mm ${get(process, Process.mm)}`);
  for (const mm of liveOf(census, Mm))
    if (mm !== census.kernel?.mm && !census.spaces.some((s) => s.mm === mm)) found.add('I19', `mm ${mm} lives, but no process has it`);
}

export function checkObjects(census: Census, roots: readonly number[], found: Findings): void {
  checkLocks(census, found);
  checkReferences(census, roots, found);
  checkCounts(census, found);
}
