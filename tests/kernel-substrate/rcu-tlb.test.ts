/** Grace periods, translations of CPUs, and what may be freed when. */
import { describe, expect, it } from 'vitest';
import { entryAt, loadEntry } from '../../src/kernel/arch.ts';
import { mmuEntry } from '../../src/kernel/mmu.ts';
import type { Op } from '../../src/kernel/op.ts';
import {
  allocPage,
  callRcuFreeTable,
  entryGetAndClear,
  flushTlbRange,
  freePage,
  localIrqDisable,
  localIrqEnable,
  rcuReadLock,
  rcuReadUnlock,
  readOnce,
  refAdd,
  setFlags,
  spinLock,
  spinUnlock,
  userLoad,
  userStore,
} from '../../src/kernel/ops.ts';
import { KernelState, kernelState } from '../../src/kernel/task.ts';
import { staleTranslations } from '../../src/kernel/tlb.ts';
import type { Process } from '../../src/machine/process.ts';
import { GFP_KERNEL } from '../../src/memory/gfp.ts';
import { get } from '../../src/memory/heap.ts';
import { PG_TABLE } from '../../src/memory/page-flags.ts';
import { pageFlags, pageRefcount, wordShift } from '../../src/memory/state.ts';
import { ptePage } from '../../src/mm/pgtable.ts';
import { Inode, Mm } from '../../src/mm/types.ts';
import { PTE_ACCESSED, PTE_DIRTY } from '../../src/pagetable/canonical.ts';
import { bugOf, eachOnAMachine, following, inOrder, newInode, tasks, theMachine } from './support.ts';

eachOnAMachine();

const A = 0x10000000;
const VPN = A / 4096;
const isTable = (page: number): boolean => (pageFlags[page] & PG_TABLE) !== 0;

function* newTable(): Op<number> {
  const page = yield* allocPage(GFP_KERNEL, 0);
  yield* setFlags(page, PG_TABLE);
  return page;
}

describe('grace periods', () => {
  it('are over at once when nobody reads', () => {
    tasks([
      function* () {
        const table = yield* newTable();
        yield* callRcuFreeTable(table, 0);
        expect(isTable(table)).toBe(false);
        expect(pageRefcount[table]).toBe(0);
        return 0;
      },
    ]).run(inOrder);
  });

  it('end with the last reader that was inside; later ones do not count', () => {
    let table = 0;
    const events: string[] = [];
    const reader = (name: string) =>
      function* (): Op<number> {
        yield* rcuReadLock();
        yield* rcuReadLock();
        yield* rcuReadUnlock();
        events.push(`${name} inside, table ${isTable(table)}`);
        yield* rcuReadUnlock();
        events.push(`${name} outside, table ${isTable(table)}`);
        return 0;
      };
    const writer = function* (): Op<number> {
      yield* callRcuFreeTable(table, 0);
      events.push(`asked, table ${isTable(table)}`);
      return 0;
    };
    const scheduler = tasks([
      function* () {
        table = yield* newTable();
        return 0;
      },
      reader('early'),
      writer,
      reader('late'),
    ]);
    // early takes its two locks and drops one; the writer asks; late comes in; early leaves; late leaves.
    scheduler.run(following(0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 1, 1, 3, 3));
    expect(events[0]).toBe('asked, table true');
    expect(events).toContain('early outside, table false');
    expect(events.findIndex((e) => e.startsWith('late outside'))).toBeGreaterThan(events.indexOf('early outside, table false'));
    expect(get(kernelState(), KernelState.rcu)).toBe(0);
    expect(get(kernelState(), KernelState.rcuLast)).toBe(0);
  });
});

/** A process with two written pages at A and one page read. */
function processWithPages(): Process {
  const p = theMachine().spawn();
  p.syscall('mmap', A, 0x8000, 3, 0x32, -1, 0);
  p.store(BigInt(A), 8, 7n);
  p.store(BigInt(A + 0x1000), 8, 8n);
  theMachine().enter();
  return p;
}

const ptepOf = (p: Process, vpn: number): number => mmuEntry(get(p.mm, Mm.pgd), vpn);

/** Empties an entry and frees its page, with a flush before that or without. */
const unmap = (p: Process, vpn: number, flush: boolean) =>
  function* (): Op<number> {
    const ptep = ptepOf(p, vpn);
    const table = ptep >> wordShift;
    yield* spinLock(-table);
    const page = ptePage(yield* entryGetAndClear(ptep, 0));
    yield* spinUnlock(-table);
    if (flush) yield* flushTlbRange(p.mm, vpn, vpn + 1);
    yield* refAdd(page, -1);
    // The page of an mm is not this test's to free: what is checked comes first.
    yield* freePage(page, 0);
    return 0;
  };

