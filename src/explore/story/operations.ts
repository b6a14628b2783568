/**
 * What the primitive operations of kernel code are called in Linux, with their arguments decoded, and which objects they touch.
 *
 * An operation that is not described here is told by its own name and numbers.
 */
import { codec } from '../../kernel/arch.ts';
import { HELD_FOLIO, HELD_READ, HELD_SPIN, HELD_WRITE } from '../../kernel/lockdep.ts';
import { operations } from '../../kernel/op.ts';
import { layouts } from '../../memory/struct.ts';
import { PTE_ACCESSED, PTE_PRESENT, PTE_SOFT_DIRTY, PTE_WRITE } from '../../pagetable/canonical.ts';
import { type Objects, said, saidIfMany } from './objects.ts';
import type { Touch } from './types.ts';
import { address, entryBits, entryWords, linuxName, numberText, pageFlagNames, range } from './words.ts';

/** An operation in words; texts say objects by their keys. */
export interface Told {
  readonly operation: string;
  readonly args: readonly string[];
  readonly touches: readonly Touch[];
  /** What it answers in words, null for nothing of note, and what that touches. */
  readonly answer?: (result: number) => { text: string; touches?: readonly Touch[] } | null;
  readonly freed?: readonly string[];
  /** Pages [start, end) of an address space that it is about. */
  readonly span?: { readonly mm: number; readonly start: number; readonly end: number };
}

type Tell = (o: Objects, a: number, b: number, c: number, d: number) => Told;

const yesNo = (result: number): { text: string } => ({ text: result === 0 ? 'false' : 'true' });

const locking =
  (operation: string, mode: number, access: 'lock' | 'unlock', tries = false): Tell =>
  (o, a) => {
    const { key, text } = o.lock(a, mode);
    return { operation, args: [text.replace(/^folio /, '')], touches: [{ object: key, access }], ...(tries ? { answer: yesNo } : {}) };
  };

/** The object and the field of a shared word. */
function shared(o: Objects, ref: number, field: number, access: 'read' | 'write'): { text: string; touches: Touch[] } {
  const text = o.field(ref, field);
  return {
    text,
    touches: [
      { object: o.object(ref), access },
      { object: o.fieldKey(ref, field), access },
    ],
  };
}

/** What an entry says, with the page or table that it leads to. */
function entryTold(o: Objects, entry: number): { text: string; touches: Touch[] } {
  const { page, table, text } = entryWords(entry);
  if (page === 0) return { text, touches: [] };
  const key = table ? o.table(page) : o.page(page);
  if (!table && (entry & PTE_PRESENT) !== 0 && (entry & PTE_SOFT_DIRTY) === 0) o.softDirtyVaries = true;
  return { text: text.replace('%', said(key)), touches: [{ object: key, access: 'call' }] };
}

const entryName = (level: number): string => codec.tables[level].name;

function entryOperation(o: Objects, at: number, level: number, access: 'read' | 'write', operation: string, more: readonly string[] = []): Told {
  const { key, text } = o.entry(at, level);
  return { operation, args: [text, ...more], touches: [{ object: key, access }], answer: (result) => entryTold(o, result) };
}

const atomicNames: Readonly<Record<number, string>> = { 1: 'atomic_inc', [-1]: 'atomic_dec' };

function flags(o: Objects, page: number, bits: number, verb: 'set' | 'clear'): Told {
  const names = pageFlagNames(bits);
  const key = o.page(page);
  const touches: Touch[] = [{ object: key, access: 'write' }];
  if (names.length === 1) return { operation: `folio_${verb}_${names[0]}`, args: [said(key)], touches };
  return { operation: `folio_${verb}_flags`, args: [said(key), names.join('|')], touches };
}

function references(o: Objects, page: number, delta: number): Told {
  const key = o.page(page);
  const base = { touches: [{ object: key, access: 'write' }] as const, answer: (left: number) => ({ text: `refcount ${left}` }) };
  if (delta === 1 || delta === -1) return { operation: delta > 0 ? 'folio_get' : 'folio_put', args: [said(key)], ...base };
  return { operation: 'folio_ref_add', args: [said(key), String(delta)], ...base };
}

const structName = (type: number): string => linuxName(layouts[type]?.name ?? String(type));

const allocation = (o: Objects, type: number): Told => ({
  operation: 'kmalloc',
  args: [structName(type)],
  touches: [],
  answer: (ref) => (ref === 0 ? { text: 'NULL' } : { text: said(o.object(ref)), touches: [{ object: o.object(ref), access: 'write' }] }),
});

