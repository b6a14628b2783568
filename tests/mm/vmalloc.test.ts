/** vmalloc space: what is mapped where, in which leaves, and that areas come and go without loss; read back by the reader of page tables. */
import { describe, expect, test } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { vmallocInfo } from '../../src/machine/proc/vmallocinfo.ts';
import { get, set } from '../../src/memory/heap.ts';
import { Memory, memory, Pcp, Zone } from '../../src/memory/zone.ts';
import { EBUSY, EINVAL, ENOMEM } from '../../src/mm/errno.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { vmallocEnd, vmallocStart } from '../../src/mm/kernel-layout.ts';
import { PAGE_KERNEL, PAGE_KERNEL_RO } from '../../src/mm/kernel-map.ts';
import { Globals, Mm } from '../../src/mm/types.ts';
import { VmapArea } from '../../src/mm/vmalloc-types.ts';
import { kernelExtents, leafSizes } from './support/kernel-extents.ts';

const MODES = ['x86-4level', 'arm64-4k-48', 's390x', 'riscv-sv39', 'ppc-8xx-4k', 'ppc64-radix-4k'];

function booted(mode: string, ramBytes = 2 ** 26): Machine {
  const machine = new Machine({ mode, ramBytes });
  machine.enter();
  return machine;
}

const freePages = (): number => {
  let free = 0;
  for (let i = 0; i < get(memory(), Memory.nrZones); i++) {
    const zone = get(memory(), Memory.zones + i);
    free += get(zone, Zone.free);
    if (get(zone, Zone.pcps) !== 0) free += get(get(zone, Zone.pcps), Pcp.count);
  }
  return free;
};

/** Numbers of [0, 1) from a seed. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Areas of vmalloc space: free ones must be ascending and apart, and all together the whole space once. */
function space(): { free: [number, number][]; all: number } {
  const list = (head: number): [number, number][] => {
    const found: [number, number][] = [];
    for (let area = head; area !== 0; area = get(area, VmapArea.next)) found.push([get(area, VmapArea.start), get(area, VmapArea.end)]);
    return found;
  };
  const free = list(get(globals, Globals.vmapFree));
  const others = [...list(get(globals, Globals.vmapBusy)), ...list(get(globals, Globals.vmapLazy))];
  free.forEach(([start, end], i) => {
    expect(start).toBeLessThan(end);
    if (i > 0) expect(start).toBeGreaterThan(free[i - 1][1]);
  });
  const sorted = [...free, ...others].sort((a, b) => a[0] - b[0]);
  sorted.forEach(([start], i) => expect(start).toBe(i === 0 ? vmallocStart() : sorted[i - 1][1]));
  return { free, all: (sorted.at(-1) as [number, number])[1] };
}

describe.each(MODES)('%s', (mode) => {
  test('pages are mapped side by side with an empty one behind, and come back', () => {
    const machine = booted(mode);
    const { kernel } = machine;
    const vpn = kernel.vmalloc(5);
    expect(vpn).toBe(vmallocStart());
    const runs = kernelExtents(machine);
    expect(runs.reduce((sum, run) => sum + run.pages, 0)).toBe(5);
    expect(runs.every((run) => run.write && run.leafPages === 1)).toBe(true);
    for (const run of runs) for (let i = 0; i < run.pages; i++) expect(kernel.vmallocToPfn(run.vpn + i)).toBe(run.pfn + i);
    expect(kernel.vmallocToPfn(vpn + 5)).toBe(-1);
    const second = kernel.vmalloc(1);
    expect(second).toBe(vpn + 6);
    expect(checkMachine()).toEqual([]);
    expect(kernel.vfree(vpn + 1)).toBe(-EINVAL);
    expect(kernel.vfree(vpn)).toBe(0);
    expect(kernelExtents(machine)).toHaveLength(1);
    // It waits for its flush: its place is not given out yet.
    expect(kernel.vmalloc(1)).toBe(second + 2);
    expect(kernel.vmUnmapAliases()).toBe(6);
    expect(kernel.vmalloc(3)).toBe(vpn);
    expect(space().all).toBe(vmallocEnd());
    expect(checkMachine()).toEqual([]);
  });

  test('a second mapping of the same page, read only', () => {
    const machine = booted(mode);
    const { kernel } = machine;
    const vpn = kernel.vmalloc(1);
    const page = kernel.vmallocToPfn(vpn);
    const again = kernel.vmapPage(get(globals, Globals.zeroPage), PAGE_KERNEL_RO);
    const runs = kernelExtents(machine);
    expect(runs.find((run) => run.vpn === again)).toMatchObject({ write: false, pages: 1 });
    expect(runs.find((run) => run.vpn === vpn)).toMatchObject({ write: true, pfn: page });
    expect(kernel.vunmap(again)).toBe(0);
    expect(kernel.vfree(vpn)).toBe(0);
    expect(checkMachine()).toEqual([]);
  });
});

