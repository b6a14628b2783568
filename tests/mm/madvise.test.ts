/**
 * The insides of reclaim and advice: what no system call alone reaches (references, mappings of several processes), random histories whose machine holds together
 * after each step and is the same in all three programs, and every paging mode. What the kernel answers is in madvise-recorded.test.ts.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { ACCESS_READ, mmuAccess } from '../../src/kernel/mmu.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { compoundPages, folioEntireMapcount } from '../../src/memory/folio.ts';
import { get, set } from '../../src/memory/heap.ts';
import { PG_ACTIVE, PG_DIRTY, PG_LRU, PG_MLOCKED, PG_REFERENCED, PG_SWAPBACKED, PG_UNEVICTABLE } from '../../src/memory/page-flags.ts';
import { heap, pageFlags, pageMapcount, pageRefcount, SLOT_TOP, setPageFlags } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { allocPra, freePra, Pra } from '../../src/mm/pra.ts';
import { TTU_IGNORE_MLOCK } from '../../src/mm/rmap-walk.ts';
import { Globals, Mm } from '../../src/mm/types.ts';

const PAGE = 4096;
const BASE = 0x1000_0000;
const OTHER = 0x2000_0000;
const NORMAL = 0;
const SEQUENTIAL = 2;
const DONTNEED = 4;
const FREE = 8;
const COLD = 20;
const PAGEOUT = 21;
const GUARD_INSTALL = 102;
const GUARD_REMOVE = 103;

const fresh = (options: MachineOptions = {}): { machine: Machine; p: Process } => {
  const machine = new Machine({ ramBytes: 64 * 2 ** 20, ...options });
  return { machine, p: machine.spawn() };
};

/** Pages of a new memfd, mapped shared at an address; its descriptor. */
function memfd(p: Process, address: number, pages: number): number {
  // The name stands in a page of its own.
  p.syscall('mmap', 0x3000_0000, PAGE, 3, 0x32, -1, 0);
  p.store(0x3000_0000n, 1, 0x66n);
  const fd = p.syscall('memfd_create', 0x3000_0000, 0);
  p.syscall('ftruncate', fd, pages * PAGE);
  expect(p.syscall('mmap', address, pages * PAGE, 3, 0x11, fd, 0)).toBe(address);
  return fd;
}

/** The page behind an address that is mapped. Looking sets the accessed bit, as a load does. */
function pageAt(p: Process, address: number): number {
  const pgd = get(p.mm, Mm.pgd);
  return mmuAccess(pgd, address / PAGE, ACCESS_READ);
}

const load = (p: Process, address: number): unknown => p.load(BigInt(address), 1);
const store = (p: Process, address: number, value: number): unknown => p.store(BigInt(address), 1, BigInt(value));

/** Isolates a page and asks reclaim for it; whether it was freed. */
function shrink(machine: Machine, page: number, ignoreReferences: number): boolean {
  machine.enter();
  expect(machine.kernel.folioIsolateLru(page)).toBe(1);
  const freed = machine.kernel.shrinkFolio(page, ignoreReferences) === 1;
  if (!freed) machine.kernel.folioPutbackLru(page);
  expect(checkMachine({ leaks: true })).toEqual([]);
  return freed;
}

