/** The rows of the feature table on VMAs and the mmap family that the machine shows through its public face. What Linux answers is recorded in tests/mm. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { setCurrent } from '../../src/kernel/current.ts';
import { type Op, operations, pending } from '../../src/kernel/op.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import { mapsText } from '../../src/machine/proc/maps.ts';
import type { Process } from '../../src/machine/process.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { get, set } from '../../src/memory/heap.ts';
import * as mm from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Mm, Process as ProcessStruct } from '../../src/mm/types.ts';

const P = 4096;
const A = 0x1000_0000;
const [RW, PRIVATE_ANON, FIXED, NOREPLACE] = [3, 0x22, 0x10, 0x100000];
const [EPERM, ENOMEM, EEXIST, EINVAL] = [-1, -12, -17, -22];

const fresh = (options: MachineOptions = {}): Process => new Machine({ ramBytes: 2 ** 26, ...options }).spawn();
const map = (p: Process, at: number, pages: number, flags = PRIVATE_ANON | FIXED, prot = RW): number => p.syscall('mmap', at, pages * P, prot, flags, -1, 0);
const load = (p: Process, at: number): unknown => p.load(BigInt(at), 1);
const store = (p: Process, at: number, value = 1): unknown => p.store(BigInt(at), 1, BigInt(value));
const segv = (at: number, code = 1): unknown => ({ signal: 11, code, address: BigInt(at) });
/** VMAs as [first page from A, pages, permissions]. */
const vmas = (p: Process): [number, number, string][] =>
  mapsText(viewProcess(p.machine, p.ref, 0))
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [, from, to, perms] = /^(\w+)-(\w+) (\S+)/.exec(line) as RegExpExecArray;
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      return [(start - A) / P, (end - start) / P, perms];
    });
const sound = (p: Process): void => {
  p.machine.enter();
  expect(checkMachine()).toEqual([]);
};

/** Runs kernel code alone; what it did, operation by operation, with what `look` says of the moment before each. */
function phases(op: Op<number>, look: (first: number) => string): { result: number; steps: string[] } {
  const steps: string[] = [];
  for (;;) {
    const step = op.next();
    if (step.done) return { result: step.value, steps };
    steps.push(`${operations[pending.code].name} ${look(pending.a)}`);
  }
}

