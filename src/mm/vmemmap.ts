/**
 * The array of struct page in the kernel's space (mm/sparse-vmemmap.c, arch/x86/mm/init_64.c: vmemmap_populate): which page of memory stands behind which part of it.
 *
 * Invariants
 * - struct page of frame n stands at vmemmapStart() · page size + 64 n. Its content is not in RAM: the machine keeps it in columns (memory/state.ts); what is mapped is real.
 * - Pages of the array are reserved: nobody counts references to them. They are mapped with PMD leaves where a whole leaf's part of the array exists and memory for it
 *   is found, with pages else (sections that are smaller, vmemmap_populate_basepages).
 */
import { codec, spanPages } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { allocPage, get, set, setFlags } from '../kernel/ops.ts';
import { __GFP_NOWARN, GFP_KERNEL } from '../memory/gfp.ts';
import { PG_RESERVED } from '../memory/page-flags.ts';
import { pageOfPfn, pfnOfPage, setPageRefcount } from '../memory/state.ts';
import { EINVAL, ENOMEM, ENOSYS } from './errno.ts';
import { globals } from './globals.ts';
import { makeInitMm } from './init-mm.ts';
import { FOR_DIRECT_MAP, leafAllowed, vmemmapStart } from './kernel-layout.ts';
import { PAGE_KERNEL, vmapRange } from './kernel-map.ts';
import { Globals, type Vpn } from './types.ts';

/** sizeof(struct page), bytes. */
export const STRUCT_PAGE_BYTES = 64;

/** Frames whose struct page stand in one page. */
export const framesPerVmemmapPage = (): number => 2 ** codec.pageShift / STRUCT_PAGE_BYTES;

/** The page of the array that has the struct page of a frame. */
export const vmemmapVpn = (pfn: number): Vpn => vmemmapStart() + Math.floor(pfn / framesPerVmemmapPage());

/** Pages of a leaf that the array may be mapped with; 1 where it has none. */
const leafSpan = (): number => (leafAllowed(1, FOR_DIRECT_MAP) ? spanPages(1) : 1);

/** Makes the array for frames [0, end), once. 0, −ENOMEM, −EINVAL for a second time, −ENOSYS where the mode's kernel has none. */
export function* makeVmemmap(end: number): Op<number> {
  if (vmemmapStart() < 0) return -ENOSYS;
  if (get(globals, Globals.vmemmapEnd) !== 0) return -EINVAL;
  const mm = yield* makeInitMm();
  if (mm < 0) return mm;
  const last = vmemmapVpn(end - 1) + 1;
  let vpn = vmemmapStart();
  while (vpn < last) {
    const span = leafSpan();
    let done = 0;
    if (span > 1 && vpn % span === 0 && last - vpn >= span) done = yield* populate(vpn, span);
    if (done === 0) done = yield* populate(vpn, 1);
    if (done === 0) return -ENOMEM;
    vpn += done;
  }
  set(globals, Globals.vmemmapEnd, end);
  return 0;
}

/** Memory for so many pages of the array, mapped with one leaf; how many, 0 without memory. */
function* populate(vpn: Vpn, pages: number): Op<number> {
  const block = yield* allocPage(pages === 1 ? GFP_KERNEL : GFP_KERNEL | __GFP_NOWARN, Math.log2(pages));
  if (block === 0) return 0;
  for (let i = 0; i < pages; i++) {
    const page = pageOfPfn(pfnOfPage(block) + i);
    setPageRefcount(page, 1);
    yield* setFlags(page, PG_RESERVED);
  }
  return (yield* vmapRange(vpn, vpn + pages, pfnOfPage(block), PAGE_KERNEL, FOR_DIRECT_MAP, pages)) === 0 ? pages : 0;
}
