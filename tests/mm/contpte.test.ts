/**
 * Contiguous runs of arm64's entries are nothing that a process could see: a random history of calls, accesses, forks and pins has the same results, contents, pagemap
 * and smaps as in a mode that has large folios of the same size and no runs. After each step the tables are read back by the reader of memory images, which finds
 * runs, and none that is broken; and the machine is sound (checkMachine). More seeds with PXD_NIGHTLY=1.
 *
 * Accessed and dirty are of the whole run by design: what follows from them (Referenced, dirty and clean, LazyFree) is not asked.
 */
import { afterAll, expect, test } from 'vitest';
import { entryStride, loadEntry, storeEntry } from '../../src/kernel/arch.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { registersOf } from '../../src/machine/capture.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { nextPage } from '../../src/memory/folio.ts';
import { alloc, free, get } from '../../src/memory/heap.ts';
import { allocPageVector, FOLL_LONGTERM, FOLL_WRITE, freePageVector, PageVector } from '../../src/mm/gup-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { mkPte, ptePage } from '../../src/mm/pgtable.ts';
import { allocMemSizeStats, freeMemSizeStats, MemSizeStats, Pagemap, PM_SOFT_DIRTY } from '../../src/mm/task-mmu.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_GROUP, PTE_PRESENT, PTE_READ, PTE_USER } from '../../src/pagetable/canonical.ts';
import { compileMode, extentsOf, readPageTables, rootFromRegisters } from '../../src/pagetable/index.ts';

const SIZE = 4096;
const RUN = 16;
/** The arena, in pages: four runs of anonymous memory, four of shared memory, four of a memfd that is mapped privately, and room to move to. */
const [BASE, SHARED, COPIES, ROOM, PAGES] = [0x10000, 0x10040, 0x10080, 0x100c0, 256];
const NAME = 0x8000;
const FIXED = 0x10;
const [DONTNEED, FREE, COLD, PAGEOUT] = [4, 8, 20, 21];
/** Clean pages that MADV_FREE has given up go when memory is wanted, or not: whoever pages out does not ask for them here. */
const ADVICE = [
  [DONTNEED, FREE, COLD, FREE],
  [DONTNEED, COLD, PAGEOUT, PAGEOUT],
];

/** Machines of a kind with the processes that live, and what is pinned. */
interface World {
  readonly machine: Machine;
  readonly tasks: Process[];
  readonly pins: number[];
}

function start(mode: string): World {
  const machine = new Machine({ mode, ramBytes: 2 ** 25 });
  for (const setting of ['hugepages-64kB/enabled', 'hugepages-64kB/shmem_enabled', 'shmem_enabled'])
    thpSetting(`/sys/kernel/mm/transparent_hugepage/${setting}`)?.write('always');
  const p = machine.spawn();
  for (const [at, kind] of [
    [NAME, 0x22],
    [BASE, 0x22],
    [SHARED, 0x21],
  ] as const)
    expect(p.syscall('mmap', at * SIZE, 4 * RUN * SIZE, 3, FIXED | kind, -1, 0)).toBe(at * SIZE);
  // Runs of each kind to begin with. Folios of a memfd are as large as what is written at once.
  p.write(BigInt(NAME * SIZE), new TextEncoder().encode('runs\0'));
  const fd = p.syscall('memfd_create', NAME * SIZE, 0);
  for (const part of [0, 2]) expect(p.syscall('pwrite64', fd, NAME * SIZE, 2 * RUN * SIZE, part * RUN * SIZE)).toBe(2 * RUN * SIZE);
  expect(p.syscall('mmap', COPIES * SIZE, 4 * RUN * SIZE, 3, FIXED | 2, fd, 0)).toBe(COPIES * SIZE);
  for (let i = 0; i < 8; i++) p.store(BigInt((BASE + i * RUN + 3) * SIZE), 8, BigInt(i));
  for (let i = 8; i < 12; i++) p.load(BigInt((BASE + i * RUN + 3) * SIZE), 8);
  return { machine, tasks: [p], pins: [] };
}

type Step = (world: World) => unknown;

