/**
 * Where mmap() puts a mapping (mm/mmap.c: __get_unmapped_area; arch/x86/kernel/sys_x86_64.c; mm/huge_memory.c: __thp_get_unmapped_area), and where the
 * region for mappings begins (mm/util.c: arch_pick_mmap_layout; arch/x86/mm/mmap.c).
 *
 * Invariants: results are page numbers, or negative errnos; a hint that is free, guard gaps of stacks included, is taken as it is; nothing is changed.
 * The caller holds the mmap lock.
 */
import { codec, spanPages } from '../kernel/arch.ts';
import { get, set } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { EINVAL, ENOMEM, EPERM } from './errno.ts';
import { INODE_DISK, kindIsHugetlb } from './file-types.ts';
import { globals } from './globals.ts';
import { hugePages } from './hugetlb-resv.ts';
import { MMF_TOPDOWN } from './mm-flags.ts';
import { MAP_32BIT, MAP_ABOVE4G, MAP_FIXED } from './mman.ts';
import { File, type FileRef, Globals, Inode, Mm, type MmRef, type Vpn } from './types.ts';
import { CAP_SYS_RAWIO, capable, pfnUp } from './util.ts';
import { findVma, findVmaPrev, gapBottomUp, gapTopDown, vmEndGap, vmStartGap } from './vma-tree.ts';

/** Families that CONFIG_TRANSPARENT_HUGEPAGE exists for with 64 bits. */
const THP_FAMILIES = ['x86', 'arm64', 'riscv', 's390', 'powerpc', 'loongarch', 'sparc64', 'mips'];

/** x86-64 has its own search; 32-bit x86 the general one. */
const isX86_64 = (): boolean => codec.mode.family === 'x86' && codec.mode.vaBits > 32;

/** Mappings of whole huge pages are aligned to them. */
const hasThp = (): boolean => codec.mode.vaBits > 32 && THP_FAMILIES.includes(codec.mode.family);

/** A number of bytes that is a multiple of every page size below it, in pages. */
const pagesAt = (bytes: number): number => bytes / (1 << pageShift);

/** DEFAULT_MAP_WINDOW: the end of user space unless an address above is asked for. */
export function mapWindow(mm: MmRef): Vpn {
  const window = get(mm, Mm.mapWindow);
  return window === 0 ? get(mm, Mm.taskSize) : window;
}

/** TASK_UNMAPPED_BASE as a part of user space, where it is not a third (arch/…/include/asm/processor.h, task_size_32.h). */
const UNMAPPED_BASE: Readonly<Record<string, number>> = { arm64: 1 / 4, powerpc: 1 / 4, powerpc32: 3 / 8, alpha: 1 / 2, s390: 2 ** 42 / 2 ** 53 };

/** TASK_UNMAPPED_BASE: where mappings begin in the bottom-up layout. */
export function taskUnmappedBase(mm: MmRef): Vpn {
  const { family, vaBits } = codec.mode;
  return Math.ceil(mapWindow(mm) * (UNMAPPED_BASE[family === 'powerpc' && vaBits <= 32 ? 'powerpc32' : family] ?? 1 / 3));
}

/** mmap_min_addr, bytes: below it nothing is mapped that does not ask for just that place. */
export const mmapMinAddr = (): number => Math.max(get(globals, Globals.mmapMinAddr), get(globals, Globals.lsmMmapMinAddr));

// --- layout -----------------------------------------------------------------------------------------------------------------

/** Gap below the stack for mappings to stay out of: at least 128 MiB, at most 5/6 of user space. */
const MIN_GAP = 128 * 2 ** 20;

/** Families whose mappings always begin at the bottom. */
const BOTTOM_UP_ONLY = ['alpha', 'm68k'];

/**
 * arch_pick_mmap_layout: where mappings begin, from the stack limit (bytes, -1 for none) that exec took once: a later setrlimit() must not move what is laid
 * out already. `stackTop` is a page number. Top-down below the stack's room; bottom-up where the system, or (but for x86, and where stacks grow up) an unlimited
 * stack, asks for the old layout. No randomisation.
 */
