/**
 * Canonical entries by the long way: every word is made and read by Linux's own operations on the mode's entries.
 *
 * This is the definition that the fast codec (canonical.ts) remembers the results of. A leaf is made as the kernel makes it: `pfn_pte` of the
 * protection, then mkyoung, mkdirty, mkwrite and what else its bits ask for, at last what the architecture's `set_pte_at` does to the word.
 * Which protection serves a set of rights is found by trial: the one that grants exactly these, else the one that grants least beyond them.
 */

import { pageSizes } from '../arch/linux/page-sizes.ts';
import { holds, type Word } from '../arch/notation.ts';
import {
  PTE_ACCESSED,
  PTE_CONT,
  PTE_DIRTY,
  PTE_EXEC,
  PTE_GROUP,
  PTE_HUGE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_READ,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_SWAP,
  PTE_SWP_EXCLUSIVE,
  PTE_TABLE,
  PTE_UFFD_WP,
  PTE_USER,
  PTE_WRITE,
} from './canonical-bits.ts';
import { type CompiledForm, type CompiledGroup, type CompiledLevel, type CompiledMode, levelFor } from './compile.ts';
import { addressUnits, addressWord, formOf, rightsOf } from './entry.ts';
import type { LinuxEntries } from './linux.ts';
import { popcount } from './popcount.ts';
import { decodeSwap, encodeSwap, swapLayoutFor } from './swap.ts';
import { pointerToPhysical } from './tree.ts';

export const RIGHTS = PTE_READ | PTE_WRITE | PTE_EXEC | PTE_USER;

/** What a word says: bits and payload, and the form that it has. */
export interface Decoded {
  readonly bits: number;
  readonly payload: number;
  readonly form: CompiledForm | undefined;
}

/** Linux's names of levels, bottom up. */
const NAMES = ['pte', 'pmd', 'pud', 'p4d', 'pgd'] as const;

/** Operations that hang a table of user space in, the one that Linux itself calls for user space first. */
const POPULATE = ['pmd_populate(user)', 'pmd_populate', '__pmd_populate(user)', 'pud_populate', '__pud_populate(user)', 'p4d_populate', 'pgd_populate'];

/** Operations that hang in a table of which all entries map one large page of user space. */
const FILLS = ['table entry of an 8M page (user)'];

/** Operations that hang in the only kind of huge page directories that a mode has. */
const DIRECTS = ['hugepd_populate 8M (user)'];

const USER_PROT = /^PAGE_(READ(ONLY)?|COPY|SHARED|WRITE(ONLY)?|EXEC(ONLY|READ)?|R|RO|RX|RW|RWX|RO_EXEC|W|X|WX)(_EXEC|_NOEXEC|_X)?_?$/;
const KERNEL_PROT = /^PAGE_KERNEL(_EXEC|_RO|_ROX|_X|_RWX)?$/;

/** A larger page that leaves of a level map together. */
export interface LeafGroup {
  /** log2 of the bytes of the page. */
  readonly shift: number;
  /** Entries of the group. */
  readonly entries: number;
  /** Its number in PTE_GROUP: what an entry's bits are told by. */
  readonly bits: number;
  /** All entries hold the same word, with the frame of the whole. */
  readonly same: boolean;
}

/** A word that the kernel maps its own RAM with, without a frame. */
interface KernelWord {
  /** log2 of the bytes of the page, or of all pages of a run. */
  readonly shift: number;
  readonly bits: number;
  readonly word: Word;
}

/** A group with the operation that makes leaves to entries of it. */
interface MarkedGroup extends LeafGroup {
  readonly mark: (word: Word) => Word;
}

/** A table of huge pages of one size to which upper entries lead (hugepd, until Linux 6.10). */
export interface LinuxDirectory {
  /** Level of the table's entries, and of the slots that point to it. */
  readonly level: CompiledLevel;
  readonly slots: CompiledLevel;
  /** log2 of the bytes of a page. */
  readonly shift: number;
  /** What an upper entry is told by that leads to one. */
  readonly bits: number;
}

const foundDirectories = new WeakMap<CompiledMode, readonly LinuxDirectory[]>();

