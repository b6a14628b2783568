/**
 * Draws folded address spaces as lines: a tree opened as far as a number of rows allows.
 *
 * Invariants: what is not shown is counted in the line that stands for it; lines are cut to the width and not a column beyond; colours come from the
 * caller, so that the text is the same without them.
 */
import type { CompiledMode } from '../pagetable/compile.ts';
import type { PageTables } from '../pagetable/tree.ts';
import { endOf, type Folded, type Node, type Sum } from './fold.ts';
import { addressDigits, grouped, pageBytes, pageHex, plural, sizeOf } from './text.ts';

export type Ink = 'head' | 'name' | 'address' | 'dim' | 'warn' | 'plain';

export interface RenderOptions {
  readonly width: number;
  /** Lines that the tree should fit. */
  readonly rows: number;
  readonly ink: (ink: Ink, text: string) => string;
}

interface Shown {
  readonly node: Node;
  readonly depth: number;
  /** Children that are drawn, -1 for none (the node is closed); of more the first and the last ones. */
  open: number;
  readonly children: Shown[];
}

/** The lines of the given halves. */
export function treeLines(mode: CompiledMode, halves: readonly Folded[], options: RenderOptions): string[] {
  const tops = halves.map((h): Shown => ({ node: wholeOf(h), depth: -1, open: -1, children: [] }));
  openHalves(tops, options.rows);
  const draw = new Drawer(mode, options);
  return halves.flatMap((half, i) => [draw.header(half), ...draw.below(tops[i])]);
}

/** A half as one node: its line is the header. */
const wholeOf = (half: Folded): Node => ({
  vpn: half.regions[0]?.vpn ?? 0,
  pages: 0,
  count: 1,
  stride: 0,
  sums: [],
  runs: 0,
  pfn: undefined,
  children: [...half.regions],
  level: -1,
  index: -1,
  shape: 0,
  areas: 0,
});

/** The first half (the user's, mostly) gets a good share of the rows; what it leaves goes to the rest. */
function openHalves(tops: readonly Shown[], rows: number): void {
  let left = rows;
  tops.forEach((half, i) => {
    const rest = tops.slice(i + 1).reduce((n, t) => n + 1 + t.node.children.length, 0);
    const share = i === tops.length - 1 ? left : Math.max(left * 0.45, left - rest - 12);
    open(half, Math.floor(Math.min(share, Math.max(left - rest, left / 2))));
    left -= linesOf(half);
  });
}

const linesOf = (s: Shown): number => 1 + s.children.reduce((n, c) => n + linesOf(c), 0) + (s.open >= 0 && s.open < s.node.children.length ? 1 : 0);

/** Opens nodes, outermost and smallest first, while the rows last; the remaining rows show the beginning of one more. */
function open(top: Shown, rows: number): void {
  let left = rows - 1;
  const closed = [top];
  while (closed.length > 0) {
    closed.sort((a, b) => a.depth - b.depth || a.node.children.length - b.node.children.length || a.node.vpn - b.node.vpn);
    const at = closed.findIndex((s) => s.node.children.length <= left);
    if (at < 0) break;
    const [next] = closed.splice(at, 1);
    show(next, next.node.children.length);
    left -= next.node.children.length;
    for (const c of next.children) if (worthOpening(c.node)) closed.push(c);
  }
  const [more] = closed;
  if (more !== undefined && (left >= 4 || more === top)) show(more, Math.min(more.node.children.length, Math.max(3, left - 1)));
}

/** A single area below is drawn in its parent's line. */
const worthOpening = (node: Node): boolean => node.children.length > 1 || (node.children.length === 1 && node.children[0].children.length > 0);

function show(s: Shown, n: number): void {
  const { children } = s.node;
  s.open = n;
  const head = headOf(n, children.length);
  for (const node of [...children.slice(0, head), ...children.slice(children.length - (n - head))])
    s.children.push({ node, depth: s.depth + 1, open: -1, children: [] });
}

/** How many of `n` drawn children come from the beginning: both ends of an address space are worth seeing. */
const headOf = (n: number, all: number): number => (n >= all ? n : Math.ceil(n * 0.6));

