/**
 * Which sizes of pages Linux 6.18 (6.10 where there are huge page directories) uses in each mode, and for what: transparent huge pages, hugetlb, mappings of the kernel (vmap, vmalloc, ioremap), its map of RAM.
 *
 * Invariant: how a size is represented is not told here: that follows from the mode's levels and groups (`representation`).
 */
import type { Level, PagingMode } from '../mode.ts';

export interface PageSizeUse {
  /** log2 of the bytes. */
  readonly shift: number;
  /** Mapped as one by transparent huge pages: at PMD level, or (mTHP) as a run of entries that hardware takes for one. */
  readonly thp: boolean;
  readonly hugetlb: boolean;
  /** By vmap_range(): vmalloc_huge(), ioremap(). */
  readonly vmap: boolean;
  /** In the kernel's map of RAM. */
  readonly directMap: boolean;
}

type Use = 't' | 'h' | 'v' | 'd';
const row = (shift: number, uses: string): PageSizeUse => {
  const has = (use: Use): boolean => uses.includes(use);
  return { shift, thp: has('t'), hugetlb: has('h'), vmap: has('v'), directMap: has('d') };
};

/** The huge sizes of a mode, ascending. Its base page is not listed. */
export function pageSizes(mode: PagingMode): readonly PageSizeUse[] {
  const { name, pageShift } = mode;
  switch (mode.family) {
    case 'x86':
      // HAVE_ARCH_HUGE_VMAP: not without PAE on 32 bits.
      if (name === 'x86-2level') return [row(22, 'thd')];
      if (name === 'x86-pae') return [row(21, 'thvd')];
      return [row(21, 'thvd'), row(30, 'hvd')];
    case 'arm':
      return name === 'arm-lpae' ? [row(21, 'thd')] : [row(20, 'd')];
    case 'arm64':
      // vmap of contiguous PTEs since 6.16 (arch_vmap_pte_range_map_size); of contiguous PMDs: no.
      if (pageShift === 12) return [row(16, 'thvd'), row(21, 'thvd'), row(25, 'hd'), row(30, 'hvd')];
      if (pageShift === 14) return [row(21, 'thvd'), row(25, 'thvd'), row(30, 'hd')];
      return [row(21, 'thvd'), row(29, 'thvd'), row(34, 'hd')];
    case 'riscv':
      // best_map_size: RAM is mapped by no entry of a top table, so that all of these lead to tables that every process shares; 32 bits have no other.
      if (mode.vaBits === 32) return [];
      return [row(16, 'hv'), row(21, 'thvd'), row(30, mode.vaBits === 39 ? 'hv' : 'hvd'), ...(mode.vaBits === 57 ? [row(39, 'd')] : [])];
    case 's390':
      // No HAVE_ARCH_HUGE_VMAP.
      return [row(20, 'thd'), row(31, 'hd')];
    case 'powerpc':
      return powerpc(mode);
    case 'loongarch':
    case 'mips': {
      if (mode.vaBits === 32) return [];
      const pmd = mode.levels[mode.levels.length - 2];
      return [row(pmd.shift, 'th')];
    }
    case 'sparc64':
      // The direct map (kernel_map_range): larger pages than 4M by sun4v's TTEs alone, though sun4u has entries of 8G with 4M in them. No HAVE_ARCH_HUGE_VMAP.
      if (name === 'sparc64-sun4u') return [row(16, 'h'), row(23, 'thd'), row(28, 'h'), row(33, 'd')];
      return [row(16, 'h'), row(23, 'thd'), row(28, 'hd'), row(31, 'hd'), row(33, 'd'), row(34, 'hd')];
    default:
      return [];
  }
}

function powerpc({ name, pageShift }: PagingMode): readonly PageSizeUse[] {
  if (name.startsWith('ppc-8xx')) {
    // HAVE_ARCH_HUGE_VMAP: arch_vmap_pte_range_map_size knows 16K and 512K; pages of 8M are for RAM and hugetlb.
    const sizes = [row(19, 'hvd'), row(23, 'hd')];
    return pageShift === 12 ? [row(14, 'hv'), ...sizes] : sizes;
  }
  if (name.includes('e500')) return [22, 24, 26, 28, 30].map((shift) => row(shift, 'h'));
  if (name.includes('radix')) return [row(21, 'thvd'), row(30, 'hvd')];
  if (name.includes('hash')) return [row(24, pageShift === 16 ? 'th' : 'h'), row(34, 'h')];
  return [];
}

/** A level, and of which of its groups (or none) the leaf is. */
export interface Representation {
  readonly level: Level;
  /** Entries that one leaf takes: 1, or those of a group; where a leaf spans several tables, all of them. */
  readonly entries: number;
  readonly text: string;
}

const times = (n: number, what: string): string => (n === 1 ? what : `${n} × ${what}`);

/** One entry of a huge page directory, which hangs in one slot, or in all that the page spans. */
const directoryText = (bytes: number, slots: Level, level: Level): string =>
  `entry of a directory (${level.name}) in ${Math.max(1, bytes / 2 ** slots.shift)} × ${slots.name}`;

/** How a leaf of a size stands in the tables, by the mode's own declaration: the highest level that has a form for it. Undefined: the mode declares none. */
export function representation(mode: PagingMode, shift: number): Representation | undefined {
  const bytes = 2 ** shift;
  for (const level of mode.levels)
    for (const form of level.forms) {
      if (form.kind !== 'leaf') continue;
      const own = form.size ?? 2 ** level.shift;
      const slots = mode.levels.find((l) => l.forms.some((f) => f.kind === 'hugepd' && f.next === level.name));
      if (slots !== undefined && own === bytes) return { level, entries: 1, text: directoryText(bytes, slots, level) };
      if (own === bytes) return { level, entries: 1, text: times(1, `${level.name} leaf`) };
      for (const group of form.groups ?? []) {
        const run = group.entries * 2 ** level.shift;
        if ((group.size ?? run) !== bytes) continue;
        const entries = Math.max(group.entries, (group.entries * bytes) / run);
        const tables = bytes / run;
        const text = tables > 1 ? `${tables} tables of ${group.entries} × ${level.name}` : `${group.entries} × ${level.name}, as one (${group.address})`;
        return { level, entries, text };
      }
    }
  return undefined;
}
