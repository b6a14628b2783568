/** A walk as a picture in text, and as JSON. Invariant: every line fits the width, but for words that cannot be broken. */
import { gather } from '../arch/notation.ts';
import type { Rights } from '../pagetable/entry.ts';
import { aligned, counted, pageSizeText, wrapped } from './draw-text.ts';
import { swapText, takenAway, type Walk, type WalkGroup, type WalkStep } from './walk.ts';

const hex = (n: bigint | number): string => `0x${n.toString(16)}`;
const wordText = (step: WalkStep): string => {
  const digits = step.level.wide ? 16 : 8;
  return step.entry ? `0x${((BigInt(step.entry.hi) << 32n) | BigInt(step.entry.lo)).toString(16).padStart(digits, '0')}` : 'not in the image';
};

export const rightsLetters = (r: Rights): string => `${r.read ? 'r' : '-'}${r.write ? 'w' : '-'}${r.exec ? 'x' : '-'}${r.user ? 'u' : 'k'}`;

/** Fields that are not zero: `P RW US PKEY=3`; a field of one bit stands for itself. */
export function fieldsText(step: WalkStep): string {
  const { entry } = step;
  if (!entry?.form) return '';
  const parts: string[] = [];
  for (const [name, value] of entry.fields) {
    if (value === 0) continue;
    const width = (entry.form.fields.get(name) ?? []).reduce((sum, p) => sum + p.width, 0);
    parts.push(width === 1 ? name : `${name}=${value > 9 ? hex(value) : value}`);
  }
  if (entry.reserved.lo | entry.reserved.hi) parts.push(`reserved bits ${hex((BigInt(entry.reserved.hi) << 32n) | BigInt(entry.reserved.lo))}!`);
  return parts.join(' ');
}

export interface DrawOptions {
  readonly width: number;
  /** Every field with its bits and meaning. */
  readonly fields?: boolean;
  /** Whose tables these are. */
  readonly of?: string;
}

/** The whole picture. */
export function walkText(w: Walk, options: DrawOptions): string[] {
  const lines = [
    ...wrapped(`${hex(w.va)} in ${w.mode.mode.name}, ${w.half} half, ${options.of ? `${options.of}, ` : ''}${w.root.label}`, options.width, '  '),
    '',
  ];
  const strip = indexStrip(w);
  if (strip.every((line) => line.length <= options.width)) lines.push(...strip, '');
  if (w.above.length > 0)
    lines.push(
      ...wrapped(`${w.above.join(' = ')}: folded, the top table is the ${w.root.level}'s and the pointer passes through unchanged`, options.width, '  '),
      '│',
    );
  w.steps.forEach((step, i) => lines.push(...stepLines(w, step, i === w.steps.length - 1, options)));
  lines.push(...endLines(w, options.width));
  const rights = rightsTable(w, options.width);
  if (rights.length > 0) lines.push('', ...rights);
  return lines;
}

/** The address cut into the indexes of its levels. */
function indexStrip(w: Walk): string[] {
  if (w.steps.length === 0) return [];
  const cells = w.steps.map((s) => ({
    head: s.level.level.name,
    body: String(s.index),
    bits: s.level.level.bits === 0 ? '' : `${s.level.level.shift + s.level.level.bits - 1}:${s.level.level.shift}`,
  }));
  const last = w.steps[w.steps.length - 1];
  const { shift } = last.level.level;
  cells.push({ head: 'offset', body: hex(BigInt.asUintN(shift, w.va)), bits: `${shift - 1}:0` });
  const widths = cells.map((c) => Math.max(c.head.length, c.body.length, c.bits.length));
  const row = (pick: (c: (typeof cells)[number]) => string): string => `│ ${cells.map((c, i) => pick(c).padStart(widths[i])).join(' │ ')} │`;
  const rule = (l: string, m: string, r: string): string => l + widths.map((n) => '─'.repeat(n + 2)).join(m) + r;
  return [
    row((c) => c.bits)
      .replaceAll('│', ' ')
      .trimEnd(),
    rule('┌', '┬', '┐'),
    row((c) => c.head),
    row((c) => c.body),
    rule('└', '┴', '┘'),
  ];
}

function stepLines(w: Walk, step: WalkStep, last: boolean, options: DrawOptions): string[] {
  const { level, entry } = step;
  const bar = last ? ' ' : '│';
  const head = `${level.level.name}  ${level.level.manual}, table ${hex(step.table)} [${step.index}] at ${hex(step.at)}: ${wordText(step)}`;
  const lines =
    head.length <= options.width
      ? [head]
      : [`${level.level.name}  ${level.level.manual}, table ${hex(step.table)}`, `${bar}    [${step.index}] at ${hex(step.at)}: ${wordText(step)}`];
  if (entry?.form) {
    const to =
      entry.kind === 'table' || entry.kind === 'hugepd'
        ? ` → ${hex(w.steps[w.steps.indexOf(step) + 1]?.table ?? entry.address ?? 0n)}`
        : entry.address !== undefined && entry.kind === 'leaf'
          ? ` of ${hex(entry.address)}`
          : '';
    lines.push(`${bar}    ${entry.kind === 'none' ? 'empty' : `${entry.kind} "${entry.form.form.name}"${to}`}`);
    if (options.fields) lines.push(...fieldTable(step).map((line) => `${bar}      ${line}`));
    else if (fieldsText(step) !== '') lines.push(...wrapped(fieldsText(step), options.width - 7).map((line) => `${bar}      ${line}`));
  }
  // Below a leaf or a hole nothing is passed through: the folded levels saw the same entry before.
  if (step.folded.length > 0 && level.level.name !== 'pte')
    lines.push(
      ...wrapped(
        `${step.folded.join(', ')} ${step.folded.length === 1 ? 'is' : 'are'} folded into the ${level.level.name}: ${step.folded.length === 1 ? 'its' : 'their'} entry is this same one`,
        options.width - 5,
      ).map((line) => `${bar}    ${line}`),
    );
  return last ? lines : [...lines, '▼'];
}

