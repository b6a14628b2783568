/**
 * What a run of entries is: every distinct combination of form, attribute bits and inherited rights gets a number.
 *
 * Why: a table of 512 entries has few distinct attributes, so the meaning (rights, size, group) is worked out once for each and the
 * walk compares masked words. Invariant: two entries with the same id differ in nothing but their address (or swap offset).
 */
import { type Alternatives, holds, maskOf, type Word } from '../arch/notation.ts';
import type { CompiledForm, CompiledGroup, CompiledLevel, CompiledMode, SinglePiece } from './compile.ts';
import { grantedRights, type Rights, rightsKey } from './entry.ts';
import { decodeSwap, type SwapEntry, swapLayoutFor, withOffset } from './swap.ts';

export type AttributeKind = 'leaf' | 'table' | 'hugepd' | 'nonpresent' | 'bad' | 'missing';

export interface Attribute {
  readonly id: number;
  readonly kind: AttributeKind;
  /** Undefined for `bad` and `missing` (a part of the table that the image does not have). */
  readonly form: CompiledForm | undefined;
  readonly level: number;
  /** Attribute bits: the word without its address (leaf, table) or offset (swap). */
  readonly lo: number;
  readonly hi: number;
  /** What the path up to and including this entry allows. */
  readonly rights: Rights;
  readonly present: boolean;
  readonly global: boolean;
  readonly dirty: boolean;
  readonly accessed: boolean;
  /** Bytes of the leaf that each entry belongs to. */
  readonly leafPages: number;
  /** Entries that make up one leaf. */
  readonly contig: number;
  /** Pages that one entry maps or spans. */
  readonly pages: number;
  readonly group: CompiledGroup | undefined;
  /** Entries that do not stand in a complete, agreeing run, or slots of a larger leaf whose other slots do not hold it. */
  readonly broken: boolean;
  readonly swap: SwapEntry | undefined;
  /** Bits set that must be zero. */
  readonly reserved: Word;
  /** The address field where the walk may stay on its fast path while only address bits change. */
  readonly fast: SinglePiece | undefined;
  /** Mask of the attribute bits. */
  readonly mask: Word;
}

export class Attributes {
  readonly list: Attribute[] = [];
  readonly #mode: CompiledMode;
  readonly #ids = new Map<string, number>();
  readonly #last: (Attribute | undefined)[] = [];

  constructor(mode: CompiledMode) {
    this.#mode = mode;
  }

