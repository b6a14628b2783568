/**
 * Contracts of page walks and of entries above the lowest level (catalogue: C12, C15 to C19, S10, S19, S22, S24): each test names its own, and next to what holds
 * stands what is seen when code is broken there: by a switch, or by a walker that does without the lock.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { entryAt, entryStride, loadEntry, spanPages, storeEntry, topLevel } from '../../src/kernel/arch.ts';
import { KernelBug } from '../../src/kernel/bug.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import type { Op } from '../../src/kernel/op.ts';
import { downRead, upRead } from '../../src/kernel/ops.ts';
import { Scheduler } from '../../src/kernel/scheduler.ts';
import { type SwitchName, throwSwitches } from '../../src/kernel/switches.ts';
import { makeCpus, removeTasks } from '../../src/kernel/task.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { hugeSizes, poolOf } from '../../src/machine/boot-hugetlb.ts';
import { registersOf } from '../../src/machine/capture.ts';
import { Machine } from '../../src/machine/machine.ts';
import { readPagemap } from '../../src/machine/proc/pagemap.ts';
import type { Process } from '../../src/machine/process.ts';
import { pageFolio } from '../../src/memory/folio.ts';
import { alloc, free, get, set } from '../../src/memory/heap.ts';
import { PG_HUGETLB } from '../../src/memory/page-flags.ts';
import { pageFlags, pageOfPfn, pfnOfPage, startJournal, stopJournal, undo } from '../../src/memory/state.ts';
import { haveGupFast } from '../../src/mm/gup-fast.ts';
import { allocPageVector, FOLL_GET, FOLL_LONGTERM, FOLL_NOWAIT, FOLL_WRITE, PageVector } from '../../src/mm/gup-types.ts';
import * as source from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { forEachLeaf, leafFrame } from '../../src/mm/leaves.ts';
import { allocWalkCount, HAS_HUGETLB, HAS_LEAF, HAS_PMD, HAS_PTE, HAS_PUD, PGWALK_RDLOCK, WALK_COUNT, WALK_SMAPS, WALK_TEST } from '../../src/mm/mm-walk.ts';
import { mmapReadLock, mmapReadUnlock } from '../../src/mm/mmap-lock.ts';
import { mkSwapPte, PTE_PAYLOAD, ptePfn, tablePage } from '../../src/mm/pgtable.ts';
import { allocMemSizeStats, freeMemSizeStats, MemSizeStats } from '../../src/mm/task-mmu.ts';
import { TestWalk } from '../../src/mm/test-pagewalk-types.ts';
import { File, Inode, Mm, Vma } from '../../src/mm/types.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_HUGE, PTE_PRESENT, PTE_READ, PTE_USER } from '../../src/pagetable/canonical.ts';
import { compileMode, extentsOf, readPageTables, rootFromRegisters } from '../../src/pagetable/index.ts';
import { traced } from './support/traced.ts';

const [PRIVATE, SHARED, FIXED, ANON, HUGETLB] = [2, 1, 0x10, 0x20, 0x40000];
const [EFAULT, EINVAL] = [-14, -22];
const SEED = 31;
const LARGEST = 32 * 2 ** 20;

/** Modes with sizes of huge pages that a machine holds a few of. */
const SIZES = ['x86-4level', 'arm64-4k-48', 's390x', 'riscv-sv39', 'ppc64-radix-4k'].flatMap((mode) => {
  const { pageShift } = codecFor(mode);
  return hugeSizes(codecFor(mode)).flatMap(({ order, level, entries }) => (2 ** (order + pageShift) <= LARGEST ? [{ mode, order, level, entries }] : []));
});

class World {
  readonly machine: Machine;
  readonly p: Process;
  readonly size: number;

  constructor(mode = 'x86-4level', ramBytes = 2 ** 27) {
    this.machine = new Machine({ mode, ramBytes });
    this.p = this.machine.spawn();
    this.size = this.machine.pageSize;
  }

