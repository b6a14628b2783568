/**
 * What lists about huge pages can do. They work in areas of their own, in units of huge pages and on both sides of their borders:
 * transparent ones in THP_AREA (anonymous private memory) and SHMEM_AREA (files and shared memory), hugetlb ones in POOL_AREA.
 *
 * Invariants: the pool never has more than MOST_POOL pages and is the list's own (the recorder plays such lists alone and gives the pool
 * back). No operation moves part of a private hugetlb mapping that holds reservations: 6.18 loses those of the rest for ever
 * (`hugetlb-mremap` of the catalogue), and every loss costs this machine a huge page until it is started again. So each list that moves
 * either reserves nothing in private mappings or splits mappings at the moved range's ends before (`moveHugetlb`).
 */
import type { Draft, Num } from './draft.ts';
import { F, FALLOC, MADV, MAP, MFD, MREMAP, PAGE, PR, PROT, SCAN, SEAL } from './numbers.ts';

type Act = (d: Draft) => void;

const M = 2 ** 20;
export const HUGE = 2 * M;
export const THP_AREA = 0x40000000;
export const SHMEM_AREA = 0x48000000;
export const POOL_AREA = 0x100000000;
/** Aligned to what a page of page-middle entries maps: memory there shares tables. */
export const SHARING_AREA = 0x180000000;
const AREA_BYTES = 8 * M;
const POOL_BYTES = 16 * M;
export const MOST_POOL = 8;
const THP = '/sys/kernel/mm/transparent_hugepage/';
const POOL = '/sys/kernel/mm/hugepages/hugepages-2048kB/';
/** Sizes of large folios that the policy knows below a huge page's, in KiB. */
const FOLIO_SIZES = [16, 32, 64, 128, 256, 512, 1024] as const;

// ---- transparent huge pages ----
const inside = (d: Draft, area: number): number => {
  const unit = d.r.weighted<number>([HUGE, 5], [64 * 1024, 2], [PAGE, 4], [M / 2, 1]);
  return area + unit * d.r.below(AREA_BYTES / unit);
};

/** Near the borders of huge pages, of 64K and of nothing in particular. */
const near = (d: Draft, area: number): number =>
  area + HUGE * d.r.below(AREA_BYTES / HUGE) + PAGE * d.r.pick([0, 0, 1, 2, 15, 16, 17, 31, 32, 33, 255, 256, 510, 511, d.r.below(512)]);

const hugeLength = (d: Draft): number =>
  d.r.weighted<number>([HUGE, 6], [2 * HUGE, 2], [PAGE, 4], [4 * PAGE, 2], [16 * PAGE, 2], [64 * 1024, 2], [M, 1], [HUGE - PAGE, 0.7], [HUGE + PAGE, 0.7]);

const someArea = (d: Draft): number => (d.r.chance(0.8) ? THP_AREA : SHMEM_AREA);

const touchHuge: Act = (d) => {
  const { r } = d;
  const at = near(d, someArea(d)) + r.pick([0, 0, 0, 0, 100]);
  const kind = r.weighted(['w', 20], ['r', 11], ['cas', 1], ['w8', 1], ['r8', 1]);
  if (kind === 'w' || kind === 'cas') d.emit(kind, at, r.pick([1, 1, 2, 4]), r.between(1, 200));
  else if (kind === 'r') d.emit(kind, at, r.pick([1, 1, 2]));
  else if (kind === 'w8') d.emit(kind, at + PAGE - 3, BigInt(r.bits()) + 1n);
  else d.emit(kind, at + PAGE - 3);
};

/** Ranges that end on borders of pages but for the odd mistake. */
const hugeRange = (d: Draft, area = someArea(d)): [number, number] => {
  const [start, bytes] = [d.r.chance(0.8) ? inside(d, area) : near(d, area), hugeLength(d)];
  return [start, Math.min(bytes, area + 2 * AREA_BYTES - start)];
};

