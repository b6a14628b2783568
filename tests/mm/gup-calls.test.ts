/**
 * process_vm_readv, pidfd_open and what may be done with a pidfd, vmsplice: errors and limits that a trace cannot ask for. The numbers are those that a C program with
 * the same calls got from Linux 6.18.44.
 */
import { describe, expect, test } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { get, set } from '../../src/memory/heap.ts';
import { pagePincount, pageRefcount } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { Globals, Mm } from '../../src/mm/types.ts';

const P = 4096;
const A = 0x10000000;
/** Where vectors are written. */
const V = 0x20000000;
const [ESRCH, EFAULT, EINVAL, EBADF, ENODEV, ESPIPE, EOPNOTSUPP, ENOMEM] = [-3, -14, -22, -9, -19, -29, -95, -12];

function start(): { m: Machine; p: Process } {
  const m = new Machine();
  const p = m.spawn();
  expect(p.syscall('mmap', A, 8 * P, 3, 0x32, -1, 0)).toBe(A);
  expect(p.syscall('mmap', V, 16 * P, 3, 0x32, -1, 0)).toBe(V);
  return { m, p };
}

/** Writes struct iovecs; returns their address. */
function vector(p: Process, at: number, pieces: readonly (readonly [number, number])[]): number {
  const view = new DataView(new ArrayBuffer(pieces.length * 16));
  for (const [i, [base, length]] of pieces.entries()) {
    view.setBigUint64(i * 16, BigInt(base), true);
    view.setBigUint64(i * 16 + 8, BigInt(length), true);
  }
  expect(p.write(BigInt(at), new Uint8Array(view.buffer)).fault).toBeUndefined();
  return at;
}

describe('process_vm_readv', () => {
  const { p } = start();
  const many = vector(
    p,
    V,
    Array.from({ length: 1100 }, () => [A + P, 1] as const),
  );
  const one = vector(p, V + 8 * P, [[A + 2 * P, 100]]);
  test.each<[string, (number | bigint)[], number]>([
    ['1024 local buffers', [p.pid, many, 1024, one, 1, 0], 100],
    ['1025 local buffers', [p.pid, many, 1025, one, 1, 0], EINVAL],
    ['1024 remote buffers', [p.pid, one, 1, many, 1024, 0], 100],
    ['1025 remote buffers', [p.pid, one, 1, many, 1025, 0], EINVAL],
    ['2^32 + 1 local buffers are one', [p.pid, one, 2n ** 32n + 1n, many, 3, 0], 3],
    ['2^32 local buffers are none', [p.pid, one, 2n ** 32n, many, 3, 0], 0],
    ['2^32 + 1 remote buffers are too many', [p.pid, one, 1, many, 2n ** 32n + 1n, 0], EINVAL],
    ['no remote buffers', [p.pid, one, 1, many, 0, 0], 0],
    ['no local buffers: nothing else is looked at', [p.pid, one, 0, many, 2000, 0], 0],
    ['local vector that cannot be read', [p.pid, 8, 1, many, 1, 0], EFAULT],
    ['remote vector that cannot be read', [p.pid, one, 1, 8, 1, 0], EFAULT],
    ['remote vector that is not read', [p.pid, one, 1, 8, 0, 0], 0],
    ['vectors that are not read', [p.pid, 8, 0, 8, 3, 0], 0],
    ['no such process', [999999, one, 1, many, 1, 0], ESRCH],
    ['a negative process', [-1, one, 1, many, 1, 0], ESRCH],
    ['no such process and nothing to do', [999999, one, 1, many, 0, 0], 0],
    ['flags come first', [999999, one, 1, many, 1, 1], EINVAL],
    ['vectors come before the process', [999999, many, 1025, many, 1, 0], EINVAL],
  ])('%s', (_, args, expected) => {
    expect(p.syscall('process_vm_readv', ...args)).toBe(expected);
  });
});

