/**
 * userfaultfd: what Linux 6.18 was recorded to do (43 recordings, of which those in tests/machine/trace/fixtures/uffd are kept; `npm run conform` plays them all), and what its
 * calls answer beyond that.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it, test } from 'vitest';
import { loadEntry } from '../../src/kernel/arch.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { conformTrace } from '../../src/machine/trace/conform.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { get } from '../../src/memory/heap.ts';
import { EAGAIN, EEXIST, EFAULT, EINVAL, ENOENT, ENOTTY, ESRCH } from '../../src/mm/errno.ts';
import { hugePmdPage } from '../../src/mm/huge-memory.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Process as ProcessStruct, Vma } from '../../src/mm/types.ts';
import { userfaultfdArmed, userfaultfdMinor, userfaultfdMissing, userfaultfdWp } from '../../src/mm/userfaultfd-vma.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';
import { PTE_SWAP, PTE_UFFD_WP } from '../../src/pagetable/canonical.ts';
import { PxdError } from '../../src/pagetable/error.ts';

const PAGE = 4096;
const HUGE = 2 ** 21;
const AT = 0x10000000;
const SCRATCH = 0x30000000;
const RW = 3;
const PRIVATE_ANON_FIXED = 0x32;
const SHARED_FIXED = 0x11;
const MISSING = 1;
const WP = 2;
const MINOR = 4;
const MADV_DONTNEED = 4;
const MADV_COLLAPSE = 25;

const iowr = (number: number, bytes: number): number => ((3 << 30) | (bytes << 16) | (0xaa << 8) | number) >>> 0;

let machine: Machine;
let app: Process;
/** Reads and resolves from outside: a process that sleeps can do neither. */
let monitor: Process;

beforeEach(() => {
  machine = new Machine({ ramBytes: 96 * 2 ** 20, hugepages: 'hugepagesz=2M hugepages=4', settings: { memoryFailure: 1 } });
  app = machine.spawn();
  monitor = machine.spawn();
  for (const process of [app, monitor]) expect(process.syscall('mmap', SCRATCH, 64 * PAGE, RW, PRIVATE_ANON_FIXED, -1, 0)).toBe(SCRATCH);
});

/** An ioctl of the monitor's with an argument of 64-bit words; what it answers and the words afterwards. */
function ioctl(fd: number, number: number, ...words: (number | bigint)[]): { r: number; words: bigint[] } {
  const view = new DataView(new ArrayBuffer(words.length * 8));
  for (const [i, word] of words.entries()) view.setBigUint64(i * 8, BigInt.asUintN(64, BigInt(word)), true);
  monitor.write(BigInt(SCRATCH), new Uint8Array(view.buffer));
  const r = monitor.syscall('ioctl', fd, iowr(number, words.length * 8), SCRATCH);
  const after = new DataView(monitor.read(BigInt(SCRATCH), words.length * 8).bytes.slice().buffer);
  return { r, words: words.map((_, i) => after.getBigInt64(i * 8, true)) };
}

/** A userfaultfd of the app's, in the monitor's hands. */
function open(features = 0): number {
  const fd = app.syscall('userfaultfd', 0o4000);
  expect(fd).toBeGreaterThanOrEqual(0);
  const file = get(app.ref, ProcessStruct.files + fd);
  machine.kernel.fileGet(file);
  const own = machine.kernel.fdPublish(monitor.ref, file);
  expect(app.syscall('close', fd)).toBe(0);
  expect(ioctl(own, 0x3f, 0xaa, features, 0).r).toBe(0);
  return own;
}

const register = (fd: number, at: number, bytes: number, mode: number): number => ioctl(fd, 0, at, bytes, mode, 0).r;
const copy = (fd: number, to: number, bytes: number, mode = 0, from = SCRATCH + PAGE) => ioctl(fd, 3, to, from, bytes, mode, 0);
const zeropage = (fd: number, at: number, bytes: number, mode = 0) => ioctl(fd, 4, at, bytes, mode, 0);
const writeprotect = (fd: number, at: number, bytes: number, mode: number) => ioctl(fd, 6, at, bytes, mode).r;
const resume = (fd: number, at: number, bytes: number, mode = 0) => ioctl(fd, 7, at, bytes, mode, 0);
const poison = (fd: number, at: number, bytes: number) => ioctl(fd, 8, at, bytes, 0, 0);