const mapHuge: Act = (d) => {
  const [start, bytes] = hugeRange(d, THP_AREA);
  const flags = d.r.weighted<number>([0, 8], [MAP.POPULATE, 2], [MAP.NORESERVE, 1], [MAP.STACK, 0.4], [MAP.GROWSDOWN, 0.4]);
  d.emit('mmap', start, bytes, d.r.weighted<number>([3, 7], [PROT.READ, 2], [PROT.NONE, 1]), MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED | flags, -1, 0);
};

/** A mapping that Linux places: large ones are aligned to a huge page. */
const placeHuge: Act = (d) => {
  d.emit('mmap', 0, d.r.pick([HUGE, HUGE + PAGE, 2 * HUGE, 2 * HUGE - PAGE, M]), 3, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);
};

const mapShmem: Act = (d) => {
  const { r } = d;
  const [start, bytes] = hugeRange(d, SHMEM_AREA);
  const populate = r.pick([0, 0, 0, MAP.POPULATE]);
  if (r.chance(0.3)) return d.emit('mmap', start, bytes, 3, MAP.SHARED | MAP.ANONYMOUS | MAP.FIXED | populate, -1, 0);
  const kind = r.pick([MAP.SHARED, MAP.SHARED, MAP.PRIVATE]) | (d.reservesNothing ? MAP.NORESERVE : 0);
  d.emit('mmap', start, bytes, r.pick([3, 3, 1]), kind | MAP.FIXED | populate, d.fd(), r.pick([0, 0, HUGE, PAGE]));
};

const unmapHuge: Act = (d) => d.emit('munmap', ...hugeRange(d));
const protectHuge: Act = (d) => d.emit('mprotect', ...hugeRange(d), d.r.pick([3, 3, PROT.READ, PROT.NONE, PROT.READ | PROT.EXEC]));

/** Within one area, or from the anonymous one to free room behind it and back. */
const moveHuge: Act = (d) => {
  const { r } = d;
  const area = someArea(d);
  const [start, bytes] = hugeRange(d, area);
  const to = r.chance(0.6) || area !== THP_AREA ? inside(d, area) : inside(d, area) + 2 * AREA_BYTES;
  const from = area === THP_AREA && r.chance(0.2) ? start + 2 * AREA_BYTES : start;
  const { MAYMOVE, FIXED, DONTUNMAP } = MREMAP;
  const kind = r.weighted(['move', 8], ['keep', 2], ['shrink', 1], ['grow', 1], ['resize', 1]);
  if (kind === 'move') d.emit('mremap', from, bytes, bytes, MAYMOVE | FIXED, to);
  else if (kind === 'keep') d.emit('mremap', from, bytes, bytes, MAYMOVE | FIXED | DONTUNMAP, to);
  else if (kind === 'shrink') d.emit('mremap', from, bytes, Math.max(PAGE, bytes - r.pick([PAGE, 16 * PAGE, M])), 0, 0);
  else if (kind === 'grow') d.emit('mremap', from, bytes, bytes + r.pick([PAGE, M]), 0, 0);
  else d.emit('mremap', from, bytes, bytes + r.pick([PAGE, M, -PAGE]), MAYMOVE | FIXED, to);
};

const adviseHuge: Act = (d) => {
  const kind = d.r.weighted<number>(
    [MADV.HUGEPAGE, 4],
    [MADV.NOHUGEPAGE, 2],
    [MADV.DONTNEED, 4],
    [MADV.FREE, 3],
    [MADV.POPULATE_READ, 1.5],
    [MADV.POPULATE_WRITE, 1.5],
    [MADV.GUARD_INSTALL, 1],
    [MADV.GUARD_REMOVE, 1],
    [MADV.COLD, 1],
    [MADV.PAGEOUT, 2],
    [MADV.REMOVE, 1],
    [MADV.DONTFORK, 0.5],
    [MADV.DOFORK, 0.3],
    [MADV.WIPEONFORK, 0.5],
    [MADV.KEEPONFORK, 0.3],
  );
  d.emit('madvise', ...hugeRange(d), kind);
};

