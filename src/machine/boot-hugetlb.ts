/** Pools of huge pages at boot (hugetlb_init and hugetlb_add_hstate of mm/hugetlb.c; hugepagesz= and hugepages=). */
import { pageSizes } from '../arch/linux/page-sizes.ts';
import { alloc, get, set } from '../memory/heap.ts';
import { globals } from '../mm/globals.ts';
import { FAULT_MUTEXES, FaultMutex, Hstate, type HstateRef, Hugetlb, MAX_HSTATES } from '../mm/hugetlb-types.ts';
import { Globals } from '../mm/types.ts';
import { type EntryCodec, PTE_HUGE } from '../pagetable/canonical.ts';

/** A size of huge pages: entries of a level that map one together. */
export interface HugeSize {
  readonly level: number;
  readonly entries: number;
  /** Entries in the table below each of these, where those map the page; else 0. */
  readonly fill: number;
  readonly order: number;
  /** What tells its entries from ordinary ones (PTE_HUGE, PTE_GROUP). */
  readonly bits: number;
}

/** The sizes of huge pages of a mode, smallest first (arch_hugetlb_valid_size). Levels above pud hold no pages of users. */
export function hugeSizes(codec: EntryCodec): HugeSize[] {
  const sizes: HugeSize[] = [];
  const shifts = pageSizes(codec.mode)
    .filter((size) => size.hugetlb)
    .map((size) => size.shift);
  codec.levels.forEach((level, i) => {
    if (i > 2) return;
    const bits = i > 0 ? PTE_HUGE : 0;
    if (i > 0 && level.leaves && shifts.includes(level.shift)) sizes.push({ level: i, entries: 1, fill: 0, order: level.shift - codec.pageShift, bits });
    for (const group of level.groups)
      if (shifts.includes(group.shift))
        sizes.push({ level: i, entries: group.entries, fill: 0, order: group.shift - codec.pageShift, bits: bits | group.bits });
  });
  for (const { shift, level } of codec.directories)
    if (shifts.includes(shift)) sizes.push({ level, entries: 1, fill: 0, order: shift - codec.pageShift, bits: PTE_HUGE });
  for (const { shift, level, entries, fill, bits } of codec.filled)
    if (shifts.includes(shift)) sizes.push({ level, entries, fill, order: shift - codec.pageShift, bits });
  return sizes.sort((a, b) => a.order - b.order).slice(0, MAX_HSTATES);
}

/** Makes the pools of a mode, all empty; the default size is that of a pmd entry. */
export function bootHugetlb(codec: EntryCodec): void {
  const hugetlb = alloc(Hugetlb);
  set(globals, Globals.hugetlb, hugetlb);
  for (let i = 0; i < FAULT_MUTEXES; i++) set(hugetlb, Hugetlb.mutexes + i, alloc(FaultMutex));
  const sizes = hugeSizes(codec);
  sizes.forEach((size, i) => {
    const h: HstateRef = alloc(Hstate);
    set(h, Hstate.order, size.order);
    set(h, Hstate.level, size.level);
    set(h, Hstate.entries, size.entries);
    set(h, Hstate.fill, size.fill);
    set(h, Hstate.bits, size.bits);
    set(hugetlb, Hugetlb.hstates + i, h);
  });
  set(hugetlb, Hugetlb.count, sizes.length);
  set(
    hugetlb,
    Hugetlb.default,
    Math.max(
      0,
      sizes.findIndex((s) => s.level === 1 && s.entries === 1),
    ),
  );
}

/** The pool of a size in KiB, 0 for none. */
export function poolOf(kilobytes: number, pageShift: number): HstateRef {
  const hugetlb = get(globals, Globals.hugetlb);
  for (let i = 0; i < get(hugetlb, Hugetlb.count); i++) {
    const h = get(hugetlb, Hugetlb.hstates + i);
    if (2 ** (get(h, Hstate.order) + pageShift - 10) === kilobytes) return h;
  }
  return 0;
}