function memory(kind: 'anon' | 'shmem' | 'hugetlb'): number {
  const bytes = kind === 'hugetlb' ? HUGE : 8 * PAGE;
  if (kind === 'anon') expect(app.syscall('mmap', AT, bytes, RW, PRIVATE_ANON_FIXED, -1, 0)).toBe(AT);
  else {
    app.write(BigInt(SCRATCH), new TextEncoder().encode('f\0'));
    const fd = app.syscall('memfd_create', SCRATCH, kind === 'hugetlb' ? 4 : 0);
    expect(app.syscall('ftruncate', fd, bytes)).toBe(0);
    expect(app.syscall('mmap', AT, bytes, RW, SHARED_FIXED, fd, 0)).toBe(AT);
  }
  return bytes;
}

/** An access that must sleep. */
function sleeps(access: () => unknown): void {
  expect(access).toThrow(expect.objectContaining({ code: 'asleep' }));
  expect(app.asleep).toBe(true);
}

/** The fault that the monitor reads: address and flags. */
function fault(fd: number): { address: number; flags: number } {
  expect(monitor.syscall('read', fd, SCRATCH, 32)).toBe(32);
  const view = new DataView(monitor.read(BigInt(SCRATCH), 32).bytes.slice().buffer);
  expect(view.getUint8(0)).toBe(0x12);
  return { flags: Number(view.getBigUint64(8, true)), address: Number(view.getBigUint64(16, true)) };
}

const kindsAt = (first: number, count: number): string[] => {
  const pages = viewProcess(machine, app.ref, 0).vmas.flatMap((vma) => vma.pages);
  return Array.from({ length: count }, (_, i) => pages.find((p) => p.vpn === first / PAGE + i)?.kind ?? '-');
};

describe('recordings of Linux 6.18', () => {
  const folder = join(import.meta.dirname, '../machine/trace/fixtures/uffd');
  const kept = readdirSync(folder).filter((name) => process.env.PXD_NIGHTLY === '1' || !/_r(?!000)\d+/.test(name));
  test.each(kept.sort())('%s', (name) => {
    const report = conformTrace(gunzipSync(readFileSync(join(folder, name))).toString('utf8'), { all: true });
    expect(report.all ?? []).toEqual([]);
  });
});

describe('registering', () => {
  it.each([
    ['anon', MISSING, 0x13c],
    ['anon', WP, 0x17c],
    ['shmem', MISSING, 0x13c],
    ['shmem', WP, 0x17c],
    ['shmem', MINOR, 0x1bc],
    ['hugetlb', MISSING, 0x10c],
    ['hugetlb', WP, 0x14c],
    ['hugetlb', MINOR, 0x18c],
  ] as const)('F270 each mode of each memory is armed and tells its ioctls: %s, mode %i', (kind, mode, ioctls) => {
    const bytes = memory(kind);
    const fd = open();
    const { r, words } = ioctl(fd, 0, AT, bytes, mode, 0);
    expect([r, Number(words[3])]).toEqual([0, ioctls]);
    const vma = vmaLookup(app.mm, AT / PAGE);
    // F278: the predicates of a VMA.
    expect([userfaultfdMissing(vma), userfaultfdWp(vma), userfaultfdMinor(vma), userfaultfdArmed(vma)]).toEqual([
      mode === MISSING,
      mode === WP,
      mode === MINOR,
      true,
    ]);
    expect(ioctl(fd, 1, AT, bytes).r).toBe(0);
    expect([userfaultfdArmed(vma), get(vma, Vma.uffd)]).toEqual([false, 0]);
  });

  it('F278 predicates: modes are seen each by itself and together, none where nothing is registered', () => {
    memory('shmem');
    const vma = (): number => vmaLookup(app.mm, AT / PAGE);
    expect([userfaultfdMissing(vma()), userfaultfdWp(vma()), userfaultfdMinor(vma()), userfaultfdArmed(vma())]).toEqual([false, false, false, false]);
    const fd = open();
    for (let mode = 1; mode < 8; mode++) {
      expect(register(fd, AT, 8 * PAGE, mode)).toBe(0);
      expect([userfaultfdMissing(vma()), userfaultfdWp(vma()), userfaultfdMinor(vma()), userfaultfdArmed(vma())]).toEqual([
        (mode & MISSING) !== 0,
        (mode & WP) !== 0,
        (mode & MINOR) !== 0,
        true,
      ]);
      expect(ioctl(fd, 1, AT, 8 * PAGE).r).toBe(0);
    }
  });

  it('minor faults are for files', () => {
    memory('anon');
    expect(register(open(), AT, 8 * PAGE, MINOR)).toBe(-EINVAL);
  });
});

