/** `pxd check --list`: entries, their titles and variants. */
import type { Scenario } from '../../explore/scenario.ts';
import { type Io, paint } from '../io.ts';
import { padEnd, wrap } from '../table.ts';

export function writeList(io: Io, scenarios: readonly Scenario[], json: boolean): void {
  for (const { id, title, source, variants } of scenarios) {
    if (json) {
      io.write(`${JSON.stringify({ id, title, source: source ?? null, variants })}\n`);
      continue;
    }
    for (const line of wrap(`${paint(io, 'bold', id)} ${title}`, io.columns)) io.write(`${line}\n`);
    const width = Math.max(...Object.keys(variants).map((name) => name.length));
    const indent = ' '.repeat(width + 19);
    for (const [name, { expect, note, switches }] of Object.entries(variants)) {
      const head = `      ${padEnd(name, width)}  ${padEnd(expect, 9)}`;
      const why = note ?? switches?.join(', ') ?? '';
      const [first, ...rest] = wrap(why, Math.max(20, io.columns - indent.length));
      io.write(`${`${head}  ${first ?? ''}`.trimEnd()}\n`);
      for (const line of rest) io.write(`${indent}${line.trimStart()}\n`);
    }
  }
}
