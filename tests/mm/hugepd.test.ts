/**
 * Huge page directories are nothing that a process could see (F037): a random history of calls, accesses, forks and pins on huge pages of all sizes has the same results,
 * contents, leaves, mincore, pagemap, smaps, numa_maps and pools on the tables of Linux 6.10, which had them, as on those of 6.18. Directories are really there while it
 * runs, all is sound after each step (checkMachine), and nothing of them is left when the processes are gone. More seeds and sizes with PXD_NIGHTLY=1.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { pageSizes } from '../../src/arch/linux/page-sizes.ts';
import { findMode } from '../../src/arch/registry.ts';
import { checkVariant } from '../../src/explore/check.ts';
import { entryAt, entryEnd, loadEntry, tableEnd, tableEntries, tableLevel, topLevel } from '../../src/kernel/arch.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import { readNumaMaps, readSmaps } from '../../src/machine/proc/mem-stats.ts';
import { readPagemap } from '../../src/machine/proc/pagemap.ts';
import type { VmaView } from '../../src/machine/proc/view.ts';
import type { Process } from '../../src/machine/process.ts';
import { get } from '../../src/memory/heap.ts';
import { PG_TABLE } from '../../src/memory/page-flags.ts';
import { pageFlags, pagesEnd, pfnOfPage } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_PIN, FOLL_WRITE, freePageVector, PageVector } from '../../src/mm/gup-types.ts';
import { Hstate } from '../../src/mm/hugetlb-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { FOR_DIRECT_MAP } from '../../src/mm/kernel-layout.ts';
import { PAGE_KERNEL } from '../../src/mm/kernel-map.ts';
import { forEachLeaf } from '../../src/mm/leaves.ts';
import { allocWalkCount, freeWalkCount, WALK_PTDUMP, WalkCount } from '../../src/mm/mm-walk.ts';
import { ptePage, tablePage } from '../../src/mm/pgtable.ts';
import { Globals, Mm, Vma } from '../../src/mm/types.ts';
import { VM_HUGETLB, VM_SHARED } from '../../src/mm/vm-flags.ts';
import { findVma } from '../../src/mm/vma-tree.ts';
import { PTE_GROUP, PTE_TABLE } from '../../src/pagetable/canonical.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import r03 from '../../src/races/r03-hugetlb.ts';
import { kernelExtents, leafSizes, userExtents } from './support/kernel-extents.ts';

/** R03 in modes with directories: the catalogue's own tests run it in others. */
describe.each(['ppc-e500-hugepd', 'ppc64-hash-4k-hugepd', 'ppc-8xx-4k-hugepd'])('%s: get_user_pages_fast() of an entry of a directory', (mode) => {
  it.each(Object.keys(r03.variants))('F196, R03 %s', (variant) => {
    const { ok, message, states } = checkVariant(r03, variant, mode, { now: () => performance.now() });
    expect({ ok, message: ok ? null : message }).toEqual({ ok: true, message: null });
    expect(states).toBeGreaterThan(20);
  });
});

const nightly = process.env.PXD_NIGHTLY === '1';
const SEEDS = nightly ? Array.from({ length: 6 }, (_, i) => 100 + i) : [7];
const STEPS = nightly ? 120 : 40;
const LARGEST = nightly ? 26 : 24;

const ALL = ['ppc-e500', 'ppc64-e500', 'ppc-8xx-4k', 'ppc-8xx-16k', 'ppc64-hash-4k', 'ppc64-hash-64k'];
const PAIRS = nightly ? ALL : ['ppc-e500', 'ppc-8xx-4k', 'ppc64-hash-4k'];

/** Each size has a part of the address space of its own, and so have buffers. */
const REGION = 2 ** 29;
const BUFFER = 0x8000000;
/** Huge pages in each part, of its pool, and in the part that is used. */
const POOL = 5;
const ROOM = 6;
const HUGETLB = 0x40000;
const FIXED = 0x10;
const DONTNEED = 4;

interface World {
  readonly machine: Machine;
  readonly shifts: readonly number[];
  readonly tasks: Process[];
  readonly pins: number[];
  /** Page tables that there were before the first process. */
  readonly tables: number;
}

/** What is wrong with the mounted machine, but for reservations that Linux itself loses in such histories (docs/findings.md). */
const sound = (roots: readonly number[]): string[] => checkMachine({ leaks: true, roots }).filter((wrong) => !wrong.startsWith('I24'));