  map(page: number, pages: number, flags: number, fd = -1): void {
    expect(this.p.syscall('mmap', page * this.size, pages * this.size, 3, flags | FIXED, fd, 0)).toBe(page * this.size);
  }

  /** Pages of hugetlb at the first place of their size from `near` on; where. */
  huge(order: number, pages: number, sharing: number, near = 4096): number {
    this.machine.enter();
    this.machine.kernel.setMaxHugePages(poolOf(2 ** (order + this.machine.pageShift - 10), this.machine.pageShift), pages + 1);
    const at = Math.ceil(near / 2 ** order) * 2 ** order;
    this.map(at, pages * 2 ** order, sharing | ANON | HUGETLB | ((order + this.machine.pageShift) << 26));
    return at;
  }

  touch(page: number, who = this.p): void {
    expect(who.store(BigInt(page * this.size), 4, 1n)).toBeUndefined();
  }

  vma(page: number): number {
    this.machine.enter();
    return vmaLookup(this.p.mm, page);
  }

  run(name: string, ...args: number[]): ReturnType<typeof traced> {
    this.machine.enter();
    return traced(name, ...args);
  }

  /** Where the entry of a page stands, at a level. */
  at(page: number, level: number): number {
    this.machine.enter();
    let table = get(this.p.mm, Mm.pgd);
    for (let l = topLevel; l > level; l--) table = tablePage(loadEntry(entryAt(table, l, page), l));
    return entryAt(table, level, page);
  }

  /** A file of a disk. */
  disk(page: number, pages: number): number {
    this.map(page, 1, PRIVATE | ANON);
    this.p.write(BigInt(page * this.size), new TextEncoder().encode('/var/tmp/pxd/f\0'));
    const fd = this.p.syscall('open', page * this.size, 0o102, 0o600);
    this.p.syscall('ftruncate', fd, pages * this.size);
    return fd;
  }

  /** Runs kernel code as a task alone, with switches thrown; its result. */
  task(body: () => Op<number>, ...switches: SwitchName[]): number {
    this.machine.enter();
    removeTasks();
    // Guards would object before the checks that these tests are about.
    const scheduler = new Scheduler({ cpus: 1, guards: false });
    throwSwitches(switches);
    scheduler.spawn([{ run: body, args: [], name: 'test' }]);
    scheduler.run((actions) => actions[0]);
    const [[result]] = scheduler.results;
    removeTasks();
    return result;
  }

  /** The bug that it ends in; nothing of it stays. */
  bugOf(body: () => Op<number>, ...switches: SwitchName[]): string {
    this.machine.enter();
    startJournal();
    try {
      this.task(body, ...switches);
      return 'none';
    } catch (error) {
      if (!(error instanceof KernelBug)) throw error;
      return error.message;
    } finally {
      undo(0);
      stopJournal();
    }
  }

  /** Calls of a walk that has these functions. */
  walk(start: number, end: number, has: number): string[] {
    this.machine.enter();
    const ops = alloc(TestWalk);
    set(ops, TestWalk.has, has);
    set(ops, TestWalk.lock, PGWALK_RDLOCK);
    traced('walkPageRange', this.p.mm, start, end, WALK_TEST, ops);
    const names: Record<number, string> = { [HAS_LEAF]: 'leaf', [HAS_PMD]: 'pmd', [HAS_PUD]: 'pud', [HAS_PTE]: 'pte' };
    const calls = Array.from({ length: get(ops, TestWalk.calls) }, (_, i) => names[get(ops, (TestWalk.step + i) as typeof TestWalk.step)]);
    free(TestWalk, ops);
    return calls;
  }
}

afterEach(() => removeTasks());

