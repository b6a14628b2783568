/**
 * get_user_pages over entries above the lowest level and over large folios that entries of the lowest level map, at every level where the mode has leaves. Tables
 * are filled by hand with what the mode's codec writes; what must come back is read off the list of what was put there.
 */
import { describe, expect, it } from 'vitest';
import { loadEntry, spanPages, storeEntry } from '../../src/kernel/arch.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { Machine } from '../../src/machine/machine.ts';
import { pageFolio, prepCompound, subPage } from '../../src/memory/folio.ts';
import { get, set } from '../../src/memory/heap.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_HUGETLB } from '../../src/memory/page-flags.ts';
import { pageFlags, pageOfPfn, pagePincount, pageRefcount, setPageFlags, setPageRefcount } from '../../src/memory/state.ts';
import { haveGupFast } from '../../src/mm/gup-fast.ts';
import {
  allocPageVector,
  FOLL_DUMP,
  FOLL_GET,
  FOLL_LONGTERM,
  FOLL_PIN,
  FOLL_TOUCH,
  FOLL_WRITE,
  freePageVector,
  PAGE_VECTOR,
  PageVector,
} from '../../src/mm/gup-types.ts';
import { mkMigrationEntry } from '../../src/mm/migration-entry.ts';
import { mkPte, ptePage } from '../../src/mm/pgtable.ts';
import { Vma } from '../../src/mm/types.ts';
import { VM_PFNMAP } from '../../src/mm/vm-flags.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_HUGE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_READ,
  PTE_SPECIAL,
  PTE_SWAP,
  PTE_USER,
  PTE_WRITE,
} from '../../src/pagetable/canonical.ts';
import { type Traced, traced, tracedWith } from './support/traced.ts';

const MODES = ['x86-4level', 'x86-2level', 'arm64-4k-48', 'arm64-16k-36', 'arm64-64k-42', 'riscv-sv39', 's390x', 'ppc64-radix-64k', 'mips64-16k'] as const;
const [ENOMEM, EFAULT, EEXIST, EMLINK] = [-12, -14, -17, -31];
const [PRIVATE, SHARED] = [0x4032, 0x4031];
const READ = PTE_PRESENT | PTE_READ | PTE_USER | PTE_ACCESSED;
const CLEAN = READ | PTE_WRITE;
const WRITE = CLEAN | PTE_DIRTY;
const SEED = 23;

/** Modes and their levels with leaves above the lowest. */
const LEAVES = MODES.flatMap((mode) => {
  const { levels } = codecFor(mode) as NonNullable<ReturnType<typeof codecFor>>;
  return levels.flatMap((level, i) => (i > 0 && level.leaves ? [[mode, level.name, i] as const] : []));
});

class World {
  readonly machine: Machine;
  readonly mm: number;
  readonly at: number;
  readonly span: number;
  readonly level: number;
  /** First page of the window, in pages; four entries of the level follow. */
  readonly vma: number;
  #pfn: number;

  constructor(mode: string, level: number, flags = PRIVATE) {
    const { levels, pageShift } = codecFor(mode) as NonNullable<ReturnType<typeof codecFor>>;
    const span = 2 ** (levels[level].shift - pageShift);
    this.machine = new Machine({ mode, ramBytes: Math.max(128 * 2 ** 20, 10 * span * 2 ** pageShift) });
    const p = this.machine.spawn();
    this.mm = p.mm;
    this.level = level;
    this.span = span;
    this.at = 4 * span;
    expect(p.syscall('mmap', this.at * this.machine.pageSize, 4 * span * this.machine.pageSize, 3, flags, -1, 0)).toBe(this.at * this.machine.pageSize);
    this.machine.enter();
    this.vma = vmaLookup(p.mm, this.at);
    // Frames that nothing has been taken from: the kernel begins where a zone begins.
    this.#pfn = this.machine.state.basePfn + 5 * span;
  }

