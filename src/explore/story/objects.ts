/**
 * Objects of a story: what kernel code refers to by a number has a key here while the run is watched, and a short name in the end, when it is known which
 * of them matter.
 *
 * Invariants: a key stands for one object during the whole run, though its place may be used again (objects of the heap: a count of uses is part of the
 * key; pages keep theirs, since it is the use of a page after its end that is to be seen). Texts carry keys between brackets of mathematics until `Names` replaces them.
 */
import { codec, entryAt, entryStride, loadEntry, pageOfEntry, spanPages, tableEntries, tableLevel, topLevel } from '../../kernel/arch.ts';
import { HELD_FOLIO, HELD_READ, HELD_VMA, HELD_WRITE, objectOf } from '../../kernel/lockdep.ts';
import { get } from '../../memory/heap.ts';
import { PG_ANON, PG_TABLE } from '../../memory/page-flags.ts';
import { heap, knownPageOfPfn, pageFlags, pageMapping, pageRefcount, wordShift } from '../../memory/state.ts';
import { fieldName, layouts } from '../../memory/struct.ts';
import { Mm, Process, Vma } from '../../mm/types.ts';
import { PTE_GROUP, PTE_TABLE } from '../../pagetable/canonical.ts';
import type { ObjectKind, StoryObject } from './types.ts';
import { address, linuxName, range } from './words.ts';

/** Says an object in a text. */
export const said = (key: string): string => `⟦${key}⟧`;
/** Says it only where there is more than one of its kind. */
export const saidIfMany = (key: string, before: string, after: string): string => `⟦?${key}⦙${before}⦙${after}⟧`;

interface Known {
  readonly kind: ObjectKind;
  /** What names are counted by: `P`, `T`, `VMA`, `mm`, `inode`; entries and locks are named by `fixed`. */
  readonly prefix: string;
  readonly fixed?: string;
  readonly what: string;
}

interface TablePlace {
  readonly mm: number;
  /** First page that it translates. */
  readonly base: number;
  readonly level: number;
}

/** Names of fields that Linux spells another way. */
const FIELDS: Readonly<Record<string, string>> = {
  'vma.refcnt': 'vm_refcnt',
  'vma.lockSeq': 'vm_lock_seq',
  'mm.lockSeq': 'mm_lock_seq',
  'file.refcount': 'f_count',
  'inode.refcount': 'i_count',
  'mm.rss[0]': 'rss_stat[MM_FILEPAGES]',
  'mm.rss[1]': 'rss_stat[MM_ANONPAGES]',
  'mm.rss[2]': 'rss_stat[MM_SWAPENTS]',
  'mm.rss[3]': 'rss_stat[MM_SHMEMPAGES]',
};

/** Names of locks by class. */
const LOCKS: Readonly<Record<string, string>> = {
  'mm.mmapLock': 'mmap_lock',
  'mm.pageTableLock': 'page_table_lock',
  'inode.iMmapLock': 'i_mmap_rwsem',
  'inode.lock': 'i_rwsem',
  'inode.invalidateLock': 'invalidate_lock',
  'inode.pagesLock': 'xa_lock',
  'anonVma.rwsem': 'anon_vma',
  'globals.memHotplugLock': 'mem_hotplug_lock',
};

const MODE_MARKS: Readonly<Record<number, string>> = { [HELD_READ]: '(r)', [HELD_WRITE]: '(w)', [HELD_VMA]: '(r)' };

export class Objects {
  readonly known = new Map<string, Known>();
  /** Whether an entry was seen that maps a page and is not soft-dirty: else that they are says nothing. */
  softDirtyVaries = false;
  readonly #uses = new Map<number, number>();
  readonly #tables = new Map<number, TablePlace>();
  readonly #mms = new Set<number>();

