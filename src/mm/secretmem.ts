/**
 * Secret memory (mm/secretmem.c): files whose pages only their processes map; the kernel takes them out of its own map of RAM.
 *
 * Invariants
 * - A page in the cache of such a file is not in the direct map and no CPU translates it there; it comes back, zeroed, when it leaves the cache. So nobody in the kernel
 *   may follow a user's mapping to it: get_user_pages() refuses the VMA, get_user_pages_fast() the page.
 * - There is no such file where the kernel cannot take single pages out of the direct map (canSetDirectMap).
 * - Mappings are shared and locked; the size can be set once.
 */
import type { Op } from '../kernel/op.ts';
import { allocPage, downRead, folioLock, folioUnlock, get, mappingGet, set, setFlags, upRead } from '../kernel/ops.ts';
import { GFP_HIGHUSER } from '../memory/gfp.ts';
import { PG_UPTODATE } from '../memory/page-flags.ts';
import { clearFrame, pageShift, pfnOfPage } from '../memory/state.ts';
import { canSetDirectMap } from './direct-map.ts';
import { EAGAIN, EEXIST, EINVAL, ENOMEM, ENOSYS } from './errno.ts';
import { fdPublish, fileAlloc, intArgument } from './file.ts';
import { FMODE_READ, FMODE_WRITE, INODE_SECRETMEM, O_CLOEXEC, O_LARGEFILE, O_RDWR } from './file-types.ts';
import { filemapAddFolio, filemapLockFolio } from './filemap.ts';
import { iput, nameOf, newInode } from './inode.ts';
import { directMapVpn } from './kernel-layout.ts';
import { flushTlbKernelRange, setDirectMapDefaultNoflush, setDirectMapInvalidNoflush } from './set-memory.ts';
import { folioAddLru, folioPut, folioTestAnon } from './swap.ts';
import { truncateInodePagesRange } from './truncate.ts';
import { File, Inode, type InodeRef, type NameRef, type Page, type ProcessRef, Vma, type VmaRef } from './types.ts';
import { mlockFutureOk } from './util.ts';
import { VM_DONTDUMP, VM_LOCKED, VM_MAYSHARE, VM_SHARED } from './vm-flags.ts';
import { VMOPS_SECRETMEM } from './vm-ops-types.ts';
import { VM_FAULT_LOCKED, VM_FAULT_OOM, VM_FAULT_SIGBUS, Vmf, type VmfRef } from './vmf.ts';

const secretName = (): NameRef => nameOf('secretmem');

/** memfd_secret(2): a descriptor, −ENOSYS, −EINVAL for flags but O_CLOEXEC, −ENOMEM, −EMFILE. */
export function* sysMemfdSecret(process: ProcessRef, flagsArgument: number): Op<number> {
  if (!canSetDirectMap()) return -ENOSYS;
  if ((intArgument(flagsArgument) & ~O_CLOEXEC) !== 0) return -EINVAL;
  const inode = yield* newInode(INODE_SECRETMEM, 0o600);
  if (inode === 0) return -ENOMEM;
  set(inode, Inode.name, secretName());
  const file = yield* fileAlloc(inode, O_RDWR | O_LARGEFILE, FMODE_READ | FMODE_WRITE);
  if (file !== 0) return yield* fdPublish(process, file);
  yield* iput(inode);
  return -ENOMEM;
}

/** secretmem_mmap_prepare: 0, −EINVAL for a private mapping, −EAGAIN above the limit of locked memory. */
export function secretmemMmap(vma: VmaRef): number {
  const flags = get(vma, Vma.flags);
  if ((flags & (VM_SHARED | VM_MAYSHARE)) === 0) return -EINVAL;
  if (!mlockFutureOk(get(vma, Vma.mm), flags | VM_LOCKED, get(vma, Vma.end) - get(vma, Vma.start))) return -EAGAIN;
  set(vma, Vma.flags, flags | VM_LOCKED | VM_DONTDUMP);
  set(vma, Vma.ops, VMOPS_SECRETMEM);
  return 0;
}

/** vma_is_secretmem. */
export const vmaIsSecretmem = (vma: VmaRef): boolean => get(vma, Vma.ops) === VMOPS_SECRETMEM;

/** secretmem_setattr: the size, once. 0 or −EINVAL. */
export function* secretmemSetSize(inode: InodeRef, bytes: number): Op<number> {
  yield* downRead(inode + Inode.invalidateLock);
  const error = get(inode, Inode.size) !== 0 ? -EINVAL : 0;
  if (error === 0) set(inode, Inode.size, bytes);
  yield* upRead(inode + Inode.invalidateLock);
  return error;
}

/** secretmem_fault. */
export function* secretmemFault(vmf: VmfRef): Op<number> {
  const inode = get(get(get(vmf, Vmf.vma), Vma.file), File.inode);
  const index = get(vmf, Vmf.pgoff);
  if (index * 2 ** pageShift >= get(inode, Inode.size)) return VM_FAULT_SIGBUS;
  yield* downRead(inode + Inode.invalidateLock);
  let page = 0;
  do {
    page = yield* filemapLockFolio(inode, index);
    if (page === 0) page = yield* newPage(inode, index);
  } while (page === -EEXIST);
  yield* upRead(inode + Inode.invalidateLock);
  if (page < 0) return page === -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
  set(vmf, Vmf.page, page);
  return VM_FAULT_LOCKED;
}

/** A page that the direct map has no longer, in the cache, locked and referenced; −EEXIST when somebody was faster, −ENOMEM, −EINVAL. */
function* newPage(inode: InodeRef, index: number): Op<number> {
  const page = yield* allocPage(GFP_HIGHUSER, 0);
  if (page === 0) return -ENOMEM;
  clearFrame(page);
  let error = yield* setDirectMapInvalidNoflush(pfnOfPage(page));
  if (error === 0) {
    yield* folioLock(page);
    yield* setFlags(page, PG_UPTODATE);
    error = yield* filemapAddFolio(inode, page, index);
    if (error === 0) {
      yield* folioAddLru(page);
      const vpn = directMapVpn(pfnOfPage(page));
      yield* flushTlbKernelRange(vpn, vpn + 1);
      return page;
    }
    yield* folioUnlock(page);
    // The leaf is split by now: this needs no memory.
    yield* setDirectMapDefaultNoflush(pfnOfPage(page));
  }
  yield* folioPut(page);
  return error;
}

/** secretmem_free_folio: a page leaves the cache. Its content goes before anybody else may read it. */
export function* secretmemFreeFolio(page: Page): Op<number> {
  yield* setDirectMapDefaultNoflush(pfnOfPage(page));
  clearFrame(page);
  return 0;
}

/** The end of such a file. */
export function* secretmemEvictInode(inode: InodeRef): Op<number> {
  return yield* truncateInodePagesRange(inode, 0, Infinity, 0);
}

/** secretmem_mapping, of a page: whether it is one of such a file's. Without the page's lock or a reference that tells nothing of the next moment. */
export function* folioIsSecretmem(page: Page): Op<boolean> {
  const mapping = yield* mappingGet(page);
  return mapping !== 0 && !folioTestAnon(page) && get(mapping, Inode.kind) === INODE_SECRETMEM;
}
