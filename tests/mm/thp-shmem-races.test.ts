/**
 * Faults, truncation, holes, writes, reclaim and pins on the huge pages of a shared memory file, interleaved at their visible operations in random orders: nobody
 * waits for ever, and when all have ended the machine is sound: no entry maps what has left its file, every reference is accounted for, and what was
 * split is in the cache once. In a mode whose huge pages have 32 small ones.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Op } from '../../src/kernel/op.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { get } from '../../src/memory/heap.ts';
import { globals } from '../../src/mm/globals.ts';
import * as mm from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Globals } from '../../src/mm/types.ts';
import { THP_FILE_MAPPED } from '../../src/mm/vm-event-types.ts';
import { interleave } from './support/interleave.ts';

const MODE = 'ppc64-radix-64k';
const PAGE = 65536;
const SPAN = 32;
const PAGES = 2 * SPAN;
const BUFFER = SPAN * PAGE;
const SHARED = 4 * SPAN * PAGE;
const PRIVATE = 8 * SPAN * PAGE;

interface Action {
  readonly what: string;
  readonly at: number;
  readonly pages: number;
}

const place = fc.oneof(fc.constantFrom(0, SPAN), fc.nat(PAGES - 1));
const extent = fc.oneof(fc.constantFrom(SPAN, PAGES), fc.integer({ min: 1, max: 8 }));
const actionOf = (...what: string[]): fc.Arbitrary<Action> => fc.record({ what: fc.constantFrom(...what), at: place, pages: extent });

/** The kernel code of an action in a process. */
function* perform(process: Process, { what, at, pages }: Action): Op<number> {
  const bytes = Math.min(pages, PAGES - at) * PAGE;
  const offset = at * PAGE;
  if (what === 'read-fault') return yield* mm.userFault(process.mm, SHARED / PAGE + at, 0);
  if (what === 'write-fault') return yield* mm.userFault(process.mm, SHARED / PAGE + at, 1);
  if (what === 'private-fault') return yield* mm.userFault(process.mm, PRIVATE / PAGE + at, pages % 2);
  if (what === 'truncate') return yield* mm.sysFtruncate(process.ref, 0, offset + (pages % 3) * 1000);
  if (what === 'grow') return yield* mm.sysFtruncate(process.ref, 0, PAGES * PAGE);
  if (what === 'punch') return yield* mm.sysFallocate(process.ref, 0, 3, offset, bytes - (pages % 2) * 100);
  if (what === 'allocate') return yield* mm.sysFallocate(process.ref, 0, 0, offset, bytes);
  if (what === 'read') return yield* mm.sysPread64(process.ref, 0, BUFFER, Math.min(bytes, 4 * PAGE), offset);
  if (what === 'write') return yield* mm.sysPwrite64(process.ref, 0, BUFFER, Math.min(bytes, 4 * PAGE), offset);
  if (what === 'dontneed') return yield* mm.sysMadvise(process.ref, SHARED + offset, bytes, 4);
  if (what === 'remove') return yield* mm.sysMadvise(process.ref, SHARED + offset, bytes, 9);
  if (what === 'collapse') return yield* mm.sysMadvise(process.ref, SHARED + (at < SPAN ? 0 : SPAN) * PAGE, SPAN * PAGE, 25);
  if (what === 'pageout') return yield* mm.sysMadvise(process.ref, SHARED + offset, bytes, 21);
  if (what === 'protect') return yield* mm.sysMprotect(process.ref, SHARED + offset, bytes, 1 + (pages % 2) * 2);
  if (what === 'lock') return yield* mm.sysMlock(process.ref, SHARED + offset, bytes);
  if (what === 'munmap') return yield* mm.sysMunmap(process.ref, SHARED + offset, bytes);
  return yield* mm.sysFcntl(process.ref, 0, 1033, 8);
}