export function archPickMmapLayout(mm: MmRef, stackLimit: number, stackTop: Vpn): void {
  const size = 1 << pageShift;
  const limit = stackLimit < 0 ? Infinity : stackLimit;
  const growsUp = codec.mode.family === 'parisc';
  const old = get(globals, Globals.legacyVaLayout) !== 0 || (limit === Infinity && !growsUp && !isX86_64());
  const base = taskUnmappedBase(mm);
  set(mm, Mm.execStackLimit, stackLimit);
  set(mm, Mm.mmapLegacyBase, base);
  if (old || BOTTOM_UP_ONLY.includes(codec.mode.family)) {
    set(mm, Mm.flags, get(mm, Mm.flags) & ~MMF_TOPDOWN);
    set(mm, Mm.mmapBase, base);
    return;
  }
  const most = Math.floor((stackTop * size) / 6) * 5;
  const wanted = limit + get(globals, Globals.stackGuardGap) * size;
  const gap = wanted < MIN_GAP && MIN_GAP < most ? MIN_GAP : Math.min(wanted, most);
  set(mm, Mm.flags, get(mm, Mm.flags) | MMF_TOPDOWN);
  set(mm, Mm.mmapBase, pfnUp(stackTop * size - gap));
}

// --- search -----------------------------------------------------------------------------------------------------------------

/** A hint is free on x86: in user space, not across the window's end, clear of the guard gap of a stack above it. */
function hintIsFreeX86(mm: MmRef, hint: Vpn, pages: number): boolean {
  if (get(mm, Mm.taskSize) - pages < hint) return false;
  const window = mapWindow(mm);
  if (hint > window !== hint + pages > window) return false;
  const vma = findVma(mm, hint);
  return vma === 0 || hint + pages <= vmStartGap(vma);
}

/** arch_get_unmapped_area of x86-64: bottom-up. */
function bottomUpX86(mm: MmRef, hint: Vpn, pages: number, pgoff: Vpn, flags: number, align: number): number {
  const low32 = (flags & MAP_32BIT) !== 0;
  const begin = low32 ? pagesAt(0x40000000) : get(mm, Mm.mmapLegacyBase);
  const window = mapWindow(mm);
  let end = hint > window ? get(mm, Mm.taskSize) : window;
  if (low32) end = pagesAt(0x80000000);
  if (pages > end) return -ENOMEM;
  if (hint !== 0) {
    const vma = findVma(mm, hint);
    if (end - pages >= hint && (vma === 0 || hint + pages <= vmStartGap(vma))) return hint;
  }
  const found = gapBottomUp(mm, pages, begin, end, align, align === 0 ? pgoff : 0);
  return found < 0 ? -ENOMEM : found;
}

/** arch_get_unmapped_area_topdown of x86-64. */
function topDownX86(mm: MmRef, hint: Vpn, pages: number, pgoff: Vpn, flags: number, align: number): number {
  if (pages > get(mm, Mm.taskSize)) return -ENOMEM;
  // Below 2 GiB the old layout is searched.
  if ((flags & MAP_32BIT) === 0) {
    if (hint !== 0 && hintIsFreeX86(mm, hint, pages)) return hint;
    const low = (flags & MAP_ABOVE4G) !== 0 ? pagesAt(2 ** 32) : 1;
    let high = get(mm, Mm.mmapBase);
    if (hint > mapWindow(mm)) high += get(mm, Mm.taskSize) - mapWindow(mm);
    const found = gapTopDown(mm, pages, low, high, align, align === 0 ? pgoff : 0);
    if (found >= 0) return found;
  }
  return bottomUpX86(mm, hint, pages, pgoff, flags, align);
}

/** generic_get_unmapped_area and generic_get_unmapped_area_topdown. */
function genericArea(mm: MmRef, hint: Vpn, pages: number, topDown: boolean, align: number): number {
  const window = mapWindow(mm);
  const end = hint > window ? get(mm, Mm.taskSize) : window;
  const min = pfnUp(mmapMinAddr());
  if (pages > end - min) return -ENOMEM;
  if (hint !== 0) {
    const vma = findVma(mm, hint);
    const prev = findVmaPrev(mm, hint);
    if (end - pages >= hint && hint >= min && (vma === 0 || hint + pages <= vmStartGap(vma)) && (prev === 0 || hint >= vmEndGap(prev))) return hint;
  }
  if (topDown) {
    const found = gapTopDown(mm, pages, 1, get(mm, Mm.mmapBase) + end - window, align, 0);
    if (found >= 0) return found;
  }
  const found = gapBottomUp(mm, pages, topDown ? taskUnmappedBase(mm) : get(mm, Mm.mmapBase), end, align, 0);
  return found < 0 ? -ENOMEM : found;
}

