/**
 * Allocation failure at every site: each call of a scenario is run with its first allocation failing, then its second, and so on until it asks for no more;
 * each time with that one alone, and with all that come after it. It answers as Linux does, breaks no invariant, changes nothing where it fails as a whole, and when all processes have gone nothing is left of it.
 */
import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { get, set } from '../../src/memory/heap.ts';
import { FIRST_OBJECT, heap, journalMark, SLOT_TOP, startJournal, stopJournal, undo } from '../../src/memory/state.ts';
import { layouts } from '../../src/memory/struct.ts';
import { Memory, memory, Pcp, Zone } from '../../src/memory/zone.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Globals, Inode, Mm, Process as ProcessStruct, Vma } from '../../src/mm/types.ts';
import { firstVma } from '../../src/mm/vma-tree.ts';
import { elf, install, vectors } from '../mm/support/elf.ts';

const ENOMEM = -12;
const ESRCH = -3;
const E2BIG = -7;
const EAGAIN = -11;
const EFAULT = -14;
const EINVAL = -22;
const ENFILE = -23;
const ENOSPC = -28;
/** What threadLoad and threadStore answer for signals: −(signal · 256 + code). */
const KILLED = -9 * 256;
const OOM = [KILLED];

const A = 0x10000000;
const B = 0x20000000;
const PAGE = 0x1000;
const TABLE = 0x200000;
const ANON = 0x22;
const FIXED = 0x10;

interface Scenario {
  readonly name: string;
  setup?(p: Process): void;
  run(p: Process): number;
  /** Errors that it may answer with when an allocation fails (default ENOMEM alone). */
  readonly errors?: readonly number[];
  /** It may have done a part of its work when it fails. */
  readonly partial?: boolean;
  /** A VMA may stay split when it fails: the first cut is not taken back when the second has no memory (mm/vma.c: vma_modify, vms_gather_munmap_vmas). */
  readonly splits?: boolean;
  /** Pages that stay promised for ever when it fails, as on Linux. */
  readonly losesPromised?: number;
  /** What it answers with when it is tried again with memory after a failure; without it, no error. */
  readonly again?: readonly number[];
  /** A failure is got over: it succeeds all the same wherever the allocation fails. */
  readonly never?: boolean;
}

const kernel = (p: Process): Record<string, (...args: number[]) => number> => {
  p.machine.enter();
  return p.machine.kernel as unknown as Record<string, (...args: number[]) => number>;
};
const load = (p: Process, address: number): number => kernel(p).threadLoad(p.ref, address / PAGE);
const store = (p: Process, address: number, value = 1): number => kernel(p).threadStore(p.ref, address / PAGE, value);
const fork = (p: Process): number => kernel(p).sysFork(p.ref);
const mmap = (p: Process, at: number, pages: number, flags = ANON, prot = 3, fd = -1, offset = 0): number =>
  p.syscall('mmap', at, pages * PAGE, prot, flags, fd, offset);

/** Writes a name and opens files: descriptor 0 shared memory, 1 of a disk; eight pages each. */
function files(p: Process): void {
  mmap(p, 0x1000000, 1, ANON | FIXED);
  p.write(0x1000000n, new TextEncoder().encode('name\0'));
  p.syscall('memfd_create', 0x1000000, 2);
  p.write(0x1000000n, new TextEncoder().encode('/var/tmp/pxd/disk\0'));
  p.syscall('open', 0x1000000, 0o102, 0o600);
  for (const fd of [0, 1]) p.syscall('ftruncate', fd, 8 * PAGE);
}

/** Eight written pages at A. */
function written(p: Process): void {
  mmap(p, A, 8, ANON | FIXED);
  for (let i = 0; i < 8; i++) store(p, A + i * PAGE, i + 1);
}

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

/** One iovec in user memory. */
function iovec(p: Process, at: number, base: number, length: number): void {
  p.store(BigInt(at), 8, BigInt(base));
  p.store(BigInt(at + 8), 8, BigInt(length));
}

