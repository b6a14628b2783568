/**
 * Compares pxd's modes with golden vectors: entries, predicates and geometry as the kernel's own header code computes them.
 *
 * Checked for each vector: the entry made by pxd's interpretation of the named operation has the same bits; decoding gives the meaning that the
 * kernel's predicates say; every predicate gives the kernel's answer; swap-type entries decode to their arguments.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { PagingMode, SpecialTypes } from '../../src/arch/mode.ts';
import type { Word } from '../../src/arch/notation.ts';
import { findMode } from '../../src/arch/registry.ts';
import { type CompiledLevel, type CompiledMode, compileMode, levelFor } from '../../src/pagetable/compile.ts';
import { addressUnits, decode, encode } from '../../src/pagetable/entry.ts';
import { leafPagesOf } from '../../src/pagetable/leafsize.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { decodeSwap, encodeSwap, swapLayoutFor, swapTypes } from '../../src/pagetable/swap.ts';

/** Page sizes as vectors name them → log2. */
const PAGE_SIZES: Record<string, number> = { '4K': 12, '16K': 14, '512K': 19, '8M': 23 };

export interface VectorFile {
  mode: string;
  kernel: string;
  config: string[];
  geometry: Record<string, number | string>;
  entries: { what: string; args: string; level: string; lo: string; hi: string }[];
  predicates: ({ entry: number; true: string[] } & Record<string, unknown>)[];
  predicates_evaluated: Record<string, string[]>;
  facts: { what: string; args: string; unit: string; value: number }[];
}

/** Vector file (without its kernel version) → mode. 6.1 of powerpc means the forms with huge page directories. */
const MODES: Record<string, string> = {
  alpha: 'alpha',
  'arm-lpae': 'arm-lpae',
  'arm-short': 'arm-short',
  'arm64-16k-lpa2': 'arm64-16k-52',
  'arm64-4k-lpa2': 'arm64-4k-52',
  'arm64-64k-52': 'arm64-64k-52',
  i386: 'x86-2level',
  'i386-pae': 'x86-pae',
  'loongarch64-4k': 'loongarch64-4k',
  'loongarch64-16k': 'loongarch64-16k',
  'loongarch64-64k': 'loongarch64-64k',
  'm68k-coldfire': 'm68k-coldfire',
  'm68k-motorola': 'm68k',
  'mips32-4k': 'mips32-4k',
  'mips32-16k': 'mips32-16k',
  'mips64-16k': 'mips64-16k',
  'mips64-64k': 'mips64-64k',
  'parisc-32': 'parisc',
  'ppc-8xx-4k': 'ppc-8xx-4k',
  'ppc-8xx-16k': 'ppc-8xx-16k',
  'ppc-e500-32': 'ppc-e500',
  'ppc-e500-64': 'ppc64-e500',
  'ppc-book3s32': 'ppc-book3s32',
  'ppc-book3s32-pte64': 'ppc-book3s32-pte64',
  'ppc64-hash-4k': 'ppc64-hash-4k',
  'ppc64-hash-64k': 'ppc64-hash-64k',
  'ppc64-radix-4k': 'ppc64-radix-4k',
  'ppc64-radix-64k': 'ppc64-radix-64k',
  'riscv32-sv32': 'riscv-sv32',
  'riscv64-sv39-svnapot': 'riscv-sv39',
  'riscv64-sv48-svnapot': 'riscv-sv48',
  'riscv64-sv57-svnapot': 'riscv-sv57',
  s390: 's390x',
  'sparc64-sun4u': 'sparc64-sun4u',
  'sparc64-sun4v': 'sparc64-sun4v',
  'x86-64-4level': 'x86-4level',
  'x86-64-5level': 'x86-5level',
};

/**
 * What the recording program asked on a machine that the mode does not mean, since variables that boot code sets were zero, and the name under which
 * the mode declares that case: the 5-level x86 build ran without LA57, and x86 believed to be a CPU older than the 486.
 */
const RECORDED_AS: Record<string, string> = {
  'x86-5level pgd': 'pgd without LA57',
  'x86-5level pgd_populate': 'pgd_populate without LA57',
  ...Object.fromEntries(['2level', 'pae', '4level', '5level'].map((m) => [`x86-${m} pgprot_noncached`, 'pgprot_noncached on a 386'])),
};

