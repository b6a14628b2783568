/** How a finding is told: as an object for programs, in a few lines for people. */
import type { Finding } from './audit.ts';
import { counted, hexPage, hexRange, pageSizeText } from './draw-text.ts';

/** One line of JSON. */
export const findingJson = (f: Finding): Record<string, unknown> => ({
  id: f.id,
  severity: f.severity,
  sentence: f.sentence,
  half: f.half,
  roots: f.roots,
  count: f.count,
  unit: f.unit,
  ranges: f.ranges.map((r) => ({ va: hexPage(r.vpn, f.pageShift), bytes: r.pages * 2 ** f.pageShift })),
  ...(f.more > 0 ? { more: f.more } : {}),
  ...(f.details.length > 0 ? { details: f.details } : {}),
});

/** A few lines: severity, sentence, how much and where. */
export function findingText(f: Finding, shown = 4): string[] {
  const unit = f.unit === 'entry' ? counted(f.count, 'entry', 'entries') : counted(f.count, f.unit);
  const lines = [
    `${f.severity.padEnd(7)}  ${f.id}: ${f.sentence} (${unit}; ${f.roots.slice(0, 3).join(', ')}${f.roots.length > 3 ? ` and ${f.roots.length - 3} more` : ''})`,
  ];
  for (const r of f.ranges.slice(0, shown)) lines.push(`         ${hexRange(r.vpn, r.pages, f.pageShift)}  ${pageSizeText(r.pages * 2 ** f.pageShift)}`);
  const rest = f.ranges.length + f.more - Math.min(shown, f.ranges.length);
  if (rest > 0) lines.push(`         and ${counted(rest, 'more range')}`);
  for (const detail of f.details.slice(0, 2)) lines.push(`         · ${detail}`);
  return lines;
}
