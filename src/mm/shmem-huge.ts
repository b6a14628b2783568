/**
 * Where shared memory may be in large folios (mm/shmem.c: shmem_allowable_huge_orders, shmem_huge_global_enabled).
 *
 * The mount that memfds, shared anonymous memory and SysV segments live on takes its `huge=` from shmem_enabled; `deny` and `force` there count for every
 * mount and change none. Shared anonymous memory and memfds that are mapped go by the settings of each size (hugepages-…/shmem_enabled), of which
 * those that inherit go by the mount's.
 */
import { get } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { INODE_SHARED_ANON, INODE_TMPFS } from './file-types.ts';
import { globals } from './globals.ts';
import { fileOrders, hasPmdLeaves, highestOrder, maxPageCacheOrder, pmdOrder, vmaThpDisabled } from './huge-orders.ts';
import { Globals, Inode, type InodeRef, type VmaRef } from './types.ts';
import { VM_HUGEPAGE } from './vm-flags.ts';

/** Globals.shmemHuge: shmem_enabled. */
export const SHMEM_HUGE_NEVER = 0;
export const SHMEM_HUGE_ALWAYS = 1;
export const SHMEM_HUGE_WITHIN_SIZE = 2;
export const SHMEM_HUGE_ADVISE = 3;
export const SHMEM_HUGE_DENY = 4;
export const SHMEM_HUGE_FORCE = 5;

/** `huge=` of the mount that an inode of a kind lives on. */
export const mountHuge = (kind: number): number => get(globals, kind === INODE_TMPFS ? Globals.tmpfsHuge : Globals.shmemMountHuge);

/** shmem_get_orders_within_size: those of a set whose block around an index lies within the file, as far as it will reach after a write to `writeEnd`. */
function ordersWithinSize(inode: InodeRef, orders: number, index: number, writeEnd: number): number {
  const end = Math.ceil(Math.max(get(inode, Inode.size), writeEnd) / 2 ** pageShift);
  let left = orders;
  while (left !== 0) {
    const order = highestOrder(left);
    if (Math.ceil((index + 1) / 2 ** order) * 2 ** order <= end) return left;
    left &= ~(1 << order);
  }
  return 0;
}

/** shmem_mapping_size_orders: the orders up to what a write that ends at `writeEnd` fills, in line with its index. */
function mappingSizeOrders(inode: InodeRef, index: number, writeEnd: number): number {
  if ((get(inode, Inode.orders) & 1) === 0 || writeEnd === 0) return 0;
  // filemap_get_order.
  let order = Math.max(0, Math.floor(Math.log2(writeEnd - index * 2 ** pageShift)) - pageShift);
  while (index % 2 ** order !== 0) order--;
  order = Math.min(order, maxPageCacheOrder());
  return order > 0 ? 2 ** (order + 1) - 1 : 0;
}

/** shmem_huge_global_enabled: the orders that the mount (or whoever forces it) wants. `vma` is 0 for read(), write() and fallocate(). */
function globalOrders(inode: InodeRef, vma: VmaRef, vmFlags: number, index: number, writeEnd: number, forced: number): number {
  const pmd = hasPmdLeaves() && pmdOrder() <= maxPageCacheOrder() ? 1 << pmdOrder() : 0;
  const enabled = get(globals, Globals.shmemHuge);
  if (enabled === SHMEM_HUGE_DENY) return 0;
  if (forced !== 0 || enabled === SHMEM_HUGE_FORCE) return pmd;
  const huge = mountHuge(get(inode, Inode.kind));
  if (huge === SHMEM_HUGE_NEVER) return 0;
  const wanted = vma !== 0 ? pmd : mappingSizeOrders(inode, index, writeEnd);
  if (huge === SHMEM_HUGE_ALWAYS) return wanted;
  if (huge === SHMEM_HUGE_WITHIN_SIZE) {
    const within = ordersWithinSize(inode, wanted, index, writeEnd);
    if (within !== 0) return within;
  }
  return (vmFlags & VM_HUGEPAGE) !== 0 ? pmd : 0;
}

/** shmem_allowable_huge_orders: orders that a folio of shared memory may come in. */
export function shmemAllowableHugeOrders(inode: InodeRef, vma: VmaRef, vmFlags: number, index: number, writeEnd: number, forced: number): number {
  if (vma !== 0 && vmaThpDisabled(vma, vmFlags, forced !== 0)) return 0;
  const wanted = globalOrders(inode, vma, vmFlags, index, writeEnd, forced);
  if (vma === 0 || get(inode, Inode.kind) !== INODE_SHARED_ANON) return wanted;
  const huge = get(globals, Globals.shmemHuge);
  if (huge === SHMEM_HUGE_DENY) return 0;
  if (huge === SHMEM_HUGE_FORCE) return get(globals, Globals.shmemOrdersInherit);
  let mask = get(globals, Globals.shmemOrdersAlways) | ordersWithinSize(inode, get(globals, Globals.shmemOrdersWithinSize), index, 0);
  if ((vmFlags & VM_HUGEPAGE) !== 0) mask |= get(globals, Globals.shmemOrdersMadvise);
  if (wanted > 0) mask |= get(globals, Globals.shmemOrdersInherit);
  return fileOrders() & mask;
}

/** shmem_hpage_pmd_enabled: whether any setting allows huge pages of shared memory. */
export function shmemHpagePmdEnabled(): boolean {
  const huge = get(globals, Globals.shmemHuge);
  if (huge === SHMEM_HUGE_DENY) return false;
  const own = get(globals, Globals.shmemOrdersAlways) | get(globals, Globals.shmemOrdersMadvise) | get(globals, Globals.shmemOrdersWithinSize);
  const orders = huge === SHMEM_HUGE_NEVER ? own : own | get(globals, Globals.shmemOrdersInherit);
  return (orders & (1 << pmdOrder())) !== 0;
}
