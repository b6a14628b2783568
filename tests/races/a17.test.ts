/** The table of docs/check.md that says what makes walkers without locks safe is what the entry A17 explores, row by row; and the catalogue checks each row. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import a17 from '../../src/races/a17.ts';

const section = (readFileSync(new URL('../../docs/check.md', import.meta.url), 'utf8').split('## What makes walkers without locks safe')[1] ?? '').split(
  '\n## ',
)[0];
const rows = [...section.matchAll(/^\| `([a-z-]+)` \|.*\| (safe|not safe) \|$/gm)].map(([, name, verdict]) => [name, verdict]);

it('has a row for each variant, with what it expects', () => {
  expect(rows.length).toBeGreaterThan(5);
  expect(rows).toEqual(Object.entries(a17.variants).map(([name, variant]) => [name, variant.expect === 'clean' ? 'safe' : 'not safe']));
});

it('names walker and way of freeing as the variants are made', () => {
  for (const [name] of rows) {
    const { switches = [], notes = {} } = a17.variants[name];
    const row = section.split('\n').find((line) => line.startsWith(`| \`${name}\` |`)) ?? '';
    const [, freed, walker] = row.split(' | ');
    expect(freed.includes('at once'), name).toBe(switches.includes('tableFreeAtOnce'));
    expect(freed.includes('by interrupts'), name).toBe(notes.ipis === 1);
    expect(walker.startsWith('a fault'), name).toBe(notes.fault === 1);
  }
});