describe('C12: long pins and the fast way', () => {
  it('anonymous, shared and hugetlb memory is pinned fast; a file of a disk for reading only, and for writing by nobody', () => {
    const w = new World();
    const fd = w.disk(2000, 1);
    w.map(3000, 1, PRIVATE | ANON);
    w.map(3002, 1, SHARED | ANON);
    w.map(3004, 1, SHARED, fd);
    const huge = w.huge(9, 1, SHARED);
    for (const page of [3000, 3002, 3004, huge]) w.touch(page);
    w.machine.enter();
    const vector = allocPageVector();
    const pin = (page: number, flags: number): [number, boolean] => {
      w.machine.enter();
      const { result, through } = traced('pinUserPagesFast', w.p.mm, page, 1, flags, vector);
      if (get(vector, PageVector.count) > 0) w.machine.kernel.unpinUserPages(vector, 0);
      return [result, !through.has('followPageMask') && !through.has('checkVmaFlags')];
    };
    expect(haveGupFast()).toBe(true);
    for (const page of [3000, 3002, huge])
      for (const flags of [FOLL_LONGTERM, FOLL_LONGTERM | FOLL_WRITE]) expect(pin(page, flags), `${page} ${flags}`).toEqual([1, true]);
    expect(pin(3004, FOLL_LONGTERM)).toEqual([1, true]);
    expect(pin(3004, FOLL_WRITE)).toEqual([1, true]);
    // The slow way knows the VMA, and says no.
    expect(pin(3004, FOLL_LONGTERM | FOLL_WRITE)[0]).toBe(EFAULT);
    const lasting = (): Op<number> => source.pinUserPagesFast(w.p.mm, 3004, 1, FOLL_LONGTERM | FOLL_WRITE, vector);
    expect(w.task(lasting)).toBe(EFAULT);
    expect(w.task(lasting, 'gupFastAnyFile')).toBe(1);
  });
});

describe('C15, F097 to F100, F115: locks', () => {
  it('walk_page_mapping wants the lock of the file, in any mode', () => {
    const w = new World();
    w.map(3000, 2, SHARED | ANON);
    w.touch(3000);
    const inode = get(get(w.vma(3000), Vma.file), File.inode);
    const walk = (): Op<number> => source.walkPageMapping(inode, 0, 2, WALK_COUNT, allocWalkCount());
    expect(w.bugOf(walk)).toMatch(/^I23: task 0 must hold inode/);
    expect(
      w.bugOf(function* (): Op<number> {
        yield* downRead(inode + Inode.iMmapLock);
        yield* walk();
        return yield* upRead(inode + Inode.iMmapLock);
      }),
    ).toBe('none');
  });
});

