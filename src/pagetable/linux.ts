/**
 * Linux's own operations on entries (`pfn_pte`, `pte_mkdirty`, `pte_modify`, `pmd_populate`, predicates), interpreted from a mode's `LinuxSide`.
 *
 * Invariants: all operations are pure functions from word to word; names are the kernel's; an operation that the mode does not
 * have throws RangeError, as a predicate that the architecture does not define would not compile.
 */
import type { LinuxSide } from '../arch/mode.ts';
import type { FieldPieces } from '../arch/notation.ts';
import { type Alternatives, holds, parseCondition, parseSetting, type Word } from '../arch/notation.ts';
import { type CompiledForm, type CompiledLevel, type CompiledMode, levelFor } from './compile.ts';
import { addressWord, encode, formOf } from './entry.ts';
import { decodeSwap } from './swap.ts';

interface CompiledStep {
  readonly when: Alternatives;
  readonly clear: Word;
  readonly set: Word;
}

export class LinuxEntries {
  readonly side: LinuxSide;
  readonly #mode: CompiledMode;
  readonly #fields = new Map<string, FieldPieces>();
  readonly #steps = new Map<string, CompiledStep[]>();
  readonly #conditions = new Map<string, Alternatives>();

  constructor(mode: CompiledMode) {
    if (!mode.linux) throw new RangeError(`mode ${mode.mode.name} declares nothing of Linux ${mode.kernelText}`);
    this.side = mode.linux;
    this.#mode = mode;
  }

  /** Names of all fields of all forms of a Linux level; a name that two forms share must mean the same bits. */
  #fieldsOf(level: string): FieldPieces {
    const known = this.#fields.get(level);
    if (known) return known;
    const all = new Map<string, FieldPieces extends ReadonlyMap<string, infer P> ? P : never>();
    for (const form of this.#level(level).forms) for (const [name, pieces] of form.fields) if (!all.has(name) || form.kind === 'leaf') all.set(name, pieces);
    this.#fields.set(level, all);
    return all;
  }

  #level(level: string): CompiledLevel {
    const found = levelFor(this.#mode, level);
    if (!found) throw new RangeError(`mode ${this.#mode.mode.name} has no level "${level}"`);
    return found;
  }