/** Two processes that map a memfd of two huge pages, shared and privately; the first huge page is there, and mapped by one. */
function scene(): { machine: Machine; processes: Process[] } {
  const machine = new Machine({ mode: MODE, ramBytes: 2 ** 28 });
  thpSetting('/sys/kernel/mm/transparent_hugepage/shmem_enabled')?.write('always');
  const parent = machine.spawn();
  parent.syscall('mmap', BUFFER, 8 * PAGE, 3, 0x8032, -1, 0);
  expect(parent.syscall('memfd_create', BUFFER, 2)).toBe(0);
  parent.syscall('ftruncate', 0, PAGES * PAGE);
  parent.syscall('mmap', SHARED, PAGES * PAGE, 3, 0x11, 0, 0);
  parent.syscall('mmap', PRIVATE, PAGES * PAGE, 3, 0x12, 0, 0);
  parent.store(BigInt(SHARED + 5 * PAGE), 1, 7n);
  machine.enter();
  expect(get(globals, Globals.vmEvents + THP_FILE_MAPPED)).toBe(1);
  return { machine, processes: [parent, parent.fork()] };
}

const picks = fc.array(fc.record({ who: fc.nat(5), run: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 })) }), { minLength: 1, maxLength: 60 });
const runs = { numRuns: process.env.PXD_NIGHTLY ? 2000 : 25, ...(process.env.PXD_NIGHTLY ? {} : { seed: Number(process.env.PXD_SEED ?? 1) }) };

describe('huge pages of a file under interleaving', () => {
  test('two to four tasks leave a sound machine', () => {
    const any = actionOf(
      ...['read-fault', 'write-fault', 'private-fault', 'truncate', 'grow', 'punch', 'allocate', 'read', 'write'],
      ...['dontneed', 'remove', 'pageout', 'protect', 'lock', 'munmap', 'seal', 'collapse'],
    );
    fc.assert(
      fc.property(fc.array(any, { minLength: 2, maxLength: 4 }), picks, (actions, order) => {
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
      runs,
    );
  }, 600_000);

  test('faults against what takes pages away map nothing that has gone', () => {
    const fault = actionOf('read-fault', 'write-fault', 'private-fault');
    fc.assert(
      fc.property(fault, actionOf('truncate', 'punch', 'remove', 'pageout'), fault, picks, (one, removal, other, order) => {
        const { machine, processes } = scene();
        machine.enter();
        interleave([perform(processes[0], one), perform(processes[1], removal), perform(processes[1], other)], order);
        machine.enter();
        expect(checkMachine({ leaks: true })).toEqual([]);
      }),
      runs,
    );
  }, 600_000);

  test('pages become a huge one while others use, take and hold them', () => {
    const other = actionOf('read-fault', 'write-fault', 'private-fault', 'truncate', 'punch', 'write', 'read', 'pageout', 'munmap', 'collapse', 'allocate');
    fc.assert(
      fc.property(fc.array(other, { minLength: 1, maxLength: 3 }), picks, (others, order) => {
        const { machine, processes } = scene();
        // The second huge page is still small ones, with holes between.
        thpSetting('/sys/kernel/mm/transparent_hugepage/shmem_enabled')?.write('never');
        for (let i = 0; i < SPAN; i += 3) processes[i % 2].store(BigInt(SHARED + (SPAN + i) * PAGE), 1, 1n);
        machine.enter();
        const near = others.map((one) => ({ ...one, at: SPAN + (one.at % SPAN) }));
        const collapse = { what: 'collapse', at: SPAN, pages: SPAN };
        interleave([perform(processes[0], collapse), ...near.map((one, i) => perform(processes[(i + 1) % 2], one))], order);
        machine.enter();
        expect(checkMachine({ leaks: true })).toEqual([]);
        for (const p of processes) p.exit();
        machine.enter();
        expect(checkMachine({ leaks: true })).toEqual([]);
      }),
      runs,
    );
  }, 600_000);
});
