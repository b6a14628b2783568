/**
 * Statistics of a node as /proc/zoneinfo and /proc/vmstat show them (mm/vmstat.c: vmstat_text, zoneinfo_show_print), counted from the pages when they are asked for.
 *
 * Pages that are mapped count once, however often they are. Huge pages are counted in pages and shown as so many huge pages of a PMD's size
 * (vmstat_item_print_in_thp). What nothing here keeps (slabs, workingsets, kernel stacks, events of reclaim) has no line.
 */
import { folioEntireMapcount, folioPagesMapped, folioTestLarge } from '../../memory/folio.ts';
import { get } from '../../memory/heap.ts';
import { PG_ANON, PG_BUDDY, PG_DIRTY, PG_HUGETLB, PG_LRU, PG_PCP, PG_TABLE, PG_TAIL, PG_UNEVICTABLE, PG_WRITEBACK } from '../../memory/page-flags.ts';
import { heap, pageFlags, pageMapcount, pageMapping, pageOrder, pageRefcount, pagesEnd, pfnOfPage } from '../../memory/state.ts';
import { basePfn, locate, Zone, zoneOfFrame } from '../../memory/zone.ts';
import { type Statistics, zoneinfo } from '../../memory/zoneinfo.ts';
import { INODE_DISK, kindIsShmem } from '../../mm/file-types.ts';
import { pmdOrder } from '../../mm/huge-orders.ts';
import { Inode } from '../../mm/types.ts';

/** What is kept of every node, as Linux names and orders it. */
const NAMES = [
  'nr_unevictable',
  'nr_anon_pages',
  'nr_mapped',
  'nr_file_pages',
  'nr_dirty',
  'nr_writeback',
  'nr_shmem',
  'nr_shmem_hugepages',
  'nr_shmem_pmdmapped',
  'nr_file_hugepages',
  'nr_file_pmdmapped',
  'nr_anon_transparent_hugepages',
  'nr_page_table_pages',
  'nr_hugetlb',
] as const;
type Name = (typeof NAMES)[number];

/** vmstat_item_print_in_thp: counted in pages, shown as huge pages. */
const IN_THP: ReadonlySet<Name> = new Set([
  'nr_shmem_hugepages',
  'nr_shmem_pmdmapped',
  'nr_file_hugepages',
  'nr_file_pmdmapped',
  'nr_anon_transparent_hugepages',
]);

type Counts = Record<Name, number>;

/** Adds what one folio is counted under. */
function countFolio(counts: Counts, page: number): void {
  const flags = pageFlags[page];
  const large = folioTestLarge(page);
  const pages = large ? 2 ** pageOrder[page] : 1;
  if ((flags & PG_TABLE) !== 0) counts.nr_page_table_pages++;
  if ((flags & PG_HUGETLB) !== 0) {
    counts.nr_hugetlb += pages;
    return;
  }
  const whole = folioEntireMapcount(page) > 0;
  const mapped = whole ? pages : large ? folioPagesMapped(page) : Math.min(pageMapcount[page], 1);
  const anonymous = (flags & PG_ANON) !== 0;
  if ((flags & PG_LRU) !== 0 && (flags & PG_UNEVICTABLE) !== 0) counts.nr_unevictable += pages;
  if ((flags & PG_WRITEBACK) !== 0) counts.nr_writeback += pages;
  if (anonymous) {
    counts.nr_anon_pages += mapped;
    if (whole) counts.nr_anon_transparent_hugepages += pages;
  } else if (pageMapping[page] !== 0 && (flags & PG_TABLE) === 0) countCached(counts, page, pages, mapped, whole);
}

/** Of the page cache. */
function countCached(counts: Counts, page: number, pages: number, mapped: number, whole: boolean): void {
  const kind = get(pageMapping[page], Inode.kind);
  const shmem = kindIsShmem(kind);
  counts.nr_mapped += mapped;
  counts.nr_file_pages += pages;
  if (shmem) counts.nr_shmem += pages;
  if (kind === INODE_DISK && (pageFlags[page] & PG_DIRTY) !== 0) counts.nr_dirty += pages;
  if (pages >= 2 ** pmdOrder()) counts[shmem ? 'nr_shmem_hugepages' : 'nr_file_hugepages'] += pages;
  if (whole) counts[shmem ? 'nr_shmem_pmdmapped' : 'nr_file_pmdmapped'] += pages;
}

/** The mounted machine's statistics of a node. */
export function nodeStatistics(node: number): Statistics {
  const counts = Object.fromEntries(NAMES.map((name) => [name, 0])) as Counts;
  locate();
  const end = pagesEnd();
  for (let page = 1; page < end; page++)
    if ((pageFlags[page] & (PG_BUDDY | PG_PCP | PG_TAIL)) === 0 && pageRefcount[page] > 0 && heap[zoneOfFrame(pfnOfPage(page) - basePfn) + Zone.node] === node)
      countFolio(counts, page);
  const thp = 2 ** pmdOrder();
  return NAMES.map((name) => [name, IN_THP.has(name) ? Math.floor(counts[name] / thp) : counts[name]]);
}

/** /proc/zoneinfo of the mounted machine. */
export const zoneinfoText = (): string => zoneinfo({ nodeStats: nodeStatistics });