describe('mmap', () => {
  it('F120 a hint that is taken gives another address, an unknown flag nothing', () => {
    const p = fresh();
    expect(map(p, A, 2, PRIVATE_ANON)).toBe(A);
    store(p, A + P, 7);
    const other = map(p, A + P, 1, PRIVATE_ANON);
    expect(other).not.toBe(A + P);
    expect(load(p, A + P)).toBe(7n);
    expect(load(p, other)).toBe(0n);
    // A hint within a page is rounded.
    expect(map(p, A + 0x10005, 1, PRIVATE_ANON)).toBe(A + 0x10000);
    expect(map(p, 0x20000, 1, PRIVATE_ANON | 0x200000)).toBe(0x20000);
    expect(map(p, A + 8 * P, 1, PRIVATE_ANON | 0x800000)).toBe(A + 8 * P);
    sound(p);
  });

  it('F121 MAP_FIXED takes just that place, and what was there is gone', () => {
    const p = fresh();
    map(p, A, 4);
    for (let i = 0; i < 4; i++) store(p, A + i * P, i + 1);
    expect(map(p, A + P, 2, PRIVATE_ANON | FIXED, 1)).toBe(A + P);
    expect([0, 1, 2, 3].map((i) => load(p, A + i * P))).toEqual([1n, 0n, 0n, 4n]);
    expect(vmas(p)).toEqual([
      [0, 1, 'rw-p'],
      [1, 2, 'r--p'],
      [3, 1, 'rw-p'],
    ]);
    expect(map(p, A + 1, 1)).toBe(EINVAL);
    expect(map(p, 2 ** 47 - P, 1)).toBe(ENOMEM);
    sound(p);
  });

  it('F122 MAP_FIXED_NOREPLACE: free range exactly, one page in the way is EEXIST and stays', () => {
    const p = fresh({ settings: { mmapMinAddr: 0x10000 } });
    expect(map(p, A + 8 * P, 1)).toBe(A + 8 * P);
    store(p, A + 8 * P, 9);
    for (const flags of [NOREPLACE, NOREPLACE | FIXED]) {
      // Over its whole width, and with one page at either end of the range.
      for (const [first, pages] of [
        [8, 1],
        [1, 8],
        [8, 3],
        [4, 10],
      ])
        expect(map(p, A + first * P, pages, PRIVATE_ANON | flags)).toBe(EEXIST);
      expect(map(p, A + 1, 1, PRIVATE_ANON | flags)).toBe(EINVAL);
    }
    expect(load(p, A + 8 * P)).toBe(9n);
    expect(map(p, A, 8, PRIVATE_ANON | NOREPLACE)).toBe(A);
    expect(map(p, A + 9 * P, 1, PRIVATE_ANON | NOREPLACE | FIXED)).toBe(A + 9 * P);
    // The place is not rounded up to mmap_min_addr, as a hint is: who may not have it is told so.
    set(p.ref, ProcessStruct.capsLow, 0);
    set(p.ref, ProcessStruct.capsHigh, 0);
    expect(map(p, 0x1000, 1, PRIVATE_ANON | NOREPLACE)).toBe(EPERM);
    expect(map(p, 0x1000, 1, PRIVATE_ANON)).toBe(0x10000);
    sound(p);
  });

  it('F124 of threads that want one range with MAP_FIXED_NOREPLACE one gets it, the others EEXIST', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2), { minLength: 1, maxLength: 60 }), fc.array(fc.nat(6), { minLength: 3, maxLength: 3 }), (order, firsts) => {
        const p = fresh();
        p.machine.enter();
        // Ranges of seven pages from 0 to 6: each overlaps each.
        const ops = firsts.map((first) => mm.sysMmap(p.ref, A + first * P, 7 * P, RW, PRIVATE_ANON | NOREPLACE, -1, 0));
        const codes = ops.map(() => ({ code: 0, args: [0, 0, 0, 0] as [number, number, number, number] }));
        const results: (number | undefined)[] = ops.map(() => undefined);
        const advance = (i: number): void => {
          setCurrent(i);
          const step = ops[i].next();
          if (step.done) results[i] = step.value;
          codes[i] = { code: pending.code, args: [pending.a, pending.b, pending.c, pending.d] };
        };
        ops.forEach((_, i) => advance(i));
        for (let n = 0; results.includes(undefined); n++) {
          const able = [0, 1, 2].filter((i) => results[i] === undefined && (operations[codes[i].code].enabled?.(...codes[i].args) ?? true));
          expect(able.length).toBeGreaterThan(0);
          advance(able[order[n % order.length] % able.length]);
        }
        setCurrent(0);
        const winners = results.flatMap((r, i) => (r === EEXIST ? [] : [i]));
        expect(winners).toHaveLength(1);
        expect(results[winners[0]]).toBe(A + firsts[winners[0]] * P);
        expect(vmas(p)).toEqual([[firsts[winners[0]], 7, 'rw-p']]);
        sound(p);
      }),
      { numRuns: 150 },
    );
  });

  it('F127 what loaders, allocators and GPU runtimes do', () => {
    const p = fresh();
    // A loader tries places until one is free.
    const taken = [3, 5, 9].map((i) => map(p, A + i * 16 * P, 16));
    let placed = 0;
    for (let i = 3; placed === 0; i += 2) if (map(p, A + i * 16 * P, 16, PRIVATE_ANON | NOREPLACE) > 0) placed = A + i * 16 * P;
    expect(placed).toBe(A + 7 * 16 * P);
    // An allocator asks for twice as much as it wants aligned, and gives back the ends.
    const wide = map(p, 0, 2048, PRIVATE_ANON);
    const aligned = Math.ceil(wide / 0x400000) * 0x400000;
    if (aligned > wide) expect(p.syscall('munmap', wide, aligned - wide)).toBe(0);
    expect(p.syscall('munmap', aligned + 0x400000, wide + 0x800000 - aligned - 0x400000)).toBe(0);
    expect(store(p, aligned + 0x3fffff)).toBeUndefined();
    expect(store(p, aligned + 0x400000)).toEqual(segv(aligned + 0x400000));
    // A runtime finds a hole in /proc/PID/maps, keeps it, maps inside and frees with PROT_NONE.
    const text = mapsText(viewProcess(p.machine, p.ref, 0));
    const ends = text.split('\n').slice(0, -1);
    const hole = Number.parseInt(ends[ends.findIndex((line) => line.startsWith((A + 144 * P).toString(16)))].split(/[- ]/)[1], 16);
    expect(hole).toBe(A + 160 * P);
    expect(map(p, hole, 256, PRIVATE_ANON | FIXED | 0x4000, 0)).toBe(hole);
    expect(map(p, hole + 8 * P, 4)).toBe(hole + 8 * P);
    store(p, hole + 8 * P, 5);
    expect(map(p, hole + 8 * P, 4, PRIVATE_ANON | FIXED | 0x4000, 0)).toBe(hole + 8 * P);
    expect(load(p, hole + 8 * P)).toEqual(segv(hole + 8 * P, 2));
    expect(vmas(p).find(([first]) => first === 144)).toEqual([144, 16, 'rw-p']);
    expect(vmas(p).find(([first]) => first === 160)).toEqual([160, 256, '---p']);
    expect(taken).toEqual([A + 48 * P, A + 80 * P, A + 144 * P]);
    sound(p);
  });
});