const tablesOf = (machine: Machine): number => {
  machine.enter();
  let tables = 0;
  for (let page = 0; page < pagesEnd(); page++) if ((pageFlags[page] & PG_TABLE) !== 0) tables++;
  return tables;
};

function start(mode: string): World {
  const found = findMode(mode);
  if (found === undefined) throw new Error(mode);
  const shifts = pageSizes(found)
    .filter((s) => s.hugetlb && s.shift <= LARGEST)
    .map((s) => s.shift);
  const bytes = shifts.reduce((sum, shift) => sum + (POOL + 1) * 2 ** shift, 0);
  const machine = new Machine({ mode, ramBytes: 2 ** Math.ceil(Math.log2(Math.max(2 ** (found.pageShift + 14), 2 * bytes))) });
  const tables = tablesOf(machine);
  for (const shift of shifts) machine.kernel.setMaxHugePages(poolOf(2 ** (shift - 10), machine.pageShift), POOL);
  const p = machine.spawn();
  expect(p.syscall('mmap', BUFFER, 2 ** 20, 3, FIXED | 0x22, -1, 0)).toBe(BUFFER);
  // Two pages of each size to begin with, and two shared ones.
  shifts.forEach((shift, i) => {
    for (const [part, kind] of [0x22, 0x21].entries())
      p.syscall('mmap', REGION * (i + 1) + 2 * part * 2 ** shift, 2 * 2 ** shift, 3, (FIXED | HUGETLB | kind | (shift << 26)) >>> 0, -1, 0);
    p.store(BigInt(REGION * (i + 1)), 8, 1n);
  });
  return { machine, shifts, tasks: [p], pins: [], tables };
}

type Step = (world: World) => unknown;

/** One step of a history: its numbers are drawn once for both worlds. */
function stepOf(random: (below: number) => number, shifts: readonly number[]): [string, Step] {
  const who = random(6);
  const of = ({ tasks }: World): Process => tasks[who % tasks.length];
  const size = random(shifts.length);
  const bytes = 2 ** shifts[size];
  const first = random(ROOM);
  const at = REGION * (size + 1) + first * bytes;
  const count = 1 + random(Math.min(3, ROOM - first));
  const length = count * bytes;
  const value = BigInt(1 + random(1 << 30));
  const inside = random(2 ** (shifts[size] - 3)) * 8;
  const name = (what: string): string => `${what} ${2 ** (shifts[size] - 10)}K 0x${at.toString(16)} ${count} by ${who}`;
  const kind = random(26);
  if (kind < 4) {
    const flags = FIXED | HUGETLB | [0x22, 0x22, 0x21][random(3)];
    return [name(`mmap ${flags}`), (w) => of(w).syscall('mmap', at, length, 3, (flags | (shifts[size] << 26)) >>> 0, -1, 0)];
  }
  if (kind < 9) return [name('store'), (w) => of(w).store(BigInt(at + inside), 8, value)];
  if (kind < 11) return [name('load'), (w) => of(w).load(BigInt(at + inside), 8)];
  if (kind < 13) return [name('madvise'), (w) => of(w).syscall('madvise', at, length, DONTNEED)];
  if (kind < 15) {
    const prot = [0, 1, 3, 3][random(4)];
    return [name(`mprotect ${prot}`), (w) => of(w).syscall('mprotect', at, length, prot)];
  }
  if (kind < 17) return [name('munmap'), (w) => of(w).syscall('munmap', at, length)];
  if (kind < 19) {
    const to = REGION * (size + 1) + random(ROOM) * bytes;
    const shrinks = random(4) === 0;
    return [
      name(`mremap to 0x${to.toString(16)}`),
      (w) => (shrinks ? of(w).syscall('mremap', at, length, bytes, 0) : of(w).syscall('mremap', at, length, length, 3, to)),
    ];
  }
  if (kind < 21)
    return [
      name('fork'),
      (w) => {
        // Pinned pages are copied at once: there may be none for that.
        try {
          if (w.tasks.length < 3) w.tasks.push(of(w).fork());
        } catch (error) {
          if (error instanceof PxdError && error.code === 'limit') return error.message;
          throw error;
        }
        return w.tasks.length;
      },
    ];
  if (kind < 22)
    return [
      name('exit'),
      (w) => {
        if (w.tasks.length > 1) w.tasks.splice(who % w.tasks.length, 1)[0].exit(0);
        return w.tasks.length;
      },
    ];
  if (kind < 23) return [name('mincore'), mincoreOf(at, length, who)];
  const flags = [0, FOLL_WRITE, FOLL_LONGTERM, FOLL_WRITE | FOLL_LONGTERM][random(4)];
  const fast = random(3) > 0;
  const pages = 1 + random(60);
  return [
    name(`pin ${flags}${fast ? ' fast' : ''}`),
    (w) => {
      const { mm } = of(w);
      const { machine } = w;
      machine.enter();
      if (w.pins.length > 1) release(w);
      const vector = allocPageVector();
      w.pins.push(vector);
      const vpn = Math.floor((at + inside) / machine.pageSize);
      const got = machine.kernel[fast ? 'pinUserPagesFast' : 'pinUserPagesUnlocked'](mm, vpn, pages, flags, vector);
      // Frames of one folio follow each other wherever it lies.
      const frames = Array.from({ length: get(vector, PageVector.count) }, (_, i) => pfnOfPage(get(vector, PageVector.pages + i)));
      return [got, (frames.at(-1) ?? 0) - (frames[0] ?? 0)];
    },
  ];
}