describe('faults', () => {
  it('a missing page puts who touches it to sleep, until it is copied', () => {
    memory('anon');
    const fd = open();
    register(fd, AT, 8 * PAGE, MISSING);
    sleeps(() => app.store(BigInt(AT + PAGE), 1, 7n));
    expect(() => app.syscall('getpid')).toThrow(PxdError);
    expect(fault(fd)).toEqual({ address: AT + PAGE, flags: 1 });
    expect(monitor.syscall('read', fd, SCRATCH, 32)).toBe(-EAGAIN);
    monitor.write(BigInt(SCRATCH + PAGE), Uint8Array.of(1, 2, 3));
    expect(copy(fd, AT + PAGE, PAGE).r).toBe(0);
    expect(app.asleep).toBe(false);
    expect(app.store(BigInt(AT + PAGE), 1, 7n)).toBeUndefined();
    expect(app.load(BigInt(AT + PAGE), 4)).toBe(0x00030207n);
    expect(checkMachine()).toEqual([]);
  });

  it('F271 the fault releases what it came with, and starts again: VMAs can be changed while it sleeps', () => {
    memory('anon');
    const fd = open();
    register(fd, AT, 8 * PAGE, MISSING);
    sleeps(() => app.load(BigInt(AT), 1));
    // Needs the mmap lock for writing, and the VMA's.
    expect(ioctl(fd, 1, AT, 8 * PAGE).r).toBe(0);
    expect(app.asleep).toBe(false);
    expect(app.load(BigInt(AT), 1)).toBe(0n);
  });

  it('a call of the kernel sleeps as well, or answers EFAULT with UFFD_USER_MODE_ONLY', () => {
    memory('anon');
    const fd = open();
    register(fd, AT, 8 * PAGE, MISSING);
    sleeps(() => app.syscall('pipe2', AT, 0));
    expect(zeropage(fd, AT, PAGE).r).toBe(0);
    expect(app.asleep).toBe(false);
    expect(app.takeResult()).toBe(0);
  });

  it('who sleeps can be killed, and nothing is left of it', () => {
    memory('anon');
    const fd = open();
    register(fd, AT, 8 * PAGE, MISSING);
    sleeps(() => app.load(BigInt(AT), 1));
    expect(() => machine.snapshot()).toThrow(PxdError);
    app.exit(9);
    expect([app.alive, app.asleep]).toEqual([false, false]);
    expect(copy(fd, AT, PAGE).r).toBe(-ESRCH);
    expect(monitor.syscall('close', fd)).toBe(0);
    expect(machine.mayWait).toBe(false);
    expect(checkMachine()).toEqual([]);
  });
});

