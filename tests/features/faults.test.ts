/** The rows of the feature table on faults, copy on write, reverse mappings and counters, and on formats of tables in use, as the machine shows them. */
import { describe, expect, it } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { loadEntry } from '../../src/kernel/arch.ts';
import { mmuEntry } from '../../src/kernel/mmu.ts';
import { type Op, operations, pending } from '../../src/kernel/op.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { PAGE, type PageView } from '../../src/machine/proc/view.ts';
import type { Process } from '../../src/machine/process.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { get } from '../../src/memory/heap.ts';
import { PG_TABLE } from '../../src/memory/page-flags.ts';
import { pageFlags, pageMapcount, pageOfPfn } from '../../src/memory/state.ts';
import { checkFaultResult, faultFlagsText, faultResultText, sanitizeFaultFlags } from '../../src/mm/fault-flags.ts';
import * as mm from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { handleMmFault } from '../../src/mm/memory.ts';
import { Mm } from '../../src/mm/types.ts';
import { VM_MAYWRITE, VM_SHARED, VM_WRITE } from '../../src/mm/vm-flags.ts';
import { findVma } from '../../src/mm/vma-tree.ts';
import * as vmf from '../../src/mm/vmf.ts';
import { codecMissing, PTE_WRITE, userLimits } from '../../src/pagetable/canonical.ts';
import { tableDifferences } from '../machine/tables.ts';

const P = 4096;
const A = 0x1000_0000;
const FILE = 0x2000_0000;
const BUFFER = 0x3000_0000;

const fresh = (options: MachineOptions = {}): Process => {
  const p = new Machine({ ramBytes: 2 ** 26, ...options }).spawn();
  expect(p.syscall('mmap', BUFFER, 2 * p.machine.pageSize, 3, 0x32, -1, 0)).toBe(BUFFER);
  p.store(BigInt(BUFFER), 1, 0x66n);
  return p;
};
const map = (p: Process, at: number, pages: number, flags = 0x32, fd = -1, prot = 3): void =>
  expect(p.syscall('mmap', at, pages * p.machine.pageSize, prot, flags, fd, 0)).toBe(at);
/** A new memfd of some pages. */
const memfd = (p: Process, pages: number): number => {
  const fd = p.syscall('memfd_create', BUFFER, 0);
  expect(p.syscall('ftruncate', fd, pages * P)).toBe(0);
  return fd;
};
const load = (p: Process, at: number): unknown => p.load(BigInt(at), 1);
const store = (p: Process, at: number, value = 1): unknown => p.store(BigInt(at), 1, BigInt(value));
const pages = (p: Process): PageView[] => viewProcess(p.machine, p.ref, 0).vmas.flatMap((vma) => [...vma.pages]);
const pageAt = (p: Process, at: number): PageView | undefined => pages(p).find((page) => page.vpn === at / P);
const writable = (p: Process, at: number): boolean => {
  const ptep = mmuEntry(get(p.mm, Mm.pgd), at / P);
  return (loadEntry(ptep, 0) & PTE_WRITE) !== 0;
};
const has = (page: PageView | undefined, flag: number): boolean => page !== undefined && (page.flags & flag) !== 0;
const sound = (p: Process): void => {
  p.machine.enter();
  expect(checkMachine()).toEqual([]);
};
/** Names of the operations of kernel code that runs alone. */
const steps = (op: Op<number>): string[] => {
  const names: string[] = [];
  while (!op.next().done) names.push(operations[pending.code].name);
  return names;
};