/**
 * mincore() of a huge page at most, told shortly. Not of shared memory: of a page that is not mapped Linux says whether the file has it when a table is missing, and that
 * it has not when there is one (mincore_hugetlb), so that the answer depends on what else the table would map.
 */
const mincoreOf =
  (at: number, length: number, who: number): Step =>
  ({ machine, tasks }) => {
    const p = tasks[who % tasks.length];
    const pages = Math.min(length / machine.pageSize, 4096);
    machine.enter();
    const end = at / machine.pageSize + pages;
    for (let vma = findVma(p.mm, at / machine.pageSize); vma !== 0 && get(vma, Vma.start) < end; vma = get(vma, Vma.next))
      if ((get(vma, Vma.flags) & VM_SHARED) !== 0) return 'shared';
    const result = p.syscall('mincore', at, pages * machine.pageSize, BUFFER);
    return [result, result === 0 && p.read(BigInt(BUFFER), pages).bytes.reduce((sum, byte) => sum + (byte & 1), 0)];
  };

function release({ machine, pins }: World): void {
  machine.enter();
  for (const vector of pins.splice(0)) {
    machine.kernel.unpinUserPages(vector, 0);
    freePageVector(vector);
  }
}

/** What can be known of the processes and the pools from outside. */
function told({ machine, shifts, tasks }: World, tables: boolean): unknown {
  machine.enter();
  const pools = shifts.map((shift) => {
    const h = poolOf(2 ** (shift - 10), machine.pageShift);
    return [Hstate.nr, Hstate.freePages, Hstate.resv, Hstate.surplus].map((field) => get(h, field));
  });
  const spaces = tasks.map((p) => {
    const found: unknown[] = [];
    for (let vma = findVma(p.mm, REGION / machine.pageSize); vma !== 0; vma = get(vma, Vma.next)) {
      if ((get(vma, Vma.flags) & VM_HUGETLB) === 0) continue;
      const [at, end] = [get(vma, Vma.start), get(vma, Vma.end)];
      const huge = 2 ** (shifts[Math.floor((at * machine.pageSize) / REGION) - 1] - machine.codec.pageShift);
      const pagemap: string[] = [];
      // First and last page of each; frames may be others.
      for (let vpn = at; vpn < end; vpn += huge)
        for (const page of [vpn, vpn + huge - 1]) pagemap.push((readPagemap(machine, p.ref, page, 1)[0] >> 55n).toString(16));
      const view = { start: at, end } as VmaView;
      found.push([at, end, get(vma, Vma.flags), readSmaps(machine, p.ref, view), readNumaMaps(machine, p.ref, view), pagemap.join(' ')]);
    }
    return found;
  });
  const leaves = !tables
    ? []
    : tasks.map((p) =>
        userExtents(machine, p.pid)
          .filter(({ vpn }) => vpn * machine.pageSize >= REGION)
          .map(({ vpn, leafPages }) => [vpn, leafPages].join(' ')),
      );
  return { pools, spaces, leaves };
}

