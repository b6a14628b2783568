/**
 * A story as rows: what a maintainer would draw of it. Operations that have nothing to do with the violation are left out; what one function does under the
 * same locks, with nothing of another task in between, is one row.
 *
 * Invariant: rows are in the order of time; every mark of the conflict is on exactly one row.
 */
import type { StackFrame, Story, StoryEvent } from '../story.ts';

export interface Row {
  /** `late`: would have come after the violation. `end`: found when all was done, or nobody could go on: no lane's own. */
  readonly kind: 'call' | 'steps' | 'hardware' | 'late' | 'end';
  readonly lane: number;
  /** The function that the operations are in, as Linux spells it. */
  readonly inside: string | null;
  /** `move-page-tables.ts:131` of the first operation. */
  readonly source: string | null;
  /** What happens, one text each. */
  readonly texts: readonly string[];
  /** Locks held afterwards, in the order in which they were taken. */
  readonly held: readonly string[];
  readonly freed: readonly string[];
  /** Whether the task did other things since its last row. */
  readonly skipped: boolean;
  /** What stands before what hardware does, where its text does not tell: `[IPI] `. */
  readonly hidden: string;
  /** Numbers of its events in the story, empty of those that are not in it. */
  readonly events: readonly number[];
  /** Numbers, from 1, of the causes that it is. */
  readonly causes: readonly number[];
  readonly violation: boolean;
}

export interface Rows {
  readonly rows: readonly Row[];
  /** Texts of the causes by number − 1, and the lanes that they are in. */
  readonly causes: readonly { readonly text: string; readonly lane: number }[];
}

/** The same without the row that matters least; undefined when none may go. Calls, the conflict and what comes too late stay. */
export function fewer(story: Story, { rows, causes }: Rows): Rows | undefined {
  const least = rows.reduce((found, row, i) => (isSpare(row) && (found < 0 || value(story, row, i) < value(story, rows[found], found)) ? i : found), -1);
  if (least < 0) return undefined;
  const { lane } = rows[least];
  const next = rows.findIndex((row, i) => i > least && row.lane === lane && row.kind === 'steps');
  return { causes, rows: rows.map((row, i) => (i === next ? { ...row, skipped: true } : row)).filter((_, i) => i !== least) };
}

const isSpare = ({ kind, causes, violation, texts }: Row): boolean =>
  (kind === 'steps' || kind === 'hardware') && causes.length === 0 && !violation && texts.length > 0;

/** What a row is worth: what frees or drops translations most, then changes, then ends of calls; of equals the later. */
function value({ events, violation }: Story, row: Row, at: number): number {
  const of = row.events.map((i) => events[i]);
  const about = violation?.about ?? [];
  const frees = of.some((e) => e.freed.some((name) => about.includes(name)) || e.tlb.some((t) => t.change === 'drop' && about.includes(t.to))) ? 4 : 0;
  const changes = of.some((e) => e.touches.some((t) => t.access === 'write' && about.includes(t.object))) ? 2 : 0;
  const returns = of.some((e) => e.returns !== null) ? 1 : 0;
  return frees + changes + returns + at / 1000;
}

/** Functions that only wrap an operation: whoever calls them is told. */
const WRAPPERS = new Set([
  'add_mm_counter',
  'entry_alloc',
  'entry_pointer',
  'folio_add_rmap',
  'folio_get',
  'folio_mark_accessed',
  'folio_mark_dirty',
  'folio_put',
  'folio_remove_rmap',
  'free_folio',
  'pte_alloc',
  'pte_offset_map',
  'pte_offset_map_lock',
  'pte_set',
  'tlb_flush_tlb',
]);

/** Frames between two functions up to which what they do is told in one row. */
const NEAR = 2;

const inner = (stack: readonly StackFrame[]): number => {
  const at = stack.findIndex(({ linux }) => !WRAPPERS.has(linux));
  return at < 0 ? 0 : at;
};

const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((text, i) => text === b[i]);

/** The innermost function that two events are both in, when it is near to both. */
function common(a: readonly StackFrame[], b: readonly StackFrame[]): string | undefined {
  for (let i = inner(a); i < Math.min(a.length, inner(a) + NEAR + 1); i++) {
    const depth = a.length - i;
    const j = b.length - depth;
    if (j < inner(b) || j > inner(b) + NEAR) continue;
    if (a.slice(i).every((frame, k) => frame.name === b[j + k].name && (k === 0 || frame.line === b[j + k].line))) return a[i].linux;
  }
  return undefined;
}