  /** An address space whose tables are to be known. */
  addMm(mm: number): void {
    if (mm === 0 || this.#mms.has(mm)) return;
    this.#mms.add(mm);
    this.findTables();
  }

  isMm(ref: number): boolean {
    return this.#mms.has(ref);
  }

  /** Goes down all tables of the address spaces that are known. */
  findTables(): void {
    for (const mm of this.#mms) {
      const pgd = get(mm, Mm.pgd);
      if (heap[mm] > 0 && pgd !== 0) this.#descend(mm, pgd, topLevel, 0);
    }
  }

  #descend(mm: number, table: number, level: number, base: number): void {
    if ((pageFlags[table] & PG_TABLE) === 0) return;
    this.#tables.set(table, { mm, base, level });
    if (level === 0 || level > topLevel) return;
    const count = tableEntries(level);
    for (let i = 0; i < count; i++) {
      const entry = loadEntry((table << wordShift) + i * entryStride(level), level);
      if ((entry & PTE_TABLE) === 0) continue;
      const below = knownPageOfPfn((entry - (entry & 0xfffff)) / 1048576);
      // Of the slots of a huge page directory the first tells where it begins.
      if (below !== 0 && ((entry & PTE_GROUP) === 0 || !this.#tables.has(below)))
        this.#descend(mm, below, tableLevel(entry, level), base + i * spanPages(level));
    }
  }

  /** Tables that are known, freed ones included. */
  tables(): number[] {
    return [...this.#tables.keys()];
  }

  // --- keys -----------------------------------------------------------------------------------------------------------------

  page(page: number): string {
    return this.#note(`page:${page}`, () => ({ kind: 'page', prefix: 'P', what: `page ${page}${pageUse(page)}` }));
  }

  table(table: number): string {
    return this.#note(`table:${table}`, () => {
      const place = this.#place(table);
      if (!place) return { kind: 'table', prefix: 'T', what: `page ${table}, a page table` };
      const { mm, base, level } = place;
      const span = tableEntries(level) * spanPages(level);
      const kind = level === 0 ? 'page table' : `${codec.tables[level].name} table`;
      return { kind: 'table', prefix: 'T', what: `page ${table}, ${kind}${saidIfMany(this.object(mm), ' of ', '')} for ${range(base, base + span)}` };
    });
  }

  /** What a page is in a message: a table that is known, or a page. */
  pageOrTable(page: number): string {
    return this.#tables.has(page) ? this.table(page) : this.page(page);
  }

  /** An object of the heap; of a place that is free the object that was there last. */
  object(ref: number): string {
    const type = layouts[Math.abs(heap[ref])]?.name ?? 'object';
    return this.#note(`${type}:${this.#use(ref)}`, () => ({
      kind: type === 'vma' || type === 'mm' ? type : 'struct',
      prefix: type === 'vma' ? 'VMA' : linuxName(type),
      what: objectText(type, ref),
    }));
  }

  #use(ref: number): string {
    const ended = this.#uses.get(ref) ?? 0;
    return `${ref}.${heap[ref] < 0 && ended > 0 ? ended - 1 : ended}`;
  }

  /** The place of an object is free for another from now on. */
  forget(ref: number): void {
    this.#uses.set(ref, (this.#uses.get(ref) ?? 0) + 1);
  }

  /** A field of an object: `mm1->tlb_flush_pending`. */
  field(ref: number, field: number): string {
    const name = fieldName(heap[ref], field);
    return `${said(this.object(ref))}->${FIELDS[name] ?? linuxName(name.slice(name.indexOf('.') + 1))}`;
  }

  /** A field as an object of its own: who writes it is told apart from who writes its neighbours. */
  fieldKey(ref: number, field: number): string {
    const text = this.field(ref, field);
    return this.#note(`field:${this.#use(ref)}.${field}`, () => ({ kind: 'field', prefix: '', fixed: text, what: 'a field' }));
  }

  /** An entry by its place in RAM: key, and how it is said. */
  entry(at: number, level: number): { key: string; text: string } {
    const table = pageOfEntry(at, level);
    const place = this.#place(table);
    const index = Math.floor((at - (table << wordShift)) / entryStride(level));
    const vpn = place ? place.base + index * spanPages(level) : 0;
    const text = place ? `${saidIfMany(this.object(place.mm), '', ':')}${address(vpn)}` : `${said(this.table(table))}[${index}]`;
    const name = level === 0 ? text : `${codec.tables[level].name} ${text}`;
    const key = this.#note(`entry:${table}.${index}`, () => ({ kind: 'entry', prefix: '', fixed: name, what: `entry ${index} of ${said(this.table(table))}` }));
    return { key, text };
  }

  /** Key of the entry of the lowest level that translates a page, undefined where there is no table. */
  entryOf(mm: number, vpn: number): string | undefined {
    for (const [table, place] of this.#tables)
      if (place.level === 0 && place.mm === mm && vpn >= place.base && vpn < place.base + tableEntries(0)) return this.entry(entryAt(table, 0, vpn), 0).key;
    return undefined;
  }

  /** The page that an entry of the lowest level translates in an address space. */
  vpnOf(key: string, mm: number): number | undefined {
    const [table, index] = key.slice('entry:'.length).split('.').map(Number);
    const place = this.#tables.get(table);
    return place?.level === 0 && place.mm === mm ? place.base + index : undefined;
  }

  /** A lock: its key, and its name in texts. */
  lock(lock: number, mode: number): { key: string; text: string } {
    if (mode === HELD_FOLIO) return { key: this.page(lock), text: `folio ${said(this.page(lock))}` };
    if (mode === HELD_VMA) return { key: this.object(lock), text: said(this.object(lock)) };
    if (lock < 0) return this.#lock(lock, `ptl ${said(this.table(-lock))}`);
    const object = objectOf(lock);
    if (object === 0) return this.#lock(lock, `lock ${lock}`);
    const name = fieldName(heap[object], lock - object).replace('[0]', '');
    const owner = name.startsWith('globals.') ? '' : saidIfMany(this.object(object), ' ', '');
    return this.#lock(lock, `${LOCKS[name] ?? linuxName(name.slice(name.indexOf('.') + 1))}${owner}`);
  }

  /** A lock that is held: `ptl T1`, `mmap_lock(w)`. */
  held(lock: number, mode: number): string {
    return `${this.lock(lock, mode).text}${MODE_MARKS[mode] ?? ''}`;
  }

  #lock(lock: number, text: string): { key: string; text: string } {
    return { key: this.#note(`lock:${lock}`, () => ({ kind: 'lock', prefix: '', fixed: text, what: 'a lock' })), text };
  }

  #place(table: number): TablePlace | undefined {
    if (!this.#tables.has(table)) this.findTables();
    return this.#tables.get(table);
  }

  #note(key: string, make: () => Known): string {
    if (!this.known.has(key)) this.known.set(key, make());
    return key;
  }
}

