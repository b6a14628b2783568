/**
 * The contracts of get_user_pages that pages of the base size can show (catalogue, part C): what calls return, what they leave as it was, when a page must be
 * unshared, which rights FOLL_FORCE overrides. What is expected is computed from the rule's words or from the list of mappings, never by the code itself.
 */
import { describe, expect, it } from 'vitest';
import { loadEntry, storeEntry } from '../../src/kernel/arch.ts';
import { randomNumbers } from '../../src/kernel/choose.ts';
import { throwSwitches } from '../../src/kernel/switches.ts';
import { makeCpus } from '../../src/kernel/task.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { get, set } from '../../src/memory/heap.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_LOCKED } from '../../src/memory/page-flags.ts';
import { pageFlags, pageOfPfn, pagePincount, pageRefcount, setPageFlags, wordShift, words } from '../../src/memory/state.ts';
import { haveGupFast } from '../../src/mm/gup-fast.ts';
import { gupMustUnshare } from '../../src/mm/gup-pin.ts';
import {
  allocGup,
  allocPageVector,
  FOLL_ANON,
  FOLL_DUMP,
  FOLL_FAST_ONLY,
  FOLL_FORCE,
  FOLL_GET,
  FOLL_HONOR_NUMA_FAULT,
  FOLL_HWPOISON,
  FOLL_LONGTERM,
  FOLL_NOFAULT,
  FOLL_NOWAIT,
  FOLL_PIN,
  FOLL_REMOTE,
  FOLL_TOUCH,
  FOLL_WRITE,
  freeGup,
  freePageVector,
  Gup,
  PageVector,
} from '../../src/mm/gup-types.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { mkPteMarker, PTE_MARKER_GUARD, PTE_MARKER_POISONED, ptePfn } from '../../src/mm/pgtable.ts';
import { Mm, Vma } from '../../src/mm/types.ts';
import { VM_PFNMAP } from '../../src/mm/vm-flags.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';
import { PTE_DIRTY, PTE_EXEC, PTE_PROTNONE, PTE_READ, PTE_SPECIAL, PTE_USER, PTE_WRITE } from '../../src/pagetable/canonical.ts';
import { traced } from './support/traced.ts';

const MODES = ['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k', 'arm-short'] as const;
const [EAGAIN_NOTHING, ENOMEM, EFAULT, EEXIST, EINVAL, EMLINK, EOVERFLOW, EHWPOISON] = [0, -12, -14, -17, -22, -31, -75, -133];
const AT = 0x10000;
const NAME = 0x20000;
const READ = 1;
const [PRIVATE, SHARED] = [0x32, 0x31];
const SEED = 11;

class World {
  readonly machine: Machine;
  readonly p: Process;
  readonly size: number;

  constructor(mode: string) {
    this.machine = new Machine({ mode, ramBytes: 8 * 2 ** 20 });
    this.p = this.machine.spawn();
    this.size = this.machine.pageSize;
  }

  map(page: number, pages: number, prot: number, flags: number, fd = -1): void {
    expect(this.p.syscall('mmap', (AT + page) * this.size, pages * this.size, prot, flags, fd, 0)).toBe((AT + page) * this.size);
  }

  store(page: number, value = 1n): void {
    expect(this.p.store(BigInt((AT + page) * this.size), 4, value)).toBeUndefined();
  }

  /** A file of a disk; nothing of it is in memory. */
  disk(pages: number): number {
    this.p.syscall('mmap', NAME * this.size, this.size, 3, PRIVATE, -1, 0);
    this.p.write(BigInt(NAME * this.size), new TextEncoder().encode('/var/tmp/pxd/f\0'));
    const fd = this.p.syscall('open', NAME * this.size, 0o102, 0o600);
    expect(fd).toBeGreaterThanOrEqual(0);
    expect(this.p.syscall('ftruncate', fd, pages * this.size)).toBe(0);
    return fd;
  }

  /** Calls a kernel function; vectors are the caller's. */
  run(name: string, ...args: number[]): { result: number; through: ReadonlySet<string> } {
    this.machine.enter();
    return traced(name, ...args);
  }

