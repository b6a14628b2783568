/**
 * Pools of huge pages: what they count (I25), what the pages of address spaces are counted as (I12), and that every reservation is somebody's (I24).
 *
 * A reservation belongs to a place of a private mapping, by its owner's VMAs, that has not used it yet, or to a page of a file that is reserved and not there. One that
 * its owner threw away and others have still brings its reservation back when they let it go.
 */
import { compoundOrder } from '../../memory/folio.ts';
import { get } from '../../memory/heap.ts';
import { PG_HUGETLB, PG_HUGETLB_RESTORE_RESERVE } from '../../memory/page-flags.ts';
import { pageFlags, pageNext, pagePrivate, pageRefcount, pagesEnd } from '../../memory/state.ts';
import { MAX_NODES, nodeOfPage } from '../../memory/zone.ts';
import { PTE_PRESENT } from '../../pagetable/canonical.ts';
import { globals } from '../globals.ts';
import { surplusHugePagesOfNode } from '../hugetlb-resize.ts';
import { covered, HPAGE_RESV_OWNER, hstateVma, hugecacheOffset, hugePages, inodeOfVma, isVmaResvSet, privateRef } from '../hugetlb-resv.ts';
import { inodeSubpool } from '../hugetlb-subpool.ts';
import { Hstate, type HstateRef, Hugetlb, Subpool } from '../hugetlb-types.ts';
import { Globals, Inode, Mm, Vma } from '../types.ts';
import { VM_HUGETLB, VM_MAYSHARE } from '../vm-flags.ts';
import { type Census, eachXaEntry, liveOf } from './census.ts';
import type { Findings } from './findings.ts';

/** The reservations of a size that mappings and files have; of those that count against a file system's limits where `spool` is not 0. */
function reservations(h: HstateRef, census: Census, spool: number): number {
  const counts = (inode: number): boolean => get(inode, Inode.hstate) === h && (spool === 0 || inodeSubpool(inode) === spool);
  let sum = 0;
  for (const vma of liveOf(census, Vma)) {
    const flags = get(vma, Vma.flags);
    if ((flags & VM_HUGETLB) === 0 || (flags & VM_MAYSHARE) !== 0 || get(vma, Vma.file) === 0 || !counts(inodeOfVma(vma))) continue;
    if (privateRef(vma) === 0 || !isVmaResvSet(vma, HPAGE_RESV_OWNER)) continue;
    const from = hugecacheOffset(h, vma, get(vma, Vma.start));
    const to = hugecacheOffset(h, vma, get(vma, Vma.end));
    sum += to - from - covered(privateRef(vma), from, to);
  }
  for (const inode of liveOf(census, Inode)) {
    if (!counts(inode) || get(inode, Inode.resvMap) === 0) continue;
    sum += covered(get(inode, Inode.resvMap), 0, Number.MAX_SAFE_INTEGER);
    eachXaEntry(inode + Inode.pages, () => sum--);
  }
  return sum;
}

/** All reservations: those of mappings and files, and what is left of the minima of file systems. */
function owned(h: HstateRef, census: Census): number {
  let sum = reservations(h, census, 0);
  for (const spool of liveOf(census, Subpool)) if (get(spool, Subpool.hstate) === h && get(spool, Subpool.minPages) !== -1) sum += get(spool, Subpool.rsvPages);
  return sum;
}

/** A file system's limits: what is used of them are pages that came from it, and reservations. */
function checkSubpool(spool: number, census: Census, found: Findings): void {
  const name = `subpool ${spool}`;
  const [max, min, rsv] = [get(spool, Subpool.maxPages), get(spool, Subpool.minPages), get(spool, Subpool.rsvPages)];
  let pages = 0;
  for (let page = 1; page < pagesEnd(); page++) if ((pageFlags[page] & PG_HUGETLB) !== 0 && pageRefcount[page] > 0 && pagePrivate[page] === spool) pages++;
  const used = pages + reservations(get(spool, Subpool.hstate), census, spool);
  if (max !== -1) found.equal('I24', `${name}: used pages`, get(spool, Subpool.usedPages), used);
  if (max !== -1 && used > max) found.add('I24', `${name}: ${used} pages are used, of ${max}`);
  if (min !== -1 && max !== -1) found.equal('I24', `${name}: pages reserved for the minimum`, rsv, Math.max(0, min - used));
  if (min !== -1 && (rsv < 0 || rsv > min)) found.add('I24', `${name}: ${rsv} pages are reserved for a minimum of ${min}`);
}

