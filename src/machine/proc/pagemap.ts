/** /proc/PID/pagemap and /proc/PID/clear_refs of a machine's process. */
import { alloc, free, get, set } from '../../memory/heap.ts';
import { ERANGE } from '../../mm/errno.ts';
import { PAGEMAP_BUFFER, Pagemap, PmRegions, PmScan } from '../../mm/task-mmu.ts';
import { Process as ProcessStruct } from '../../mm/types.ts';
import type { Machine } from '../machine.ts';
import type { PagemapScan, PagemapScanResult } from '../trace/host.ts';

/** The PAGEMAP_SCAN ioctl. */
export function scanPagemap(machine: Machine, process: number, request: PagemapScan): PagemapScanResult {
  machine.enter();
  const shift = BigInt(machine.pageShift);
  const mask = (1n << shift) - 1n;
  const scan = alloc(PmScan);
  set(scan, PmScan.mm, get(process, ProcessStruct.mm));
  set(scan, PmScan.flags, Number(request.flags));
  set(scan, PmScan.start, Number(request.start >> shift));
  set(scan, PmScan.startOffset, Number(request.start & mask));
  set(scan, PmScan.end, Number(request.end >> shift));
  set(scan, PmScan.endOffset, Number(request.end & mask));
  set(scan, PmScan.vecLen, request.vectorLength);
  set(scan, PmScan.maxPages, Number(request.maxPages));
  set(scan, PmScan.inverted, Number(request.invertedMask));
  set(scan, PmScan.mask, Number(request.mask));
  set(scan, PmScan.anyMask, Number(request.anyMask));
  set(scan, PmScan.returnMask, Number(request.returnMask));
  const result = machine.kernel.pagemapScan(scan);
  const regions: { start: bigint; end: bigint; categories: number }[] = [];
  for (let buffer = get(scan, PmScan.first); buffer !== 0; buffer = get(buffer, PmRegions.next))
    for (let i = 0; i < get(buffer, PmRegions.count); i++)
      regions.push({
        start: BigInt(get(buffer, PmRegions.start + i)) << shift,
        end: BigInt(get(buffer, PmRegions.end + i)) << shift,
        categories: get(buffer, PmRegions.categories + i),
      });
  const walkEnd = BigInt(get(scan, PmScan.walkEnd)) << shift;
  machine.kernel.pmScanFree(scan);
  return { result, regions, walkEnd };
}

/**
 * The 64-bit entries of pages [vpn, vpn + pages), as a reader with CAP_SYS_ADMIN has them (`showPfn` false: as anybody else). Fewer where user space
 * ends.
 */
export function readPagemap(machine: Machine, process: number, vpn: number, pages: number, showPfn = true): BigUint64Array {
  machine.enter();
  const mm = get(process, ProcessStruct.mm);
  const into = alloc(Pagemap);
  const out = new BigUint64Array(pages);
  let done = 0;
  while (done < pages) {
    const count = machine.kernel.pagemapRead(mm, vpn + done, Math.min(pages - done, PAGEMAP_BUFFER), showPfn ? 1 : 0, into);
    if (count === 0) break;
    for (let i = 0; i < count; i++) out[done + i] = (BigInt(get(into, Pagemap.flags + i)) << 55n) | BigInt(get(into, Pagemap.frames + i));
    done += count;
  }
  free(Pagemap, into);
  return out.subarray(0, done);
}

/** Writes a number to clear_refs: 0, −EINVAL, or −ERANGE for what is no int. Whoever writes has had the CPU meanwhile: translations that it held are gone. */
export function writeClearRefs(machine: Machine, process: number, value: number): number {
  machine.enter();
  if (value !== (value | 0)) return -ERANGE;
  const result = machine.kernel.clearRefs(get(process, ProcessStruct.mm), value);
  machine.tlb.flushAll();
  return result;
}
