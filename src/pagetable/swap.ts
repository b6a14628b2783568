/**
 * Swap-type words: type, offset and the software bits beside them, and what the type numbers mean.
 *
 * Linux numbers its special entries downward from the last type, in an order that depends on the version and on what the
 * kernel was built with (include/linux/swap.h): swapin error, pte marker, device, migration, hwpoison, then real swap areas.
 */
import type { SpecialTypes } from '../arch/mode.ts';
import { gather, scatter, versionNumber, type Word } from '../arch/notation.ts';
import type { CompiledMode, CompiledSwap } from './compile.ts';

export type SwapKind = 'swap' | 'migration' | 'device-private' | 'device-exclusive' | 'hwpoison' | 'marker' | 'swapin-error' | 'unknown';

/** Meaning of one swap type number. */
export interface SwapTypeMeaning {
  readonly kind: SwapKind;
  /** `read`, `read-exclusive`, `write` where the kind has such forms. */
  readonly access?: 'read' | 'read-exclusive' | 'write';
}

export interface SwapEntry extends SwapTypeMeaning {
  readonly type: number;
  /** As Linux's swp_offset() gives it: a slot, a page frame number (with young and dirty above it), or marker bits. */
  readonly offset: number;
  /** The frame of a migration, device or hwpoison entry. */
  readonly pfn?: number;
  readonly young?: boolean;
  readonly dirty?: boolean;
  /** Bits of a marker. */
  readonly marker?: readonly string[];
  readonly exclusive: boolean;
  readonly softDirty: boolean;
  readonly uffdWp: boolean;
}

const SWAP_TYPES = 32;

/** What each of the 32 types means for a version and a build. */
export function swapTypes(kernel: number, specials: SpecialTypes): SwapTypeMeaning[] {
  const top: SwapTypeMeaning[] = [];
  // Topmost last: swap.h adds the groups upward from MAX_SWAPFILES.
  if (specials.hwpoison) top.push({ kind: 'hwpoison' });
  if (specials.migration)
    top.push({ kind: 'migration', access: 'read' }, { kind: 'migration', access: 'read-exclusive' }, { kind: 'migration', access: 'write' });
  if (specials.device) top.push({ kind: 'device-private', access: 'write' }, { kind: 'device-private', access: 'read' }, ...exclusive(kernel));
  if (kernel >= versionNumber('6.2') || specials.marker !== false) top.push({ kind: 'marker' });
  if (kernel >= versionNumber('6.1') && kernel < versionNumber('6.2')) top.push({ kind: 'swapin-error' });
  const areas = Array.from({ length: SWAP_TYPES - top.length }, (): SwapTypeMeaning => ({ kind: 'swap' }));
  return [...areas, ...top];
}

/** Two types for device-exclusive until 6.15, then one that is always a write entry. */
const exclusive = (kernel: number): SwapTypeMeaning[] =>
  kernel < versionNumber('6.15')
    ? [
        { kind: 'device-exclusive', access: 'write' },
        { kind: 'device-exclusive', access: 'read' },
      ]
    : [{ kind: 'device-exclusive', access: 'write' }];

/** The layout that holds for a level. */
export const swapLayoutFor = (mode: CompiledMode, level: string): CompiledSwap | undefined =>
  mode.swap.find((s) => s.layout.levels === undefined || s.layout.levels.includes(level));

/** Marker bits by version: uffd-wp from 5.19, poisoned from 6.6, guard from 6.13. */
function markerNames(offset: number): string[] {
  const names = ['uffd-wp', 'poisoned', 'guard'];
  return names.filter((_, i) => offset & (1 << i));
}

/** Decodes the word of a non-present entry; undefined when the mode has no swap layout for the level. */
export function decodeSwap(mode: CompiledMode, level: string, lo: number, hi: number): SwapEntry | undefined {
  const layout = swapLayoutFor(mode, level);
  if (!layout) return undefined;
  const type = gather(layout.type, lo, hi);
  const inverted = layout.layout.inverted === true;
  const offset = inverted ? gather(layout.offset, ~lo >>> 0, ~hi >>> 0) : gather(layout.offset, lo, hi);
  const flag = (name: string): boolean => {
    const pieces = layout.flags.get(name);
    return pieces !== undefined && gather(pieces, lo, hi) !== 0;
  };
  return meaningOf(mode, layout, { type, offset, exclusive: flag('exclusive'), softDirty: flag('softDirty'), uffdWp: flag('uffdWp') });
}

/** The same entry with another offset: what a run of consecutive offsets shares. */
export function withOffset(mode: CompiledMode, level: string, entry: SwapEntry, offset: number): SwapEntry {
  const layout = swapLayoutFor(mode, level) as CompiledSwap;
  return meaningOf(mode, layout, { type: entry.type, offset, exclusive: entry.exclusive, softDirty: entry.softDirty, uffdWp: entry.uffdWp });
}

function meaningOf(mode: CompiledMode, layout: CompiledSwap, raw: Pick<SwapEntry, 'type' | 'offset' | 'exclusive' | 'softDirty' | 'uffdWp'>): SwapEntry {
  const meaning = swapTypes(mode.kernel, mode.specials)[raw.type] ?? { kind: 'unknown' as const };
  const entry: SwapEntry = { ...meaning, ...raw };
  const { offset } = raw;
  if (meaning.kind === 'marker') return { ...entry, marker: markerNames(offset) };
  if (meaning.kind === 'swap' || meaning.kind === 'swapin-error' || meaning.kind === 'unknown') return entry;
  const bits = layout.layout.pfnBits ?? mode.mode.paBits - mode.mode.pageShift;
  const pfn = offset % 2 ** bits;
  const above = Math.floor(offset / 2 ** bits);
  return meaning.kind === 'migration' ? { ...entry, pfn, young: (above & 1) !== 0, dirty: (above & 2) !== 0 } : { ...entry, pfn };
}

/** The word of a swap-type entry. @throws {RangeError} when type or offset do not fit. */
export function encodeSwap(mode: CompiledMode, level: string, entry: { type: number; offset: number; flags?: readonly string[] }): Word {
  const layout = swapLayoutFor(mode, level);
  if (!layout) throw new RangeError(`mode ${mode.mode.name} has no swap-type entries at level ${level}`);
  const placed = (what: string, value: number, pieces: CompiledSwap['type']): Word => {
    const word = scatter(pieces, BigInt(value));
    if (gather(pieces, word.lo, word.hi) !== value) throw new RangeError(`swap ${what} ${value} does not fit mode ${mode.mode.name}`);
    return word;
  };
  const type = placed('type', entry.type, layout.type);
  const offset = placed('offset', entry.offset, layout.offset);
  let lo = type.lo | layout.always.lo;
  let hi = type.hi | layout.always.hi;
  if (layout.layout.inverted) {
    const all = scatter(layout.offset, (1n << 64n) - 1n);
    lo |= offset.lo ^ all.lo;
    hi |= offset.hi ^ all.hi;
  } else {
    lo |= offset.lo;
    hi |= offset.hi;
  }
  for (const name of entry.flags ?? []) {
    const pieces = layout.flags.get(name);
    if (!pieces) throw new RangeError(`swap-type entries of mode ${mode.mode.name} have no flag "${name}"`);
    const word = scatter(pieces, 1n);
    lo |= word.lo;
    hi |= word.hi;
  }
  return { lo: lo >>> 0, hi: hi >>> 0 };
}