describe('translations', () => {
  const load = (p: Process, vpn: number) =>
    function* (): Op<number> {
      return yield* userLoad(p.mm, get(p.mm, Mm.pgd), vpn);
    };

  it('a page that a CPU still translates to is not freed (I4)', () => {
    const p = processWithPages();
    const scheduler = tasks([load(p, VPN), unmap(p, VPN, false)]);
    expect(bugOf(() => scheduler.run(inOrder))).toMatch(/^I4: page \d+ is freed while CPU 0 still translates vpn 0x10000 of mm \d+ to it/);
  });

  it('after a flush it is: what is wrong then is the rest', () => {
    const p = processWithPages();
    const scheduler = tasks([load(p, VPN), unmap(p, VPN, true)]);
    // The allocator looks at the page's other uses, which this test has not undone.
    expect(() => scheduler.run(inOrder)).toThrow(/mapcount|mapping/);
    expect(staleTranslations((mm) => get(mm, Mm.pgd))).toEqual([]);
  });

  it('what the hardware reads ahead counts too', () => {
    const p = processWithPages();
    const scheduler = tasks([unmap(p, VPN + 1, false), () => userLoad(p.mm, get(p.mm, Mm.pgd), VPN)], { speculate: [VPN, VPN + 1] });
    scheduler.load(1, p.mm);
    const ahead = scheduler.actions().filter((a) => a >= 1024);
    expect(ahead.map((a) => scheduler.describe(a))).toEqual(['CPU 1 reads vpn 0x10000 ahead', 'CPU 1 reads vpn 0x10001 ahead']);
    expect(bugOf(() => scheduler.run(following(ahead[1])))).toMatch(/^I4: page \d+ is freed while CPU 1 still translates vpn 0x10001/);
  });

  it('a table that a CPU came through is not freed, empty or not (I3)', () => {
    const p = processWithPages();
    const table = ptepOf(p, VPN) >> wordShift;
    const scheduler = tasks(
      [
        function* () {
          return yield* callRcuFreeTable(table, 0);
        },
      ],
      { speculate: [VPN + 5] },
    );
    scheduler.load(0, p.mm);
    // VPN + 5 has no entry: the CPU remembers the table alone.
    const ahead = scheduler.actions().find((a) => a >= 1024) as number;
    expect(bugOf(() => scheduler.run(following(ahead)))).toMatch(/^I3: page table \d+ is freed while CPU 0 still translates vpn 0x10005 of mm \d+ through it/);
  });

  it('a flush of any page makes CPUs forget tables', () => {
    const p = processWithPages();
    const table = ptepOf(p, VPN) >> wordShift;
    const scheduler = tasks(
      [
        function* () {
          yield* flushTlbRange(p.mm, 5, 6);
          return yield* callRcuFreeTable(table, 0);
        },
      ],
      { speculate: [VPN, VPN + 5] },
    );
    scheduler.load(0, p.mm);
    const ahead = scheduler.actions().filter((a) => a >= 1024);
    expect(bugOf(() => scheduler.run(following(...ahead)))).toBe('none');
  });

  it('rights that were taken away are stale until they are flushed', () => {
    const p = processWithPages();
    tasks([load(p, VPN)]).run(inOrder);
    expect(staleTranslations((mm) => get(mm, Mm.pgd))).toEqual([]);
    // The direct program's mprotect() flushes all CPUs.
    p.syscall('mprotect', A, 0x1000, 0);
    expect(staleTranslations((mm) => get(mm, Mm.pgd))).toEqual([]);
  });

  it('loads set accessed, stores set dirty, through the entry as it is then', () => {
    const p = processWithPages();
    const entry = (): number => loadEntry(ptepOf(p, VPN), 0);
    const store = function* (): Op<number> {
      return yield* userStore(p.mm, get(p.mm, Mm.pgd), VPN, 99);
    };
    expect(entry() & (PTE_ACCESSED | PTE_DIRTY)).toBe(PTE_ACCESSED | PTE_DIRTY);
    const scheduler = tasks([load(p, VPN), store]);
    scheduler.run(inOrder);
    expect(scheduler.results).toEqual([[8], [1]]);
    expect(p.load(BigInt(A), 8)).toBe(99n);
  });
});

describe('flushes by interrupt', () => {
  it('wait for every CPU, and for one that takes none the longer', () => {
    const p = processWithPages();
    const inode = newInode();
    const events: string[] = [];
    const scheduler = tasks(
      [
        function* () {
          yield* flushTlbRange(p.mm, VPN, VPN + 1);
          events.push('flushed');
          return 0;
        },
        function* () {
          yield* localIrqDisable();
          yield* readOnce(inode, Inode.size);
          yield* localIrqEnable();
          events.push('interrupts on');
          return 0;
        },
        () => userLoad(p.mm, get(p.mm, Mm.pgd), VPN),
      ],
      { ipis: true },
    );
    const ipi = (cpu: number): number => 64 + cpu;
    const seen: (readonly number[])[] = [];
    // Both begin; interrupts go off on CPU 1; the flush is sent; CPU 2 answers; CPU 1 cannot.
    const choose = following(0, 1, 2, 1, 0, ipi(2), 2);
    scheduler.run((actions, s) => {
      seen.push(actions);
      return choose(actions, s);
    });
    expect(seen[5]).toContain(ipi(2));
    expect(seen[5]).not.toContain(ipi(1));
    expect(seen[5]).not.toContain(0);
    expect(events).toEqual(['interrupts on', 'flushed']);
  });

  it('until a CPU has taken it, it uses what it has', () => {
    const p = processWithPages();
    const load = function* (): Op<number> {
      return yield* userLoad(p.mm, get(p.mm, Mm.pgd), VPN);
    };
    const scheduler = tasks([unmap(p, VPN, false), load], { ipis: true });
    // It reads, the entry goes, it reads again.
    expect(bugOf(() => scheduler.run(following(1, 1)))).toMatch(/^I4/);
    expect(entryAt(1, 0, 0)).toBeGreaterThan(0);
  });
});