describe('reclaim of one page', () => {
  test('a clean page of a file leaves all who map it, and the cache', () => {
    const { machine, p } = fresh();
    memfd(p, BASE, 4);
    load(p, BASE);
    p.syscall('mmap', OTHER, 4 * PAGE, 3, 0x11, 0, 0);
    load(p, OTHER);
    const child = p.fork();
    load(child, BASE);
    const page = pageAt(p, BASE);
    expect(pageMapcount[page]).toBe(3);
    expect(shrink(machine, page, 1)).toBe(true);
    expect(pageRefcount[page]).toBe(0);
    for (const who of [p, child]) expect(pageAt(who, BASE)).toBe(0);
    expect(load(child, BASE)).toBe(0n);
  });

  test('a dirty one stays in the cache, mapped by nobody, its content kept', () => {
    const { machine, p } = fresh();
    memfd(p, BASE, 4);
    store(p, BASE, 7);
    const child = p.fork();
    load(child, BASE);
    const page = pageAt(p, BASE);
    expect(shrink(machine, page, 1)).toBe(false);
    expect(pageMapcount[page]).toBe(0);
    expect(pageFlags[page] & (PG_DIRTY | PG_ACTIVE | PG_LRU)).toBe(PG_DIRTY | PG_ACTIVE | PG_LRU);
    expect(load(child, BASE)).toBe(7n);
    expect(pageAt(child, BASE)).toBe(page);
  });

  test('a lazily freed page goes from parent and child at once, and reads as zero', () => {
    const { machine, p } = fresh();
    p.syscall('mmap', BASE, 4 * PAGE, 3, 0x32, -1, 0);
    store(p, BASE, 7);
    p.syscall('madvise', BASE, PAGE, FREE);
    const child = p.fork();
    const page = pageAt(p, BASE);
    expect(pageMapcount[page]).toBe(2);
    expect(load(child, BASE)).toBe(7n);
    expect(shrink(machine, page, 1)).toBe(true);
    expect([load(p, BASE), load(child, BASE)]).toEqual([0n, 0n]);
  });

  test('one that somebody else refers to stays where it is', () => {
    const { machine, p } = fresh();
    p.syscall('mmap', BASE, 4 * PAGE, 3, 0x32, -1, 0);
    store(p, BASE, 7);
    p.syscall('madvise', BASE, PAGE, FREE);
    const page = pageAt(p, BASE);
    machine.kernel.folioGet(page);
    machine.kernel.folioIsolateLru(page);
    expect(machine.kernel.shrinkFolio(page, 1)).toBe(0);
    machine.kernel.folioPutbackLru(page);
    machine.kernel.folioPut(page);
    expect(checkMachine()).toEqual([]);
    expect(pageAt(p, BASE)).toBe(page);
    expect(load(p, BASE)).toBe(7n);
    // Written again: it has become an ordinary page.
    store(p, BASE, 9);
    expect(shrink(machine, page, 1)).toBe(false);
    expect(pageFlags[page] & PG_SWAPBACKED).toBe(PG_SWAPBACKED);
    expect(load(p, BASE)).toBe(9n);
  });

  test('a page that one process locks stays mapped in all', () => {
    const { machine, p } = fresh();
    memfd(p, BASE, 4);
    load(p, BASE);
    const child = p.fork();
    load(child, BASE);
    expect(child.syscall('mlock', BASE, PAGE)).toBe(0);
    const page = pageAt(p, BASE);
    expect(shrink(machine, page, 1)).toBe(false);
    expect(pageMapcount[page]).toBe(2);
    child.syscall('munlock', BASE, PAGE);
    expect(shrink(machine, page, 1)).toBe(true);
  });
});

test('unmapping passes by whoever locks the page, unless told not to', () => {
  const { machine, p } = fresh();
  memfd(p, BASE, 4);
  load(p, BASE);
  const child = p.fork();
  load(child, BASE);
  child.syscall('mlock', BASE, PAGE);
  const page = pageAt(p, BASE);
  machine.kernel.tryToUnmap(page, 0);
  expect([pageMapcount[page], pageAt(child, BASE)]).toEqual([1, page]);
  machine.kernel.tryToUnmap(page, TTU_IGNORE_MLOCK);
  expect([pageMapcount[page], pageAt(child, BASE)]).toEqual([0, 0]);
});

