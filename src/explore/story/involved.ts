/**
 * What a violation is about: the objects that its message names, what leads to them, and which events made it so.
 *
 * Messages of rules name places by numbers (`page 128`, `vpn 0x10000 of mm 1499`, `mm.mmapLock of 1499`). Those are the objects of the violation, with the
 * entries that led to a page of theirs. Where nothing is named (a check of a scenario's own), they are what one task wrote and another touched.
 */
import { HELD_FOLIO, HELD_SPIN } from '../../kernel/lockdep.ts';
import { heap } from '../../memory/state.ts';
import { layouts } from '../../memory/struct.ts';
import { said, saidIfMany } from './objects.ts';
import type { RawEvent, Replay } from './replay.ts';
import { address, linuxName } from './words.ts';

export interface Involved {
  /** Keys of the objects of the violation. */
  readonly keys: ReadonlySet<string>;
  /** Those that the message itself is about, in its order. */
  readonly first: readonly string[];
  /** The message with keys in place of numbers. */
  readonly text: string;
  /** A translation that should not be there any longer. */
  readonly stale: { readonly cpu: number; readonly mm: number; readonly vpn: number } | undefined;
}

const hex = (digits: string): number => Number.parseInt(digits, 16);

const isMm = (ref: number): boolean => layouts[Math.abs(heap[ref])]?.name === 'mm';

/** A line of a message without the rule, which stands before it once or twice. */
function withoutRule(line: string, rule: string): string {
  let rest = line;
  while (rest.startsWith(`${rule}: `)) rest = rest.slice(rule.length + 2);
  return rest;
}

/** Reads a message of a rule. */
export function involvedIn(replay: Replay): Involved {
  const { objects, fault } = replay;
  const message = fault?.message ?? '';
  const first: string[] = [];
  const note = (key: string): string => {
    if (!first.includes(key)) first.push(key);
    return key;
  };
  const cpu = /\bCPU (\d+)/.exec(message);
  const vpn = /\bvpn 0x([0-9a-f]+)/.exec(message);
  const of = /\bvpn 0x[0-9a-f]+ of mm (\d+)/.exec(message);
  let stale: Involved['stale'];
  if (vpn) {
    const number = hex(vpn[1]);
    const held = fault?.held.find((t) => t.vpn === number && (!cpu || t.cpu === Number(cpu[1])) && (!of || t.mm === Number(of[1])));
    const mm = of ? Number(of[1]) : (held?.mm ?? 0);
    if (held?.page) note(objects.page(held.page));
    else if (held?.table) note(objects.table(held.table));
    const entry = mm === 0 ? undefined : objects.entryOf(mm, number);
    if (entry !== undefined) note(entry);
    if (held) stale = { cpu: held.cpu, mm, vpn: number };
  }
  const field = (struct: string, name: string, ref: number): string => {
    const layout = layouts.find((l) => l.name === struct);
    const found = layout?.fields.get(name);
    if (!found || Math.abs(heap[ref]) !== layout?.type) return `${struct}.${name} of ${ref}`;
    const key = objects.object(ref);
    if (found.kind === 'lock' || objects.known.has(`lock:${ref + found.offset}`)) {
      const lock = objects.lock(ref + found.offset, HELD_SPIN);
      note(lock.key);
      return lock.text;
    }
    if (struct !== 'mm') note(key);
    note(objects.fieldKey(ref, found.offset));
    return objects.field(ref, found.offset);
  };
  const struct = (prefix: string, all: string, ref: number): string =>
    layouts[Math.abs(heap[ref])] !== undefined && linuxName(layouts[Math.abs(heap[ref])].name) === prefix ? said(note(objects.object(ref))) : all;
  let text = message
    .split('\n')
    .map((line) => withoutRule(line, fault?.rule ?? ''))
    .join('\n')
    .replace(/the lock of page table (\d+)/g, (_, n: string) => {
      const { key, text: name } = objects.lock(-Number(n), HELD_SPIN);
      note(key);
      return name;
    })
    .replace(/\b(?:page table|the table) (\d+)/g, (_, n: string) => `page table ${said(note(objects.table(Number(n))))}`)
    .replace(/\bfolio (\d+)/g, (_, n: string) => `folio ${said(note(objects.lock(Number(n), HELD_FOLIO).key))}`)
    .replace(/\bpage (\d+)\b/g, (_, n: string) => said(note(objects.pageOrTable(Number(n)))))
    .replace(/\bvma of (\d+)/g, (all, ref: string) => struct('vma', all, Number(ref)))
    .replace(/\b([a-zA-Z]+)\.([a-zA-Z]+)(?:\[\d+\])? of (\d+)/g, (_, owner: string, name: string, ref: string) => field(owner, name, Number(ref)))
    .replace(/\bVMA (\d+)/g, (all, ref: string) => struct('vma', all, Number(ref)))
    .replace(/\b(inode|anon_vma|file|process|avc) (\d+)/g, (all, name: string, ref: string) => struct(name, all, Number(ref)))
    .replace(/ of mm (\d+)/g, (all, ref: string) => (isMm(Number(ref)) ? saidIfMany(objects.object(Number(ref)), ' of ', '') : all))
    .replace(/\bmm (\d+)/g, (all, ref: string) => (isMm(Number(ref)) ? said(objects.object(Number(ref))) : all))
    .replace(/\bvpn 0x([0-9a-f]+)/g, (_, digits: string) => address(hex(digits)))
    .replace(/\btask (\d+)/g, (all, n: string) => replay.staged.names[Number(n)] ?? all);
  for (const [name, call] of replay.callNames) text = text.replaceAll(name, call);
  const keys = new Set(first);
  if (keys.size > 0) for (const key of leadingTo(replay.events, keys)) keys.add(key);
  else for (const key of contended(replay.events)) keys.add(key);
  return { keys, first, text, stale };
}

