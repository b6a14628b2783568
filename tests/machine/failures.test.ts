/**
 * Allocation failure at every site of every call (support/failures.ts), on small pages, on huge ones (support/failing-huge.ts) and where a machine of its own is needed
 * (support/failing-others.ts). That it is every site is read off the kernel's sources (support/call-sites.ts).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { elf, install, vectors } from '../mm/support/elf.ts';
import { callSites, leadingTo } from './support/call-sites.ts';
import { HUGE_SCENARIOS } from './support/failing-huge.ts';
import { OTHER_SCENARIOS } from './support/failing-others.ts';
import { UFFD_SCENARIOS } from './support/failing-uffd.ts';
import { failed, noteFailures, stopNoting } from './support/failure-sites.ts';
import {
  A,
  ANON,
  answerEach,
  B,
  E2BIG,
  EAGAIN,
  EFAULT,
  EINVAL,
  ENFILE,
  ENOMEM,
  ENOSPC,
  ESRCH,
  FIXED,
  failEach,
  files,
  fork,
  iovec,
  KILLED,
  kernel,
  load,
  mmap,
  OOM,
  PAGE,
  type Scenario,
  store,
  TABLE,
  written,
} from './support/failures.ts';
import { DROPPING, enterEach, entered, lockDrops } from './support/lock-drops.ts';

/** What may say that there is no memory: primitives of kernel code, and the question alone where what is allocated is not modelled (nodes of page caches). */
const ALLOCATE = ['ops.ts#kmalloc', 'ops.ts#kmallocNowait', 'ops.ts#allocPage', 'effects.ts#allocationFails'].map((name) => `src/kernel/${name}`);

/** Functions whose callers are not told whether there was memory, and do the same with and without. */
const SILENT = new Set([
  // A batch more to gather pages in.
  'tlbRemovePage',
  // The descriptor for it was made by the question before (vmaNeedsReservation).
  'vmaAddReservation',
  'vmaDelReservation',
]);

/** Calls that find what they would allocate unless another task is faster, and why. */
const CANNOT_FAIL: Readonly<Record<string, string>> = {
  'vmaAddReservation: src/mm/hugetlb-resv.ts regionDel': 'the question before has left a descriptor in the map',
  'vmaDelReservation: src/mm/hugetlb-resv.ts regionDel': 'the same',
  'removeInodeHugepages: src/mm/hugetlbfs.ts hugetlbUnreservePages': 'to the end of a file nothing is cut in two',
  'hugetlbFileSetup: src/mm/hugetlbfs.ts hugetlbReservePages': 'a new map has a descriptor',
  'diskWriteBegin: src/mm/disk.ts diskGetPage': 'the page was made just before',
  'getArgPage: src/mm/exec.ts expandDownwards': 'the first page of a new stack has brought the anon_vma',
  'copyMigrationPmd: src/mm/migrate-pmd.ts pteAllocOne': 'who alone runs moves no page while it forks',
  'copyHugePmd: src/mm/huge-memory.ts mmGetHugeZeroFolio': 'the parent has the page',
  'nextMessage: src/mm/userfaultfd.ts newFd': 'who runs alone waits for no reader: nobody reads of his fork',
};

/** What the scenario in hand calls execve() with. */
let args: [number, number, number] = [0, 0, 0];

