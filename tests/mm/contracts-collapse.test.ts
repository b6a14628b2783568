/**
 * Contracts of what makes huge pages of small ones (catalogue, part C and S: C39, C41, R14, R18, S11, S12, S17): in which order it locks, whose page tables it takes, and
 * that it counts each thing once. Expectations come from the rule's words, or from counting before and after.
 */
import { describe, expect, it } from 'vitest';
import { loadEntry, pageOfEntry, spanPages } from '../../src/kernel/arch.ts';
import { throwSwitches } from '../../src/kernel/switches.ts';
import { makeCpus } from '../../src/kernel/task.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { folioMapcount, pageFolio } from '../../src/memory/folio.ts';
import { get, set } from '../../src/memory/heap.ts';
import { PG_LRU } from '../../src/memory/page-flags.ts';
import { pageFlags, pageRefcount, setPageFlags, setPageRefcount } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { checkPmdState } from '../../src/mm/khugepaged-scan.ts';
import { Khugepaged, MmSlot } from '../../src/mm/khugepaged-types.ts';
import { mkPteMarker, PTE_MARKER_POISONED, PTE_MARKER_UFFD_WP, pteMarker } from '../../src/mm/pgtable.ts';
import { SCAN_RESULTS } from '../../src/mm/scan-result.ts';
import { AnonVma, File, Globals, Inode, MM_SHMEMPAGES, Mm, Vma } from '../../src/mm/types.ts';
import { vmaLookup } from '../../src/mm/vma-tree.ts';
import { PTE_HUGE, PTE_TABLE, PTE_UFFD_WP } from '../../src/pagetable/canonical.ts';
import { traced, tracedWith } from './support/traced.ts';

const MODES = ['x86-4level', 's390x'] as const;
const [SHARED, PRIVATE, ANON] = [0x11, 0x12, 0x32];
const [DONTNEED, HUGEPAGE, COLLAPSE] = [4, 14, 25];
const [EAGAIN, EBUSY, EINVAL] = [-11, -16, -22];
/** Commands of a userfaultfd, modes of registering. */
const [API, REGISTER, UNREGISTER, COPY, WRITEPROTECT, POISON] = [0x3f, 0, 1, 3, 6, 8];
const [MISSING, WP, MINOR] = [1, 2, 4];
const SIZE = 4096;

class World {
  readonly machine: Machine;
  readonly p: Process;
  readonly huge: number;
  /** The page that huge pages are made at. */
  readonly at: number;

  constructor(mode: string) {
    this.machine = new Machine({ mode, ramBytes: 48 * 2 ** 20 });
    this.p = this.machine.spawn();
    this.huge = spanPages(1);
    this.at = 64 * this.huge;
    this.setting('enabled', 'madvise');
  }

  /** A page table of the lowest level: eight bytes an entry. */
  get tableBytes(): number {
    return 8 * this.huge;
  }

  setting(name: string, value: string): void {
    this.machine.enter();
    thpSetting(`/sys/kernel/mm/transparent_hugepage/${name}`)?.write(value);
  }

  call(who: Process, name: string, ...args: number[]): number {
    const result = (who.syscall as (name: string, ...args: number[]) => number).call(who, name, ...args);
    this.machine.enter();
    return result;
  }

  map(vpn: number, pages: number, flags: number, fd = -1, pgoff = 0, who = this.p): void {
    expect(this.call(who, 'mmap', vpn * SIZE, pages * SIZE, 3, flags, fd, pgoff * SIZE)).toBe(vpn * SIZE);
  }

  /** A memfd of one huge page's size, of which every page of a list is written, mapped shared at `at`. */
  memfd(written: readonly number[]): number {
    this.map(16, 1, ANON);
    this.p.write(BigInt(16 * SIZE), new TextEncoder().encode('name\0'));
    const fd = this.call(this.p, 'memfd_create', 16 * SIZE, 0);
    expect(this.call(this.p, 'ftruncate', fd, 2 * this.huge * SIZE)).toBe(0);
    this.map(this.at, this.huge, SHARED, fd);
    for (const i of written) this.store(this.at + i);
    return fd;
  }