const collapse: Act = (d) => {
  const [start, bytes] = hugeRange(d, THP_AREA);
  if (d.r.chance(0.85)) d.emit('madvise', start, Math.max(bytes, HUGE), MADV.COLLAPSE);
  else
    d.emit(
      'process_madvise',
      d.r.pick(d.processes),
      [
        [start - (start % HUGE), HUGE],
        [start, bytes],
      ],
      MADV.COLLAPSE,
      0,
    );
};

/** Who may have huge pages: the whole machine, or this process. */
const policy: Act = (d) => {
  const { r } = d;
  switch (r.weighted(['enabled', 6], ['size', 2], ['zero', 1], ['process', 4])) {
    case 'enabled':
      return d.emit('cfg', `${THP}enabled`, r.pick(['always', 'madvise', 'never', 'madvise', 'always']));
    case 'size':
      return d.emit('cfg', `${THP}hugepages-${r.pick(FOLIO_SIZES)}kB/enabled`, r.pick(['always', 'inherit', 'madvise', 'never', 'never']));
    case 'zero':
      return d.emit('cfg', `${THP}use_zero_page`, r.pick([0, 1, 1]));
    case 'process':
      if (r.chance(0.25)) return d.emit('prctl', PR.GET_THP_DISABLE, 0, 0, 0, 0);
      // 2: only what was not asked for by madvise
      return d.emit('prctl', PR.SET_THP_DISABLE, r.pick([0, 0, 1]), r.weighted<number>([0, 8], [2, 3], [1, 0.3]), 0, 0);
  }
};

const truncateHuge: Act = (d) => d.emit('ftruncate', d.fd(), d.r.pick([0, PAGE, M, HUGE, HUGE + PAGE, 2 * HUGE, 2 * HUGE - PAGE]));

const punchHuge: Act = (d) =>
  d.emit('fallocate', d.fd(), FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, d.r.pick([0, PAGE, 64 * 1024, HUGE, M]), d.r.pick([PAGE, 16 * PAGE, HUGE]));

const lockHuge: Act = (d) => d.emit(d.r.pick(['mlock', 'munlock']), ...hugeRange(d));

const lookHuge: Act = (d) => {
  const { r } = d;
  const [start, bytes] = hugeRange(d);
  const page = start - (start % PAGE);
  if (r.chance(0.3)) return d.emit('mincore', page, Math.min(bytes, M));
  const { PRESENT, HUGE: LARGE, PFNZERO, FILE } = SCAN;
  d.emit(
    'pagemap_scan',
    page,
    page + bytes,
    0,
    r.pick([0, 0, 1, 600]),
    0,
    r.pick([0, LARGE, PRESENT]),
    r.pick([0, 0, LARGE | PFNZERO]),
    PRESENT | LARGE | PFNZERO | FILE,
  );
};

// ---- hugetlb ----
const hugetlbAt = (d: Draft, mistakes = 0.04): number =>
  (d.sharing && d.r.chance(0.25) ? SHARING_AREA + HUGE * d.r.below(4) : POOL_AREA + HUGE * d.r.below(POOL_BYTES / HUGE)) +
  (d.r.chance(mistakes) ? d.r.pick([PAGE, M, 1]) : 0);

const hugetlbBytes = (d: Draft, mistakes = 0.05): number =>
  d.r.weighted<number>([HUGE, 6], [2 * HUGE, 3], [3 * HUGE, 1]) + (d.r.chance(mistakes) ? d.r.pick([PAGE, -PAGE, M]) : 0);

const touchPool: Act = (d) => {
  const { r } = d;
  const at = hugetlbAt(d, 0) + PAGE * r.pick([0, 0, 1, 100, 511]);
  const kind = r.weighted(['w', 24], ['r', 12], ['cas', 1], ['w8', 0.7], ['r8', 0.7]);
  if (kind === 'w') d.emit(kind, at, r.pick([1, 1, 1, 2]), r.between(1, 200));
  else if (kind === 'cas') d.emit(kind, at, 1, r.between(1, 200));
  else if (kind === 'r') d.emit(kind, at, r.pick([1, 1, 2]));
  else if (kind === 'w8') d.emit(kind, at + PAGE - 5, BigInt(r.bits()) + 1n);
  else d.emit(kind, at + PAGE - 5);
};