describe('references', () => {
  test('each mapping is asked once, what is read in a line does not count', () => {
    const { machine, p } = fresh();
    memfd(p, BASE, 4);
    load(p, BASE);
    const child = p.fork();
    load(child, BASE);
    const page = pageAt(p, BASE);
    const pra = allocPra();
    expect(machine.kernel.folioReferenced(page, pra)).toBe(2);
    expect(machine.kernel.folioReferenced(page, pra)).toBe(0);
    load(child, BASE);
    expect(machine.kernel.folioReferenced(page, pra)).toBe(1);
    expect(get(pra, Pra.vmFlags) & 3).toBe(3);
    child.syscall('madvise', BASE, 4 * PAGE, SEQUENTIAL);
    load(child, BASE);
    expect(machine.kernel.folioReferenced(page, pra)).toBe(0);
    child.syscall('madvise', BASE, 4 * PAGE, NORMAL);
    expect(machine.kernel.folioReferenced(page, pra)).toBe(1);
    freePra(pra);
  });

  test('a page is given a second chance when it was used, and goes when it was not', () => {
    const { machine, p } = fresh();
    memfd(p, BASE, 4);
    load(p, BASE);
    const page = pageAt(p, BASE);
    setPageFlags(page, pageFlags[page] & ~PG_REFERENCED);
    expect(shrink(machine, page, 0)).toBe(false);
    expect(pageFlags[page] & (PG_REFERENCED | PG_ACTIVE)).toBe(PG_REFERENCED);
    load(p, BASE);
    expect(shrink(machine, page, 0)).toBe(false);
    expect(pageFlags[page] & PG_ACTIVE).toBe(PG_ACTIVE);
    expect(shrink(machine, page, 0)).toBe(true);
  });
});

