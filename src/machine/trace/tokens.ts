/**
 * Pages of a VMA as runs of tokens: what is mapped, in one or a few letters, and where the same page appeared before.
 *
 * Invariants: runs cover the VMA without gap; a run's tokens are equal, its references and indices advance by one page; the first
 * appearance of a page in a snapshot (processes ascending, addresses ascending) has no reference, every later one has.
 */
import { PAGE, type PageView, type VmaView } from '../proc/view.ts';
import type { PageRun } from './line.ts';

/** Where each page and swap slot of one snapshot appeared first. */
export class FirstAppearances {
  readonly #pages = new Map<number, { process: number; vpn: number }>();
  readonly #slots = new Map<number, { process: number; vpn: number }>();

  /** The first appearance; undefined when this is it. */
  see(page: PageView, process: number): { process: number; vpn: number } | undefined {
    const map = page.kind === 'swap' ? this.#slots : this.#pages;
    const before = map.get(page.key);
    if (before === undefined) map.set(page.key, { process, vpn: page.vpn });
    return before;
  }
}

const has = (flags: number, bit: number): boolean => (flags & bit) !== 0;

/** Letters for a page. Of files on a disk neither the dirty flag nor the folio is told: writeback and readahead decide those. */
export function tokenOf(page: PageView, onDisk: boolean): string {
  const { kind, flags, mapcount, order } = page;
  if (kind === 'guard') return 'g';
  if (kind === 'poison') return 'p';
  // /proc/PID/pagemap shows such a marker of a hugetlb page as an empty entry with the uffd-wp bit.
  if (kind === 'uffd-wp') return has(flags, PAGE.HUGETLB) ? '.u' : 'u';
  if (kind === 'migration') return 'V';
  const protectedBy = has(flags, PAGE.UFFD_WP) ? 'w' : '';
  if (kind === 'zero') return `z${protectedBy}`;
  if (kind === 'huge-zero') return `Z${protectedBy}`;
  const anon = has(flags, PAGE.ANON);
  if (kind === 'swap') return `S${anon ? '' : 'f'}${protectedBy}`;
  const hugetlb = has(flags, PAGE.HUGETLB);
  let token = anon ? 'a' : 'f';
  if (hugetlb) token += 'H';
  if (order > 0 && !hugetlb && !onDisk) token += `o${order}`;
  if (mapcount !== 1) token += `m${mapcount}`;
  if (has(flags, PAGE.EXCLUSIVE_DIFFERS)) token += '!';
  if (anon && has(flags, PAGE.ANON_EXCLUSIVE)) token += 'X';
  if (anon && !has(flags, PAGE.SWAPBACKED) && !hugetlb) token += 'l';
  token += protectedBy;
  if (has(flags, PAGE.DIRTY) && !onDisk && !hugetlb) token += 'd';
  if (has(flags, PAGE.KSM)) token += 'K';
  if (has(flags, PAGE.SWAPCACHE) && has(flags, PAGE.SWAPBACKED)) token += 'c';
  if (has(flags, PAGE.MLOCKED)) token += 'L';
  if (has(flags, PAGE.UNEVICTABLE)) token += 'U';
  return token;
}

/** The runs of a VMA. */
export function runsOf(vma: VmaView, process: number, seen: FirstAppearances, onDisk: boolean): PageRun[] {
  const runs: PageRun[] = [];
  let token = '';
  let count = 0;
  let index = 0;
  let same: { process: number; vpn: number } | undefined;
  let inFolio = false;
  let folioPages = 1;
  const put = (): void => {
    if (count > 0) runs.push({ count, token, index, ...(same === undefined ? {} : { same }) });
    count = 0;
  };
  const empty = (pages: number): void => {
    if (pages === 0) return;
    if (count > 0 && token === '.') {
      count += pages;
      return;
    }
    put();
    [token, count, index, same, inFolio] = ['.', pages, 0, undefined, false];
  };
  let at = vma.start;
  let text = '';
  let last: PageView | undefined;
  for (const page of vma.pages) {
    empty(page.vpn - at);
    at = page.vpn + 1;
    // neighbours are mostly alike: a huge page has hundreds of them
    if (last === undefined || last.flags !== page.flags || last.kind !== page.kind || last.mapcount !== page.mapcount || last.order !== page.order)
      text = tokenOf(page, onDisk);
    last = page;
    const before = page.kind === 'page' || page.kind === 'swap' ? seen.see(page, process) : undefined;
    const folio = page.kind === 'page' && page.order > 0 && (page.flags & PAGE.HUGETLB) === 0 && !onDisk;
    if (count > 0 && token === text && continues(before, same, count) && (!folio || (inFolio && page.index === (index + count) % folioPages))) {
      count++;
      continue;
    }
    put();
    [token, count, same, inFolio] = [text, 1, before, folio];
    index = folio ? page.index : 0;
    folioPages = folio ? 2 ** page.order : 1;
  }
  empty(vma.end - at);
  put();
  return runs;
}

/** Does the reference go on where the run's stands after `count` pages? */
function continues(before: { process: number; vpn: number } | undefined, same: { process: number; vpn: number } | undefined, count: number): boolean {
  if (before === undefined || same === undefined) return before === same;
  return before.process === same.process && before.vpn === same.vpn + count;
}