  store(vpn: number, who = this.p): void {
    expect(who.store(BigInt(vpn * SIZE), 4, 1n)).toBeUndefined();
  }

  load(vpn: number, who = this.p): void {
    expect(who.load(BigInt(vpn * SIZE), 4)).toBeTypeOf('bigint');
  }

  collapse(who = this.p, vpn = this.at): number {
    return this.call(who, 'madvise', vpn * SIZE, this.huge * SIZE, COLLAPSE);
  }

  /** An ioctl of a process on its userfaultfd, with words of 64 bits as its argument, in the page below what `map` gave to names. */
  ioctl(who: Process, fd: number, command: number, ...words: number[]): number {
    for (const [i, word] of words.entries()) expect(who.store(BigInt(16 * SIZE + 256 + i * 8), 8, BigInt(word))).toBeUndefined();
    return this.call(who, 'ioctl', fd, 0xaa00 | command, 16 * SIZE + 256);
  }

  /** A userfaultfd of a process with so many pages of it registered. */
  registered(who: Process, vpn: number, pages: number, mode: number): number {
    const fd = this.call(who, 'userfaultfd', 0);
    expect(this.ioctl(who, fd, API, 0xaa, 0, 0)).toBe(0);
    expect(this.ioctl(who, fd, REGISTER, vpn * SIZE, pages * SIZE, mode, 0)).toBe(0);
    return fd;
  }

  /** The entry of a page in the table that maps it; 0 without. */
  entry(vpn: number, who = this.p): number {
    this.machine.enter();
    const ptep = traced('entryPointer', who.mm, vpn, 0).result;
    return ptep === 0 ? 0 : loadEntry(ptep, 0);
  }

  /** What the upper entry of a page leads to. */
  upper(vpn: number, who = this.p): 'nothing' | 'table' | 'huge page' {
    this.machine.enter();
    const pmdp = traced('entryPointer', who.mm, vpn, 1).result;
    const pmd = pmdp === 0 ? 0 : loadEntry(pmdp, 1);
    return (pmd & PTE_TABLE) !== 0 ? 'table' : (pmd & PTE_HUGE) !== 0 ? 'huge page' : 'nothing';
  }

  /** Bytes of page tables, resident pages of shared memory. */
  counted(who = this.p): [number, number] {
    this.machine.enter();
    return [get(who.mm, Mm.pgtablesBytes), get(who.mm, Mm.rss + MM_SHMEMPAGES)];
  }

  sound(): void {
    this.machine.enter();
    expect(checkMachine({})).toEqual([]);
  }
}

/** Locks, outermost first. */
const ORDER = ['mmap lock', 'page', 'i_mmap lock', 'anon_vma', 'upper entry', 'table'] as const;
type Lock = (typeof ORDER)[number];

