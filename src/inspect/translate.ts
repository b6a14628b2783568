/**
 * One virtual address: where it leads, or why it leads nowhere.
 *
 * The path is read off the tables as the walker understood them (groups, huge directories, folded levels), with each entry's word as it stands in memory.
 * Invariant: exactly one reason is given for an address that has no frame; an address whose entry keeps a frame but grants nothing has both.
 */
import type { Root } from '../arch/mode.ts';
import type { Attribute } from '../pagetable/attributes.ts';
import { ALL_RIGHTS, type Rights } from '../pagetable/entry.ts';
import { vpnOf } from '../pagetable/extents.ts';
import type { FrameSource } from '../pagetable/source.ts';
import type { SwapEntry } from '../pagetable/swap.ts';
import { readTable } from '../pagetable/table.ts';
import { advanceOf, type PageTables, type TableNode } from '../pagetable/tree.ts';
import { kindOfSwap, wordHex } from './leaves.ts';
import { rightsLetters, sizeOf } from './text.ts';

/** One entry on the path. */
export interface Step {
  readonly level: string;
  readonly manual: string;
  /** Physical address of the table. */
  readonly table: bigint;
  readonly index: number;
  /** Physical address of the entry. */
  readonly entryAddress: bigint;
  /** Undefined where the image lacks the table. */
  readonly lo: number | undefined;
  readonly hi: number | undefined;
  /** Name of the entry's form as in the manual. */
  readonly form: string | undefined;
  /** What the path allows up to here. */
  readonly rights: Rights;
}

/** Why an address has no memory behind it that it may use. */
export type Reason =
  | 'outside' // the root does not translate this address
  | 'none' // an entry is empty: never faulted in, or unmapped
  | 'swap'
  | 'migration'
  | 'device-private'
  | 'device-exclusive'
  | 'hwpoison'
  | 'marker'
  | 'unknown' // a swap-type entry
  | 'prot-none' // the entry keeps its frame but grants nothing
  | 'missing' // the image does not hold the table
  | 'bad'; // no entry of this mode looks so

export interface Translation {
  readonly va: bigint;
  readonly half: 'user' | 'kernel' | undefined;
  /** Physical address, also of a page that grants nothing. */
  readonly pa: bigint | undefined;
  readonly reason: Reason | undefined;
  /** A sentence without its full stop. */
  readonly text: string;
  readonly level: string | undefined;
  readonly leafBytes: number | undefined;
  readonly attribute: Attribute | undefined;
  readonly swap: SwapEntry | undefined;
  readonly steps: readonly Step[];
  /** Whether the image holds the frame's contents. */
  readonly inImage: boolean;
}

/** Does the root translate this address? */
export const covers = (tables: { mode: PageTables['mode'] }, root: Root, va: bigint): Root['ranges'][number] | undefined => {
  const { mode } = tables;
  const level = mode.levels.find((l) => l.level.name === root.level);
  const vpn = vpnOf(va, mode.mode.pageShift);
  return root.ranges.find((r) => {
    const from = vpnOf(r.va, mode.mode.pageShift);
    return level !== undefined && vpn >= from && vpn < from + (r.to - r.from) * level.pages;
  });
};

/** Translates one address. */
export function translateAddress(tables: PageTables, source: FrameSource, va: bigint): Translation {
  const { mode, root, nodes } = tables;
  const range = covers(tables, root, va);
  const nothing = { va, pa: undefined, leafBytes: undefined, attribute: undefined, swap: undefined, inImage: false };
  if (range === undefined) {
    return {
      ...nothing,
      half: undefined,
      reason: 'outside',
      level: undefined,
      steps: [],
      text: `outside of what ${root.label} translates: ${root.ranges.map((r) => rangeText(tables, r)).join(' and ')}`,
    };
  }
  const vpn = vpnOf(va, mode.mode.pageShift);
  const top = mode.levels[nodes[0].level];
  let node = nodes[0];
  let base = vpnOf(range.va, mode.mode.pageShift) - range.from * top.pages;
  const steps: Step[] = [];
  const within = (r: Rights): Rights => (range.supervisor ? { ...r, user: false } : r);
  let rights = within(ALL_RIGHTS);
  for (;;) {
    const level = mode.levels[node.level];
    const index = Math.floor((vpn - base) / level.pages);
    const item = itemAt(tables, node, index);
    const attribute = item < 0 ? undefined : tables.attributes[tables.items.attribute[item]];
    if (attribute) rights = within(attribute.rights);
    steps.push(stepOf(tables, source, node, index, attribute, rights));
    const slot = base + index * level.pages;
    if (attribute === undefined) {
      return {
        ...nothing,
        half: range.half,
        reason: 'none',
        level: level.level.name,
        steps,
        text: `nothing is mapped here: the ${level.level.name} entry, which spans ${sizeOf(level.pages * 2 ** mode.mode.pageShift)}, is empty (never faulted in, or unmapped)`,
      };
    }
    if (attribute.kind === 'table' || attribute.kind === 'hugepd') {
      node = nodes[tables.items.value[item]];
      base = slot;
      continue;
    }
    return { ...end(tables, source, attribute, rights, item, index, vpn - slot, va, range.half), half: range.half, level: level.level.name, steps };
  }
}