describe('tables in use', () => {
  const modes = allModes().filter((m) => codecMissing(m) === undefined);

  it('F001, F002, F003, F014, F117: in every mode pages on both sides of each border of tables, and at the end of user space, are mapped at the lowest level, through the real levels alone', () => {
    let borders = 0;
    for (const { name } of modes) {
      const machine = new Machine({ mode: name, ramBytes: 2 ** 28 });
      const p = machine.spawn();
      const { levels } = machine.codec;
      const size = machine.pageSize;
      const { mapWindow } = userLimits(machine.codec.mode);
      const empty = get(p.mm, Mm.pgtablesBytes);
      let value = 1;
      const top = Math.min(mapWindow, userLimits(machine.codec.mode).taskSize) - size;
      for (const border of [...levels.slice(1).map((level) => 2 ** level.shift), top]) {
        if (border > top) continue;
        map(p, border - size, 2, 0x4032);
        for (const at of [border - size, border + size - 1]) {
          expect([name, store(p, at, value)]).toEqual([name, undefined]);
          expect(load(p, at)).toBe(BigInt(value++));
        }
        borders++;
        // The walker that reads dumps finds the same pages, and each as a leaf of the lowest level.
        expect([name, tableDifferences(machine, p)]).toEqual([name, []]);
      }
      // Levels that are folded have no tables: no more are counted than the real ones below the top give.
      const tables = levels.slice(0, -1).reduce((sum, level) => sum + level.tableBytes, 0);
      expect(get(p.mm, Mm.pgtablesBytes) - empty).toBeLessThanOrEqual(tables * 2 * levels.length);
      expect(get(p.mm, Mm.pgtablesBytes)).toBeGreaterThan(empty);
      if (levels.length === 2) expect(levels.map((l) => l.name)).toEqual(['pte', 'pgd']);
      // All of it goes at once, whatever borders lie between.
      expect(p.syscall('munmap', size * 16, top + size - size * 16)).toBe(0);
      expect([name, get(p.mm, Mm.pgtablesBytes), pages(p)]).toEqual([name, empty, []]);
      p.exit();
      sound(p);
    }
    expect(borders).toBeGreaterThan(modes.length);
  }, 60_000);
});