/** The kinds of huge page directories of a mode, smallest pages first. */
export function directoriesOf(mode: CompiledMode): readonly LinuxDirectory[] {
  const known = foundDirectories.get(mode);
  if (known) return known;
  const found = mode.levels
    .flatMap((slots) =>
      slots.forms
        .filter((form) => form.kind === 'hugepd')
        .map((form) => {
          const level = mode.levels[form.next];
          const leaf = level.forms.find((f) => f.kind === 'leaf') as CompiledForm;
          return { level, slots, shift: Math.log2(leaf.pages) + mode.mode.pageShift };
        }),
    )
    .sort((a, b) => a.shift - b.shift)
    .map((d, i) => ({ ...d, bits: PTE_TABLE | PTE_HUGE | ((i + 1) * PTE_CONT) }));
  foundDirectories.set(mode, found);
  return found;
}

/** One level of a mode, seen through Linux's operations. */
export class LinuxLevel {
  readonly level: CompiledLevel;
  /** The level's name for Linux's operations: the lowest of those that are folded into it. */
  readonly name: string;
  /** The table operation, where the level may hold tables. */
  readonly populate: string | undefined;
  readonly #mode: CompiledMode;
  readonly #linux: LinuxEntries;
  readonly #lowest: boolean;
  /** The directory that entries of the level stand in; undefined of the levels that tables of small pages have. */
  readonly #directory: LinuxDirectory | undefined;
  /** Rights → name of the protection. */
  readonly #prots = new Map<number, string>();
  /** Marks a leaf above the lowest level; undefined where Linux has none there. */
  readonly #mark: ((word: Word) => Word) | undefined;
  /** Larger pages that Linux makes of this level's entries, smallest first. */
  readonly groups: readonly LeafGroup[];
  readonly #marked: readonly MarkedGroup[];
  /** Leaves of the kernel's map of RAM that are declared as words: their sizes, and which canonical bits stand for them. */
  readonly kernelLeaves: readonly KernelWord[];

  constructor(mode: CompiledMode, linux: LinuxEntries, level: CompiledLevel) {
    this.#mode = mode;
    this.#linux = linux;
    this.level = level;
    this.#directory = directoriesOf(mode).find((d) => d.level === level);
    // Entries of huge page directories are ptes.
    this.name = this.#directory ? 'pte' : (NAMES.find((n) => levelFor(mode, n) === level) ?? level.level.name);
    this.#lowest = this.name === 'pte' && !this.#directory;
    this.populate = POPULATE.find((n) => {
      const rule = linux.side.populate[n];
      return rule && levelFor(mode, rule.level) === level && level.forms.some((f) => f.form.name === rule.form);
    });
    this.#mark = this.#lowest ? (word) => word : this.#findMark();
    this.#marked = this.#findGroups();
    this.groups = this.#marked;
    this.kernelLeaves = this.#findKernelLeaves();
  }

  /** Its leaves are larger than the mode's page. */
  get huge(): boolean {
    return !this.#lowest;
  }

  /** log2 of the bytes that an entry maps. */
  get shift(): number {
    return this.#directory?.shift ?? this.level.level.shift;
  }

  /** Linux writes leaves of this level's size. */
  get leaves(): boolean {
    return this.#mark !== undefined;
  }

