/**
 * Inodes: birth, references, the end; names; who may map them writable (fs/inode.c, include/linux/fs.h).
 *
 * Invariants: an inode is referenced by each open file and by its directory entry (`nlink` is 1 while it has one); with the last reference its pages
 * go and then itself. `iMmapWritable` counts shared mappings that may be written and is negative while such mappings are forbidden.
 */
import type { Op } from '../kernel/op.ts';
import { add, atomicAdd, cmpxchg, get, kfree, kmalloc, readOnce, set, switched } from '../kernel/ops.ts';
import { SW } from '../kernel/switches.ts';
import { alloc, free } from '../memory/heap.ts';
import { diskEvictInode } from './disk.ts';
import { EBUSY, EPERM } from './errno.ts';
import { INODE_DISK, INODE_PIDFD, INODE_PIPE, INODE_SECRETMEM, INODE_UFFD, kindIsHugetlb } from './file-types.ts';
import { globals } from './globals.ts';
import { hugetlbEvictInode } from './hugetlbfs.ts';
import { pipeFree } from './pipe.ts';
import { secretmemEvictInode } from './secretmem.ts';
import { shmemEvictInode } from './shmem.ts';
import { Globals, Inode, type InodeRef, Name, type NameRef } from './types.ts';
import { userfaultfdRelease } from './userfaultfd.ts';

/** new_inode: an inode without name and content, with one reference; 0 without memory. */
export function* newInode(kind: number, mode: number): Op<number> {
  const inode = yield* kmalloc(Inode.$type);
  if (inode === 0) return 0;
  set(inode, Inode.kind, kind);
  set(inode, Inode.mode, mode);
  set(inode, Inode.refcount, 1);
  set(inode, Inode.number, add(globals, Globals.nextInode, 1));
  return inode;
}

/** ihold. */
export function* igrab(inode: InodeRef): Op<number> {
  return yield* atomicAdd(inode, Inode.refcount, 1);
}

/** iput: the last reference takes the inode and its pages along. */
export function* iput(inode: InodeRef): Op<number> {
  if ((yield* atomicAdd(inode, Inode.refcount, -1)) !== 0) return 0;
  const kind = get(inode, Inode.kind);
  if (kind === INODE_PIPE) yield* pipeFree(get(inode, Inode.pipe));
  else if (kind === INODE_DISK) yield* diskEvictInode(inode);
  else if (kindIsHugetlb(kind)) yield* hugetlbEvictInode(inode);
  else if (kind === INODE_SECRETMEM) yield* secretmemEvictInode(inode);
  else if (kind === INODE_UFFD) yield* userfaultfdRelease(inode);
  else if (kind !== INODE_PIDFD) yield* shmemEvictInode(inode);
  const name = get(inode, Inode.name);
  if (name !== 0) free(Name, name);
  return yield* kfree(Inode.$type, inode);
}

// --- names ------------------------------------------------------------------------------------------------------------------

const CHARS_PER_SLOT = 6;
/** NAME_MAX. */
export const NAME_MAX = 255;

export const newName = (): NameRef => alloc(Name);
export const freeName = (name: NameRef): void => free(Name, name);

/** Adds a byte to a name that has room. */
export function nameAppend(name: NameRef, byte: number): void {
  const at = get(name, Name.length);
  set(name, Name.length, at + 1);
  add(name, Name.chars + Math.floor(at / CHARS_PER_SLOT), byte * 256 ** (at % CHARS_PER_SLOT));
}

/** Byte of a name. */
export const nameByte = (name: NameRef, at: number): number =>
  Math.floor(get(name, Name.chars + Math.floor(at / CHARS_PER_SLOT)) / 256 ** (at % CHARS_PER_SLOT)) % 256;

export function nameEquals(a: NameRef, b: NameRef): boolean {
  const length = get(a, Name.length);
  if (get(b, Name.length) !== length) return false;
  for (let slot = 0; slot * CHARS_PER_SLOT < length; slot++) if (get(a, Name.chars + slot) !== get(b, Name.chars + slot)) return false;
  return true;
}

/** A name of ASCII text, for files that the kernel itself names. */
export function nameOf(text: string): NameRef {
  const name = newName();
  for (let i = 0; i < text.length; i++) nameAppend(name, text.charCodeAt(i));
  return name;
}

/** A name as text. */
export function nameText(name: NameRef): string {
  let text = '';
  if (name !== 0) for (let i = 0; i < get(name, Name.length); i++) text += String.fromCharCode(nameByte(name, i));
  return text;
}

// --- writable mappings ------------------------------------------------------------------------------------------------------

/** mapping_map_writable: 0, or −EPERM where writable shared mappings are forbidden. */
export function* mappingMapWritable(inode: InodeRef): Op<number> {
  for (;;) {
    const now = yield* readOnce(inode, Inode.iMmapWritable);
    if (now < 0 && !switched(SW.mapWritableUnchecked)) return -EPERM;
    if ((yield* cmpxchg(inode, Inode.iMmapWritable, now, now + 1)) === now) return 0;
  }
}

/** mapping_deny_writable: 0, or −EBUSY where there are writable shared mappings. */
export function* mappingDenyWritable(inode: InodeRef): Op<number> {
  for (;;) {
    const now = yield* readOnce(inode, Inode.iMmapWritable);
    if (now > 0) return -EBUSY;
    if ((yield* cmpxchg(inode, Inode.iMmapWritable, now, now - 1)) === now) return 0;
  }
}

/** mapping_allow_writable: one more writable mapping, whose right to be was checked, or a denial taken back. */
export function* mappingAllowWritable(inode: InodeRef): Op<number> {
  return yield* atomicAdd(inode, Inode.iMmapWritable, 1);
}

/** mapping_unmap_writable. */
export function* mappingUnmapWritable(inode: InodeRef): Op<number> {
  return yield* atomicAdd(inode, Inode.iMmapWritable, -1);
}