  /** A folio of some pages that is in use. */
  folio(pages: number, flags = 0): number {
    this.#pfn = Math.ceil(this.#pfn / pages) * pages;
    const page = pageOfPfn(this.#pfn);
    this.#pfn += pages;
    setPageRefcount(page, 1);
    setPageFlags(page, flags);
    if (pages > 1) prepCompound(page, Math.log2(pages));
    return page;
  }

  /** Maps a folio by one entry of the level. */
  leaf(index: number, folio: number, bits: number): number {
    const at = this.run('entryAlloc', this.mm, this.at + index * this.span, this.level).result;
    storeEntry(at, this.level, mkPte(folio, bits | PTE_HUGE));
    return at;
  }

  /** Maps a page by an entry of the lowest level. */
  small(vpn: number, page: number, bits: number): number {
    const at = this.run('entryAlloc', this.mm, vpn, 0).result;
    storeEntry(at, 0, mkPte(page, bits));
    return at;
  }

  run(name: string, ...args: number[]): Traced {
    this.machine.enter();
    return traced(name, ...args);
  }

  vector(): number {
    this.machine.enter();
    return allocPageVector();
  }

  fast(start: number, count: number, flags: number, vector: number): Traced {
    return this.run('getUserPagesFastOnly', this.mm, start, count, flags, vector);
  }

  pinFast(start: number, count: number, flags: number, vector: number): Traced {
    return this.run('pinUserPagesFast', this.mm, start, count, flags, vector);
  }
}

const pagesOf = (vector: number): number[] => Array.from({ length: get(vector, PageVector.count) }, (_, i) => get(vector, PageVector.pages + i));
const counts = (folio: number): [number, number] => [pageRefcount[folio], pagePincount[folio]];

describe.each(LEAVES)('%s, %s', (mode, _, level) => {
  it('F192, F194: fast and slow give the same pages, as many references of the head as pages, in one step', () => {
    const w = new World(mode, level);
    const folio = w.folio(w.span, PG_ANON | PG_ANON_EXCLUSIVE);
    w.leaf(0, folio, WRITE);
    const vector = w.vector();
    const most = Math.min(w.span, PAGE_VECTOR);
    for (const [offset, count] of [
      [0, 1],
      [w.span - 1, 1],
      [w.span - most, most],
      [1, Math.min(7, w.span - 1)],
    ]) {
      const wanted = Array.from({ length: count }, (_, i) => subPage(folio, offset + i));
      if (haveGupFast()) {
        const { result, through } = w.fast(w.at + offset, count, FOLL_WRITE, vector);
        expect([result, through.has('followPageMask')]).toEqual([count, false]);
        expect(pagesOf(vector)).toEqual(wanted);
        expect(counts(folio)).toEqual([1 + count, 0]);
        w.machine.kernel.putUserPages(vector);
        expect(w.pinFast(w.at + offset, count, FOLL_WRITE | FOLL_LONGTERM, vector).result).toBe(count);
        expect(counts(folio)).toEqual([1 + count, count]);
        w.machine.kernel.unpinUserPages(vector, 0);
      }
      for (const [name, pins] of [['getUserPagesUnlocked', 0] as const, ['pinUserPagesUnlocked', count] as const]) {
        const { result, performed } = w.run(name, w.mm, w.at + offset, count, FOLL_WRITE, vector);
        expect(result).toBe(count);
        expect(pagesOf(vector)).toEqual(wanted);
        expect(counts(folio)).toEqual([1 + count, pins]);
        // One entry, one lock (C11).
        expect(performed.get('spinLock')).toBe(1);
        if (pins === 0) w.machine.kernel.putUserPages(vector);
        else w.machine.kernel.unpinUserPages(vector, 0);
      }
      expect(counts(folio)).toEqual([1, 0]);
      for (const page of wanted) if (page !== folio) expect(counts(page)).toEqual([0, 0]);
    }
    freePageVector(vector);
  });

  it('C04, C06: rights, sharing, holes, frames without pages', () => {
    const w = new World(mode, level);
    const vector = w.vector();
    const folio = w.folio(w.span, PG_ANON);
    const follow = (vpn: number, flags: number): number => {
      const { result } = w.run('followPage', w.vma, vpn, flags);
      if (result > 0) w.run('gupPutFolio', result, 1, flags);
      return result;
    };
    const pins = (flags: number): number => {
      const { result } = w.run('pinUserPagesFast', w.mm, w.at + 1, 1, flags, vector);
      if (result > 0) w.machine.kernel.unpinUserPages(vector, 0);
      return result;
    };
    const page = subPage(folio, 1);
    const at = w.leaf(0, folio, READ);
    // Read-only, shared: references go, pins must unshare it first; without locks there is nothing.
    expect(follow(w.at + 1, FOLL_GET)).toBe(page);
    expect(follow(w.at + 1, FOLL_GET | FOLL_WRITE)).toBe(0);
    expect(follow(w.at + 1, FOLL_PIN)).toBe(EMLINK);
    expect(follow(w.at + 1, FOLL_PIN | FOLL_WRITE)).toBe(0);
    expect(w.fast(w.at + 1, 1, FOLL_WRITE, vector).result).toBe(0);
    // Exclusive: pins go. The head knows it.
    setPageFlags(folio, pageFlags[folio] | PG_ANON_EXCLUSIVE);
    expect(follow(w.at + 1, FOLL_PIN)).toBe(page);
    expect(pins(0)).toBe(1);
    expect(w.run('pinUserPagesFast', w.mm, w.at + 1, 1, 0, vector).through.has('followPageMask')).toBe(!haveGupFast());
    w.machine.kernel.unpinUserPages(vector, 0);
    // A page of a file, pinned for long: a private mapping must have its own.
    setPageFlags(folio, pageFlags[folio] & ~(PG_ANON | PG_ANON_EXCLUSIVE));
    expect(follow(w.at + 1, FOLL_PIN)).toBe(page);
    expect(follow(w.at + 1, FOLL_PIN | FOLL_LONGTERM)).toBe(EMLINK);
    // Nothing that is free.
    setPageRefcount(folio, 0);
    expect(w.fast(w.at, 1, 0, vector).result).toBe(0);
    expect(follow(w.at, FOLL_GET)).toBe(ENOMEM);
    setPageRefcount(folio, 1);
    // Inaccessible, a frame of a device, a hole.
    const { supports, supportsNone } = w.machine.codec.levels[level];
    if ((supportsNone & PTE_PROTNONE) !== 0) {
      storeEntry(at, level, mkPte(folio, PTE_PRESENT | PTE_PROTNONE | PTE_ACCESSED | PTE_HUGE));
      expect(w.fast(w.at, 1, 0, vector).result).toBe(0);
    }
    if ((supports & PTE_SPECIAL) !== 0) {
      storeEntry(at, level, mkPte(folio, READ | PTE_SPECIAL | PTE_HUGE));
      expect(w.fast(w.at, 1, 0, vector).result).toBe(0);
      set(w.vma, Vma.flags, get(w.vma, Vma.flags) | VM_PFNMAP);
      expect(follow(w.at, FOLL_GET)).toBe(EEXIST);
      expect(w.run('getUserPagesUnlocked', w.mm, w.at, 1, 0, vector).result).toBe(EFAULT);
    }
    storeEntry(at, level, 0);
    expect(follow(w.at, FOLL_GET)).toBe(0);
    expect(follow(w.at, FOLL_GET | FOLL_DUMP)).toBe(EFAULT);
    expect(counts(folio)).toEqual([1, 0]);
    freePageVector(vector);
  });

  it('F193: the lock of an upper entry is taken for a leaf, not for nothing nor for a page that is migrated just now', () => {
    const w = new World(mode, level);
    const folio = w.folio(w.span, PG_ANON | PG_ANON_EXCLUSIVE);
    const vector = w.vector();
    const at = w.leaf(0, folio, READ);
    const follow = (): [number, number | undefined] => {
      const { result, performed } = w.run('followPage', w.vma, w.at, FOLL_GET);
      return [result, performed.get('spinLock')];
    };
    expect(follow()).toEqual([folio, 1]);
    w.machine.kernel.gupPutFolio(folio, 1, FOLL_GET);
    // Where Linux has no migration at the level, nothing of the kind stands there.
    const migrates = (w.machine.codec.levels[level].supports & PTE_SWAP) !== 0;
    for (const entry of migrates ? [0, mkMigrationEntry(folio, READ, true)] : [0]) {
      storeEntry(at, level, entry);
      expect(follow()).toEqual([0, undefined]);
      expect(w.fast(w.at, 1, 0, vector).result).toBe(0);
    }
    expect(counts(folio)).toEqual([1, 0]);
    freePageVector(vector);
  });

  it('C05: of a shared mapping nothing is unshared; hugetlb pages ask the head', () => {
    const w = new World(mode, level, SHARED);
    const file = w.folio(w.span);
    w.leaf(0, file, READ);
    const { result } = w.run('followPage', w.vma, w.at + 1, FOLL_PIN | FOLL_LONGTERM);
    expect(result).toBe(subPage(file, 1));
    // The second entry of a contiguous pair names a tail of the folio.
    const pair = w.folio(2 * w.span, PG_ANON | PG_ANON_EXCLUSIVE | PG_HUGETLB);
    w.leaf(2, pair, READ);
    w.leaf(3, subPage(pair, w.span), READ);
    expect(w.run('followPage', w.vma, w.at + 3 * w.span, FOLL_PIN).result).toBe(subPage(pair, w.span));
    expect(counts(pair)).toEqual([2, 1]);
    const vector = w.vector();
    expect(w.pinFast(w.at + 2 * w.span + w.span - 1, 2, 0, vector).result).toBe(2);
    expect(pagesOf(vector)).toEqual([subPage(pair, w.span - 1), subPage(pair, w.span)]);
    expect(counts(pair)).toEqual([4, 3]);
    w.machine.kernel.unpinUserPages(vector, 0);
    freePageVector(vector);
  });

  it('F186, F188: an entry that changes after the references were taken gives nothing, and they are given back', () => {
    if (!haveGupFast()) return;
    const w = new World(mode, level);
    const folio = w.folio(w.span, PG_ANON | PG_ANON_EXCLUSIVE);
    const vector = w.vector();
    const count = Math.min(w.span, 16);
    for (const bits of [0, READ, WRITE]) {
      const at = w.leaf(0, folio, WRITE);
      let took = 0;
      const { result } = tracedWith(
        (operation) => {
          if (operation !== 'refGetUnlessZero') return;
          took = pageRefcount[folio] - 1;
          storeEntry(at, level, bits === 0 ? 0 : mkPte(folio, bits | PTE_HUGE));
        },
        'getUserPagesFastOnly',
        w.mm,
        w.at,
        count,
        FOLL_WRITE,
        vector,
      );
      expect([took, result, ...counts(folio)]).toEqual(bits === WRITE ? [count, count, 1 + count, 0] : [count, 0, 1, 0]);
      w.machine.kernel.putUserPages(vector);
    }
    freePageVector(vector);
  });

  it('F191: touch marks the entry', () => {
    const w = new World(mode, level);
    if (level !== 1) return;
    const folio = w.folio(w.span, PG_ANON | PG_ANON_EXCLUSIVE);
    const at = w.leaf(0, folio, PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_USER);
    const page = w.run('followPage', w.vma, w.at, FOLL_GET | FOLL_TOUCH | FOLL_WRITE).result;
    expect(page).toBe(folio);
    const supports = w.machine.codec.levels[level].supports & (PTE_ACCESSED | PTE_DIRTY);
    expect(w.machine.codec.readEntry(w.machine.state.words, at, level) & supports).toBe(supports);
  });

  it(`F179: any range of leaves, folios in small entries, single pages and holes (seed ${SEED})`, () => {
    const chance = randomNumbers(SEED + level);
    const w = new World(mode, level);
    const vector = w.vector();
    /** What stands at each page of interest: around the boundaries of the entries. */
    const there = new Map<number, number>();
    const near = Math.min(w.span / 2, 24);
    w.leaf(1, w.folio(w.span, PG_ANON | PG_ANON_EXCLUSIVE), WRITE);
    const leafed = w.folio(w.span, PG_ANON | PG_ANON_EXCLUSIVE);
    w.leaf(2, leafed, READ);
    for (const index of [0, 3]) {
      // Small entries: before the first leaf, after the last.
      let vpn = index === 0 ? w.at + w.span - near : w.at + 3 * w.span;
      const end = vpn + near;
      while (vpn < end) {
        const kind = chance(4);
        const pages = Math.min(kind === 0 ? 8 : 1, end - vpn);
        const folio = kind === 3 ? 0 : w.folio(kind === 0 ? 8 : 1, PG_ANON | PG_ANON_EXCLUSIVE);
        for (let i = 0; i < pages && folio !== 0; i++) {
          const page = subPage(folio, i);
          setPageFlags(page, pageFlags[page] | PG_ANON_EXCLUSIVE);
          w.small(vpn + i, page, WRITE);
          there.set(vpn + i, page);
        }
        vpn += pages;
      }
    }
    const first = w.machine.codec.readEntry(w.machine.state.words, w.run('entryPointer', w.mm, w.at + w.span, level).result, level);
    expect(first & PTE_HUGE).toBe(PTE_HUGE);
    const head = pageFolio(w.run('followPage', w.vma, w.at + w.span, FOLL_GET).result);
    for (let i = 0; i < w.span && i < 2 * near; i++) {
      there.set(w.at + w.span + i, subPage(head, i));
      there.set(w.at + 2 * w.span - 1 - i, subPage(head, w.span - 1 - i));
      there.set(w.at + 2 * w.span + i, subPage(leafed, i));
      there.set(w.at + 3 * w.span - 1 - i, subPage(leafed, w.span - 1 - i));
    }
    const starts = [w.at + w.span - near, w.at + w.span, w.at + 2 * w.span - near, w.at + 2 * w.span, w.at + 3 * w.span - near, w.at + 3 * w.span];
    const seen = new Set<number>();
    for (let round = 0; round < 60; round++) {
      const start = starts[chance(starts.length)] + chance(near);
      const count = 1 + chance(near);
      let reach = 0;
      while (reach < count && there.has(start + reach)) reach++;
      const wanted = Array.from({ length: reach }, (_, i) => there.get(start + i));
      const before = wanted.map((page) => pageRefcount[pageFolio(page as number)]);
      // What is not there is not asked for by faults: NOFAULT.
      const slow = w.run('getUserPagesUnlocked', w.mm, start, count, 32, vector);
      expect([round, slow.result, ...pagesOf(vector)]).toEqual([round, reach === 0 ? EFAULT : reach, ...wanted]);
      w.machine.kernel.putUserPages(vector);
      const fast = w.fast(start, count, 0, vector);
      expect([round, fast.result, ...pagesOf(vector)]).toEqual([round, ...(haveGupFast() ? [reach, ...wanted] : [0])]);
      w.machine.kernel.putUserPages(vector);
      expect(wanted.map((page) => pageRefcount[pageFolio(page as number)])).toEqual(before);
      seen.add(Math.sign(reach) + (reach === count ? 1 : 0));
    }
    expect([...seen]).toEqual(expect.arrayContaining([1, 2]));
    freePageVector(vector);
  });
});

describe.each(MODES)('%s, contiguous entries', (mode) => {
  it('F205, F206: a run of one folio is one step of the slow way and of the fast one, and ends with the folio, with the rights, with what is exclusive', () => {
    const w = new World(mode, 1);
    const vector = w.vector();
    const folio = w.folio(16, PG_ANON);
    const vpn = w.at;
    const entries = Array.from({ length: 16 }, (_, i) => {
      const page = subPage(folio, i);
      setPageFlags(page, pageFlags[page] | PG_ANON_EXCLUSIVE);
      return w.small(vpn + i, page, WRITE);
    });
    const steps = (name: string, flags: number, count = 16): [number, number | undefined] => {
      const { result, performed } = w.run(name, w.mm, vpn, count, flags, vector);
      expect(pagesOf(vector)).toEqual(Array.from({ length: Math.max(0, result) }, (_, i) => subPage(folio, i)));
      expect(counts(folio)).toEqual([1 + Math.max(0, result), name.startsWith('pin') ? Math.max(0, result) : 0]);
      if (name.startsWith('pin')) w.machine.kernel.unpinUserPages(vector, 0);
      else w.machine.kernel.putUserPages(vector);
      expect(counts(folio)).toEqual([1, 0]);
      return [result, performed.get('spinLock')];
    };
    for (const name of ['getUserPagesUnlocked', 'pinUserPagesUnlocked']) for (const flags of [0, FOLL_WRITE]) expect(steps(name, flags)).toEqual([16, 1]);
    // Other rights from the sixth on: the second step.
    for (let i = 5; i < 16; i++) storeEntry(entries[i], 0, mkPte(subPage(folio, i), READ));
    expect(steps('getUserPagesUnlocked', 0)).toEqual([16, 2]);
    // A part that is shared must be unshared before it is pinned; until there it is a run.
    const tenth = subPage(folio, 9);
    setPageFlags(tenth, pageFlags[tenth] & ~PG_ANON_EXCLUSIVE);
    expect(steps('pinUserPagesUnlocked', 32)).toEqual([9, 3]);
    expect(steps('getUserPagesUnlocked', 0)).toEqual([16, 2]);
    // An entry of another folio in between.
    const other = w.folio(1, PG_ANON | PG_ANON_EXCLUSIVE);
    storeEntry(entries[3], 0, mkPte(other, WRITE));
    const { result, performed } = w.run('getUserPagesUnlocked', w.mm, vpn, 5, 0, vector);
    expect([result, performed.get('spinLock'), pagesOf(vector)[3]]).toEqual([5, 3, other]);
    w.machine.kernel.putUserPages(vector);
    expect(spanPages(1)).toBe(w.span);
    if (!haveGupFast()) return freePageVector(vector);

    // Without locks: a step takes references once, and reads each entry before and after.
    const fast = (flags: number, after: (operation: string, first: number) => void = () => {}): [number, number] => {
      const name = (flags & FOLL_PIN) !== 0 ? 'pinUserPagesFast' : 'getUserPagesFastOnly';
      const taken = tracedWith(after, name, w.mm, vpn, 16, flags & ~FOLL_PIN, vector);
      expect(taken.performed.get('spinLock') ?? 0).toBe(0);
      const got = [taken.result, taken.performed.get('refGetUnlessZero') ?? 0] as [number, number];
      expect(pagesOf(vector)).toEqual(Array.from({ length: taken.result }, (_, i) => ptePage(loadEntry(entries[i], 0))));
      if ((flags & FOLL_PIN) !== 0) w.machine.kernel.unpinUserPages(vector, 0);
      else w.machine.kernel.putUserPages(vector);
      expect([counts(folio), counts(other)]).toEqual([
        [1, 0],
        [1, 0],
      ]);
      return got;
    };
    // Five writable ones, one of which is another folio's, and eleven that are not.
    expect(fast(0)).toEqual([16, 4]);
    for (let i = 0; i < 16; i++) storeEntry(entries[i], 0, mkPte(subPage(folio, i), i === 7 ? CLEAN : WRITE));
    setPageFlags(tenth, pageFlags[tenth] | PG_ANON_EXCLUSIVE);
    for (const flags of [0, FOLL_WRITE, FOLL_PIN, FOLL_PIN | FOLL_WRITE]) expect(fast(flags)).toEqual([16, 1]);
    // An entry goes when the references are there: what is before it counts, and nothing more is held; what accesses leave behind does not matter.
    const change = (at: number, entry: number) => (operation: string) => void (operation === 'refGetUnlessZero' && storeEntry(entries[at], 0, entry));
    expect(fast(0, change(3, mkPte(subPage(folio, 3), CLEAN)))).toEqual([16, 1]);
    expect(fast(0, change(6, 0))).toEqual([6, 1]);
    freePageVector(vector);
  });
});
