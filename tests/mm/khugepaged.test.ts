/**
 * khugepaged as Documentation/admin-guide/mm/transhuge.rst tells it: what its limits let pass, what it counts, how far a pass goes, which address spaces it goes
 * through. In modes whose huge pages differ in size.
 */
import { describe, expect, it } from 'vitest';
import { spanPages } from '../../src/kernel/arch.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { get, set } from '../../src/memory/heap.ts';
import { pageRefcount, setPageRefcount } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Khugepaged } from '../../src/mm/khugepaged-types.ts';
import { SCAN_RESULTS } from '../../src/mm/scan-result.ts';
import { Globals, Mm } from '../../src/mm/types.ts';
import { PxdError } from '../../src/pagetable/error.ts';

const DIRECTORY = '/sys/kernel/mm/transparent_hugepage/';
const AT = 0x10000000;
const [MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_GUARD_INSTALL, PR_SET_THP_DISABLE] = [14, 15, 102, 41];

class World {
  readonly machine: Machine;
  readonly p: Process;
  readonly huge: number;

  constructor(mode = 'x86-4level') {
    this.machine = new Machine({ mode, ramBytes: 64 * 2 ** 20 });
    this.p = this.machine.spawn();
    this.huge = spanPages(1) * this.machine.pageSize;
    this.write('enabled', 'madvise');
  }

  write(name: string, value: string | number): void {
    this.machine.enter();
    thpSetting(DIRECTORY + name)?.write(String(value));
  }

  number(name: string): number {
    this.machine.enter();
    return Number(thpSetting(`${DIRECTORY}khugepaged/${name}`)?.read());
  }

  /** So many huge pages' worth of memory, of each so many small pages stored to, and then advised. */
  map(count: number, touched: number): void {
    expect(this.p.syscall('mmap', AT, count * this.huge, 3, 0x32, -1, 0)).toBe(AT);
    for (let i = 0; i < count; i++) for (let j = 0; j < touched; j++) this.store(i, j);
    expect(this.p.syscall('madvise', AT, count * this.huge, MADV_HUGEPAGE)).toBe(0);
  }

  store(huge: number, page: number, p = this.p): void {
    expect(p.store(BigInt(AT + huge * this.huge + page * this.machine.pageSize), 4, BigInt(1 + huge * 1000 + page))).toBeUndefined();
  }

  load(huge: number, page: number, p = this.p): number {
    return Number(p.load(BigInt(AT + huge * this.huge + page * this.machine.pageSize), 4));
  }

  /** Events of huge pages in /proc/vmstat that there were, with their number. */
  grown(): Record<string, number> {
    const lines = this.machine.vmstat().match(/^thp_.* [1-9].*$/gm) ?? [];
    return Object.fromEntries(lines.map((line) => line.split(' ')).map(([name, count]) => [name, Number(count)]));
  }

  /** One pass; what the last range that it looked at came to. */
  pass(): string {
    this.machine.khugepaged();
    return SCAN_RESULTS[get(get(globals, Globals.khugepaged), Khugepaged.lastResult)];
  }
}

describe.each(['x86-4level', 'arm64-4k-48', 's390x'])('khugepaged in %s', (mode) => {
  it('makes huge pages of what is mapped in part, with what was stored, and counts them', () => {
    const w = new World(mode);
    w.map(3, 2);
    expect(w.pass()).toBe('succeeded');
    expect([w.number('pages_collapsed'), w.number('full_scans')]).toEqual([3, 1]);
    expect([w.load(0, 0), w.load(0, 1), w.load(0, 2), w.load(2, 1)]).toEqual([1, 2, 0, 2002]);
    expect(checkMachine({})).toEqual([]);
    expect(w.pass()).toBe('pmd_mapped');
    expect(w.number('full_scans')).toBe(2);
    expect(w.grown()).toEqual({ thp_collapse_alloc: 3 });
    w.p.exit(0);
    expect(checkMachine({})).toEqual([]);
  });

  it('goes by max_ptes_none: that many entries may be empty, one more may not', () => {
    const w = new World(mode);
    w.map(1, 3);
    w.write('khugepaged/max_ptes_none', spanPages(1) - 4);
    expect(w.pass()).toBe('exceed_none_pte');
    expect(w.grown()).toEqual({ thp_scan_exceed_none_pte: 1 });
    w.write('khugepaged/max_ptes_none', spanPages(1) - 3);
    expect(w.pass()).toBe('succeeded');
  });

  it('goes by max_ptes_shared', () => {
    const w = new World(mode);
    w.map(1, 3);
    const child = w.p.fork();
    // What fork has copied was not used yet.
    w.load(0, 0, child);
    w.write('khugepaged/max_ptes_shared', 2);
    expect(w.pass()).toBe('exceed_shared_pte');
    // Of the parent and of the child.
    expect(w.grown()).toEqual({ thp_scan_exceed_share_pte: 2 });
    w.write('khugepaged/max_ptes_shared', 3);
    expect(w.pass()).toBe('succeeded');
    expect(w.number('pages_collapsed')).toBe(2);
    expect([w.load(0, 2), w.load(0, 2, child)]).toEqual([3, 3]);
    expect(checkMachine({})).toEqual([]);
  });

  it('counts what software keeps in entries by max_ptes_swap, and cannot bring guards back', () => {
    const w = new World(mode);
    w.map(1, spanPages(1));
    expect(w.p.syscall('madvise', AT, w.machine.pageSize, MADV_GUARD_INSTALL)).toBe(0);
    expect(w.pass()).toBe('failed');
    w.write('khugepaged/max_ptes_swap', 0);
    expect(w.pass()).toBe('exceed_swap_pte');
  });

  it('goes over pages_to_scan pages a pass, and on from there', () => {
    const w = new World(mode);
    w.map(3, 1);
    w.write('khugepaged/pages_to_scan', 1);
    for (let done = 1; done <= 3; done++) {
      w.pass();
      expect([w.number('pages_collapsed'), w.number('full_scans')]).toEqual([done, 0]);
    }
    w.pass();
    w.pass();
    expect(w.number('full_scans')).toBe(1);
  });

  it('leaves pages that somebody else has', () => {
    const w = new World(mode);
    w.map(1, 1);
    const page = w.p.translate(AT / w.machine.pageSize, 0) as number;
    setPageRefcount(page, pageRefcount[page] + 1);
    expect(w.pass()).toBe('page_count');
    setPageRefcount(page, pageRefcount[page] - 1);
    expect(w.pass()).toBe('succeeded');
  });
});

