/**
 * The heap: no lock is held, every reference leads to a living object of its kind, every living object is reached, references are counted (I19, I23).
 */
import { get } from '../../memory/heap.ts';
import { heap } from '../../memory/state.ts';
import { fieldName, layouts } from '../../memory/struct.ts';
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

/** Fields of each struct that refer to objects, and those that are locks. */
interface Shape {
  readonly refs: readonly { readonly slot: number; readonly type: number }[];
  readonly locks: readonly number[];
}

function shapeOf(type: number): Shape {
  const refs: { slot: number; type: number }[] = [];
  const locks: number[] = [];
  for (const { kind, slots, offset } of layouts[type].fields.values())
    for (let i = 0; i < slots; i++) {
      if (kind === 'lock') locks.push(offset + i);
      else if (kind.startsWith('ref:')) refs.push({ slot: offset + i, type: layouts.findIndex((l) => l.name === kind.slice(4)) });
    }
  return { refs, locks };
}

const nameOf = (ref: number): string => `${layouts[Math.abs(heap[ref])]?.name ?? 'slot'} ${ref}`;

/** References that no field's kind tells: roots of xarrays, what disk files keep in theirs. */
function hiddenRefs(ref: number, reach: (target: number, from: string, type: number) => void): void {
  if (heap[ref] === Inode.$type) {
    if (get(ref, Inode.pages) !== 0) reach(get(ref, Inode.pages), `inode ${ref}.pages`, XaNode.$type);
    const extents = get(ref, Inode.extents);
    if (extents !== 0) reachExtents(extents, reach);
  }
  if (heap[ref] === Vma.$type && (get(ref, Vma.flags) & VM_HUGETLB) !== 0 && privateRef(ref) !== 0)
    reach(privateRef(ref), `vma ${ref}.privateData`, (get(ref, Vma.flags) & VM_MAYSHARE) !== 0 ? HugetlbVmaLock.$type : ResvMap.$type);
  if (heap[ref] === XaNode.$type && get(ref, XaNode.shift) > 0)
    for (let i = 0; i < 64; i++) {
      const child = heap[ref + XaNode.slots + i];
      if (child !== 0) reach(child, `xaNode ${ref}`, XaNode.$type);
    }
}

/** Blocks that the extents of a disk file name. */
function reachExtents(root: number, reach: (target: number, from: string, type: number) => void): void {
  reach(root, 'extents', XaNode.$type);
  const walk = (node: number): void => {
    for (let i = 0; i < 64; i++) {
      const value = heap[node + XaNode.slots + i];
      if (value === 0) continue;
      if (get(node, XaNode.shift) > 0) walk(value);
      else if (value > BLOCK_UNWRITTEN) reach(value, `xaNode ${node}`, Block.$type);
    }
  };
  walk(root);
}

/** Follows references from the roots; says which lead nowhere and which objects nobody refers to. */
function checkReferences(census: Census, shapes: Map<number, Shape>, roots: readonly number[], found: Findings): void {
  const reached = new Set<number>();
  const queue: number[] = [];
  const reach = (target: number, from: string, type: number): void => {
    if (heap[target] !== type) {
      found.add('I19', `${from} refers to ${nameOf(target)} (type ${heap[target]}), where a ${layouts[type]?.name} should be`);
      return;
    }
    if (reached.has(target)) return;
    reached.add(target);
    queue.push(target);
  };
  reach(globals, 'the machine', Globals.$type);
  if (memory() !== 0) reach(memory(), 'the machine', heap[memory()]);
  for (const root of roots) reach(root, 'a root', Math.abs(heap[root]));
  for (let ref = queue.pop(); ref !== undefined; ref = queue.pop()) {
    for (const { slot, type } of shapes.get(heap[ref])?.refs ?? []) {
      const target = heap[ref + slot];
      if (target !== 0) reach(target, `${fieldName(heap[ref], slot)} of ${ref}`, type);
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
function checkLocks(census: Census, shapes: Map<number, Shape>, found: Findings): void {
  for (const [type, refs] of census.live)
    for (const slot of shapes.get(type)?.locks ?? [])
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
  const shapes = new Map([...census.live.keys()].map((type) => [type, shapeOf(type)]));
  checkLocks(census, shapes, found);
  checkReferences(census, shapes, roots, found);
  checkCounts(census, found);
}
