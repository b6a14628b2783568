/**
 * The machine's kernel space in pages (arch/linux/kernel.ts says it in bytes), and which leaves the kernel maps with in the mounted mode.
 *
 * Invariant: nothing here is state; it follows from the mode.
 */
import { type KernelLayout, kernelLayout } from '../arch/linux/kernel.ts';
import { pageSizes } from '../arch/linux/page-sizes.ts';
import { codec, spanPages, topLevel } from '../kernel/arch.ts';
import { PTE_GROUP } from '../pagetable/canonical.ts';
import type { Vpn } from './types.ts';

const layout = (): KernelLayout | undefined => kernelLayout(codec.mode);

const inPages = (address: bigint): number => Number(address >> BigInt(codec.pageShift));

/** Whether the mode's kernel space is known here: machines of others have no kernel tables. */
export const hasKernelLayout = (): boolean => layout() !== undefined;
/** Page where frame 0 appears (PAGE_OFFSET); −1 where RAM is not mapped by page tables. */
export const directMapStart = (): Vpn => (layout()?.directMap === undefined ? -1 : inPages(layout()?.directMap as bigint));
/** VMALLOC_START. */
export const vmallocStart = (): Vpn => inPages((layout() as KernelLayout).vmalloc[0]);
/** VMALLOC_END. */
export const vmallocEnd = (): Vpn => inPages((layout() as KernelLayout).vmalloc[1]);
/** Page where struct page 0 stands; −1 where there is no such array. */
export const vmemmapStart = (): Vpn => (layout()?.vmemmap === undefined ? -1 : inPages(layout()?.vmemmap as bigint));

/** pfn_to_virt, as a page number. */
export const directMapVpn = (pfn: number): Vpn => directMapStart() + pfn;

/** What leaves are for. */
export const FOR_NOTHING = 0;
export const FOR_VMAP = 1;
export const FOR_DIRECT_MAP = 2;

/** Whether the kernel maps with pages of 2^shift bytes. */
export const sizeAllowed = (shift: number, use: number): boolean =>
  pageSizes(codec.mode).some((s) => s.shift === shift && ((use === FOR_VMAP && s.vmap) || (use === FOR_DIRECT_MAP && s.directMap)));

/** arch_vmap_pmd_supported, arch_vmap_pud_supported, and the like for the direct map: whether the kernel maps with leaves of a level. */
export const leafAllowed = (level: number, use: number): boolean =>
  level > 0 &&
  level <= topLevel &&
  ((codec.levels[level].leaves && sizeAllowed(codec.levels[level].shift, use)) ||
    (use === FOR_DIRECT_MAP && codec.levels[level].kernelLeaves.some((leaf) => (leaf.bits & PTE_GROUP) === 0 && sizeAllowed(leaf.shift, use))));

/** The same as a number of pages, 0 where not: for code that counts. */
export const leafPages = (level: number, use: number): number => (leafAllowed(level, use) ? spanPages(level) : 0);