describe('khugepaged', () => {
  it('makes huge pages of shared memory, and leaves it to the next fault to map them', () => {
    const w = new World();
    w.write('shmem_enabled', 'advise');
    expect(w.p.syscall('mmap', AT, w.huge, 3, 0x31, -1, 0)).toBe(AT);
    w.store(0, 1);
    expect(w.p.syscall('madvise', AT, w.huge, MADV_HUGEPAGE)).toBe(0);
    const tables = get(w.p.mm, Mm.pgtablesBytes);
    expect(w.pass()).toBe('succeeded');
    // Nothing is mapped, and the emptied table went.
    expect(get(w.p.mm, Mm.pgtablesBytes)).toBe(tables - w.machine.pageSize);
    expect(get(w.p.mm, Mm.rss + 3)).toBe(0);
    expect([w.load(0, 1), w.load(0, 2)]).toEqual([2, 0]);
    expect(get(w.p.mm, Mm.rss + 3)).toBe(spanPages(1));
    expect(checkMachine({})).toEqual([]);
  });

  it('takes numbers of their ranges for its settings', () => {
    const w = new World();
    const read = ['pages_to_scan', 'max_ptes_none', 'max_ptes_swap', 'max_ptes_shared', 'defrag', 'scan_sleep_millisecs', 'alloc_sleep_millisecs'];
    expect(read.map((name) => w.number(name))).toEqual([4096, 511, 64, 256, 1, 10000, 60000]);
    for (const [name, value] of [
      ['pages_to_scan', 0],
      ['max_ptes_none', 512],
      ['max_ptes_swap', 512],
      ['max_ptes_shared', -1],
      ['defrag', 2],
      ['pages_collapsed', 1],
      ['full_scans', 1],
    ] as const)
      expect(() => w.write(`khugepaged/${name}`, value), name).toThrow(PxdError);
  });

  it('does nothing where huge pages are off, for the process or everywhere', () => {
    const w = new World();
    w.map(1, 1);
    w.write('enabled', 'never');
    expect(w.machine.khugepaged()).toBe(0);
    w.write('enabled', 'madvise');
    expect(w.p.syscall('prctl', PR_SET_THP_DISABLE, 1, 0, 0, 0)).toBe(0);
    w.pass();
    expect(w.number('pages_collapsed')).toBe(0);
    expect(w.p.syscall('prctl', PR_SET_THP_DISABLE, 0, 0, 0, 0)).toBe(0);
    expect(w.p.syscall('madvise', AT, w.huge, MADV_NOHUGEPAGE)).toBe(0);
    w.pass();
    expect(w.number('pages_collapsed')).toBe(0);
    expect(w.p.syscall('madvise', AT, w.huge, MADV_HUGEPAGE)).toBe(0);
    expect(w.pass()).toBe('succeeded');
  });

  it('looks for pages that were used', () => {
    const w = new World();
    w.map(1, 2);
    expect(w.p.syscall('madvise', AT, w.huge, 20)).toBe(0);
    expect(w.pass()).toBe('lack_referenced_page');
  });

  it('has no memory', () => {
    const w = new World();
    w.map(2, 1);
    w.machine.enter();
    set(globals, Globals.failAllocation, -1);
    expect(w.pass()).toBe('alloc_huge_page_failed');
    set(globals, Globals.failAllocation, 0);
    expect(checkMachine({})).toEqual([]);
    w.pass();
    w.pass();
    expect(w.number('pages_collapsed')).toBe(2);
  });

  it('forgets address spaces that have ended, also the one that it was at', () => {
    const w = new World();
    w.map(3, 1);
    w.write('khugepaged/pages_to_scan', 1);
    w.pass();
    w.p.exit(0);
    expect(checkMachine({})).toEqual([]);
    w.pass();
    expect(get(get(globals, Globals.khugepaged), Khugepaged.first)).toBe(0);
    expect(checkMachine({})).toEqual([]);
  });
});
