/** Calls of userfaultfd whose allocations fail (failures.ts): the file, what its ioctls fill, what fork and munmap note to tell it. Nobody waits: who runs alone is not told. */
import type { Process } from '../../../src/machine/process.ts';
import { get, set } from '../../../src/memory/heap.ts';
import { File, Inode, Process as ProcessStruct } from '../../../src/mm/types.ts';
import { MFILL_COPY, MFILL_ZEROPAGE } from '../../../src/mm/userfaultfd-fill.ts';
import { UFFD_FEATURE_EVENT_FORK, UFFD_FEATURE_EVENT_UNMAP, UFFD_INITIALIZED, Uffd } from '../../../src/mm/userfaultfd-types.ts';
import { VM_UFFD_MISSING, VM_UFFD_WP } from '../../../src/mm/vm-flags.ts';
import { vmaLookup } from '../../../src/mm/vma-tree.ts';
import { A, ANON, B, ENOMEM, FIXED, kernel, mmap, PAGE, type Scenario } from './failures.ts';

const HUGE = 0x200000;

/** The context of the process's last userfaultfd. */
function contextOf(p: Process): number {
  for (let fd = 15; fd >= 0; fd--) {
    const file = get(p.ref, ProcessStruct.files + fd);
    const ctx = file === 0 ? 0 : get(get(file, File.inode), Inode.uffd);
    if (ctx !== 0) return ctx;
  }
  return 0;
}

/** A userfaultfd with features that `bytes` of memory at A are registered with. */
function registered(p: Process, features = 0, bytes = 4 * PAGE, modes = VM_UFFD_MISSING): void {
  kernel(p).sysUserfaultfd(p.ref, 0o4000);
  set(contextOf(p), Uffd.features, UFFD_INITIALIZED | features);
  kernel(p).userfaultfdRegister(contextOf(p), A / PAGE, (A + bytes) / PAGE, modes);
}

/** What pages at A are filled from. */
function source(p: Process, pages: number): void {
  mmap(p, B, pages, ANON | FIXED);
  for (let i = 0; i < pages; i++) p.store(BigInt(B + i * PAGE), 1, 1n);
}

const fill = (pages: number, flags: number) => (p: Process) => {
  const done = kernel(p).mfillAtomic(contextOf(p), A / PAGE, p.mm, B, pages, flags);
  return done < 0 ? done : 0;
};

/** A hugetlb file, shared, at A. */
function hugetlb(p: Process): void {
  const fd = kernel(p).sysMemfdCreate(p.ref, B, 4);
  kernel(p).sysFtruncate(p.ref, fd, HUGE);
  kernel(p).sysMmap(p.ref, A, HUGE, 3, 1 | FIXED, fd, 0);
}

export const UFFD_SCENARIOS: readonly Scenario[] = [
  { name: 'userfaultfd', run: (p) => kernel(p).sysUserfaultfd(p.ref, 0o4000), errors: [ENOMEM] },
  {
    name: 'userfaultfd: copy of a page to where nothing was',
    setup: (p) => {
      source(p, 1);
      mmap(p, A, 4, ANON | FIXED);
      registered(p);
    },
    run: fill(1, MFILL_COPY),
    tables: 4,
    partial: true,
  },
  {
    name: 'userfaultfd: a page of a shared file',
    setup: (p) => {
      mmap(p, A, 4, 0x21 | FIXED);
      registered(p);
    },
    run: fill(1, MFILL_ZEROPAGE),
    tables: 4,
    partial: true,
  },
  {
    name: 'userfaultfd: copy of a huge page of a file',
    megabytes: 24,
    machine: { hugepages: 'hugepages=2' },
    setup: (p) => {
      source(p, 512);
      hugetlb(p);
      registered(p, 0, HUGE);
    },
    run: fill(512, MFILL_COPY),
    tables: 4,
    partial: true,
  },
  {
    name: 'userfaultfd: markers of write protection where no table was',
    setup: (p) => {
      mmap(p, A, 4, 0x21 | FIXED);
      registered(p, 0, 4 * PAGE, VM_UFFD_WP);
    },
    run: (p) => Math.min(0, kernel(p).uffdWpRange(vmaLookup(p.mm, A / PAGE), A / PAGE, A / PAGE + 4, 1)),
    tables: 4,
    partial: true,
  },
  {
    name: 'userfaultfd: fork that it is told of',
    setup: (p) => {
      mmap(p, A, 4, ANON | FIXED);
      // The child needs an anon_vma and tables, too.
      p.store(BigInt(A), 1, 1n);
      registered(p, UFFD_FEATURE_EVENT_FORK);
    },
    run: (p) => {
      const child = kernel(p).sysFork(p.ref);
      return child < 0 ? child : 0;
    },
    bare: true,
  },
  {
    name: 'userfaultfd: munmap that it is told of',
    setup: (p) => {
      mmap(p, A, 4, ANON | FIXED);
      registered(p, UFFD_FEATURE_EVENT_UNMAP);
    },
    run: (p) => kernel(p).sysMunmap(p.ref, A, 4 * PAGE),
    bare: true,
  },
];