/** Runs MADV_COLLAPSE of a range: which lock was waited for while which were held, as "outer → inner". */
function locksOf(w: World): { pairs: Set<string>; taken: Set<Lock>; result: number } {
  w.machine.enter();
  const { mm } = w.p;
  const vma = vmaLookup(mm, w.at);
  const pmdp = traced('entryPointer', mm, w.at, 1).result;
  const names = new Map<number, Lock>([[mm + Mm.mmapLock, 'mmap lock']]);
  if (get(vma, Vma.file) !== 0) names.set(get(get(vma, Vma.file), File.inode) + Inode.iMmapLock, 'i_mmap lock');
  if (get(vma, Vma.anonVma) !== 0) names.set(get(get(vma, Vma.anonVma), AnonVma.root) + AnonVma.rwsem, 'anon_vma');
  if (pmdp !== 0) names.set(-pageOfEntry(pmdp, 1), 'upper entry');
  const held: Lock[] = [];
  const pairs = new Set<string>();
  const taken = new Set<Lock>();
  const { result } = tracedWith(
    (operation, lock) => {
      const isPage = operation.startsWith('folio');
      const name = isPage ? 'page' : (names.get(lock) ?? (lock < 0 ? 'table' : undefined));
      if (name === undefined) return;
      if (/^(down|spinLock|folioLock|folioTrylock)/.test(operation)) {
        if (!/[tT]rylock/.test(operation)) for (const outer of held) pairs.add(`${outer} → ${name}`);
        held.push(name);
        taken.add(name);
      } else if (/^(up|spinUnlock|folioUnlock)/.test(operation)) held.splice(held.lastIndexOf(name), 1);
    },
    'sysMadvise',
    w.p.ref,
    w.at * SIZE,
    w.huge * SIZE,
    COLLAPSE,
  );
  expect(held).toEqual([]);
  return { pairs, taken, result };
}