/** Entries whose value led to one of the pages or tables. */
function leadingTo(events: readonly RawEvent[], keys: ReadonlySet<string>): string[] {
  const found: string[] = [];
  for (const { touches } of events)
    if (touches.some((t) => t.access === 'call' && keys.has(t.object))) for (const t of touches) if (t.object.startsWith('entry:')) found.push(t.object);
  return found;
}

/** What one task wrote and another read or wrote: entries, pages, fields of VMAs and files; where there are none of these, any other. */
function contended(events: readonly RawEvent[]): string[] {
  const writers = new Map<string, Set<number>>();
  const users = new Map<string, Set<number>>();
  const add = (to: Map<string, Set<number>>, key: string, lane: number): void => {
    to.set(key, (to.get(key) ?? new Set()).add(lane));
  };
  for (const { lane, operation, touches } of events)
    for (const { object, access } of touches) {
      if (!/^(entry|page|field):/.test(object) || access === 'call' || (object.startsWith('page:') && isCount(operation))) continue;
      add(users, object, lane);
      if (access !== 'read') add(writers, object, lane);
    }
  const found = [...writers.keys()].filter((key) => (users.get(key) as Set<number>).size > 1);
  const near = found.filter((key) => !key.startsWith('field:'));
  return near.length > 0 ? near : found;
}

// --- events -----------------------------------------------------------------------------------------------------------------

export interface Cause {
  readonly event: number;
  readonly role: 'cause' | 'violation';
  readonly text: string;
}

const changes = (access: string): boolean => access === 'write' || access === 'free';

/** The events that make the conflict: what made the state that the violation runs into, and where it does. */
export function conflictOf(replay: Replay, involved: Involved): Cause[] {
  const { events, fault } = replay;
  if (!fault || events.length === 0) return [];
  const last = events.length - 1;
  const found: Cause[] = [];
  const { stale } = involved;
  if (stale) {
    const at = events.findLastIndex(({ tlb }) =>
      tlb.some(({ change, of }) => change === 'fill' && of.cpu === stale.cpu && of.mm === stale.mm && of.vpn === stale.vpn),
    );
    const held = fault.held.find((t) => t.cpu === stale.cpu && t.mm === stale.mm && t.vpn === stale.vpn);
    if (at >= 0 && held) found.push({ event: at, role: 'cause', text: `CPU ${stale.cpu} TLB: ${replay.translationText(held)}` });
  }
  if (found.length === 0) found.push(...lockCauses(replay, involved));
  if (found.length === 0) found.push(...(fault.when === 'end' ? lastMeeting(events, involved.keys) : lastChange(events, involved.keys)));
  found.push({ event: last, role: 'violation', text: involved.text });
  return found;
}

