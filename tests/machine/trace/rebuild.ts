/**
 * Views of processes made from a recorded snapshot: the inverse of what `snapshot.ts` prints.
 *
 * Pages, their sharing, order and flags come from the tokens; page frame numbers are invented, one for each first appearance. What tokens do
 * not tell (dirty and accessed bits of entries) is chosen so that the recorded sums come out, page by page from the start of the VMA; where
 * no choice would give them they come out wrong, and the test sees it. Everything else is computed by the code under test.
 */
import { type FileKind, type FileView, PAGE, type PageKind, type PageView, type ProcessView, type VmaView } from '../../../src/machine/proc/view.ts';
import { flagsFromLetters } from '../../../src/machine/proc/vm-bits.ts';
import type { FileFields, Snapshot } from '../../../src/machine/trace/delta.ts';
import { parseLine, type VmaLine } from '../../../src/machine/trace/line.ts';

const KINDS: Readonly<Record<string, FileKind>> = {
  memfd: 'memfd',
  tmpfs: 'tmpfs',
  disk: 'disk',
  shanon: 'shared-anon',
  sysv: 'sysv',
  ahuge: 'hugetlb-anon',
  other: 'other',
};

const HEAP = { startBrk: 0x7e0000011000n, brk: 0x7e0000011000n };
const HARNESS = { first: 0x7e0000000, last: 0x7e0000011 };
const STACK = 0x7fffffffefe0n;

type Draft = { -readonly [K in keyof PageView]: PageView[K] };

/** Identities of files by their names in a trace; the same for a whole trace. */
export class FileIds {
  readonly #ids = new Map<string, number>();

  of(name: string): number {
    let id = this.#ids.get(name);
    if (id === undefined) {
      id = this.#ids.size + 1;
      this.#ids.set(name, id);
    }
    return id;
  }

  view(name: string, fields?: FileFields): FileView {
    const prefix = name.slice(0, name.indexOf(':'));
    const id = this.of(name);
    return {
      id,
      kind: KINDS[prefix],
      path: `/${name}`,
      major: 0,
      minor: 1,
      inode: id,
      sizeBytes: fields?.size ?? 0,
      pages: fields?.pages ?? 0,
      hugetlb: prefix === 'ahuge',
    };
  }
}

/** The processes of a snapshot. */
export function rebuild(state: Snapshot, ids: FileIds, pteBaseKb: number): Map<number, ProcessView> {
  const frames = new Map<string, number>();
  const views = new Map<number, ProcessView>();
  for (const [process, { lines, status }] of [...state.processes].sort((a, b) => a[0] - b[0])) {
    const parsed = [...lines.values()].map(parseLine).sort((a, b) => a.start - b.start);
    // The executor's VMA may be locked too; then its 17 pages are in locked_vm and the trace leaves them out.
    const locked = status.VmLck > 0;
    const vmas = [...parsed.map((line) => vmaOf(line, process, ids, frames)), harness(locked, process, views.size)].sort((a, b) => a.start - b.start);
    const heap = parsed.filter((line) => line.name === '[heap]').map((line) => BigInt(line.end * 4096));
    views.set(process, {
      process,
      pid: 100 + process,
      pageBytes: 4096,
      pointerBytes: 8,
      vmas,
      counters: countersOf(status, pteBaseKb, locked),
      startBrk: HEAP.startBrk,
      brk: heap.reduce((a, b) => (a > b ? a : b), HEAP.brk),
      startStack: STACK,
      more: Object.fromEntries(Object.entries(status).filter(([name]) => name.startsWith('ksm_'))),
    });
  }
  return views;
}