  /** The bits of a protection (`PAGE_SHARED`) at a level. */
  prot(name: string, level = 'pte'): Word {
    const text = this.side.prots[`${name}@${level}`] ?? this.side.prots[name];
    if (text === undefined) throw new RangeError(`${this.#mode.mode.name} has no protection "${name}"`);
    // A level without leaves of its own still has kernel operations on it: protections mean there what they mean in the lowest.
    const leaves = this.#level(level).forms.some((f) => f.kind === 'leaf');
    return parseSetting(text, this.#fieldsOf(leaves ? level : 'pte')).set;
  }

  /** The bits of fields of a level. */
  setting(text: string, level: string): Word {
    return parseSetting(text, this.#fieldsOf(level)).set;
  }

  /** `pfn_pte`, `pfn_pmd`, `pfn_pud`: a page frame under a protection. */
  pfn(level: string, pfn: number, prot: Word): Word {
    const form = this.#leafForm(level, prot);
    const address = addressWord(form, BigInt(pfn) << BigInt(this.#mode.mode.pageShift));
    const word = { lo: (prot.lo | address.lo) >>> 0, hi: (prot.hi | address.hi) >>> 0 };
    return this.hasEdit(`pfn_${level}`) ? this.edit(`pfn_${level}`, level, word) : word;
  }

  /** The leaf form that bits without an address belong to: an address may be stored inverted, so its form counts. */
  #leafForm(level: string, bits: Word): CompiledForm {
    const l = this.#level(level);
    const own = formOf(l, bits.lo, bits.hi);
    if (own?.kind === 'leaf') return own;
    // pfn_pmd() comes before pmd_mkhuge(): the form that the bits will have with the huge mark tells how the frame stands (inverted or not).
    const huge = this.hasEdit(`${level}_mkhuge`) ? this.#apply(this.#stepsOf(`${level}_mkhuge`, level, undefined), bits) : bits;
    const marked = formOf(l, huge.lo, huge.hi);
    if (marked?.kind === 'leaf' && marked.address) return marked;
    const first = l.forms.find((f) => f.kind === 'leaf' && f.address);
    // A level without leaves of its own still has kernel operations on it; they place frames as the lowest level does.
    const lowest = first ?? this.#level('pte').forms.find((f) => f.kind === 'leaf' && f.address);
    if (!lowest) throw new RangeError(`mode ${this.#mode.mode.name} has no leaf`);
    return lowest;
  }

  /** Applies an edit by its kernel name; `size` (log2) picks a variant that depends on the page size. */
  edit(name: string, level: string, word: Word, size?: number): Word {
    const made = this.#apply(this.#stepsOf(name, level, size), word);
    const before = formOf(this.#level(level), word.lo, word.hi)?.address;
    const after = formOf(this.#level(level), made.lo, made.hi)?.address;
    if (!before || !after || before.inverted === after.inverted) return made;
    return { lo: (made.lo ^ after.mask.lo) >>> 0, hi: (made.hi ^ after.mask.hi) >>> 0 };
  }

  #apply(steps: readonly CompiledStep[], word: Word): Word {
    let { lo, hi } = word;
    for (const step of steps) {
      if (!holds(step.when, lo, hi)) continue;
      lo = ((lo & ~step.clear.lo) | step.set.lo) >>> 0;
      hi = ((hi & ~step.clear.hi) | step.set.hi) >>> 0;
    }
    return { lo, hi };
  }

  hasEdit(name: string): boolean {
    return this.side.edits[name] !== undefined;
  }

  #stepsOf(name: string, level: string, size: number | undefined): CompiledStep[] {
    const key = size !== undefined && this.side.edits[`${name} shift=${size}`] ? `${name} shift=${size}` : name;
    const id = `${level} ${key}`;
    const known = this.#steps.get(id);
    if (known) return known;
    const steps = this.side.edits[`${key}@${level}`] ?? this.side.edits[key];
    if (!steps) throw new RangeError(`${this.#mode.mode.name} has no edit "${key}"`);
    const fields = this.#fieldsOf(level);
    const compiled = steps.map((s) => ({
      when: s.when === undefined ? [[]] : parseCondition(s.when, fields),
      clear: parseSetting(s.clear ?? '', fields).covered,
      set: parseSetting(s.set ?? '', fields).set,
    }));
    this.#steps.set(id, compiled);
    return compiled;
  }

  /** `pte_modify`, `pmd_modify`: keeps the frame and the bits of `keeps`, takes the rest from the protection. */
  modify(level: string, entry: Word, prot: Word): Word {
    const word = this.hasEdit(`${level}_modify before`) ? this.edit(`${level}_modify before`, level, entry) : entry;
    const form = formOf(this.#level(level), word.lo, word.hi);
    if (!form?.address) throw new RangeError('modify: the entry maps nothing');
    const keep = parseSetting(this.side.keeps[level] ?? '', this.#fieldsOf(level)).set;
    const before = form.address;
    const fresh = this.side.masksProt ? { lo: prot.lo & ~keep.lo, hi: prot.hi & ~keep.hi } : prot;
    const bits = { lo: (word.lo & keep.lo & ~before.mask.lo) | fresh.lo, hi: (word.hi & keep.hi & ~before.mask.hi) | fresh.hi };
    const after = this.#leafForm(level, { lo: bits.lo >>> 0, hi: bits.hi >>> 0 });
    const flip = before.inverted !== (after.address?.inverted ?? false);
    const lo = (flip ? ~word.lo : word.lo) & before.mask.lo;
    const hi = (flip ? ~word.hi : word.hi) & before.mask.hi;
    const word2 = { lo: (bits.lo | lo) >>> 0, hi: (bits.hi | hi) >>> 0 };
    const name = `${level}_modify`;
    return this.side.edits[name] ? this.edit(name, level, word2) : word2;
  }

  /** `pmd_populate` and its kin: the entry for a table at a physical address (bytes). */
  populate(name: string, table: bigint): Word {
    const rule = this.side.populate[name];
    if (rule === undefined) throw new RangeError(`${this.#mode.mode.name} has no "${name}"`);
    if (rule === null) return { lo: 0, hi: 0 };
    const level = this.#level(rule.level);
    const form = level.forms.find((f) => f.form.name === rule.form);
    if (!form) throw new RangeError(`level ${rule.level} has no form "${rule.form}"`);
    const word = encode(form, { address: table + (rule.base ?? this.#mode.mode.linearBase ?? 0n) });
    const set = parseSetting(rule.set ?? '', form.fields).set;
    return { lo: (word.lo | set.lo) >>> 0, hi: (word.hi | set.hi) >>> 0 };
  }

  /** A predicate as the kernel's code answers it, whatever the entry. */
  predicate(level: string, name: string, word: Word): boolean {
    const key = `${level} ${name}`;
    const kind = / @([\w-]+)$/.exec(this.side.predicates[level]?.[name] ?? '')?.[1];
    if (kind !== undefined && decodeSwap(this.#mode, level, word.lo, word.hi)?.kind !== kind) return false;
    let condition = this.#conditions.get(key);
    if (condition === undefined) {
      const text = this.side.predicates[level]?.[name];
      if (text === undefined) throw new RangeError(`${this.#mode.mode.name} has no predicate ${name} at level ${level}`);
      condition = parseCondition(text.replace(/ @[\w-]+$/, ''), this.#fieldsOf(level.split(' ')[0]));
      this.#conditions.set(key, condition);
    }
    return holds(condition, word.lo, word.hi);
  }
}