interface Open {
  row: { -readonly [K in keyof Row]: Row[K] };
  stack: readonly StackFrame[];
}

/** The same without the columns of tasks that do nothing in it. */
export function withoutIdle(story: Story): Story {
  const lanes = story.lanes.flatMap((_, lane) => ([...story.events, ...story.tooLate].some((e) => e.lane === lane) ? [lane] : []));
  if (lanes.length === 0 || lanes.length === story.lanes.length) return story;
  const moved = (event: StoryEvent): StoryEvent => ({ ...event, lane: lanes.indexOf(event.lane) });
  return { ...story, lanes: lanes.map((lane) => story.lanes[lane]), events: story.events.map(moved), tooLate: story.tooLate.map(moved) };
}

/** Rows of the events of at least a weight (default 2). */
export function rowsOf(story: Story, least = 2): Rows {
  const { conflict, events, violation } = story;
  const about = new Set(violation?.about ?? []);
  const causes = conflict.filter((c) => c.role === 'cause');
  // A deadlock is of all tasks, and what is found in the end of none.
  const nobody = violation !== null && (violation.when === 'end' || violation.rule === 'I27');
  const skipped = story.lanes.map(() => false);
  const rows: Open['row'][] = [];
  let open: Open | undefined;
  for (const [i, event] of events.entries()) {
    const numbers = causes.flatMap((c, k) => (c.event === i ? [k + 1] : []));
    const violating = !nobody && violation !== null && !violation.behind && i === events.length - 1;
    if (event.weight < least && numbers.length === 0 && !violating) {
      if (event.kind === 'operation') skipped[event.lane] = true;
      continue;
    }
    if (isPeek(events, i, least)) continue;
    const texts = textsOf(event, about, numbers.length > 0 || violating);
    const inside = open && joins(open, event) ? common(open.stack, event.stack) : undefined;
    if (open && inside !== undefined && !violating) {
      open.row = merge(open.row, { texts, inside, event, number: i, causes: numbers });
      rows[rows.length - 1] = open.row;
      continue;
    }
    const at = inner(event.stack);
    const frame = event.stack.length === 0 ? undefined : event.stack[at];
    const own = event.kind === 'operation' || event.kind === 'interrupt';
    const row: Open['row'] = {
      kind: event.kind === 'begin' ? 'call' : own && event.call !== null ? 'steps' : 'hardware',
      lane: event.lane,
      inside: texts.length > 0 && !/^return/.test(texts[0]) && frame !== undefined && frame.linux !== event.operation ? frame.linux : null,
      source: frame ? `${frame.file.replace(/^.*\//, '')}:${frame.line ?? ''}` : null,
      texts,
      held: event.held,
      freed: event.freed,
      skipped: skipped[event.lane] && event.kind === 'operation',
      hidden: event.kind === 'hardware' && event.tlb.length === 0 ? '[hw] ' : '',
      events: [i],
      causes: numbers,
      violation: violating,
    };
    if (row.kind !== 'hardware') skipped[event.lane] = false;
    rows.push(row);
    open = row.kind === 'steps' && !violating ? { row, stack: event.stack } : undefined;
  }
  const last = events[events.length - 1];
  if (nobody && violation) rows.push({ ...EMPTY, kind: 'end', texts: violation.text.split('\n'), violation: true });
  else if (violation?.behind)
    rows.push({
      ...EMPTY,
      lane: last.lane,
      inside: violation.inside,
      texts: [ofTask(violation.text, story)],
      held: last.held,
      skipped: skipped[last.lane],
      violation: true,
    });
  for (const event of story.tooLate)
    rows.push({ ...EMPTY, kind: 'late', lane: event.lane, inside: event.stack[inner(event.stack)]?.linux ?? null, texts: [event.text], held: event.held });
  return { rows, causes: causes.map(({ text, event }) => ({ text, lane: events[event].lane })) };
}

/** What a message says that a task does, without the task, whose column it stands in, and without what it needs and holds. */
function ofTask(message: string, { lanes }: Story): string {
  const task = lanes.find((lane) => message.startsWith(`${lane.task} `))?.task ?? '';
  return message
    .slice(task.length)
    .trim()
    .split(/ without | while |; /)[0]
    .replace(/,$/, '');
}

