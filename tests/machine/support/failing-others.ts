/**
 * Calls whose allocations fail (failures.ts) that need a machine of their own or come to places where nothing else does: merges that take over an anon_vma, secret
 * memory, maps of the kernel's own, mounts and files of hugetlb, struct pages that pools give back, page tables of other machines.
 */
import { poolOf } from '../../../src/machine/boot-hugetlb.ts';
import { scanPagemap } from '../../../src/machine/proc/pagemap.ts';
import type { Process } from '../../../src/machine/process.ts';
import { get, set } from '../../../src/memory/heap.ts';
import { freeObject, pageOfPfn, pfnOfPage } from '../../../src/memory/state.ts';
import { globals } from '../../../src/mm/globals.ts';
import { allocPageVector, PageVector } from '../../../src/mm/gup-types.ts';
import { Hstate } from '../../../src/mm/hugetlb-types.ts';
import { PAGE_KERNEL } from '../../../src/mm/kernel-map.ts';
import { allocPgdList } from '../../../src/mm/pgd-list.ts';
import { FRAGS, FragPage } from '../../../src/mm/pgtable-frag-types.ts';
import { Globals, Mm, Vma } from '../../../src/mm/types.ts';
import { VM_GROWSUP } from '../../../src/mm/vm-flags.ts';
import { findVma } from '../../../src/mm/vma-tree.ts';
import {
  A,
  ANON,
  B,
  E2BIG,
  EFAULT,
  EINVAL,
  ENFILE,
  ENOMEM,
  ENOSPC,
  ESRCH,
  FIXED,
  files,
  iovec,
  KILLED,
  kernel,
  load,
  mmap,
  OOM,
  PAGE,
  type Scenario,
  setting,
  store,
  written,
} from './failures.ts';

const HUGE = 0x200000;
const PAGES = HUGE / PAGE;
const STRINGS = 0x1000000;
const SHARED = 1;
const PRIVATE = 2;
const HUGETLB = 0x40000;
const NORESERVE = 0x4000;
const [RW, RWX] = [3, 7];
const [DONTNEED, HUGEPAGE, COLLAPSE, SOFT_OFFLINE] = [4, 14, 25, 101];
const PUNCH_HOLE = 3;
/** SIGSEGV (SEGV_MAPERR) and SIGBUS (BUS_ADRERR), as threadStore answers them. */
const SEGV = -(11 * 256 + 1);
const EBUSY = -16;
const BUS = -(7 * 256 + 2);

const BIG = { megabytes: 24 };

/** Strings in the process's memory: their addresses. */
function strings(p: Process, ...texts: readonly string[]): number[] {
  mmap(p, STRINGS, 1, ANON | FIXED);
  return texts.map((text, i) => {
    p.write(BigInt(STRINGS + i * 512), new TextEncoder().encode(`${text}\0`));
    return STRINGS + i * 512;
  });
}

/** Huge pages as `enabled` says, from now on. */
const thp = (p: Process, enabled: string): void => setting(p, 'enabled', enabled);

/** Pairs of pages from A on, each of the rights named; those in `touched` are written: the others have no anon_vma. */
const parts = (rights: readonly number[], touched: readonly number[]) => (p: Process) => {
  mmap(p, A, 2 * rights.length, ANON | FIXED);
  rights.forEach((prot, i) => void p.syscall('mprotect', A + 2 * i * PAGE, 2 * PAGE, prot));
  for (const i of touched) store(p, A + 2 * i * PAGE);
};

const protect = (part: number, prot: number) => (p: Process) => p.syscall('mprotect', A + 2 * part * PAGE, 2 * PAGE, prot);