describe('filling', () => {
  it('F272 a copy goes into an empty slot only, and of a private mapping of shared memory past the page cache', () => {
    app.write(BigInt(SCRATCH), new TextEncoder().encode('f\0'));
    const file = app.syscall('memfd_create', SCRATCH, 0);
    expect(app.syscall('ftruncate', file, 4 * PAGE)).toBe(0);
    expect(app.syscall('mmap', AT, 4 * PAGE, RW, 0x12, file, 0)).toBe(AT);
    const fd = open();
    register(fd, AT, 4 * PAGE, MISSING);
    monitor.store(BigInt(SCRATCH + PAGE), 1, 5n);
    expect(copy(fd, AT, PAGE).r).toBe(0);
    const again = copy(fd, AT, PAGE);
    expect([again.r, Number(again.words[4])]).toEqual([-EEXIST, -EEXIST]);
    expect(app.load(BigInt(AT), 1)).toBe(5n);
    // The file has no page: what was copied is the mapping's own.
    expect(app.syscall('lseek', file, 0, 3)).toBeLessThan(0);
    const part = copy(fd, AT + PAGE, 4 * PAGE);
    expect([part.r, Number(part.words[4])]).toEqual([-ENOENT, -ENOENT]);
    expect(checkMachine()).toEqual([]);
  });

  it('F273 what each of them answers: zeropage, continue, wake, move', () => {
    memory('shmem');
    const fd = open();
    register(fd, AT, 8 * PAGE, MISSING | MINOR);
    expect(Number(zeropage(fd, AT, 2 * PAGE).words[3])).toBe(2 * PAGE);
    expect(zeropage(fd, AT + PAGE, PAGE).r).toBe(-EEXIST);
    // Some is filled before what is there already: the rest is to be asked for again.
    app.syscall('madvise', AT, PAGE, MADV_DONTNEED);
    const some = resume(fd, AT, 2 * PAGE);
    expect([some.r, Number(some.words[3])]).toEqual([-EAGAIN, PAGE]);
    expect(resume(fd, AT + 4 * PAGE, PAGE).r).toBe(-EFAULT);
    expect(resume(fd, AT + 64 * PAGE, PAGE).r).toBe(-ENOENT);
    expect(zeropage(fd, AT + 4 * PAGE, PAGE, 2).r).toBe(-EINVAL);
    expect(copy(fd, AT + 4 * PAGE, PAGE, 4).r).toBe(-EINVAL);
    expect(ioctl(fd, 2, AT, PAGE).r).toBe(0);
    expect(ioctl(fd, 2, AT, 0).r).toBe(-EINVAL);
    // Not between address spaces.
    expect(ioctl(fd, 5, AT, AT + PAGE, PAGE, 0, 0).r).toBe(-EINVAL);
    expect(app.syscall('ioctl', app.syscall('memfd_create', SCRATCH + PAGE, 0), iowr(2, 16), SCRATCH)).toBe(-ENOTTY);
  });

  it('F281 a source that is not there is faulted in without the lock, and the copy tried again; one that cannot be is EFAULT, and no page is lost', () => {
    memory('anon');
    const fd = open();
    register(fd, AT, 8 * PAGE, MISSING);
    // Mapped, and never touched.
    expect(copy(fd, AT, 2 * PAGE, 0, SCRATCH + 32 * PAGE).r).toBe(0);
    const free = machine.zoneinfo();
    expect(copy(fd, AT + 4 * PAGE, PAGE, 0, 0x70000000).r).toBe(-EFAULT);
    expect(machine.zoneinfo()).toBe(free);
    expect(checkMachine()).toEqual([]);
  });

  it('F276 poison raises SIGBUS as a frame that failed does, without one', () => {
    memory('anon');
    const fd = open();
    register(fd, AT, 8 * PAGE, MISSING);
    expect(poison(fd, AT + PAGE, PAGE).r).toBe(0);
    expect(kindsAt(AT, 2)).toEqual(['-', 'poison']);
    expect(app.load(BigInt(AT + PAGE), 1)).toEqual({ signal: 7, code: 4, address: BigInt(AT + PAGE), addressLsb: 12 });
    expect(app.asleep).toBe(false);
    // A marker is no page: a copy comes in its place.
    expect(copy(fd, AT + PAGE, PAGE).r).toBe(0);
    expect(app.load(BigInt(AT + PAGE), 1)).toBe(0n);
  });
});