describe('C16, C17: hugetlb', () => {
  const shared = (): { w: World; at: number; h: number } => {
    const w = new World('x86-4level', 2 ** 26);
    // All that one table maps, so that it can be shared; next to nothing of it is touched.
    w.machine.enter();
    w.machine.kernel.setMaxHugePages(poolOf(2048, 12), 2);
    const at = 2 ** 18;
    w.map(at, 2 ** 18, SHARED | ANON | HUGETLB | 0x4000 | (21 << 26));
    w.touch(at);
    return { w, at, h: poolOf(2048, 12) };
  };
  const reading = (w: World, body: () => Op<number>): (() => Op<number>) =>
    function* (): Op<number> {
      yield* mmapReadLock(w.p.mm);
      yield* body();
      return yield* mmapReadUnlock(w.p.mm);
    };

  it('C16, F101: it is walked by its function and with the lock of its VMA, or passed over', () => {
    const { w, at } = shared();
    expect(w.walk(at, at + 512, HAS_PUD | HAS_PMD | HAS_PTE)).toEqual([]);
    expect(w.walk(at, at + 512, HAS_LEAF)).toEqual([]);
    expect(w.walk(at, at + 512, HAS_LEAF | HAS_HUGETLB)).toEqual(['leaf']);
    const { through, performed } = w.run('showSmap', w.p.mm, at, allocMemSizeStats());
    expect([through.has('walkHugetlbRange'), through.has('walkTable'), performed.get('downRead')]).toEqual([true, false, 1 + 1]);
    // Others go down the tables.
    w.map(3000, 1, PRIVATE | ANON);
    w.touch(3000);
    const other = w.run('showSmap', w.p.mm, 3000, allocMemSizeStats());
    expect([other.through.has('walkHugetlbRange'), other.through.has('walkTable')]).toEqual([false, true]);
  });

  it('C17, F111, F112: the mmap lock does not keep a table that is shared; the lock of the VMA does, or that of the file', () => {
    const { w, at, h } = shared();
    const vma = w.vma(at);
    const inode = get(get(vma, Vma.file), File.inode);
    const walk = (): Op<number> => source.hugetlbWalk(vma, at, h);
    expect(w.bugOf(walk)).toMatch(/^I23: task 0 must hold/);
    expect(w.bugOf(reading(w, walk))).toMatch(/^I23: task 0 must hold/);
    for (const [lock, unlock] of [
      [() => source.hugetlbVmaLockRead(vma), () => source.hugetlbVmaUnlockRead(vma)],
      [() => source.hugetlbVmaLockWrite(vma), () => source.hugetlbVmaUnlockWrite(vma)],
      [() => downRead(inode + Inode.iMmapLock), () => upRead(inode + Inode.iMmapLock)],
    ] as const)
      expect(
        w.bugOf(function* (): Op<number> {
          yield* lock();
          yield* walk();
          return yield* unlock();
        }),
      ).toBe('none');
    // Tables of private mappings are nobody else's, nor are those that do not fill one.
    const own = w.huge(9, 1, PRIVATE);
    expect(w.bugOf(() => source.hugetlbWalk(w.vma(own), own, h))).toBe('none');
  });

  it('F254: who asked not to wait (FOLL_NOWAIT) waits for the lock of the VMA all the same; the function of 2022 took none', () => {
    const { w, at } = shared();
    const vector = allocPageVector();
    const got = (): number => w.run('getUserPagesUnlocked', w.p.mm, at, 1, FOLL_NOWAIT, vector).result;
    w.machine.enter();
    removeTasks();
    makeCpus(1);
    const vma = w.vma(at);
    w.run('hugetlbVmaLockWrite', vma);
    expect(got).toThrow('a lone task waits for ever: downRead(');
    throwSwitches(['hugetlbFollowOwn']);
    expect(got()).toBe(1);
  });

  it('C17, F110: a walk that does without the lock is found at once', () => {
    const { w, at } = shared();
    const vma = w.vma(at);
    const smaps = reading(w, () => source.walkPageVma(vma, WALK_SMAPS, allocMemSizeStats()));
    expect(w.bugOf(smaps)).toBe('none');
    expect(w.bugOf(smaps, 'hugetlbWalkUnlocked')).toMatch(/^I23: task 0 must hold/);
  });
});