  /** Linux writes swap-type entries at this level. */
  get swaps(): boolean {
    const layout = swapLayoutFor(this.#mode, this.level.level.name);
    if (layout === undefined || !this.level.forms.some((f) => f.kind === 'nonpresent')) return false;
    if (this.name === 'pte') return true;
    const can = (name: string): boolean => !['0', undefined].includes(this.#linux.side.predicates[this.name]?.[name]);
    // Above that, migration of huge pages writes them, where the kernel has it (32-bit x86 has the predicate alone), or a layout of the level's own.
    return can(`is_swap_${this.name}`) && (can(`is_${this.name}_migration_entry`) || layout.layout.levels !== undefined);
  }

  /** The word of an empty slot (of modes whose empty slots point to a shared table: of a slot in that table's own format, zero). */
  get empty(): Word {
    for (const form of this.level.forms) {
      if (form.kind !== 'none' || form.when.length === 0) continue;
      const lo = form.when[0].reduce((sum, a) => sum | a.value.lo, 0);
      const hi = form.when[0].reduce((sum, a) => sum | a.value.hi, 0);
      return { lo: lo >>> 0, hi: hi >>> 0 };
    }
    return { lo: 0, hi: 0 };
  }

  // --- making words -------------------------------------------------------------------------------------------------

  /** The word for bits and payload. @throws {RangeError} for what the level cannot hold. */
  encode(bits: number, payload: number): Word {
    if ((bits & PTE_SWAP) !== 0) return this.#swap(bits, payload);
    if ((bits & PTE_TABLE) !== 0) return this.table(payload, bits);
    if ((bits & PTE_PRESENT) === 0) throw new RangeError(`canonical bits 0x${bits.toString(16)} are neither present, swap nor table`);
    return this.#leaf(bits, payload);
  }

  /** The word that points to a table; with PTE_HUGE to one whose entries map one large page, with PTE_GROUP to a huge page directory. */
  table(pfn: number, bits = PTE_TABLE): Word {
    const special = (bits & PTE_HUGE) !== 0;
    const name = (bits & PTE_GROUP) !== 0 ? this.#directs(bits) : special ? this.#fills : this.populate;
    if (name === undefined) throw new RangeError(`${this.#mode.mode.name}: level ${this.level.level.name} holds no ${special ? 'such ' : ''}tables`);
    return this.#linux.populate(name, BigInt(pfn) << BigInt(this.#mode.mode.pageShift));
  }

  /** The operation that hangs in a huge page directory: it is the same for all levels. */
  #directs(bits: number): string | undefined {
    const found = directoriesOf(this.#mode).find((d) => d.slots === this.level && d.bits === bits);
    if (!found) return undefined;
    const named = `hugepd_populate shift=${found.shift}`;
    return this.#linux.side.populate[named] !== undefined ? named : DIRECTS.find((n) => this.#linux.side.populate[n] !== undefined);
  }

  /** The operation for tables of one large page. */
  get #fills(): string | undefined {
    return FILLS.find((n) => {
      const rule = this.#linux.side.populate[n];
      return rule && levelFor(this.#mode, rule.level) === this.level;
    });
  }

  #swap(bits: number, payload: number): Word {
    const type = payload % 32;
    if (!this.swaps) throw new RangeError(`${this.#mode.mode.name}: Linux has no swap-type entries at level ${this.level.level.name}`);
    const layout = swapLayoutFor(this.#mode, this.level.level.name);
    const flags = [
      ...(bits & PTE_SWP_EXCLUSIVE ? ['exclusive'] : []),
      ...(bits & PTE_SOFT_DIRTY ? ['softDirty'] : []),
      ...(bits & PTE_UFFD_WP ? ['uffdWp'] : []),
    ].filter((f) => layout?.flags.has(f));
    return encodeSwap(this.#mode, this.level.level.name, { type, offset: (payload - type) / 32, flags });
  }

  /** What the mode declares of the kernel's map of RAM: bits are what the words are read as, so that exactly these bits make them. */
  #findKernelLeaves(): KernelWord[] {
    const rows = (this.#linux.side.kernelLeaves ?? []).filter((row) => row.level === this.level.level.name);
    return rows.map(({ shift, set }) => {
      const word = this.#linux.setting(set, this.level.level.name);
      return { shift, word, bits: this.decode(word.lo, word.hi).bits };
    });
  }

  #leaf(bits: number, pfn: number): Word {
    const own = this.kernelLeaves.find((leaf) => leaf.bits === bits);
    if (own !== undefined) return this.#kernelWord(own, pfn);
    const group = this.#marked[(bits & PTE_GROUP) / PTE_CONT - 1];
    if (!this.#mark && group === undefined) throw new RangeError(`${this.#mode.mode.name}: Linux has no leaf at level ${this.level.level.name}`);
    if ((bits & PTE_GROUP) !== 0 && group === undefined)
      throw new RangeError(`${this.#mode.mode.name}: level ${this.level.level.name} has no group ${(bits & PTE_GROUP) / PTE_CONT}`);
    if ((bits & (PTE_READ | PTE_WRITE | PTE_EXEC | PTE_PROTNONE)) === 0) throw new RangeError('a present entry without rights must have PROTNONE');
    if (!this.#lowest && (bits & PTE_HUGE) === 0) throw new RangeError(`a leaf at level ${this.level.level.name} without HUGE`);
    this.#checkAligned(pfn);
    const none = (bits & PTE_PROTNONE) !== 0;
    const wanted = none ? PTE_READ | PTE_USER : bits & RIGHTS;
    const of = group?.same === true ? pfn - (pfn % group.entries) : pfn;
    const word = this.#made(this.#protFor(wanted), none ? bits & ~PTE_WRITE : bits, of);
    return this.#set(none ? this.#inaccessible(word, bits) : word, of);
  }

  #kernelWord({ word }: KernelWord, pfn: number): Word {
    this.#checkAligned(pfn);
    const address = addressWord(formOf(this.level, word.lo, word.hi) as CompiledForm, BigInt(pfn) << BigInt(this.#mode.mode.pageShift));
    return { lo: (word.lo | address.lo) >>> 0, hi: (word.hi | address.hi) >>> 0 };
  }

  #checkAligned(pfn: number): void {
    if (pfn % this.#pages !== 0) throw new RangeError(`frame 0x${pfn.toString(16)} is not aligned to the leaf of level ${this.level.level.name}`);
  }

  /** Makes a leaf an entry of a group, or one of the level's own size. */
  #markFor(bits: number): (word: Word) => Word {
    const group = this.#marked[(bits & PTE_GROUP) / PTE_CONT - 1];
    return (group?.mark ?? this.#mark) as (word: Word) => Word;
  }

  /** The groups for which Linux has a size of pages, each with an operation that makes its entries. */
  #findGroups(): MarkedGroup[] {
    const { mode } = this.#mode;
    const { shift } = this.level.level;
    const found: MarkedGroup[] = [];
    const groups = this.level.forms.filter((f) => f.kind === 'leaf').flatMap((f) => f.groups);
    for (const size of pageSizes(mode)) {
      const group = groups.find(
        ({ group: g }) => !g.optional && (g.size === undefined || g.size === g.entries << shift) && g.entries * 2 ** shift === 2 ** size.shift,
      );
      const mark = group && this.#groupMark(group, size.shift);
      if (group && mark)
        found.push({ shift: size.shift, entries: group.group.entries, bits: (found.length + 1) * PTE_CONT, same: group.group.address === 'same', mark });
    }
    return found;
  }

  /** How Linux makes an entry of a group: the operation for its size after which the word is one. */
  #groupMark(group: CompiledGroup, shift: number): ((word: Word) => Word) | undefined {
    const linux = this.#linux;
    for (const name of [`arch_make_huge_pte shift=${shift}`, 'set_huge_pte_at', 'arch_make_huge_pte']) {
      if (!linux.hasEdit(name)) continue;
      const mark = (word: Word): Word => linux.edit(name, this.name, word);
      try {
        const word = mark(linux.pfn(this.name, 0, linux.prot(this.#anyProt, this.name)));
        const form = formOf(this.level, word.lo, word.hi);
        if (form?.kind === 'leaf' && form.groups.some((g) => g.group.entries === group.group.entries && holds(g.when, word.lo, word.hi))) return mark;
      } catch (e) {
        if (!(e instanceof TypeError || e instanceof RangeError)) throw e;
      }
    }
    return undefined;
  }

  get #anyProt(): string {
    return Object.keys(this.#linux.side.prots).find((p) => USER_PROT.test(p)) as string;
  }

  get #pages(): number {
    return this.#lowest ? 1 : 2 ** (this.shift - this.#mode.mode.pageShift);
  }

  /** A leaf under a named protection with the states that the bits name. */
  #made(prot: string, bits: number, pfn: number): Word {
    const linux = this.#linux;
    let word = this.#markFor(bits)(linux.pfn(this.name, pfn, linux.prot(prot, this.name)));
    word = this.#states(word, bits);
    if (bits & PTE_SPECIAL) word = this.#edit('mkspecial', word);
    if (bits & PTE_UFFD_WP) word = this.#edit('mkuffd_wp', word);
    if ((bits & PTE_WRITE) === 0) return this.#edit('wrprotect', word);
    const form = formOf(this.level, word.lo, word.hi);
    if (form && rightsOf(form, word.lo, word.hi).write) return word;
    return this.#edit(this.#has('mkwrite_novma') ? 'mkwrite_novma' : 'mkwrite', word);
  }

  #states(word: Word, bits: number): Word {
    const young = this.#edit(bits & PTE_ACCESSED ? 'mkyoung' : 'mkold', word);
    const dirty = this.#edit(bits & PTE_DIRTY ? 'mkdirty' : 'mkclean', young);
    return this.#edit(bits & PTE_SOFT_DIRTY ? 'mksoft_dirty' : 'clear_soft_dirty', dirty);
  }

  /**
   * PROT_NONE as mprotect makes it. What a change of protection does not keep, or brings along, is put right afterwards, unless that would
   * open the page (loongarch's accessed bit is what makes an entry valid).
   */
  #inaccessible(word: Word, bits: number): Word {
    const linux = this.#linux;
    const prot = linux.prot('PAGE_NONE', this.name);
    let made = linux.side.keeps[this.name] === undefined ? this.#madeNone(word, prot, bits) : linux.modify(this.name, word, prot);
    const fits = (changed: Word): boolean => {
      const form = formOf(this.level, changed.lo, changed.hi);
      return form?.kind === 'leaf' && this.#closed(form, changed);
    };
    // Nobody may use a page without rights: how many entries map it is told where that does not open it (arm64's mark makes an entry valid).
    if ((bits & PTE_GROUP) !== 0 && fits(this.#markFor(bits)(made))) made = this.#markFor(bits)(made);
    const put = (bit: number, set: string, clear: string | undefined): void => {
      if (((this.#statesOf(made) ^ bits) & bit) === 0) return;
      const name = bits & bit ? set : clear;
      const fixed = name === undefined ? made : this.#edit(name, made);
      if (fits(fixed)) made = fixed;
    };
    put(PTE_ACCESSED, 'mkyoung', 'mkold');
    put(PTE_DIRTY, 'mkdirty', 'mkclean');
    put(PTE_SPECIAL, 'mkspecial', undefined);
    put(PTE_UFFD_WP, 'mkuffd_wp', 'clear_uffd_wp');
    put(PTE_SOFT_DIRTY, 'mksoft_dirty', 'clear_soft_dirty');
    return made;
  }

  /** A level for which the mode declares nothing that modify keeps: the frame under the protection. */
  #madeNone(word: Word, prot: Word, bits: number): Word {
    const form = formOf(this.level, word.lo, word.hi) as CompiledForm;
    const pfn = addressUnits(form.address as NonNullable<CompiledForm['address']>, word.lo, word.hi, this.#mode.mode.pageShift);
    return this.#markFor(bits)(this.#linux.pfn(this.name, pfn, prot));
  }

  /** Nobody may do anything with the page, as the word stands in memory. */
  #closed(form: CompiledForm, word: Word): boolean {
    const stored = this.#set(word, 0);
    const f = stored === word ? form : formOf(this.level, stored.lo, stored.hi);
    return f !== undefined && (!holds(f.allows.present, stored.lo, stored.hi) || (rightsBits(f, stored) & ~PTE_USER) === 0);
  }

  /** What set_pte_at() makes of a word on its way to memory, where it is more than a store. */
  #set(word: Word, pfn: number): Word {
    const name = `set_${this.name}_at`;
    if (!this.#linux.hasEdit(name)) return word;
    const made = this.#linux.edit(name, this.name, word);
    const form = formOf(this.level, made.lo, made.hi);
    if (!form?.address?.mirror) return made;
    const address = addressWord(form, BigInt(pfn) << BigInt(this.#mode.mode.pageShift));
    return { lo: (made.lo | address.lo) >>> 0, hi: (made.hi | address.hi) >>> 0 };
  }

  #has(edit: string): boolean {
    return this.#linux.hasEdit(`${this.name}_${edit}`) || this.#linux.hasEdit(`pte_${edit}`);
  }

  /** An edit under the level's name, or (hugetlb pages at levels without operations of their own) the pte's; absent ones change nothing. */
  #edit(edit: string, word: Word): Word {
    const own = `${this.name}_${edit}`;
    if (this.#linux.hasEdit(own)) return this.#linux.edit(own, this.name, word);
    // Where the level has operations of its own, one that is missing does not exist for it.
    if (this.#linux.hasEdit(`${this.name}_mkyoung`) || !this.#linux.hasEdit(`pte_${edit}`)) return word;
    return this.#linux.edit(`pte_${edit}`, this.name, word);
  }

  /** How Linux marks a leaf of exactly this level's size. */
  #findMark(): ((word: Word) => Word) | undefined {
    const linux = this.#linux;
    if (this.#directory) {
      const name = [`arch_make_huge_pte shift=${this.shift}`, 'arch_make_huge_pte'].find((n) => linux.hasEdit(n)) as string;
      return (word) => linux.edit(name, this.name, word);
    }
    const leaf = linux.side.predicates[this.name]?.[`${this.name}_leaf`];
    if (leaf === undefined || leaf === '0') return undefined;
    const names = [`${this.name}_mkhuge`, `arch_make_huge_pte shift=${this.level.level.shift}`, 'set_huge_pte_at', 'arch_make_huge_pte'];
    for (const name of names) {
      if (!linux.hasEdit(name)) continue;
      const mark = (word: Word): Word => linux.edit(name, this.name, word);
      try {
        const word = mark(linux.pfn(this.name, 0, linux.prot(this.#anyProt, this.name)));
        const form = formOf(this.level, word.lo, word.hi);
        const whole = form?.kind === 'leaf' && form.pages === this.level.pages && !form.groups.some((g) => holds(g.when, word.lo, word.hi));
        if (whole) return mark;
      } catch (e) {
        if (!(e instanceof TypeError || e instanceof RangeError)) throw e;
      }
    }
    return undefined;
  }

  /** The protection that grants the rights, or least beyond them. */
  #protFor(rights: number): string {
    const known = this.#prots.get(rights);
    if (known !== undefined) return known;
    const names = Object.keys(this.#linux.side.prots).filter((n) => !n.includes('@'));
    const pattern = rights & PTE_USER ? USER_PROT : KERNEL_PROT;
    const group = this.#mark === undefined ? this.groups[0].bits : 0;
    let best: { name: string; extra: number } | undefined;
    for (const name of names.filter((n) => pattern.test(n)).sort((a, b) => preference(a) - preference(b))) {
      const word = this.#set(this.#made(name, PTE_ACCESSED | PTE_DIRTY | rights | group, 0), 0);
      const granted = this.decode(word.lo, word.hi).bits & RIGHTS;
      // A right that is missing weighs more than any that are too many.
      const extra = popcount(granted ^ rights) + 8 * popcount(rights & ~granted);
      if (best === undefined || extra < best.extra) best = { name, extra };
    }
    if (!best) throw new RangeError(`${this.#mode.mode.name} has no protection for rights 0x${rights.toString(16)} at level ${this.level.level.name}`);
    this.#prots.set(rights, best.name);
    return best.name;
  }

  // --- reading words ------------------------------------------------------------------------------------------------

  /** What a word means. @throws {RangeError} for a word that Linux does not write. */
  decode(lo: number, hi: number): Decoded {
    const form = formOf(this.level, lo, hi);
    const wrong = (): RangeError =>
      new RangeError(
        `${this.#mode.mode.name}: 0x${((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)).toString(16)} at level ${this.level.level.name} is no entry that Linux writes`,
      );
    if (form?.kind === 'none') return { bits: 0, payload: 0, form };
    if (form?.kind === 'nonpresent') {
      const swap = decodeSwap(this.#mode, this.level.level.name, lo, hi);
      if (!swap) throw wrong();
      const flags = (swap.exclusive ? PTE_SWP_EXCLUSIVE : 0) | (swap.softDirty ? PTE_SOFT_DIRTY : 0) | (swap.uffdWp ? PTE_UFFD_WP : 0);
      return { bits: PTE_SWAP | flags, payload: swap.offset * 32 + swap.type, form };
    }
    if (form?.kind === 'table') {
      const filled = this.#linux.side.populate[this.#fills ?? '']?.form === form.form.name;
      return { bits: PTE_TABLE | (filled ? PTE_HUGE : 0), payload: this.#pointer(form, lo, hi), form };
    }
    if (form?.kind === 'hugepd') {
      const found = directoriesOf(this.#mode).find((d) => d.slots === this.level && this.#mode.levels[form.next] === d.level);
      if (!found) throw wrong();
      return { bits: found.bits, payload: this.#pointer(form, lo, hi), form };
    }
    if (form?.kind !== 'leaf' || !form.address) throw wrong();
    const word = { lo, hi };
    const open = holds(form.allows.present, lo, hi) ? rightsBits(form, word) : 0;
    const rights = (open & ~PTE_USER) === 0 ? PTE_PROTNONE : open;
    const entries = form.groups.find((g) => holds(g.when, lo, hi))?.group.entries;
    const group = entries === undefined ? 0 : (this.groups.find((g) => g.entries === entries)?.bits ?? 0);
    const bits = PTE_PRESENT | rights | this.#statesOf(word, form) | (this.#lowest ? 0 : PTE_HUGE) | group;
    return { bits, payload: addressUnits(form.address, lo, hi, this.#mode.mode.pageShift), form };
  }

  #pointer(form: CompiledForm, lo: number, hi: number): number {
    const address = form.address as NonNullable<CompiledForm['address']>;
    const { pointers, pageShift } = this.#mode.mode;
    if (!pointers) return Math.floor(addressUnits(address, lo, hi, pageShift));
    return Number(pointerToPhysical(pointers, lo, hi, address.mask) >> BigInt(pageShift));
  }

  /** Accessed, dirty, special, soft-dirty and write protection by userfaultfd, as the kernel's predicates answer. */
  #statesOf(word: Word, known?: CompiledForm): number {
    const form = known ?? formOf(this.level, word.lo, word.hi);
    const is = (name: string, otherwise = false): boolean => {
      const answer = this.#linux.side.predicates[this.name]?.[`${this.name}_${name}`];
      // A kernel without operations for leaves of a level (no transparent huge pages there) answers no; hugetlb asks as of a pte.
      const answers = answer !== undefined && (answer !== '0' || this.name === 'pte' || this.#linux.hasEdit(`${this.name}_mkyoung`));
      return answers ? this.#linux.predicate(this.name, `${this.name}_${name}`, word) : otherwise;
    };
    return (
      (is('young', form && holds(form.allows.accessed, word.lo, word.hi)) ? PTE_ACCESSED : 0) |
      (is('dirty', form && holds(form.allows.dirty, word.lo, word.hi)) ? PTE_DIRTY : 0) |
      (is('special') ? PTE_SPECIAL : 0) |
      (is('soft_dirty') ? PTE_SOFT_DIRTY : 0) |
      (is('uffd_wp') ? PTE_UFFD_WP : 0)
    );
  }
}

/** Protections whose names say that they are the plain ones come first. */
const ORDER = ['PAGE_READONLY', 'PAGE_READ', 'PAGE_RO', 'PAGE_SHARED', 'PAGE_KERNEL'];
const preference = (name: string): number => {
  const at = ORDER.indexOf(name);
  return at < 0 ? ORDER.length + name.length : at;
};

function rightsBits(form: CompiledForm, word: Word): number {
  const r = rightsOf(form, word.lo, word.hi);
  return (r.read ? PTE_READ : 0) | (r.write ? PTE_WRITE : 0) | (r.exec ? PTE_EXEC : 0) | (r.user ? PTE_USER : 0);
}
