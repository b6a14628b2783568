/**
 * Snapshots for people: what changed from one to the next, and a whole state. Works on the notation of traces, so it shows a recording and
 * a machine alike. A page is one letter (`LEGEND`).
 *
 * Invariants: no line is wider than asked for; widths count characters without the paint.
 */
import { emptySnapshot, type ProcessSnapshot, type Snapshot, sameFile } from './delta.ts';
import { type PageRun, parseLine, printRuns, type VmaLine } from './line.ts';

export type Style = 'red' | 'green' | 'yellow' | 'cyan' | 'dim' | 'bold';

export interface DrawOptions {
  readonly width: number;
  /** Colours a text. */
  readonly paint?: (style: Style, text: string) => string;
}

const PAGE_BYTES = 4096;

/** What the letters mean, for help and docs. */
export const LEGEND: readonly string[] = [
  '.  nothing mapped',
  'z  the zero page (Z: the huge one)',
  'A  anonymous, exclusive to this process',
  'a  anonymous, not (any more) known to be exclusive',
  '2  anonymous, mapped twice (up to 9, then +)',
  'l  anonymous and lazily freed (MADV_FREE)',
  'K  merged by KSM',
  'f  file or shared memory, clean (F: dirty)',
  'T  part of a large anonymous folio (t: of a file)',
  'H  hugetlb, anonymous (h: of a file)',
  'S  in swap',
  'g  guard region, p poison marker, u uffd-wp marker',
];

/** The letter of a token. */
export function letterOf(token: string): string {
  const kind = token[0];
  if (kind !== 'a' && kind !== 'f') return kind;
  const anon = kind === 'a';
  if (token[1] === 'H') return anon ? 'H' : 'h';
  if (/^.o\d/.test(token)) return anon ? 'T' : 't';
  const flags = token.slice(1).replace(/^m\d+/, '');
  if (flags.includes('K')) return 'K';
  if (!anon) return flags.includes('d') ? 'F' : 'f';
  if (flags.includes('l')) return 'l';
  const times = /^am(\d+)/.exec(token);
  if (times) return Number(times[1]) > 9 ? '+' : times[1];
  return flags.includes('X') ? 'A' : 'a';
}

/** Pages of a line, one token each. VMAs can be huge: only as many as a picture may need. */
const MOST_PAGES = 1 << 16;

class Tokens {
  readonly #line: VmaLine;
  readonly #starts: number[] = [];

  constructor(line: VmaLine) {
    this.#line = line;
    let at = line.start;
    for (const run of line.runs) {
      this.#starts.push(at);
      at += run.count;
    }
  }

  /** Token of a page of the VMA. */
  at(vpn: number): string {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#starts[middle] <= vpn) low = middle;
      else high = middle - 1;
    }
    return this.#line.runs[low]?.token ?? '.';
  }

  /** Where runs begin, and the end: what is equal between two of them need not be looked at page by page. */
  get edges(): readonly number[] {
    return [...this.#starts, this.#line.end];
  }
}

/** A process's pages before an operation, wherever they were. */
class OldPages {
  readonly #lines: VmaLine[];
  readonly #tokens = new Map<VmaLine, Tokens>();

  constructor(lines: readonly VmaLine[]) {
    this.#lines = [...lines].sort((a, b) => a.start - b.start);
  }

  #lineAt(vpn: number): VmaLine | undefined {
    return this.#lines.find((line) => line.start <= vpn && vpn < line.end);
  }

  /** Token of a page; undefined where there was no VMA. */
  at(vpn: number): string | undefined {
    const line = this.#lineAt(vpn);
    if (line === undefined) return undefined;
    let tokens = this.#tokens.get(line);
    if (tokens === undefined) {
      tokens = new Tokens(line);
      this.#tokens.set(line, tokens);
    }
    return tokens.at(vpn);
  }

  edges(from: number, to: number): number[] {
    return this.#lines.filter((line) => line.start < to && line.end > from).flatMap((line) => [line.start, ...new Tokens(line).edges]);
  }
}