/** Flags of a private mapping: without reservations where this list moves parts of them. */
const reserving = (d: Draft, kind: number): number => {
  const none = kind === MAP.PRIVATE && d.reservesNothing ? MAP.NORESERVE : 0;
  return none | d.r.weighted<number>([0, 6], [MAP.NORESERVE, 2], [MAP.POPULATE, 1]);
};

/** 2M by name, sizes that this machine has no pages of, sizes that it does not have at all. */
const sizeBits = (d: Draft): number => d.r.weighted<number>([0, 12], [21 * 2 ** 26, 3], [16 * 2 ** 26, 0.2], [24 * 2 ** 26, 0.1]);

const mapPool: Act = (d) => {
  const kind = d.r.weighted<number>([MAP.PRIVATE, 7], [MAP.SHARED, 3]);
  const flags = kind | MAP.ANONYMOUS | MAP.HUGETLB | reserving(d, kind) | sizeBits(d) | d.r.weighted<number>([MAP.FIXED, 9], [MAP.FIXED_NOREPLACE, 1]);
  d.emit('mmap', hugetlbAt(d), hugetlbBytes(d), d.r.pick([3, 3, 3, PROT.READ, PROT.NONE]), flags, -1, 0);
};

const mapPoolFile: Act = (d) => {
  const kind = d.r.pick([MAP.SHARED, MAP.SHARED, MAP.PRIVATE]);
  const offset = HUGE * d.r.between(0, 3) + (d.r.chance(0.03) ? PAGE : 0);
  d.emit('mmap', hugetlbAt(d), hugetlbBytes(d), d.r.pick([3, 3, PROT.READ]), kind | MAP.FIXED | reserving(d, kind), d.fd(), offset);
};

const unmapPool: Act = (d) => d.emit('munmap', hugetlbAt(d, 0.1), hugetlbBytes(d, 0.1));
const protectPool: Act = (d) => d.emit('mprotect', hugetlbAt(d), hugetlbBytes(d), d.r.pick([3, PROT.READ, PROT.NONE]));

/**
 * Advice NORMAL for all and RANDOM for the moved range: afterwards no mapping reaches across its ends (hugetlb mappings are never joined), so
 * that whole mappings are moved.
 */
const moveHugetlb: Act = (d) => {
  const { r } = d;
  const [start, bytes] = [hugetlbAt(d), hugetlbBytes(d)];
  const wanted = r.weighted<number>([bytes, 5], [HUGE, 1], [bytes + HUGE, 1]);
  if (!d.reservesNothing) {
    const first = start - (start % HUGE);
    for (const [at, n] of [
      [POOL_AREA, POOL_BYTES + 4 * HUGE],
      [SHARING_AREA, 2 ** 30],
    ])
      if (at === POOL_AREA || d.sharing) d.emit('madvise', at, n, MADV.NORMAL);
    d.emit('madvise', first, Math.ceil((start + bytes - first) / HUGE) * HUGE, MADV.RANDOM);
  }
  d.emit('mremap', start, bytes, wanted, MREMAP.MAYMOVE | (r.chance(0.7) ? MREMAP.FIXED : 0), hugetlbAt(d));
};

const advisePool: Act = (d) => {
  const { DONTNEED, REMOVE, DONTFORK, DOFORK, POPULATE_READ, POPULATE_WRITE, FREE, COLD, WIPEONFORK, GUARD_INSTALL, WILLNEED, HUGEPAGE, DONTNEED_LOCKED } =
    MADV;
  const often = [DONTNEED, DONTNEED, DONTNEED, REMOVE, REMOVE, POPULATE_READ, POPULATE_WRITE];
  const seldom = [DONTFORK, DOFORK, FREE, COLD, WIPEONFORK, GUARD_INSTALL, WILLNEED, HUGEPAGE, DONTNEED_LOCKED];
  const kind = d.r.pick(d.r.chance(0.7) ? often : seldom);
  const range = [hugetlbAt(d, 0.08), hugetlbBytes(d, 0.08)] as const;
  if (kind === DONTNEED && d.r.chance(0.1)) d.emit('process_madvise', d.r.pick(d.processes), [range], kind, 0);
  else d.emit('madvise', ...range, kind);
};