function checkPool(h: HstateRef, census: Census, found: Findings): void {
  const name = `pool of order ${get(h, Hstate.order)}`;
  let free = 0;
  for (let page = get(h, Hstate.free); page !== 0 && free <= get(h, Hstate.nr); page = pageNext[page]) {
    free++;
    if (pageRefcount[page] !== 0 || (pageFlags[page] & PG_HUGETLB) === 0)
      found.add('I25', `${name}: page ${page} is free, but has ${pageRefcount[page]} references`);
  }
  let used = 0;
  let restoring = 0;
  const byNode: number[] = [];
  for (let page = get(h, Hstate.free); page !== 0; page = pageNext[page]) byNode[nodeOfPage(page)] = (byNode[nodeOfPage(page)] ?? 0) + 1;
  for (let page = 1; page < pagesEnd(); page++)
    if ((pageFlags[page] & PG_HUGETLB) !== 0 && pageRefcount[page] > 0 && compoundOrder(page) === get(h, Hstate.order)) {
      used++;
      byNode[nodeOfPage(page)] = (byNode[nodeOfPage(page)] ?? 0) + 1;
      if ((pageFlags[page] & PG_HUGETLB_RESTORE_RESERVE) !== 0) restoring++;
    }
  found.equal('I25', `${name}: free pages`, get(h, Hstate.freePages), free);
  found.equal('I25', `${name}: pages`, get(h, Hstate.nr), free + used);
  let surplus = 0;
  for (let node = 0; node < MAX_NODES; node++) {
    const ofNode = surplusHugePagesOfNode(h, node);
    surplus += ofNode;
    if (ofNode < 0 || ofNode > (byNode[node] ?? 0)) found.add('I25', `${name}: ${ofNode} pages of node ${node} are surplus, of ${byNode[node] ?? 0}`);
  }
  found.equal('I25', `${name}: surplus pages`, get(h, Hstate.surplus), surplus);
  found.equal('I24', `${name}: reserved pages`, get(h, Hstate.resv) + restoring, owned(h, census));
  if (get(h, Hstate.resv) < 0) found.add('I24', `${name}: ${get(h, Hstate.resv)} pages are reserved`);
  if (get(h, Hstate.resv) > free) found.add('I24', `${name}: ${get(h, Hstate.resv)} pages are reserved, ${free} are free`);
}

/** hugetlb_usage of each address space; not where tables were shared, whose pages count for who made them, and against who unmaps them last. */
function checkUsage(census: Census, found: Findings): void {
  if (get(get(globals, Globals.hugetlb), Hugetlb.shared) !== 0) return;
  for (const { mm, vmas, entries } of census.spaces) {
    let pages = 0;
    for (const vma of vmas) {
      if ((get(vma, Vma.flags) & VM_HUGETLB) === 0) continue;
      const size = hugePages(hstateVma(vma));
      for (const { vpn, pte } of entries)
        if (vpn >= get(vma, Vma.start) && vpn < get(vma, Vma.end) && vpn % size === 0 && (pte & PTE_PRESENT) !== 0) pages += size;
    }
    found.equal('I12', `mm ${mm}: pages of hugetlb`, get(mm, Mm.hugetlbPages), pages);
  }
}

export function checkHugetlb(census: Census, found: Findings): void {
  const hugetlb = get(globals, Globals.hugetlb);
  if (hugetlb === 0) return;
  for (let i = 0; i < get(hugetlb, Hugetlb.count); i++) checkPool(get(hugetlb, Hugetlb.hstates + i), census, found);
  for (const spool of liveOf(census, Subpool)) checkSubpool(spool, census, found);
  checkUsage(census, found);
}