/** One step of a history, told by numbers alone. */
function stepOf(random: (below: number) => number, advices: readonly number[]): [string, Step] {
  const who = random(6);
  const of = ({ tasks }: World): Process => tasks[who % tasks.length];
  const page = (): number => BASE + random(3 * 4 * RUN);
  const at = page();
  // Parts of runs, whole ones, and several.
  const pages = [1 + random(RUN), RUN - (at % RUN), RUN, 1 + random(3 * RUN)][random(4)];
  const kind = random(24);
  const value = BigInt(1 + random(1 << 30));
  const name = (what: string): string => `${what} 0x${at.toString(16)} ${pages} by ${who}`;
  if (kind < 5) return [name('store'), (w) => of(w).store(BigInt(at * SIZE), 8, value)];
  if (kind < 7) return [name('load'), (w) => of(w).load(BigInt(at * SIZE), 8)];
  if (kind < 10) {
    const advice = advices[random(advices.length)];
    return [name(`madvise ${advice}`), (w) => of(w).syscall('madvise', at * SIZE, pages * SIZE, advice)];
  }
  if (kind < 14) {
    const prot = [0, 1, 1, 3, 3, 3][random(6)];
    return [name(`mprotect ${prot}`), (w) => of(w).syscall('mprotect', at * SIZE, pages * SIZE, prot)];
  }
  if (kind < 15) return [name('munmap'), (w) => of(w).syscall('munmap', at * SIZE, pages * SIZE)];
  if (kind < 16) return [name('mmap'), (w) => of(w).syscall('mmap', at * SIZE, pages * SIZE, 3, FIXED | 0x22, -1, 0)];
  if (kind < 18) {
    // By whole runs as often as by an odd number of pages.
    const to = random(2) === 0 ? ROOM + (at % RUN) + RUN * random(3) : page();
    return [name(`mremap to 0x${to.toString(16)}`), (w) => of(w).syscall('mremap', at * SIZE, pages * SIZE, pages * SIZE, 3, to * SIZE)];
  }
  if (kind < 20)
    return [
      name('fork'),
      (w) => {
        if (w.tasks.length < 3) w.tasks.push(of(w).fork());
        return w.tasks.length;
      },
    ];
  if (kind < 21)
    return [
      name('exit'),
      (w) => {
        if (w.tasks.length > 1) w.tasks.splice(who % w.tasks.length, 1)[0].exit(0);
        return w.tasks.length;
      },
    ];
  if (kind < 23) {
    const flags = [0, FOLL_WRITE, FOLL_LONGTERM, FOLL_WRITE | FOLL_LONGTERM][random(4)];
    const fast = random(2) === 0;
    return [
      name(`pin ${flags}`),
      (w) => {
        const { mm } = of(w);
        w.machine.enter();
        if (w.pins.length > 2) release(w);
        const vector = allocPageVector();
        w.pins.push(vector);
        const got = w.machine.kernel[fast ? 'pinUserPagesFast' : 'pinUserPagesUnlocked'](mm, at, Math.min(pages, 40), flags, vector);
        return [got, get(vector, PageVector.count)];
      },
    ];
  }
  return [
    name('clear_refs'),
    (w) => {
      w.machine.enter();
      return w.machine.kernel.clearRefs(of(w).mm, 1);
    },
  ];
}

function release({ machine, pins }: World): void {
  for (const vector of pins.splice(0)) {
    machine.kernel.unpinUserPages(vector, 0);
    freePageVector(vector);
  }
}

/** What files of /proc say of each process: pagemap without frames, and the numbers of smaps that do not come from dirty and accessed bits. */
function told({ machine, tasks }: World): unknown {
  machine.enter();
  return tasks.map(({ mm }) => {
    const pagemap = alloc(Pagemap);
    machine.kernel.pagemapRead(mm, BASE, PAGES, 0, pagemap);
    const flags = Array.from({ length: PAGES }, (_, i) => get(pagemap, Pagemap.flags + i) & ~PM_SOFT_DIRTY);
    free(Pagemap, pagemap);
    const smaps = [0, 4, 8, 12].map((part) => {
      const stats = allocMemSizeStats();
      machine.kernel.showSmap(mm, BASE + part * RUN, stats);
      const { rss, pss, anonymous, swap } = MemSizeStats;
      const numbers = [rss, pss, anonymous, swap].map((field) => get(stats, field));
      freeMemSizeStats(stats);
      return numbers;
    });
    return [flags.join(' '), smaps];
  });
}

/** First words of the pages of the arena that may be read. */
const contents = ({ tasks }: World): unknown[] => tasks.map((p) => Array.from({ length: PAGES }, (_, i) => p.load(BigInt((BASE + i) * SIZE), 8)));