function end(
  tables: PageTables,
  source: FrameSource,
  attribute: Attribute,
  rights: Rights,
  item: number,
  index: number,
  within: number,
  va: bigint,
  half: 'user' | 'kernel',
): Omit<Translation, 'half' | 'level' | 'steps'> {
  const { items, mode } = tables;
  const shift = mode.mode.pageShift;
  const value = items.value[item] + (items.step[item] === 1 ? (index - items.index[item]) * advanceOf(attribute) : 0);
  const nothing = { va, pa: undefined, leafBytes: undefined, attribute, swap: undefined, inImage: false };
  const word = `0x${wordHex(attribute.lo, attribute.hi)}`;
  if (attribute.kind === 'missing') return { ...nothing, reason: 'missing', text: 'the image does not hold the table that the walk needs next' };
  if (attribute.kind === 'bad')
    return {
      ...nothing,
      reason: 'bad',
      text: `${word} is no entry of ${mode.mode.name}: another mode, damage, or a torn read (the table changed while it was saved)`,
    };
  if (attribute.kind === 'nonpresent') {
    const swap = tables.swapOf(attribute, value + (advanceOf(attribute) > 0 ? within : 0));
    const text =
      half === 'kernel' ? `not present: the kernel swaps nothing of its own, so this is a page taken out of its map (entry ${word})` : swapSentence(swap, word);
    return { ...nothing, swap, reason: kindOfSwap(swap, half), text };
  }
  const pfn = value + within;
  const pa = (BigInt(pfn) << BigInt(shift)) | (va & ((1n << BigInt(shift)) - 1n));
  const inImage = source.frame(Number(pa >> 12n)) !== undefined;
  const leafBytes = attribute.leafPages * 2 ** shift;
  const page = `${sizeOf(leafBytes)} page`;
  const is = [
    attribute.global ? 'global' : '',
    attribute.dirty ? 'dirty' : '',
    attribute.accessed ? 'accessed' : '',
    attribute.contig > 1 ? `${attribute.contig} entries a page` : '',
  ].filter((s) => s !== '');
  const beyond = inImage ? '' : '; the image does not hold its contents';
  const found = { ...nothing, pa, leafBytes, inImage };
  if (!attribute.present)
    return { ...found, reason: 'prot-none', text: `the entry keeps its frame but grants nothing (PROT_NONE, or a NUMA hint): ${page}${beyond}` };
  return { ...found, reason: undefined, text: `${rightsLetters(rights)}, ${[page, ...is].join(', ')}${beyond}` };
}

function swapSentence(swap: SwapEntry | undefined, word: string): string {
  if (swap === undefined) return `not present, software's own word ${word}`;
  const at = `type ${swap.type}, offset 0x${swap.offset.toString(16)}`;
  const frame = swap.pfn === undefined ? '' : `, frame 0x${swap.pfn.toString(16)}`;
  switch (swap.kind) {
    case 'swap':
      return `swapped out: swap area ${swap.type}, offset 0x${swap.offset.toString(16)}`;
    case 'migration':
      return `being migrated (${swap.access} entry)${frame}`;
    case 'device-private':
      return `in a device's private memory (${swap.access} entry)${frame}`;
    case 'device-exclusive':
      return `a device has exclusive access (${swap.access} entry)${frame}`;
    case 'hwpoison':
      return `the frame is poisoned: a hardware memory error${frame}`;
    case 'marker':
      return `a marker stands here (${swap.marker?.join(', ') || at}): nothing is mapped, but the fault handler has to know something`;
    case 'swapin-error':
      return `reading the page back from swap failed (${at})`;
    default:
      return `not present, of a type that this Linux does not use (${at})`;
  }
}

/** The item that holds an index of a node, or -1: items are in index order, so a binary search finds it. */
function itemAt(tables: PageTables, node: TableNode, index: number): number {
  const { items } = tables;
  let low = node.from;
  let high = node.to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (items.index[middle] + items.count[middle] <= index) low = middle + 1;
    else high = middle;
  }
  return low < node.to && items.index[low] <= index ? low : -1;
}

function stepOf(tables: PageTables, source: FrameSource, node: TableNode, index: number, attribute: Attribute | undefined, rights: Rights): Step {
  const { mode } = tables;
  const level = mode.levels[node.level];
  const table = BigInt(node.frame) * 4096n + BigInt(node.offset);
  const [chunk] = readTable(mode, level, source, node.frame, node.offset, index, index + 1);
  const words = chunk?.words;
  return {
    level: level.level.name,
    manual: level.level.manual,
    table,
    index,
    entryAddress: table + BigInt(index * level.stride),
    lo: words?.[0],
    hi: words === undefined ? undefined : chunk.wide ? words[1] : 0,
    form: attribute?.form?.form.name ?? (attribute === undefined ? 'empty' : undefined),
    rights,
  };
}

function rangeText(tables: PageTables, range: Root['ranges'][number]): string {
  const { mode, root } = tables;
  const level = mode.levels.find((l) => l.level.name === root.level);
  const bytes = (BigInt(range.to - range.from) * BigInt(level?.pages ?? 0)) << BigInt(mode.mode.pageShift);
  return `0x${range.va.toString(16)} to 0x${(range.va + bytes - 1n).toString(16)}`;
}
