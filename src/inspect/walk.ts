/**
 * One walk, step by step, with all that people on linux-mm write beside it when they draw one by hand: the table of each level, the index, the entry
 * and its fields, what folded levels pass through, the run or directory that the leaf belongs to, and which level takes which right away.
 *
 * Invariants: a walk reads one entry a level (and the run around a leaf that says it is part of one); it reads memory itself and shares no state with
 * the tree reader, whose answers it must equal; it never throws for anything that stands in memory.
 */
import type { Root, RootRange } from '../arch/mode.ts';
import { holds, parseCondition, type Word } from '../arch/notation.ts';
import type { CompiledForm, CompiledGroup, CompiledLevel, CompiledMode } from '../pagetable/compile.ts';
import { ALL_RIGHTS, addressOf, addressUnits, decode, type Entry, grantedRights, levelNamed, type Rights, rightsOf, windowOf } from '../pagetable/entry.ts';
import { vpnOf } from '../pagetable/extents.ts';
import { FRAME_BYTES, type FrameSource } from '../pagetable/source.ts';
import { decodeSwap, type SwapEntry } from '../pagetable/swap.ts';
import { readTable } from '../pagetable/table.ts';
import { pointerToPhysical } from '../pagetable/tree.ts';

/** Linux's five levels, top down: what is not among a mode's levels is folded. */
export const LINUX_LEVELS = ['pgd', 'p4d', 'pud', 'pmd', 'pte'] as const;

export interface WalkStep {
  readonly level: CompiledLevel;
  /** Physical address of the table and of the entry. */
  readonly table: bigint;
  readonly at: bigint;
  readonly index: number;
  /** Undefined where the image lacks the entry. */
  readonly entry: Entry | undefined;
  /** What this entry lets pass (table) or grants (leaf). */
  readonly own: Rights;
  /** What is left up to and including this entry. */
  readonly rights: Rights;
  /** Linux's levels that this step stands for besides its own: folded ones pass through the same entry. */
  readonly folded: readonly string[];
}

export interface WalkGroup {
  readonly group: CompiledGroup;
  /** First index of the run. */
  readonly from: number;
  readonly entries: number;
  readonly leafBytes: number;
  /** Indexes that do not fit the run. */
  readonly disagree: readonly number[];
  /** What the run means as a whole. */
  readonly word: Word;
}

export type WalkEnd =
  | { readonly kind: 'mapped'; readonly pa: bigint; readonly leafBytes: number; readonly rights: Rights; readonly present: boolean }
  | { readonly kind: 'unmapped'; readonly why: string; readonly swap?: SwapEntry };

export interface Walk {
  readonly va: bigint;
  readonly mode: CompiledMode;
  readonly root: Root;
  readonly half: RootRange['half'];
  readonly steps: readonly WalkStep[];
  /** Linux's levels above the top table (a root that starts lower). */
  readonly above: readonly string[];
  readonly group: WalkGroup | undefined;
  readonly end: WalkEnd;
}

const NO_RIGHTS: Rights = { read: false, write: false, exec: false, user: false };

/** The range of a root that an address lies in. */
export function rangeOf(mode: CompiledMode, root: Root, vpn: number): RootRange | undefined {
  const { pages } = levelNamed(mode, root.level);
  return root.ranges.find((r) => {
    const from = vpnOf(r.va, mode.mode.pageShift);
    return vpn >= from && vpn < from + (r.to - r.from) * pages;
  });
}

/** Walks one address. */
export function walk(mode: CompiledMode, source: FrameSource, root: Root, va: bigint): Walk {
  const vpn = vpnOf(va, mode.mode.pageShift);
  const range = rangeOf(mode, root, vpn);
  const top = levelNamed(mode, root.level);
  const base = { va, mode, root, half: range?.half ?? 'user', above: foldedAbove(mode, top), group: undefined };
  if (range === undefined) return { ...base, steps: [], end: { kind: 'unmapped', why: outside(mode, root) } };
  const first = (vpn - vpnOf(range.va, mode.mode.pageShift)) / top.pages + range.from;
  return new Walker(mode, source, base, vpn, range).run(top, root.table, Math.floor(first));
}

function outside(mode: CompiledMode, root: Root): string {
  const { pages } = levelNamed(mode, root.level);
  const text = root.ranges.map(
    (r) => `0x${r.va.toString(16)}-0x${(r.va + (BigInt((r.to - r.from) * pages) << BigInt(mode.mode.pageShift)) - 1n).toString(16)}`,
  );
  return `${root.label} does not translate this address: it covers ${text.join(' and ')}`;
}