describe('faults', () => {
  it('F148 each kind of fault ends as it should', () => {
    const p = fresh();
    const fd = memfd(p, 2);
    map(p, A, 8);
    map(p, FILE, 4, 0x11, fd);
    map(p, FILE + 8 * P, 2, 0x12, fd);
    // Missing and anonymous: reads share the page of zeroes, writes have one of their own, also afterwards.
    expect(load(p, A)).toBe(0n);
    expect(pageAt(p, A)?.kind).toBe('zero');
    store(p, A + P);
    store(p, A);
    expect([A, A + P].map((at) => [pageAt(p, at)?.kind, has(pageAt(p, at), PAGE.ANON)])).toEqual([
      ['page', true],
      ['page', true],
    ]);
    // Of a file: shared pages are the file's, a private write makes a copy.
    store(p, FILE, 7);
    expect(load(p, FILE + 8 * P)).toBe(7n);
    expect(pageAt(p, FILE + 8 * P)?.key).toBe(pageAt(p, FILE)?.key);
    store(p, FILE + 8 * P, 8);
    expect(has(pageAt(p, FILE + 8 * P), PAGE.ANON)).toBe(true);
    expect(load(p, FILE)).toBe(7n);
    // Beyond the file, guarded, not mapped, not allowed.
    expect(load(p, FILE + 2 * P)).toEqual({ signal: 7, code: 2, address: BigInt(FILE + 2 * P) });
    expect(p.syscall('madvise', A + 4 * P, P, 102)).toBe(0);
    expect(load(p, A + 4 * P)).toMatchObject({ signal: 11 });
    expect(load(p, A + 8 * P)).toEqual({ signal: 11, code: 1, address: BigInt(A + 8 * P) });
    p.syscall('mprotect', A, P, 1);
    expect(store(p, A)).toEqual({ signal: 11, code: 2, address: BigInt(A) });
    expect(p.fetch(BigInt(A))).toEqual({ signal: 11, code: 2, address: BigInt(A) });
    sound(p);
  });

  it('F149, F151: codes and flags are numbered as in Linux', () => {
    const codes: [string, number][] = [
      ['OOM', 1],
      ['SIGBUS', 2],
      ['MAJOR', 4],
      ['HWPOISON', 0x10],
      ['SIGSEGV', 0x40],
      ['NOPAGE', 0x100],
      ['LOCKED', 0x200],
      ['RETRY', 0x400],
      ['FALLBACK', 0x800],
      ['DONE_COW', 0x1000],
      ['NEEDDSYNC', 0x2000],
      ['COMPLETED', 0x4000],
    ];
    const of = vmf as unknown as Record<string, number>;
    for (const [name, value] of codes) expect([name, of[`VM_FAULT_${name}`]]).toEqual([name, value]);
    const flags = 'WRITE MKWRITE ALLOW_RETRY RETRY_NOWAIT KILLABLE TRIED USER REMOTE INSTRUCTION INTERRUPTIBLE UNSHARE ORIG_PTE_VALID VMA_LOCK'.split(' ');
    flags.forEach((name, bit) => {
      expect([name, of[`FAULT_FLAG_${name}`]]).toEqual([name, 2 ** bit]);
    });
  });

  it('F149 results print as names, HWPOISON and HWPOISON_LARGE never together', () => {
    const { VM_FAULT_HWPOISON, VM_FAULT_HWPOISON_LARGE, VM_FAULT_MAJOR, VM_FAULT_RETRY } = vmf;
    expect(faultResultText(0)).toBe('0');
    expect(faultResultText(VM_FAULT_MAJOR | VM_FAULT_RETRY)).toBe('MAJOR|RETRY');
    // VM_FAULT_HINDEX_MASK: the pool of a poisoned huge page.
    expect(faultResultText(VM_FAULT_HWPOISON_LARGE | vmf.faultSetHindex(3))).toBe('HWPOISON_LARGE(3)');
    expect(faultResultText(0x7f77)).toBe('OOM|SIGBUS|MAJOR|HWPOISON|HWPOISON_LARGE(0)|SIGSEGV|NOPAGE|LOCKED|RETRY|FALLBACK|DONE_COW|NEEDDSYNC|COMPLETED');
    expect(faultResultText(0x8 | 0x80)).toBe('0x88');
    for (const one of [VM_FAULT_HWPOISON, VM_FAULT_HWPOISON_LARGE | vmf.faultSetHindex(1)]) expect(() => checkFaultResult(one)).not.toThrow();
    expect(() => checkFaultResult(VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE)).toThrow(/HWPOISON\|HWPOISON_LARGE\(0\)/);
  });

  it('F151 flags print as names; a fault with a combination that cannot be is refused before it begins', () => {
    const { FAULT_FLAG_ALLOW_RETRY, FAULT_FLAG_RETRY_NOWAIT, FAULT_FLAG_TRIED, FAULT_FLAG_UNSHARE, FAULT_FLAG_VMA_LOCK, FAULT_FLAG_WRITE } = vmf;
    expect(faultFlagsText(FAULT_FLAG_WRITE | FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_TRIED)).toBe('WRITE|ALLOW_RETRY|TRIED');
    expect(faultFlagsText(0)).toBe('0');
    expect(faultFlagsText(0x1fff).split('|')).toHaveLength(13);
    const p = fresh();
    map(p, A, 1);
    map(p, A + P, 1, 0x31, -1, 1);
    const fault = (at: number, flags: number): Op<number> => handleMmFault(findVma(p.mm, at / P), at / P, flags);
    const refused = (at: number, flags: number, why: RegExp): void => expect(() => fault(at, flags).next()).toThrow(why);
    refused(A, FAULT_FLAG_TRIED, /a fault with TRIED: a second try/);
    refused(A, FAULT_FLAG_TRIED | FAULT_FLAG_WRITE, /WRITE\|TRIED/);
    refused(A, FAULT_FLAG_UNSHARE | FAULT_FLAG_WRITE, /WRITE\|UNSHARE/);
    refused(A, FAULT_FLAG_VMA_LOCK | FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT, /RETRY_NOWAIT\|VMA_LOCK/);
    // Shared, and not to be written: force is for private mappings.
    refused(A + P, FAULT_FLAG_WRITE, /by force/);
    for (const flags of [0, FAULT_FLAG_WRITE, FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_TRIED, FAULT_FLAG_UNSHARE])
      expect(() => fault(A, flags).next(), faultFlagsText(flags)).not.toThrow();
    expect(sanitizeFaultFlags(VM_SHARED | VM_MAYWRITE | VM_WRITE, FAULT_FLAG_UNSHARE)).toBe(0);
    expect(sanitizeFaultFlags(VM_MAYWRITE, FAULT_FLAG_UNSHARE)).toBe(FAULT_FLAG_UNSHARE);
  });

  it('F152 who pins a page for reading that copy on write shares has a private one made, which the entry may not write', () => {
    const p = fresh();
    map(p, A, 1);
    store(p, A, 5);
    const child = p.fork();
    const shared = pageAt(p, A)?.key;
    expect([pageAt(child, A)?.key, has(pageAt(child, A), PAGE.ANON_EXCLUSIVE)]).toEqual([shared, false]);
    // process_vm_readv() pins.
    const vector = new DataView(new ArrayBuffer(32));
    [BUFFER + P, 8, A, 8].forEach((word, i) => {
      vector.setBigUint64(i * 8, BigInt(word), true);
    });
    p.write(BigInt(BUFFER), new Uint8Array(vector.buffer));
    expect(p.syscall('process_vm_readv', child.pid, BUFFER, 1, BUFFER + 16, 1, 0)).toBe(8);
    expect(load(p, BUFFER + P)).toBe(5n);
    expect(pageAt(p, A)?.key).toBe(shared);
    const own = pageAt(child, A);
    expect(own?.key).not.toBe(shared);
    expect([has(own, PAGE.ANON_EXCLUSIVE), writable(child, A)]).toEqual([true, false]);
    // The first write goes to that very page.
    store(child, A, 6);
    expect([pageAt(child, A)?.key, load(p, A)]).toEqual([own?.key, 5n]);
    sound(p);
  });
});