/** Slots of huge page directories that the processes have. */
function directories({ machine, tasks }: World): number {
  machine.enter();
  let slots = 0;
  const walk = (table: number, level: number): void => {
    for (let i = 0; i < tableEntries(level) && level > 0; i++) {
      const entry = loadEntry(entryAt(table, level, 0) + i * machine.codec.tables[level].strideWords, level);
      if ((entry & PTE_TABLE) === 0) continue;
      if ((entry & PTE_GROUP) !== 0) slots++;
      else walk(tablePage(entry), tableLevel(entry, level));
    }
  };
  for (const { mm } of tasks) walk(get(mm, Mm.pgd), topLevel);
  return slots;
}

describe.each(PAIRS)('%s with and without huge page directories', (mode) => {
  let most = 0;

  it.each(SEEDS)(
    'F037, F248 the same mapping requests in the old and the new mode yield the same translations and results: same semantics of all forms (seed %i)',
    (seed) => {
      const random = randomNumbers(seed);
      const [plain, hugepd] = [start(mode), start(`${mode}-hugepd`)];
      expect(hugepd.shifts).toEqual(plain.shifts);
      const history: string[] = [];
      for (let i = 0; i < STEPS; i++) {
        const [name, step] = stepOf(random, plain.shifts);
        const label = `seed ${seed}, step ${i}: ${name}, after ${history.slice(-12).join('; ')}`;
        const results = [plain, hugepd].map((world) => step(world));
        expect(results[1], label).toEqual(results[0]);
        const checks = i % 8 === 7 || i === STEPS - 1;
        expect(told(hugepd, checks), label).toEqual(told(plain, checks));
        most = Math.max(most, directories(hugepd));
        expect(directories(plain)).toBe(0);
        for (const world of checks ? [plain, hugepd] : []) {
          world.machine.enter();
          expect(sound(world.pins), label).toEqual([]);
        }
        history.push(`${name} → ${String(results[0])}`);
      }
      for (const world of [plain, hugepd]) {
        release(world);
        for (const p of world.tasks) p.exit(0);
        world.machine.enter();
        expect(sound([])).toEqual([]);
        expect(tablesOf(world.machine)).toBe(world.tables);
      }
    },
  );

  afterAll(() => expect(most > 0).toBe(mode !== 'ppc64-hash-64k'));
});

/** A mode and the size of its smallest directories. */
const SMALLEST = [
  ['ppc-e500-hugepd', 22],
  ['ppc64-hash-4k-hugepd', 24],
  ['ppc-8xx-4k-hugepd', 23],
] as const;