  /** The same under the mmap lock for reading. */
  locked(name: string, ...args: number[]): number {
    this.run('mmapReadLock', this.p.mm);
    const { result } = this.run(name, ...args);
    this.run('mmapReadUnlock', this.p.mm);
    return result;
  }

  vector(): number {
    this.machine.enter();
    return allocPageVector();
  }

  /** Gives references back; what the vector had. */
  put(vector: number): number {
    this.machine.enter();
    const count = get(vector, PageVector.count);
    this.machine.kernel.putUserPages(vector);
    return count;
  }

  vma(page: number): number {
    this.machine.enter();
    return vmaLookup(this.p.mm, AT + page);
  }

  /** Where the entry of a page stands. */
  entry(page: number): number {
    return this.run('entryPointer', this.p.mm, AT + page, 0).result;
  }
}

describe.each(MODES)('%s', (mode) => {
  it('C01, F180, F181: a positive count gives at least one page or an error, and none gives 0', () => {
    const w = new World(mode);
    const { p, machine, size } = w;
    w.map(0, 2, 3, PRIVATE);
    const vector = w.vector();
    const { vaBits } = machine.codec;
    const last = 2 ** ((vaBits <= 32 ? 32 : 64) - machine.pageShift);
    const top = get(p.mm, Mm.taskSize);
    for (const name of ['getUserPagesFast', 'pinUserPagesFast']) {
      expect(w.run(name, p.mm, AT, 0, 0, vector).result).toBe(0);
      expect(w.run(name, p.mm, AT, -1, 0, vector).result).toBe(0);
      // Kernel addresses, a range that reaches there, one that wraps.
      expect(w.run(name, p.mm, top, 1, 0, vector).result).toBe(EFAULT);
      expect(w.run(name, p.mm, top - 1, 2, 0, vector).result).toBe(EFAULT);
      expect(w.run(name, p.mm, last - 1, 2, 0, vector).result).toBe(EOVERFLOW);
      expect(w.run(name, p.mm, AT + 2, 1, 0, vector).result).toBe(EFAULT);
    }
    expect(get(vector, PageVector.count)).toBe(0);
    expect(w.run('getUserPagesUnlocked', p.mm, AT + 2, 1, 0, vector).result).toBe(EFAULT);
    expect(w.run('getUserPagesUnlocked', p.mm, AT, 0, 0, vector).result).toBe(0);
    expect(w.run('getUserPagesFast', p.mm, AT, 2, FOLL_WRITE, vector).result).toBe(2);
    expect(w.put(vector)).toBe(2);
    expect(size).toBeGreaterThan(0);
    freePageVector(vector);
    expect(checkMachine()).toEqual([]);
  });

  it(`C01, C03: any range gives the pages before the first that may not be had (seed ${SEED})`, () => {
    const chance = randomNumbers(SEED);
    const w = new World(mode);
    const { p } = w;
    /** Rights by page: −1 a hole. */
    const rights = Array.from({ length: 24 }, () => [-1, 0, READ, 3, 3, 3][chance(6)]);
    for (const [page, prot] of rights.entries()) if (prot >= 0) w.map(page, 1, prot, chance(2) === 0 ? PRIVATE : SHARED);
    const touched = rights.map((prot) => prot === 3 && chance(2) === 0);
    for (const [page, yes] of touched.entries()) if (yes) w.store(page);
    const vector = w.vector();
    const seen = new Set<string>();
    for (let round = 0; round < 120; round++) {
      const from = chance(24);
      const count = 1 + chance(24 - from);
      const write = chance(2) === 0;
      let usable = 0;
      while (usable < count && rights[from + usable] >= (write ? 3 : READ)) usable++;
      const name = ['getUserPagesFast', 'pinUserPagesFast', 'getUserPagesUnlocked', 'pinUserPagesUnlocked'][chance(4)];
      const { result } = w.run(name, p.mm, AT + from, count, write ? FOLL_WRITE : 0, vector);
      expect({ round, name, from, count, write, result }).toEqual({ round, name, from, count, write, result: usable > 0 ? usable : EFAULT });
      // Only what was had stands in the vector; the rest is nobody's.
      expect(get(vector, PageVector.count)).toBe(usable);
      for (let i = 0; i < count; i++) expect(get(vector, PageVector.pages + i) !== 0).toBe(i < usable);
      seen.add(usable === 0 ? 'none' : usable < count ? 'short' : 'all');
      if (name.startsWith('pin')) w.machine.kernel.unpinUserPages(vector, 0);
      else w.put(vector);
    }
    expect([...seen].sort()).toEqual(['all', 'none', 'short']);
    freePageVector(vector);
    expect(checkMachine()).toEqual([]);
  });

  it('C02, F182: what may only be had without locks is never an error, faults nothing in, takes no lock', () => {
    const w = new World(mode);
    const { p } = w;
    w.map(0, 4, 3, PRIVATE);
    w.store(0);
    w.store(1);
    w.map(4, 1, 0, PRIVATE);
    const vector = w.vector();
    const top = get(p.mm, Mm.taskSize);
    const reach = haveGupFast() ? 2 : 0;
    for (const [start, count, flags, wanted] of [
      [AT, 2, FOLL_WRITE, reach],
      [AT, 4, 0, reach],
      [AT + 2, 1, 0, 0],
      [AT + 4, 1, 0, 0],
      [AT + 5, 1, 0, 0],
      [AT, 0, 0, 0],
      [AT, -1, 0, 0],
      [top, 1, 0, 0],
      [top - 1, 2, 0, 0],
      [2 ** 60, 1, 0, 0],
      // Flags that do not go together.
      [AT, 1, FOLL_PIN, 0],
      [AT, 1, FOLL_LONGTERM, 0],
    ]) {
      const faults = get(p.mm, Mm.totalVm);
      const { result, through } = w.run('getUserPagesFastOnly', p.mm, start, count, flags, vector);
      expect({ start, count, flags, result }).toEqual({ start, count, flags, result: wanted });
      for (const slow of ['mmapReadLock', 'followPageMask', 'faultinPage', 'handleMmFault', 'pteOffsetMapLock']) expect(through.has(slow)).toBe(false);
      expect(get(p.mm, Mm.totalVm)).toBe(faults);
      expect(w.put(vector)).toBe(wanted);
    }
    freePageVector(vector);
  });

  it('C03, F183: gup_test counts what it took, not the error of a call', () => {
    const w = new World(mode);
    const { p, size } = w;
    w.map(0, 3, 3, PRIVATE);
    w.store(0);
    for (const command of [1, 2, 3, 4, 5, 6]) {
      expect(w.run('gupTest', p.ref, command, AT * size, 6 * size, 2, FOLL_WRITE, 0).result, `command ${command}`).toBe(3);
      expect(w.run('gupTest', p.ref, command, (AT + 3) * size, 3 * size, 2, 0, 0).result, `command ${command}`).toBe(0);
    }
    expect(w.run('gupTest', p.ref, 7, AT * size, size, 1, 0, 0).result).toBe(EINVAL);
    expect(checkMachine()).toEqual([]);
  });

  it('F184: folio_maybe_dma_pinned: a pin is 1024 references of a small page, and as many references are taken for one', () => {
    const w = new World(mode);
    const { p, machine } = w;
    w.map(0, 2, 3, PRIVATE);
    for (const page of [0, 1]) w.store(page, BigInt(page + 1));
    const pfn = (page: number, who = p): number => {
      machine.enter();
      return ptePfn(loadEntry(machine.kernel.entryPointer(who.mm, AT + page, 0), 0));
    };
    const vectors = [w.vector(), w.vector()];
    const pages = [0, 1].map((page) => pageOfPfn(pfn(page)));
    const maybe = (page: number): boolean => Boolean(w.run('folioMaybeDmaPinned', pages[page]).result);
    expect(maybe(0)).toBe(false);
    expect(w.run('pinUserPagesFast', p.mm, AT, 1, FOLL_WRITE, vectors[0]).result).toBe(1);
    expect([maybe(0), pageRefcount[pages[0]]]).toEqual([true, 2]);
    machine.kernel.unpinUserPages(vectors[0], 0);
    expect(maybe(0)).toBe(false);
    const refer = (page: number, count: number): number => {
      machine.enter();
      for (let i = 0; i < count; i++) machine.kernel.getUserPagesFast(p.mm, AT + page, 1, 0, vectors[page]);
      return pageRefcount[pages[page]];
    };
    // One reference is the mapping's. Fork takes the child's first, and copies at once what may be pinned then, in an address space that has pinned something.
    expect([refer(0, 1021), refer(1, 1022), maybe(0), maybe(1)]).toEqual([1022, 1023, false, false]);
    const child = p.fork();
    expect(pfn(0, child)).toBe(pfn(0));
    expect(pfn(1, child)).not.toBe(pfn(1));
    child.exit();
    expect([refer(0, 1), refer(1, 1), maybe(0), maybe(1)]).toEqual([1023, 1024, false, true]);
    expect(vectors.map((vector) => w.put(vector))).toEqual([1022, 1023]);
    vectors.forEach(freePageVector);
    expect(maybe(1)).toBe(false);
    expect(checkMachine()).toEqual([]);
  });

  it('C05, F197: gup_must_unshare', () => {
    const w = new World(mode);
    w.map(0, 1, 3, PRIVATE);
    w.map(1, 1, 3, SHARED);
    const vmas = { unknown: 0, private: w.vma(0), shared: w.vma(1) };
    w.machine.enter();
    for (const [name, vma] of Object.entries(vmas))
      for (const state of [0, PG_ANON, PG_ANON | PG_ANON_EXCLUSIVE])
        for (const flags of [
          0,
          FOLL_GET,
          FOLL_GET | FOLL_WRITE,
          FOLL_PIN,
          FOLL_PIN | FOLL_LONGTERM,
          FOLL_PIN | FOLL_WRITE,
          FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM,
        ]) {
          // As the rule says it: pins for reading alone; anonymous pages unless exclusive; files' for long, unless known to be shared for good.
          const pinForReading = flags === FOLL_PIN || flags === (FOLL_PIN | FOLL_LONGTERM);
          const asked = state === 0 ? flags === (FOLL_PIN | FOLL_LONGTERM) && name !== 'shared' : state === PG_ANON;
          expect(gupMustUnshare(vma, flags, state), `${name} ${state} ${flags}`).toBe(pinForReading && asked);
        }
  });

  it('C07, F189: pins come from the pinning calls alone; flags that do not go together, and internal ones, are refused', () => {
    const w = new World(mode);
    const { p } = w;
    w.map(0, 1, 3, PRIVATE);
    w.store(0);
    const vector = w.vector();
    const fast = (name: string, flags: number): number => w.run(name, p.mm, AT, 1, flags, vector).result;
    const page = ptePageOf(w, 0);
    const before = [pageRefcount[page], pagePincount[page]];
    for (const flags of [FOLL_PIN, FOLL_TOUCH, FOLL_REMOTE, FOLL_FAST_ONLY, FOLL_PIN | FOLL_GET, FOLL_LONGTERM]) {
      for (const name of ['getUserPagesFast', 'getUserPagesUnlocked']) expect(fast(name, flags), `${name} ${flags}`).toBe(EINVAL);
      expect(w.locked('getUserPages', p.mm, AT, 1, flags, vector)).toBe(EINVAL);
    }
    expect(fast('pinUserPagesFast', FOLL_GET)).toBe(EINVAL);
    expect(fast('pinUserPagesUnlocked', FOLL_GET)).toBe(0);
    expect(w.locked('pinUserPages', p.mm, AT, 1, FOLL_GET, vector)).toBe(0);
    // Pages with nowhere to go.
    expect(w.run('getUserPagesFast', p.mm, AT, 1, 0, 0).result).toBe(EINVAL);
    expect(w.run('pinUserPagesFast', p.mm, AT, 1, 0, 0).result).toBe(EINVAL);
    // The slow way only faults in, then.
    expect(w.run('getUserPagesUnlocked', p.mm, AT, 1, 0, 0).result).toBe(1);
    expect([pageRefcount[page], pagePincount[page]]).toEqual(before);
    expect(get(vector, PageVector.count)).toBe(0);
    freePageVector(vector);
  });

  it('C08, F211: a page without references is not taken, and nothing of it changes; what is taken is given back', () => {
    const w = new World(mode);
    w.map(0, 1, 3, PRIVATE);
    w.store(0);
    const page = ptePageOf(w, 0);
    const state = (of: number): number[] => [pageRefcount[of], pagePincount[of], pageFlags[of]];
    for (const flags of [FOLL_GET, FOLL_PIN]) {
      const was = state(page);
      expect(w.run('tryGrabFolio', page, 1, flags).result).toBe(0);
      expect(state(page)).toEqual([was[0] + 1, was[1] + (flags === FOLL_PIN ? 1 : 0), was[2]]);
      w.run('gupPutFolio', page, 1, flags);
      expect(state(page)).toEqual(was);
    }
    // Any page that is free.
    const free = pageRefcount.findIndex((count, i) => i > 0 && count === 0);
    const was = state(free);
    for (const flags of [FOLL_GET, FOLL_PIN, FOLL_PIN | FOLL_LONGTERM]) {
      expect(w.run('tryGrabFolio', free, 1, flags).result).toBe(ENOMEM);
      expect(w.run('tryGrabFolioFast', free, 1, flags).result).toBe(0);
      expect(state(free)).toEqual(was);
    }
  });

  it('C09: FOLL_NOWAIT waits for no page lock and keeps the mmap lock; 0 pages are no error then', () => {
    const w = new World(mode);
    const { p, machine } = w;
    const fd = w.disk(1);
    w.map(0, 1, 3, SHARED & ~0x20, fd);
    p.load(BigInt(AT * w.size), 4);
    const page = ptePageOf(w, 0);
    p.syscall('madvise', AT * w.size, w.size, 4);
    const vector = w.vector();
    const remote = (flags: number): [number, number] => {
      machine.enter();
      const gup = allocGup();
      set(gup, Gup.mm, p.mm);
      set(gup, Gup.flags, flags);
      set(gup, Gup.vector, vector);
      set(gup, Gup.locked, 1);
      w.run('mmapReadLock', p.mm);
      const { result, through } = w.run('getUserPagesRemote', gup, AT, 1);
      const locked = get(gup, Gup.locked);
      if (locked !== 0) w.run('mmapReadUnlock', p.mm);
      freeGup(gup);
      expect(through.has('faultinPage')).toBe(true);
      return [result, locked];
    };
    // Somebody reads the page from its disk.
    machine.enter();
    setPageFlags(page, pageFlags[page] | PG_LOCKED);
    expect(remote(FOLL_NOWAIT)).toEqual([EAGAIN_NOTHING, 1]);
    expect(w.put(vector)).toBe(0);
    machine.enter();
    setPageFlags(page, pageFlags[page] & ~PG_LOCKED);
    expect(remote(FOLL_NOWAIT)).toEqual([1, 1]);
    expect(w.put(vector)).toBe(1);
    expect(checkMachine({ roots: [vector] })).toEqual([]);
    // Who has time waits for it.
    p.syscall('madvise', AT * w.size, w.size, 4);
    machine.enter();
    setPageFlags(page, pageFlags[page] | PG_LOCKED);
    expect(() => remote(0)).toThrow(/waits for ever: folioLock/);
  });

  it('C10: markers are no pages; what the fault says of them is the answer', () => {
    const w = new World(mode);
    const { p } = w;
    w.map(0, 3, 3, PRIVATE);
    for (const page of [0, 1, 2]) w.store(page);
    w.p.syscall('madvise', AT * w.size, 3 * w.size, 4);
    w.machine.enter();
    const [guard, poison] = [w.entry(0), w.entry(1)];
    storeEntry(guard, 0, mkPteMarker(PTE_MARKER_GUARD));
    storeEntry(poison, 0, mkPteMarker(PTE_MARKER_POISONED));
    const vector = w.vector();
    for (const page of [0, 1, 2]) expect(w.run('followPage', w.vma(page), AT + page, FOLL_GET).result).toBe(0);
    // A core dump does not ask for what is not there; a marker is something.
    expect(w.run('followPage', w.vma(2), AT + 2, FOLL_GET | FOLL_DUMP).result).toBe(EFAULT);
    expect(w.run('getUserPagesUnlocked', p.mm, AT, 1, 0, vector).result).toBe(EFAULT);
    expect(w.run('getUserPagesUnlocked', p.mm, AT + 1, 1, 0, vector).result).toBe(EFAULT);
    expect(w.run('getUserPagesUnlocked', p.mm, AT + 1, 1, FOLL_HWPOISON, vector).result).toBe(EHWPOISON);
    expect(p.load(BigInt(AT * w.size), 4)).toMatchObject({ signal: 11 });
    // Without CONFIG_MEMORY_FAILURE the signal says nothing of poison (BUS_ADRERR).
    expect(p.load(BigInt((AT + 1) * w.size), 4)).toMatchObject({ signal: 7, code: 2 });
    expect(w.run('getUserPagesUnlocked', p.mm, AT + 2, 1, FOLL_NOFAULT, vector).result).toBe(EFAULT);
    for (const page of [0, 1]) expect(w.run('getUserPagesFastOnly', p.mm, AT + page, 1, 0, vector).result).toBe(0);
    expect(get(vector, PageVector.count)).toBe(0);
  });

  it('C13: FOLL_FORCE writes to a private copy, where a debugger may, and nowhere else', () => {
    const w = new World(mode);
    const { p } = w;
    const fd = w.disk(1);
    w.map(0, 1, 3, PRIVATE);
    w.map(1, 1, 3, SHARED);
    w.map(2, 1, READ, PRIVATE & ~0x20, fd);
    w.map(3, 1, READ, SHARED & ~0x20, fd);
    w.store(0);
    w.store(1);
    for (const page of [0, 1]) p.syscall('mprotect', (AT + page) * w.size, w.size, READ);
    const vector = w.vector();
    const write = (page: number, flags: number): number => w.run('getUserPagesUnlocked', p.mm, AT + page, 1, flags | FOLL_WRITE, vector).result;
    const follow = (page: number, flags: number): number => w.run('followPage', w.vma(page), AT + page, flags | FOLL_WRITE | FOLL_GET).result;
    for (const page of [0, 1, 2, 3]) expect(write(page, 0)).toBe(EFAULT);
    // An exclusive page of a private mapping is taken as it stands.
    const own = ptePageOf(w, 0);
    expect(follow(0, FOLL_FORCE)).toBe(own);
    w.run('folioPut', own);
    // Others' are not: they are copied first, and stay read-only for the process.
    const child = p.fork();
    expect(follow(0, FOLL_FORCE)).toBe(0);
    expect(write(0, FOLL_FORCE)).toBe(1);
    expect(get(vector, PageVector.pages)).not.toBe(own);
    expect(loadEntry(w.entry(0), 0) & PTE_WRITE).toBe(0);
    expect(write(2, FOLL_FORCE)).toBe(1);
    expect(pageFlags[get(vector, PageVector.pages + 1)] & PG_ANON).toBe(PG_ANON);
    expect(p.store(BigInt((AT + 2) * w.size), 4, 1n)).toMatchObject({ signal: 11 });
    for (const page of [1, 3]) expect(write(page, FOLL_FORCE)).toBe(EFAULT);
    // For reading it overrides PROT_NONE.
    p.syscall('mprotect', AT * w.size, w.size, 0);
    const none = w.run('getUserPagesUnlocked', p.mm, AT, 1, 0, vector).result;
    expect([none, w.run('getUserPagesUnlocked', p.mm, AT, 1, FOLL_FORCE, vector).result]).toEqual([EFAULT, 1]);
    w.put(vector);
    freePageVector(vector);
    child.exit();
    expect(checkMachine()).toEqual([]);
  });

  it('C14, F209: an anonymous page that was pinned is exclusive, whatever it was before', () => {
    const w = new World(mode);
    const { p, machine } = w;
    w.map(0, 4, 3, PRIVATE);
    for (const page of [0, 1]) w.store(page);
    p.load(BigInt((AT + 2) * w.size), 4);
    const child = p.fork();
    w.store(1);
    for (const name of ['pinUserPagesFast', 'pinUserPagesUnlocked'])
      for (const flags of [0, FOLL_LONGTERM, FOLL_WRITE]) {
        const vector = w.vector();
        expect(w.run(name, p.mm, AT, 4, flags, vector).result).toBe(4);
        for (let i = 0; i < 4; i++) {
          const state = pageFlags[get(vector, PageVector.pages + i)];
          if ((state & PG_ANON) !== 0) expect(state & PG_ANON_EXCLUSIVE, `${name} ${flags} page ${i}`).not.toBe(0);
        }
        machine.kernel.unpinUserPages(vector, 0);
        freePageVector(vector);
      }
    child.exit();
    machine.enter();
    expect(checkMachine()).toEqual([]);
  });

  it('C40: a lasting pin for reading asks to unshare pages that were read before and pages that nobody has touched; a page that was written to shows nothing', () => {
    const [read, untouched, written] = [0, 1, 2];
    for (const name of ['pinUserPagesFast', 'pinUserPagesUnlocked'])
      for (const broken of [false, true]) {
        const w = new World(mode);
        const { p, machine } = w;
        // A file's pages, and others that a child shares.
        const fd = w.disk(3);
        w.map(0, 3, 3, 2 | 0x10, fd);
        w.map(3, 3, 3, PRIVATE);
        for (const page of [3, 4, 5]) w.store(page);
        const child = p.fork();
        for (const page of [0, 3]) {
          p.load(BigInt((AT + page + read) * w.size), 4);
          w.store(page + written);
        }
        machine.enter();
        const short = w.vector();
        // Without locks, where it was read before: the way that untouched pages hide.
        expect(w.run('getUserPagesFast', p.mm, AT + read, 1, 0, short).through.has('followPageMask')).toBe(!haveGupFast());
        w.put(short);
        freePageVector(short);
        if (broken) {
          makeCpus(1);
          throwSwitches(['gupNoUnshare']);
        }
        // A pin of an anonymous page that others share is found at once (I8).
        for (const page of broken ? [0, 1, 2, 5] : [0, 1, 2, 3, 4, 5]) {
          const say = `${name}, page ${page}${broken ? ', broken' : ''}`;
          const vector = w.vector();
          const { result, through } = w.run(name, p.mm, AT + page, 1, FOLL_LONGTERM, vector);
          expect(result, say).toBe(1);
          const asks = !broken && page % 3 !== written;
          expect(through.has('wpPageCopy'), say).toBe(asks);
          if (page % 3 !== untouched) expect(through.has('faultinPage'), say).toBe(asks);
          // What the process stores next is seen by who has the pin.
          w.store(page, 9n);
          machine.enter();
          expect(words[get(vector, PageVector.pages) << wordShift] === 9, say).toBe(!broken || page % 3 === written);
          machine.kernel.unpinUserPages(vector, 0);
          freePageVector(vector);
        }
        child.exit();
        machine.enter();
        if (!broken) expect(checkMachine()).toEqual([]);
      }
  });

  it('F189: FOLL_ANON, and FOLL_HONOR_NUMA_FAULT', () => {
    const w = new World(mode);
    w.map(0, 1, 3, PRIVATE);
    w.map(1, 1, 3, SHARED);
    w.store(0);
    const vector = w.vector();
    expect(w.run('getUserPagesUnlocked', w.p.mm, AT, 1, FOLL_ANON, vector).result).toBe(1);
    expect(w.run('getUserPagesUnlocked', w.p.mm, AT + 1, 1, FOLL_ANON, vector).result).toBe(EFAULT);
    w.put(vector);
    // As NUMA balancing leaves an entry: inaccessible, in a VMA that may be accessed.
    const at = w.entry(0);
    const entry = loadEntry(at, 0);
    const page = ptePageOf(w, 0);
    storeEntry(at, 0, entry - (entry & (PTE_READ | PTE_WRITE | PTE_EXEC | PTE_USER)) + PTE_PROTNONE);
    expect(w.run('getUserPagesFastOnly', w.p.mm, AT, 1, 0, vector).result).toBe(0);
    expect(w.run('followPage', w.vma(0), AT, FOLL_GET).result).toBe(page);
    expect(w.run('followPage', w.vma(0), AT, FOLL_GET | FOLL_HONOR_NUMA_FAULT).result).toBe(0);
    w.run('folioPut', page);
    storeEntry(at, 0, entry);
    // Where the VMA itself may not be accessed there is no fault to wait for.
    w.p.syscall('mprotect', AT * w.size, w.size, 0);
    expect(w.run('followPage', w.vma(0), AT, FOLL_GET | FOLL_HONOR_NUMA_FAULT | FOLL_FORCE).result).toBe(page);
    w.run('folioPut', page);
    freePageVector(vector);
  });

  it('C42: frames of devices are no pages: nobody takes a reference, and calls that want pages fail', () => {
    const w = new World(mode);
    const { p } = w;
    w.map(0, 1, 3, PRIVATE);
    w.store(0);
    const page = ptePageOf(w, 0);
    const at = w.entry(0);
    const entry = loadEntry(at, 0);
    const vector = w.vector();
    const was = pageRefcount[page];
    if ((w.machine.codec.supports & PTE_SPECIAL) !== 0) {
      storeEntry(at, 0, entry + PTE_SPECIAL);
      expect(w.run('followPage', w.vma(0), AT, FOLL_GET).result).toBe(EEXIST);
      expect(w.run('followPage', w.vma(0), AT, FOLL_GET | FOLL_DUMP).result).toBe(EFAULT);
      expect(w.run('getUserPagesUnlocked', p.mm, AT, 1, 0, vector).result).toBe(EEXIST);
      expect(w.run('getUserPagesFastOnly', p.mm, AT, 1, 0, vector).result).toBe(0);
      // Who wants no page is content with the frame.
      expect(w.run('getUserPagesUnlocked', p.mm, AT, 1, 0, 0).result).toBe(1);
    }
    const vma = w.vma(0);
    set(vma, Vma.flags, get(vma, Vma.flags) | VM_PFNMAP);
    expect(w.run('getUserPagesUnlocked', p.mm, AT, 1, 0, vector).result).toBe(EFAULT);
    expect(w.run('pinUserPagesUnlocked', p.mm, AT, 1, 0, vector).result).toBe(EFAULT);
    expect(pageRefcount[page]).toBe(was);
    expect(get(vector, PageVector.count)).toBe(0);
    expect(entry & PTE_DIRTY).toBe(PTE_DIRTY);
  });

  it('the slow way asks for a fault where a page must be unshared', () => {
    const w = new World(mode);
    w.map(0, 1, 3, PRIVATE);
    w.store(0);
    const child = w.p.fork();
    const page = ptePageOf(w, 0);
    expect(w.run('followPage', w.vma(0), AT, FOLL_PIN).result).toBe(EMLINK);
    expect(w.run('followPage', w.vma(0), AT, FOLL_GET).result).toBe(page);
    w.run('folioPut', page);
    child.exit();
  });
});

/** The page that the process maps at a page of the window. */
function ptePageOf(w: World, page: number): number {
  const at = w.entry(page);
  return pageOfPfn(ptePfn(loadEntry(at, 0)));
}