describe.each(SIZES)('$mode, huge pages of order $order', ({ mode, order, level, entries }) => {
  const pages = 2 ** order;

  it('C18: a VMA has huge pages of its own size, or none; tables say the same as the VMA', () => {
    const w = new World(mode);
    const at = w.huge(order, 2, PRIVATE);
    w.touch(at + pages + 1);
    w.map(at + 2 * pages, 4, PRIVATE | ANON);
    w.touch(at + 2 * pages);
    const found: number[][] = [];
    w.machine.enter();
    forEachLeaf(get(w.p.mm, Mm.pgd), at, at + 2 * pages + 4, (vpn, end, entry, l) =>
      found.push([vpn - at, end - vpn, l, pageFlags[pageFolio(pageOfPfn(ptePfn(entry)))] & PG_HUGETLB]),
    );
    expect(found).toEqual([
      [pages, pages, level, PG_HUGETLB],
      [2 * pages, 1, 0, 0],
    ]);
    // Nothing makes the inside of a huge page another VMA's.
    for (const [call, ...more] of [['munmap'], ['mprotect', 1], ['mmap', 3, PRIVATE | ANON | FIXED, -1, 0]] as const)
      expect(w.p.syscall(call, (at + 1) * w.size, w.size, ...more), call).toBe(pages > 1 ? EINVAL : 0);
    w.machine.enter();
    expect(checkMachine()).toEqual([]);
  });

  it('C19: an entry is written with its size, each word with its own piece, and read as one', () => {
    const w = new World(mode);
    const at = w.huge(order, 1, PRIVATE);
    w.touch(at);
    const span = spanPages(level);
    const first = w.at(at, level);
    const head = ptePfn(loadEntry(first, level));
    for (let i = 0; i < entries; i++) expect(ptePfn(loadEntry(first + i * entryStride(level), level)), `entry ${i}`).toBe(head + i * span);
    // A reader that knows nothing of the mm finds a run of that many frames.
    const compiled = compileMode(w.machine.codec.mode, '6.18');
    const { columns } = extentsOf(readPageTables(compiled, w.machine.source, rootFromRegisters(compiled, registersOf(w.machine, w.p.pid), 'user')), {
      half: 'user',
      all: true,
    });
    const rows = Array.from({ length: columns.length }, (_, i) => [columns.vpn[i], columns.pfn[i], columns.pages[i]]).filter(
      ([vpn]) => vpn >= at && vpn < at + pages,
    );
    expect(rows.reduce((sum, [, , n]) => sum + n, 0)).toBe(pages);
    for (const [vpn, pfn] of rows) expect(pfn - head).toBe(vpn - at);
    // What was done to any of the entries was done to the page.
    w.machine.enter();
    const h = poolOf(2 ** (order + w.machine.pageShift - 10), w.machine.pageShift);
    const bits = w.machine.codec.levels[level].supports & (PTE_ACCESSED | PTE_DIRTY);
    for (let i = 0; i < entries; i++) {
      const place = first + i * entryStride(level);
      const entry = loadEntry(place, level);
      storeEntry(place, level, entry - (entry & (PTE_ACCESSED | PTE_DIRTY)));
    }
    const read = (): number => w.run('hugePtepGet', h, first).result & bits;
    expect(read()).toBe(w.machine.codec.levels[level].supports & bits & loadEntry(first, level));
    const last = first + (entries - 1) * entryStride(level);
    storeEntry(last, level, loadEntry(last, level) + (bits - (loadEntry(last, level) & bits)));
    expect(read()).toBe(bits);
    let seen = 0;
    forEachLeaf(get(w.p.mm, Mm.pgd), at, at + pages, (_vpn, _end, entry) => {
      seen = entry & bits;
    });
    expect(seen).toBe(bits);
  });

  it(`S19: the page of an address inside a leaf is the same for who asks by size and for who goes by the table (seed ${SEED})`, () => {
    const w = new World(mode);
    const chance = randomNumbers(SEED + order);
    const at = w.huge(order, 2, SHARED);
    w.touch(at);
    w.touch(at + pages);
    const vma = w.vma(at);
    const offsets = [0, pages - 1, pages, 2 * pages - 1, ...Array.from({ length: 12 }, () => chance(2 * pages))];
    for (const offset of offsets) {
      const page = w.run('followPage', vma, at + offset, FOLL_GET).result;
      expect(page).toBeGreaterThan(0);
      const pfn = pfnOfPage(page);
      w.run('folioPut', pageFolio(page));
      expect(Number(readPagemap(w.machine, w.p.ref, at + offset, 1)[0] & ((1n << 55n) - 1n)), `offset ${offset}`).toBe(pfn);
      w.machine.enter();
      forEachLeaf(get(w.p.mm, Mm.pgd), at + offset, at + offset + 1, (vpn, _end, entry, l) => expect(leafFrame(entry, l, vpn)).toBe(pfn));
      const head = ptePfn(loadEntry(w.at(at + offset - (offset % pages), level), level));
      expect(pfn - head).toBe(offset % pages);
    }
    w.machine.enter();
    expect(checkMachine()).toEqual([]);
  });
});