describe.each(SMALLEST)('%s', (mode, shift) => {
  const at = REGION;
  const bytes = 2 ** shift;

  /** Two pages of a memfd: mapped twice shared, once privately; or two anonymous ones. */
  function process(kind: 'anon' | 'file'): { machine: Machine; p: Process; vpn: number; fd: number; huge: number } {
    const machine = new Machine({ mode, ramBytes: 2 ** 27 });
    machine.enter();
    machine.kernel.setMaxHugePages(poolOf(2 ** (shift - 10), machine.pageShift), 4);
    const p = machine.spawn();
    expect(p.syscall('mmap', BUFFER, 2 ** 16, 3, FIXED | 0x22, -1, 0)).toBe(BUFFER);
    let fd = -1;
    if (kind === 'file') {
      p.write(BigInt(BUFFER), new TextEncoder().encode('huge\0'));
      fd = p.syscall('memfd_create', BUFFER, (4 | (shift << 26)) >>> 0);
      expect(p.syscall('ftruncate', fd, 2 * bytes)).toBe(0);
    }
    const flags = FIXED | (kind === 'file' ? 1 : 0x22 | HUGETLB | (shift << 26));
    expect(p.syscall('mmap', at, 2 * bytes, 3, flags >>> 0, fd, 0)).toBe(at);
    for (const page of [0, 1]) expect(p.store(BigInt(at + page * bytes), 4, 7n)).toBeUndefined();
    return { machine, p, vpn: at / machine.pageSize, fd, huge: bytes / machine.pageSize };
  }

  it('F034 a walker visits each huge PTE of a directory once, in however many slots that hangs', () => {
    const { machine, p, vpn, huge } = process('anon');
    const { slots, level } = machine.codec.directories[0];
    machine.enter();
    const seen: number[][] = [];
    forEachLeaf(get(p.mm, Mm.pgd), vpn, vpn + 2 * huge, (from, to, _entry, own) => seen.push([from, to, own]));
    expect(seen).toEqual([0, 1].map((i) => [vpn + i * huge, vpn + (i + 1) * huge, level]));
    // From the middle of one, by the walk of the kernel, as ptdump does.
    const counts = allocWalkCount();
    machine.kernel.mmapWriteLock(p.mm);
    expect(machine.kernel.walkPageRangeNovma(p.mm, vpn + 1, vpn + huge + 1, WALK_PTDUMP, 0, counts)).toBe(0);
    machine.kernel.mmapWriteUnlock(p.mm);
    expect([get(counts, WalkCount.leaves), get(counts, WalkCount.present)]).toEqual([2, huge]);
    freeWalkCount(counts);
    expect(directories({ machine, shifts: [shift], tasks: [p], pins: [], tables: 0 })).toBe(slots === 1 ? 1 : 2 * slots);
  });

  it('F035 only hugetlb’s faults make directories: small pages, reservations and reads of /proc do not', () => {
    const machine = new Machine({ mode, ramBytes: 2 ** 27 });
    machine.enter();
    machine.kernel.setMaxHugePages(poolOf(2 ** (shift - 10), machine.pageShift), 2);
    const p = machine.spawn();
    const world = { machine, shifts: [shift], tasks: [p], pins: [], tables: 0 };
    p.syscall('mmap', BUFFER, bytes, 3, FIXED | 0x22, -1, 0);
    for (let i = 0; i < bytes; i += bytes / 16) p.store(BigInt(BUFFER + i), 4, 1n);
    expect(p.syscall('mmap', at, bytes, 3, (FIXED | 0x22 | HUGETLB | (shift << 26)) >>> 0, -1, 0)).toBe(at);
    expect([p.syscall('mincore', at, machine.pageSize, BUFFER), p.syscall('mprotect', at, bytes, 1), p.syscall('madvise', at, bytes, DONTNEED)]).toEqual([
      0, 0, 0,
    ]);
    readPagemap(machine, p.ref, at / machine.pageSize, 1);
    expect(directories(world)).toBe(0);
    expect(p.load(BigInt(at), 4)).toBe(0n);
    expect(directories(world)).toBe(machine.codec.directories[0].slots);
    // Its entries are not of the mode's other tables: the only way to one is through them.
    expect(p.syscall('munmap', at, bytes)).toBe(0);
    expect(directories(world)).toBe(0);
  });

  it('F104 an rmap walk over a hugepd VMA outside the hugetlb path is rejected', () => {
    const { machine, p, vpn } = process('anon');
    machine.enter();
    const vma = findVma(p.mm, vpn);
    const h = poolOf(2 ** (shift - 10), machine.pageShift);
    const ptep = machine.kernel.hugePteOffset(p.mm, vpn, h);
    const page = ptePage(loadEntry(ptep, machine.codec.directories[0].level));
    expect(machine.kernel.pageVmaMappedWalk(page, vma, vpn)).toBe(0);
    expect(machine.kernel.entryPointer(p.mm, vpn, 0)).toBe(0);
    expect(machine.kernel.entryAlloc(p.mm, vpn, 0)).toBeLessThanOrEqual(0);
    expect(checkMachine()).toEqual([]);
  });

  it('F195 a read-only page-cache long-term pin of a hugepd is one of the page itself', () => {
    const { machine, p, vpn, huge } = process('file');
    expect(p.syscall('mprotect', at, 2 * bytes, 1)).toBe(0);
    expect(p.load(BigInt(at), 4)).toBe(7n);
    machine.enter();
    const vector = allocPageVector();
    expect(machine.kernel.pinUserPagesUnlocked(p.mm, vpn + huge - 2, 4, FOLL_LONGTERM, vector)).toBe(4);
    const taken = [0, 1, 2, 3].map((i) => pfnOfPage(get(vector, PageVector.pages + i)));
    const cached = machine.kernel.hugePteOffset(p.mm, vpn, poolOf(2 ** (shift - 10), machine.pageShift));
    const page = pfnOfPage(ptePage(loadEntry(cached, machine.codec.directories[0].level)));
    expect(taken.map((one, i) => (i < 2 ? one - page : one - taken[2]))).toEqual([huge - 2, huge - 1, 0, 1]);
    machine.kernel.unpinUserPages(vector, 0);
    freePageVector(vector);
    expect(checkMachine()).toEqual([]);
  });

  it('F196 the slow path must not ask to unshare a shared page-cache page, the fast one cannot know and falls back; of a page shared by fork both ask', () => {
    const shared = process('file');
    expect(shared.p.syscall('mprotect', at, 2 * bytes, 1)).toBe(0);
    shared.p.load(BigInt(at), 4);
    const follow = ({ machine, p, vpn }: ReturnType<typeof process>, flags: number): number => {
      machine.enter();
      return machine.kernel.followPage(findVma(p.mm, vpn), vpn + 1, flags);
    };
    const fast = ({ machine, p, vpn }: ReturnType<typeof process>, call: 'getUserPagesFastOnly' | 'pinUserPagesFast', flags: number): number => {
      machine.enter();
      const vector = allocPageVector();
      const got = machine.kernel[call](p.mm, vpn + 1, 1, flags, vector);
      if (call === 'pinUserPagesFast') machine.kernel.unpinUserPages(vector, 0);
      else machine.kernel.putUserPages(vector);
      freePageVector(vector);
      return got;
    };
    const lasting = FOLL_PIN | FOLL_LONGTERM;
    const page = follow(shared, lasting);
    expect(page).toBeGreaterThan(0);
    shared.machine.kernel.unpinUserPage(page);
    expect(fast(shared, 'pinUserPagesFast', FOLL_LONGTERM)).toBe(1);
    // A private mapping of the same page: what is pinned for long must be its own.
    const own = process('anon');
    own.p.fork();
    expect(follow(own, FOLL_PIN)).toBe(-31);
    expect(fast(own, 'getUserPagesFastOnly', 0)).toBe(1);
    expect(fast(own, 'pinUserPagesFast', 0)).toBe(1);
    // It was unshared meanwhile.
    const mine = follow(own, FOLL_PIN);
    expect(mine).toBeGreaterThan(0);
    own.machine.kernel.unpinUserPage(mine);
    for (const { machine } of [shared, own]) {
      machine.enter();
      expect(checkMachine()).toEqual([]);
    }
  });
});