/**
 * All that processes can see of themselves, but page tables and what is resident. `joined`: VMAs that differ in nothing and follow each other
 * are shown as one.
 */
function visible(joined: boolean): string {
  const lines: string[] = [];
  for (let p = get(globals, Globals.processes); p !== 0; p = get(p, ProcessStruct.next)) {
    const mm = get(p, ProcessStruct.mm);
    lines.push(`process ${get(p, ProcessStruct.pid)} ${mm}`);
    for (let fd = 0; fd < 16; fd++) lines.push(`${get(p, ProcessStruct.files + fd)}`);
    if (mm === 0) continue;
    for (const field of [Mm.totalVm, Mm.lockedVm, Mm.dataVm, Mm.execVm, Mm.stackVm, Mm.brk, Mm.defFlags]) lines.push(`${get(mm, field)}`);
    if (!joined) lines.push(`${get(mm, Mm.mapCount)} VMAs`);
    for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) {
      const [start, pgoff] = [get(vma, Vma.start), get(vma, Vma.pgoff)];
      while (joined && get(vma, Vma.next) !== 0 && continues(vma, get(vma, Vma.next))) vma = get(vma, Vma.next);
      lines.push([start, get(vma, Vma.end), pgoff, ...KIND.map((field) => get(vma, field))].map((value) => value.toString(16)).join(' '));
    }
  }
  return lines.join('\n');
}

/** What VMAs have in common that could be one. */
const KIND = [Vma.flags, Vma.file, Vma.ops];

const continues = (vma: number, next: number): boolean =>
  get(vma, Vma.end) === get(next, Vma.start) &&
  get(vma, Vma.pgoff) + get(vma, Vma.end) - get(vma, Vma.start) === get(next, Vma.pgoff) &&
  [...KIND, Vma.anonVma].every((field) => get(vma, field) === get(next, field));

/** Live objects by type and pages that are free or cached of files, when all processes have gone. */
function remains(machine: Machine): Record<string, number> {
  machine.enter();
  for (let p = get(globals, Globals.processes); p !== 0; p = get(p, ProcessStruct.next))
    if (get(p, ProcessStruct.alive) !== 0) (machine.kernel as unknown as { sysExit(p: number, status: number): number }).sysExit(p, 0);
  const counts: Record<string, number> = {};
  for (let ref = FIRST_OBJECT; ref < heap[SLOT_TOP]; ref += layouts[Math.abs(heap[ref])].size)
    if (heap[ref] > 0) counts[layouts[heap[ref]].name] = (counts[layouts[heap[ref]].name] ?? 0) + 1;
  let free = 0;
  for (let number = 0; number < heap[memory() + Memory.nrZones]; number++) {
    const zone = heap[memory() + Memory.zones + number];
    free += heap[zone + Zone.free];
    for (let cpu = 0; cpu < heap[memory() + Memory.cpus]; cpu++) free += heap[heap[zone + Zone.pcps + cpu] + Pcp.count];
  }
  // How much of a disk file is cached tells how far a call came, and loses nothing.
  for (const inode of liveInodes()) free += get(inode, Inode.nrPages);
  return { ...counts, freePages: free };
}

function liveInodes(): number[] {
  const found: number[] = [];
  for (let ref = FIRST_OBJECT; ref < heap[SLOT_TOP]; ref += layouts[Math.abs(heap[ref])].size) if (heap[ref] === Inode.$type) found.push(ref);
  return found;
}

/** Violations that remain after all has gone are leaks, too. */
function afterExit(machine: Machine, leaks: boolean): { counts: Record<string, number>; violations: string[] } {
  const counts = remains(machine);
  return { counts, violations: checkMachine({ leaks }) };
}

