/**
 * System calls and faults on the same files, interleaved at their visible operations in random orders: nobody waits for ever, and when all have
 * ended the machine is sound (no entry maps what has left its file, every reference is accounted for).
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Op } from '../../src/kernel/op.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import * as mm from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { interleave } from './support/interleave.ts';

const PAGE = 4096;
const BUFFER = 0x1000_0000;
const SHARED = 0x2000_0000;
const PRIVATE = 0x3000_0000;
const PAGES = 12;
const KINDS = ['/dev/shm/pxd/a', '/var/tmp/pxd/b'];

interface Action {
  readonly what: string;
  readonly at: number;
  readonly pages: number;
  readonly fd: number;
}

const action: fc.Arbitrary<Action> = fc.record({
  what: fc.constantFrom(
    'read-fault',
    'write-fault',
    'private-fault',
    'truncate',
    'grow',
    'punch',
    'allocate',
    'read',
    'write',
    'dontneed',
    'pageout',
    'fsync',
    'drop',
    'munmap',
    'seal',
  ),
  at: fc.nat(PAGES - 1),
  pages: fc.integer({ min: 1, max: 6 }),
  fd: fc.nat(1),
});

/** The kernel code of an action in a process. */
function* perform(process: Process, { what, at, pages, fd }: Action): Op<number> {
  const shared = SHARED / PAGE + fd * 64 + at;
  const bytes = pages * PAGE;
  const offset = at * PAGE;
  if (what === 'read-fault') return yield* mm.userFault(process.mm, shared, 0);
  if (what === 'write-fault') return yield* mm.userFault(process.mm, shared, 1);
  if (what === 'private-fault') return yield* mm.userFault(process.mm, PRIVATE / PAGE + fd * 64 + at, pages % 2);
  if (what === 'truncate') return yield* mm.sysFtruncate(process.ref, fd, offset + (pages % 3) * 1000);
  if (what === 'grow') return yield* mm.sysFtruncate(process.ref, fd, PAGES * PAGE);
  if (what === 'punch') return yield* mm.sysFallocate(process.ref, fd, 3, offset, bytes - (pages % 2) * 100);
  if (what === 'allocate') return yield* mm.sysFallocate(process.ref, fd, 0, offset, bytes);
  if (what === 'read') return yield* mm.sysPread64(process.ref, fd, BUFFER, bytes, offset);
  if (what === 'write') return yield* mm.sysPwrite64(process.ref, fd, pages % 2 === 0 ? BUFFER : SHARED + (1 - fd) * 64 * PAGE, bytes, offset);
  if (what === 'dontneed') return yield* mm.sysMadvise(process.ref, SHARED + fd * 64 * PAGE + offset, bytes, 4);
  if (what === 'pageout') return yield* mm.sysMadvise(process.ref, SHARED + fd * 64 * PAGE + offset, bytes, 21);
  if (what === 'fsync') return yield* mm.sysFsync(process.ref, fd);
  if (what === 'drop') return yield* mm.sysFadvise64(process.ref, fd, 0, 0, 4);
  if (what === 'munmap') return yield* mm.sysMunmap(process.ref, SHARED + fd * 64 * PAGE + offset, bytes);
  return yield* mm.sysFcntl(process.ref, fd, 1033, 8);
}

/** Two processes that map a tmpfs and a disk file, shared and private. */
function scene(): { machine: Machine; processes: Process[] } {
  const machine = new Machine({ ramBytes: 32 * 2 ** 20 });
  const parent = machine.spawn();
  parent.syscall('mmap', BUFFER, 8 * PAGE, 3, 0x8032, -1, 0);
  KINDS.forEach((path, fd) => {
    parent.write(BigInt(BUFFER), new TextEncoder().encode(`${path}\0`));
    expect(parent.syscall('open', BUFFER, 0o102, 0o600)).toBe(fd);
    parent.syscall('pwrite64', fd, BUFFER, 7 * PAGE, PAGE);
    parent.syscall('ftruncate', fd, 10 * PAGE + 5);
    parent.syscall('mmap', SHARED + fd * 64 * PAGE, PAGES * PAGE, 3, 0x11, fd, 0);
    parent.syscall('mmap', PRIVATE + fd * 64 * PAGE, PAGES * PAGE, 3, 0x12, fd, 0);
    parent.load(BigInt(SHARED + fd * 64 * PAGE), 1);
    parent.store(BigInt(PRIVATE + fd * 64 * PAGE), 1, 1n);
  });
  return { machine, processes: [parent, parent.fork()] };
}

const picks = fc.array(fc.record({ who: fc.nat(5), run: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 })) }), { minLength: 1, maxLength: 60 });

describe('files under interleaving', () => {
  test('two to four tasks on two files leave a sound machine', () => {
    fc.assert(
      fc.property(fc.array(action, { minLength: 2, maxLength: 4 }), picks, (actions, order) => {
        const { machine, processes } = scene();
        machine.enter();
        interleave(
          actions.map((a, i) => perform(processes[i % 2], a)),
          order,
        );
        machine.enter();
        expect(checkMachine({ leaks: true })).toEqual([]);
        for (const p of processes) p.exit();
        machine.enter();
        expect(checkMachine({ leaks: true })).toEqual([]);
      }),
      { numRuns: 400 },
    );
  }, 120_000);

  test('a fault against truncation and holes never maps what has gone', () => {
    const faults = fc.record({
      what: fc.constantFrom('read-fault', 'write-fault', 'private-fault'),
      at: fc.nat(PAGES - 1),
      pages: fc.integer({ min: 1, max: 6 }),
      fd: fc.nat(1),
    });
    const removals = fc.record({ what: fc.constantFrom('truncate', 'punch'), at: fc.nat(PAGES - 1), pages: fc.integer({ min: 1, max: 6 }), fd: fc.nat(1) });
    fc.assert(
      fc.property(faults, removals, faults, picks, (fault, removal, other, order) => {
        const { machine, processes } = scene();
        machine.enter();
        const fd = removal.fd;
        interleave([perform(processes[0], { ...fault, fd }), perform(processes[1], removal), perform(processes[1], { ...other, fd })], order);
        machine.enter();
        expect(checkMachine({ leaks: true })).toEqual([]);
      }),
      { numRuns: 400 },
    );
  }, 120_000);
});