const EMPTY: Row = {
  kind: 'steps',
  lane: 0,
  inside: null,
  source: null,
  texts: [],
  held: [],
  freed: [],
  skipped: false,
  hidden: '',
  events: [],
  causes: [],
  violation: false,
};

/** Whether an event goes on with what the row before tells. */
const joins = ({ row }: Open, event: StoryEvent): boolean =>
  event.kind === 'operation' && event.lane === row.lane && same(event.held, row.held) && !row.violation;

function merge(
  row: Open['row'],
  more: { texts: readonly string[]; inside: string; event: StoryEvent; number: number; causes: readonly number[] },
): Open['row'] {
  return {
    ...row,
    inside: more.inside,
    texts: [...row.texts, ...more.texts],
    freed: [...row.freed, ...more.event.freed],
    events: [...row.events, more.number],
    causes: [...row.causes, ...more.causes],
  };
}

/** A read of an entry that the same task changes next of all that is told: the change says what was there. */
function isPeek(events: readonly StoryEvent[], at: number, least: number): boolean {
  const event = events[at];
  const read = event.touches.find((t) => t.access === 'read')?.object;
  if (event.kind !== 'operation' || read === undefined || event.weight === 3) return false;
  const next = events.slice(at + 1).find((e) => e.weight >= least);
  return next?.lane === event.lane && next.kind === 'operation' && next.touches.some((t) => t.object === read && t.access === 'write');
}

function textsOf(event: StoryEvent, about: ReadonlySet<string>, marked: boolean): string[] {
  const texts: string[] = [];
  const told = event.returns === null || event.kind === 'begin' || event.tlb.length > 0 || event.touches.some((t) => about.has(t.object));
  if (told || (marked && event.returns === null)) texts.push(event.text);
  if (event.returns !== null) texts.push(`return ${event.returns}`);
  return texts;
}

// --- words that formats share -----------------------------------------------------------------------------------------------

/** `CPU 0: mremap`. */
export const laneName = ({ cpu, task }: Story['lanes'][number]): string => (cpu < 0 ? task : `CPU ${cpu}: ${task}`);

/** `E28 late, x86-4level: I4: P1 is freed while …`; of a story without a violation its title. */
export const summary = ({ scenario, variant, mode, violation, title }: Story): string =>
  `${scenario} ${variant}, ${mode}: ${violation ? `${violation.rule}: ${violation.text}` : title}`;

/** A row in lines, with its numbers and what is held and freed. */
export function rowText(row: Row): string {
  const numbers = row.causes.map((n) => `(${n}) `).join('');
  const inside = row.inside === null ? '' : `${row.inside}: `;
  const late = row.kind === 'late' ? 'too late: ' : '';
  const held = row.held.length === 0 ? [] : [`[${row.held.join(', ')}]`];
  const freed = row.freed.length === 0 ? [] : [`frees ${row.freed.join(', ')}`];
  return [`${numbers}${row.hidden}${late}${inside}${row.texts.join('\n')}`, ...held, ...freed].join('\n');
}

const ENTRY = /\b(P\d+) ((?:young|dirty|write|exec|read|special|protnone|soft_dirty|uffd_wp|huge)(?:\|[a-z_]+)*)/g;

/** The same with the bits of entries left away where they are those that were told of the page before (but that it is young, which hardware sets as it likes). */
export function shortened({ rows, causes }: Rows): Rows {
  const before = new Map<string, string>();
  const shorten = (what: string): string =>
    what.replace(ENTRY, (all, page: string, bits: string) => {
      const told = bits.replace('young|', '');
      if (before.get(page) === told) return page;
      before.set(page, told);
      return all;
    });
  return { rows: rows.map((row) => ({ ...row, texts: row.texts.map(shorten) })), causes: causes.map((c) => ({ ...c, text: shorten(c.text) })) };
}

/** What the names mean that are said in a text: `P1: page 128, anonymous; T1: …`. */
export function legend({ objects }: Story, said: readonly string[]): string {
  const names = new Set(said.join('\n').match(/\b[A-Za-z_]+\d+\b/g));
  return objects
    .filter((o) => names.has(o.name) && (o.violated || o.kind === 'table' || o.kind === 'vma'))
    .map((o) => `${o.name}: ${o.what}`)
    .join('; ');
}
