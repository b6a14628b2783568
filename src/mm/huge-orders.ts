/**
 * Where large folios are allowed: settings of the machine, advice of VMAs, room (mm/huge_memory.c: thp_vma_allowable_orders; include/linux/huge_mm.h).
 *
 * Sets of orders are numbers with a bit for each. The settings stand in `Globals`: what /sys/kernel/mm/transparent_hugepage says (machine/thp-settings.ts writes them).
 */
import { codec, spanPages } from '../kernel/arch.ts';
import { get } from '../kernel/ops.ts';
import { __GFP_DIRECT_RECLAIM, __GFP_KSWAPD_RECLAIM, __GFP_NORETRY, GFP_TRANSHUGE, GFP_TRANSHUGE_LIGHT } from '../memory/gfp.ts';
import { INODE_DISK } from './file-types.ts';
import { globals } from './globals.ts';
import { MMF_DISABLE_THP, MMF_DISABLE_THP_EXCEPT_ADVISED } from './mm-flags.ts';
import { shmemAllowableHugeOrders } from './shmem-huge.ts';
import { File, Globals, Inode, Mm, Vma, type VmaRef, type Vpn } from './types.ts';
import { VM_HUGEPAGE, VM_HUGETLB, VM_NOHUGEPAGE, VM_RAND_READ, VM_SEQ_READ, VM_SPECIAL } from './vm-flags.ts';
import { vmaIsAnonymous } from './vm-ops.ts';

/** What asks (enum tva_type). */
export const TVA_SMAPS = 0;
export const TVA_PAGEFAULT = 1;
export const TVA_KHUGEPAGED = 2;
export const TVA_FORCED_COLLAPSE = 3;

/** Globals.thpEnabled: never, where madvise(MADV_HUGEPAGE) asks for it, always. */
export const THP_NEVER = 0;
export const THP_MADVISE = 1;
export const THP_ALWAYS = 2;

/** Globals.thpDefrag: how hard a huge page is looked for. */
export const DEFRAG_MADVISE = 0;
export const DEFRAG_ALWAYS = 1;
export const DEFRAG_DEFER = 2;
export const DEFRAG_DEFER_MADVISE = 3;
export const DEFRAG_NEVER = 4;

/** Families whose kernels have transparent huge pages (HAVE_ARCH_TRANSPARENT_HUGEPAGE). */
const THP_FAMILIES = ['x86', 'arm64', 'riscv', 's390', 'powerpc', 'loongarch', 'sparc64', 'mips', 'arm'];

/** Whether huge pages of one pmd entry exist in the mode. */
export const hasPmdLeaves = (): boolean => codec.levels[1].leaves && THP_FAMILIES.includes(codec.mode.family);

/** HPAGE_PMD_ORDER. */
export const pmdOrder = (): number => Math.log2(spanPages(1));

/** THP_ORDERS_ALL_ANON: all up to PMD_ORDER but 0 and 1. */
const anonOrders = (): number => (hasPmdLeaves() ? 2 ** (pmdOrder() + 1) - 1 - 3 : 0);
/** THP_ORDERS_ALL_FILE_DEFAULT: all that the page cache takes, but 0. */
export const fileOrders = (): number => (hasPmdLeaves() ? 2 ** (maxPageCacheOrder() + 1) - 1 - 1 : 0);
/** MAX_PAGECACHE_ORDER: a huge page (order 8 where there are none), if Linux's array of pages (two of its levels in one entry) can hold it. */
export const maxPageCacheOrder = (): number => (hasPmdLeaves() ? Math.min(11, pmdOrder()) : 8);

export const hasOrder = (orders: number, order: number): boolean => (orders & (1 << order)) !== 0;
/** highest_order, −1 of an empty set. */
export const highestOrder = (orders: number): number => 31 - Math.clz32(orders);

/** vma_thp_disabled. */
export function vmaThpDisabled(vma: VmaRef, vmFlags: number, forced: boolean): boolean {
  const flags = get(get(vma, Vma.mm), Mm.flags);
  if ((vmFlags & VM_NOHUGEPAGE) !== 0) return true;
  if ((flags & MMF_DISABLE_THP) !== 0) return true;
  // The advice may have been given for the range, or be the collapse that is asked for now.
  return (flags & MMF_DISABLE_THP_EXCEPT_ADVISED) !== 0 && (vmFlags & VM_HUGEPAGE) === 0 && !forced;
}

/** thp_vma_suitable_order: the naturally aligned block around a page lies in the VMA, in line with its file. */
export function thpVmaSuitableOrder(vma: VmaRef, vpn: Vpn, order: number): boolean {
  const pages = 2 ** order;
  if (!vmaIsAnonymous(vma) && (get(vma, Vma.start) - get(vma, Vma.pgoff)) % pages !== 0) return false;
  const first = vpn - (vpn % pages);
  return first >= get(vma, Vma.start) && first + pages <= get(vma, Vma.end);
}