function foldedAbove(mode: CompiledMode, top: CompiledLevel): string[] {
  const at = LINUX_LEVELS.indexOf(top.level.name as (typeof LINUX_LEVELS)[number]);
  return at <= 0 ? [] : LINUX_LEVELS.slice(0, at).filter((name) => top.index === 0 || mode.levels.some((l) => l.level.name === name));
}

/** Names of Linux's levels between a level and the one it points to. */
export function foldedBelow(level: CompiledLevel, next: CompiledLevel | undefined): string[] {
  const from = LINUX_LEVELS.indexOf(level.level.name as (typeof LINUX_LEVELS)[number]);
  const to = next === undefined ? -1 : LINUX_LEVELS.indexOf(next.level.name as (typeof LINUX_LEVELS)[number]);
  return from < 0 || to < 0 ? [] : LINUX_LEVELS.slice(from + 1, to);
}

interface Slot {
  readonly table: bigint;
  readonly index: number;
}

class Walker {
  readonly #mode: CompiledMode;
  readonly #source: FrameSource;
  readonly #base: Pick<Walk, 'va' | 'mode' | 'root' | 'half' | 'above'>;
  readonly #vpn: number;
  readonly #range: RootRange;
  readonly #steps: WalkStep[] = [];
  #group: WalkGroup | undefined;

  constructor(mode: CompiledMode, source: FrameSource, base: Pick<Walk, 'va' | 'mode' | 'root' | 'half' | 'above'>, vpn: number, range: RootRange) {
    this.#mode = mode;
    this.#source = source;
    this.#base = base;
    this.#vpn = vpn;
    this.#range = range;
  }

