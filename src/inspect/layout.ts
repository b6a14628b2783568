/**
 * Which page sizes a mode has, at which level each sits, and how entries represent it: worked out from the declaration alone.
 *
 * Invariants: one row for each (size, level, representation); a form that only ever occurs as part of a run (its condition implies a group's) gives no
 * row of its own size; forms through which nothing may be accessed give none at all.
 */
import { type Atom, holds } from '../arch/notation.ts';
import { findMode } from '../arch/registry.ts';
import { type CompiledForm, type CompiledGroup, type CompiledLevel, type CompiledMode, compileMode } from '../pagetable/compile.ts';
import { pageSizeText } from './draw-text.ts';
import { LINUX_LEVELS } from './walk.ts';
import { chainOf } from './walk-range.ts';

export type Representation =
  /** One entry. */
  | 'leaf'
  /** Several entries in a row, each with its part (or the address of the whole: `sameAddress`). */
  | 'contiguous'
  /** Several entries in a row that say the same; hardware reads any of them. */
  | 'replicated'
  /** A directory of huge entries hangs in the level. */
  | 'hugepd';

export interface LayoutLeaf {
  readonly bytes: number;
  /** Level whose slots it occupies; for a hugepd the one that the directory hangs in. */
  readonly level: CompiledLevel;
  readonly representation: Representation;
  /** Entries of one table that it takes; for a hugepd those of the directory. */
  readonly entries: number;
  /** Tables alike, or slots that point to one directory. */
  readonly tables: number;
  readonly sameAddress: boolean;
  readonly form: CompiledForm;
}

export interface LayoutLevel {
  readonly level: CompiledLevel;
  /** Linux's names that share the table with it. */
  readonly folded: readonly string[];
  readonly leaves: readonly LayoutLeaf[];
}

export interface Layout {
  readonly mode: CompiledMode;
  readonly levels: readonly LayoutLevel[];
  readonly leaves: readonly LayoutLeaf[];
}

/** The layout of a mode. */
export function layoutOf(mode: CompiledMode): Layout {
  const chain = chainOf(mode, mode.levels[0]);
  const leaves = [...mode.levels.flatMap((level) => leavesAt(mode, level, chain))].filter(distinct).sort((a, b) => a.bytes - b.bytes);
  const levels = chain.map((level, i): LayoutLevel => {
    const at = LINUX_LEVELS.indexOf(level.level.name as (typeof LINUX_LEVELS)[number]);
    const next = chain[i + 1] ? LINUX_LEVELS.indexOf(chain[i + 1].level.name as (typeof LINUX_LEVELS)[number]) : -1;
    return { level, folded: at < 0 || next < 0 ? [] : LINUX_LEVELS.slice(at + 1, next), leaves: leaves.filter((l) => l.level === level) };
  });
  return { mode, levels, leaves };
}

const distinct = (leaf: LayoutLeaf, i: number, all: readonly LayoutLeaf[]): boolean =>
  all.findIndex((o) => o.bytes === leaf.bytes && o.level === leaf.level && o.representation === leaf.representation && o.entries === leaf.entries) === i;

/** Leaves that the forms of one level declare. A level beside the chain shows where the chain points to it from. */
function leavesAt(mode: CompiledMode, level: CompiledLevel, chain: readonly CompiledLevel[]): LayoutLeaf[] {
  const page = 2 ** mode.mode.pageShift;
  const parents = mode.forms.filter((f) => f.next === level.index && (f.kind === 'hugepd' || f.kind === 'table'));
  const hugepd = chain.includes(level) ? undefined : parents.find((f) => f.kind === 'hugepd');
  const forms = level.forms.filter((f) => f.kind === 'leaf' && f.form.allows?.present !== '0');
  if (hugepd !== undefined) return forms.map((form) => directoryLeaf(mode.levels[hugepd.level], level, form, page));
  // A second kind of lowest table (8xx: that of an 8M page) shows beside the ordinary one.
  const shown = chain.includes(level) ? level : (chain.find((l) => l.level.shift === level.level.shift) ?? chain[chain.length - 1]);
  return forms.flatMap((form) => {
    const own = alone(form) ? [ownLeaf(shown, level, form, page)] : [];
    return [...own, ...form.groups.map((group) => groupLeaf(shown, level, form, group, page))];
  });
}

function directoryLeaf(parent: CompiledLevel, level: CompiledLevel, form: CompiledForm, page: number): LayoutLeaf {
  return {
    bytes: form.pages * page,
    level: parent,
    representation: 'hugepd',
    entries: level.entries,
    tables: Math.max(1, form.pages / parent.pages),
    sameAddress: false,
    form,
  };
}