/** thp_vma_suitable_orders: those of a set that are suitable; when one is, all below it are. */
export function thpVmaSuitableOrders(vma: VmaRef, vpn: Vpn, orders: number): number {
  let left = orders;
  while (left !== 0) {
    const order = highestOrder(left);
    if (thpVmaSuitableOrder(vma, vpn, order)) break;
    left &= ~(1 << order);
  }
  return left;
}

/** vma_is_temporary_stack. */
const temporaryStack = (vmFlags: number): boolean => (vmFlags & (VM_RAND_READ | VM_SEQ_READ)) === (VM_RAND_READ | VM_SEQ_READ);

/** The orders that settings allow in anonymous memory of such flags. */
function enabledAnonOrders(vmFlags: number): number {
  const advised = (vmFlags & VM_HUGEPAGE) !== 0;
  const enabled = get(globals, Globals.thpEnabled);
  let mask = get(globals, Globals.thpOrdersAlways);
  if (advised) mask |= get(globals, Globals.thpOrdersMadvise);
  if (enabled === THP_ALWAYS || (advised && enabled !== THP_NEVER)) mask |= get(globals, Globals.thpOrdersInherit);
  return mask;
}

/** thp_vma_allowable_orders: which of a set of orders a VMA may have, for a purpose (TVA_*). */
export function thpVmaAllowableOrders(vma: VmaRef, vmFlags: number, type: number, wanted: number): number {
  const anonymous = vmaIsAnonymous(vma);
  let orders = wanted & (anonymous ? anonOrders() : fileOrders());
  if (type !== TVA_FORCED_COLLAPSE && anonymous) orders &= enabledAnonOrders(vmFlags);
  if (orders === 0 || (vmFlags & VM_HUGETLB) !== 0) return 0;
  if (vmaThpDisabled(vma, vmFlags, type === TVA_FORCED_COLLAPSE)) return 0;
  if (type !== TVA_PAGEFAULT && type !== TVA_SMAPS && (vmFlags & (VM_SPECIAL | VM_HUGETLB)) !== 0) return 0;
  if (type !== TVA_PAGEFAULT) {
    while (orders !== 0) {
      const order = highestOrder(orders);
      if (get(vma, Vma.end) >= 2 ** order && thpVmaSuitableOrder(vma, get(vma, Vma.end) - 2 ** order, order)) break;
      orders &= ~(1 << order);
    }
    if (orders === 0) return 0;
  }
  if (!anonymous) return fileAllowable(vma, vmFlags, type, orders);
  if (temporaryStack(vmFlags)) return 0;
  if (get(vma, Vma.anonVma) === 0) return type === TVA_SMAPS || type === TVA_PAGEFAULT ? orders : 0;
  return orders;
}

/** The part for files: shared memory has settings of its own; files of disks have no huge pages (CONFIG_READ_ONLY_THP_FOR_FS is off). */
function fileAllowable(vma: VmaRef, vmFlags: number, type: number, orders: number): number {
  const file = get(vma, Vma.file);
  if (file === 0 || type === TVA_PAGEFAULT) return 0;
  const inode = get(file, File.inode);
  if (get(inode, Inode.kind) === INODE_DISK) return 0;
  return orders & shmemAllowableHugeOrders(inode, vma, vmFlags, get(vma, Vma.pgoff), 0, type === TVA_FORCED_COLLAPSE ? 1 : 0);
}

/** THPeligible of smaps. */
export const thpEligible = (vma: VmaRef): boolean => thpVmaAllowableOrders(vma, get(vma, Vma.flags), TVA_SMAPS, -1) !== 0;

/** vma_thp_gfp_mask. `vma` is 0 for write() and fallocate() of shared memory. */
export function vmaThpGfpMask(vma: VmaRef): number {
  const advised = vma !== 0 && (get(vma, Vma.flags) & VM_HUGEPAGE) !== 0;
  switch (get(globals, Globals.thpDefrag)) {
    case DEFRAG_ALWAYS:
      return GFP_TRANSHUGE | (advised ? 0 : __GFP_NORETRY);
    case DEFRAG_DEFER:
      return GFP_TRANSHUGE_LIGHT | __GFP_KSWAPD_RECLAIM;
    case DEFRAG_DEFER_MADVISE:
      return GFP_TRANSHUGE_LIGHT | (advised ? __GFP_DIRECT_RECLAIM : __GFP_KSWAPD_RECLAIM);
    case DEFRAG_MADVISE:
      return GFP_TRANSHUGE_LIGHT | (advised ? __GFP_DIRECT_RECLAIM : 0);
    default:
      return GFP_TRANSHUGE_LIGHT;
  }
}