describe('large folios', () => {
  const HUGE = 2 ** 21;
  const thp = (name: string, value: string): void => thpSetting(`/sys/kernel/mm/transparent_hugepage/${name}`)?.write(value);

  test.each(['by one entry', 'by many'])('a use of shared memory counts once a mapping, mapped %s; unused it goes as a whole', (how) => {
    const { machine, p } = fresh();
    thp('shmem_enabled', 'always');
    memfd(p, BASE, 2 * (HUGE / PAGE));
    load(p, BASE);
    const child = p.fork();
    load(child, BASE);
    // Others' mappings that begin and end within the folio.
    if (how === 'by many')
      for (const who of [p, child]) {
        who.syscall('mprotect', BASE + 3 * PAGE, PAGE, 1);
        for (let i = 0; i < 8; i++) load(who, BASE + i * PAGE);
      }
    const page = pageAt(p, BASE);
    pageAt(child, BASE);
    expect([compoundPages(page), folioEntireMapcount(page)]).toEqual([512, how === 'by one entry' ? 2 : 0]);
    const pra = allocPra();
    // By VMAs: two, or three of each process.
    expect(machine.kernel.folioReferenced(page, pra)).toBe(how === 'by one entry' ? 2 : 6);
    expect(machine.kernel.folioReferenced(page, pra)).toBe(0);
    expect(get(pra, Pra.mapcount)).toBe(0);
    load(child, BASE);
    expect(machine.kernel.folioReferenced(page, pra)).toBe(1);
    freePra(pra);
    load(child, BASE);
    expect(shrink(machine, page, 0)).toBe(false);
    load(child, BASE);
    expect(shrink(machine, page, 0)).toBe(false);
    expect(pageFlags[page] & PG_ACTIVE).toBe(PG_ACTIVE);
    expect(shrink(machine, page, 0)).toBe(true);
    expect([pageAt(p, BASE), pageAt(child, BASE)]).toEqual([0, 0]);
  });

  test('anonymous memory of two is kept while it is used; then it is split, and what is all zero gives way to the zero page', () => {
    const { machine, p } = fresh();
    thp('enabled', 'always');
    p.syscall('mmap', BASE, HUGE, 3, 0x32, -1, 0);
    store(p, BASE + PAGE, 7);
    const child = p.fork();
    load(child, BASE);
    const page = pageAt(p, BASE);
    expect(compoundPages(page)).toBe(512);
    expect(shrink(machine, page, 0)).toBe(false);
    expect(compoundPages(page)).toBe(512);
    expect(shrink(machine, page, 0)).toBe(false);
    expect(compoundPages(page)).toBe(1);
    const kept = pageAt(child, BASE + PAGE);
    expect([pageAt(p, BASE + PAGE), pageMapcount[kept], pageFlags[kept] & PG_LRU]).toEqual([kept, 2, PG_LRU]);
    expect([pageAt(p, BASE), pageAt(child, BASE + 511 * PAGE)]).toEqual([get(globals, Globals.zeroPage), get(globals, Globals.zeroPage)]);
    expect([load(p, BASE + PAGE), load(child, BASE + PAGE), load(child, BASE)]).toEqual([7n, 7n, 0n]);
  });

  test('one that is pinned is left whole; what was lazily freed and lies in memory locked by another stays, and is locked again', () => {
    const { machine, p } = fresh();
    thp('enabled', 'always');
    p.syscall('mmap', BASE, 2 * HUGE, 3, 0x32, -1, 0);
    store(p, BASE, 7);
    const page = pageAt(p, BASE);
    machine.kernel.folioGet(page);
    machine.kernel.folioIsolateLru(page);
    expect(machine.kernel.shrinkFolio(page, 1)).toBe(0);
    machine.kernel.folioPutbackLru(page);
    machine.kernel.folioPut(page);
    expect(compoundPages(page)).toBe(512);
    p.syscall('madvise', BASE, HUGE, FREE);
    const child = p.fork();
    // Read-only: locking does not copy it.
    child.syscall('mprotect', BASE, 2 * HUGE, 1);
    expect(child.syscall('mlock', BASE, HUGE)).toBe(0);
    // As if the lock had been missed.
    setPageFlags(page, pageFlags[page] & ~(PG_MLOCKED | PG_UNEVICTABLE));
    machine.kernel.folioIsolateLru(page);
    expect(machine.kernel.shrinkFolio(page, 1)).toBe(0);
    machine.kernel.folioPutbackLru(page);
    expect(pageFlags[page] & PG_MLOCKED).toBe(PG_MLOCKED);
    expect(load(child, BASE)).toBe(7n);
    child.syscall('munlock', BASE, HUGE);
    expect(shrink(machine, page, 1)).toBe(true);
    expect([load(p, BASE), load(child, BASE)]).toEqual([0n, 0n]);
  });

  test('of a huge page that somebody else holds a part is not given up, nor asked for more than once', () => {
    const { machine, p } = fresh();
    thp('enabled', 'always');
    p.syscall('mmap', BASE, HUGE, 3, 0x32, -1, 0);
    store(p, BASE + 300 * PAGE, 7);
    const page = pageAt(p, BASE);
    p.syscall('mprotect', BASE, PAGE, 1);
    p.syscall('mprotect', BASE, PAGE, 3);
    machine.kernel.folioGet(page);
    const failed = () => Number(/^thp_split_page_failed (\d+)$/m.exec(machine.vmstat())?.[1]);
    for (const advice of [FREE, COLD]) {
      const before = failed();
      expect(p.syscall('madvise', BASE + 256 * PAGE, 256 * PAGE, advice)).toBe(0);
      expect([failed() - before, compoundPages(page), pageFlags[page] & PG_DIRTY]).toEqual([1, 512, PG_DIRTY]);
    }
    machine.kernel.folioPut(page);
    expect(p.syscall('madvise', BASE + 256 * PAGE, 256 * PAGE, FREE)).toBe(0);
    expect([compoundPages(page), pageFlags[pageAt(p, BASE + 300 * PAGE)] & (PG_DIRTY | PG_SWAPBACKED), load(p, BASE + 300 * PAGE)]).toEqual([1, 0, 7n]);
  });
});