/** mm_get_unmapped_area_vmflags: the layout's own search, for a hint of whole pages (0: none). `align`: the place is a multiple of one page more than this. */
function archArea(mm: MmRef, hint: Vpn, pages: number, pgoff: Vpn, flags: number, align: number): number {
  const topDown = (get(mm, Mm.flags) & MMF_TOPDOWN) !== 0;
  if (!isX86_64()) return genericArea(mm, hint, pages, topDown, align);
  return topDown ? topDownX86(mm, hint, pages, pgoff, flags, align) : bottomUpX86(mm, hint, pages, pgoff, flags, align);
}

/** __thp_get_unmapped_area: a place where the object's huge pages lie aligned; 0 when there is no point in that, or no room. */
function thpArea(mm: MmRef, hint: Vpn, pages: number, pgoff: Vpn, flags: number): number {
  const size = spanPages(1);
  const firstHuge = Math.ceil(pgoff / size) * size;
  if (pgoff + pages - firstHuge < size) return 0;
  const found = archArea(mm, hint, pages + size, pgoff, flags, 0);
  if (found < 0) return 0;
  if (found === hint) return hint;
  const shift = (((pgoff - found) % size) + size) % size;
  // The search from above leaves the room for alignment below, where it is of no use to the next mapping.
  if ((get(mm, Mm.flags) & MMF_TOPDOWN) !== 0 && shift === 0) return found + size;
  return found + shift;
}

/** hugetlb_get_unmapped_area: whole huge pages at a multiple of their size. */
function hugetlbArea(mm: MmRef, size: number, at: Vpn, pages: number, pgoff: Vpn, flags: number): number {
  if (pages % size !== 0) return -EINVAL;
  if ((flags & MAP_FIXED) !== 0) return at % size !== 0 ? -EINVAL : at;
  return archArea(mm, Math.ceil(at / size) * size, pages, pgoff, flags, size - 1);
}

/**
 * __get_unmapped_area: where a mapping of `pages` goes. `address` (bytes) is where MAP_FIXED puts it, else a hint of whole pages. The page
 * number, or -ENOMEM (no room, beyond user space), -EINVAL (no page boundary), -EPERM (below mmap_min_addr without the right to).
 */
export function getUnmappedArea(mm: MmRef, file: FileRef, address: number, pages: number, pgoff: Vpn, flags: number, shared: number): number {
  const taskSize = get(mm, Mm.taskSize);
  if (pages > taskSize) return -ENOMEM;
  const at = address / (1 << pageShift);
  let found = 0;
  const inode = file === 0 ? 0 : get(file, File.inode);
  if (inode !== 0 && kindIsHugetlb(get(inode, Inode.kind))) {
    found = hugetlbArea(mm, hugePages(get(inode, Inode.hstate)), at, pages, pgoff, flags);
    if (found < 0) return found;
  } else if ((flags & MAP_FIXED) !== 0) found = at;
  else {
    // Files of a disk, and private memory of whole huge pages without a hint, prefer an aligned place.
    const disk = file !== 0 && get(get(file, File.inode), Inode.kind) === INODE_DISK;
    const offset = file === 0 ? 0 : pgoff;
    if (hasThp() && (disk || (file === 0 && shared === 0 && at === 0 && pages % spanPages(1) === 0))) found = thpArea(mm, at, pages, offset, flags);
    if (found === 0) found = archArea(mm, at, pages, offset, flags, 0);
    if (found < 0) return found;
  }
  if (found > taskSize - pages) return -ENOMEM;
  if (!Number.isInteger(found)) return -EINVAL;
  if (found < pfnUp(get(globals, Globals.mmapMinAddr)) && !capable(mm, CAP_SYS_RAWIO)) return -EPERM;
  return found;
}
