/**
 * Calls on huge pages whose allocations fail (failures.ts): of anonymous memory, of shared memory and of hugetlb. A huge page that cannot be had is no failure
 * where small ones do; a table, a small page or a record is.
 */
import { poolOf } from '../../../src/machine/boot-hugetlb.ts';
import type { Process } from '../../../src/machine/process.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE, freePageVector } from '../../../src/mm/gup-types.ts';
import {
  A,
  ANON,
  B,
  EAGAIN,
  EFAULT,
  ENOMEM,
  ENOSPC,
  FIXED,
  files,
  fork,
  iovec,
  kernel,
  load,
  mmap,
  OOM,
  PAGE,
  type Scenario,
  setting,
  store,
} from './failures.ts';

const HUGE = 0x200000;
const PAGES = HUGE / PAGE;
const SHARED = 1;
const PRIVATE = 2;
const [HUGETLB, NORESERVE, POPULATE] = [0x40000, 0x4000, 0x8000];
const [DONTNEED, FREE, REMOVE, HUGEPAGE, COLD, PAGEOUT, POPULATE_READ, POPULATE_WRITE, COLLAPSE, GUARD] = [4, 8, 9, 14, 20, 21, 22, 23, 25, 102];
const MFD_HUGETLB = 4;
const PUNCH_HOLE = 3;
/** SIGBUS, as threadStore answers it: no huge page is to be had. */
const BUS = -(7 * 256 + 2);

/** Room for so many huge pages. */
function room(p: Process, count = 1, at = A): void {
  setting(p, 'enabled', 'madvise');
  mmap(p, at, count * PAGES, ANON | FIXED);
  p.syscall('madvise', at, count * HUGE, HUGEPAGE);
}

/** So many huge pages, written. */
function huge(p: Process, count = 1): void {
  room(p, count);
  for (let i = 0; i < count; i++) store(p, A + i * HUGE, i + 1);
}

/** One that a child has, too. */
function shared(p: Process): void {
  huge(p);
  fork(p);
}

/** Two small pages where a huge one may be. */
function small(p: Process): void {
  mmap(p, A, PAGES, ANON | FIXED);
  store(p, A, 1);
  store(p, A + PAGE, 2);
  setting(p, 'enabled', 'madvise');
  p.syscall('madvise', A, HUGE, HUGEPAGE);
}

/** One after the other. */
const both =
  (first: (p: Process) => unknown, second: (p: Process) => unknown) =>
  (p: Process): void => {
    first(p);
    second(p);
  };

/** Descriptor 0: shared memory of so many huge pages, mapped at A; `policy` as shmem_enabled. */
function memory(p: Process, policy: string, flags = SHARED, count = 2): void {
  setting(p, 'shmem_enabled', policy);
  mmap(p, 0x1000000, 1, ANON | FIXED);
  p.write(0x1000000n, new TextEncoder().encode('name\0'));
  p.syscall('memfd_create', 0x1000000, 0);
  p.syscall('ftruncate', 0, count * HUGE);
  mmap(p, A, count * PAGES, flags | FIXED, 3, 0);
  setting(p, 'enabled', 'madvise');
  p.syscall('madvise', A, count * HUGE, HUGEPAGE);
}

/** A pool of so many pages, and some mapped at A. */
function pool(p: Process, pages: number, mapped: number, flags = ANON): void {
  resize(p, pages);
  if (mapped > 0) mmap(p, A, mapped * PAGES, flags | FIXED | HUGETLB);
}

/** The same with one page written. */
const filled =
  (pages: number, mapped: number, at = A) =>
  (p: Process): void => {
    pool(p, pages, mapped);
    store(p, at);
  };

/** One page, written, which a child has, too. */
const inherited = (pages: number) => both(filled(pages, 1), fork);

const resize = (p: Process, pages: number): number => kernel(p).setMaxHugePages(poolOf(HUGE / 1024, 12), pages);