describe('munmap, mprotect, madvise', () => {
  it('F129 munmap takes VMAs out under the write lock, downgrades it, then clears pages and tables', () => {
    const p = fresh();
    map(p, A, 3);
    for (let i = 0; i < 3; i++) store(p, A + i * P);
    p.machine.enter();
    const ref = p.mm;
    const { result, steps } = phases(mm.sysMunmap(p.ref, A, 3 * P), (lock) => `${get(ref, Mm.mapCount)} ${lock}`);
    expect(result).toBe(0);
    const first = (name: string): number => steps.findIndex((s) => s.startsWith(`${name} `));
    const order = ['downWrite', 'downgradeWrite', 'entryGetAndClear', 'flushTlbRange', 'freePage', 'upRead'].map(first);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(Math.min(...order)).toBeGreaterThanOrEqual(0);
    // No VMA is there any more when readers come in; no page has gone before.
    expect([steps[order[0]], steps[order[1]]]).toEqual([`downWrite 1 ${ref + Mm.mmapLock}`, `downgradeWrite 0 ${ref + Mm.mmapLock}`]);
    expect(steps.filter((s) => s.startsWith('upWrite ') && s.endsWith(` ${ref + Mm.mmapLock}`))).toHaveLength(0);
    expect(viewProcess(p.machine, p.ref, 0).counters).toMatchObject({ totalVm: 0, rssAnon: 0 });
    sound(p);
  });

  it('F133 a zap goes VMA by VMA, also over a hole', () => {
    const p = fresh();
    map(p, A, 2);
    map(p, A + 2 * P, 2, PRIVATE_ANON | FIXED, 7);
    map(p, A + 6 * P, 2);
    const places = [0, 1, 2, 3, 6, 7].map((i) => A + i * P);
    for (const at of places) store(p, at, 3);
    // All that is mapped is cleared, and the hole is told of.
    expect(p.syscall('madvise', A + P, 6 * P, 4)).toBe(ENOMEM);
    expect(places.map((at) => load(p, at))).toEqual([3n, 0n, 0n, 0n, 0n, 3n]);
    sound(p);
  });

  it('F134 MADV_DONTNEED: the next access sees zeroes, no CPU the old page', () => {
    const p = fresh({ cpus: 2 });
    map(p, A, 2);
    const tlb = p.machine.tlb;
    for (const cpu of [0, 1]) p.store(BigInt(A), 1, 5n, cpu);
    expect([0, 1].map((cpu) => tlb.lookup(cpu, A / P, 1) !== 0)).toEqual([true, true]);
    const before = viewProcess(p.machine, p.ref, 0).counters.rssAnon;
    expect(p.syscall('madvise', A, P, 4)).toBe(0);
    expect([0, 1].map((cpu) => tlb.lookup(cpu, A / P, 0))).toEqual([0, 0]);
    expect(viewProcess(p.machine, p.ref, 0).counters.rssAnon).toBe(before - 1);
    expect([0, 1].map((cpu) => p.load(BigInt(A), 1, cpu))).toEqual([0n, 0n]);
    expect(p.syscall('mlock', A, P)).toBe(0);
    expect(p.syscall('madvise', A, P, 4)).toBe(EINVAL);
    sound(p);
  });

  it('F137 mprotect splits and merges VMAs, changes entries, and no CPU keeps the old right', () => {
    const p = fresh({ cpus: 2 });
    map(p, A, 4);
    for (let i = 0; i < 4; i++) for (const cpu of [0, 1]) p.store(BigInt(A + i * P), 1, 1n, cpu);
    expect(p.syscall('mprotect', A + P, 2 * P, 1)).toBe(0);
    expect(vmas(p)).toEqual([
      [0, 1, 'rw-p'],
      [1, 2, 'r--p'],
      [3, 1, 'rw-p'],
    ]);
    expect([0, 1].map((cpu) => p.machine.tlb.lookup(cpu, A / P + 1, 1))).toEqual([0, 0]);
    expect([0, 1, 2, 3].map((i) => store(p, A + i * P, 2))).toEqual([undefined, segv(A + P, 2), segv(A + 2 * P, 2), undefined]);
    expect(p.syscall('mprotect', A + P, 2 * P, 0)).toBe(0);
    expect(load(p, A + P)).toEqual(segv(A + P, 2));
    expect(p.syscall('mprotect', A, 4 * P, RW)).toBe(0);
    expect(vmas(p)).toEqual([[0, 4, 'rw-p']]);
    expect([0, 1, 2, 3].map((i) => load(p, A + i * P))).toEqual([2n, 1n, 1n, 2n]);
    expect(p.syscall('mprotect', A + 3 * P, 2 * P, 1)).toBe(ENOMEM);
    sound(p);
  });
});