/** The executor's VMA: 17 private anonymous pages. */
const harness = (locked: boolean, process: number, salt: number): VmaView => ({
  start: HARNESS.first,
  end: HARNESS.last,
  flags: (flagsFromLetters(['rd', 'wr', 'ex', 'mr', 'mw', 'me', 'ac']) ?? 0) + (locked ? 2 ** 13 : 0),
  pgoff: 0,
  file: undefined,
  pages: Array.from({ length: HARNESS.last - HARNESS.first }, (_, i) => ({
    vpn: HARNESS.first + i,
    kind: 'page' as PageKind,
    key: 2 ** 40 + process * 2 ** 20 + salt * 64 + i,
    flags: PAGE.ANON | PAGE.SWAPBACKED | PAGE.ENTRY_DIRTY,
    mapcount: 1,
    order: 0,
    index: 0,
  })),
  pageBytes: 4096,
  thpEligible: false,
  shmemSwapped: 0,
});

const countersOf = (status: Readonly<Record<string, number>>, pteBaseKb: number, locked: boolean): ProcessView['counters'] => ({
  totalVm: status.VmSize / 4 + 17,
  lockedVm: status.VmLck / 4 + (locked ? 17 : 0),
  pinnedVm: status.VmPin / 4,
  dataVm: status.VmData / 4 + 17,
  stackVm: status.VmStk / 4,
  execVm: status.VmExec / 4,
  rssAnon: status.RssAnon / 4 + 17,
  rssFile: status.RssFile / 4,
  rssShmem: status.RssShmem / 4,
  swapEntries: status.VmSwap / 4,
  pageTableBytes: (status.VmPTE + pteBaseKb) * 1024,
  hugetlb: status.HugetlbPages / 4,
  highestVm: 0,
  highestRss: 0,
});