function start(scenario: Scenario, program: 'direct' | 'native'): { machine: Machine; p: Process } {
  const machine = new Machine({ ramBytes: 8 * 2 ** 20, program });
  const p = machine.spawn();
  set(p.mm, Mm.startBrk, 0x60000000);
  set(p.mm, Mm.brk, 0x60000000);
  scenario.setup?.(p);
  machine.tlb.flushAll();
  machine.enter();
  return { machine, p };
}

/** Each failing allocation of a scenario; how many there are. */
function failEach(scenario: Scenario, program: 'direct' | 'native'): number {
  const { machine, p } = start(scenario, program);
  expect(checkMachine()).toEqual([]);
  const before = visible(scenario.splits === true);
  const promised = get(globals, Globals.committed);
  const leaks = scenario.losesPromised !== undefined;
  startJournal();
  try {
    const origin = journalMark();
    const back = (): void => {
      undo(origin);
      machine.tlb.flushAll();
    };
    const unfailed = scenario.run(p);
    expect(unfailed).toBeGreaterThanOrEqual(0);
    const whole = afterExit(machine, leaks);
    expect(whole.violations).toEqual([]);
    back();
    const without = afterExit(machine, leaks);
    expect(without.violations).toEqual([]);
    back();
    // 1, −1, 2, −2 …
    for (let n = 1; ; n = n > 0 ? -n : 1 - n) {
      set(globals, Globals.failAllocation, n);
      const result = scenario.run(p);
      const reached = get(globals, Globals.failAllocation) === (n > 0 ? 0 : -1);
      set(globals, Globals.failAllocation, 0);
      const what = `${n > 0 ? 'allocation' : 'allocations from'} ${Math.abs(n)}: result ${result}`;
      if (!reached) {
        expect(result).toBe(unfailed);
        return n - 1;
      }
      expect([what, checkMachine({ leaks })]).toEqual([what, []]);
      if (result < 0) {
        expect([what, scenario.never === true]).toEqual([what, false]);
        expect([what, (scenario.errors ?? [ENOMEM]).includes(result)]).toEqual([what, true]);
        if (!scenario.partial) {
          expect(`${what}\n${visible(scenario.splits === true)}`).toBe(`${what}\n${before}`);
          const lost = get(globals, Globals.committed) - promised;
          expect([what, lost]).toEqual([what, lost === scenario.losesPromised ? lost : 0]);
        }
        // There is memory again: it works as if nothing had been.
        const again = scenario.run(p);
        expect([what, scenario.again?.includes(again) ?? again >= 0, again]).toEqual([what, true, again]);
        expect([what, checkMachine({ leaks })]).toEqual([what, []]);
      }
      back();
      set(globals, Globals.failAllocation, n);
      scenario.run(p);
      set(globals, Globals.failAllocation, 0);
      const { counts, violations } = afterExit(machine, leaks);
      expect([what, violations]).toEqual([what, []]);
      for (const name of new Set([...Object.keys(whole.counts), ...Object.keys(counts)])) {
        const possible = [without.counts[name] ?? 0, whole.counts[name] ?? 0].sort((a, b) => a - b);
        const count = counts[name] ?? 0;
        // A file may have come as far as its cache and not to its blocks, each with a tree of its own.
        const right = name === 'xaNode' ? count >= possible[0] && count <= possible[1] : possible.includes(count);
        expect([what, name, count]).toEqual([what, name, right ? count : `one of ${possible.join(', ')}`]);
      }
      back();
    }
  } finally {
    stopJournal();
  }
}

describe('allocation failure at every site', () => {
  let sites = 0;
  for (const scenario of SCENARIOS)
    it(scenario.name, () => {
      sites += failEach(scenario, 'direct');
    });

  it('was tried at many sites', () => {
    expect(sites).toBeGreaterThan(200);
  });

  it('the same in the native program', () => {
    for (const scenario of SCENARIOS.filter((_, i) => i % 9 === 0))
      expect([scenario.name, failEach(scenario, 'native')]).toEqual([scenario.name, failEach(scenario, 'direct')]);
  });
});