/** First page of each run of each process as the reader of memory images sees it. @throws when one is broken */
function runs({ machine, tasks }: World): string[] {
  const found: string[] = [];
  for (const { pid } of tasks) {
    const compiled = compileMode(machine.codec.mode, '6.18');
    const tree = readPageTables(compiled, machine.source, rootFromRegisters(compiled, registersOf(machine, pid), 'user'));
    const { columns, classes } = extentsOf(tree, { half: 'user' });
    for (let i = 0; i < columns.length; i++) {
      const { attribute, leafPages } = classes[columns.kind[i]];
      if (attribute.broken) throw new Error(`process ${pid}: a broken run at vpn 0x${columns.vpn[i].toString(16)}`);
      if (leafPages === RUN) for (let k = 0; k < columns.pages[i] * columns.count[i]; k += RUN) found.push(`${pid} ${columns.vpn[i] + k}`);
    }
  }
  return found;
}

/** Where the runs of the first process begin, in pages of the arena. */
const runsOf = (world: World): number[] =>
  runs(world)
    .map((run) => Number(run.split(' ')[1]) - BASE)
    .filter((at) => at >= 0);

/** The entry of a page. */
function entryOf({ machine, tasks }: World, vpn: number): number {
  machine.enter();
  return loadEntry(machine.kernel.entryPointer(tasks[0].mm, vpn, 0), 0);
}

test('F160 set_ptes of 16 aligned entries yields a contiguous run on arm64; others stay for themselves', () => {
  const world = start('arm64-4k-48');
  const { machine, tasks } = world;
  const [{ mm }] = tasks;
  const folio = ptePage(entryOf(world, BASE));
  machine.enter();
  for (const [at, page, count, made] of [
    [0, 0, 16, [0]],
    [1, 1, 15, []],
    // The block is aligned in memory and not at its place.
    [8, 0, 16, []],
    [16, 8, 8, []],
  ] as const) {
    const vpn = ROOM + RUN + at;
    const ptep = machine.kernel.entryAlloc(mm, vpn, 0);
    machine.kernel.setPtes(mm, vpn, ptep, mkPte(nextPage(folio, page), PTE_PRESENT | PTE_READ | PTE_USER | PTE_ACCESSED), count);
    const set = Array.from({ length: count }, (_, i) => loadEntry(ptep + i * entryStride(0), 0));
    expect(set.map((pte) => ptePage(pte))).toEqual(Array.from({ length: count }, (_, i) => nextPage(folio, page + i)));
    expect(set.filter((pte) => (pte & PTE_GROUP) !== 0).length).toBe(made.length * RUN);
    for (let i = 0; i < count; i++) storeEntry(ptep + i * entryStride(0), 0, 0);
  }
});

test('F048, F217, F242 a 64K folio fault fills 16 PTEs, of anonymous memory and of a file: one contiguous run each', () => {
  const world = start('arm64-4k-48');
  const all = [0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176];
  expect(runsOf(world)).toEqual(all);
  const [p] = world.tasks;
  const child = p.fork();
  expect(child.load(BigInt((BASE + 3) * SIZE), 8)).toBe(0n);
  // Fork keeps them on both sides, and leaves files to faults; a copy takes the one apart that it comes from.
  expect(runsOf({ ...world, tasks: [child] })).toEqual([0, 16, 32, 48]);
  expect(runsOf(world)).toEqual(all);
  p.store(BigInt((BASE + 21) * SIZE), 8, 1n);
  p.store(BigInt((COPIES + 21) * SIZE), 8, 1n);
  expect(runsOf(world)).toEqual(all.filter((at) => at !== 16 && at !== 144));
  // Of a file of a disk as much as was written at once.
  p.write(BigInt(NAME * SIZE), new TextEncoder().encode('/var/tmp/pxd/f\0'));
  const fd = p.syscall('open', NAME * SIZE, 0o102, 0o600);
  expect(p.syscall('pwrite64', fd, NAME * SIZE, 2 * RUN * SIZE, 0)).toBe(2 * RUN * SIZE);
  expect(p.syscall('mmap', ROOM * SIZE, 2 * RUN * SIZE, 1, FIXED | 1, fd, 0)).toBe(ROOM * SIZE);
  p.load(BigInt((ROOM + 3) * SIZE), 8);
  expect(runsOf(world).filter((at) => at >= ROOM - BASE)).toEqual([ROOM - BASE, ROOM + 16 - BASE]);
});