  run(top: CompiledLevel, table: bigint, index: number): Walk {
    let level = top;
    let at: Slot = { table, index };
    let rights: Rights = this.#range.supervisor ? { ...ALL_RIGHTS, user: false } : ALL_RIGHTS;
    // Where the slot begins that leads to the table, and which part of a larger leaf the slot maps.
    let slot = vpnOf(this.#range.va, this.#mode.mode.pageShift) - this.#range.from * top.pages;
    let piece = 0;
    for (;;) {
      const word = this.#read(level, at.table, at.index);
      const entry = word && decode(level, word.lo, word.hi);
      const own = entry?.form && entry.kind !== 'none' && entry.kind !== 'nonpresent' ? rightsOf(entry.form, entry.lo, entry.hi) : NO_RIGHTS;
      const before = rights;
      rights = entry?.form && entry.kind !== 'none' && entry.kind !== 'nonpresent' ? grantedRights(rights, entry.form, entry.lo, entry.hi) : NO_RIGHTS;
      const next = entry?.form && entry.form.next >= 0 ? this.#mode.levels[entry.form.next] : undefined;
      const below = next ?? this.#defaultNext(level);
      this.#steps.push({
        level,
        table: at.table,
        at: at.table + BigInt(at.index * level.stride),
        index: at.index,
        entry,
        own,
        rights,
        folded: foldedBelow(level, below),
      });
      const start = slot + at.index * level.pages;
      if (entry?.kind === 'leaf') return this.#done(this.#leaf(level, entry, at, start, piece, before));
      if (entry === undefined || entry.form === undefined || next === undefined) return this.#done({ kind: 'unmapped', ...this.#why(level, entry) });
      piece = this.#pieceFor(next, level, at.index);
      at = { table: this.#pointer(entry), index: Math.floor((this.#vpn - start) / next.pages) % next.entries };
      slot = start;
      if (this.#steps.length > this.#mode.levels.length) return this.#done({ kind: 'unmapped', why: `the levels below the ${level.level.name} do not end` });
      const window = windowOf(entry.form, entry.lo, entry.hi);
      if (window !== undefined && (at.index < window.first || at.index >= window.entries))
        return this.#done({
          kind: 'unmapped',
          why: `the ${level.level.name} entry says that its table holds entries ${window.first} to ${window.entries - 1} only, and this address needs ${at.index}`,
        });
      level = next;
    }
  }

  #done(end: WalkEnd): Walk {
    return { ...this.#base, steps: this.#steps, group: this.#group, end };
  }

  #defaultNext(level: CompiledLevel): CompiledLevel | undefined {
    const { next } = level.level;
    if (next === null) return undefined;
    return next === undefined ? this.#mode.levels[level.index + 1] : this.#mode.levels.find((l) => l.level.name === next);
  }

  #read(level: CompiledLevel, table: bigint, index: number): Word | undefined {
    for (const chunk of readTable(this.#mode, level, this.#source, Number(table >> 12n), Number(table & BigInt(FRAME_BYTES - 1)), index, index + 1)) {
      if (chunk.words === undefined) return undefined;
      return chunk.wide ? { lo: chunk.words[0], hi: chunk.words[1] } : { lo: chunk.words[0], hi: 0 };
    }
    return undefined;
  }

  #pointer(entry: Entry): bigint {
    const { pointers } = this.#mode.mode;
    const address = (entry.form as CompiledForm).address as NonNullable<CompiledForm['address']>;
    return pointers === undefined ? addressOf(address, entry.lo, entry.hi) : pointerToPhysical(pointers, entry.lo, entry.hi, address.mask);
  }

  /** Pages before the slot that belong to the same leaf of the next level (hugepd and 8xx 8M reach over several slots). */
  #pieceFor(next: CompiledLevel, level: CompiledLevel, index: number): number {
    const sizes = next.forms.filter((f) => f.kind === 'leaf').flatMap((f) => [f.pages, ...f.groups.filter((g) => g.group.size).map((g) => g.leafPages)]);
    const slots = Math.max(0, ...sizes) / level.pages;
    return slots > 1 ? (index % slots) * level.pages : 0;
  }

  #leaf(level: CompiledLevel, entry: Entry, at: Slot, start: number, piece: number, inherited: Rights): WalkEnd {
    const form = entry.form as CompiledForm;
    const shift = this.#mode.mode.pageShift;
    const pfn = form.address ? addressUnits(form.address, entry.lo, entry.hi, shift) : 0;
    this.#group = this.#findGroup(level, form, entry, at);
    const group = this.#group?.group;
    const broken = (this.#group?.disagree.length ?? 0) > 0;
    const place = at.index * Math.min(form.pages, level.pages) + piece;
    let first = pfn;
    if (group && !(broken && group.group.address === 'advance')) first = pfn - (pfn % group.leafPages) + (place % group.leafPages);
    else if (form.pages > level.pages) first = pfn - (pfn % form.pages) + (place % form.pages);
    const inSlot = (this.#vpn - start) % level.pages;
    const pages = group && !broken ? group.leafPages : form.pages;
    // A run's accessed and dirty bits, and what hardware clears in one of its entries, count for all of it.
    const word = this.#group && !broken ? this.#group.word : entry;
    const rights = grantedRights(inherited, form, word.lo, word.hi);
    const pa = (BigInt(first + inSlot) << BigInt(shift)) | (this.#base.va & ((1n << BigInt(shift)) - 1n));
    return { kind: 'mapped', pa, leafBytes: pages * 2 ** shift, rights, present: holds(form.allows.present, word.lo, word.hi) };
  }

  /** The first kind of run that the entry's marks name; one whose mark proves nothing counts only when it is complete. */
  #findGroup(level: CompiledLevel, form: CompiledForm, entry: Entry, at: Slot): WalkGroup | undefined {
    for (const group of form.groups) {
      if (!holds(group.when, entry.lo, entry.hi)) continue;
      const found = this.#groupAt(level, group, at);
      if (found.disagree.length === 0 || !group.group.optional) return found;
    }
    return undefined;
  }

  /** The run that an entry says it is part of, and which of its entries say otherwise. */
  #groupAt(level: CompiledLevel, group: CompiledGroup, at: Slot): WalkGroup {
    const n = group.group.entries;
    const from = at.index - (at.index % n);
    const disagree: number[] = [];
    const own = this.#read(level, at.table, at.index) as Word;
    const form = decode(level, own.lo, own.hi).form as CompiledForm;
    const address = form.address as NonNullable<CompiledForm['address']>;
    const shift = this.#mode.mode.pageShift;
    const pfnOf = (w: Word): number => addressUnits(address, w.lo, w.hi, shift);
    const keep = { lo: ~(address.mask.lo | group.differ.lo | group.clear.lo), hi: ~(address.mask.hi | group.differ.hi | group.clear.hi) };
    let union = this.#read(level, at.table, from) ?? own;
    const base = pfnOf(own) - (at.index - from) * form.pages;
    for (let i = from; i < from + n; i++) {
      const word = this.#read(level, at.table, i);
      const alike = word !== undefined && (((word.lo ^ own.lo) & keep.lo) | ((word.hi ^ own.hi) & keep.hi)) === 0;
      const pfn = word ? pfnOf(word) : -1;
      const placed =
        group.group.address === 'advance'
          ? pfn === base + (i - from) * form.pages && base % group.leafPages === 0
          : group.group.address === 'same'
            ? pfn === pfnOf(own)
            : Math.floor(pfn / group.leafPages) === Math.floor(pfnOf(own) / group.leafPages);
      if (!alike || !placed) disagree.push(i);
      if (word && group.group.decides === undefined) union = unite(union, word, group);
    }
    return { group, from, entries: n, leafBytes: group.leafPages * 2 ** shift, disagree, word: union };
  }

  #why(level: CompiledLevel, entry: Entry | undefined): { why: string; swap?: SwapEntry } {
    const { name } = level.level;
    if (entry === undefined) return { why: `the ${name} table lies beyond the image` };
    if (entry.kind === 'none') return { why: `the ${name} entry is empty: never faulted in, or unmapped` };
    if (entry.kind === 'nonpresent') {
      const swap = decodeSwap(this.#mode, name, entry.lo, entry.hi);
      return { why: swap ? swapText(swap) : `the ${name} entry is not present ("${entry.form?.form.name}")`, ...(swap ? { swap } : {}) };
    }
    return { why: `the ${name} entry 0x${((BigInt(entry.hi) << 32n) | BigInt(entry.lo)).toString(16)} fits no form of the level` };
  }
}

