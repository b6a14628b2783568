/** How a range is cropped and iterated, both foldings side by side, as text and JSON. */
import { beside, counted, cut, hexPage, padded, thousands, wrapped } from './draw-text.ts';
import { type Convention, checkTrace, flattened, type Geometry, type RangeStep, type RangeTrace } from './walk-range.ts';

const TITLES: Readonly<Record<Convention, string>> = {
  top: 'top-level folding: the highest name of a shared table iterates',
  middle: 'middle-level folding: the lowest name of a shared table iterates',
  none: 'no name iterates',
};

/** Sisters shown at either end of a long loop. */
const SHOWN = 2;

/** Both traces of one range. */
export function rangeText(
  geometry: Geometry,
  top: RangeTrace,
  middle: RangeTrace,
  pageShift: number,
  width: number,
  tableName: (table: number) => string,
): string[] {
  const lines = [...foldText(geometry, width), ''];
  // Two columns where both fit; the one after the other elsewhere.
  const columns = width >= 120 ? 2 : 1;
  const own = columns === 2 ? Math.floor((width - 3) / 2) : width;
  const left = traceText(geometry, top, pageShift, own, tableName);
  const right = traceText(geometry, middle, pageShift, own, tableName);
  lines.push(...(columns === 2 ? beside(left, right, own, ' │ ') : [...left, '', ...right]), '');
  return [...lines, ...verdict(geometry, top, middle, width)];
}

/** Which names share a table. */
function foldText(geometry: Geometry, width: number): string[] {
  const groups = geometry.reals
    .map((real, i) => ({ real, names: geometry.names.filter((n) => n.real === i).map((n) => n.name) }))
    .filter((g) => g.names.length > 0);
  const text = groups.map((g) => (g.names.length > 1 ? `(${g.names.join(' = ')})` : g.names[0])).join(' → ');
  return wrapped(
    `levels: ${text}${groups.some((g) => g.names.length > 1) ? '; names in brackets share one table' : '; nothing is folded, so both conventions do the same'}`,
    width,
    '  ',
  );
}

function traceText(geometry: Geometry, trace: RangeTrace, pageShift: number, width: number, tableName: (table: number) => string): string[] {
  const lines = [cut(TITLES[trace.convention], width), '─'.repeat(Math.min(width, TITLES[trace.convention].length))];
  loop(trace.steps, 0, lines, { pageShift, width, tableName, geometry });
  return lines;
}

interface Drawing {
  readonly pageShift: number;
  readonly width: number;
  readonly tableName: (table: number) => string;
  readonly geometry: Geometry;
}

function loop(steps: readonly RangeStep[], indent: number, lines: string[], d: Drawing): void {
  const long = steps.length > 2 * SHOWN + 1;
  const shown = long ? [...steps.slice(0, SHOWN), undefined, ...steps.slice(-1)] : steps;
  for (const step of shown) {
    if (step === undefined) {
      const left = steps.length - SHOWN - 1;
      lines.push(cut(`${' '.repeat(indent)}⋮    ${counted(left, 'more iteration')} of ${steps[0].level}${populatedText(steps.slice(SHOWN, -1))}`, d.width));
      continue;
    }
    lines.push(cut(stepText(step, steps, indent, d), d.width));
    loop(step.below, indent + 1, lines, d);
  }
}

/** What the iterations left out met. */
function populatedText(steps: readonly RangeStep[]): string {
  const empty = steps.filter((s) => s.kind === 'none').length;
  return empty === 0 ? '' : empty === steps.length ? ', all empty' : `, ${thousands(empty)} of them empty`;
}

const KINDS: Readonly<Record<RangeStep['kind'], string>> = { none: 'empty', table: '', leaf: 'leaf', other: 'not present', passed: '' };

function stepText(step: RangeStep, sisters: readonly RangeStep[], indent: number, d: Drawing): string {
  const at = `${d.tableName(step.table)}[${step.index}]`;
  const pointer = step.folded ? `↑ same pointer${sisters.length > 1 ? ` ${at}` : ''}` : at;
  const notes = [KINDS[step.kind], step.overrun ? 'past its copy!' : ''].filter((s) => s !== '');
  const range = `${hexPage(step.from, d.pageShift)}-${hexPage(step.to, d.pageShift)}`;
  return `${' '.repeat(indent)}${padded(step.level, 4)} ${range}  ${pointer}${notes.length > 0 ? `  ${notes.join(', ')}` : ''}`;
}

function verdict(geometry: Geometry, top: RangeTrace, middle: RangeTrace, width: number): string[] {
  const count = (t: RangeTrace): string =>
    `${geometry.names
      .filter((n) => t.iterations[n.name])
      .map((n) => `${n.name} ${thousands(t.iterations[n.name])}`)
      .join(', ')}; ${counted(t.calls, 'call')}`;
  const equal = top.entries.length === middle.entries.length && top.entries.every((e, i) => e === middle.entries[i]);
  const extra = top.calls - middle.calls;
  const broken = [...checkTrace(geometry, top), ...checkTrace(geometry, middle)];
  return [
    `iterations, top:    ${count(top)}`,
    `iterations, middle: ${count(middle)}`,
    ...wrapped(
      `${equal ? `both visit the same ${counted(top.entries.length, 'entry', 'entries')} in the same order` : 'the two do NOT visit the same entries'}${extra > 0 ? `; top-level folding returns ${thousands(extra)} times more often` : ''}${broken.length > 0 ? `; broken: ${broken.join('; ')}` : ''}`,
      width,
      '  ',
    ),
  ];
}

export function rangeJson(geometry: Geometry, trace: RangeTrace, pageShift: number, tableName: (table: number) => string): Record<string, unknown> {
  return {
    folding: trace.convention,
    handover: trace.handover,
    levels: geometry.names.map((n) => ({ name: n.name, table: geometry.reals[n.real].name })),
    iterations: trace.iterations,
    calls: trace.calls,
    entries: trace.entries.length,
    overruns: trace.overruns,
    broken: checkTrace(geometry, trace),
    steps: [...flattened(trace.steps)].map((s) => ({
      level: s.level,
      from: hexPage(s.from, pageShift),
      to: hexPage(s.to, pageShift),
      table: tableName(s.table),
      index: s.index,
      folded: s.folded,
      entry: s.kind,
      ...(s.overrun ? { overrun: true } : {}),
    })),
  };
}