const poolSize: Act = (d) => {
  if (d.r.chance(0.75)) d.emit('cfg', `${POOL}nr_hugepages`, d.r.between(0, MOST_POOL));
  else d.emit('cfg', `${POOL}nr_overcommit_hugepages`, d.r.between(0, 4));
};

const truncatePool: Act = (d) => d.emit('ftruncate', d.fd(), HUGE * d.r.between(0, 4) + (d.r.chance(0.05) ? PAGE : 0));

const allocatePool: Act = (d) => {
  const { r } = d;
  const mode = r.weighted<number>([FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 5], [0, 4], [FALLOC.KEEP_SIZE, 1], [FALLOC.PUNCH_HOLE, 0.2]);
  const odd = r.chance(0.1) ? r.pick([PAGE, 100]) : 0;
  d.emit('fallocate', d.fd(), mode, HUGE * r.between(0, 3) + odd, HUGE * r.between(1, 2) + (r.chance(0.1) ? r.pick([PAGE, -PAGE]) : 0));
};

const sealPool: Act = (d) => d.emit('fcntl', d.fd(), F.ADD_SEALS, d.r.pick([SEAL.SHRINK, SEAL.GROW, SEAL.WRITE, SEAL.FUTURE_WRITE]));

/** Small pages between huge ones. */
const smallBeside: Act = (d) => d.emit('mmap', hugetlbAt(d, 0.3), d.r.pick([PAGE, HUGE]), 3, MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED, -1, 0);

const lockPool: Act = (d) => d.emit(d.r.pick(['mlock', 'munlock']), hugetlbAt(d), hugetlbBytes(d));

const lookPool: Act = (d) => {
  const [start, bytes] = [hugetlbAt(d, 0), hugetlbBytes(d, 0)];
  if (d.r.chance(0.4)) return d.emit('mincore', start, HUGE);
  const { PRESENT, HUGE: LARGE, FILE } = SCAN;
  d.emit('pagemap_scan', start, start + bytes, 0, d.r.pick([0, 0, 600]), 0, d.r.pick([0, LARGE]), 0, PRESENT | LARGE | FILE);
};

export function poolFile(d: Draft): void {
  d.emit('memfd_create', `h${d.files++}`, MFD.HUGETLB | d.r.pick([0, 0, MFD.ALLOW_SEALING, 21 * 2 ** 26]));
  const fd = d.opened();
  d.emit('ftruncate', fd, d.sharing ? 2 ** 30 : HUGE * d.r.between(2, 4));
  if (d.sharing) d.emit('mmap', SHARING_AREA, 2 ** 30, 3, MAP.SHARED | MAP.FIXED | MAP.NORESERVE, fd, 0);
}

// ---- get_user_pages over both ----
const anyPlace = (d: Draft): number => {
  const at = d.r.weighted([near(d, THP_AREA), 4], [near(d, SHMEM_AREA), 1.5], [hugetlbAt(d, 0) + PAGE * d.r.pick([0, 0, 1, 100, 510, 511]), 4]);
  return at + (d.r.chance(0.8) ? 0 : d.r.below(PAGE));
};

const lengths = [1, 8, 100, PAGE, PAGE, 2 * PAGE, 5000, 17 * PAGE];

/** Each end in another area: copies of memory onto itself are left to the processor. */
const copyHuge: Act = (d) => {
  const { r } = d;
  const areas = [THP_AREA, SHMEM_AREA, POOL_AREA].map(
    (area) => () => (area === POOL_AREA ? hugetlbAt(d, 0) + PAGE * r.pick([0, 1, 500, 511]) : near(d, area)) + r.pick([0, 0, 5]),
  );
  const i = r.below(3);
  const vectors = (place: () => number): [Num, Num][] => Array.from({ length: r.weighted([1, 5], [2, 2]) }, () => [place(), r.pick(lengths)]);
  d.emit(r.pick(['process_vm_readv', 'process_vm_writev']), r.pick(d.processes), vectors(areas[i]), vectors(areas[(i + r.between(1, 2)) % 3]), 0);
};

