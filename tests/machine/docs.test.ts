/** docs/machine.md stays true: its code runs from top to bottom and gives what stands behind each arrow. */
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Machine } from '../../src/machine/index.ts';
import { inlineMore } from '../../src/machine/node/index.ts';

const text = readFileSync('docs/machine.md', 'utf8');
const code = [...text.matchAll(/```js\n([\s\S]*?)```/g)].map((m) => m[1]).join('\n');

describe('docs/machine.md', () => {
  it('shows code that does what it says', () => {
    const shown: string[] = [];
    const told: string[] = [];
    const traced = code.replace(/^import .*$/gm, '').replace(/^(\S.*?);\s*\/\/ → (.*)$/gm, (_, expression: string, value: string) => {
      told.push(`${expression} → ${value}`);
      return `show(${JSON.stringify(expression)}, ${expression});`;
    });
    new Function('Machine', 'inlineMore', 'show', traced)(Machine, inlineMore, (expression: string, value: unknown) =>
      shown.push(`${expression} → ${inspect(value)}`),
    );
    expect(told.length).toBeGreaterThan(10);
    expect(shown).toEqual(told);
  });
});