const HUGEPD = ['ppc-8xx-4k', 'ppc-8xx-16k', 'ppc-e500', 'ppc64-e500', 'ppc64-hash-4k', 'ppc64-hash-64k'];

/**
 * The recording of sun4v ran with patching at boot off, so the operations that a sun4v kernel patches in answered as on sun4u (on sun4v's words).
 * They are compared with sun4u's; protections, huge page sizes, table and swap-type entries are sun4v's own.
 */
const UNPATCHED: Record<string, string> = { 'sparc64-sun4v': 'sparc64-sun4u' };

export const loadVectors = (path: string): VectorFile => JSON.parse(gunzipSync(readFileSync(path)).toString());

/** The mode name and kernel of a vector file. */
export function modeOfVectors(name: string): { mode: string; kernel: string } {
  const found = /^(.*)-(\d+\.\d+)\.\d+$/.exec(name);
  if (!found || !MODES[found[1]]) throw new Error(`no mode for vectors ${name}`);
  const mode = MODES[found[1]];
  return { mode: found[2] === '6.1' && HUGEPD.includes(mode) ? `${mode}-hugepd` : mode, kernel: found[2] };
}

export interface VectorResult {
  name: string;
  mode: string;
  entries: number;
  encoded: number;
  decoded: number;
  predicates: number;
  swap: number;
  geometry: number;
  facts: number;
  differences: string[];
}

const hex = (w: Word): string => `0x${((BigInt(w.hi) << 32n) | BigInt(w.lo)).toString(16)}`;

export function specialsOf(config: string[]): SpecialTypes {
  return {
    hwpoison: config.includes('CONFIG_MEMORY_FAILURE=y'),
    migration: config.includes('CONFIG_MIGRATION=y'),
    device: config.includes('CONFIG_DEVICE_PRIVATE=y'),
    marker: config.includes('CONFIG_PTE_MARKER=y'),
  };
}

export function compareVectors(file: VectorFile): VectorResult {
  const { mode: name, kernel } = modeOfVectors(file.mode);
  const mode = findMode(name);
  const result: VectorResult = {
    name: file.mode,
    mode: name,
    entries: file.entries.length,
    encoded: 0,
    decoded: 0,
    predicates: 0,
    swap: 0,
    geometry: 0,
    facts: 0,
    differences: [],
  };
  if (!mode) {
    result.differences.push(`there is no mode ${name}`);
    return result;
  }
  new Comparison(mode, compileMode(mode, kernel, specialsOf(file.config)), file, result).run();
  return result;
}

class Comparison {
  readonly #mode: PagingMode;
  readonly #compiled: CompiledMode;
  readonly #file: VectorFile;
  readonly #result: VectorResult;
  readonly #linux: LinuxEntries;
  /** What edits and predicates were recorded from: the mode's own, but for `UNPATCHED`. */
  readonly #ran: LinuxEntries;

  constructor(mode: PagingMode, compiled: CompiledMode, file: VectorFile, result: VectorResult) {
    this.#mode = mode;
    this.#compiled = compiled;
    this.#file = file;
    this.#result = result;
    this.#linux = new LinuxEntries(compiled);
    const unpatched = findMode(UNPATCHED[mode.name] ?? '');
    this.#ran = unpatched ? new LinuxEntries(compileMode(unpatched, compiled.kernelText, compiled.specials)) : this.#linux;
  }