test('what is done to a part takes a run apart, what is done to all of it does not', () => {
  const world = start('arm64-4k-48');
  const [p] = world.tasks;
  const call = (name: string, ...args: number[]): void =>
    void expect((p.syscall as (...all: unknown[]) => number)(name, ...args), name).toBeGreaterThanOrEqual(0);
  call('mprotect', BASE * SIZE, 16 * SIZE, 1);
  expect(runsOf(world)).toContain(0);
  call('mprotect', BASE * SIZE, 5 * SIZE, 3);
  expect(runsOf(world)).not.toContain(0);
  // The last of its entries puts it together again.
  call('mprotect', (BASE + 5) * SIZE, 11 * SIZE, 3);
  expect(runsOf(world)).toContain(0);
  call('munmap', (BASE + 31) * SIZE, SIZE);
  expect(runsOf(world)).not.toContain(16);
  call('madvise', (BASE + 32) * SIZE, SIZE, DONTNEED);
  expect(runsOf(world)).not.toContain(32);
  call('mremap', (BASE + 48) * SIZE, 16 * SIZE, 16 * SIZE, 3, (ROOM + 16) * SIZE);
  expect(runsOf(world)).toContain(ROOM + 16 - BASE);
  call('mremap', (ROOM + 16) * SIZE, 16 * SIZE, 16 * SIZE, 3, (ROOM + 33) * SIZE);
  expect(runsOf(world).filter((at) => at >= ROOM - BASE)).toEqual([]);
});

test('accessed and dirty are of the whole run: whoever asks under the lock hears of all, whoever clears clears all', () => {
  const world = start('arm64-4k-48');
  const [p] = world.tasks;
  const used = (): number => Array.from({ length: RUN }, (_, i) => entryOf(world, BASE + i)).reduce((all, pte) => all | (pte & (PTE_ACCESSED | PTE_DIRTY)), 0);
  const asked = (at: number): number => {
    const ptep = world.machine.kernel.entryPointer(p.mm, BASE + at, 0);
    return world.machine.kernel.ptepGathered(BASE + at, ptep, entryOf(world, BASE + at)) & (PTE_ACCESSED | PTE_DIRTY);
  };
  expect(p.syscall('madvise', BASE * SIZE, RUN * SIZE, FREE)).toBe(0);
  expect([used(), runsOf(world).includes(0)]).toEqual([0, true]);
  p.store(BigInt((BASE + 9) * SIZE), 8, 1n);
  expect([asked(0), asked(9), asked(15)]).toEqual(Array(3).fill(PTE_ACCESSED | PTE_DIRTY));
  world.machine.enter();
  world.machine.kernel.clearRefs(p.mm, 1);
  expect([used(), runsOf(world).includes(0)]).toEqual([PTE_DIRTY, true]);
  // Taken apart, each entry has it: what follows may look at any of them.
  expect(p.syscall('munmap', (BASE + 9) * SIZE, SIZE)).toBe(0);
  expect(entryOf(world, BASE) & PTE_DIRTY).toBe(PTE_DIRTY);
});

const seeds = process.env.PXD_SEED ? [Number(process.env.PXD_SEED)] : Array.from({ length: process.env.PXD_NIGHTLY ? 60 : 2 }, (_, i) => i + 1);
const STEPS = process.env.PXD_NIGHTLY ? 150 : 36;
const seen = { steps: 0, runs: 0, made: 0, undone: 0 };
afterAll(() => {
  if (seen.steps === 0) return;
  for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(4);
});

test.each(seeds)('with runs as without them (seed %d)', (seed) => {
  const ours = start('arm64-4k-48');
  const theirs = start('x86-4level');
  const random = randomNumbers(seed);
  let before = runs(ours);
  for (let i = 0; i < STEPS; i++) {
    const [name, step] = stepOf(random, ADVICE[seed % 2]);
    const where = `seed ${seed}, step ${i}: ${name}`;
    expect(step(ours), where).toEqual(step(theirs));
    expect(told(ours), where).toEqual(told(theirs));
    ours.machine.enter();
    expect(checkMachine({ leaks: true, roots: ours.pins }), where).toEqual([]);
    const now = runs(ours);
    seen.steps++;
    seen.runs += now.length;
    seen.made += now.filter((run) => !before.includes(run)).length;
    seen.undone += before.filter((run) => !now.includes(run)).length;
    before = now;
  }
  expect(contents(ours), `seed ${seed}`).toEqual(contents(theirs));
  ours.machine.enter();
  release(ours);
  for (const p of ours.tasks.splice(0)) p.exit(0);
  ours.machine.enter();
  expect(checkMachine({ leaks: true })).toEqual([]);
});
