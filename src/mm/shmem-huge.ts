/**
 * Where shared memory may be in large folios (mm/shmem.c: shmem_allowable_huge_orders, shmem_huge_global_enabled).
 *
 * The mount that memfds, shared anonymous memory and SysV segments live on takes its `huge=` from shmem_enabled.
 */
import { spanPages } from '../kernel/arch.ts';
import { get } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { INODE_SHARED_ANON, INODE_TMPFS } from './file-types.ts';
import { globals } from './globals.ts';
import { fileOrders, highestOrder, pmdOrder, vmaThpDisabled } from './huge-orders.ts';
import { Globals, Inode, type InodeRef, type VmaRef } from './types.ts';
import { VM_HUGEPAGE } from './vm-flags.ts';

/** Globals.shmemHuge: shmem_enabled. */
export const SHMEM_HUGE_NEVER = 0;
export const SHMEM_HUGE_ALWAYS = 1;
export const SHMEM_HUGE_WITHIN_SIZE = 2;
export const SHMEM_HUGE_ADVISE = 3;
export const SHMEM_HUGE_DENY = 4;
export const SHMEM_HUGE_FORCE = 5;

/** shmem_get_orders_within_size: those of a set whose block around an index lies within the file. */
function ordersWithinSize(inode: InodeRef, orders: number, index: number): number {
  const end = Math.ceil(get(inode, Inode.size) / 2 ** pageShift);
  let left = orders;
  while (left !== 0) {
    const order = highestOrder(left);
    if (Math.ceil((index + 1) / 2 ** order) * 2 ** order <= end) return left;
    left &= ~(1 << order);
  }
  return 0;
}

/** shmem_huge_global_enabled: the pmd order, where the mount (or whoever forces it) wants huge pages; 0 where not. `vma` is 0 for read() and write(). */
function globalOrders(inode: InodeRef, vma: VmaRef, vmFlags: number, index: number, forced: number): number {
  const huge = get(globals, Globals.shmemHuge);
  const pmd = 1 << pmdOrder();
  if (huge === SHMEM_HUGE_DENY) return 0;
  if (forced !== 0 || huge === SHMEM_HUGE_FORCE) return pmd;
  // A mount of its own was made without huge=.
  if (get(inode, Inode.kind) === INODE_TMPFS) return 0;
  const advised = (vmFlags & VM_HUGEPAGE) !== 0 ? pmd : 0;
  if (huge === SHMEM_HUGE_ALWAYS) return vma !== 0 ? pmd : 0;
  if (huge === SHMEM_HUGE_WITHIN_SIZE) {
    const end = Math.ceil(get(inode, Inode.size) / 2 ** pageShift);
    const span = spanPages(1);
    return Math.ceil((index + 1) / span) * span <= end ? pmd : advised;
  }
  return huge === SHMEM_HUGE_ADVISE ? advised : 0;
}

/** shmem_allowable_huge_orders: orders that a page of shared memory may come in. */
export function shmemAllowableHugeOrders(inode: InodeRef, vma: VmaRef, vmFlags: number, index: number, forced: number): number {
  if (vma !== 0 && vmaThpDisabled(vma, vmFlags, forced !== 0)) return 0;
  const wanted = globalOrders(inode, vma, vmFlags, index, forced);
  if (vma === 0 || get(inode, Inode.kind) !== INODE_SHARED_ANON) return wanted;
  const huge = get(globals, Globals.shmemHuge);
  if (huge === SHMEM_HUGE_DENY) return 0;
  if (huge === SHMEM_HUGE_FORCE) return get(globals, Globals.shmemOrdersInherit);
  let mask = get(globals, Globals.shmemOrdersAlways) | ordersWithinSize(inode, get(globals, Globals.shmemOrdersWithinSize), index);
  if ((vmFlags & VM_HUGEPAGE) !== 0) mask |= get(globals, Globals.shmemOrdersMadvise);
  if (wanted > 0) mask |= get(globals, Globals.shmemOrdersInherit);
  return fileOrders() & mask;
}
