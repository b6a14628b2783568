/** Each check of src/mm/invariants fires when the one thing is wrong that it is there for, and is silent otherwise. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { entryAt, loadEntry, storeEntry } from '../../src/kernel/arch.ts';
import { mmuEntry } from '../../src/kernel/mmu.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { add, alloc, get, set } from '../../src/memory/heap.ts';
import { PG_ACTIVE, PG_ANON_EXCLUSIVE, PG_BUDDY, PG_DIRTY, PG_LOCKED, PG_LRU, PG_MLOCKED, PG_PCP, PG_TABLE } from '../../src/memory/page-flags.ts';
import {
  heap,
  pageFlags,
  pageIndex,
  pageMapcount,
  pageRefcount,
  setPageFlags,
  setPageIndex,
  setPageMapcount,
  setPageMapping,
  setPageNext,
  setPagePincount,
  setPagePrivate,
  setPageRefcount,
  setSlot,
  setWord,
  wordShift,
} from '../../src/memory/state.ts';
import { xaErase } from '../../src/memory/xarray.ts';
import { Memory, memory, Pcp, Zone } from '../../src/memory/zone.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { ptePage, pteSet } from '../../src/mm/pgtable.ts';
import { AnonVma, Avc, Block, File, Globals, Inode, Mm, Process as ProcessStruct, Vma } from '../../src/mm/types.ts';
import { findVma, firstVma } from '../../src/mm/vma-tree.ts';
import { PTE_DIRTY, PTE_EXEC, PTE_WRITE } from '../../src/pagetable/canonical.ts';

const ANON = 0x10000000;
const READ_ONLY = 0x20000000;
const SHARED = 0x30000000;
const PRIVATE_FILE = 0x40000000;
const LOCKED = 0x50000000;

let m: Machine;
let p: Process;
let child: Process;

/** A machine in which everything occurs that a check looks at. */
function scene(): void {
  m = new Machine({ ramBytes: 16 * 2 ** 20 });
  p = m.spawn();
  const ok = (result: number): number => {
    expect(result).toBeGreaterThanOrEqual(0);
    return result;
  };
  ok(p.syscall('mmap', ANON, 0x10000, 3, 0x32, -1, 0));
  ok(p.syscall('mmap', READ_ONLY, 0x2000, 1, 0x32, -1, 0));
  ok(p.syscall('mmap', LOCKED, 0x2000, 3, 0x2032, -1, 0));
  p.write(BigInt(ANON), new TextEncoder().encode('file\0'));
  const fd = ok(p.syscall('memfd_create', ANON, 0));
  ok(p.syscall('ftruncate', fd, 0x4000));
  ok(p.syscall('mmap', SHARED, 0x4000, 3, 0x11, fd, 0));
  ok(p.syscall('mmap', PRIVATE_FILE, 0x4000, 3, 0x12, fd, 0));
  for (let i = 0; i < 4; i++) p.store(BigInt(ANON + i * 0x1000), 8, 1n);
  p.load(BigInt(ANON + 0x8000), 8);
  p.load(BigInt(READ_ONLY), 8);
  p.store(BigInt(SHARED), 8, 1n);
  p.load(BigInt(PRIVATE_FILE), 8);
  p.store(BigInt(PRIVATE_FILE + 0x1000), 8, 1n);
  child = p.fork();
  child.store(BigInt(ANON), 8, 2n);
  p.syscall('munmap', READ_ONLY, 0x1000);
  m.enter();
}

const ptepOf = (address: number, process = p): number => mmuEntry(get(process.mm, Mm.pgd), address / 4096);
const pteOf = (address: number, process = p): number => loadEntry(ptepOf(address, process), 0);
const pageAt = (address: number, process = p): number => ptePage(pteOf(address, process));
const vmaAt = (address: number, process = p): number => findVma(process.mm, address / 4096);
const setPte = (address: number, pte: number): void => storeEntry(ptepOf(address), 0, pte);
const inode = (): number => get(get(vmaAt(SHARED), Vma.file), File.inode);

