/**
 * One walker, leaves of any level: smaps, numa_maps, pagemap, PAGEMAP_SCAN, mincore, clear_refs and dumps of a process that has pages of every kind that its mode
 * has, against what is counted from the process's pages as a view lists them, and against a reader of page tables that knows nothing of the mm.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { loadEntry, spanPages } from '../../src/kernel/arch.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import { numaMapsText, readNumaMaps, readSmaps } from '../../src/machine/proc/mem-stats.ts';
import { readPagemap, scanPagemap, writeClearRefs } from '../../src/machine/proc/pagemap.ts';
import { smapsOf } from '../../src/machine/proc/smaps.ts';
import { PAGE, type ProcessView, type VmaView } from '../../src/machine/proc/view.ts';
import { hasFlag } from '../../src/machine/proc/vm-bits.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { hugePools } from '../../src/machine/view-hugetlb.ts';
import { alloc, get, set } from '../../src/memory/heap.ts';
import { leafPages } from '../../src/mm/leaf.ts';
import { forEachLeaf } from '../../src/mm/leaves.ts';
import { allocWalkCount, HAS_HUGETLB, HAS_LEAF, PGWALK_RDLOCK, WALK_COUNT, WALK_TEST, WalkCount } from '../../src/mm/mm-walk.ts';
import { PAGE_IS_FILE, PAGE_IS_HUGE, PAGE_IS_PRESENT } from '../../src/mm/task-mmu.ts';
import { TestWalk } from '../../src/mm/test-pagewalk-types.ts';
import { Mm } from '../../src/mm/types.ts';
import { PTE_ACCESSED, PTE_GROUP, PTE_PRESENT } from '../../src/pagetable/canonical.ts';
import { kernelExtents } from './support/kernel-extents.ts';

const MODES = ['x86-4level', 'arm64-4k-48', 's390x', 'riscv-sv39', 'ppc-8xx-4k'] as const;
const P = 4096;
const [PRIVATE, SHARED, ANON, FIXED, HUGETLB] = [2, 1, 0x20, 0x10, 0x40000];
const GUARD_INSTALL = 102;
const LARGEST = 4096;

class Scene {
  readonly machine: Machine;
  readonly p: Process;
  readonly child: Process;
  /** Sizes of huge pages, kB. */
  readonly sizes: readonly number[];
  /** Pages from one mapping to the next. */
  readonly step: number;
  /** First page of the transparent huge pages. */
  readonly huge: number;

  constructor(mode: string) {
    this.machine = new Machine({ mode, ramBytes: 2 ** 27 });
    this.p = this.machine.spawn();
    this.machine.enter();
    thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('always');
    this.sizes = hugePools(this.machine.pageSize / 1024)
      .map(({ kilobytes }) => kilobytes)
      .filter((kilobytes) => kilobytes <= LARGEST);
    for (const kilobytes of this.sizes) this.machine.kernel.setMaxHugePages(poolOf(kilobytes, 12), 4);
    this.step = Math.max(2 * spanPages(1), 2048);
    const { p, step } = this;
    let at = 16 * step;
    const map = (pages: number, prot: number, flags: number, fd = -1): number => {
      const start = at;
      at += step;
      expect(p.syscall('mmap', start * P, pages * P, prot, flags | FIXED, fd, 0)).toBe(start * P);
      return start;
    };
    const anon = map(6, 3, PRIVATE | ANON);
    for (const page of [0, 1, 4]) this.store(p, anon + page);
    p.load(BigInt((anon + 2) * P), 4);
    p.syscall('madvise', (anon + 5) * P, P, GUARD_INSTALL);
    this.huge = map(2 * spanPages(1), 3, PRIVATE | ANON);
    this.store(p, this.huge + 3);
    p.load(BigInt((this.huge + spanPages(1)) * P), 4);
    const name = map(1, 3, PRIVATE | ANON);
    p.write(BigInt(name * P), new TextEncoder().encode('file\0'));
    const fd = p.syscall('memfd_create', name * P, 0);
    p.syscall('ftruncate', fd, 6 * P);
    const shared = map(6, 3, SHARED, fd);
    for (const page of [0, 3]) this.store(p, shared + page);
    const copy = map(6, 3, PRIVATE, fd);
    p.load(BigInt(copy * P), 4);
    this.store(p, copy + 3);
    const locked = map(3, 3, PRIVATE | ANON);
    p.syscall('mlock', locked * P, 3 * P);
    for (const kilobytes of this.sizes) {
      const pages = kilobytes / 4;
      const size = HUGETLB | (Math.log2(kilobytes * 1024) << 26) | ANON;
      at = Math.ceil(at / pages) * pages;
      const private_ = map(2 * pages, 3, PRIVATE | size);
      this.store(p, private_ + 1);
      at = Math.ceil(at / pages) * pages;
      const all = map(2 * pages, 3, SHARED | size);
      this.store(p, all + pages + 1);
    }
    this.child = p.fork();
    this.store(this.child, anon);
    this.store(this.child, shared + 5);
  }

  store(who: Process, page: number): void {
    expect(who.store(BigInt(page * P), 4, 7n)).toBeUndefined();
  }

  view(who = this.p): ProcessView {
    return viewProcess(this.machine, who.ref, 0);
  }

  /** Runs a kernel function under the mmap lock. */
  locked(mode: 'Read' | 'Write', body: (kernel: Machine['kernel']) => number): number {
    const { machine, p } = this;
    const { mm } = p;
    machine.enter();
    machine.kernel[`mmap${mode}Lock`](mm);
    const result = body(machine.kernel);
    machine.kernel[`mmap${mode}Unlock`](mm);
    return result;
  }
}