/** Descriptor 0: a file of two huge pages of hugetlb, mapped at A. */
function poolFile(p: Process, pages: number, flags = SHARED): void {
  resize(p, pages);
  mmap(p, 0x1000000, 1, ANON | FIXED);
  p.write(0x1000000n, new TextEncoder().encode('name\0'));
  p.syscall('memfd_create', 0x1000000, MFD_HUGETLB);
  p.syscall('ftruncate', 0, 2 * HUGE);
  mmap(p, A, 2 * PAGES, flags | FIXED, 3, 0);
}

/** The same with one page written. */
const filledFile = both(
  (p) => poolFile(p, 2),
  (p) => store(p, A),
);

/** Pins two pages, and lets them go: how many there were, or an error. */
function pin(p: Process, how: string, flags: number, vpn = A / PAGE): number {
  p.machine.enter();
  const vector = allocPageVector();
  const result = kernel(p)[how](p.mm, vpn, 2, flags, vector);
  kernel(p).unpinUserPages(vector, 0);
  freePageVector(vector);
  return result;
}

const madvise =
  (advice: number, from: number, bytes: number) =>
  (p: Process): number =>
    p.syscall('madvise', A + from, bytes, advice);
const write = (p: Process): number => store(p, A + PAGE);
const read = (p: Process): number => load(p, A + PAGE);

const MB = 24;

const TRANSPARENT: readonly Scenario[] = [
  { name: 'first store to a huge page', setup: (p) => room(p), run: write, errors: OOM },
  { name: 'first load of a huge page', setup: (p) => room(p), run: read, errors: OOM },
  {
    name: 'store after a load of a huge page',
    setup: (p) => {
      room(p);
      load(p, A);
    },
    run: write,
    errors: OOM,
  },
  {
    name: 'first store to a folio of several pages',
    setup: (p) => {
      setting(p, 'hugepages-64kB/enabled', 'always');
      mmap(p, A, 32, ANON | FIXED);
    },
    run: write,
    errors: OOM,
  },
  {
    name: 'copy on write of a folio of several pages',
    setup: (p) => {
      setting(p, 'hugepages-64kB/enabled', 'always');
      mmap(p, A, 32, ANON | FIXED);
      store(p, A);
      fork(p);
    },
    run: write,
    errors: OOM,
  },
  { name: 'copy on write of a huge page', setup: shared, run: write, errors: OOM },
  {
    name: 'store to a huge page whose sharer has gone',
    setup: (p) => {
      huge(p);
      p.machine.processAt(fork(p)).exit();
    },
    run: write,
    never: true,
  },
  { name: 'munmap of half a huge page', setup: (p) => huge(p), run: (p) => p.syscall('munmap', A, HUGE / 2), splits: true },
  { name: 'munmap of the middle of a huge page', setup: (p) => huge(p), run: (p) => p.syscall('munmap', A + HUGE / 4, HUGE / 2), splits: true },
  { name: 'munmap of two huge pages', setup: (p) => huge(p, 2), run: (p) => p.syscall('munmap', A, 2 * HUGE), never: true },
  { name: 'mprotect of half a huge page', setup: (p) => huge(p), run: (p) => p.syscall('mprotect', A, HUGE / 2, 1), splits: true },
  { name: 'mprotect of a huge page', setup: (p) => huge(p), run: (p) => p.syscall('mprotect', A, HUGE, 1), splits: true },
  { name: 'mremap of two huge pages', setup: (p) => huge(p, 2), run: (p) => p.syscall('mremap', A, 2 * HUGE, 2 * HUGE, 3, B), partial: true },
  {
    name: 'mremap of half a huge page',
    setup: (p) => huge(p),
    run: (p) => p.syscall('mremap', A, HUGE / 2, HUGE / 2, 3, B),
    partial: true,
    losesPromised: PAGES,
  },
  {
    name: 'mremap of a huge page to a place of another alignment',
    setup: (p) => huge(p),
    run: (p) => p.syscall('mremap', A, HUGE, HUGE, 3, B + PAGE),
    partial: true,
  },
  { name: 'mremap of a huge page with MREMAP_DONTUNMAP', setup: (p) => huge(p), run: (p) => p.syscall('mremap', A, HUGE, HUGE, 7, B) },
  { name: 'MADV_DONTNEED of half a huge page', setup: (p) => huge(p), run: madvise(DONTNEED, 0, HUGE / 2), never: true },
  { name: 'MADV_FREE of a huge page', setup: (p) => huge(p), run: madvise(FREE, 0, HUGE), never: true },
  { name: 'MADV_FREE of half a huge page', setup: (p) => huge(p), run: madvise(FREE, 0, HUGE / 2), never: true },
  { name: 'MADV_COLD of half a huge page', setup: (p) => huge(p), run: madvise(COLD, 0, HUGE / 2), never: true },
  { name: 'MADV_PAGEOUT of half a huge page', setup: (p) => huge(p), run: madvise(PAGEOUT, 0, HUGE / 2), never: true },
  { name: 'MADV_POPULATE_WRITE of huge pages', setup: (p) => room(p, 2), run: madvise(POPULATE_WRITE, 0, 2 * HUGE), partial: true },
  { name: 'MADV_POPULATE_READ of huge pages', setup: (p) => room(p, 2), run: madvise(POPULATE_READ, 0, 2 * HUGE), partial: true },
  { name: 'guards in a huge page', setup: (p) => huge(p), run: madvise(GUARD, PAGE, 2 * PAGE), partial: true },
  { name: 'mlock of half a huge page', setup: (p) => huge(p), run: (p) => p.syscall('mlock', A, HUGE / 2), errors: [ENOMEM, EAGAIN], partial: true },
  { name: 'MADV_COLLAPSE', setup: small, run: madvise(COLLAPSE, 0, HUGE) },
  {
    name: 'MADV_COLLAPSE of what a child shares',
    setup: (p) => {
      small(p);
      fork(p);
    },
    run: madvise(COLLAPSE, 0, HUGE),
  },
  { name: 'a pass of khugepaged', setup: small, run: (p) => p.machine.khugepaged(), never: true },
  { name: 'fork with a huge page', setup: (p) => huge(p), run: fork },
  { name: 'fork with a huge page that a child has already', setup: shared, run: fork },
  {
    name: 'fork with a huge page that is pinned',
    setup: (p) => {
      huge(p);
      p.machine.enter();
      pinned = allocPageVector();
      kernel(p).pinUserPagesFast(p.mm, A / PAGE, 1, FOLL_WRITE, pinned);
    },
    run: fork,
    held: () => [pinned],
  },
  { name: 'exit with a huge page', setup: shared, run: (p) => kernel(p).sysExit(p.ref, 0), never: true },
];