describe('invariants of a machine at rest', () => {
  beforeEach(scene);
  afterEach(() => m.enter());

  it('hold in the scene', () => {
    expect(checkMachine()).toEqual([]);
  });

  it('hold after everything has gone', () => {
    child.exit(0);
    p.exit(0);
    m.enter();
    expect(checkMachine()).toEqual([]);
  });

  const fires = (name: string, corrupt: () => void, expected: RegExp): void =>
    it(`${name} (${expected.source})`, () => {
      corrupt();
      expect(checkMachine().join('\n')).toMatch(expected);
    });

  describe('I1', () => {
    fires(
      'a reference too many',
      () => setPageRefcount(pageAt(ANON + 0x1000), pageRefcount[pageAt(ANON + 0x1000)] + 1),
      /I1: page \d+: refcount is 3, but 2 mappings/,
    );
    fires('a mapcount too low', () => setPageMapcount(pageAt(SHARED), pageMapcount[pageAt(SHARED)] - 1), /I1: page \d+: mapcount is 2, 3 expected/);
    fires(
      'an entry to a free page',
      () => {
        const page = pageAt(ANON);
        setPte(ANON, pteOf(ANON) + 2 ** 20 * 64);
        expect(page).toBeGreaterThan(0);
      },
      /I1: .*maps page \d+, which is free/,
    );
    fires('a page that nobody has', () => setPte(ANON, 0), /I1: page \d+: refcount is 1, but 0 mappings/);
    fires('a pin without its reference', () => setPagePincount(pageAt(ANON), 1), /I1: page \d+: refcount is 1, .*1 pins/);
  });

  describe('I2', () => {
    const pmdp = (): number => entryAt(tableAbove(ANON / 4096), 1, ANON / 4096);
    fires('a table with two parents', () => storeEntry(pmdp() + 2 * 8, 1, loadEntry(pmdp(), 1)), /I2: mm \d+: 2 entries point to the table/);
    fires(
      'a table that is not marked',
      () => setPageFlags(ptepOf(ANON) >> wordShift, 0),
      /I2: mm \d+: page \d+ is used as a table of level 0, but is not marked/,
    );
    fires('a table that is lost', () => storeEntry(pmdp(), 1, 0), /I2: page \d+ is a page table that no address space reaches/);
    fires('a table that serves nobody', () => leaveTable(), /I2: .* serves no VMA/);
    fires('a marked page', () => setPageFlags(pageAt(ANON), pageFlags[pageAt(ANON)] | PG_TABLE), /I2: .*maps page \d+, which is a page table/);
  });

  describe('I8', () => {
    fires(
      'writable, not exclusive',
      () => setPageFlags(pageAt(ANON), pageFlags[pageAt(ANON)] & ~PG_ANON_EXCLUSIVE) ?? setPte(ANON, pteSet(pteOf(ANON), PTE_WRITE)),
      /I8: .*may write anonymous page/,
    );
    fires(
      'exclusive, mapped twice',
      () => setPageFlags(pageAt(ANON + 0x1000), pageFlags[pageAt(ANON + 0x1000)] | PG_ANON_EXCLUSIVE),
      /I8: page \d+ is exclusive and mapped 2 times/,
    );
    fires(
      'exclusive, not anonymous',
      () => setPageFlags(pageAt(SHARED), pageFlags[pageAt(SHARED)] | PG_ANON_EXCLUSIVE),
      /I8: page \d+ is exclusive, but not anonymous/,
    );
    fires('pinned, not exclusive', () => setPagePincount(pageAt(ANON + 0x1000), 1), /I8: anonymous page \d+ is pinned, but not exclusive/);
  });

  describe('I10', () => {
    fires('the cache has another page', () => xaErase(inode() + Inode.pages, 0), /I10: .*maps page \d+, the cache of inode \d+ has 0 at 0x0/);
    fires(
      'a page that says another index',
      () => setPageIndex(pageAt(SHARED), pageIndex[pageAt(SHARED)] + 1),
      /I10: inode \d+ caches page \d+ at 0, which says/,
    );
    fires('a page beyond the end', () => set(inode(), Inode.size, 0), /I10: .*beyond the end/);
    fires('nrpages', () => add(inode(), Inode.nrPages, 1), /I10: inode \d+: cached pages is \d, \d expected/);
    fires('pages of shared memory', () => add(inode(), Inode.alloced, 1), /I10: inode \d+: pages of shared memory/);
    fires('a private mapping that writes', () => setPte(PRIVATE_FILE, pteSet(pteOf(PRIVATE_FILE), PTE_WRITE)), /I10: .*a private mapping may write/);
  });

  describe('I11', () => {
    fires('an entry that may write', () => setPte(READ_ONLY + 0x1000, pteOf(ANON) - (pteOf(ANON) & PTE_WRITE) + PTE_WRITE), /I11: .*allows more than its VMA/);
    fires('an entry that may execute', () => setPte(ANON, pteSet(pteOf(ANON), PTE_EXEC)), /I11: .*allows more than its VMA/);
    fires('an entry in no VMA', () => setPte(ANON + 0x20000, pteOf(ANON)), /I11: mm \d+: entry 0x\w+ at vpn 0x10020 is in no VMA/);
  });

  fires('I12', () => add(p.mm, Mm.rss + 1, 1), /I12: mm \d+: rss of anon pages is \d+, \d+ expected/);
  fires('I13', () => add(p.mm, Mm.pgtablesBytes, 4096), /I13: mm \d+: bytes of page tables/);

  describe('I19', () => {
    fires('a VMA with a reader', () => add(vmaAt(ANON), Vma.refcnt, 1), /I19: VMA .*vm_refcnt is 2/);
    fires('a reference to a freed object', () => setSlot(get(vmaAt(ANON), Vma.anonVma), -AnonVma.$type), /I19: vma\.anonVma of \d+ refers to anonVma/);
    fires('references of a file', () => add(get(vmaAt(SHARED), Vma.file), File.refcount, 1), /I19: file \d+: references is \d+, \d+ expected/);
    fires('references of an inode', () => add(inode(), Inode.refcount, -1), /I19: inode \d+: references/);
    fires('a process without mm', () => set(child.ref, ProcessStruct.mm, 0), /I19: process \d+: alive 1, mm 0/);
    fires('references of an anon_vma', () => add(get(vmaAt(ANON), Vma.anonVma), AnonVma.refcount, 1), /I19: anon_vma \d+: references/);
    fires('a page of a foreign anon_vma', () => setPageMapping(pageAt(ANON), get(vmaAt(PRIVATE_FILE), Vma.anonVma)), /I19: .*to which its VMA does not chain/);
    fires('an index that rmap would not find', () => setPageIndex(pageAt(ANON), pageIndex[pageAt(ANON)] + 1), /I19: .*its VMA maps it at/);
  });

  describe('I25 and I26', () => {
    const pcp = (): number => heap[heap[memory() + Memory.zones] + Zone.pcps];
    /** A free page, whichever list it is on. */
    const freePage = (): number => pageFlags.findIndex((flags) => (flags & (PG_BUDDY | PG_PCP)) !== 0);
    fires('free pages of a zone', () => add(heap[memory() + Memory.zones], Zone.free, 1), /I25: zone 0: free pages/);
    fires('a list of a CPU', () => add(pcp(), Pcp.count, 1), /I25: zone 0: pages in the list of CPU 0/);
    fires('a free page with a reference', () => setPageRefcount(freePage(), 1), /I26: free page \d+: flags 0, refcount 1/);
    fires('a free page with a mapping', () => setPageMapping(freePage(), 5), /I26: free page/);
    fires('a free page with flags', () => setPageFlags(freePage(), pageFlags[freePage()] | PG_ACTIVE), /I26: free page/);
    fires('a page on no LRU list', () => setPageFlags(pageAt(ANON), pageFlags[pageAt(ANON)] & ~PG_LRU), /I25: anonymous page \d+ is on no LRU list/);
    fires(
      'a page locked more often than mapped',
      () => {
        const page = pageAt(LOCKED);
        setPageNext(page, pageMapcount[page] + 1);
      },
      /I25: page \d+ is locked by 3 of 2 mappings/,
    );
    fires(
      'an mlocked page that is evictable',
      () => setPageFlags(pageAt(ANON), pageFlags[pageAt(ANON)] | PG_MLOCKED),
      /I25: page \d+ is mlocked, but evictable/,
    );
  });

  describe('I30', () => {
    const zero = (): number => get(globals, Globals.zeroPage);
    fires('a store to the zero page', () => setWord((zero() << wordShift) + 7, 1), /I30: the zero page holds 1 at word 7/);
    fires('a reference', () => setPageRefcount(zero(), 2), /I30: references of the zero page/);
    fires('an entry that may write', () => setPte(ANON + 0x8000, pteSet(pteOf(ANON + 0x8000), PTE_WRITE)), /I30: .*the zero page may be written/);
    fires('an entry that is dirty', () => setPte(ANON + 0x8000, pteSet(pteOf(ANON + 0x8000), PTE_DIRTY)), /I30: .*the zero page may be written or is dirty/);
  });

  describe('I31', () => {
    fires('map_count', () => add(p.mm, Mm.mapCount, 1), /I31: mm \d+: map_count/);
    fires('total_vm', () => add(p.mm, Mm.totalVm, 1), /I31: mm \d+: total_vm/);
    fires('data_vm', () => add(p.mm, Mm.dataVm, 1), /I31: mm \d+: data_vm/);
    fires('stack_vm', () => add(p.mm, Mm.stackVm, 1), /I31: mm \d+: stack_vm/);
    fires('exec_vm', () => add(p.mm, Mm.execVm, 1), /I31: mm \d+: exec_vm/);
    fires('locked_vm', () => add(p.mm, Mm.lockedVm, 1), /I31: mm \d+: locked_vm/);
    fires('committed memory', () => add(globals, Globals.committed, 1), /I31: committed memory/);
    fires('VMAs that overlap', () => add(vmaAt(ANON), Vma.end, 0x20000), /I31: VMA .* overlap/);
    fires('a list that skips a VMA', () => set(vmaAt(ANON), Vma.next, get(get(vmaAt(ANON), Vma.next), Vma.next)), /I31: mm \d+: the tree holds VMAs/);
    fires('a gap', () => add(vmaAt(LOCKED), Vma.maxGap, 1), /I31: .*the largest gap of its subtree/);
    fires('a VMA of another mm', () => set(vmaAt(ANON), Vma.mm, child.mm), /I31: VMA .* belongs to mm/);
    fires('i_mmap', () => setSlot(inode() + Inode.iMmap, 0), /I31: inode \d+: i_mmap holds VMAs none/);
    fires('i_mmap_writable', () => add(inode(), Inode.iMmapWritable, 1), /I31: inode \d+: i_mmap_writable is 3, 2 such/);
    fires('the tree of an anon_vma', () => setSlot(get(vmaAt(ANON), Vma.anonVma) + AnonVma.tree, 0), /I31: anon_vma \d+: its tree holds chains none/);
    fires('active VMAs of an anon_vma', () => add(get(vmaAt(ANON), Vma.anonVma), AnonVma.numActiveVmas, 1), /I31: anon_vma \d+: number of active VMAs/);
    fires('children of an anon_vma', () => add(get(vmaAt(ANON), Vma.anonVma), AnonVma.numChildren, 1), /I31: anon_vma \d+: number of children/);
    fires(
      'an anon_vma without chain',
      () => set(vmaAt(READ_ONLY), Vma.anonVma, get(vmaAt(ANON), Vma.anonVma)),
      /I31: VMA .* has anon_vma \d+, but chains to none/,
    );
    fires('a chain of another VMA', () => set(get(vmaAt(ANON), Vma.avcs), Avc.vma, vmaAt(LOCKED)), /I31: chain \d+ in the list of VMA/);
  });

  describe('locks and leaks', () => {
    fires('the mmap lock', () => setSlot(p.mm + Mm.mmapLock, 1), /lock: mm\.mmapLock\[0\] of \d+ is held/);
    fires('a reader of it', () => setSlot(p.mm + Mm.mmapLock + 1, 1), /lock: mm\.mmapLock\[1\] of \d+ is held/);
    fires('the sequence', () => add(p.mm, Mm.lockSeq, 1), /lock: mm \d+: the sequence of its lock/);
    fires('a gather', () => add(p.mm, Mm.tlbFlushPending, 1), /lock: mm \d+: gathers that are open/);
    fires('a table lock', () => setPagePrivate(ptepOf(ANON) >> wordShift, 3), /lock: the lock of table \d+ .* held by task 2/);
    fires('a page lock', () => setPageFlags(pageAt(SHARED), pageFlags[pageAt(SHARED)] | PG_LOCKED), /lock: page \d+ is locked/);
    fires('an object', () => alloc(Block), /leak: block \d+ lives, but nothing refers to it/);
    fires('a slot that is no object', () => setSlot(firstVma(p.mm), 0.5), /heap: slot \d+ should begin an object/);
  });

  it('a disk page that may be written while it is clean (I11)', () => {
    p.write(BigInt(ANON), new TextEncoder().encode('/var/tmp/pxd/f\0'));
    const fd = p.syscall('open', ANON, 0o102, 0o644);
    expect(fd).toBeGreaterThanOrEqual(0);
    p.syscall('ftruncate', fd, 0x2000);
    expect(p.syscall('mmap', 0x60000000, 0x2000, 3, 1, fd, 0)).toBe(0x60000000);
    p.store(0x60000000n, 8, 1n);
    expect(checkMachine()).toEqual([]);
    setPageFlags(pageAt(0x60000000), pageFlags[pageAt(0x60000000)] & ~PG_DIRTY);
    expect(checkMachine().join('\n')).toMatch(/I11: .*may write page \d+, which is clean/);
  });

  it('what the caller holds on purpose is no leak', () => {
    const page = pageAt(ANON);
    setPageRefcount(page, pageRefcount[page] + 2);
    expect(checkMachine()).not.toEqual([]);
    expect(checkMachine({ held: new Map([[page, 2]]) })).toEqual([]);
  });
});

/** The table that holds the pmd entry of a page. */
function tableAbove(vpn: number): number {
  let table = get(p.mm, Mm.pgd);
  for (let level = 3; level > 1; level--) table = ptePage(loadEntry(entryAt(table, level, vpn), level));
  return table;
}

/** Takes a VMA's place away without its tables. */
function leaveTable(): void {
  const at = 0x70000000;
  p.syscall('mmap', at, 0x1000, 3, 0x32, -1, 0);
  p.load(BigInt(at), 8);
  setPte(at, 0);
  const vma = vmaAt(at);
  set(vma, Vma.start, get(vma, Vma.start) + 0x1000);
  set(vma, Vma.end, get(vma, Vma.end) + 0x1000);
}