function ownLeaf(shown: CompiledLevel, level: CompiledLevel, form: CompiledForm, page: number): LayoutLeaf {
  const entries = Math.max(1, form.pages / level.pages);
  return { bytes: form.pages * page, level: shown, representation: entries > 1 ? 'replicated' : 'leaf', entries, tables: 1, sameAddress: entries > 1, form };
}

function groupLeaf(shown: CompiledLevel, level: CompiledLevel, form: CompiledForm, group: CompiledGroup, page: number): LayoutLeaf {
  const { entries, address } = group.group;
  return {
    bytes: group.leafPages * page,
    level: shown,
    representation: address === 'ignore' ? 'replicated' : 'contiguous',
    entries,
    tables: Math.max(1, group.leafPages / (entries * level.pages)),
    sameAddress: address === 'same',
    form,
  };
}

/** Can the form stand outside of its groups? Not when each way to fulfil its condition fulfils a group's too. */
function alone(form: CompiledForm): boolean {
  if (/\bpiece of\b/.test(form.form.name)) return false;
  if (form.groups.length === 0) return true;
  return form.when.some((conjunction) => !form.groups.some((g) => g.when.some((wanted) => wanted.every((atom) => implied(atom, conjunction)))));
}

/** Does a word of which only the conjunction's bits are known fulfil the atom for sure? */
function implied(atom: Atom, conjunction: readonly Atom[]): boolean {
  let [maskLo, maskHi, lo, hi] = [0, 0, 0, 0];
  for (const a of conjunction) {
    if (a.negated) {
      // "Not zero" fixes a bit only where the field is one bit.
      if (bitsOf(a.mask.lo) + bitsOf(a.mask.hi) !== 1 || (a.value.lo | a.value.hi) !== 0) continue;
      lo |= a.mask.lo;
      hi |= a.mask.hi;
    } else {
      lo |= a.value.lo;
      hi |= a.value.hi;
    }
    maskLo |= a.mask.lo;
    maskHi |= a.mask.hi;
  }
  return (atom.mask.lo & ~maskLo) === 0 && (atom.mask.hi & ~maskHi) === 0 && holds([[atom]], lo >>> 0, hi >>> 0);
}

function bitsOf(word: number): number {
  let n = 0;
  for (let w = word >>> 0; w !== 0; w = (w & (w - 1)) >>> 0) n++;
  return n;
}

/** A mode before and after its huge page directories were given up, in that order; one layout where there never were any. */
export function layoutsFor(name: string): { readonly when: string; readonly layout: Layout }[] {
  const base = name.replace(/-hugepd$/, '');
  const after = findMode(base);
  const before = findMode(`${base}-hugepd`);
  if (after === undefined) return [];
  if (before === undefined) return [{ when: '', layout: layoutOf(compileMode(after)) }];
  const [old, now] = [layoutOf(compileMode(before, '6.1')), layoutOf(compileMode(after))];
  const marks = (l: Layout): string => l.leaves.map((x) => `${leafMark(x)} ${x.level.level.name}`).join();
  if (marks(old) === marks(now)) return [{ when: '', layout: now }];
  return [
    { when: 'with huge page directories (until Linux 6.10)', layout: old },
    { when: 'without huge page directories (from Linux 6.11)', layout: now },
  ];
}

/** How a leaf is represented, in words. */
export function leafText(leaf: LayoutLeaf): string {
  const { name } = leaf.level.level;
  switch (leaf.representation) {
    case 'leaf':
      return `one ${name} entry`;
    case 'contiguous':
      return `${leaf.entries} ${name} entries in a row, ${leaf.sameAddress ? 'each with the address of the whole' : 'each mapping its part'}`;
    case 'replicated':
      return `${leaf.entries} ${name} entries alike${leaf.tables > 1 ? `, in each of ${leaf.tables} tables` : ''}${leaf.sameAddress ? '' : ' (address bits below the size are ignored)'}`;
    default:
      return leaf.tables > 1
        ? `${leaf.tables} ${name} slots point to one directory with ${leaf.entries === 1 ? 'a single huge entry' : `${leaf.entries} huge entries`}`
        : `a ${name} entry points to a directory of ${leaf.entries === 1 ? 'one huge entry' : `${leaf.entries} huge entries`}`;
  }
}

/** Short form: `64K c16`, `8M r1024×2`, `16M hugepd`. */
export function leafMark(leaf: LayoutLeaf): string {
  const size = pageSizeText(leaf.bytes);
  if (leaf.representation === 'leaf') return size;
  if (leaf.representation === 'hugepd') return `${size} hugepd`;
  return `${size} ${leaf.representation === 'contiguous' ? 'c' : 'r'}${leaf.entries}${leaf.tables > 1 ? `×${leaf.tables}` : ''}`;
}