/** A neighbour takes over an anon_vma that it had none of so far (dup_anon_vma), or joins khugepaged's list. */
const MERGES: readonly Scenario[] = [
  { name: 'mprotect that merges with what is before, which has no anon_vma', setup: parts([RWX, RW], [1]), run: protect(1, RWX) },
  { name: 'mprotect that merges with what is behind, which has no anon_vma', setup: parts([RW, RWX], [0]), run: protect(0, RWX) },
  { name: 'mprotect that merges with both, which have no anon_vma', setup: parts([RWX, RW, RWX], [1]), run: protect(1, RWX) },
  {
    name: 'mmap between a mapping without an anon_vma and one that has one',
    setup: (p) => {
      for (const i of [0, 4]) mmap(p, A + i * PAGE, 2, ANON | FIXED);
      store(p, A + 4 * PAGE);
    },
    run: (p) => mmap(p, A + 2 * PAGE, 2, ANON | FIXED),
  },
  {
    name: 'mremap back to where the rest of the mapping has no anon_vma',
    setup: (p) => {
      parts([RWX, RW], [1])(p);
      p.syscall('mremap', A + 2 * PAGE, 2 * PAGE, 2 * PAGE, 3, B);
      protect(0, RW)(p);
    },
    run: (p) => p.syscall('mremap', B, 2 * PAGE, 2 * PAGE, 3, A + 2 * PAGE),
    partial: true,
  },
  {
    name: 'MADV_HUGEPAGE',
    ...BIG,
    setup: (p) => {
      thp(p, 'never');
      mmap(p, A, PAGES, ANON | FIXED);
      store(p, A);
      thp(p, 'madvise');
    },
    run: (p) => p.syscall('madvise', A, HUGE, HUGEPAGE),
    never: true,
  },
  {
    name: 'mmap that makes room for a huge page with what is there',
    ...BIG,
    setup: (p) => {
      thp(p, 'never');
      mmap(p, A, PAGES / 2, ANON | FIXED);
      store(p, A);
      thp(p, 'always');
    },
    run: (p) => mmap(p, A + HUGE / 2, PAGES / 2, ANON | FIXED),
    never: true,
  },
  {
    name: 'mprotect that makes room for a huge page',
    ...BIG,
    setup: (p) => {
      thp(p, 'never');
      mmap(p, A, PAGES, ANON | FIXED);
      p.syscall('mprotect', A, HUGE / 2, RWX);
      store(p, A);
      thp(p, 'always');
    },
    run: (p) => p.syscall('mprotect', A, HUGE / 2, RW),
  },
  {
    name: 'mmap of shared memory of huge pages',
    ...BIG,
    setup: (p) => {
      setting(p, 'shmem_enabled', 'always');
      p.syscall('memfd_create', strings(p, 'name')[0], 0);
      p.syscall('ftruncate', 0, HUGE);
      thp(p, 'always');
    },
    run: (p) => mmap(p, A, PAGES, SHARED | FIXED, 3, 0),
  },
];