describe('copy on write', () => {
  it('F153 after fork the first write copies, once, and the last owner takes the page', () => {
    const p = fresh();
    map(p, A, 1);
    store(p, A, 1);
    const first = pageAt(p, A)?.key;
    const child = p.fork();
    expect([pageAt(p, A), pageAt(child, A)].map((page) => [page?.key, page?.mapcount])).toEqual([
      [first, 2],
      [first, 2],
    ]);
    expect([p, child].map((q) => writable(q, A))).toEqual([false, false]);
    store(child, A, 2);
    const copy = pageAt(child, A)?.key;
    expect(copy).not.toBe(first);
    store(child, A, 3);
    expect(pageAt(child, A)?.key).toBe(copy);
    store(p, A, 4);
    expect([pageAt(p, A)?.key, pageAt(p, A)?.mapcount]).toEqual([first, 1]);
    expect([load(p, A), load(child, A)]).toEqual([4n, 3n]);
    // Also when the other one has not written but ended.
    const second = p.fork();
    second.exit();
    store(p, A, 5);
    expect(pageAt(p, A)?.key).toBe(first);
    sound(p);
  });

  it('F154 nobody sees later writes of another through a reference from before', () => {
    for (const taker of ['parent', 'child'] as const)
      for (const gone of ['munmap', 'madvise', 'write'] as const) {
        const p = fresh();
        map(p, A, 1);
        store(p, A, 0x11);
        expect(p.syscall('pipe2', BUFFER, 0)).toBe(0);
        const child = p.fork();
        const [q, other] = taker === 'parent' ? [p, child] : [child, p];
        const vector = new DataView(new ArrayBuffer(16));
        vector.setBigUint64(0, BigInt(A), true);
        vector.setBigUint64(8, 1n, true);
        q.write(BigInt(BUFFER + 16), new Uint8Array(vector.buffer));
        expect(q.syscall('vmsplice', 1, BUFFER + 16, 1, 0)).toBe(1);
        if (gone === 'munmap') expect(q.syscall('munmap', A, P)).toBe(0);
        if (gone === 'madvise') expect(q.syscall('madvise', A, P, 4)).toBe(0);
        if (gone === 'write') store(q, A, 0x22);
        store(other, A, 0x33);
        expect(q.syscall('read', 0, BUFFER + P, 1)).toBe(1);
        expect([taker, gone, load(q, BUFFER + P)]).toEqual([taker, gone, 0x11n]);
        expect(load(other, A)).toBe(0x33n);
        sound(p);
      }
  });

  it('F090 an anonymous page is exclusive to who made it, to nobody after fork, again to who reuses it', () => {
    const p = fresh();
    map(p, A, 1);
    store(p, A);
    expect(has(pageAt(p, A), PAGE.ANON_EXCLUSIVE)).toBe(true);
    const child = p.fork();
    expect([p, child].map((q) => has(pageAt(q, A), PAGE.ANON_EXCLUSIVE))).toEqual([false, false]);
    child.exit();
    store(p, A);
    expect(has(pageAt(p, A), PAGE.ANON_EXCLUSIVE)).toBe(true);
    sound(p);
  });
});