function vmaOf(line: VmaLine, process: number, ids: FileIds, frames: Map<string, number>): VmaView {
  const numbers = new Map(line.numbers);
  const pages = line.runs.flatMap((run, at) => {
    const start = line.start + line.runs.slice(0, at).reduce((sum, r) => sum + r.count, 0);
    return pagesOf(run.token, run.count, start, run.index, run.same, process, frames);
  });
  const hasFile = !/^(anon|\[)/.test(line.name);
  chooseBits(pages, numbers);
  return {
    start: line.start,
    end: line.end,
    flags: flagsFromLetters(line.letters) ?? Number.NaN,
    pgoff: line.offsetBytes / 4096,
    file: hasFile ? ids.view(line.name) : undefined,
    pages,
    pageBytes: (numbers.get('kp') ?? 4) * 1024,
    thpEligible: numbers.get('te') === 1,
    shmemSwapped: 0,
  };
}

const TOKEN = /^([af])(H?)(?:o(\d+))?(?:m(\d+))?(!?)(X?)(l?)(w?)(d?)(K?)(c?)(L?)(U?)$/;
const MARKERS: Readonly<Record<string, readonly [PageKind, number]>> = {
  z: ['zero', 0],
  zw: ['zero', PAGE.UFFD_WP],
  Z: ['huge-zero', 0],
  g: ['guard', 0],
  p: ['poison', 0],
  u: ['uffd-wp', 0],
  '.u': ['uffd-wp', PAGE.HUGETLB],
  S: ['swap', PAGE.ANON],
  Sf: ['swap', 0],
  Sw: ['swap', PAGE.ANON | PAGE.UFFD_WP],
};

function pagesOf(
  token: string,
  count: number,
  start: number,
  index: number,
  same: { process: number; vpn: number } | undefined,
  process: number,
  frames: Map<string, number>,
): Draft[] {
  if (token === '.') return [];
  const found = TOKEN.exec(token);
  const marker = MARKERS[token];
  if (!found && !marker) throw new Error(`token ${token} is not known to the test`);
  const [kind, flags] = marker ?? ['page', bitsOf(found as RegExpExecArray)];
  const order = Number(found?.[3] ?? 0);
  return Array.from({ length: count }, (_, i) => {
    const vpn = start + i;
    let key = 0;
    if (kind === 'page' || kind === 'swap') {
      key = same === undefined ? frames.size : (frames.get(`${same.process}:${same.vpn + i}`) ?? Number.NaN);
      if (same === undefined) frames.set(`${process}:${vpn}`, key);
    }
    const size = 2 ** order;
    return { vpn, kind, key, flags, mapcount: Number(found?.[4] ?? 1), order, index: order > 0 ? (index + i) % size : 0 };
  });
}

function bitsOf([, kind, hugetlb, , , differs, exclusive, lazy, protectedBy, dirty, ksm, cached, mlocked, unevictable]: RegExpExecArray): number {
  let flags = kind === 'a' ? PAGE.ANON : 0;
  if (lazy === '') flags |= PAGE.SWAPBACKED;
  const bits: [string, number][] = [
    [hugetlb, PAGE.HUGETLB],
    [differs, PAGE.EXCLUSIVE_DIFFERS],
    [exclusive, PAGE.ANON_EXCLUSIVE],
    [protectedBy, PAGE.UFFD_WP],
    [dirty, PAGE.DIRTY],
    [ksm, PAGE.KSM],
    [cached, PAGE.SWAPCACHE],
    [mlocked, PAGE.MLOCKED],
    [unevictable, PAGE.UNEVICTABLE],
  ];
  for (const [text, bit] of bits) if (text !== '') flags |= bit;
  return flags;
}

/** Sets the bits of entries that the sums of the line tell of. */
function chooseBits(pages: readonly Draft[], numbers: ReadonlyMap<string, number>): void {
  const present = pages.filter((page) => page.kind === 'page');
  const wanted = (name: string): number => (numbers.get(name) ?? 0) / 4;
  mark(present, PAGE.YOUNG, wanted('ref'));
  mark(present, PAGE.PMD_MAPPED, wanted('ah') + wanted('sp') + wanted('fp'), (page) => page.order === 9);
  mark(present, PAGE.HUGETLB_SHARED, wanted('sh'));
  chooseDirty(present, wanted('lf'), wanted('sd'), wanted('pd'));
}

const isLazy = (page: Draft): boolean => (page.flags & PAGE.ANON) !== 0 && (page.flags & PAGE.SWAPBACKED) === 0;

/**
 * Dirty entries so that the sums come out: lazyfree pages that are clean, shared and private pages that are dirty. How many of the dirty
 * lazyfree pages are shared ones is the only choice.
 */
function chooseDirty(present: readonly Draft[], lazyFree: number, sharedDirty: number, privateDirty: number): void {
  const isDirty = (page: Draft): boolean => (page.flags & PAGE.DIRTY) !== 0;
  const group = (shared: boolean, lazy: boolean): Draft[] => present.filter((p) => !isDirty(p) && p.mapcount >= 2 === shared && isLazy(p) === lazy);
  const [sharedLazy, privateLazy, sharedOther, privateOther] = [group(true, true), group(false, true), group(true, false), group(false, false)];
  const dirtyAlready = (shared: boolean): number => present.filter((p) => isDirty(p) && p.mapcount >= 2 === shared).length;
  const lazyDirty = sharedLazy.length + privateLazy.length - lazyFree;
  const [shared, own] = [sharedDirty - dirtyAlready(true), privateDirty - dirtyAlready(false)];
  const fits = (n: number, pages: readonly Draft[]): boolean => n >= 0 && n <= pages.length;
  for (let x = 0; x <= sharedLazy.length; x++) {
    const y = lazyDirty - x;
    if (!fits(y, privateLazy) || !fits(shared - x, sharedOther) || !fits(own - y, privateOther)) continue;
    mark(sharedLazy, PAGE.ENTRY_DIRTY, x);
    mark(privateLazy, PAGE.ENTRY_DIRTY, y);
    mark(sharedOther, PAGE.ENTRY_DIRTY, shared - x);
    mark(privateOther, PAGE.ENTRY_DIRTY, own - y);
    return;
  }
}

function mark(pages: readonly Draft[], bit: number, count: number, may: (page: Draft) => boolean = () => true): void {
  let left = count;
  for (const page of pages) {
    if (left <= 0) return;
    if (!may(page)) continue;
    page.flags |= bit;
    left--;
  }
}