const unite = (a: Word, b: Word, { differ, clear }: CompiledGroup): Word => ({
  lo: ((a.lo | (b.lo & differ.lo)) & (b.lo | ~clear.lo)) >>> 0,
  hi: ((a.hi | (b.hi & differ.hi)) & (b.hi | ~clear.hi)) >>> 0,
});

/** Why a swap-type entry maps nothing, in words. */
export function swapText(swap: SwapEntry): string {
  const at = swap.pfn !== undefined ? `frame 0x${swap.pfn.toString(16)}` : `offset 0x${swap.offset.toString(16)}`;
  if (swap.kind === 'swap') return `swapped out: swap area ${swap.type}, ${at}`;
  if (swap.kind === 'migration') return `being migrated: ${at}, ${swap.access} entry`;
  if (swap.kind === 'marker') return `a marker, no page: ${swap.marker?.join(', ') || 'no bit set'}`;
  if (swap.kind === 'hwpoison') return `its memory failed (hwpoison): ${at}`;
  if (swap.kind === 'device-private' || swap.kind === 'device-exclusive')
    return `the page is a device's (${swap.kind}${swap.access ? `, ${swap.access}` : ''}): ${at}`;
  return `a non-present entry of type ${swap.type}, ${at} (${swap.kind})`;
}

/** For each right that is missing at the end: the first step that withholds it, and the fields that make it so. */
export function takenAway(w: Walk): { right: keyof Rights; step: WalkStep; needs: string }[] {
  const last = w.steps[w.steps.length - 1];
  if (last?.entry?.kind !== 'leaf') return [];
  return (['read', 'write', 'exec', 'user'] as const).flatMap((right) => {
    if (w.end.kind === 'mapped' && w.end.rights[right]) return [];
    const step = w.steps.find((s) => !s.rights[right] && !(right === 'exec' && s.entry?.kind !== 'leaf' && s.rights.execPrivileged));
    return step?.entry?.form ? [{ right, step, needs: failing(step.entry, right) }] : [];
  });
}

/** The parts of an `allows` condition that do not hold. */
function failing(entry: Entry, right: keyof Rights): string {
  const form = entry.form as CompiledForm;
  const text = form.form.allows?.[right];
  if (text === undefined || text === '0') return 'never allowed by this entry';
  const wrong = text
    .split('|')[0]
    .trim()
    .split(/\s+/)
    .filter((atom) => !holds(parseCondition(atom, form.fields), entry.lo, entry.hi));
  return wrong.map((atom) => (/^!/.test(atom) ? `${atom.slice(1)} is set` : /=/.test(atom) ? `not ${atom}` : `${atom} is clear`)).join(', ');
}