class Drawer {
  readonly #shift: number;
  readonly #digits: number;
  readonly #levels: readonly string[];
  readonly #options: RenderOptions;

  constructor(mode: CompiledMode, options: RenderOptions) {
    this.#shift = mode.mode.pageShift;
    this.#digits = addressDigits(mode.mode.vaBits);
    this.#levels = mode.levels.map((l) => l.level.name);
    this.#options = options;
  }

  header(half: Folded): string {
    const { ink } = this.#options;
    const sums = sumsText(half.sums, this.#shift);
    return this.#cut([
      ['head', `${half.half} half`],
      ['plain', `  ${sums === '' ? 'nothing is mapped' : sums}`],
    ])
      .map(([i, t]) => ink(i, t))
      .join('');
  }

  /** What is open below a node, with a line for what is not. */
  below(s: Shown): string[] {
    const { children } = s.node;
    const lines = s.children.map((c) => [this.#line(c), ...this.below(c)]);
    if (s.open < 0 || s.open >= children.length) return lines.flat();
    const head = headOf(s.open, children.length);
    const hidden = children.slice(head, children.length - (s.open - head));
    return [...lines.slice(0, head), [this.#more(hidden, s.depth + 1)], ...lines.slice(head)].flat();
  }

  #more(hidden: readonly Node[], depth: number): string {
    const areas = hidden.reduce((n, h) => n + h.areas, 0);
    const pages = hidden.reduce((n, h) => n + h.sums.reduce((m, x) => m + x.pages, 0), 0);
    const text = `… ${plural(areas, 'more area')}, ${sizeOf(pageBytes(pages, this.#shift))} (--full shows all)`;
    return this.#paint([
      ['plain', this.#indent(depth)],
      ['dim', text],
    ]);
  }

  /** Deeper levels do not move further to the right: addresses stay readable at 80 columns. */
  #indent(depth: number): string {
    return ' '.repeat(1 + Math.min(depth, 3));
  }

  #line(s: Shown): string {
    const { node } = s;
    const only = node.children.length === 1 && node.children[0].children.length === 0 ? node.children[0] : node;
    const indent = this.#indent(s.depth);
    const start = pageHex(node.vpn, this.#shift).padStart(this.#digits, '0');
    const last = pageHex(endOf(node), this.#shift);
    const end = last.length > this.#digits ? 'f'.repeat(this.#digits) : last.padStart(this.#digits, '0');
    const pages = only.sums.reduce((n, x) => n + x.pages, 0);
    const size = sizeOf(pageBytes(pages, this.#shift)).padStart(6);
    const gap = ' '.repeat(Math.max(1, 5 - indent.length));
    const label: [Ink, string][] = node.name
      ? [
          ['name', `${node.name}${node.guessed ? '?' : ''}`],
          ['plain', '  '],
        ]
      : [];
    return this.#paint([
      ['plain', indent],
      ['address', `${start}-${end}`],
      ['plain', `${gap}${size} `],
      ...label,
      ...this.#text(only, node.name !== undefined),
    ]);
  }

  #text(node: Node, region: boolean): [Ink, string][] {
    const every = node.count > 1 ? `, ×${grouped(node.count)} every ${sizeOf(node.stride * 2 ** this.#shift)}` : '';
    if (node.children.length === 0) {
      const text = node.sums.map((x) => this.#kindText(x)).join(' + ');
      const where = node.pfn === undefined ? '' : node.runs > 1 ? `${grouped(node.runs)} pieces` : `at ${pageHex(node.pfn, this.#shift)}`;
      const odd = node.sums.some((x) => x.kind.what !== 'leaf' || /^.wx/.test(x.kind.rights));
      return [
        [odd ? 'warn' : 'plain', text],
        ['dim', where === '' ? '' : `  ${where}`],
        ['dim', every],
      ];
    }
    const at = node.level >= 0 && !region ? `${this.#levels[node.level]}[${node.index}] ` : '';
    return [
      ['dim', `${at}${plural(node.areas, 'area')}${every}: `],
      ['plain', sumsText(node.sums, this.#shift)],
    ];
  }

  #kindText(x: Sum): string {
    const page = sizeOf(x.kind.leafPages * 2 ** this.#shift).padStart(4);
    if (x.kind.what === 'leaf') return `${page} ${x.kind.rights}${x.kind.contig > 1 ? ` contig ${x.kind.contig}` : ''}`;
    return x.kind.rights === '' ? `${page} ${x.kind.what}` : `${page} ${x.kind.rights} ${x.kind.what}`;
  }

  #paint(parts: readonly [Ink, string][]): string {
    return this.#cut(parts)
      .map(([ink, text]) => (text === '' ? '' : this.#options.ink(ink, text)))
      .join('')
      .trimEnd();
  }

  /** Cuts to the width, with an ellipsis where something is lost. */
  #cut(parts: readonly [Ink, string][]): [Ink, string][] {
    const total = parts.reduce((n, [, t]) => n + t.length, 0);
    if (total <= this.#options.width) return [...parts];
    const out: [Ink, string][] = [];
    let room = this.#options.width - 1;
    for (const [ink, text] of parts) {
      if (text.length <= room) out.push([ink, text]);
      else {
        out.push([ink, `${text.slice(0, room)}…`]);
        break;
      }
      room -= text.length;
    }
    return out;
  }
}

/** `2.6G 4K rw-u, 380K 4K r-xu`: largest first. */
export function sumsText(sums: readonly Sum[], pageShift: number): string {
  return [...sums]
    .sort((a, b) => b.pages - a.pages)
    .map(
      ({ kind, pages }) =>
        `${sizeOf(pageBytes(pages, pageShift))} ${kind.rights}${kind.what === 'leaf' ? '' : `${kind.rights ? ' ' : ''}${kind.what}`}${kind.rights === '' ? '' : `/${sizeOf(kind.leafPages * 2 ** pageShift)}`}`,
    )
    .join(', ');
}

/** Leaves by size for each half, what is not present, and tables by level. */
export function totalLines(tables: readonly PageTables[], halves: readonly Folded[]): [string, string][] {
  const lines: [string, string][] = [];
  for (const half of halves) {
    const shift = tables[0].mode.mode.pageShift;
    const bySize = new Map<number, number>();
    const others = new Map<string, number>();
    for (const { kind, pages } of half.sums) {
      if (kind.rights === '') others.set(kind.what, (others.get(kind.what) ?? 0) + pages / kind.leafPages);
      else bySize.set(kind.leafPages, (bySize.get(kind.leafPages) ?? 0) + pages);
    }
    const sizes = [...bySize].sort((a, b) => a[0] - b[0]).map(([leaf, pages]) => `${grouped(pages / leaf)} × ${sizeOf(leaf * 2 ** shift)}`);
    const mapped = [...bySize.values()].reduce((a, b) => a + b, 0);
    const more = [...others].map(([what, n]) => `${grouped(n)} ${what}`);
    lines.push([half.half, [sizes.length > 0 ? `${sizeOf(pageBytes(mapped, shift))} in ${sizes.join(' + ')}` : 'nothing', ...more].join(', ')]);
    if (half.missing > 0) lines.push(['', `${plural(half.missing, 'table or part of one lies', 'tables or parts of them lie')} outside the image`]);
  }
  lines.push(['tables', tableCounts(tables)]);
  return lines;
}

function tableCounts(tables: readonly PageTables[]): string {
  const seen = new Set<string>();
  const byLevel = new Map<number, number>();
  for (const t of tables) {
    for (const node of t.nodes) {
      const key = `${node.frame}.${node.offset}.${node.level}`;
      if (seen.has(key)) continue;
      seen.add(key);
      byLevel.set(node.level, (byLevel.get(node.level) ?? 0) + 1);
    }
  }
  const { levels } = tables[0].mode;
  return `${grouped(seen.size)}: ${[...byLevel]
    .sort((a, b) => a[0] - b[0])
    .map(([level, n]) => `${grouped(n)} ${levels[level].level.name}`)
    .join(', ')}`;
}