describe('write protection', () => {
  it('F274, F088 a marker stands for what is not mapped, persists when the page goes, and goes with the registration', () => {
    memory('shmem');
    const fd = open();
    app.store(BigInt(AT), 1, 1n);
    register(fd, AT, 8 * PAGE, WP);
    expect(writeprotect(fd, AT, 2 * PAGE, 1)).toBe(0);
    expect(kindsAt(AT, 3)).toEqual(['page', 'uffd-wp', '-']);
    expect(app.syscall('madvise', AT, 2 * PAGE, MADV_DONTNEED)).toBe(0);
    expect(kindsAt(AT, 2)).toEqual(['uffd-wp', 'uffd-wp']);
    // It is read without anybody's help, and is write-protected still.
    expect(app.load(BigInt(AT), 1)).toBe(1n);
    sleeps(() => app.store(BigInt(AT), 1, 2n));
    expect(fault(fd)).toEqual({ address: AT, flags: 3 });
    expect(writeprotect(fd, AT, PAGE, 0)).toBe(0);
    expect(app.asleep).toBe(false);
    expect(app.store(BigInt(AT), 1, 2n)).toBeUndefined();
    expect(ioctl(fd, 1, AT, 8 * PAGE).r).toBe(0);
    expect(kindsAt(AT, 2)).toEqual(['page', '-']);
    expect(checkMachine()).toEqual([]);
  });

  it('reaches a huge page that is migrated just then', () => {
    const huge = 0x40000000;
    expect(app.syscall('mmap', huge, HUGE, RW, PRIVATE_ANON_FIXED, -1, 0)).toBe(huge);
    for (let i = 0; i < 512; i++) app.store(BigInt(huge + i * PAGE), 1, 1n);
    expect(app.syscall('madvise', huge, HUGE, MADV_COLLAPSE)).toBe(0);
    const fd = open();
    expect(register(fd, huge, HUGE, WP)).toBe(0);
    const { kernel } = machine;
    const vma = vmaLookup(app.mm, huge / PAGE);
    for (const enable of [1, 0]) {
      const pmdp = kernel.entryPointer(app.mm, huge / PAGE, 1);
      const folio = hugePmdPage(loadEntry(pmdp, 1));
      // Held, as whoever migrates it has it.
      kernel.folioGet(folio);
      expect(kernel.migrateHugePmd(folio, vma, pmdp, huge / PAGE)).toBe(1);
      expect(writeprotect(fd, huge, HUGE, enable)).toBe(0);
      expect(loadEntry(pmdp, 1) & (PTE_SWAP | PTE_UFFD_WP)).toBe(enable === 1 ? PTE_SWAP | PTE_UFFD_WP : PTE_SWAP);
      kernel.removeMigrationPmd(folio, folio, vma, pmdp);
      kernel.folioPut(folio);
      expect(loadEntry(pmdp, 1) & PTE_UFFD_WP).toBe(enable === 1 ? PTE_UFFD_WP : 0);
    }
    expect(app.store(BigInt(huge), 1, 2n)).toBeUndefined();
    expect(checkMachine()).toEqual([]);
  });

  it('F275 collapse passes over what is write-protected, and over holes that somebody is told of', () => {
    const huge = 0x40000000;
    expect(app.syscall('mmap', huge, 2 * HUGE, RW, PRIVATE_ANON_FIXED, -1, 0)).toBe(huge);
    for (let i = 0; i < 512; i++) app.store(BigInt(huge + i * PAGE), 1, 1n);
    const fd = open();
    register(fd, huge, 2 * HUGE, MISSING | WP);
    expect(writeprotect(fd, huge + PAGE, PAGE, 1)).toBe(0);
    expect(app.syscall('madvise', huge, HUGE, MADV_COLLAPSE)).toBe(-EINVAL);
    expect(writeprotect(fd, huge + PAGE, PAGE, 0)).toBe(0);
    expect(app.syscall('madvise', huge, HUGE, MADV_COLLAPSE)).toBe(0);
    expect(copy(fd, huge + HUGE, PAGE).r).toBe(0);
    expect(app.syscall('madvise', huge + HUGE, HUGE, MADV_COLLAPSE)).toBeLessThan(0);
    expect(checkMachine()).toEqual([]);
  });
});