const SCENARIOS: readonly Scenario[] = [
  { name: 'mmap, new', run: (p) => mmap(p, A, 4, ANON | FIXED) },
  {
    name: 'mmap that merges with both neighbours',
    setup: (p) => [0, 2].forEach((i) => mmap(p, A + i * PAGE, 1, ANON | FIXED)),
    run: (p) => mmap(p, A + PAGE, 1, ANON | FIXED),
  },
  { name: 'mmap over the middle of a mapping', setup: written, run: (p) => mmap(p, A + 2 * PAGE, 3, ANON | FIXED, 1), partial: true },
  { name: 'mmap of shared memory', run: (p) => mmap(p, A, 4, 0x21 | FIXED), errors: [ENOMEM, ENOSPC] },
  { name: 'mmap of a file, private', setup: files, run: (p) => mmap(p, A, 4, 2 | FIXED, 3, 0) },
  { name: 'mmap of a file, shared', setup: files, run: (p) => mmap(p, A, 4, 1 | FIXED, 3, 1) },
  { name: 'mmap with MAP_POPULATE', run: (p) => mmap(p, A, 4, 0x8000 | ANON | FIXED), partial: true },
  { name: 'mmap with MAP_LOCKED', run: (p) => mmap(p, A, 4, 0x2000 | ANON | FIXED), partial: true },
  { name: 'munmap of a whole mapping', setup: written, run: (p) => p.syscall('munmap', A, 8 * PAGE), never: true },
  { name: 'munmap of a middle', setup: written, run: (p) => p.syscall('munmap', A + 2 * PAGE, 2 * PAGE), splits: true },
  {
    name: 'munmap of ends of two mappings',
    setup: (p) => {
      written(p);
      mmap(p, A + 8 * PAGE, 4, ANON | FIXED, 1);
    },
    run: (p) => p.syscall('munmap', A + 6 * PAGE, 4 * PAGE),
    splits: true,
  },
  {
    name: 'munmap of a whole table',
    setup: (p) => {
      mmap(p, A, 1024, ANON | FIXED);
      store(p, A);
      store(p, A + TABLE);
    },
    run: (p) => p.syscall('munmap', A, 2 * TABLE),
    never: true,
  },
  { name: 'mprotect of a middle', setup: written, run: (p) => p.syscall('mprotect', A + 2 * PAGE, 2 * PAGE, 1), splits: true },
  {
    name: 'mprotect over two mappings',
    setup: (p) => {
      written(p);
      mmap(p, A + 8 * PAGE, 4, ANON | FIXED, 1);
    },
    run: (p) => p.syscall('mprotect', A + 6 * PAGE, 4 * PAGE, 5),
    partial: true,
  },
  {
    name: 'mprotect that merges',
    setup: (p) => {
      written(p);
      p.syscall('mprotect', A + 2 * PAGE, 2 * PAGE, 1);
    },
    run: (p) => p.syscall('mprotect', A + 2 * PAGE, 2 * PAGE, 3),
  },
  { name: 'mremap that grows in place', setup: written, run: (p) => p.syscall('mremap', A, 8 * PAGE, 12 * PAGE, 1, 0) },
  {
    name: 'mremap that moves',
    setup: (p) => {
      written(p);
      mmap(p, A + 8 * PAGE, 1, ANON | FIXED, 1);
    },
    run: (p) => p.syscall('mremap', A, 8 * PAGE, 12 * PAGE, 1, 0),
    // The new place is unmapped with VM_ACCOUNT hidden, as the old one would have been: what it was to have more is given back by nobody (move_vma).
    losesPromised: 4,
  },
  {
    name: 'mremap to a fixed place that is taken',
    setup: (p) => {
      written(p);
      mmap(p, B, 4, ANON | FIXED, 1);
      store(p, B);
    },
    run: (p) => p.syscall('mremap', A + PAGE, 4 * PAGE, 4 * PAGE, 3, B),
    partial: true,
    // Where the old VMA cannot be cut any more it stays as it is, but for VM_ACCOUNT: nobody will give back its promise (unmap_source_vma).
    losesPromised: 8,
  },
  {
    name: 'mremap that moves two tables',
    setup: (p) => {
      mmap(p, A, 1024, ANON | FIXED);
      store(p, A);
      store(p, A + TABLE);
    },
    run: (p) => p.syscall('mremap', A, 2 * TABLE, 2 * TABLE, 3, B),
    partial: true,
  },
  { name: 'mremap with MREMAP_DONTUNMAP', setup: written, run: (p) => p.syscall('mremap', A, 8 * PAGE, 8 * PAGE, 7, B) },
  {
    name: 'mremap that duplicates a shared mapping',
    setup: (p) => {
      files(p);
      mmap(p, A, 4, 1 | FIXED, 3, 0);
      store(p, A);
    },
    run: (p) => p.syscall('mremap', A, 0, 4 * PAGE, 1, 0),
  },
  { name: 'mremap that shrinks', setup: written, run: (p) => p.syscall('mremap', A, 8 * PAGE, 3 * PAGE, 0, 0) },
  { name: 'brk, the first', run: (p) => (kernel(p).sysBrk(p.ref, 0x60000000 + 4 * PAGE) === 0x60000000 + 4 * PAGE ? 0 : ENOMEM) },
  {
    name: 'brk, more',
    setup: (p) => kernel(p).sysBrk(p.ref, 0x60000000 + 4 * PAGE),
    run: (p) => (kernel(p).sysBrk(p.ref, 0x60000000 + 8 * PAGE) === 0x60000000 + 8 * PAGE ? 0 : ENOMEM),
  },
  { name: 'fork of little', setup: written, run: fork },
  {
    name: 'fork of much',
    setup: (p) => {
      files(p);
      written(p);
      mmap(p, B, 4, 1 | FIXED, 3, 0);
      mmap(p, B + 4 * PAGE, 4, 2 | FIXED, 3, 0);
      mmap(p, B + TABLE, 4, 0x2000 | ANON | FIXED);
      for (let i = 0; i < 8; i += 3) store(p, B + i * PAGE);
      p.syscall('mprotect', A + 3 * PAGE, PAGE, 1);
    },
    run: fork,
  },
  {
    name: 'fork of a forked process',
    setup: (p) => {
      written(p);
      fork(p);
      store(p, A);
      mmap(p, B, 2);
      fork(p);
    },
    run: fork,
  },
  {
    name: 'exit',
    setup: (p) => {
      written(p);
      fork(p);
    },
    run: (p) => kernel(p).sysExit(p.ref, 0),
    never: true,
  },
  { name: 'fault: first store', setup: (p) => mmap(p, A, 8, ANON | FIXED), run: (p) => store(p, A), errors: OOM },
  { name: 'fault: first load', setup: (p) => mmap(p, A, 8, ANON | FIXED), run: (p) => load(p, A), errors: OOM },
  {
    name: 'fault: store after load',
    setup: (p) => {
      mmap(p, A, 8, ANON | FIXED);
      load(p, A);
    },
    run: (p) => store(p, A),
    errors: OOM,
  },
  {
    name: 'fault: store in a table that is there',
    setup: (p) => {
      mmap(p, A, 8, ANON | FIXED);
      load(p, A + PAGE);
    },
    run: (p) => store(p, A),
    errors: OOM,
  },
  {
    name: 'fault: copy on write',
    setup: (p) => {
      written(p);
      fork(p);
    },
    run: (p) => store(p, A),
    errors: OOM,
  },
  {
    name: 'fault: load of shared memory',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 1 | FIXED, 3, 0);
    },
    run: (p) => load(p, A),
    errors: OOM,
  },
  {
    name: 'fault: store to shared memory',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 1 | FIXED, 3, 0);
    },
    run: (p) => store(p, A),
    errors: OOM,
  },
  {
    name: 'fault: private store to a page in the cache',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 2 | FIXED, 3, 0);
      load(p, A);
    },
    run: (p) => store(p, A),
    errors: OOM,
  },
  {
    name: 'fault: private store to a hole',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 2 | FIXED, 3, 0);
    },
    run: (p) => store(p, A),
    errors: OOM,
  },
  {
    name: 'fault: load of a disk file',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 1 | FIXED, 3, 1);
    },
    run: (p) => load(p, A),
    errors: OOM,
  },
  {
    name: 'fault: store to a disk file',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 1 | FIXED, 3, 1);
    },
    run: (p) => store(p, A),
    errors: OOM,
  },
  {
    name: 'fault: store to a clean page of a disk file',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 1 | FIXED, 3, 1);
      load(p, A);
    },
    run: (p) => store(p, A),
    errors: OOM,
  },
  // Without an anon_vma the stack cannot grow: there is nothing to access. Once it has grown it stays so, whatever becomes of the page.
  {
    name: 'fault: stack growth',
    setup: (p) => {
      mmap(p, B, 4, 0x100 | ANON | FIXED);
      store(p, B);
    },
    run: (p) => store(p, B - PAGE),
    errors: [KILLED, -(11 * 256 + 1)],
    partial: true,
  },
  { name: 'madvise, splitting', setup: written, run: (p) => p.syscall('madvise', A + 2 * PAGE, 2 * PAGE, 10), errors: [EAGAIN], splits: true },
  { name: 'madvise DONTNEED', setup: written, run: (p) => p.syscall('madvise', A, 4 * PAGE, 4), never: true },
  {
    name: 'madvise DONTNEED of a whole table',
    setup: (p) => {
      mmap(p, A, 1024, ANON | FIXED);
      store(p, A);
    },
    run: (p) => p.syscall('madvise', A, TABLE, 4),
    never: true,
  },
  { name: 'madvise FREE', setup: written, run: (p) => p.syscall('madvise', A, 4 * PAGE, 8), never: true },
  { name: 'madvise COLD', setup: written, run: (p) => p.syscall('madvise', A, 4 * PAGE, 20), never: true },
  {
    name: 'madvise PAGEOUT',
    setup: (p) => {
      files(p);
      mmap(p, A, 4, 1 | FIXED, 3, 1);
      load(p, A);
    },
    run: (p) => p.syscall('madvise', A, 4 * PAGE, 21),
    never: true,
  },
  { name: 'madvise POPULATE_READ', setup: (p) => mmap(p, A, 4, ANON | FIXED), run: (p) => p.syscall('madvise', A, 4 * PAGE, 22), partial: true },
  { name: 'madvise POPULATE_WRITE', setup: (p) => mmap(p, A, 4, ANON | FIXED), run: (p) => p.syscall('madvise', A, 4 * PAGE, 23), partial: true },
  {
    name: 'madvise POPULATE_WRITE of a file',
    setup: (p) => {
      files(p);
      mmap(p, A, 4, 1 | FIXED, 3, 0);
    },
    run: (p) => p.syscall('madvise', A, 4 * PAGE, 23),
    partial: true,
  },
  { name: 'madvise GUARD_INSTALL', setup: written, run: (p) => p.syscall('madvise', A + 2 * PAGE, 2 * PAGE, 102), partial: true },
  {
    name: 'madvise GUARD_INSTALL where no table is',
    setup: (p) => mmap(p, A, 8, ANON | FIXED),
    run: (p) => p.syscall('madvise', A, 2 * PAGE, 102),
    partial: true,
  },
  {
    name: 'madvise GUARD_REMOVE',
    setup: (p) => {
      written(p);
      p.syscall('madvise', A, 2 * PAGE, 102);
    },
    run: (p) => p.syscall('madvise', A, 2 * PAGE, 103),
    never: true,
  },
  {
    name: 'madvise REMOVE',
    setup: (p) => {
      files(p);
      mmap(p, A, 4, 1 | FIXED, 3, 0);
      store(p, A);
    },
    run: (p) => p.syscall('madvise', A, 2 * PAGE, 9),
    partial: true,
  },
  {
    name: 'madvise WILLNEED of a disk file',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 1 | FIXED, 3, 1);
    },
    run: (p) => p.syscall('madvise', A, 8 * PAGE, 3),
    never: true,
  },
  { name: 'mlock of a part', setup: written, run: (p) => p.syscall('mlock', A + 2 * PAGE, 2 * PAGE), errors: [ENOMEM, EAGAIN], partial: true },
  {
    name: 'mlock that populates',
    setup: (p) => mmap(p, A, 4, ANON | FIXED),
    run: (p) => p.syscall('mlock', A, 4 * PAGE),
    errors: [ENOMEM, EAGAIN],
    partial: true,
  },
  {
    name: 'munlock of a part',
    setup: (p) => {
      written(p);
      p.syscall('mlock', A, 8 * PAGE);
    },
    run: (p) => p.syscall('munlock', A + 2 * PAGE, 2 * PAGE),
    partial: true,
  },
  {
    name: 'mlockall',
    setup: (p) => {
      written(p);
      mmap(p, B, 2);
    },
    run: (p) => p.syscall('mlockall', 3),
    errors: [ENOMEM, EAGAIN],
    partial: true,
  },
  { name: 'mseal of a part', setup: written, run: (p) => p.syscall('mseal', A + 2 * PAGE, 2 * PAGE, 0), partial: true },
  {
    name: 'mincore',
    setup: (p) => {
      written(p);
      mmap(p, B, 1, ANON | FIXED);
    },
    run: (p) => p.syscall('mincore', A, 8 * PAGE, B),
    errors: [EAGAIN, EFAULT],
    partial: true,
  },
  {
    name: 'remap_file_pages',
    setup: (p) => {
      files(p);
      mmap(p, A, 4, 1 | FIXED, 3, 0);
      store(p, A);
    },
    run: (p) => p.syscall('remap_file_pages', A, PAGE, 0, 3, 0),
    partial: true,
    // What is mapped there goes before there is something new, and does not come back: a hole can be asked for nothing (vms_abort_munmap_vmas).
    again: [0, EINVAL],
  },
  { name: 'memfd_create', setup: files, run: (p) => p.syscall('memfd_create', 0x1000000, 0), errors: [ENOMEM, ENOSPC] },
  {
    name: 'open of a new disk file',
    setup: (p) => {
      files(p);
      p.write(0x1000000n, new TextEncoder().encode('/var/tmp/pxd/other\0'));
    },
    run: (p) => p.syscall('open', 0x1000000, 0o102, 0o600),
    errors: [ENOMEM, ENOSPC, ENFILE],
    partial: true,
  },
  {
    name: 'open of a new tmpfs file',
    setup: (p) => {
      files(p);
      p.write(0x1000000n, new TextEncoder().encode('/dev/shm/pxd/other\0'));
    },
    run: (p) => p.syscall('open', 0x1000000, 0o102, 0o600),
    errors: [ENOMEM, ENOSPC, ENFILE],
    partial: true,
  },
  {
    name: 'ftruncate in the middle of a page',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 1 | FIXED, 3, 0);
      store(p, A);
      store(p, A + PAGE);
    },
    run: (p) => p.syscall('ftruncate', 0, 100),
    never: true,
  },
  {
    name: 'ftruncate under private copies',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 2 | FIXED, 3, 0);
      store(p, A);
      store(p, A + PAGE);
    },
    run: (p) => p.syscall('ftruncate', 0, 0),
    never: true,
  },
  { name: 'fallocate', setup: files, run: (p) => p.syscall('fallocate', 0, 0, 0, 4 * PAGE), errors: [ENOMEM, ENOSPC] },
  {
    name: 'fallocate that punches a hole',
    setup: (p) => {
      files(p);
      mmap(p, A, 8, 1 | FIXED, 3, 0);
      store(p, A);
      store(p, A + PAGE);
    },
    run: (p) => p.syscall('fallocate', 0, 3, 0, PAGE + 100),
    never: true,
  },
  {
    name: 'write to shared memory',
    setup: (p) => {
      files(p);
      written(p);
    },
    run: (p) => p.syscall('write', 0, A, 3 * PAGE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'write to a disk file',
    setup: (p) => {
      files(p);
      written(p);
    },
    run: (p) => p.syscall('write', 1, A, 3 * PAGE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'write from memory that is not there yet',
    setup: (p) => {
      files(p);
      mmap(p, A, 4, ANON | FIXED);
    },
    run: (p) => p.syscall('write', 0, A, 3 * PAGE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'read into memory that is not there yet',
    setup: (p) => {
      files(p);
      mmap(p, A, 4, ANON | FIXED);
    },
    run: (p) => p.syscall('read', 0, A, 3 * PAGE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'read of a disk file',
    setup: (p) => {
      files(p);
      written(p);
    },
    run: (p) => p.syscall('read', 1, A, 3 * PAGE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'exec of a file',
    setup: (p) => {
      written(p);
      install(p, '/dev/shm/pxd/prog', elf());
      args = vectors(p, '/dev/shm/pxd/prog', ['prog', 'x'.repeat(5000)], ['A=b']);
    },
    run: (p) => (p.alive ? p.syscall('execve', ...args) : ESRCH),
    // Arguments that find no memory are too many; where the old program is gone already, the process dies.
    errors: [ENOMEM, E2BIG, EFAULT],
    partial: true,
    again: [0, ESRCH],
  },
  { name: 'pipe2', setup: (p) => mmap(p, A, 1, ANON | FIXED), run: (p) => p.syscall('pipe2', A, 0), errors: [ENFILE, ENOMEM, EFAULT], partial: true },
  {
    name: 'write to a pipe',
    setup: (p) => {
      written(p);
      p.syscall('pipe2', A, 0);
    },
    run: (p) => p.syscall('write', 1, A + PAGE, 3 * PAGE),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'vmsplice',
    setup: (p) => {
      written(p);
      p.syscall('pipe2', A, 0);
      iovec(p, A, A + PAGE, 2 * PAGE);
    },
    run: (p) => p.syscall('vmsplice', 1, A, 1, 0),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  {
    name: 'process_vm_readv',
    setup: (p) => {
      written(p);
      mmap(p, B, 4, ANON | FIXED);
      iovec(p, A, B, PAGE);
      iovec(p, A + 16, A + PAGE, PAGE);
    },
    run: (p) => p.syscall('process_vm_readv', p.pid, A, 1, A + 16, 1, 0),
    errors: [ENOMEM, EFAULT],
    partial: true,
  },
  { name: 'shmget', run: (p) => p.syscall('shmget', 0, 4 * PAGE, 0o600), errors: [ENOMEM, ENOSPC] },
  { name: 'shmat', setup: (p) => p.syscall('shmget', 0, 4 * PAGE, 0o600), run: (p) => p.syscall('shmat', 0, 0, 0) },
  {
    name: 'shmdt',
    setup: (p) => {
      p.syscall('shmget', 0, 4 * PAGE, 0o600);
      p.syscall('shmat', 0, A, 0);
      store(p, A);
    },
    run: (p) => p.syscall('shmdt', A),
    never: true,
  },
  {
    name: 'msync of a disk file',
    setup: (p) => {
      files(p);
      mmap(p, A, 4, 1 | FIXED, 3, 1);
      store(p, A);
    },
    run: (p) => p.syscall('msync', A, 4 * PAGE, 4),
    never: true,
  },
];

const nightly = process.env.PXD_NIGHTLY === '1';
/** Of those that need more of a machine one in eight is asked everything; PXD_NIGHTLY=1 asks all. */
const inFull = (_: Scenario, i: number): boolean => nightly || i % 8 === 3;
const LARGE = [...HUGE_SCENARIOS, ...OTHER_SCENARIOS, ...UFFD_SCENARIOS];

/** The calls in the sources of the mm. */
const calls = callSites();

describe('allocation failure at every site', () => {
  let sites = 0;
  beforeAll(noteFailures);
  afterAll(stopNoting);

  for (const scenario of SCENARIOS)
    it(scenario.name, () => {
      sites += failEach(scenario, 'direct');
    });

  for (const scenario of LARGE.filter(inFull))
    it(scenario.name, { timeout: 240_000 }, () => {
      sites += failEach(scenario, 'direct');
    });

  it('all answer as they should', () => {
    // The one that asks for more than are looked at one by one.
    for (const scenario of SCENARIOS.filter(({ name }) => name === 'exec of a file')) sites += answerEach(scenario, false);
    for (const scenario of LARGE.filter((one, i) => !inFull(one, i))) sites += answerEach(scenario, true);
  });

  it('was tried at many sites', () => {
    expect(sites).toBeGreaterThan(200);
  });

  it('each call that allocates, and each call of what allocates, has failed once', async () => {
    const all = leadingTo(await calls, ALLOCATE, 2, SILENT);
    expect(all.length).toBeGreaterThan(250);
    const names = new Set(all.map(({ name }) => name));
    const unknown = [...failed].filter((name) => ALLOCATE.some((one) => name.endsWith(` ${one.split('#')[1]}`)) && !names.has(name));
    expect(unknown).toEqual([]);
    const never = all.filter(({ name }) => !failed.has(name)).map(({ name, from }) => `${from}: ${name.replace(/:\d+:\d+ /, ' ')}`);
    expect(never.filter((name) => !(name in CANNOT_FAIL))).toEqual([]);
  });

  it('the same in the native program', () => {
    stopNoting();
    for (const scenario of SCENARIOS.filter((_, i) => i % 9 === 0))
      expect([scenario.name, failEach(scenario, 'native')]).toEqual([scenario.name, failEach(scenario, 'direct')]);
  });
});

/** Drops of locks that no call alone comes to, and why. */
const NOT_ALONE: Readonly<Record<string, string>> = {
  'splitFolioOf: src/mm/split-folio.ts folioUnlock': 'a folio that cannot be split: somebody else has a reference',
  'doHugePmdWpPage: src/mm/huge-memory.ts spinUnlock': 'the lock of the folio is held by somebody else',
  'filemapFault: src/mm/filemap-fault.ts folioUnlock': 'the page has left its file since',
  'filemapFault: src/mm/filemap-fault.ts upRead': 'the same',
  'filemapLockFolio: src/mm/filemap.ts folioUnlock': 'the same',
  'shmemGetFolioGfp: src/mm/shmem.ts folioUnlock': 'the same',
  'unmapFileFolio: src/mm/hugetlbfs.ts upWrite': 'the page was mapped again since',
  'gatherSurplus: src/mm/hugetlb-pool.ts spinUnlock': 'pages of the pool were taken meanwhile',
  'pteOffsetMapLock: src/mm/pgtable-generic.ts spinUnlock': 'the table was taken away meanwhile',
  'folioLockAnonVmaRead: src/mm/rmap-walk.ts upRead': 'the anon_vma is locked, or the folio unmapped, by somebody else',
  'copyHugePage: src/mm/hugetlb-vma.ts spinUnlock': 'a page that is pinned: its copy is made with both tables unlocked',
  'expandStack: src/mm/stack.ts mmapReadUnlock': 'a debugger reaches below a stack',
  'waitForFaults: src/mm/hugetlbfs.ts upWrite': 'part of a repair (docs/findings.md)',
  'pairReplace: src/mm/pmd-pair.ts spinUnlock': 'code of one race of the catalogue alone',
  'pipeRead: src/mm/pipe.ts upWrite': 'waits for who writes',
  'writeLocked: src/mm/pipe.ts upWrite': 'waits for who reads',
  'waitForSpace: src/mm/vmsplice.ts upWrite': 'the same',
  'drainToUser: src/mm/vmsplice.ts upWrite': 'waits for who writes',
  'eventWaitCompletion: src/mm/userfaultfd-events.ts spinUnlock': 'waits for who reads events',
  'handleUserfault: src/mm/userfaultfd-fault.ts spinUnlock': 'waits for who fills the page',
  'nextMessage: src/mm/userfaultfd.ts spinUnlock': 'waits for something to tell of',
  'hugetlbFollowPageMask: src/mm/gup-hugetlb-old.ts spinUnlock': 'code of races of the catalogue alone',
  'fetchPage: src/mm/memory.ts folioUnlock': 'a page that is poisoned, which is not locked again',
};

describe('another call wherever a lock is dropped and taken again', () => {
  const all = [...DROPPING, ...SCENARIOS, ...LARGE].filter(({ bare }) => !bare);
  const chosen = all.filter(({ name }, i) => nightly || i < DROPPING.length || ['fault: stack growth', 'mincore', 'remap_file_pages'].includes(name));

  it(nightly ? 'every such place in the sources' : 'some such places', { timeout: 600_000 }, async () => {
    stopNoting();
    const drops = lockDrops(await calls);
    expect(drops.length).toBeGreaterThan(60);
    const names = new Set(drops.map(({ name }) => name));
    let tried = 0;
    for (const scenario of chosen) tried += enterEach(scenario, names);
    expect(tried).toBeGreaterThan(10);
    if (!nightly) return;
    const never = drops.filter(({ name }) => !entered.has(name)).map(({ name, from }) => `${from}: ${name.replace(/:\d+:\d+ /, ' ')}`);
    expect(never.filter((name) => !(name in NOT_ALONE))).toEqual([]);
  });
});