describe('S10: none, then present, then a leaf', () => {
  it.each(['x86-4level', 'ppc64-radix-4k', 's390x', 'loongarch64-16k'])(
    '%s: an entry of a migration above the lowest level maps nothing, and is counted as what it stands for',
    (mode) => {
      const w = new World(mode);
      const { levels } = w.machine.codec;
      if (!levels[1].leaves || levels[1].swapOffsets === 0) return;
      const span = spanPages(1);
      const at = 8 * span;
      w.map(at, span, PRIVATE | ANON);
      w.touch(at);
      const pmd = w.at(at, 1);
      const table = loadEntry(pmd, 1);
      // Whatever the mode's own test for a leaf says of its words.
      storeEntry(pmd, 1, mkSwapPte(w.machine.codec.typeOf('migration'), 512, 0));
      expect(loadEntry(pmd, 1)).not.toBe(0);
      expect(w.walk(at, at + span, HAS_LEAF)).toEqual(['leaf']);
      expect(w.walk(at, at + span, HAS_PMD | HAS_PTE)).toEqual(['pmd']);
      expect(w.run('walkCountPresent', w.p.mm, at, at + span, WALK_COUNT).result).toBe(0);
      for (const advice of [8, 20, 21]) expect(w.p.syscall('madvise', at * w.size, span * w.size, advice), `advice ${advice}`).toBe(0);
      w.machine.enter();
      const stats = allocMemSizeStats();
      w.run('showSmap', w.p.mm, at, stats);
      expect([get(stats, MemSizeStats.rss), get(stats, MemSizeStats.anonHuge)]).toEqual([span * w.size, 0]);
      freeMemSizeStats(stats);
      expect((readPagemap(w.machine, w.p.ref, at, 1)[0] >> 62n) & 3n).toBe(1n);
      expect(loadEntry(pmd, 1)).not.toBe(0);
      storeEntry(pmd, 1, table);
      expect(checkMachine()).toEqual([]);
    },
  );
});

describe('S22: one flush for a batch', () => {
  it('pages that are unmapped together, exclusive or not, are flushed once; none is flushed alone', () => {
    const w = new World();
    w.map(4096, 16, PRIVATE | ANON);
    // So that no table goes.
    w.map(4096 + 100, 1, PRIVATE | ANON);
    w.touch(4096 + 100);
    for (let i = 0; i < 16; i++) w.touch(4096 + i);
    const child = w.p.fork();
    for (let i = 0; i < 8; i++) w.touch(4096 + i);
    const flushes = (name: string, ...args: number[]): number => {
      const { performed } = w.run(name, ...args);
      return (performed.get('flushTlbRange') ?? 0) + (performed.get('flushTlbMm') ?? 0) + (performed.get('flushTlbPage') ?? 0);
    };
    expect(flushes('sysMprotect', w.p.ref, 4096 * w.size, 16 * w.size, 1)).toBe(1);
    expect(flushes('sysMadvise', w.p.ref, 4096 * w.size, 8 * w.size, 4)).toBe(1);
    expect(flushes('sysMunmap', w.p.ref, 4096 * w.size, 16 * w.size)).toBe(1);
    child.exit();
    w.machine.enter();
    expect(checkMachine()).toEqual([]);
  });
});

describe('S24: whoever has leaves at a level has their frames', () => {
  const modes = allModes()
    .map(({ name }) => name)
    .filter((name) => {
      try {
        return codecFor(name) !== undefined;
      } catch {
        return false;
      }
    });

  it.each(modes)('%s', (mode) => {
    const codec = codecFor(mode);
    const words = new Int32Array(codec.levels.reduce((most, l) => Math.max(most, (l.entries * l.strideWords + l.secondWord + l.cells) * 2), 8));
    codec.levels.forEach((level, i) => {
      const pages = 2 ** (level.shift - codec.pageShift);
      const leaf = (pfn: number): number => pfn * PTE_PAYLOAD + (PTE_PRESENT | PTE_READ | PTE_USER | PTE_ACCESSED | (i > 0 ? PTE_HUGE : 0));
      if (!level.leaves) {
        // There is no entry whose frame could be told wrongly.
        expect(() => codec.encode(i, leaf(pages)), level.name).toThrow(RangeError);
        return;
      }
      for (const k of [1, 2, 5]) {
        codec.writeEntry(words, 0, i, leaf(k * pages));
        expect(ptePfn(codec.readEntry(words, 0, i)), `${level.name} ${k}`).toBe(k * pages);
      }
    });
  });
});