test('large leaves where the size allows, by level and by runs of entries', () => {
  const huge = (mode: string, bytes: number): Record<string, number> => {
    const machine = booted(mode);
    const before = freePages();
    const vpn = machine.kernel.vmallocHuge(bytes / machine.pageSize);
    expect(vpn).toBeGreaterThan(0);
    const sizes = leafSizes(machine);
    expect(checkMachine()).toEqual([]);
    expect(machine.kernel.vfree(vpn)).toBe(0);
    machine.kernel.vmUnmapAliases();
    expect(checkMachine()).toEqual([]);
    // Tables stay.
    expect(before - freePages()).toBeLessThan(32);
    return sizes;
  };
  const M = 2 ** 20;
  expect(huge('x86-4level', 4 * M)).toEqual({ '2M': 2 });
  expect(huge('x86-4level', 3 * M)).toEqual({ '2M': 2 });
  expect(huge('x86-4level', M)).toEqual({ '4K': 256 });
  expect(huge('arm64-4k-48', 4 * M)).toEqual({ '2M': 2 });
  expect(huge('riscv-sv39', 4 * M)).toEqual({ '2M': 2 });
  expect(huge('ppc64-radix-4k', 4 * M)).toEqual({ '2M': 2 });
  // Runs of entries: 16K and 512K of 8xx (pages of 8M are for RAM and hugetlb), contiguous PTEs of arm64.
  expect(huge('ppc-8xx-4k', M / 2)).toEqual({ '512K': 1 });
  expect(huge('ppc-8xx-4k', 4 * M)).toEqual({ '512K': 8 });
  expect(huge('ppc-8xx-16k', 4 * M)).toEqual({ '512K': 8 });
  expect(huge('arm64-4k-48', M / 8)).toEqual({ '64K': 2 });
  // s390 has no HAVE_ARCH_HUGE_VMAP.
  expect(huge('s390x', 4 * M)).toEqual({ '4K': 1024 });
});

test('devices: frames of any kind, aligned, in the largest leaves', () => {
  const machine = booted('x86-4level');
  const { kernel } = machine;
  const vpn = kernel.ioremap(0xe0000, 1024, PAGE_KERNEL);
  expect(vpn % 512).toBe(0);
  expect(leafSizes(machine)).toEqual({ '2M': 2 });
  expect(kernel.vmallocToPfn(vpn + 700)).toBe(0xe0000 + 700);
  const giant = kernel.ioremap(0x100000, 262144, PAGE_KERNEL);
  expect(leafSizes(machine)).toEqual({ '2M': 2, '1G': 1 });
  expect(kernel.vmallocToPfn(giant + 5000)).toBe(0x100000 + 5000);
  expect(kernel.iounmap(vpn)).toBe(0);
  expect(leafSizes(machine)).toEqual({ '1G': 1 });
});

test('a leaf takes the place of a table that maps nothing any longer', () => {
  const machine = booted('x86-4level');
  const { kernel } = machine;
  // The pages that the first pages of the space stood in had a table; a huge leaf takes its place.
  const small = Array.from({ length: 300 }, () => kernel.vmalloc(1));
  for (const vpn of small) kernel.vfree(vpn);
  kernel.vmUnmapAliases();
  const vpn = kernel.vmallocHuge(512);
  expect(vpn).toBe(vmallocStart());
  expect(leafSizes(machine)).toEqual({ '2M': 1 });
  expect(checkMachine()).toEqual([]);
});