/** The pin that a scenario holds. */
let pinned = 0;

const PINS: readonly Scenario[] = (['pinUserPagesFast', 'pinUserPagesUnlocked'] as const).flatMap((how) => [
  {
    name: `${how} of a huge page that is not there`,
    setup: (p: Process) => room(p),
    run: (p: Process) => pin(p, how, FOLL_WRITE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: `${how} for long, for reading, of a huge page that is not there`,
    setup: (p: Process) => room(p),
    run: (p: Process) => pin(p, how, FOLL_LONGTERM),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  { name: `${how} of a huge page`, setup: (p: Process) => huge(p), run: (p: Process) => pin(p, how, FOLL_WRITE), never: true },
  {
    name: `${how} for long of a huge page that is shared`,
    setup: shared,
    run: (p: Process) => pin(p, how, FOLL_LONGTERM),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: `${how} for writing of a huge page that is shared`,
    setup: shared,
    run: (p: Process) => pin(p, how, FOLL_WRITE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: `${how} of hugetlb that is not there`,
    setup: (p: Process) => pool(p, 2, 1),
    run: (p: Process) => pin(p, how, FOLL_WRITE | FOLL_LONGTERM),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: `${how} of hugetlb that is shared`,
    setup: inherited(2),
    run: (p: Process) => pin(p, how, FOLL_LONGTERM),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
]);

const FILES: readonly Scenario[] = [
  { name: 'first store to huge shared memory', setup: (p) => memory(p, 'always'), run: write, errors: OOM },
  { name: 'first load of huge shared memory', setup: (p) => memory(p, 'always'), run: read, errors: OOM },
  { name: 'first store to a private mapping of huge shared memory', setup: (p) => memory(p, 'always', PRIVATE), run: write, errors: OOM },
  {
    name: 'first store to a huge page that is in the cache',
    setup: (p) => {
      memory(p, 'always');
      store(p, A);
      p.syscall('madvise', A, HUGE, DONTNEED);
    },
    run: write,
    errors: OOM,
  },
  {
    name: 'first load of a disk file that is read in huge pages',
    setup: (p) => {
      files(p);
      p.syscall('ftruncate', 1, 2 * HUGE);
      mmap(p, A, 2 * PAGES, SHARED | FIXED, 3, 1);
      p.syscall('madvise', A, 2 * HUGE, HUGEPAGE);
    },
    run: (p) => {
      const result = read(p);
      // Small pages, which take the place of huge ones, would stay in the cache with a larger tree.
      if (result >= 0) p.syscall('munmap', A, 2 * HUGE);
      p.syscall('fadvise64', 1, 0, 0, 4);
      return result;
    },
    errors: OOM,
  },
  {
    name: 'fallocate of huge shared memory',
    setup: (p) => memory(p, 'always'),
    run: (p) => p.syscall('fallocate', 0, 0, 0, 2 * HUGE),
    errors: [ENOMEM, ENOSPC],
  },
  {
    name: 'fallocate of huge shared memory, part of which is there',
    setup: (p) => {
      memory(p, 'always');
      store(p, A);
    },
    run: (p) => p.syscall('fallocate', 0, 0, 0, 2 * HUGE),
    errors: [ENOMEM, ENOSPC],
  },
  {
    name: 'hole in a huge page of shared memory',
    setup: (p) => {
      memory(p, 'always');
      store(p, A);
    },
    run: (p) => p.syscall('fallocate', 0, PUNCH_HOLE, PAGE, 3 * PAGE),
    never: true,
  },
  {
    name: 'end in a huge page of shared memory',
    setup: (p) => {
      memory(p, 'always');
      store(p, A);
      store(p, A + HUGE);
    },
    run: (p) => p.syscall('ftruncate', 0, HUGE + 3 * PAGE + 5),
    never: true,
  },
  {
    name: 'MADV_REMOVE of half a huge page of shared memory',
    setup: (p) => {
      memory(p, 'always');
      store(p, A);
    },
    run: madvise(REMOVE, 0, HUGE / 2),
    never: true,
  },
  {
    name: 'write to huge shared memory',
    setup: both(
      (p) => memory(p, 'always'),
      (p) => huge2(p),
    ),
    run: (p) => p.syscall('write', 0, B, 3 * PAGE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'fork with huge shared memory',
    setup: (p) => {
      memory(p, 'always');
      store(p, A);
    },
    run: fork,
  },
  {
    name: 'mremap of huge shared memory',
    setup: (p) => {
      memory(p, 'always');
      store(p, A);
      store(p, A + HUGE);
    },
    run: (p) => p.syscall('mremap', A, 2 * HUGE, 2 * HUGE, 3, B),
    partial: true,
  },
  {
    name: 'copy on write of huge shared memory',
    setup: (p) => {
      memory(p, 'always', PRIVATE);
      load(p, A);
    },
    run: write,
    errors: OOM,
  },
  {
    name: 'MADV_COLLAPSE of shared memory',
    setup: both(
      (p) => memory(p, 'never'),
      (p) => store(p, A),
    ),
    run: madvise(COLLAPSE, 0, HUGE),
  },
  {
    name: 'MADV_COLLAPSE of shared memory that others map',
    setup: (p) => {
      memory(p, 'never');
      store(p, A);
      fork(p);
    },
    run: madvise(COLLAPSE, 0, HUGE),
  },
  {
    name: 'MADV_COLLAPSE of a huge page that small entries map',
    setup: (p) => {
      memory(p, 'always');
      store(p, A);
      p.syscall('mprotect', A, PAGE, 1);
      p.syscall('mprotect', A, PAGE, 3);
      load(p, A);
    },
    run: madvise(COLLAPSE, 0, HUGE),
  },
  {
    name: 'a pass of khugepaged over shared memory',
    setup: (p) => {
      memory(p, 'advise');
      setting(p, 'khugepaged/max_ptes_none', '511');
      store(p, A);
    },
    run: (p) => p.machine.khugepaged(),
    never: true,
  },
];

/** A page at B to write from. */
function huge2(p: Process): void {
  mmap(p, B, 4, ANON | FIXED);
  store(p, B);
}

const POOLS: readonly Scenario[] = [
  { name: 'a pool that grows', between: true, run: (p) => resize(p, 4), never: true },
  { name: 'a pool that shrinks', setup: (p) => pool(p, 4, 1), run: (p) => resize(p, 1), never: true },
  { name: 'mmap of hugetlb, private', errors: [ENOMEM, ENOSPC], setup: (p) => pool(p, 2, 0), run: (p) => mmap(p, A, 2 * PAGES, ANON | FIXED | HUGETLB) },
  {
    name: 'mmap of hugetlb, shared',
    errors: [ENOMEM, ENOSPC],
    setup: (p) => pool(p, 2, 0),
    run: (p) => mmap(p, A, 2 * PAGES, SHARED | 0x20 | FIXED | HUGETLB),
  },
  {
    name: 'mmap of hugetlb with MAP_POPULATE',
    errors: [ENOMEM, ENOSPC],
    setup: (p) => pool(p, 2, 0),
    run: (p) => mmap(p, A, 2 * PAGES, ANON | FIXED | HUGETLB | POPULATE),
    partial: true,
  },
  { name: 'mmap over hugetlb', setup: (p) => pool(p, 3, 3), run: (p) => mmap(p, A + HUGE, PAGES, ANON | FIXED), partial: true },
  { name: 'first store to hugetlb', losesReserved: true, setup: (p) => pool(p, 1, 1), run: write, errors: OOM },
  { name: 'first store to hugetlb that is shared', setup: (p) => pool(p, 1, 1, SHARED | 0x20), run: write, errors: [...OOM, BUS] },
  { name: 'first store to hugetlb without a reservation', setup: (p) => pool(p, 1, 1, ANON | NORESERVE), run: write, errors: [...OOM, BUS] },
  {
    name: 'first store to hugetlb beyond the pool',
    setup: (p) => {
      pool(p, 0, 1, ANON | NORESERVE);
      kernel(p).setOvercommitHugePages(poolOf(HUGE / 1024, 12), 2);
    },
    run: write,
    errors: [...OOM, BUS],
  },
  {
    name: 'mmap of hugetlb beyond the pool',
    errors: [ENOMEM, ENOSPC],
    setup: (p) => {
      pool(p, 1, 0);
      kernel(p).setOvercommitHugePages(poolOf(HUGE / 1024, 12), 2);
    },
    run: (p) => mmap(p, A, 2 * PAGES, ANON | FIXED | HUGETLB),
  },
  {
    name: 'copy on write of hugetlb',
    setup: inherited(2),
    run: write,
    errors: [...OOM, BUS],
  },
  {
    name: 'copy on write of hugetlb when the pool is empty',
    setup: inherited(1),
    run: write,
    errors: [...OOM, BUS],
  },
  {
    name: 'fork with hugetlb',
    setup: filled(2, 2),
    run: fork,
  },
  {
    name: 'munmap of hugetlb',
    setup: filled(2, 2),
    run: (p) => p.syscall('munmap', A, 2 * HUGE),
    never: true,
  },
  {
    name: 'munmap of the middle of hugetlb',
    setup: filled(3, 3, A + HUGE),
    run: (p) => p.syscall('munmap', A + HUGE, HUGE),
    splits: true,
  },
  {
    name: 'mprotect of the middle of hugetlb',
    setup: filled(3, 3, A + HUGE),
    run: (p) => p.syscall('mprotect', A + HUGE, HUGE, 1),
    splits: true,
  },
  {
    name: 'MADV_DONTNEED of hugetlb',
    setup: filled(2, 2),
    run: madvise(DONTNEED, 0, HUGE),
    never: true,
  },
  { name: 'MADV_POPULATE_WRITE of hugetlb', setup: (p) => pool(p, 2, 2), run: madvise(POPULATE_WRITE, 0, 2 * HUGE), partial: true },
  {
    name: 'mremap of hugetlb',
    setup: filled(2, 2),
    run: (p) => p.syscall('mremap', A, 2 * HUGE, 2 * HUGE, 3, B),
    partial: true,
  },
  {
    name: 'mremap of hugetlb that shrinks',
    setup: filled(2, 2),
    run: (p) => p.syscall('mremap', A, 2 * HUGE, HUGE, 0, 0),
    splits: true,
  },
  { name: 'mlock of hugetlb', setup: (p) => pool(p, 2, 2), run: (p) => p.syscall('mlock', A, HUGE), errors: [ENOMEM, EAGAIN], partial: true },
  { name: 'a file of hugetlb', setup: (p) => poolFile(p, 2), run: (p) => p.syscall('memfd_create', 0x1000000, MFD_HUGETLB), errors: [ENOMEM, ENOSPC] },
  { name: 'first store to a file of hugetlb', setup: (p) => poolFile(p, 2), run: write, errors: [...OOM, BUS] },
  { name: 'first load of a file of hugetlb, private', setup: (p) => poolFile(p, 4, PRIVATE), run: read, errors: OOM },
  { name: 'first store to a file of hugetlb, private', losesReserved: true, setup: (p) => poolFile(p, 4, PRIVATE), run: write, errors: OOM },
  {
    name: 'fallocate of hugetlb',
    setup: (p) => poolFile(p, 2),
    run: (p) => p.syscall('fallocate', 0, 0, 0, 2 * HUGE),
    errors: [ENOMEM, ENOSPC],
    partial: true,
  },
  {
    name: 'hole in a file of hugetlb',
    setup: filledFile,
    run: (p) => p.syscall('fallocate', 0, PUNCH_HOLE, 0, HUGE),
    never: true,
  },
  {
    name: 'truncate of a file of hugetlb',
    setup: filledFile,
    run: (p) => p.syscall('ftruncate', 0, 0),
    never: true,
  },
  {
    name: 'first store through a page table of hugetlb that another has',
    setup: (p) => {
      resize(p, 2);
      mmap(p, 0x40000000, 512 * PAGES, SHARED | 0x20 | FIXED | HUGETLB | NORESERVE);
      store(p, 0x40000000);
      fork(p);
    },
    run: (p) => store(p, 0x40000000 + HUGE),
    errors: [...OOM, BUS],
  },
  {
    name: 'fork and load through a page table of hugetlb that is shared',
    setup: (p) => {
      resize(p, 2);
      mmap(p, 0x40000000, 512 * PAGES, SHARED | 0x20 | FIXED | HUGETLB | NORESERVE);
      store(p, 0x40000000);
      child = p.machine.processAt(fork(p)).ref;
    },
    run: (p) => kernel(p).threadLoad(child, 0x40000000 / PAGE),
    errors: OOM,
  },
  {
    name: 'mprotect that parts a shared page table of hugetlb',
    setup: (p) => {
      resize(p, 2);
      mmap(p, 0x40000000, 512 * PAGES, SHARED | 0x20 | FIXED | HUGETLB | NORESERVE);
      store(p, 0x40000000);
      child = p.machine.processAt(fork(p)).ref;
      kernel(p).threadLoad(child, 0x40000000 / PAGE);
    },
    run: (p) => p.syscall('mprotect', 0x40000000, HUGE, 1),
    splits: true,
  },
  {
    name: 'process_vm_readv of hugetlb',
    setup: (p) => {
      pool(p, 2, 1);
      mmap(p, B, 4, ANON | FIXED);
      iovec(p, B, B + PAGE, PAGE);
      iovec(p, B + 16, A + PAGE, PAGE);
    },
    run: (p) => p.syscall('process_vm_readv', p.pid, B, 1, B + 16, 1, 0),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
];

/** A child of the scenario in hand. */
let child = 0;

const KERNEL: readonly Scenario[] = [
  {
    name: 'vmalloc of huge leaves, and vfree',
    tables: 4,
    run: (p) => {
      const at = kernel(p).vmallocHuge(2 * PAGES);
      return at < 0 ? at : kernel(p).vfree(at);
    },
  },
];

export const HUGE_SCENARIOS: readonly Scenario[] = [...TRANSPARENT, ...PINS, ...FILES, ...POOLS, ...KERNEL].map((one) => ({ megabytes: MB, ...one }));