  run(): void {
    this.#geometry();
    this.#facts();
    const predicates = new Map(this.#file.predicates.map((p) => [p.entry, p]));
    this.#file.entries.forEach((entry, i) => {
      const word = { lo: Number(entry.lo), hi: Number(entry.hi) };
      const where = `${entry.level} ${entry.what} | ${entry.args} = ${hex(word)}`;
      try {
        this.#encode(entry, word, where);
        const p = predicates.get(i);
        if (p) {
          this.#predicates(entry.level, word, p, where);
          this.#decode(entry, word, p, where);
        }
        this.#inverse(entry.level, word, where);
      } catch (e) {
        this.#say(`${where}: ${(e as Error).message}`);
      }
    });
  }

  #say(text: string): void {
    this.#result.differences.push(text);
  }

  #geometry(): void {
    const g = this.#file.geometry;
    const own = this.#linux.side.geometry ?? {};
    const check = (name: string, value: number): void => {
      if (g[name] === undefined) return;
      const want = Number(g[name]);
      const have = own[name] ?? value;
      if (want !== have) this.#say(`geometry ${name}: kernel ${want}, pxd ${have}`);
      else this.#result.geometry++;
    };
    check('PAGE_SHIFT', this.#mode.pageShift);
    for (const [level, shift] of [
      ['pte', 'PAGE_SHIFT'],
      ['pmd', 'PMD_SHIFT'],
      ['pud', 'PUD_SHIFT'],
      ['p4d', 'P4D_SHIFT'],
      ['pgd', 'PGDIR_SHIFT'],
    ]) {
      const found = this.#compiled.levels.find((l) => l.level.name === level);
      if (!found) {
        check(`PTRS_PER_${level.toUpperCase()}`, 1);
        continue;
      }
      check(`PTRS_PER_${level.toUpperCase()}`, found.entries);
      check(shift, found.level.shift);
      check(`sizeof(${level}_t)`, found.stride);
    }
  }

  // --- facts: what a directory of huge entries and a huge entry say of their size ---------------------------------------------------------------

  #facts(): void {
    for (const fact of this.#file.facts ?? []) {
      const shift = /shift=(\d+)/.exec(fact.args)?.[1] ?? (fact.what.includes('8M') ? '23' : undefined);
      if (/^(is_hugepd|hugepd_shift)/.test(fact.what) && shift !== undefined) this.#hugepdFact(fact, Number(shift));
      const page = /^page (\S+?),?(?:\s|$)/.exec(`${fact.args} `)?.[1];
      if (/^(number_of_cells|leaf size)/.test(fact.what) && page !== undefined) this.#cellFact(fact, page);
    }
  }

  /** The directory word of a size is one here where the kernel says so, and leads to entries of that size. Sizes that only the function accepts are left out. */
  #hugepdFact(fact: VectorFile['facts'][number], shift: number): void {
    const entry = this.#file.entries.find((e) => e.what.startsWith('hugepd_populate') && (e.args.includes(`shift=${shift} `) || e.what.includes('8M')));
    if (!entry) return;
    const sizes = this.#compiled.levels
      .map((level) => decode(level, Number(entry.lo), Number(entry.hi)).form)
      .filter((form) => form?.kind === 'hugepd')
      .map((form) => Math.max(...this.#compiled.levels[form?.next ?? 0].forms.map((f) => (f.kind === 'leaf' ? f.pages : 0))) * 2 ** this.#mode.pageShift);
    const declared = this.#compiled.levels.some((l) =>
      l.forms.some((f) => f.kind === 'leaf' && f.pages * 2 ** this.#mode.pageShift === 2 ** shift && !/^(pgd|p4d|pud|pmd|pte)$/.test(l.level.name)),
    );
    const no = fact.what.startsWith('is_hugepd') && fact.value === 0;
    if (no ? sizes.length > 0 : declared && !sizes.includes(2 ** shift))
      this.#say(`${fact.what} ${fact.args} = ${fact.value}: pxd finds directories of ${sizes.join(', ') || 'no size'}`);
    else if (no || declared) this.#result.facts++;
  }

  /** Cells and leaf size of an 8xx page. A bare entry of an 8M page under a directory does not tell its size: the directory does. */
  #cellFact(fact: VectorFile['facts'][number], page: string): void {
    const entry = this.#file.entries.find((e) => e.what === 'huge pte' && e.args.startsWith(`page ${page} `));
    const large = page === '8M' ? this.#compiled.levels.find((l) => !/^(pgd|pte)$/.test(l.level.name)) : undefined;
    const level = large ?? this.#level('pte');
    if (!entry || !level || (fact.what === 'leaf size of pte' && page === '8M')) return;
    const { form } = decode(level, Number(entry.lo), Number(entry.hi));
    if (!form) {
      this.#say(`${fact.what} ${fact.args}: pxd does not know the entry`);
      return;
    }
    const group = form.groups.find((g) => g.when.some((c) => c.every((a) => (((Number(entry.lo) & a.mask.lo) ^ a.value.lo) === 0) !== a.negated)));
    const have = fact.what.startsWith('number_of_cells')
      ? ((group?.group.entries ?? 1) * level.stride) / 4
      : leafPagesOf(level, form, Number(entry.lo), Number(entry.hi)) * 2 ** this.#mode.pageShift;
    if (have !== fact.value) this.#say(`${fact.what} ${fact.args}: kernel ${fact.value}, pxd ${have}`);
    else this.#result.facts++;
  }

  // --- encode -------------------------------------------------------------------------------------------------------

  #encode(entry: VectorFile['entries'][number], word: Word, where: string): void {
    const made = this.#make(entry);
    if (made === undefined) return;
    if (made.lo !== word.lo || made.hi !== word.hi) this.#say(`${where}: pxd encodes ${hex(made)}`);
    else this.#result.encoded++;
  }

  #arg(args: string, name: string): string | undefined {
    return new RegExp(`(?:^|\\s)${name}=(\\S+)`).exec(args)?.[1];
  }

  /** `pfn=max`: what an entry holds, or less where Linux's MAX_PHYSMEM_BITS is below that (then the kernel's own pte_pfn tells it). */
  get #maxPfn(): number {
    // sparc64 was recorded with 47 bits, which sun4u's pte_pfn cuts to its 43.
    if (this.#mode.family === 'sparc64') return 2 ** 34 - 1;
    const told = this.#file.predicates
      .filter((p) => p.pte_pfn !== undefined && /pfn=max\b/.test(this.#file.entries[p.entry].args))
      .map((p) => Number(p.pte_pfn));
    return Math.min(2 ** (this.#mode.paBits - this.#mode.pageShift) - 1, ...told);
  }

  #pfnArg(args: string): number {
    const text = this.#arg(args, 'pfn') ?? '0';
    const frames = 2 ** (this.#mode.paBits - this.#mode.pageShift);
    // A frame beyond the physical address space loses its top bits in the kernel's shift (8xx with 16K pages).
    return text === 'max' ? this.#maxPfn : Number(text) % frames;
  }

  /** The word that pxd makes for the named operation; undefined for words that no operation made. */
  #make(entry: VectorFile['entries'][number]): Word | undefined {
    const { args, level } = entry;
    const what = RECORDED_AS[`${this.#mode.name} ${entry.what}`] ?? entry.what;
    const linux = this.#linux;
    if (what === 'raw') return undefined;
    if (/populate|^table entry|^hugepd/.test(what)) {
      const table = /table pa=(0x[0-9a-f]+)(\*PAGE_SIZE)?/.exec(args);
      if (!table) return undefined;
      // A size that the kernel itself does not take for a huge page directory: the word stands for nothing.
      if (this.#file.facts.some((f) => f.what === `hugepd_ok(${what})` && f.value === 0 && args.startsWith(`${f.args} `))) return undefined;
      const shift = this.#arg(args, 'shift');
      return linux.populate(shift ? `${what} shift=${shift}` : what, table[2] ? BigInt(table[1]) << BigInt(this.#mode.pageShift) : BigInt(table[1]));
    }
    const swap = this.#swapOf(entry);
    if (swap) return encodeSwap(this.#compiled, level, swap);
    if (linux.side.edits[`= ${what}`]) return linux.edit(`= ${what}`, level, { lo: 0, hi: 0 });
    if (/pa bits 48-51/.test(what)) return undefined;
    if (/_modify\(/.test(what)) return this.#modify(entry);
    // A frame beyond the width of the mode's addresses: the kernel's shift drops bits silently, pxd refuses to write them.
    if (this.#pfnArg(args) >= 2 ** (this.#mode.paBits - this.#mode.pageShift)) return undefined;
    if (what === 'set_huge_pte_at cell') return this.#cell(entry);
    const protName = this.#arg(args, 'prot');
    const size = this.#arg(args, 'shift') ?? PAGE_SIZES[/^page (\S+)/.exec(args)?.[1] ?? ''];
    const prot = protName ? linux.prot(protName, level) : { lo: 0, hi: 0 };
    if (what.startsWith('pgprot_')) return linux.pfn(level, this.#pfnArg(args), this.#ran.edit(what, level, prot));
    let word = linux.pfn(level, this.#pfnArg(args), prot);
    for (const state of args.split(' '))
      if (/^(young|dirty|mkyoung|mkdirty)$/.test(state)) word = this.#ran.edit(`${level}_mk${state.replace('mk', '')}`, level, word);
    if (this.#ran !== this.#linux && what.startsWith('arch_make_huge_pte'))
      word = linux.edit('arch_make_huge_pte', level, this.#ran.edit('pte_mkhuge', level, word), Number(size));
    else for (const name of this.#operations(what, level)) word = this.#ran.edit(name, level, word, size ? Number(size) : undefined);
    return word;
  }

  /** 8xx: the words of one huge page carry its attributes, and addresses that rise by 4K (and by 4M in the second table). */
  #cell(entry: VectorFile['entries'][number]): Word {
    const [, shift, pfn, table, cell] = (/page shift (\d+) pfn=(\S+)(?: table (\d))? cell word (\d+)/.exec(entry.args) as RegExpExecArray).map(Number);
    const first = this.#linux.pfn(entry.level, pfn % 2 ** (this.#mode.paBits - this.#mode.pageShift), this.#linux.prot('PAGE_SHARED', entry.level));
    const word = this.#linux.edit('arch_make_huge_pte', entry.level, first, shift);
    return { lo: word.lo + (table || 0) * 0x400000 + cell * 0x1000, hi: word.hi };
  }

  /** Edits in the order in which they are applied. */
  #operations(what: string, level: string): string[] {
    if (/^pfn_/.test(what)) return [];
    if (what === 'mkyoung(mkdirty(mkwrite))') {
      const mkwrite = this.#linux.hasEdit(`${level}_mkwrite_novma`) ? `${level}_mkwrite_novma` : `${level}_mkwrite`;
      return [mkwrite, `${level}_mkdirty`, `${level}_mkyoung`];
    }
    if (what === 'huge mk_pte: pte_mkhuge') return ['pte_mkhuge'];
    if (what === 'huge pte') return ['arch_make_huge_pte'];
    if (what.startsWith('set_huge_pte_at')) return ['set_huge_pte_at'];
    const text = what.replace(/^.*form: /, '');
    return text
      .replace(/\)+$/, '')
      .split('(')
      .filter((n) => !/^pfn_/.test(n))
      .reverse();
  }

  #modify(entry: VectorFile['entries'][number]): Word {
    const linux = this.#linux;
    const { level } = entry;
    let word = linux.pfn(
      level,
      this.#pfnArg(entry.args),
      linux.prot(level === 'pte' ? 'PAGE_SHARED' : linux.side.prots.PAGE_SHARED === undefined ? 'PAGE_RW' : 'PAGE_SHARED', level),
    );
    if (level === 'pte') word = this.#ran.edit('pte_mkdirty', level, this.#ran.edit('pte_mkyoung', level, word));
    else word = this.#ran.edit(`${level}_mkhuge`, level, word);
    return this.#ran.modify(level, word, linux.prot('PAGE_NONE', level));
  }

  // --- swap-type entries --------------------------------------------------------------------------------------------

  #typeNumber(text: string): number {
    if (text === 'MAX_SWAPFILES-1') return Number(this.#file.geometry.MAX_SWAPFILES) - 1;
    if (text === '1<<MAX_SWAPFILES_SHIFT-1') return 2 ** Number(this.#file.geometry.MAX_SWAPFILES_SHIFT ?? 5) - 1;
    return Number(text);
  }

  #special(kind: string, access?: string): number {
    return swapTypes(this.#compiled.kernel, this.#compiled.specials).findIndex((t) => t.kind === kind && (access === undefined || t.access === access));
  }

  /** Offsets that a swap-type word has room for; the kernel's shift drops what does not fit (alpha has 24 bits). */
  #offsets(level: string): number {
    const pieces = swapLayoutFor(this.#compiled, level)?.offset ?? [];
    return 2 ** pieces.reduce((bits, p) => bits + p.width, 0);
  }

  #swapOf(entry: VectorFile['entries'][number]): { type: number; offset: number; flags?: string[] } | undefined {
    const { what, args } = entry;
    const pair = /type=(\S+) offset=(\S+)/.exec(args);
    if (pair) {
      const flag = { exclusive: 'exclusive', 'soft-dirty': 'softDirty', 'uffd-wp': 'uffdWp' }[what.split(' ').pop() as string];
      // An architecture without the bit stores nothing: the word of the vector then has no such bit either, and comparing words finds a bit forgotten here.
      const has = flag !== undefined && swapLayoutFor(this.#compiled, entry.level)?.flags.has(flag);
      return { type: this.#typeNumber(pair[1]), offset: Number(pair[2]) % this.#offsets(entry.level), flags: has ? [flag] : [] };
    }
    const special = /^(migration|device-private|device-exclusive) (read-exclusive|read|write)( pmd)?$/.exec(what);
    if (special) return { type: this.#special(special[1], special[2]), offset: this.#pfnArg(args) };
    if (what === 'hwpoison') return { type: this.#special('hwpoison'), offset: this.#pfnArg(args) };
    if (what.startsWith('pte marker')) return { type: this.#special('marker'), offset: Number(this.#arg(args, 'marker')) };
    if (what === 'poisoned swp entry') return { type: this.#special('marker'), offset: 2 };
    if (what === 'swapin error entry') return { type: this.#special('swapin-error'), offset: 0 };
    return undefined;
  }

  // --- decode and predicates ----------------------------------------------------------------------------------------

  #level(name: string): CompiledLevel | undefined {
    return levelFor(this.#compiled, name);
  }

  #inverse(levelName: string, word: Word, where: string): void {
    const level = this.#level(levelName);
    if (!level) return;
    const d = decode(level, word.lo, word.hi);
    if (!d.form) return;
    const back = encode(d.form, { fields: d.fields, address: d.address, rest: d.rest });
    if (back.lo !== word.lo || back.hi !== word.hi) this.#say(`${where}: decodes and encodes to ${hex(back)}`);
  }

  #predicates(level: string, word: Word, p: { true: string[] }, where: string): void {
    const truths = new Set(p.true);
    for (const name of this.#file.predicates_evaluated[level] ?? []) {
      if (/_pfn$|_leaf_size|pte_huge_size/.test(name)) continue;
      const answer = this.#ran.predicate(RECORDED_AS[`${this.#mode.name} ${level}`] ?? level, name, word);
      if (answer !== truths.has(name)) this.#say(`${where}: ${name} is ${answer} here, ${truths.has(name)} in the kernel`);
      else this.#result.predicates++;
    }
  }

  /** Decoded meaning against the kernel's predicates: none → present → leaf, then frame, size, dirty, young, write. */
  #decode(entry: VectorFile['entries'][number], word: Word, p: { true: string[] } & Record<string, unknown>, where: string): void {
    const level = this.#sizedLevel(entry) ?? this.#level(entry.level);
    // Folded where the kernel answers a constant; a kernel that chooses its depth at boot may call the top table pud (riscv) or p4d (x86).
    const present = this.#linux.side.predicates[RECORDED_AS[`${this.#mode.name} ${entry.level}`] ?? entry.level]?.[`${entry.level}_present`];
    const named = level?.level.name === entry.level || entry.level === 'hugepd' || (entry.level === 'pmd' && level?.level.name === 'pgd');
    if (!level || present === '1' || (!named && present === undefined)) return;
    const d = decode(level, word.lo, word.hi);
    const is = (name: string): boolean => p.true.includes(`${entry.level}_${name}`);
    const swap = this.#swapOf(entry);
    if (swap) {
      this.#checkSwap(entry, word, swap, d.kind, where);
      return;
    }
    // Predicates of another TTE form say nothing of an entry.
    if (this.#ran !== this.#linux && !/populate/.test(entry.what)) return;
    const expected = this.#expectedKind(entry, is);
    if (expected === undefined) return;
    if (!expected.includes(d.kind)) {
      this.#say(`${where}: decodes as ${d.kind} (${d.form?.form.name}), the kernel says ${expected.join(' or ')}`);
      return;
    }
    if (d.kind === 'leaf' && d.form?.address) this.#checkLeaf(entry, word, p, level, where);
    this.#result.decoded++;
  }

  #expectedKind(entry: VectorFile['entries'][number], is: (n: string) => boolean): string[] | undefined {
    const pte = entry.level === 'pte';
    if (is('none')) return ['none'];
    if (pte) return is('present') ? ['leaf'] : ['nonpresent', 'bad', 'none'];
    if (entry.what === 'raw') return undefined;
    if (!is('present')) return undefined;
    if (is('leaf')) return ['leaf'];
    return is('bad') ? undefined : /populate|table/.test(entry.what) ? ['table', 'hugepd'] : undefined;
  }

  /** sparc64 tells a huge page's size by code, and so the level that its (recorded as PTE) value is meant for. */
  #sizedLevel(entry: VectorFile['entries'][number]): CompiledLevel | undefined {
    const shift = this.#arg(entry.args, 'shift');
    if (this.#mode.family !== 'sparc64' || shift === undefined) return undefined;
    return this.#compiled.levels.find((l) => l.level.shift <= Number(shift));
  }

  /** sparc64 calls an 8M page by the 4M of the two TLB entries that it takes. */
  #leafSize(size: unknown, level: CompiledLevel): unknown {
    return this.#mode.family === 'sparc64' && level.level.name === 'pmd' && Number(size) === 0x400000 ? 0x800000 : size;
  }

  #checkLeaf(entry: VectorFile['entries'][number], word: Word, p: { true: string[] } & Record<string, unknown>, level: CompiledLevel, where: string): void {
    const d = decode(level, word.lo, word.hi);
    const form = d.form;
    if (!form?.address) return;
    const pfn = addressUnits(form.address, word.lo, word.hi, this.#mode.pageShift);
    const known = p[`${entry.level}_pfn`];
    // Svnapot: the vectors have the kernel's boot-patched branch off, so its frame still holds the size code. Loongarch with 4K pages: the
    // kernel's frame of a global huge page has in it bit 12, which means global there. Both lie below the size of the leaf.
    const span = form.groups.find((g) => g.group.address === 'same')?.leafPages ?? (entry.level === 'pte' ? 1 : form.pages);
    if (known !== undefined && entry.what !== 'raw' && Math.floor(Number(known) / span) !== Math.floor(pfn / span))
      this.#say(`${where}: frame 0x${pfn.toString(16)}, the kernel says ${known}`);
    const size = this.#leafSize(p[`${entry.level}_leaf_size`], level);
    const own = leafPagesOf(level, form, word.lo, word.hi) * 2 ** this.#mode.pageShift;
    if (size !== undefined && entry.what !== 'raw' && Number(size) !== own && !this.#sizeInFacts())
      this.#say(`${where}: leaf of ${own} bytes, the kernel says ${Number(size)}`);
    if (entry.what === 'raw') return;
    for (const [field, predicate] of [
      ['dirty', 'dirty'],
      ['accessed', 'young'],
    ] as const) {
      if (!this.#file.predicates_evaluated[entry.level].includes(`${entry.level}_${predicate}`)) continue;
      const have = this.#allows(form, field, word);
      const want = p.true.includes(`${entry.level}_${predicate}`);
      if (have !== want) this.#say(`${where}: ${field} is ${have} here, ${entry.level}_${predicate} is ${want}`);
    }
    if (this.#allows(form, 'write', word) && !p.true.includes(`${entry.level}_write`)) this.#say(`${where}: writable here, not in the kernel`);
  }

  /** 8xx: a bare entry does not tell its size (the kernel's two-argument answers stand in `facts`). */
  #sizeInFacts(): boolean {
    return this.#file.predicates_evaluated.pte.includes('pte_leaf_size_2') && this.#mode.name.startsWith('ppc-8xx');
  }

  #allows(form: NonNullable<ReturnType<typeof decode>['form']>, what: 'dirty' | 'accessed' | 'write', word: Word): boolean {
    return form.allows[what].some((c) => c.every((a) => ((((word.lo & a.mask.lo) ^ a.value.lo) | ((word.hi & a.mask.hi) ^ a.value.hi)) === 0) !== a.negated));
  }

  #checkSwap(entry: VectorFile['entries'][number], word: Word, want: { type: number; offset: number; flags?: string[] }, kind: string, where: string): void {
    const found = decodeSwap(this.#compiled, entry.level, word.lo, word.hi);
    if (kind !== 'nonpresent' || !found) this.#say(`${where}: decodes as ${kind}, expected a swap-type entry`);
    else if (found.type !== want.type || found.offset !== want.offset)
      this.#say(`${where}: swap ${found.type}/${found.offset}, expected ${want.type}/${want.offset}`);
    else {
      for (const f of ['exclusive', 'softDirty', 'uffdWp'] as const)
        if (found[f] !== (want.flags ?? []).includes(f)) this.#say(`${where}: ${f} is ${found[f]}`);
      this.#result.swap++;
    }
  }
}