describe.each(MODES)('collapse in %s', (mode) => {
  it('C39, F230: mmap lock, page, i_mmap lock, anon_vma, upper entry, table: none is waited for while one further in is held', () => {
    const anonymous = new World(mode);
    anonymous.map(anonymous.at, anonymous.huge, ANON);
    anonymous.store(anonymous.at);
    const ofFile = new World(mode);
    ofFile.memfd([0, 3]);
    const mapped = new World(mode);
    mapped.setting('shmem_enabled', 'always');
    mapped.memfd([0]);
    expect(mapped.call(mapped.p, 'mprotect', mapped.at * SIZE, SIZE, 1)).toBe(0);
    mapped.load(mapped.at + 5);
    expect(mapped.call(mapped.p, 'mprotect', mapped.at * SIZE, SIZE, 3)).toBe(0);
    expect(mapped.upper(mapped.at)).toBe('table');
    const all = new Set<string>();
    const taken = new Set<Lock>();
    for (const w of [anonymous, ofFile, mapped]) {
      const locks = locksOf(w);
      expect(locks.result).toBe(0);
      expect(w.upper(w.at)).toBe('huge page');
      for (const pair of locks.pairs) all.add(pair);
      for (const lock of locks.taken) taken.add(lock);
    }
    const wrong = [...all].filter((pair) => {
      const [outer, inner] = pair.split(' → ').map((name) => ORDER.indexOf(name as Lock));
      return outer >= inner;
    });
    expect(wrong).toEqual([]);
    expect([...taken].sort()).toEqual([...ORDER].sort());
    for (const pair of [
      'mmap lock → page',
      'page → i_mmap lock',
      'page → upper entry',
      'i_mmap lock → upper entry',
      'anon_vma → upper entry',
      'upper entry → table',
    ])
      expect([...all]).toContain(pair);
  });

  it('C41, F225: only VMAs that have all of the range in line lose a table; whoever asked gets a huge entry, others at their next fault', () => {
    const w = new World(mode);
    const fd = w.memfd([0, 7]);
    const places = [1, 2, 3].map((i) => w.at + 4 * i * w.huge);
    const [whole, part, askew] = places;
    w.map(whole, w.huge, SHARED, fd);
    w.map(part, w.huge - 1, SHARED, fd);
    w.map(askew + 1, w.huge, SHARED, fd);
    const other = w.p.fork();
    for (const at of [w.at, whole, part, askew + 1]) w.load(at + 7, other);
    for (const at of [whole, part, askew + 1]) w.load(at + 7);
    expect(w.collapse()).toBe(0);
    const found = (who: Process): string[] => [w.at, ...places].map((at) => w.upper(at + 7, who));
    expect(found(w.p)).toEqual(['huge page', 'nothing', 'table', 'table']);
    expect(found(other)).toEqual(['nothing', 'nothing', 'table', 'table']);
    w.load(whole + 7, other);
    w.load(part + 7, other);
    expect(found(other)).toEqual(['nothing', 'huge page', 'table', 'table']);
    w.sound();
  });

  it('C41, F225, F275: a table of who write-protects by a userfaultfd stays, with its markers, whoever asks; others lose theirs', () => {
    const w = new World(mode);
    w.memfd([0, 7]);
    const [watched, other] = [w.p.fork(), w.p.fork()];
    for (const who of [watched, other]) w.load(w.at + 7, who);
    const fd = w.registered(watched, w.at, w.huge, WP);
    // One page that is there, and one hole.
    for (const i of [3, 7]) expect(w.ioctl(watched, fd, WRITEPROTECT, (w.at + i) * SIZE, SIZE, 1)).toBe(0);
    // s390x has no bit for it, as Linux has no write protection by userfaultfd there: only the hole is marked.
    const there = (w.entry(w.at + 7, watched) & PTE_UFFD_WP) !== 0 ? PTE_MARKER_UFFD_WP : 0;
    expect(there !== 0).toBe(mode !== 's390x');
    expect(w.collapse()).toBe(0);
    expect([w.p, watched, other].map((who) => w.upper(w.at, who))).toEqual(['huge page', 'table', 'nothing']);
    expect([0, 3, 7].map((i) => pteMarker(w.entry(w.at + i, watched)))).toEqual([0, PTE_MARKER_UFFD_WP, there]);
    expect(w.collapse(watched)).toBe(EINVAL);
    w.load(w.at + 5, watched);
    expect(w.upper(w.at, watched)).toBe('table');
    w.sound();
    // A write goes to the monitor still.
    if (there !== 0) expect(() => watched.store(BigInt((w.at + 3) * SIZE), 4, 1n)).toThrow(expect.objectContaining({ code: 'asleep' }));
  });

  it('R18: before 6.4 nobody looked for userfaultfds before holes were filled', () => {
    const w = new World(mode);
    w.memfd([0, 7]);
    const watched = w.p.fork();
    w.registered(watched, w.at, w.huge, MISSING);
    w.machine.enter();
    makeCpus(1);
    throwSwitches(['collapseFillsUnasked']);
    expect(traced('sysMadvise', w.p.ref, w.at * SIZE, w.huge * SIZE, COLLAPSE).result).toBe(0);
    // The fault that was to be told of does not come.
    expect(watched.load(BigInt((w.at + 3) * SIZE), 4)).toBe(0n);
  });

  it('F276: poison of a shared mapping is lost with its table, as Linux 6.18 asks for write protection only', () => {
    const w = new World(mode);
    w.memfd([0, 7]);
    const watched = w.p.fork();
    w.load(w.at + 7, watched);
    const fd = w.registered(watched, w.at, w.huge, MINOR);
    expect(w.ioctl(watched, fd, POISON, (w.at + 3) * SIZE, SIZE, 0, 0)).toBe(0);
    expect(watched.load(BigInt((w.at + 3) * SIZE), 4)).toMatchObject({ signal: 7 });
    expect(w.collapse()).toBe(0);
    expect(w.upper(w.at, watched)).toBe('nothing');
    expect(w.ioctl(watched, fd, UNREGISTER, w.at * SIZE, w.huge * SIZE)).toBe(0);
    expect(watched.load(BigInt((w.at + 3) * SIZE), 4)).toBe(0n);
    w.sound();
  });

  it('R18, F223: holes that a userfaultfd tells of are not filled; those of write protection and minor faults are', () => {
    for (const [mode_, expected] of [
      [MISSING, EBUSY],
      [WP, 0],
      [MINOR, 0],
    ]) {
      const w = new World(mode);
      const fd = w.memfd([0, 7]);
      const watched = w.p.fork();
      const uffd = w.registered(watched, w.at, w.huge, mode_);
      const before = w.counted();
      expect(w.collapse()).toBe(expected);
      if (expected !== 0) {
        // Nothing but the mappings has gone.
        w.load(w.at);
        w.load(w.at + 7);
        expect([w.counted(), w.upper(w.at)]).toEqual([before, 'table']);
        // Nor those right behind the range: Linux asks for one page more.
        expect(w.ioctl(watched, uffd, UNREGISTER, w.at * SIZE, w.huge * SIZE)).toBe(0);
        w.map(w.at, w.huge, SHARED, fd, w.huge, watched);
        expect(w.ioctl(watched, uffd, REGISTER, w.at * SIZE, w.huge * SIZE, MISSING, 0)).toBe(0);
        expect(w.collapse()).toBe(EBUSY);
        expect(w.ioctl(watched, uffd, UNREGISTER, w.at * SIZE, w.huge * SIZE)).toBe(0);
        expect(w.collapse()).toBe(0);
      }
      expect(w.upper(w.at)).toBe('huge page');
      w.sound();
    }
  });

  it('R18, F135: a range without holes becomes a huge page though a userfaultfd tells of holes, where it is armed and shared', () => {
    const w = new World(mode);
    w.memfd(Array.from({ length: w.huge }, (_, i) => i));
    w.registered(w.p, w.at, w.huge, MISSING);
    expect(w.collapse()).toBe(0);
    expect(w.upper(w.at)).toBe('huge page');
    w.sound();
  });

  it('R14, C39: the lock of a table is held from its first entry to its end where UFFDIO_COPY needs no other, released between where faults wait for the page', () => {
    for (const armed of [true, false]) {
      const w = new World(mode);
      const fd = w.memfd([0, 7]);
      const own = w.at + 4 * w.huge;
      w.map(own, w.huge, PRIVATE, fd);
      w.store(own + 7);
      expect(w.call(w.p, 'madvise', own * SIZE, w.huge * SIZE, DONTNEED)).toBe(0);
      w.load(own);
      expect(w.collapse()).toBe(0);
      expect(w.call(w.p, 'mprotect', own * SIZE, SIZE, 1)).toBe(0);
      w.load(own + 5);
      expect(w.call(w.p, 'mprotect', own * SIZE, SIZE, 3)).toBe(0);
      if (armed) w.registered(w.p, own, w.huge, MISSING);
      w.machine.enter();
      const steps: string[] = [];
      const note = (operation: string): void => void (/^(entryGetAndClear|spinLock|spinUnlock)$/.test(operation) && steps.push(operation));
      expect(tracedWith(note, 'sysMadvise', w.p.ref, own * SIZE, w.huge * SIZE, COLLAPSE).result).toBe(0);
      const between = steps.slice(steps.indexOf('entryGetAndClear'), steps.lastIndexOf('entryGetAndClear'));
      expect(between.includes('spinUnlock')).toBe(!armed);
      expect(w.upper(own)).toBe('huge page');
      w.sound();
    }
  });

  it('F226, F272: what UFFDIO_COPY has put into a private hole keeps its table from a huge page', () => {
    const w = new World(mode);
    const fd = w.memfd([0, 7]);
    const own = w.at + 4 * w.huge;
    w.map(own, w.huge, PRIVATE, fd);
    w.load(own);
    w.map(24, 1, ANON);
    w.store(24);
    const uffd = w.registered(w.p, own, w.huge, MISSING);
    expect(w.ioctl(w.p, uffd, COPY, (own + 3) * SIZE, 24 * SIZE, SIZE, 0, 0)).toBe(0);
    // The holes of the file are watched.
    expect(w.collapse()).toBe(EBUSY);
    for (let i = 0; i < w.huge; i++) w.store(w.at + i);
    expect(w.collapse()).toBe(0);
    expect(w.upper(own)).toBe('table');
    expect(w.collapse(w.p, own)).toBe(EINVAL);
    expect(w.p.load(BigInt((own + 3) * SIZE), 4)).toBe(1n);
    w.sound();
  });

  it('S11, F227: an anon_vma without any private page keeps a table from others, not from whoever asks for himself', () => {
    const w = new World(mode);
    const fd = w.memfd([0, 7]);
    const own = w.at + 4 * w.huge;
    w.map(own, w.huge, PRIVATE, fd);
    w.store(own + 7);
    expect(w.call(w.p, 'madvise', own * SIZE, w.huge * SIZE, DONTNEED)).toBe(0);
    w.load(own);
    expect(w.collapse()).toBe(0);
    expect(w.upper(own)).toBe('table');
    expect(w.collapse(w.p, own)).toBe(0);
    expect(w.upper(own)).toBe('huge page');
    w.sound();
  });

  it('S12: for n entries n pages of rss, n references, n mappings and one table go, once', () => {
    const w = new World(mode);
    w.setting('shmem_enabled', 'always');
    w.memfd([0]);
    const other = w.p.fork();
    // Small entries of the huge page, as many as one fault maps: the range is no single VMA at that moment.
    expect(w.call(other, 'mprotect', w.at * SIZE, SIZE, 1)).toBe(0);
    w.load(w.at + 5, other);
    expect(w.call(other, 'mprotect', w.at * SIZE, SIZE, 3)).toBe(0);
    w.machine.enter();
    const folio = pageFolio(w.p.translate(w.at, 0) as number);
    const [bytes, rss] = w.counted(other);
    const [refs, maps] = [pageRefcount[folio], folioMapcount(folio)];
    expect(w.upper(w.at + 5, other)).toBe('table');
    expect(rss).toBeGreaterThan(1);
    // What comes instead is one entry, with one reference, that maps all of the huge page. The second time there is nothing left to count.
    for (let time = 0; time < 2; time++) {
      expect(w.collapse(other)).toBe(0);
      expect(w.upper(w.at + 5, other)).toBe('huge page');
      expect(w.counted(other)).toEqual([bytes - w.tableBytes, w.huge]);
      expect([pageRefcount[folio], folioMapcount(folio)]).toEqual([refs - rss + 1, maps - rss + 1]);
      w.sound();
    }
  });

  it('S17: a collapse that gave up half-way and comes again counts nothing twice', () => {
    const w = new World(mode);
    w.memfd([0, 1, 2]);
    const [bytes] = w.counted();
    w.machine.enter();
    const last = w.p.translate(w.at + 2, 0) as number;
    setPageRefcount(last, pageRefcount[last] + 1);
    // The first two are unmapped by the time the third turns out to be somebody's: they stay unmapped.
    expect(w.collapse()).toBe(EAGAIN);
    expect(w.counted()[0]).toBe(bytes);
    w.load(w.at);
    expect(w.collapse()).toBe(EAGAIN);
    w.machine.enter();
    setPageRefcount(last, pageRefcount[last] - 1);
    w.sound();
    expect(w.collapse()).toBe(0);
    expect(w.counted()).toEqual([bytes - w.tableBytes, w.huge]);
    w.sound();
  });

  it('F224: before 6.6 the lock of each address space was needed: who is busy keeps his table until khugepaged comes to him', () => {
    const w = new World(mode);
    w.setting('shmem_enabled', 'advise');
    w.memfd([0, 7]);
    // khugepaged knows them.
    expect(w.call(w.p, 'madvise', w.at * SIZE, w.huge * SIZE, HUGEPAGE)).toBe(0);
    const [busy, idle] = [w.p.fork(), w.p.fork()];
    for (const who of [busy, idle]) w.load(w.at + 7, who);
    w.machine.enter();
    makeCpus(1);
    throwSwitches(['retractMmapLock']);
    // Somebody reads.
    set(busy.mm, Mm.mmapLock + 1, 1);
    expect(traced('sysMadvise', w.p.ref, w.at * SIZE, w.huge * SIZE, COLLAPSE).result).toBe(0);
    set(busy.mm, Mm.mmapLock + 1, 0);
    expect([w.p, busy, idle].map((who) => w.upper(w.at + 7, who))).toEqual(['huge page', 'table', 'nothing']);
    const queued = (): number[] => {
      const found: number[] = [];
      for (let slot = get(get(globals, Globals.khugepaged), Khugepaged.first); slot !== 0; slot = get(slot, MmSlot.next))
        if (get(slot, MmSlot.pteMapped) !== 0) found.push(get(slot, MmSlot.mm), get(slot, MmSlot.pteMapped), get(slot, MmSlot.places));
      return found;
    };
    expect(queued()).toEqual([busy.mm, 1, w.at]);
    let [taken, scanned] = [0, 0];
    tracedWith(() => {
      if (taken === 0 && queued().length === 0) [taken, scanned] = [1, get(get(globals, Globals.khugepaged), Khugepaged.slot)];
    }, 'khugepagedDoScan');
    expect([taken, get(scanned, MmSlot.mm)]).toEqual([1, busy.mm]);
    expect(w.upper(w.at + 7, busy)).toBe('nothing');
    expect(checkMachine({}).filter((wrong) => !/^leak: (kernel|cpu) /.test(wrong))).toEqual([]);
  });

  it('F239: an upper entry is nothing, a table, a huge page, none of these, or not there', () => {
    const w = new World(mode);
    const result = (vpn: number): string => {
      w.machine.enter();
      return SCAN_RESULTS[traced('findPmdOrThpOrNone', traced('mmFindPmd', w.p.mm, vpn).result).result];
    };
    w.map(w.at, 3 * w.huge, ANON);
    w.store(w.at);
    expect(w.call(w.p, 'madvise', (w.at + w.huge) * SIZE, w.huge * SIZE, HUGEPAGE)).toBe(0);
    w.store(w.at + w.huge);
    expect([0, 1, 2].map((i) => result(w.at + i * w.huge))).toEqual(['succeeded', 'pmd_mapped', 'pmd_none']);
    expect(result(2 ** 19 + 2 ** 18)).toBe('pmd_null');
    expect(SCAN_RESULTS[checkPmdState(mkPteMarker(PTE_MARKER_POISONED))]).toBe('pmd_null');
  });

  it('F222, F221: what khugepaged finds in files', () => {
    const w = new World(mode);
    w.setting('shmem_enabled', 'advise');
    w.setting('khugepaged/max_ptes_none', '0');
    w.memfd([0, 1]);
    expect(w.call(w.p, 'madvise', w.at * SIZE, w.huge * SIZE, HUGEPAGE)).toBe(0);
    const pass = (): string => {
      w.machine.khugepaged();
      return SCAN_RESULTS[get(get(globals, Globals.khugepaged), Khugepaged.lastResult)];
    };
    expect(pass()).toBe('exceed_none_pte');
    w.setting('khugepaged/max_ptes_none', String(w.huge - 1));
    w.machine.enter();
    const page = w.p.translate(w.at + 1, 0) as number;
    setPageRefcount(page, pageRefcount[page] + 1);
    expect(pass()).toBe('page_count');
    setPageRefcount(page, pageRefcount[page] - 1);
    setPageFlags(page, pageFlags[page] & ~PG_LRU);
    expect(pass()).toBe('page_lru');
    setPageFlags(page, pageFlags[page] | PG_LRU);
    expect(pass()).toBe('succeeded');
    expect(w.upper(w.at)).toBe('nothing');
    w.load(w.at);
    expect(w.upper(w.at)).toBe('huge page');
    // Mapped as it should be is as good as done (khugepaged_scan_mm_slot).
    expect(pass()).toBe('succeeded');
    expect(w.upper(w.at)).toBe('huge page');
    w.sound();
  });
});
