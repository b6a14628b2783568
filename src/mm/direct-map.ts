/**
 * The kernel's map of all RAM (arch/x86/mm/init.c: init_memory_mapping, arch/arm64/mm/mmu.c: map_mem, arch/powerpc/mm/nohash/8xx.c: mmu_mapin_ram …), with the largest
 * leaves of the mode.
 *
 * Invariant: frames [0, linearEnd) stand at directMapVpn(pfn), whoever uses them. Machines have no such map until `makeDirectMap` made it.
 */
import { codec } from '../kernel/arch.ts';
import type { Op } from '../kernel/op.ts';
import { get, set } from '../kernel/ops.ts';
import { EINVAL, ENOSYS } from './errno.ts';
import { globals } from './globals.ts';
import { makeInitMm } from './init-mm.ts';
import { directMapStart, directMapVpn, FOR_DIRECT_MAP, vmallocStart } from './kernel-layout.ts';
import { PAGE_KERNEL, vmapRange } from './kernel-map.ts';
import { Globals } from './types.ts';

/** It is there. */
export const LINEAR_MAPPED = 1;
/** By pages alone, as arm64 does with rodata=full (the default) on CPUs that cannot change the size of a live leaf, and everybody with debug_pagealloc. */
export const LINEAR_PAGES = 2;
/** arm64: CPUs can do so (FEAT_BBM level 2 without conflict aborts), so leaves are split when need be (from 6.18). */
export const LINEAR_BBML2 = 4;

/**
 * Maps frames [0, end) there, once. `flags`: LINEAR_PAGES, LINEAR_BBML2. 0, −ENOMEM, −EINVAL for a second time, −ENOSYS in modes whose kernel reaches RAM without page
 * tables, or whose layout is not known.
 */
export function* makeDirectMap(end: number, flags: number): Op<number> {
  if (directMapStart() < 0) return -ENOSYS;
  if (get(globals, Globals.linearMap) !== 0) return -EINVAL;
  const mm = yield* makeInitMm();
  if (mm < 0) return mm;
  const largest = (flags & LINEAR_PAGES) !== 0 ? 1 : Infinity;
  const mapped = Math.min(end, roomForRam());
  const error = yield* vmapRange(directMapVpn(0), directMapVpn(mapped), 0, PAGE_KERNEL, FOR_DIRECT_MAP, largest);
  if (error !== 0) return error;
  set(globals, Globals.linearMap, LINEAR_MAPPED | flags);
  set(globals, Globals.linearEnd, mapped);
  return 0;
}

/** Low memory: what is behind it on 32-bit machines has no place in the direct map. */
const roomForRam = (): number => {
  if (vmallocStart() > directMapStart()) return vmallocStart() - directMapStart();
  // With 32 bits (riscv) addresses may end there.
  return codec.mode.vaBits === 32 ? 2 ** (32 - codec.pageShift) - directMapStart() : Infinity;
};

/** Architectures whose set_memory_*() and set_direct_map_*() work on the direct map (ARCH_HAS_SET_DIRECT_MAP; loongarch's has no tables). */
const CHANGES: readonly string[] = ['x86', 'arm64', 'riscv', 's390'];

/** can_set_direct_map: whether single pages of the direct map can be given other attributes. */
export function canSetDirectMap(): boolean {
  const linear = get(globals, Globals.linearMap);
  if (linear === 0 || !CHANGES.includes(codec.mode.family)) return false;
  // arm64 must not split what is in use, unless its CPUs can.
  return codec.mode.family !== 'arm64' || (linear & (LINEAR_PAGES | LINEAR_BBML2)) !== 0;
}