function fieldTable(step: WalkStep): string[] {
  const { entry } = step;
  if (!entry?.form) return [];
  const { form } = entry;
  return aligned(
    [...form.fields].map(([name, pieces]) => [
      name,
      [...pieces]
        .reverse()
        .map((p) => (p.width === 1 ? `${p.low}` : `${p.low + p.width - 1}:${p.low}`))
        .join(','),
      hex(gather(pieces, entry.lo, entry.hi)),
      form.docs.get(name) ?? '',
    ]),
    [1, 2],
  );
}

export function groupText(group: WalkGroup, step: WalkStep, pageShift: number): string {
  const { entries, from } = group;
  const kind = { advance: 'contiguous', same: 'contiguous, one address for all', ignore: 'replicated' }[group.group.group.address];
  const leaf = pageSizeText(group.leafBytes);
  const own = entries * step.level.pages * 2 ** pageShift;
  const text = `part of a ${leaf} leaf: ${entries} ${kind} entries [${from}-${from + entries - 1}]${group.leafBytes > own ? ` here, ${group.leafBytes / own} tables alike` : ''}`;
  if (group.disagree.length === 0) return text;
  return `claims to be ${text}, but ${counted(group.disagree.length, 'entry does', 'entries do')} not agree: ${group.disagree.slice(0, 8).join(', ')}${group.disagree.length > 8 ? ' …' : ''}`;
}

function endLines(w: Walk, width: number): string[] {
  const last = w.steps[w.steps.length - 1];
  if (w.end.kind === 'unmapped') return ['', ...wrapped(`✗ not mapped: ${w.end.why}`, width, '  ')];
  const lines: string[] = [];
  if (w.group && last) lines.push(...wrapped(`     ${groupText(w.group, last, w.mode.mode.pageShift)}`, width, '       '));
  const state = w.end.present ? rightsLetters(w.end.rights) : 'present but inaccessible (PROT_NONE, a NUMA hint, or being split)';
  return [...lines, '', ...wrapped(`→ physical ${hex(w.end.pa)}, ${pageSizeText(w.end.leafBytes)} leaf, ${state}`, width, '  ')];
}

/** A row a level: what each lets through, and where a right is lost. */
function rightsTable(w: Walk, width: number): string[] {
  if (w.end.kind !== 'mapped') return [];
  const lost = takenAway(w);
  const mark = (step: WalkStep, right: keyof Rights): string => (step.own[right] || (right === 'exec' && step.own.execPrivileged) ? 'yes' : 'no');
  const rows = w.steps.map((s) => {
    const here = lost.filter((l) => l.step === s);
    return [s.level.level.name, ...(['read', 'write', 'exec', 'user'] as const).map((r) => mark(s, r)), lostText(here)];
  });
  const final = ['result', ...(['read', 'write', 'exec', 'user'] as const).map((r) => (w.end.kind === 'mapped' && w.end.rights[r] ? 'yes' : 'no')), ''];
  const lines = aligned([['', 'read', 'write', 'exec', 'user', ''], ...rows, final]);
  return lines.flatMap((line) => {
    const at = line.indexOf('← ');
    if (at < 0 || line.length <= width) return [line];
    const [first, ...more] = wrapped(line.slice(at), Math.max(24, width - at));
    return [line.slice(0, at) + first, ...more.map((l) => `${' '.repeat(at + 2)}${l.trimStart()}`)];
  });
}

/** Rights that go for the same reason are told together. */
function lostText(lost: ReturnType<typeof takenAway>): string {
  const reasons = [...new Set(lost.map((l) => l.needs))];
  return reasons
    .map(
      (needs) =>
        `← ${lost
          .filter((l) => l.needs === needs)
          .map((l) => l.right)
          .join(', ')}: ${needs}`,
    )
    .join('; ');
}

const rightsJson = (r: Rights): Record<string, boolean> => ({ read: r.read, write: r.write, exec: r.exec, user: r.user });

export function walkJson(w: Walk): Record<string, unknown> {
  return {
    va: hex(w.va),
    mode: w.mode.mode.name,
    root: { table: hex(w.root.table), level: w.root.level, label: w.root.label },
    half: w.half,
    foldedAbove: w.above,
    steps: w.steps.map((s) => ({
      level: s.level.level.name,
      manual: s.level.level.manual,
      table: hex(s.table),
      index: s.index,
      at: hex(s.at),
      entry: s.entry ? wordText(s) : null,
      kind: s.entry?.kind ?? 'missing',
      form: s.entry?.form?.form.name,
      address: s.entry?.address === undefined ? undefined : hex(s.entry.address),
      fields: s.entry ? Object.fromEntries(s.entry.fields) : {},
      allows: rightsJson(s.own),
      left: rightsJson(s.rights),
      folded: s.folded,
    })),
    ...(w.group
      ? { group: { from: w.group.from, entries: w.group.entries, bytes: w.group.leafBytes, address: w.group.group.group.address, disagree: w.group.disagree } }
      : {}),
    result:
      w.end.kind === 'mapped'
        ? { mapped: true, pa: hex(w.end.pa), page: w.end.leafBytes, present: w.end.present, ...rightsJson(w.end.rights) }
        : { mapped: false, why: w.end.why, ...(w.end.swap ? { swap: { ...w.end.swap, text: swapText(w.end.swap) } } : {}) },
    takenAway: takenAway(w).map((l) => ({ right: l.right, level: l.step.level.level.name, needs: l.needs })),
  };
}