const LISTS: readonly Scenario[] = [
  {
    name: 'process_vm_readv of many pages, by long vectors',
    setup: (p) => {
      mmap(p, A, 26, ANON | FIXED);
      mmap(p, B, 26, ANON | FIXED);
      mmap(p, STRINGS, 1, ANON | FIXED);
      for (let i = 0; i < 9; i++) iovec(p, STRINGS + i * 16, A + i * PAGE, i < 8 ? PAGE : 17 * PAGE);
      for (let i = 0; i < 9; i++) iovec(p, STRINGS + 256 + i * 16, B + i * PAGE, i < 8 ? PAGE : 17 * PAGE);
    },
    run: (p) => p.syscall('process_vm_readv', p.pid, STRINGS, 9, STRINGS + 256, 9, 0),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'process_vm_writev by long vectors',
    setup: (p) => {
      mmap(p, A, 9, ANON | FIXED);
      mmap(p, B, 9, ANON | FIXED);
      mmap(p, STRINGS, 1, ANON | FIXED);
      for (let i = 0; i < 9; i++) iovec(p, STRINGS + i * 16, A + i * PAGE, 8);
      for (let i = 0; i < 9; i++) iovec(p, STRINGS + 256 + i * 16, B + i * PAGE, 8);
    },
    run: (p) => p.syscall('process_vm_writev', p.pid, STRINGS, 9, STRINGS + 256, 9, 0),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'process_madvise by a long vector',
    setup: (p) => {
      written(p);
      mmap(p, STRINGS, 1, ANON | FIXED);
      for (let i = 0; i < 9; i++) iovec(p, STRINGS + i * 16, A, PAGE);
      p.syscall('pidfd_open', p.pid, 0);
    },
    run: (p) => p.syscall('process_madvise', 0, STRINGS, 9, 20, 0),
    partial: true,
  },
  {
    name: 'vmsplice by a long vector',
    setup: (p) => {
      written(p);
      p.syscall('pipe2', A, 0);
      for (let i = 0; i < 9; i++) iovec(p, A + i * 16, A + PAGE, 8);
    },
    run: (p) => p.syscall('vmsplice', 1, A, 9, 0),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  { name: 'pidfd_open', run: (p) => p.syscall('pidfd_open', p.pid, 0), errors: [ENOMEM, ENFILE] },
  { name: 'PAGEMAP_SCAN', setup: written, run: (p) => kernel(p).threadScan(p.ref, A / PAGE, 8, 2) },
  { name: 'shmget with a key', run: (p) => p.syscall('shmget', 77, 4 * PAGE, 0o1600), errors: [ENOMEM, ENOSPC] },
  { name: 'a process', run: (p) => (kernel(p).processCreate() === 0 ? ENOMEM : 0) },
  {
    name: 'growth of a stack that was never touched',
    setup: (p) => mmap(p, B, 4, 0x100 | ANON | FIXED),
    run: (p) => store(p, B - PAGE),
    errors: [KILLED, SEGV],
    partial: true,
  },
  {
    name: 'growth of a stack that grows upwards',
    machine: { mode: 'parisc' },
    setup: (p) => {
      mmap(p, B, 4, ANON | FIXED);
      // Only exec makes one, of a file that there is none of for this machine.
      const vma = findVma(p.mm, B / PAGE);
      set(vma, Vma.flags, get(vma, Vma.flags) | VM_GROWSUP);
      for (const [field, more] of [
        [Mm.stackVm, 4],
        [Mm.dataVm, -4],
      ])
        set(p.mm, field, get(p.mm, field) + more);
    },
    run: (p) => (kernel(p).expandStack(p.mm, B / PAGE + 4) === 0 ? ENOMEM : 0),
    bare: true,
  },
  {
    name: 'PAGEMAP_SCAN of more regions than one list holds',
    setup: (p) => {
      mmap(p, A, 1100, ANON | FIXED);
      for (let i = 0; i < 1100; i += 2) store(p, A + i * PAGE);
    },
    run: (p) => {
      const [start, end] = [BigInt(A), BigInt(A + 1100 * PAGE)];
      const request = { flags: 0n, start, end, vectorLength: 600, maxPages: 0n, invertedMask: 0n, mask: 8n, anyMask: 0n, returnMask: 8n };
      return scanPagemap(p.machine, p.ref, request).result;
    },
  },
  {
    name: 'exec without a file',
    setup: written,
    run: (p) => (p.alive ? kernel(p).execProgram(p.ref, 5000, 0) : ESRCH),
    errors: [ENOMEM, E2BIG],
    partial: true,
    again: [0, ESRCH],
  },
  {
    name: 'a hole in a disk file that begins inside a page',
    setup: (p) => {
      files(p);
      written(p);
      p.syscall('write', 1, A, 3 * PAGE);
      p.syscall('fsync', 1);
      p.syscall('fadvise64', 1, 0, 0, 4);
    },
    run: (p) => p.syscall('fallocate', 1, PUNCH_HOLE, 100, PAGE),
    partial: true,
  },
  {
    name: 'read of a disk file that was read in order so far',
    setup: (p) => {
      files(p);
      written(p);
      p.syscall('ftruncate', 1, 512 * PAGE);
      for (let i = 0; i < 3; i++) p.syscall('read', 1, A, 8 * PAGE);
    },
    run: (p) => {
      for (let i = 0; i < 3; i++) {
        const done = p.syscall('read', 1, A, 8 * PAGE);
        if (done < 0) return done;
      }
      return 0;
    },
    partial: true,
  },
  {
    name: 'MADV_SOFT_OFFLINE of a page in use',
    machine: { settings: { memoryFailure: 1 } },
    setup: written,
    run: (p) => p.syscall('madvise', A, PAGE, SOFT_OFFLINE),
  },
];

/** A process with a descriptor 0 of secret memory, mapped at A. */
function secret(p: Process): void {
  kernel(p).makeDirectMap(total(), 0);
  p.syscall('memfd_secret', 0);
  p.syscall('ftruncate', 0, 4 * PAGE);
  mmap(p, A, 4, SHARED | FIXED, 3, 0);
}

/** Maps a page of the process, and lets it go. */
const vmapped =
  (how: (p: Process, page: number) => number) =>
  (p: Process): number => {
    p.machine.enter();
    const at = how(p, get(globals, Globals.zeroPage));
    return at < 0 ? at : kernel(p).vunmap(at);
  };

/** All frames in an array of struct pages; the machine boots with it, or makes it. */
const total = (): number => get(globals, Globals.totalRam);

const KERNELS: readonly Scenario[] = [
  { name: 'memfd_secret', setup: (p) => kernel(p).makeDirectMap(total(), 0), run: (p) => p.syscall('memfd_secret', 0), errors: [ENOMEM, ENFILE] },
  { name: 'first store to secret memory', setup: secret, run: (p) => store(p, A), errors: OOM },
  // A kernel that cannot make it does not boot (arch/x86/mm/init_64.c: alloc_low_pages panics): what was made stays.
  { name: 'the direct map', run: (p) => kernel(p).makeDirectMap(total(), 0), tables: 8, partial: true, again: [0, ENOMEM, EINVAL] },
  { name: 'the array of struct pages', megabytes: 256, run: (p) => kernel(p).makeVmemmap(total()), tables: 600, partial: true, again: [0, ENOMEM, EINVAL] },
  {
    name: 'vmap of pages',
    setup: (p) => {
      p.machine.enter();
      vector = allocPageVector();
      set(vector, PageVector.count, 2);
      for (const i of [0, 1]) set(vector, PageVector.pages + i, get(globals, Globals.zeroPage));
    },
    run: vmapped((p) => kernel(p).vmap(vector, PAGE_KERNEL)),
    held: () => [vector],
    tables: 4,
  },
  { name: 'vmap of one page', run: vmapped((p, page) => kernel(p).vmapPage(page, PAGE_KERNEL)), tables: 4 },
  { name: 'vmap of one page, a look at it and vunmap', run: (p) => kernel(p).vmapLoadUnmap(get(globals, Globals.zeroPage)), tables: 4 },
  { name: 'ioremap', run: vmapped((p) => kernel(p).ioremap(0xfee00, 3, PAGE_KERNEL)), tables: 4 },
  {
    name: 'a page of fragments of tables',
    machine: { mode: 'ppc-8xx-4k' },
    run: (p) => {
      const frags = kernel(p).pteFragPage();
      if (frags === 0) return ENOMEM;
      for (let i = 0; i < FRAGS; i++) kernel(p).pteFragRemove(frags, i);
      freeObject(frags, FragPage.$size);
      return 0;
    },
  },
  {
    name: 'a top table of 32-bit x86',
    setup: (p) => {
      p.machine.enter();
      list = allocPgdList();
    },
    run: (p) => (kernel(p).pgdCtor(list) === 0 ? ENOMEM : 0),
    held: () => [list],
  },
];

/** What the scenario in hand maps, and its list of top tables. */
let vector = 0;
let list = 0;

const resize = (p: Process, pages: number): number => kernel(p).setMaxHugePages(poolOf(HUGE / 1024, 12), pages);

/** A machine whose pools give their struct pages back. */
const HVO = { megabytes: 256, machine: { hugepages: 'hugetlb_free_vmemmap=on hugepages=0' } };
const FRAMES = 4096;
const TWO_NODES = {
  megabytes: 32,
  machine: {
    memory: {
      ranges: [
        { start: 0, end: FRAMES, node: 0 },
        { start: FRAMES, end: 2 * FRAMES, node: 1 },
      ],
      cpus: [0],
    },
  },
};

/** Descriptor 0: a file of six huge pages, all of them there; mapped at A. */
function poolFile(p: Process, flags = SHARED): void {
  resize(p, 8);
  p.syscall('memfd_create', strings(p, 'name')[0], 4);
  p.syscall('ftruncate', 0, 6 * HUGE);
  mmap(p, A, 6 * PAGES, flags | FIXED, 3, 0);
}

const mounted = (options: string) => (p: Process) => {
  resize(p, 4);
  const [dir, type, text] = strings(p, '/mnt/huge0', 'hugetlbfs', options, '/mnt/huge0/f');
  return p.syscall('mount', dir, dir, type, 0, text);
};

const POOLS: readonly Scenario[] = [
  {
    name: 'mount of hugetlbfs with limits',
    ...BIG,
    setup: (p) => {
      resize(p, 4);
      strings(p, '/mnt/huge0', 'hugetlbfs', 'size=8M,min_size=4M');
    },
    run: (p) => p.syscall('mount', STRINGS, STRINGS, STRINGS + 512, 0, STRINGS + 1024),
  },
  {
    name: 'a file in a mounted hugetlbfs',
    ...BIG,
    setup: mounted('size=8M'),
    run: (p) => p.syscall('open', STRINGS + 1536, 0o102, 0o600),
    errors: [ENOMEM, ENOSPC, ENFILE],
    // The name stays when there is no file for it.
    partial: true,
  },
  {
    name: 'mmap of a second part of a hugetlb file',
    ...BIG,
    setup: (p) => {
      poolFile(p);
      p.syscall('munmap', A, 6 * HUGE);
      p.syscall('ftruncate', 0, 0);
      p.syscall('ftruncate', 0, 6 * HUGE);
      mmap(p, A, PAGES, SHARED | FIXED, 3, 0);
    },
    run: (p) => p.syscall('mmap', A + 2 * HUGE, HUGE, 3, SHARED | FIXED, 0, 2 * HUGE),
  },
  {
    name: 'a second hole in a hugetlb file',
    ...BIG,
    setup: (p) => {
      poolFile(p);
      for (let i = 0; i < 6; i++) store(p, A + i * HUGE);
      p.syscall('fallocate', 0, PUNCH_HOLE, HUGE, HUGE);
    },
    run: (p) => p.syscall('fallocate', 0, PUNCH_HOLE, 3 * HUGE, HUGE),
    never: true,
  },
  {
    name: 'a second MADV_DONTNEED of hugetlb',
    ...BIG,
    setup: (p) => {
      resize(p, 4);
      mmap(p, A, 4 * PAGES, ANON | FIXED | HUGETLB);
      for (let i = 0; i < 4; i++) store(p, A + i * HUGE);
      // Cuts what is used in two, with the descriptor that the map has in reserve.
      p.syscall('madvise', A + HUGE, HUGE, DONTNEED);
    },
    run: (p) => p.syscall('madvise', A + 3 * HUGE, HUGE, DONTNEED),
    never: true,
  },
  {
    name: 'first store to what was read of a file of hugetlb, private',
    ...BIG,
    setup: (p) => {
      poolFile(p, PRIVATE | NORESERVE);
      p.syscall('fallocate', 0, 0, 0, HUGE);
      load(p, A);
    },
    run: (p) => store(p, A),
    errors: [...OOM, BUS],
  },
  { name: 'a pool that grows, and gives struct pages back', ...HVO, run: (p) => resize(p, 2), never: true, between: true, tables: 16 },
  { name: 'a pool that shrinks, and needs its struct pages', ...HVO, setup: (p) => resize(p, 3), run: (p) => resize(p, 1), never: true, between: true },
  {
    name: 'a frame of a pool that gave its struct pages back goes out of use',
    ...HVO,
    setup: (p) => resize(p, 2),
    run: (p) => kernel(p).softOfflinePage(pfnOfPage(get(poolOf(HUGE / 1024, 12), Hstate.free)) + 7),
    errors: [EBUSY],
    between: true,
  },
  {
    name: 'MADV_SOFT_OFFLINE of hugetlb in use',
    ...BIG,
    machine: { settings: { memoryFailure: 1 } },
    setup: (p) => {
      resize(p, 1);
      mmap(p, A, PAGES, ANON | FIXED | HUGETLB);
      store(p, A);
    },
    run: (p) => p.syscall('madvise', A, PAGE, SOFT_OFFLINE),
  },
  {
    name: 'a frame in use that is wanted for a range of frames',
    setup: written,
    run: (p) => {
      const pfn = pfnOfPage(p.translate(A / PAGE, 1) as number);
      const error = kernel(p).allocContigRangeMoving(pfn, pfn + 1);
      return error !== 0 ? error : kernel(p).folioPut(pageOfPfn(pfn));
    },
    errors: [ENOMEM, EBUSY],
  },
  { name: 'a pool of two nodes that grows', ...TWO_NODES, run: (p) => resize(p, 3), never: true, between: true },
  {
    name: 'a pool of one node of two that grows',
    ...TWO_NODES,
    run: (p) => kernel(p).setMaxHugePagesNode(poolOf(HUGE / 1024, 12), 1, 2),
    never: true,
    between: true,
  },
];

/** The largest page of a mode's pools that has so many kilobytes, mapped at A. */
const poolIn = (mode: string, kilobytes: number, log: number, megabytes: number): Scenario => ({
  name: `first store to hugetlb of ${kilobytes} KiB in ${mode}`,
  megabytes,
  machine: { mode },
  setup: (p) => {
    kernel(p).setMaxHugePages(poolOf(kilobytes, p.machine.pageShift), 2);
    p.syscall('mmap', A, kilobytes * 1024, 3, ANON | FIXED | HUGETLB | (log * 2 ** 26), -1, 0);
  },
  run: (p) => kernel(p).threadStore(p.ref, A / p.machine.pageSize, 1),
  losesReserved: true,
  errors: OOM,
});

const ELSEWHERE: readonly Scenario[] = [
  poolIn('ppc-8xx-4k-hugepd', 8192, 23, 32),
  poolIn('ppc-8xx-4k', 8192, 23, 32),
  {
    name: 'the direct map of 8xx with directories',
    machine: { mode: 'ppc-8xx-4k-hugepd' },
    megabytes: 32,
    run: (p) => kernel(p).makeDirectMap(total(), 0),
    tables: 8,
    partial: true,
    again: [0, ENOMEM, EINVAL],
  },
  {
    name: 'the direct map of 8xx',
    machine: { mode: 'ppc-8xx-4k' },
    megabytes: 32,
    run: (p) => kernel(p).makeDirectMap(total(), 0),
    tables: 16,
    partial: true,
    again: [0, ENOMEM, EINVAL],
  },
  {
    name: 'MADV_COLLAPSE of a huge page that small entries map, where a table is kept for it',
    machine: { mode: 'ppc64-hash-64k' },
    megabytes: 256,
    setup: (p) => {
      const size = p.machine.pageSize;
      setting(p, 'shmem_enabled', 'always');
      thp(p, 'always');
      p.syscall('mmap', STRINGS, size, 3, ANON | FIXED, -1, 0);
      p.write(BigInt(STRINGS), new TextEncoder().encode('name\0'));
      p.syscall('memfd_create', STRINGS, 0);
      p.syscall('ftruncate', 0, 2 ** 24);
      p.syscall('mmap', A, 2 ** 24, 3, SHARED | FIXED, 0, 0);
      kernel(p).threadStore(p.ref, A / size, 1);
      p.syscall('mprotect', A, size, 1);
      kernel(p).threadLoad(p.ref, A / size + 1);
      p.syscall('mprotect', A, size, 3);
    },
    run: (p) => p.syscall('madvise', A, 2 ** 24, COLLAPSE),
    errors: [ENOMEM, EINVAL],
  },
];

export const OTHER_SCENARIOS: readonly Scenario[] = [...MERGES, ...LISTS, ...KERNELS, ...POOLS, ...ELSEWHERE];
