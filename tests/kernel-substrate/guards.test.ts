/** Guards of fields: what structs of the mm say about themselves holds in native and step runs, and a breach names field and lock. */
import { describe, expect, it } from 'vitest';
import { undefinedGuards } from '../../src/kernel/guards.ts';
import type { Op } from '../../src/kernel/op.ts';
import { add, downRead, downWrite, get, kfree, kmalloc, readOnce, set, upRead, upWrite } from '../../src/kernel/ops.ts';
import '../../src/mm/invariants/guard-rules.ts';
import { lockVmaUnderRcu, mmapReadLock, mmapReadUnlock, mmapWriteLock, mmapWriteUnlock, vmaEndRead, vmaStartWrite } from '../../src/mm/mmap-lock.ts';
import { AnonVma, Inode, Mm, Vma } from '../../src/mm/types.ts';
import { firstVma } from '../../src/mm/vma-tree.ts';
import { bugOfTask, eachOnAMachine, newInode, theMachine } from './support.ts';

eachOnAMachine();

function mmAndVma(): [mm: number, vma: number] {
  const p = theMachine().spawn();
  p.syscall('mmap', 0x10000000, 0x4000, 3, 0x32, -1, 0);
  p.store(0x10000000n, 8, 1n);
  theMachine().enter();
  return [p.mm, firstVma(p.mm)];
}

describe('guards', () => {
  it('are defined, all that structs name', () => expect(undefinedGuards()).toEqual([]));

  it('an account of an mm, unlocked', () => {
    const [mm] = mmAndVma();
    const body = function* (): Op<number> {
      yield* readOnce(mm, Mm.lockSeq);
      return add(mm, Mm.mapCount, 1);
    };
    expect(bugOfTask(body)).toMatch(/^guard: task 0 writes mm\.mapCount of \d+ without the mmap lock .*; it holds no lock/);
  });

  it('under the lock for reading only', () => {
    const [mm] = mmAndVma();
    const body = function* (): Op<number> {
      yield* mmapReadLock(mm);
      set(mm, Mm.mapCount, get(mm, Mm.mapCount) + 1);
      return yield* mmapReadUnlock(mm);
    };
    expect(bugOfTask(body)).toMatch(/^guard: task 0 writes mm\.mapCount .*; it holds mm\.mmapLock of \d+ for reading/);
  });

  it('under the lock for writing', () => {
    const [mm] = mmAndVma();
    const body = function* (): Op<number> {
      yield* mmapWriteLock(mm);
      set(mm, Mm.mapCount, get(mm, Mm.mapCount));
      return yield* mmapWriteUnlock(mm);
    };
    expect(bugOfTask(body)).toBe('none');
  });

  const reads: [string, (mm: number, vma: number) => Op<number>, (mm: number, vma: number) => Op<number>][] = [
    ['the mmap lock', (mm) => mmapReadLock(mm), (mm) => mmapReadUnlock(mm)],
    ['the lock of the VMA', (mm) => lockVmaUnderRcu(mm, 0x10000), (_, vma) => vmaEndRead(vma)],
    ['the lock of its anon_vma', (_, vma) => downRead(get(vma, Vma.anonVma) + AnonVma.rwsem), (_, vma) => upRead(get(vma, Vma.anonVma) + AnonVma.rwsem)],
  ];
  for (const [what, lock, unlock] of reads)
    it(`the range of a VMA is read under ${what}`, () => {
      const [mm, vma] = mmAndVma();
      const body = function* (): Op<number> {
        yield* lock(mm, vma);
        const start = get(vma, Vma.start);
        yield* unlock(mm, vma);
        return start;
      };
      expect(bugOfTask(body)).toBe('none');
    });

  it('and under no other', () => {
    const [, vma] = mmAndVma();
    const body = function* (): Op<number> {
      const other = newInode() + Inode.lock;
      yield* downWrite(other);
      const start = get(vma, Vma.start);
      yield* upWrite(other);
      return start;
    };
    expect(bugOfTask(body)).toMatch(/^guard: task 0 reads vma\.start of \d+ without/);
  });

  it('the range changes only once the VMA is locked for writing', () => {
    const [mm, vma] = mmAndVma();
    const body = (start: boolean) =>
      function* (): Op<number> {
        yield* mmapWriteLock(mm);
        if (start) yield* vmaStartWrite(vma);
        set(vma, Vma.end, get(vma, Vma.end));
        return yield* mmapWriteUnlock(mm);
      };
    expect(bugOfTask(body(false))).toMatch(/^guard: task 0 writes vma\.end of \d+ without .*; it holds mm\.mmapLock of \d+ for writing/);
  });

  it('and then it may', () => {
    const [mm, vma] = mmAndVma();
    const body = function* (): Op<number> {
      yield* mmapWriteLock(mm);
      yield* vmaStartWrite(vma);
      set(vma, Vma.end, get(vma, Vma.end));
      return yield* mmapWriteUnlock(mm);
    };
    expect(bugOfTask(body)).toBe('none');
  });

  it('what was freed is not touched (I19)', () => {
    const body = function* (): Op<number> {
      const vma = yield* kmalloc(Vma.$type);
      yield* kfree(Vma.$type, vma);
      return get(vma, Vma.anonVma);
    };
    expect(bugOfTask(body)).toMatch(/^I19: task 0 reads vma\.anonVma of \d+, which was freed/);
  });
});