const told = (events: readonly RawEvent[], at: number): Cause => ({ event: at, role: 'cause', text: events[at].text });

/** What another task did last to the objects of the violation. */
function lastChange(events: readonly RawEvent[], keys: ReadonlySet<string>): Cause[] {
  const last = events.length - 1;
  const { lane } = events[last];
  const at = events.findLastIndex((e, i) => i < last && e.lane !== lane && e.touches.some((t) => changes(t.access) && keys.has(t.object)));
  return at < 0 ? [] : [told(events, at)];
}

/** The last time that a task ran into what another had done: both events. */
function lastMeeting(events: readonly RawEvent[], keys: ReadonlySet<string>): Cause[] {
  const writer = new Map<string, number>();
  let found: [number, number] | undefined;
  for (const [i, { lane, operation, touches }] of events.entries())
    for (const { object, access } of touches) {
      if (!keys.has(object) || access === 'call' || isCount(operation)) continue;
      const before = writer.get(object);
      if (before !== undefined && events[before].lane !== lane) found = [before, i];
      if (changes(access)) writer.set(object, i);
    }
  return found ? found.map((at) => told(events, at)) : [];
}

/** Of a deadlock: where the locks that are waited for were taken. */
function lockCauses({ events, fault }: Replay, { first }: Involved): Cause[] {
  if (fault?.rule !== 'I27' && fault?.rule !== 'I22') return [];
  const found: Cause[] = [];
  for (const key of first) {
    const at = events.findLastIndex(({ touches }) => touches.some((t) => t.object === key && t.access === 'lock'));
    const given = events.findLastIndex(({ touches }) => touches.some((t) => t.object === key && t.access === 'unlock'));
    if (at > given && !found.some((c) => c.event === at)) found.push({ event: at, role: 'cause', text: events[at].text });
  }
  return found.sort((a, b) => a.event - b.event);
}

/** How much an event has to do with the violation. */
export function weights(replay: Replay, involved: Involved, conflict: readonly Cause[]): (0 | 1 | 2 | 3)[] {
  const { events, fault } = replay;
  const { keys, stale } = involved;
  const lastWriter = new Map<string, number>();
  const found = events.map((event, i): 0 | 1 | 2 | 3 => {
    const mine = event.touches.filter((t) => keys.has(t.object));
    const seesOther = mine.some((t) => t.object.startsWith('entry:') && (lastWriter.get(t.object) ?? event.lane) !== event.lane);
    for (const t of mine) if (changes(t.access)) lastWriter.set(t.object, event.lane);
    if (conflict.some((c) => c.event === i && (c.role === 'cause' || fault?.behind !== true))) return 3;
    if (event.kind === 'begin' || event.returns !== null || seesOther) return 2;
    if (mine.some((t) => changes(t.access) && (!t.object.startsWith('page:') || !isCount(event.operation)))) return 2;
    if (mine.some((t) => (t.access === 'lock' || t.access === 'unlock') && t.object.startsWith('lock:'))) return 2;
    if (event.tlb.some(({ of }) => (stale ? of.mm === stale.mm && of.vpn === stale.vpn : keys.has(`page:${of.page}`) || translates(of, replay, keys))))
      return 2;
    if (event.span && spans(event.span, replay, keys)) return 2;
    return mine.length > 0 ? 1 : 0;
  });
  return found;
}

/** Operations that only count. */
const isCount = (operation: string | null): boolean =>
  operation !== null && /^(folio_(get|put|ref_add|try_get|add_rmap|remove_rmap|set_|clear_)|atomic_)/.test(operation);

/** Whether a translation was made of an entry of the violation. */
const translates = ({ mm, vpn }: { readonly mm: number; readonly vpn: number }, replay: Replay, keys: ReadonlySet<string>): boolean =>
  spans({ mm, start: vpn, end: vpn + 1 }, replay, keys);

/** Whether pages are among those whose entries are of the violation. */
function spans({ mm, start, end }: { mm: number; start: number; end: number }, { objects }: Replay, keys: ReadonlySet<string>): boolean {
  for (const key of keys) {
    const vpn = key.startsWith('entry:') ? objects.vpnOf(key, mm) : undefined;
    if (vpn !== undefined && vpn >= start && vpn < end) return true;
  }
  return false;
}
