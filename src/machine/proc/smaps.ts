/**
 * /proc/PID/smaps: the numbers of a VMA as they follow from its pages (of 4 KiB: this is what recordings are compared with), and the lines that show numbers. What the
 * kernel itself counts: mem-stats.ts.
 *
 * Source: fs/proc/task_mmu.c (smap_gather_stats, smaps_account, smaps_page_accumulate, smaps_pte_entry, smaps_hugetlb_range, __show_smap).
 * The proportional set size is summed with 12 fractional bits and each page's share is rounded down, as the kernel does.
 *
 * Units: numbers of `Smaps` are bytes, but for `pss…` and `swapPss` of the running sum, which are bytes << 12.
 */
import { PAGE, type PageView, type VmaView } from './view.ts';
import { hasFlag } from './vm-bits.ts';

const PAGE_BYTES = 4096;
const PSS_SHIFT = 12;

/** `struct mem_size_stats`, in bytes. */
export interface Smaps {
  readonly size: number;
  readonly rss: number;
  readonly pss: number;
  readonly pssDirty: number;
  readonly sharedClean: number;
  readonly sharedDirty: number;
  readonly privateClean: number;
  readonly privateDirty: number;
  readonly referenced: number;
  readonly anonymous: number;
  readonly ksm: number;
  readonly lazyFree: number;
  readonly anonHuge: number;
  readonly shmemPmdMapped: number;
  readonly filePmdMapped: number;
  readonly sharedHugetlb: number;
  readonly privateHugetlb: number;
  readonly swap: number;
  readonly swapPss: number;
  readonly locked: number;
  readonly pageBytes: number;
  readonly thpEligible: boolean;
}

type Sums = { -readonly [K in keyof Smaps]: Smaps[K] };

/** Adds up the pages of a VMA. */
export function smapsOf(vma: VmaView): Smaps {
  const sums = emptySums(vma);
  const locked = hasFlag(vma.flags, 'VM_LOCKED');
  for (const page of vma.pages) {
    if (page.kind === 'swap') addSwap(sums, page);
    else if (page.kind === 'page') addPage(sums, page, locked);
  }
  for (const key of ['pss', 'pssDirty', 'swapPss', 'locked'] as const) sums[key] = Math.floor(sums[key] / 2 ** PSS_SHIFT);
  return sums;
}

const emptySums = (vma: VmaView): Sums => ({
  size: (vma.end - vma.start) * PAGE_BYTES,
  rss: 0,
  pss: 0,
  pssDirty: 0,
  sharedClean: 0,
  sharedDirty: 0,
  privateClean: 0,
  privateDirty: 0,
  referenced: 0,
  anonymous: 0,
  ksm: 0,
  lazyFree: 0,
  anonHuge: 0,
  shmemPmdMapped: 0,
  filePmdMapped: 0,
  sharedHugetlb: 0,
  privateHugetlb: 0,
  swap: vma.shmemSwapped * PAGE_BYTES,
  swapPss: 0,
  locked: 0,
  pageBytes: vma.pageBytes,
  thpEligible: vma.thpEligible,
});

/** A page's part of the proportional set size, in bytes << 12. */
const shareOf = (uses: number): number => {
  const whole = PAGE_BYTES * 2 ** PSS_SHIFT;
  return uses >= 2 ? Math.floor(whole / uses) : whole;
};

function addSwap(sums: Sums, page: PageView): void {
  sums.swap += PAGE_BYTES;
  sums.swapPss += shareOf(page.mapcount);
}

const has = (flags: number, bit: number): boolean => (flags & bit) !== 0;

function addPage(sums: Sums, page: PageView, locked: boolean): void {
  const { flags } = page;
  if (has(flags, PAGE.HUGETLB)) {
    if (has(flags, PAGE.HUGETLB_SHARED)) sums.sharedHugetlb += PAGE_BYTES;
    else sums.privateHugetlb += PAGE_BYTES;
    return;
  }
  const dirty = has(flags, PAGE.ENTRY_DIRTY) || has(flags, PAGE.DIRTY);
  if (has(flags, PAGE.PMD_MAPPED)) {
    if (has(flags, PAGE.ANON)) sums.anonHuge += PAGE_BYTES;
    else if (has(flags, PAGE.SWAPBACKED)) sums.shmemPmdMapped += PAGE_BYTES;
    else sums.filePmdMapped += PAGE_BYTES;
  }
  if (has(flags, PAGE.ANON)) {
    sums.anonymous += PAGE_BYTES;
    if (!has(flags, PAGE.SWAPBACKED) && !dirty) sums.lazyFree += PAGE_BYTES;
  }
  if (has(flags, PAGE.KSM)) sums.ksm += PAGE_BYTES;
  sums.rss += PAGE_BYTES;
  if (has(flags, PAGE.YOUNG) || has(flags, PAGE.REFERENCED)) sums.referenced += PAGE_BYTES;
  const share = shareOf(page.mapcount);
  sums.pss += share;
  if (locked) sums.locked += share;
  if (dirty) sums.pssDirty += share;
  if (page.mapcount >= 2) sums[dirty ? 'sharedDirty' : 'sharedClean'] += PAGE_BYTES;
  else sums[dirty ? 'privateDirty' : 'privateClean'] += PAGE_BYTES;
}

/** Lines of smaps between the first and VmFlags, in its order, each with the number it shows (kB). */
const ROWS: readonly (readonly [label: string, key: keyof Smaps])[] = [
  ['Rss', 'rss'],
  ['Pss', 'pss'],
  ['Pss_Dirty', 'pssDirty'],
  ['Shared_Clean', 'sharedClean'],
  ['Shared_Dirty', 'sharedDirty'],
  ['Private_Clean', 'privateClean'],
  ['Private_Dirty', 'privateDirty'],
  ['Referenced', 'referenced'],
  ['Anonymous', 'anonymous'],
  ['KSM', 'ksm'],
  ['LazyFree', 'lazyFree'],
  ['AnonHugePages', 'anonHuge'],
  ['ShmemPmdMapped', 'shmemPmdMapped'],
  ['FilePmdMapped', 'filePmdMapped'],
  ['Shared_Hugetlb', 'sharedHugetlb'],
  ['Private_Hugetlb', 'privateHugetlb'],
  ['Swap', 'swap'],
  ['SwapPss', 'swapPss'],
  ['Locked', 'locked'],
];

const row = (label: string, bytes: number): string => `${`${label}:`.padEnd(16)}${String(Math.floor(bytes / 1024)).padStart(8)} kB\n`;

/** The lines of a VMA after its first. */
export function smapsBlock(sums: Smaps, letters: readonly string[]): string {
  const head = row('Size', sums.size) + row('KernelPageSize', sums.pageBytes) + row('MMUPageSize', sums.pageBytes);
  const rows = ROWS.map(([label, key]) => row(label, sums[key] as number)).join('');
  const eligible = `THPeligible:    ${String(Number(sums.thpEligible)).padStart(8)}\n`;
  return `${head}${rows}${eligible}VmFlags: ${letters.map((pair) => `${pair} `).join('')}\n`;
}