describe('ppc-8xx-4k-hugepd: the kernel’s own', () => {
  it('F036, F102 ptdump of an 8xx kernel shows 8M and 512K regions', () => {
    const machine = new Machine({ mode: 'ppc-8xx-4k-hugepd', ramBytes: 2 ** 26 });
    machine.enter();
    const pages = (2 ** 24 + 2 ** 20) / 4096;
    expect(machine.kernel.makeDirectMap(pages, 0)).toBe(0);
    expect(leafSizes(machine)).toMatchObject({ '8M': 2, '512K': 2 });
    const first = kernelExtents(machine)[0].vpn;
    const init = get(globals, Globals.initMm);
    expect(machine.kernel.ptdumpWalkPgd(init, first, first + pages)).toBe(pages);
    expect(machine.kernel.ptdumpWalkPgd(init, first + 1000, first + 3000)).toBe(2000);
    expect(checkMachine()).toEqual([]);
  });

  it('F039 a directory at the end of the address space ends there, 2^32 or 2^64', () => {
    const machine = new Machine({ mode: 'ppc-8xx-4k-hugepd', ramBytes: 2 ** 26 });
    machine.enter();
    const end = 2 ** 20;
    const huge = 2 ** 11;
    // The kernel's space comes with its map.
    expect(machine.kernel.makeDirectMap(huge, 0)).toBe(0);
    expect(machine.kernel.vmapRange(end - huge, end, 0, PAGE_KERNEL, FOR_DIRECT_MAP, huge)).toBe(0);
    const init = get(globals, Globals.initMm);
    expect(machine.kernel.ptdumpWalkPgd(init, end - huge, end)).toBe(huge);
    expect(machine.kernel.ptdumpWalkPgd(init, end - 5, end)).toBe(5);
    expect(machine.kernel.kernelPfn(end - 1)).toBe(huge - 1);
    new Machine({ mode: 'ppc64-hash-4k-hugepd' }).enter();
    for (const level of [4, 5]) {
      expect(entryEnd(2 ** 52 - 5, 2 ** 52, level)).toBe(2 ** 52);
      expect(entryEnd(2 ** 52 - 5, 2 ** 52 - 2, level)).toBe(2 ** 52 - 2);
      expect(tableEnd(2 ** 52 - 5, 2 ** 52, level)).toBe(2 ** 52);
    }
  });
});