describe('layout and stacks', () => {
  const base = (p: Process): number => get(p.mm, Mm.mmapBase) * p.machine.pageSize;
  const layout = (p: Process, limit: number, top: number): number => {
    const ref = p.mm;
    p.machine.kernel.archPickMmapLayout(ref, limit, Math.floor(top / p.machine.pageSize));
    return base(p);
  };
  const TOP = 0x7ffffffff000;

  it('F130 mappings keep the layout of the limit that was taken once', () => {
    const p = fresh();
    const first = base(p);
    const limit = new Uint8Array(16);
    new DataView(limit.buffer).setBigUint64(0, 2n ** 34n, true);
    new DataView(limit.buffer).setBigUint64(8, 2n ** 64n - 1n, true);
    map(p, A, 1);
    p.write(BigInt(A), limit);
    expect(p.syscall('prlimit64', 0, 3, A, 0)).toBe(0);
    expect(base(p)).toBe(first);
    expect(p.syscall('mmap', 0, P, RW, PRIVATE_ANON, -1, 0)).toBe(first - P);
    expect(get(p.mm, Mm.execStackLimit)).toBe(8 * 2 ** 20);
    // A child goes on with the layout of its parent.
    expect(base(p.fork())).toBe(first);
  });

  it('F131 the base of mappings follows from the stack limit: at least 128 MiB, at most five sixths below the stack', () => {
    const p = fresh();
    const guard = 256 * P;
    expect(layout(p, 8 * 2 ** 20, TOP)).toBe(TOP - 128 * 2 ** 20);
    expect(layout(p, 2 ** 30, TOP)).toBe(TOP - 2 ** 30 - guard);
    expect(layout(p, 2 ** 46, TOP)).toBe(TOP - 2 ** 46 - guard);
    // Five sixths, and what is left of the division stays below.
    expect(layout(p, -1, TOP)).toBeGreaterThanOrEqual(Math.floor(TOP / 6));
    expect(layout(p, -1, TOP)).toBeLessThan(TOP / 6 + 2 * P);
    // Where x86-64 has its own rule: an unlimited stack means bottom-up elsewhere, from a third of user space.
    const q = fresh({ mode: 'x86-pae' });
    expect(layout(q, -1, 0xbffff000)).toBe(0x40000000);
    expect(q.syscall('mmap', 0, P, RW, PRIVATE_ANON, -1, 0)).toBe(0x40000000);
    expect(q.syscall('mmap', 0, P, 1, PRIVATE_ANON, -1, 0)).toBe(0x40001000);
    expect(layout(q, 8 * 2 ** 20, 0xbffff000)).toBe(0xbffff000 - 128 * 2 ** 20);
    expect(q.syscall('mmap', 0, P, RW, PRIVATE_ANON, -1, 0)).toBe(0xbffff000 - 128 * 2 ** 20 - P);
  });

  it('F132 a stack grows to its limit, and never near a neighbour', () => {
    const p = fresh();
    const stack = 0x2000_0000;
    expect(map(p, stack, 2, PRIVATE_ANON | FIXED | 0x100)).toBe(stack);
    expect(store(p, stack - 3 * P)).toBeUndefined();
    // 256 pages stay free between the stack and what lies below it.
    expect(map(p, stack - 300 * P, 1)).toBe(stack - 300 * P);
    expect(store(p, stack - 43 * P)).toBeUndefined();
    expect(store(p, stack - 44 * P)).toEqual(segv(stack - 44 * P));
    expect(store(p, stack - 299 * P)).toEqual(segv(stack - 299 * P));
    // And mmap() gives nobody a place in the gap.
    expect(map(p, stack - 60 * P, 1, PRIVATE_ANON)).not.toBe(stack - 60 * P);
    expect(p.syscall('munmap', stack - 300 * P, P)).toBe(0);
    const limit = 8 * 2 ** 20;
    expect(store(p, stack + 2 * P - limit)).toBeUndefined();
    expect(store(p, stack + 2 * P - limit - P)).toEqual(segv(stack + 2 * P - limit - P));
    sound(p);
  });
});