const user =
  (operation: string): Tell =>
  (o, mm, _, vpn, value) => {
    const store = operation === 'store';
    const key = o.entryOf(mm, vpn);
    return {
      operation: `user ${operation}`,
      args: [`${saidIfMany(o.object(mm), '', ':')}${address(vpn)}`, ...(store ? [String(value)] : [])],
      touches: key === undefined ? [] : [{ object: key, access: 'read' }],
      answer: (result) => ({ text: result === 0 ? 'page fault' : store ? 'done' : String(result - 1) }),
      span: { mm, start: vpn, end: vpn + 1 },
    };
  };

const bare =
  (operation: string): Tell =>
  () => ({ operation, args: [], touches: [] });

const TOLD: Readonly<Record<string, Tell>> = {
  spinLock: locking('spin_lock', HELD_SPIN, 'lock'),
  spinTrylock: locking('spin_trylock', HELD_SPIN, 'lock', true),
  spinUnlock: locking('spin_unlock', HELD_SPIN, 'unlock'),
  downRead: locking('down_read', HELD_READ, 'lock'),
  downReadTrylock: locking('down_read_trylock', HELD_READ, 'lock', true),
  upRead: locking('up_read', HELD_READ, 'unlock'),
  downWrite: locking('down_write', HELD_WRITE, 'lock'),
  downWriteTrylock: locking('down_write_trylock', HELD_WRITE, 'lock', true),
  upWrite: locking('up_write', HELD_WRITE, 'unlock'),
  downgradeWrite: locking('downgrade_write', HELD_WRITE, 'unlock'),
  folioLock: locking('folio_lock', HELD_FOLIO, 'lock'),
  folioTrylock: locking('folio_trylock', HELD_FOLIO, 'lock', true),
  folioUnlock: locking('folio_unlock', HELD_FOLIO, 'unlock'),
  folioWaitLocked: (o, page) => ({ operation: 'folio_wait_locked', args: [said(o.page(page))], touches: [{ object: o.page(page), access: 'read' }] }),
  vmaReadTrylock: (o, vma) => ({
    operation: 'vma_start_read',
    args: [said(o.object(vma))],
    touches: [{ object: o.object(vma), access: 'lock' }],
    answer: yesNo,
  }),
  vmaReadUnlock: (o, vma) => ({ operation: 'vma_end_read', args: [said(o.object(vma))], touches: [{ object: o.object(vma), access: 'unlock' }] }),
  localIrqDisable: bare('local_irq_disable'),
  localIrqEnable: bare('local_irq_enable'),
  syncInterrupts: bare('tlb_remove_table_sync_one'),
  rcuReadLock: bare('rcu_read_lock'),
  rcuReadUnlock: bare('rcu_read_unlock'),
  readOnce: (o, ref, field) => {
    const { text, touches } = shared(o, ref, field, 'read');
    return { operation: 'READ_ONCE', args: [text], touches, answer: (value) => ({ text: numberText(value) }) };
  },
  writeOnce: (o, ref, field, value) => {
    const { text, touches } = shared(o, ref, field, 'write');
    return { operation: 'WRITE_ONCE', args: [text, numberText(value)], touches };
  },
  atomicAdd: (o, ref, field, delta) => {
    const { text, touches } = shared(o, ref, field, 'write');
    const name = atomicNames[delta];
    const answer = (value: number): { text: string } => ({ text: numberText(value) });
    return name === undefined
      ? { operation: 'atomic_add', args: [numberText(delta), text], touches, answer }
      : { operation: name, args: [text], touches, answer };
  },
  cmpxchg: (o, ref, field, expected, value) => {
    const { text, touches } = shared(o, ref, field, 'write');
    return { operation: 'cmpxchg', args: [text, numberText(expected), numberText(value)], touches, answer: (old) => ({ text: numberText(old) }) };
  },
  waitFor: (o, ref, field, value) => {
    const { text, touches } = shared(o, ref, field, 'read');
    return { operation: 'wait_event', args: [`${text} == ${numberText(value)}`], touches };
  },
  refAdd: (o, page, delta) => references(o, page, delta),
  refFreeze: (o, page, expected) => ({
    operation: 'folio_ref_freeze',
    args: [said(o.page(page)), String(expected)],
    touches: [{ object: o.page(page), access: 'write' }],
    answer: yesNo,
  }),
  refGetUnlessZero: (o, page) => ({
    operation: 'folio_try_get',
    args: [said(o.page(page))],
    touches: [{ object: o.page(page), access: 'write' }],
    answer: yesNo,
  }),
  mappingGet: (o, page) => ({
    operation: 'READ_ONCE',
    args: [`${said(o.page(page))}.mapping`],
    touches: [{ object: o.page(page), access: 'read' }],
    answer: (mapping) => ({ text: mapping === 0 ? 'NULL' : numberText(mapping) }),
  }),
  mappingSet: (o, page, mapping) => ({
    operation: 'WRITE_ONCE',
    args: [`${said(o.page(page))}.mapping`, mapping === 0 ? 'NULL' : numberText(mapping)],
    touches: [{ object: o.page(page), access: 'write' }],
  }),
  mapcountAdd: (o, page, delta) => ({
    operation: delta > 0 ? 'folio_add_rmap' : 'folio_remove_rmap',
    args: [said(o.page(page)), ...(Math.abs(delta) === 1 ? [] : [String(Math.abs(delta))])],
    touches: [{ object: o.page(page), access: 'write' }],
    answer: (left) => ({ text: `mapcount ${left}` }),
  }),
  entireMapcountAdd: (o, folio, delta) => ({
    operation: delta > 0 ? 'folio_add_rmap_pmd' : 'folio_remove_rmap_pmd',
    args: [said(o.page(folio))],
    touches: [{ object: o.page(folio), access: 'write' }],
    answer: (left) => ({ text: `entire mapcount ${left}` }),
  }),
  setFlags: (o, page, bits) => flags(o, page, bits, 'set'),
  clearFlags: (o, page, bits) => flags(o, page, bits, 'clear'),
  entryGet: (o, at, level) => entryOperation(o, at, level, 'read', `${entryName(level)}p_get`),
  entryGetAndClear: (o, at, level) => entryOperation(o, at, level, 'write', `${entryName(level)}p_get_and_clear`),
  entrySet: (o, at, level, entry) => {
    const name = entryName(level);
    const { key, text } = o.entry(at, level);
    if (entry === 0) return { operation: `${name}_clear`, args: [text], touches: [{ object: key, access: 'write' }] };
    const value = entryTold(o, entry);
    return { operation: level === 0 ? 'set_pte_at' : `set_${name}`, args: [text, value.text], touches: [{ object: key, access: 'write' }, ...value.touches] };
  },
  entryClearBits: (o, at, level, bits) => {
    const name = entryName(level);
    if (bits === PTE_ACCESSED) return entryOperation(o, at, level, 'write', `${name}p_test_and_clear_young`);
    if (bits === PTE_WRITE) return entryOperation(o, at, level, 'write', `${name}p_set_wrprotect`);
    return entryOperation(o, at, level, 'write', `${name}p_clear_bits`, [entryBits(bits)]);
  },
  kmalloc: (o, type) => allocation(o, type),
  kmallocNowait: (o, type) => allocation(o, type),
  kfree: (o, _, ref) => ({ operation: 'kfree', args: [said(o.object(ref))], touches: [{ object: o.object(ref), access: 'free' }], freed: [o.object(ref)] }),
  allocPage: (o, _, order) => ({
    operation: 'alloc_pages',
    args: [`order ${order}`],
    touches: [],
    answer: (page) => (page === 0 ? { text: 'NULL' } : { text: said(o.page(page)), touches: [{ object: o.page(page), access: 'write' }] }),
  }),
  freePage: (o, page, order) => {
    const key = o.pageOrTable(page);
    return {
      operation: '__free_pages',
      args: [said(key), ...(order === 0 ? [] : [`order ${order}`])],
      touches: [{ object: key, access: 'free' }],
      freed: [key],
    };
  },
  flushTlbRange: (o, mm, start, end) => ({
    operation: 'flush_tlb_range',
    args: [`${saidIfMany(o.object(mm), '', ', ')}${range(start, end)}`],
    touches: [],
    span: { mm, start, end },
  }),
  flushTlbMm: (o, mm) => ({ operation: 'flush_tlb_mm', args: [said(o.object(mm))], touches: [], span: { mm, start: 0, end: Number.MAX_SAFE_INTEGER } }),
  callRcuFreeTable: (o, table) => ({ operation: 'tlb_remove_table', args: [said(o.table(table))], touches: [{ object: o.table(table), access: 'write' }] }),
  userLoad: user('load'),
  userStore: user('store'),
};

/** What a task is about to do. */
export function tellOperation(objects: Objects, code: number, a: number, b: number, c: number, d: number): Told {
  const { name } = operations[code];
  const told = TOLD[name];
  if (told) return told(objects, a, b, c, d);
  const args = [a, b, c, d];
  while (args.length > 0 && args[args.length - 1] === 0) args.pop();
  return { operation: linuxName(name), args: args.map(numberText), touches: [] };
}