describe('entries, flushes and counters', () => {
  it('F161 the dirty bit of an entry that goes is not lost', () => {
    const ways: [string, (p: Process) => void][] = [
      ['munmap', (p) => expect(p.syscall('munmap', FILE, P)).toBe(0)],
      ['MADV_DONTNEED', (p) => expect(p.syscall('madvise', FILE, P, 4)).toBe(0)],
      ['MAP_FIXED', (p) => map(p, FILE, 1)],
      ['exit', (p) => p.exit()],
    ];
    for (const [name, way] of ways) {
      const p = fresh();
      const fd = memfd(p, 1);
      map(p, FILE, 1, 0x11, fd);
      const q = p.fork();
      // A page that was read is mapped clean and writable: the CPU alone sets the dirty bit.
      load(q, FILE);
      expect([has(pageAt(q, FILE), PAGE.ENTRY_DIRTY), writable(q, FILE)]).toEqual([false, true]);
      store(q, FILE, 9);
      expect(has(pageAt(q, FILE), PAGE.ENTRY_DIRTY)).toBe(true);
      way(q);
      load(p, FILE);
      expect([name, has(pageAt(p, FILE), PAGE.DIRTY), load(p, FILE)]).toEqual([name, true, 9n]);
      sound(p);
    }
  });

  it('F163 many entries are cleared, then one range is flushed', () => {
    const p = fresh();
    map(p, A, 500);
    const calls: [string, () => Op<number>][] = [
      ['madvise', () => mm.sysMadvise(p.ref, A, 500 * P, 4)],
      ['munmap', () => mm.sysMunmap(p.ref, A, 400 * P)],
    ];
    for (const [name, call] of calls) {
      for (let i = 0; i < 500; i++) store(p, A + i * P);
      p.machine.enter();
      const names = steps(call());
      const count = (n: string): number => names.filter((s) => s === n).length;
      expect([name, count('flushTlbRange') + count('flushTlbMm')]).toEqual([name, 1]);
      expect(count('entryGetAndClear')).toBeGreaterThanOrEqual(400);
      // No page is let go before.
      expect(names.indexOf('freePage')).toBeGreaterThan(names.indexOf('flushTlbRange'));
    }
    sound(p);
  });

  it('F167 counters are the sum of what tables map', () => {
    const p = fresh();
    const fd = memfd(p, 4);
    map(p, A, 8);
    map(p, FILE, 4, 0x11, fd);
    map(p, FILE + 8 * P, 4, 0x12, fd);
    for (let i = 0; i < 3; i++) store(p, A + i * P);
    load(p, A + 5 * P);
    for (let i = 0; i < 4; i++) load(p, FILE + i * P);
    store(p, FILE + 8 * P);
    const sum = (): number[] => {
      const mapped = pages(p).filter((page) => page.kind === 'page');
      const anon = mapped.filter((page) => has(page, PAGE.ANON)).length;
      const shmem = mapped.filter((page) => !has(page, PAGE.ANON) && has(page, PAGE.SWAPBACKED)).length;
      return [anon, mapped.length - anon - shmem, shmem];
    };
    const counters = (): number[] => {
      const c = viewProcess(p.machine, p.ref, 0).counters;
      return [c.rssAnon, c.rssFile, c.rssShmem];
    };
    expect(counters()).toEqual(sum());
    expect(counters()[0]).toBe(5);
    for (const call of [
      () => p.syscall('munmap', FILE, P),
      () => p.syscall('madvise', A, 2 * P, 4),
      () => p.syscall('mremap', A + 2 * P, P, P, 3, A + 100 * P),
      () => p.syscall('ftruncate', fd, P),
    ]) {
      expect(call()).toBeGreaterThanOrEqual(0);
      expect(counters()).toEqual(sum());
    }
    sound(p);
  });

  it('F169 bytes of page tables come with tables and go with them, and none are left at exit', () => {
    const p = fresh();
    const tables = (): number => {
      p.machine.enter();
      return pageFlags.filter((flags) => (flags & PG_TABLE) !== 0).length;
    };
    const bytes = (q: Process): number => viewProcess(q.machine, q.ref, 0).counters.pageTableBytes;
    const before = bytes(p);
    map(p, 0x40_0000_0000, 1);
    store(p, 0x40_0000_0000);
    // Another pmd and page table.
    expect(bytes(p) - before).toBeGreaterThanOrEqual(2 * P);
    expect(p.syscall('munmap', 0x40_0000_0000, P)).toBe(0);
    expect(bytes(p)).toBe(before);
    const own = tables();
    const child = p.fork();
    store(child, 0x3000_0000);
    map(child, 0x50_0000_0000, 1);
    store(child, 0x50_0000_0000);
    expect(tables()).toBe(own + 6);
    child.exit();
    expect(tables()).toBe(own);
    p.exit();
    expect(tables()).toBe(0);
    sound(p);
  });

  it('F171 a page is found wherever it is mapped', () => {
    const p = fresh();
    const fd = memfd(p, 4);
    map(p, FILE, 4, 0x11, fd);
    map(p, FILE + 8 * P, 4, 0x12, fd);
    const child = p.fork();
    map(child, FILE + 16 * P, 2, 0x11, fd);
    expect(child.syscall('mremap', FILE + P, P, P, 3, FILE + 64 * P)).toBe(FILE + 64 * P);
    expect(p.syscall('mprotect', FILE + P, P, 1)).toBe(0);
    const places: [Process, number][] = [
      [p, FILE + P],
      [p, FILE + 9 * P],
      [child, FILE + 64 * P],
      [child, FILE + 9 * P],
      [child, FILE + 17 * P],
    ];
    for (const [q, at] of places) expect(load(q, at)).toBe(0n);
    const page = pageOfPfn(pageAt(p, FILE + P)?.key ?? 0);
    expect(pageMapcount[page]).toBe(5);
    // Truncation takes the page from all, through the tree of the file.
    expect(p.syscall('ftruncate', fd, P)).toBe(0);
    for (const [q, at] of places) expect(load(q, at)).toMatchObject({ signal: 7 });
    // An anonymous one is found through the chain of processes, also where it was moved.
    map(p, A, 1);
    store(p, A, 7);
    expect(p.syscall('madvise', A, P, 8)).toBe(0);
    const family = [p, p.fork()];
    family.push(family[1].fork());
    expect(family[2].syscall('mremap', A, P, P, 3, A + 64 * P)).toBe(A + 64 * P);
    const anon = pageOfPfn(pageAt(p, A)?.key ?? 0);
    expect(pageMapcount[anon]).toBe(3);
    p.machine.enter();
    const { kernel } = p.machine;
    expect(kernel.folioIsolateLru(anon)).toBe(1);
    expect(kernel.shrinkFolio(anon, 1)).toBe(1);
    expect([load(p, A), load(family[1], A), load(family[2], A + 64 * P)]).toEqual([0n, 0n, 0n]);
    sound(p);
  });
});