function pageUse(page: number): string {
  if (pageRefcount[page] === 0) return '';
  if ((pageFlags[page] & PG_ANON) !== 0) return ', anonymous';
  return pageMapping[page] === 0 ? '' : ', of the page cache';
}

function objectText(type: string, ref: number): string {
  if (type === 'vma') return `vm_area_struct${get(ref, Vma.end) === 0 ? '' : ` ${range(get(ref, Vma.start), get(ref, Vma.end))}`}`;
  if (type !== 'mm') return `struct ${linuxName(type)}`;
  const process = get(ref, Mm.process);
  return process === 0 ? 'mm_struct' : `mm_struct of process ${get(process, Process.pid)}`;
}

// --- names ------------------------------------------------------------------------------------------------------------------

/** Names for the objects of a story, in the order in which they are asked for. */
export class Names {
  readonly #objects: Objects;
  readonly #names = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  constructor(objects: Objects) {
    this.#objects = objects;
  }

  of(key: string): string {
    const before = this.#names.get(key);
    if (before !== undefined) return before;
    const { prefix, fixed } = this.#objects.known.get(key) as Known;
    if (fixed !== undefined) return this.text(fixed);
    const count = (this.#counts.get(prefix) ?? 0) + 1;
    this.#counts.set(prefix, count);
    const name = `${prefix}${count}`;
    this.#names.set(key, name);
    return name;
  }

  /** A text with its keys replaced by names. */
  text(text: string): string {
    const many = (key: string): boolean => (this.#counts.get((this.#objects.known.get(key) as Known).prefix) ?? 0) > 1;
    const plain = this.#objects.softDirtyVaries ? text : text.replaceAll('|soft_dirty', '');
    return plain
      .replace(/⟦([^?⟧][^⟧]*)⟧/g, (_, key: string) => this.of(key))
      .replace(/⟦\?([^⦙]*)⦙([^⦙]*)⦙([^⟧]*)⟧/g, (_, key: string, before: string, after: string) => (many(key) ? `${before}${this.of(key)}${after}` : ''));
  }

  /** Gives names to all that a text says, so that it is known of what there are many. */
  count(text: string): void {
    for (const [, key] of text.matchAll(/⟦\??([^⟧⦙]*)/g)) this.of(key);
  }

  /** Everything that has a name of its own, in the order of the names. */
  list(violated: ReadonlySet<string>): StoryObject[] {
    return [...this.#names].map(([key, name]) => {
      const { kind, what } = this.#objects.known.get(key) as Known;
      return { name, kind, what: this.text(what), violated: violated.has(key) };
    });
  }
}