// What a C program was told by Linux 6.18.44: descriptors and vectors that operation lists cannot express..
test.each([
  ['the caller by PIDFD_SELF_THREAD', -10000, 1, COLD, 0, 8 * PAGE],
  ['the caller by PIDFD_SELF_THREAD_GROUP', -10001, 1, COLD, 0, 8 * PAGE],
  ['no such descriptor', -10002, 1, COLD, 0, -9],
  ['a descriptor of a file', 0, 1, COLD, 0, -9],
  ['a vector of the longest', -10000, 1024, COLD, 0, 1024 * 8 * PAGE],
  ['a vector that is too long', -10000, 1025, COLD, 0, -22],
  ['a count of 32 bits', -10000, 2 ** 32, COLD, 0, 0],
  ['a count of more', -10000, 2 ** 32 + 1, COLD, 0, 8 * PAGE],
  ['no range and no advice', -10000, 0, 77, 0, 0],
  ['a range and no advice', -10000, 1, 77, 0, -22],
  ['a flag', -10000, 1, COLD, 1, -22],
])('process_madvise: %s', (_name, fd, count, advice, flags, expected) => {
  const { p } = fresh();
  memfd(p, OTHER, 1);
  p.syscall('mmap', BASE, 8 * PAGE, 3, 0x32, -1, 0);
  p.syscall('mmap', 0x5000_0000, 5 * PAGE, 3, 0x32, -1, 0);
  for (let i = 0; i < 1025; i++) {
    p.store(BigInt(0x5000_0000 + 16 * i), 8, BigInt(BASE));
    p.store(BigInt(0x5000_0000 + 16 * i + 8), 8, BigInt(8 * PAGE));
  }
  expect(p.syscall('process_madvise', fd, 0x5000_0000, count, advice, flags)).toBe(expected);
});

// --- histories --------------------------------------------------------------------------------------------------------------

interface Step {
  readonly what: string;
  readonly process: number;
  readonly at: number;
  readonly pages: number;
  readonly pick: number;
  readonly fails: number;
}

const ADVICE = [DONTNEED, FREE, FREE, COLD, PAGEOUT, PAGEOUT, PAGEOUT, GUARD_INSTALL, GUARD_REMOVE, 9, 22, 23, 24, 25, 1, 0, 10, 11];
const FLAGS = [0x32, 0x32, 0x38, 0x31, 0x11, 0x12];

const step = (fails: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.record({
    what: fc.constantFrom('mmap', 'mmap', 'store', 'store', 'load', 'madvise', 'madvise', 'madvise', 'madvise', 'fork', 'exit', 'mlock', 'mprotect', 'sparse'),
    process: fc.nat(3),
    at: fc.nat(15),
    pages: fc.integer({ min: 1, max: 8 }),
    pick: fc.nat(255),
    fails,
  });

function play(machine: Machine, steps: readonly Step[], look: () => void): number[] {
  const results: number[] = [];
  for (const s of steps) {
    const living = machine.processes;
    const p = living[s.process % living.length];
    const address = BASE + s.at * PAGE;
    const length = s.pages * PAGE;
    const flags = FLAGS[s.pick % FLAGS.length];
    machine.enter();
    set(globals, Globals.failAllocation, s.fails);
    let result = 0;
    if (s.what === 'mmap') result = p.syscall('mmap', address, length, s.pick % 7 === 0 ? 1 : 3, flags, flags < 0x20 ? 0 : -1, 0);
    else if (s.what === 'madvise') result = p.syscall('madvise', address, length, ADVICE[s.pick % ADVICE.length]);
    else if (s.what === 'mprotect') result = p.syscall('mprotect', address, length, s.pick % 2 === 0 ? 1 : 3);
    else if (s.what === 'mlock') result = p.syscall(s.pick % 3 === 0 ? 'mlock' : 'munlock', address, length);
    else if (s.what === 'sparse') {
      // Two page tables that fill and empty.
      const far = 0x4000_0000 + (s.at % 4) * 0x10_0000;
      result = p.syscall('mmap', 0x4000_0000, 0x40_0000, 3, 0x4022 | (s.pick % 5 === 0 ? 0x10 : 0x10_0000), -1, 0);
      for (let i = 0; i < s.pages; i++) store(p, far + i * PAGE, s.pick);
      result += p.syscall('madvise', 0x4000_0000, 0x40_0000, ADVICE[s.pick % ADVICE.length]);
    } else if (s.what === 'exit') {
      if (living.length > 1) p.exit();
    } else if (s.what === 'fork') {
      if (living.length < 4) result = machine.kernel.sysFork(p.ref) > 0 ? 1 : 0;
    } else
      for (let i = 0; i < s.pages; i++)
        result += (s.what === 'load' ? typeof load(p, address + i * PAGE) === 'bigint' : store(p, address + i * PAGE, s.pick) === undefined) ? 1 : 0;
    machine.enter();
    set(globals, Globals.failAllocation, 0);
    results.push(result);
    look();
  }
  return results;
}

const started = (options: MachineOptions = {}): Machine => {
  const { machine, p } = fresh(options);
  memfd(p, OTHER, 8);
  return machine;
};

test('the machine holds together after every step, also where allocations fail', () => {
  fc.assert(
    fc.property(fc.array(step(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 8 }))), { maxLength: 60 }), (steps) => {
      const machine = started();
      play(machine, steps, () => expect(checkMachine({ leaks: true })).toEqual([]));
    }),
    { numRuns: 60 },
  );
});