test('what waits for its flush is purged above the limit, and when there is no room', () => {
  const machine = booted('ppc-8xx-4k');
  const { kernel } = machine;
  set(globals, Globals.vmapLazyMax, 20);
  const areas = Array.from({ length: 8 }, () => kernel.vmalloc(4));
  for (const vpn of areas.slice(0, 4)) kernel.vfree(vpn);
  expect(get(globals, Globals.vmapLazyNr)).toBe(20);
  kernel.vfree(areas[4]);
  expect(get(globals, Globals.vmapLazyNr)).toBe(0);
  expect(space().free[0]).toEqual([vmallocStart(), vmallocStart() + 25]);
  // All of the space but what is in use cannot be had as one.
  const room = vmallocEnd() - vmallocStart();
  expect(kernel.ioremap(0, room, PAGE_KERNEL)).toBe(-EBUSY);
  expect(checkMachine()).toEqual([]);
});

test('failures of allocations leave nothing behind', () => {
  const machine = booted('x86-4level');
  const { kernel } = machine;
  kernel.vfree(kernel.vmalloc(70));
  kernel.vmUnmapAliases();
  const tablePages = (): number => get(get(globals, Globals.initMm), Mm.pgtablesBytes) / machine.pageSize;
  const before = freePages() + tablePages();
  let failed = 0;
  for (let n = 1; ; n++) {
    set(globals, Globals.failAllocation, n);
    const vpn = kernel.vmalloc(70);
    set(globals, Globals.failAllocation, 0);
    if (vpn > 0) {
      expect(n).toBeGreaterThan(70);
      kernel.vfree(vpn);
      break;
    }
    expect(vpn).toBe(-ENOMEM);
    failed++;
    expect(checkMachine()).toEqual([]);
  }
  kernel.vmUnmapAliases();
  expect(failed).toBeGreaterThan(70);
  // Areas that wait push the later ones on, into the range of another table.
  expect(freePages() + tablePages()).toBe(before);
});

test('random areas: the space is always divided, every mapping leads to its own frame', () => {
  const seed = 20251121;
  const random = randomOf(seed);
  const machine = booted('x86-4level');
  const { kernel } = machine;
  set(globals, Globals.vmapLazyMax, 200);
  const held = new Map<number, number>();
  for (let i = 0; i < 400; i++) {
    if (held.size < 12 && random() < 0.6) {
      const pages = 1 + Math.floor(random() * 40);
      const vpn = kernel.vmalloc(pages);
      if (vpn > 0) held.set(vpn, pages);
    } else if (held.size > 0) {
      const vpn = [...held.keys()][Math.floor(random() * held.size)];
      expect(kernel.vfree(vpn), `seed ${seed}`).toBe(0);
      held.delete(vpn);
    }
    if (i % 20 === 0) space();
  }
  const frames = new Set<number>();
  for (const [vpn, pages] of held) for (let k = 0; k < pages; k++) frames.add(kernel.vmallocToPfn(vpn + k));
  expect(frames.size).toBe([...held.values()].reduce((a, b) => a + b, 0));
  expect(checkMachine()).toEqual([]);
});

test('/proc/vmallocinfo', () => {
  const machine = booted('x86-4level');
  const { kernel } = machine;
  const vpn = kernel.vmalloc(4);
  const device = kernel.ioremap(0xfee00, 1, PAGE_KERNEL);
  const gone = kernel.vmalloc(1);
  kernel.vfree(gone);
  expect(device).toBe(vpn + 5);
  expect(vmallocInfo(machine)).toBe(
    [
      '0xffffc90000000000-0xffffc90000005000   20480 pages=4 vmalloc N0=4',
      '0xffffc90000005000-0xffffc90000007000    8192 phys=0x00000000fee00000 ioremap',
      '0xffffc90000007000-0xffffc90000009000    8192 unpurged vm_area',
      '',
    ].join('\n'),
  );
});