  /** The attribute of a present or non-present word. `group` tells how the walk found it to stand (undefined: on its own). */
  of(
    level: CompiledLevel,
    form: CompiledForm,
    lo: number,
    hi: number,
    inherited: Rights,
    group?: { group: CompiledGroup | undefined; broken: boolean },
  ): Attribute {
    const mask = this.#maskFor(level, form);
    const l = (lo & mask.lo) >>> 0;
    const h = (hi & mask.hi) >>> 0;
    const last = this.#last[form.id];
    const inheritedKey = rightsKey(inherited);
    if (
      last !== undefined &&
      last.lo === l &&
      last.hi === h &&
      last.group === group?.group &&
      last.broken === (group?.broken ?? false) &&
      this.#inherited[last.id] === inheritedKey
    )
      return last;
    const key = `${form.id} ${l} ${h} ${inheritedKey} ${group ? form.groups.indexOf(group.group as CompiledGroup) + (group.broken ? 100 : 0) : ''}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#add(level, form, l, h, mask, inherited, group);
      this.#ids.set(key, id);
      this.#inherited[id] = inheritedKey;
    }
    const found = this.list[id];
    this.#last[form.id] = found;
    return found;
  }

  readonly #inherited: number[] = [];

  /** Entries that fit no form, and tables (or parts) that the image lacks. */
  odd(kind: 'bad' | 'missing', level: CompiledLevel, lo: number, hi: number, inherited: Rights): Attribute {
    const key = `${kind} ${level.index} ${lo} ${hi}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.list.length;
      const none = { lo: 0, hi: 0 };
      this.list.push({
        id,
        kind,
        form: undefined,
        level: level.index,
        lo,
        hi,
        rights: inherited,
        present: false,
        global: false,
        dirty: false,
        accessed: false,
        leafPages: level.pages,
        contig: 1,
        pages: level.pages,
        group: undefined,
        broken: false,
        swap: undefined,
        reserved: none,
        fast: undefined,
        mask: none,
      });
      this.#ids.set(key, id);
    }
    return this.list[id];
  }

  #maskFor(level: CompiledLevel, form: CompiledForm): Word {
    const known = this.#masks[form.id];
    if (known) return known;
    let except: Word = { lo: 0, hi: 0 };
    if (form.address) except = form.address.mask;
    else if (form.kind === 'nonpresent') {
      const layout = swapLayoutFor(this.#mode, level.level.name);
      if (layout) except = maskOf(layout.offset);
    }
    const mask = { lo: ~except.lo >>> 0, hi: ~except.hi >>> 0 };
    this.#masks[form.id] = mask;
    return mask;
  }

  readonly #masks: Word[] = [];

  #add(
    level: CompiledLevel,
    form: CompiledForm,
    lo: number,
    hi: number,
    mask: Word,
    inherited: Rights,
    found: { group: CompiledGroup | undefined; broken: boolean } | undefined,
  ): number {
    const rights = grantedRights(inherited, form, lo, hi);
    const whole = found && !found.broken ? found.group : undefined;
    const pages = Math.min(form.pages, level.pages);
    const id = this.list.length;
    const kind = form.kind === 'none' ? 'bad' : form.kind;
    this.list.push({
      id,
      kind,
      form,
      level: level.index,
      lo,
      hi,
      rights,
      present: holds(form.allows.present, lo, hi),
      global: holds(form.allows.global, lo, hi),
      dirty: holds(form.allows.dirty, lo, hi),
      accessed: holds(form.allows.accessed, lo, hi),
      leafPages: whole ? whole.leafPages : form.pages,
      contig: (whole ? whole.leafPages : form.pages) / pages,
      pages,
      group: found?.group,
      broken: found?.broken ?? false,
      swap: form.kind === 'nonpresent' ? decodeSwap(this.#mode, level.level.name, lo, hi) : undefined,
      reserved: { lo: (lo & form.reserved.lo) >>> 0, hi: (hi & form.reserved.hi) >>> 0 },
      fast:
        found === undefined && form.groups.every((g) => ruledOut(g.when, lo, hi, mask)) && staysInForm(level, form, lo, hi, mask)
          ? form.address?.single
          : undefined,
      mask,
    });
    return id;
  }

  /** The swap meaning of one entry of a non-present run. */
  swapOf(attribute: Attribute, offset: number): SwapEntry | undefined {
    return attribute.swap && withOffset(this.#mode, this.#mode.levels[attribute.level].level.name, attribute.swap, offset);
  }
}

/** True when no change of the address bits alone could make the word another form of the level. */
function staysInForm(level: CompiledLevel, form: CompiledForm, lo: number, hi: number, mask: Word): boolean {
  for (const other of level.forms) {
    if (other === form) return form.when.some((c) => c.every((a) => (a.mask.lo & ~mask.lo) === 0 && (a.mask.hi & ~mask.hi) === 0 && holds([[a]], lo, hi)));
    if (!ruledOut(other.when, lo, hi, mask)) return false;
  }
  return false;
}

/** True when the attribute bits alone make the condition false. */
function ruledOut(condition: Alternatives, lo: number, hi: number, mask: Word): boolean {
  return condition.every((conjunction) =>
    conjunction.some((a) => {
      if (a.negated) return (a.mask.lo & ~mask.lo) === 0 && (a.mask.hi & ~mask.hi) === 0 && !holds([[a]], lo, hi);
      return (((lo ^ a.value.lo) & a.mask.lo & mask.lo) | ((hi ^ a.value.hi) & a.mask.hi & mask.hi)) !== 0;
    }),
  );
}
