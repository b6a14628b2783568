/** Loads and stores of a thread of a process, with the page faults that they lead to: what tasks do between system calls. */
import type { Op } from '../kernel/op.ts';
import { get, kmalloc, set, userLoad, userStore } from '../kernel/ops.ts';
import { ENOMEM } from './errno.ts';
import { userFault } from './fault.ts';
import { pagemapScan, pmScanFree } from './pagemap-scan.ts';
import { PmRegions, PmScan } from './task-mmu.ts';
import { Mm, Process, type ProcessRef, type Vpn } from './types.ts';

/** ACCESS_READ and ACCESS_WRITE of kernel/mmu.ts. */
const ACCESS_READ = 0;
const ACCESS_WRITE = 1;

/** Loads the first word of a page: its low 31 bits, or −(signal · 256 + code). */
export function* threadLoad(process: ProcessRef, vpn: Vpn): Op<number> {
  const mm = get(process, Process.mm);
  for (;;) {
    const value = yield* userLoad(mm, get(mm, Mm.pgd), vpn);
    if (value !== 0) return value - 1;
    const signal = yield* userFault(mm, vpn, ACCESS_READ);
    if (signal !== 0) return -signal;
  }
}

/** Stores to the first word of a page: 0, or −(signal · 256 + code). */
export function* threadStore(process: ProcessRef, vpn: Vpn, value: number): Op<number> {
  const mm = get(process, Process.mm);
  for (;;) {
    if ((yield* userStore(mm, get(mm, Mm.pgd), vpn, value)) !== 0) return 0;
    const signal = yield* userFault(mm, vpn, ACCESS_WRITE);
    if (signal !== 0) return -signal;
  }
}

/** PAGEMAP_SCAN of [vpn, vpn + pages), at most 30: which pages have all categories of `mask` (PAGE_IS_*), bit i for vpn + i; or −errno. */
export function* threadScan(process: ProcessRef, vpn: Vpn, pages: number, mask: number): Op<number> {
  const scan = yield* kmalloc(PmScan.$type);
  if (scan === 0) return -ENOMEM;
  set(scan, PmScan.mm, get(process, Process.mm));
  set(scan, PmScan.start, vpn);
  set(scan, PmScan.end, vpn + pages);
  set(scan, PmScan.mask, mask);
  set(scan, PmScan.returnMask, mask);
  set(scan, PmScan.vecLen, pages);
  let result = yield* pagemapScan(scan);
  if (result >= 0) result = regionBits(scan, vpn);
  yield* pmScanFree(scan);
  return result;
}

/** The pages of all regions of a scan. */
function regionBits(scan: number, vpn: Vpn): number {
  let bits = 0;
  for (let buffer = get(scan, PmScan.first); buffer !== 0; buffer = get(buffer, PmRegions.next))
    for (let i = 0; i < get(buffer, PmRegions.count); i++)
      for (let page = get(buffer, PmRegions.start + i); page < get(buffer, PmRegions.end + i); page++) bits |= 1 << (page - vpn);
  return bits;
}