test('direct program, native generators and step program do the same, byte for byte', () => {
  fc.assert(
    fc.property(fc.array(step(fc.nat(12)), { maxLength: 40 }), (steps) => {
      const run = (program: 'direct' | 'native' | 'step'): { results: number[]; bytes: Float64Array } => {
        const machine = started({ program });
        const results = play(machine, steps, () => undefined);
        machine.enter();
        return { results, bytes: heap.slice(0, heap[SLOT_TOP]) };
      };
      const direct = run('direct');
      for (const program of ['native', 'step'] as const) expect(run(program)).toEqual(direct);
    }),
    { numRuns: 25 },
  );
});

// --- modes ------------------------------------------------------------------------------------------------------------------

const modes = allModes()
  .map((m) => m.name)
  .filter((name) => {
    try {
      return codecFor(name) !== undefined;
    } catch {
      return false;
    }
  });

/** Results and contents of a history told in pages. */
function history(mode: string): unknown[] {
  const { machine, p } = fresh({ mode, ramBytes: 256 * 2 ** 20 });
  const size = machine.pageSize;
  const base = 0x4000 * size;
  const out: unknown[] = [p.syscall('mmap', base, 8 * size, 3, 0x32, -1, 0) === base];
  const at = (page: number): bigint => BigInt(base + page * size);
  for (let i = 0; i < 8; i++) p.store(at(i), 1, BigInt(i + 1));
  for (const [page, pages, advice] of [
    [0, 4, FREE],
    [2, 4, PAGEOUT],
    [6, 1, GUARD_INSTALL],
    [0, 8, COLD],
    [7, 1, DONTNEED],
    [1, 6, PAGEOUT],
    [6, 1, GUARD_REMOVE],
  ]) {
    out.push(p.syscall('madvise', base + page * size, pages * size, advice));
    if (advice === COLD) p.store(at(0), 1, 9n);
    for (let i = 0; i < 8; i++) {
      const value = p.load(at(i), 1);
      out.push(typeof value === 'bigint' ? value : value.signal);
    }
  }
  machine.enter();
  expect(checkMachine()).toEqual([]);
  return out;
}

test.each(modes)('%s answers as x86-4level does', (mode) => {
  const expected = history('x86-4level');
  expect(expected.slice(1, 10)).toEqual([0, 1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n]);
  expect(history(mode)).toEqual(expected);
});