const spliceHuge: Act = (d) => {
  const { r } = d;
  if (d.pipe === undefined) return;
  if (r.chance(0.5)) return d.emit('readbuf', d.pipe[0], r.pick([1, 100, PAGE, 2 * PAGE]));
  d.emit(
    'vmsplice',
    d.pipe[1],
    Array.from({ length: r.between(1, 2) }, () => [anyPlace(d), r.pick([100, PAGE, 2 * PAGE])]),
    2,
  ); // never waits
};

const outsideHuge: Act = (d) => {
  const { r } = d;
  const [a, n] = [anyPlace(d), r.pick([1, 4, 100, PAGE, 2 * PAGE, 5000])];
  const kind = r.weighted(['pm_read', 4], ['pm_write', 7], ['peek', 1], ['poke', 1.5]);
  if (kind === 'pm_read') d.emit(kind, a, n);
  else if (kind === 'pm_write') d.emit(kind, a, n, r.between(1, 255));
  else if (kind === 'peek') d.emit(kind, a);
  else d.emit(kind, a, r.bits());
};

// ---- what lists start from ----
const anonymous = (d: Draft): void => {
  const { r } = d;
  const { PRIVATE, ANONYMOUS, FIXED } = MAP;
  d.emit('mmap', THP_AREA, AREA_BYTES, 3, PRIVATE | ANONYMOUS | FIXED, -1, 0);
  const [enabled, folios] = r.weighted<readonly [string, number]>([['', 0], 3], [['always', 0], 4], [['', 2], 2], [['always', 1], 2]);
  if (enabled !== '') d.emit('cfg', `${THP}enabled`, enabled);
  else if (folios === 0) d.emit('madvise', THP_AREA, AREA_BYTES, MADV.HUGEPAGE);
  for (let i = 0; i < folios; i++) d.emit('cfg', `${THP}hugepages-${r.pick(FOLIO_SIZES)}kB/enabled`, 'always');
};

const shmem = (d: Draft): void => {
  d.emit('memfd_create', `f${d.files++}`, 0);
  const fd = d.opened();
  d.emit('ftruncate', fd, d.r.pick([2 * HUGE, HUGE + 64 * 1024, 2 * HUGE + PAGE]));
  d.emit('mmap', SHMEM_AREA, 2 * HUGE, 3, d.r.pick([MAP.SHARED, MAP.PRIVATE]) | MAP.FIXED | (d.reservesNothing ? MAP.NORESERVE : 0), fd, 0);
};

export const beginThp: Act = (d) => {
  d.noref = true;
  anonymous(d);
  shmem(d);
};

export const beginHugetlb: Act = (d) => {
  const { r } = d;
  d.pool = true;
  d.reservesNothing ||= r.chance(0.5);
  d.sharing = r.chance(0.2);
  d.emit('cfg', `${POOL}nr_hugepages`, r.pick([2, 3, 4, 6, MOST_POOL]));
  if (r.chance(0.4)) d.emit('cfg', `${POOL}nr_overcommit_hugepages`, r.between(1, 4));
  poolFile(d);
};

export const beginGup: Act = (d) => {
  d.reservesNothing = true; // either kind of file may come to lie in SHMEM_AREA, where parts are moved
  beginThp(d);
  beginHugetlb(d);
  d.emit('w', THP_AREA, 1, 1);
  mapPool(d);
};

export const HUGE_ACTIONS = {
  ...{ touchHuge, mapHuge, placeHuge, mapShmem, unmapHuge, protectHuge, moveHuge, adviseHuge, collapse, policy, truncateHuge, punchHuge, lockHuge, lookHuge },
  ...{
    touchPool,
    mapPool,
    mapPoolFile,
    unmapPool,
    protectPool,
    moveHugetlb,
    advisePool,
    poolSize,
    truncatePool,
    allocatePool,
    sealPool,
    smallBeside,
    lockPool,
    lookPool,
  },
  ...{ copyHuge, spliceHuge, outsideHuge },
} as const;