describe('a pidfd', () => {
  const { p } = start();
  test.each<[string, (number | bigint)[], number]>([
    ['process 0', [0, 0], EINVAL],
    ['a negative process', [-5, 0], EINVAL],
    ['no such process', [999999, 0], ESRCH],
    ['an unknown flag', [p.pid, 1], EINVAL],
    ['PIDFD_THREAD', [p.pid, 0x80], 0],
    ['PIDFD_NONBLOCK', [p.pid, 0x800], 1],
  ])('of %s', (_, args, expected) => {
    expect(p.syscall('pidfd_open', ...args)).toBe(expected);
  });

  test.each<[string, (number | bigint)[], number]>([
    ['read', [1, A, 8], EINVAL],
    ['write', [1, A, 8], EINVAL],
    ['pread64', [1, A, 8, 0], EINVAL],
    ['pwrite64', [1, A, 8, 0], EINVAL],
    ['mmap', [0, P, 1, 1, 1, 0], ENODEV],
    ['lseek', [1, 0, 1], ESPIPE],
    ['ftruncate', [1, 0], EOPNOTSUPP],
    ['fallocate', [1, 0, 0, P], EOPNOTSUPP],
    ['fsync', [1], EINVAL],
    ['fadvise64', [1, 0, 0, 3], 0],
    ['fcntl', [1, 3, 0], 0o4002],
    ['fcntl', [1, 1034, 0], EINVAL],
    ['fcntl', [1, 1032, 0], EBADF],
    ['process_mrelease', [1, 1], EINVAL],
    ['process_mrelease', [1, 0], EINVAL],
    ['process_mrelease', [77, 0], EBADF],
  ])('%s %j', (name, args, expected) => {
    expect(p.syscall(name, ...args)).toBe(expected);
  });

  test('of a process that has ended, and no pidfd at all', () => {
    const child = p.fork();
    const fd = p.syscall('pidfd_open', child.pid, 0);
    expect(fd).toBeGreaterThan(1);
    child.exit();
    expect(p.syscall('process_mrelease', fd, 0)).toBe(ESRCH);
    expect(p.syscall('pidfd_open', child.pid, 0)).toBe(ESRCH);
    expect(p.syscall('close', fd)).toBe(0);
    const file = p.syscall('memfd_create', vector(p, V, [[0, 0]]), 0);
    expect(p.syscall('process_mrelease', file, 0)).toBe(EBADF);
  });
});

describe('when memory runs out', () => {
  /** Plays a call with the n-th allocation failing, for each n until none fails; `check` looks at the result and the state. */
  function eachFailure(call: (p: Process) => number, allowed: readonly number[]): number {
    for (let n = 1; ; n++) {
      const { m, p } = start();
      const child = p.fork();
      p.store(BigInt(A), 8, 5n);
      vector(p, V + 8 * P, [[V + 12 * P, 3 * P]]);
      vector(
        p,
        V + 9 * P,
        Array.from({ length: 20 }, (_, i) => [A + (i % 8) * P, 100] as const),
      );
      expect(child.pid).toBe(2);
      m.enter();
      set(globals, Globals.failAllocation, n);
      const result = call(p);
      m.enter();
      const failed = get(globals, Globals.failAllocation) === 0;
      set(globals, Globals.failAllocation, 0);
      if (!failed) return n - 1;
      expect(allowed, `allocation ${n}`).toContain(result);
      for (const one of [p, child]) {
        expect([get(one.mm, Mm.mmapLock), get(one.mm, Mm.mmapLock + 1)], `allocation ${n}: the mmap lock is free`).toEqual([0, 0]);
      }
      expect(
        pagePincount.some((pins) => pins !== 0),
        `allocation ${n}: nothing stays pinned`,
      ).toBe(false);
      // What was not freed would show: everything goes with the processes.
      p.exit();
      child.exit();
      expect(pageRefcount.some((count) => count < 0)).toBe(false);
    }
  }

  test('process_vm_readv', () => {
    const partial = Array.from({ length: 20 }, (_, i) => (i + 1) * 100);
    expect(eachFailure((p) => p.syscall('process_vm_readv', 2, V + 8 * P, 1, V + 9 * P, 20, 0), [ENOMEM, EFAULT, ...partial])).toBeGreaterThan(2);
  });

  test('process_vm_writev', () => {
    const partial = Array.from({ length: 20 }, (_, i) => (i + 1) * 100);
    expect(eachFailure((p) => p.syscall('process_vm_writev', 2, V + 8 * P, 1, V + 9 * P, 20, 0), [ENOMEM, EFAULT, ...partial])).toBeGreaterThan(4);
  });

  test('pidfd_open', () => {
    expect(eachFailure((p) => p.syscall('pidfd_open', 2, 0), [ENOMEM])).toBe(2);
  });

  test('MADV_POPULATE tells when it comes no further, and tries again until then', () => {
    // The first page is there, so that a failure later on is but the end of a run.
    expect(eachFailure((p) => p.syscall('madvise', A, 8 * P, 23), [0])).toBe(7);
    expect(eachFailure((p) => p.syscall('madvise', A + P, P, 23), [ENOMEM])).toBe(1);
  });

  test('MAP_POPULATE maps all the same', () => {
    const { m, p } = start();
    m.enter();
    set(globals, Globals.failAllocation, 4);
    expect(p.syscall('mmap', 0x30000000, 4 * P, 3, 0x8032, -1, 0)).toBe(0x30000000);
  });
});