/** numa_maps, counted from a view. */
function numaOf(vma: VmaView): Record<string, number> {
  const sums = { pages: 0, anon: 0, dirty: 0, mapcountMax: 0 };
  const huge = hasFlag(vma.flags, 'VM_HUGETLB');
  for (const page of vma.pages) {
    if (page.kind !== 'page' || (huge && page.key % (vma.pageBytes / P) !== 0)) continue;
    sums.pages++;
    if ((page.flags & PAGE.ANON) !== 0) sums.anon++;
    if ((page.flags & (PAGE.DIRTY | PAGE.ENTRY_DIRTY)) !== 0) sums.dirty++;
    sums.mapcountMax = Math.max(sums.mapcountMax, page.mapcount);
  }
  return sums;
}

describe.each(MODES)('%s', (mode) => {
  let scene: Scene;
  beforeAll(() => {
    scene = new Scene(mode);
  });

  test('F103, F107: smaps counts what is mapped, hugetlb and transparent huge pages on lines of their own', () => {
    const seen = { huge: 0, hugetlb: 0, shared: 0 };
    for (const who of [scene.p, scene.child]) {
      for (const vma of scene.view(who).vmas) {
        const read = readSmaps(scene.machine, who.ref, vma);
        expect(read, `vma at ${vma.start}`).toEqual(smapsOf(vma));
        seen.huge += read.anonHuge;
        seen.hugetlb += read.privateHugetlb + read.sharedHugetlb;
        seen.shared += read.sharedDirty;
        // One never counts for the other.
        if (hasFlag(vma.flags, 'VM_HUGETLB')) expect([read.rss, read.anonHuge]).toEqual([0, 0]);
        else expect(read.privateHugetlb + read.sharedHugetlb).toBe(0);
      }
    }
    expect(seen.shared).toBeGreaterThan(0);
    expect(seen.hugetlb > 0).toBe(scene.sizes.length > 0);
    expect(seen.huge > 0).toBe(mode !== 'ppc-8xx-4k');
  });

  test('numa_maps counts pages by what they are; a huge page of hugetlb once', () => {
    const view = scene.view();
    for (const vma of view.vmas) {
      const { pages, anon, dirty, mapcountMax } = readNumaMaps(scene.machine, scene.p.ref, vma);
      expect({ pages, anon, dirty, mapcountMax }, `vma at ${vma.start}`).toEqual(numaOf(vma));
    }
    const lines = numaMapsText(scene.machine, scene.p.ref, view).split('\n');
    const line = (start: number): string => lines.find((l) => l.startsWith((start * P).toString(16).padStart(8, '0'))) as string;
    expect(line(16 * scene.step)).toBe(`0${(16 * scene.step * P).toString(16)} default anon=3 dirty=3 mapmax=2 active=0 N0=3 kernelpagesize_kB=4`);
    expect(lines.filter((l) => / huge /.test(l))).toHaveLength(2 * scene.sizes.length);
  });

  test('pagemap and PAGEMAP_SCAN tell each page of each leaf', () => {
    for (const vma of scene.view().vmas) {
      const bits = readPagemap(scene.machine, scene.p.ref, vma.start, vma.end - vma.start);
      const present = new Map(vma.pages.filter(({ kind }) => kind === 'page' || kind === 'zero' || kind === 'huge-zero').map((page) => [page.vpn, page]));
      const hugetlb = hasFlag(vma.flags, 'VM_HUGETLB');
      bits.forEach((entry, i) => {
        const page = present.get(vma.start + i);
        expect((entry >> 63n) & 1n, `page ${vma.start + i}`).toBe(page === undefined ? 0n : 1n);
        if (page?.kind !== 'page') return;
        expect(Number(entry & ((1n << 55n) - 1n))).toBe(page.key);
        expect((entry >> 61n) & 1n).toBe((page.flags & PAGE.ANON) !== 0 ? 0n : 1n);
        if (hugetlb) expect((entry >> 56n) & 1n).toBe((page.flags & PAGE.HUGETLB_SHARED) !== 0 ? 0n : 1n);
        else expect((entry >> 56n) & 1n).toBe((page.mapcount === 1) !== ((page.flags & PAGE.EXCLUSIVE_DIFFERS) !== 0) ? 1n : 0n);
      });
      const { result, regions } = scanPagemap(scene.machine, scene.p.ref, {
        flags: 0n,
        start: BigInt(vma.start * P),
        end: BigInt(vma.end * P),
        vectorLength: 512,
        maxPages: 0n,
        invertedMask: 0n,
        mask: BigInt(PAGE_IS_PRESENT),
        anyMask: 0n,
        returnMask: BigInt(PAGE_IS_PRESENT | PAGE_IS_FILE | PAGE_IS_HUGE),
      } as unknown as Parameters<typeof scanPagemap>[2]);
      expect(result).toBe(regions.length);
      const listed = new Map<number, number>();
      for (const { start, end, categories } of regions) for (let at = start; at < end; at += BigInt(P)) listed.set(Number(at) / P, categories);
      expect([...listed.keys()].sort((a, b) => a - b)).toEqual([...present.keys()]);
      for (const [vpn, categories] of listed) {
        const page = present.get(vpn);
        const huge = hugetlb || page?.kind === 'huge-zero' || ((page?.flags ?? 0) & PAGE.PMD_MAPPED) !== 0;
        expect((categories & PAGE_IS_HUGE) !== 0, `page ${vpn}`).toBe(huge);
        if (page?.kind === 'page') expect((categories & PAGE_IS_FILE) !== 0).toBe((page.flags & PAGE.ANON) === 0);
      }
    }
  });

  test('mincore: what is mapped is in memory, and what the file has', () => {
    const out = 8 * scene.step * P;
    scene.p.syscall('mmap', out, 16 * P, 3, PRIVATE | ANON | FIXED, -1, 0);
    for (const vma of scene.view().vmas) {
      const pages = vma.end - vma.start;
      if (vma.start * P === out || pages > 16 * P) continue;
      expect(scene.p.syscall('mincore', vma.start * P, pages * P, out)).toBe(0);
      const answers = scene.p.read(BigInt(out), pages).bytes;
      const mapped = new Set(vma.pages.filter(({ kind }) => kind !== 'guard').map(({ vpn }) => vpn));
      if (vma.file === undefined || hasFlag(vma.flags, 'VM_HUGETLB'))
        for (let i = 0; i < pages; i++) expect(answers[i], `page ${i} of ${vma.start}`).toBe(mapped.has(vma.start + i) ? 1 : 0);
      else expect([...answers]).toEqual([1, 0, 0, 1, 0, 1]);
    }
    scene.p.syscall('munmap', out, 16 * P);
  });

  test('F108, F101, F109: the leaves from outside, by a walk by huge pages and by a walk down the tables are the same, each visited once', () => {
    const { machine, p } = scene;
    machine.enter();
    const pgd = get(p.mm, Mm.pgd);
    for (const vma of scene.view().vmas) {
      const outside: number[][] = [];
      let groups = 0;
      forEachLeaf(pgd, vma.start, vma.end, (vpn, end, entry, level) => {
        outside.push([vpn, end, level]);
        if ((entry & PTE_GROUP) !== 0 && (entry & PTE_PRESENT) !== 0) groups++;
      });
      const hugetlb = hasFlag(vma.flags, 'VM_HUGETLB');
      const walked = (novma: boolean, start: number, end: number): number[][] => {
        machine.enter();
        const ops = alloc(TestWalk);
        set(ops, TestWalk.has, HAS_LEAF | HAS_HUGETLB);
        set(ops, TestWalk.lock, PGWALK_RDLOCK);
        scene.locked('Write', (kernel) =>
          novma ? kernel.walkPageRangeNovma(p.mm, start, end, WALK_TEST, 0, ops) : kernel.walkPageRange(p.mm, start, end, WALK_TEST, ops),
        );
        return Array.from({ length: get(ops, TestWalk.calls) }, (_, i) => [TestWalk.start, TestWalk.end, TestWalk.more].map((list) => get(ops, list + i)));
      };
      for (const leaf of outside) for (const novma of [false, true]) expect(walked(novma, leaf[0], leaf[1]), `${leaf} ${novma}`).toEqual([leaf]);
      if (!hugetlb) continue;
      const pages = vma.pageBytes / P;
      // One visit a huge page, whatever it is made of.
      const count = allocWalkCount();
      scene.locked('Read', (kernel) => kernel.walkPageRange(p.mm, vma.start, vma.end, WALK_COUNT, count));
      expect([get(count, WalkCount.leaves), get(count, WalkCount.present)]).toEqual([1, pages]);
      expect(outside).toHaveLength(1);
      expect(groups).toBe(pages === spanPages(outside[0][2]) ? 0 : 1);
    }
  });

  test('clear_refs: no leaf of a file or of anonymous memory is accessed any longer; hugetlb is left alone', () => {
    const accessed = (): [number, number] => {
      const sums: [number, number] = [0, 0];
      for (const vma of scene.view().vmas)
        forEachLeaf(get(scene.p.mm, Mm.pgd), vma.start, vma.end, (_vpn, _end, entry, level, at) => {
          expect(leafPages(entry, level)).toBeGreaterThan(0);
          if ((loadEntry(at, level) & (PTE_ACCESSED | PTE_PRESENT)) === (PTE_ACCESSED | PTE_PRESENT)) sums[hasFlag(vma.flags, 'VM_HUGETLB') ? 1 : 0]++;
        });
      return sums;
    };
    const before = accessed();
    expect(before[0]).toBeGreaterThan(0);
    expect(writeClearRefs(scene.machine, scene.p.ref, 1)).toBeGreaterThanOrEqual(0);
    expect(accessed()[1]).toBe(before[1]);
    for (const vma of scene.view().vmas)
      for (const page of vma.pages)
        if (page.kind === 'page' && !hasFlag(vma.flags, 'VM_HUGETLB')) expect(page.flags & (PAGE.YOUNG | PAGE.REFERENCED), `${page.vpn}`).toBe(0);
  });

  test('ptdump counts the pages of the direct map by its leaves, as a reader of the image does', () => {
    const machine = new Machine({ mode, ramBytes: 2 ** 27 });
    machine.enter();
    expect(machine.kernel.makeDirectMap(2 ** 27 / machine.pageSize, 0)).toBe(0);
    const runs = kernelExtents(machine);
    machine.enter();
    const init = machine.kernel.makeInitMm();
    const first = runs[0].vpn;
    const last = runs[runs.length - 1];
    expect(machine.kernel.ptdumpWalkPgd(init, first, last.vpn + last.pages)).toBe(runs.reduce((sum, { pages }) => sum + pages, 0));
    const seen: number[] = [];
    forEachLeaf(get(init, Mm.pgd), first, last.vpn + last.pages, (vpn, end) => seen.push(end - vpn));
    expect(seen.reduce((a, b) => a + b, 0)).toBe(2 ** 27 / machine.pageSize);
  });
});