describe('locks', () => {
  const names = (op: Op<number>): string[] => phases(op, () => '').steps.map((s) => s.trim());

  it('F142 a fault runs under the lock of its VMA; one that must read takes the mmap lock', () => {
    const p = fresh();
    map(p, A, 2);
    p.write(BigInt(A), new TextEncoder().encode('/var/tmp/pxd/f\0'));
    const fd = p.syscall('open', A, 0o102, 0o600);
    p.syscall('pwrite64', fd, A, 10, 0);
    p.syscall('fsync', fd);
    p.syscall('fadvise64', fd, 0, 0, 4);
    expect(p.syscall('mmap', A + 8 * P, P, RW, 0x11, fd, 0)).toBe(A + 8 * P);
    const ref = p.mm;
    const anonymous = names(mm.userFault(ref, A / P + 1, 1));
    expect(anonymous).toContain('vmaReadTrylock');
    expect(anonymous).toContain('vmaReadUnlock');
    expect(anonymous).not.toContain('downRead');
    // Outside of all VMAs the mmap lock is asked.
    const nowhere = names(mm.userFault(ref, A / P + 100, 1));
    expect(nowhere).not.toContain('vmaReadTrylock');
    expect(nowhere).toContain('downRead');
    // The page is not in the cache: the fault starts a read, lets go of its lock, and comes again.
    const reads = names(mm.userFault(ref, A / P + 8, 0));
    expect(reads.indexOf('vmaReadTrylock')).toBeLessThan(reads.indexOf('vmaReadUnlock'));
    expect(reads.lastIndexOf('downRead')).toBeGreaterThan(reads.indexOf('vmaReadUnlock'));
    sound(p);
  });

  it('F147 what the other calls of the family refuse', () => {
    const p = fresh();
    map(p, A, 4);
    map(p, A + 8 * P, 1, PRIVATE_ANON | FIXED, 0);
    const [EBADF, EFAULT] = [-9, -14];
    const table: [string, (number | bigint)[], number][] = [
      ['munlock', [A, 4 * P], 0],
      ['mlock', [A + 3 * P, 2 * P], ENOMEM],
      ['mlock', [A, -P], EINVAL],
      ['mlock2', [A, P, 2], EINVAL],
      ['mlockall', [0], EINVAL],
      ['mlockall', [4], EINVAL],
      ['mlockall', [8], EINVAL],
      ['munlockall', [], 0],
      ['msync', [A + 1, P, 4], EINVAL],
      ['msync', [A, P, 5], EINVAL],
      ['msync', [A, 8 * P, 4], ENOMEM],
      ['mincore', [A + 1, P, A], EINVAL],
      ['mincore', [A + 4 * P, P, A], ENOMEM],
      ['mincore', [A, P, A + 8 * P], EFAULT],
      ['madvise', [A, P, 1000], EINVAL],
      ['madvise', [A + 1, P, 4], EINVAL],
      ['madvise', [A + 4 * P, P, 4], ENOMEM],
      ['process_madvise', [99, A, 1, 4, 0], EBADF],
      ['remap_file_pages', [A, P, 0, 0, 0], EINVAL],
      ['pkey_mprotect', [A, P, 1, 3], EINVAL],
      ['pkey_alloc', [1, 0], EINVAL],
      ['mseal', [A, P, 1], EINVAL],
      ['mseal', [A + 1, P, 0], EINVAL],
      ['mseal', [A + 3 * P, 2 * P, 0], ENOMEM],
      ['mseal', [A, P, 0], 0],
      ['munmap', [A, P], EPERM],
      ['mprotect', [A, P, 1], EPERM],
      ['mmap', [A, P, 3, 0x32, -1, 0], EPERM],
      ['mremap', [A, P, 2 * P, 1, 0], EPERM],
      ['madvise', [A, P, 4], 0],
    ];
    for (const [name, args, expected] of table)
      expect([name, ...args.map(String), p.syscall(name, ...(args as [number]))]).toEqual([name, ...args.map(String), expected]);
    // brk() tells errors by what it leaves as it was.
    const start = p.syscall('brk', 0);
    expect(p.syscall('brk', start + 3 * P)).toBe(start + 3 * P);
    expect(p.syscall('brk', 2 ** 47)).toBe(start + 3 * P);
    expect(p.syscall('brk', start)).toBe(start);
    sound(p);
  });
});