/** Runs of pages whose token changed. */
interface Span {
  readonly start: number;
  readonly pages: number;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** Spans of a line in which pages are not what they were; pages that are new count when they are not empty. */
function spansOf(old: OldPages, line: VmaLine): Span[] {
  const tokens = new Tokens(line);
  const edges = [...new Set([...tokens.edges, ...old.edges(line.start, line.end)])].filter((e) => e >= line.start && e < line.end).sort((a, b) => a - b);
  const spans: { start: number; pages: number; before: string[]; after: string[] }[] = [];
  for (const [i, edge] of edges.entries()) {
    const end = edges[i + 1] ?? line.end;
    const [before, after] = [old.at(edge) ?? '.', tokens.at(edge)];
    if (before === after) continue;
    const last = spans[spans.length - 1];
    const pages = Math.min(end - edge, MOST_PAGES);
    const texts = (token: string): string[] => new Array<string>(pages).fill(token);
    if (last !== undefined && last.start + last.pages === edge) {
      last.pages += pages;
      last.before.push(...texts(before));
      last.after.push(...texts(after));
    } else spans.push({ start: edge, pages, before: texts(before), after: texts(after) });
  }
  return spans;
}

/** Letters where they tell the change and fit, else counted tokens. */
function picture(tokens: readonly string[], asTokens: boolean, room: number): string {
  if (!asTokens && tokens.length <= room) return tokens.map(letterOf).join('');
  const runs: PageRun[] = [];
  for (const token of tokens) {
    const last = runs[runs.length - 1];
    if (last?.token === token) runs[runs.length - 1] = { ...last, count: last.count + 1 };
    else runs.push({ count: 1, token, index: 0 });
  }
  return cut(printRuns(runs), room);
}

const cut = (text: string, width: number): string => (text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`);

const hexPage = (vpn: number): string => (vpn * PAGE_BYTES).toString(16);

/** `16K`. */
export function sizeOfPages(pages: number): string {
  let [n, unit] = [pages * 4, 0];
  while (unit < 3 && n >= 1024 && n % 1024 === 0) {
    n /= 1024;
    unit++;
  }
  return `${n}${['K', 'M', 'G', 'T'][unit]}`;
}

const heading = (line: VmaLine): string => {
  const offset = line.offsetBytes === 0 ? '' : ` +0x${line.offsetBytes.toString(16)}`;
  return `${hexPage(line.start)}-${hexPage(line.end)} ${line.perms} ${sizeOfPages(line.end - line.start)} ${line.name}${offset}`;
};

/** Lines that tell what changed; none when nothing did. */
export function changeLines(before: Snapshot, after: Snapshot, options: DrawOptions): string[] {
  const paint = options.paint ?? ((_, text): string => text);
  const out: string[] = [];
  const numbers = [...new Set([...before.processes.keys(), ...after.processes.keys()])].sort((a, b) => a - b);
  const several = numbers.length > 1;
  for (const number of numbers) {
    const [old, now] = [before.processes.get(number), after.processes.get(number)];
    if (now === undefined) {
      out.push(paint('red', `  P${number} is gone`));
      continue;
    }
    const lines = processChanges(old, now, { ...options, paint });
    // The process that is there from the start is no news.
    if (old === undefined && before.processes.size > 0) out.push(paint('green', `  P${number} is new`));
    else if (lines.length > 0 && several) out.push(paint('bold', `  P${number}`));
    out.push(...lines);
  }
  for (const [name, file] of after.files) {
    const old = before.files.get(name);
    if (sameFile(old, file)) continue;
    const part = (key: 'size' | 'pages'): string | undefined => {
      const [a, b] = [old?.[key], file[key]];
      return a === b || b === undefined ? undefined : a === undefined ? `${key} ${b}` : `${key} ${a} → ${b}`;
    };
    out.push(`  ${paint('cyan', name)} ${[part('size'), part('pages')].filter((x) => x !== undefined).join(', ')}`);
  }
  for (const [name, value] of after.sys) {
    const old = before.sys.get(name);
    if (old !== value) out.push(`  ${name} ${old === undefined ? '' : `${old} → `}${value}`);
  }
  return out;
}

type Painted = DrawOptions & { readonly paint: (style: Style, text: string) => string };

function processChanges(old: ProcessSnapshot | undefined, now: ProcessSnapshot, options: Painted): string[] {
  const { paint, width } = options;
  const out: [start: number, lines: string[]][] = [];
  const before = new Map([...(old?.lines ?? [])].map(([key, text]) => [key, text]));
  const oldPages = new OldPages([...before.values()].map(parseLine));
  for (const [key, text] of before) {
    if (now.lines.has(key)) continue;
    const line = parseLine(text);
    out.push([line.start, [paint('red', cut(`  - ${heading(line)}`, width))]]);
  }
  for (const [key, text] of now.lines) {
    const was = before.get(key);
    if (was === text) continue;
    const line = parseLine(text);
    const lines = was === undefined ? newLines(line, oldPages, options) : changedLines(parseLine(was), line, oldPages, options);
    out.push([line.start, lines]);
  }
  // A VMA that is gone stands before the one that takes its place.
  const vmas = out.map(([start, lines], i) => ({ start, lines, i })).sort((a, b) => a.start - b.start || a.i - b.i);
  return [...vmas.flatMap(({ lines }) => lines), ...counterLines(old, now, options)];
}

function newLines(line: VmaLine, old: OldPages, options: Painted): string[] {
  const { paint, width } = options;
  const flags = line.letters.join(' ');
  const head = cut(`  + ${heading(line)}  ${flags}`, width);
  return [paint('green', head), ...spanLines(spansOf(old, line), options)];
}

function changedLines(was: VmaLine, line: VmaLine, old: OldPages, options: Painted): string[] {
  const { paint, width } = options;
  const notes: string[] = [];
  if (was.perms !== line.perms) notes.push(`${was.perms} → ${line.perms}`);
  if (was.name !== line.name) notes.push(`${was.name} → ${line.name}`);
  if (was.offsetBytes !== line.offsetBytes) notes.push(`offset 0x${was.offsetBytes.toString(16)} → 0x${line.offsetBytes.toString(16)}`);
  const gained = line.letters.filter((x) => !was.letters.includes(x));
  const lost = was.letters.filter((x) => !line.letters.includes(x));
  if (gained.length + lost.length > 0) notes.push(`flags ${[...gained.map((x) => `+${x}`), ...lost.map((x) => `-${x}`)].join(' ')}`);
  const head = cut(`  ~ ${heading(line)}${notes.length > 0 ? `  ${notes.join(', ')}` : ''}`, width);
  const spans = spansOf(old, line);
  const shifts = numberShifts(was, line);
  const rest = shifts === '' ? [] : [paint('dim', cut(`      ${shifts}`, width))];
  const sharing = spans.length === 0 && printRuns(was.runs) !== printRuns(line.runs) ? [cut(`      pages ${printRuns(line.runs)}`, width)] : [];
  return [paint('yellow', head), ...spanLines(spans, options), ...sharing, ...rest];
}

/** `rss +8, an +8` in kB. */
function numberShifts(was: VmaLine, line: VmaLine): string {
  const [a, b] = [new Map(was.numbers), new Map(line.numbers)];
  const parts: string[] = [];
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const shift = (b.get(key) ?? 0) - (a.get(key) ?? 0);
    if (shift !== 0) parts.push(`${key} ${shift > 0 ? '+' : ''}${shift}`);
  }
  return parts.length === 0 ? '' : `${parts.join(', ')} kB`;
}

const MOST_SPANS = 12;

function spanLines(spans: readonly Span[], options: Painted): string[] {
  const { paint, width } = options;
  const out: string[] = [];
  for (const { start, pages, before, after } of spans.slice(0, MOST_SPANS)) {
    const same = before.every((token, i) => letterOf(token) === letterOf(after[i]));
    const place = `      ${hexPage(start)}: `;
    const more = pages > before.length ? ` (first of ${pages} pages)` : '';
    const room = width - place.length - more.length;
    // Both sides in one line where they fit, else one below the other.
    const blank = before.every((token) => token === '.');
    const half = Math.max(4, Math.floor((room - 3) / 2));
    const [left, right] = [picture(before, same, half), picture(after, same, half)];
    if (blank && after.length <= room) out.push(`${place}${paint('green', picture(after, false, room))}${more}`);
    else if (before.length <= half && !left.endsWith('…') && !right.endsWith('…')) out.push(`${place}${left} → ${paint('green', right)}${more}`);
    else {
      if (!blank) out.push(`${place}${picture(before, same, room)}${more}`);
      out.push(`${blank ? place : ' '.repeat(place.length - 2)}${blank ? '' : '→ '}${paint('green', picture(after, same, room))}${blank ? more : ''}`);
    }
  }
  if (spans.length > MOST_SPANS) out.push(`      … and ${spans.length - MOST_SPANS} more places`);
  return out;
}

/** Counters of a process that changed, page tables last and in words. */
function counterLines(old: ProcessSnapshot | undefined, now: ProcessSnapshot, options: Painted): string[] {
  const { paint, width } = options;
  const parts: string[] = [];
  for (const [key, value] of Object.entries(now.status)) {
    const was = old?.status[key] ?? 0;
    if (was !== value && key !== 'VmPTE') parts.push(`${key} ${was} → ${value}`);
  }
  const out = wrapParts(parts, width - 4).map((line) => paint('dim', `    ${line}`));
  const tables = ((now.status.VmPTE ?? 0) - (old?.status.VmPTE ?? 0)) / 4;
  if (tables !== 0) {
    const pages = `${Math.abs(tables)} page-table ${Math.abs(tables) === 1 ? 'page' : 'pages'}`;
    out.push(`    ${paint(tables > 0 ? 'green' : 'red', `${pages} ${tables > 0 ? 'made' : 'freed'}`)} (VmPTE ${now.status.VmPTE})`);
  }
  return out;
}

/** Joins parts by commas into lines of at most `width`. */
function wrapParts(parts: readonly string[], width: number): string[] {
  const lines: string[] = [];
  for (const part of parts) {
    const last = lines[lines.length - 1];
    if (last !== undefined && last.length + 2 + part.length <= width) lines[lines.length - 1] = `${last}, ${part}`;
    else lines.push(part);
  }
  return lines;
}

/** A whole state: every process, its counters, its VMAs with all their pages. */
export function stateLines(state: Snapshot, options: DrawOptions): string[] {
  const { width } = options;
  const paint = options.paint ?? ((_, text): string => text);
  const out: string[] = [];
  for (const [number, { lines, status }] of [...state.processes].sort((a, b) => a[0] - b[0])) {
    const counters = Object.entries(status)
      .filter(([, value]) => value !== 0)
      .map(([key, value]) => `${key} ${value}`);
    out.push(paint('bold', `P${number}`));
    out.push(...wrapParts(counters, width - 2).map((line) => `  ${line}`));
    for (const line of [...lines.values()].map(parseLine).sort((a, b) => a.start - b.start)) out.push(...vmaLines(line, { ...options, paint }));
  }
  for (const [name, { size, pages }] of state.files) out.push(`${paint('cyan', name)}  size ${size}${pages === undefined ? '' : `, pages ${pages}`}`);
  for (const [name, value] of state.sys) out.push(`${name} ${value}`);
  return out.length > 0 ? out : changeLines(emptySnapshot(), state, options);
}

function vmaLines(line: VmaLine, options: Painted): string[] {
  const { paint, width } = options;
  const numbers = line.numbers.map(([key, value]) => `${key} ${value}`);
  const head = cut(`  ${heading(line)}  ${line.letters.join(' ')}`, width);
  return [paint('yellow', head), ...wrapParts(numbers, width - 6).map((text) => paint('dim', `      ${text}`)), ...mapLines(line, width)];
}

const MOST_ROWS = 32;

/** Rows of letters, each with its address; rows alike are told once. */
function mapLines(line: VmaLine, width: number): string[] {
  const tokens = new Tokens(line);
  const place = (vpn: number): string => `      ${hexPage(vpn)}: `;
  const room = width - place(line.end).length;
  const perRow = room >= 128 ? 128 : room >= 64 ? 64 : 32;
  const pages = line.end - line.start;
  if (pages > MOST_ROWS * perRow) return [cut(`      ${printRuns(line.runs)}`, width)];
  const out: string[] = [];
  let last = '';
  let again = 0;
  const repeat = (): void => {
    if (again > 0) out.push(`      … ${again} ${again === 1 ? 'row' : 'rows'} like it`);
    again = 0;
  };
  for (let vpn = line.start; vpn < line.end; vpn += perRow) {
    const row = Array.from({ length: Math.min(perRow, line.end - vpn) }, (_, i) => letterOf(tokens.at(vpn + i))).join('');
    if (row === last) {
      again++;
      continue;
    }
    repeat();
    out.push(`${place(vpn)}${row}`);
    last = row;
  }
  repeat();
  return out;
}
