/** Constants in built code (scripts/fold-constants.mjs) have the values that the modules themselves compute. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { constantFolder } from '../../scripts/fold-constants.mjs';
import * as gfp from '../../src/memory/gfp.ts';
import * as pageFlags from '../../src/memory/page-flags.ts';
import * as hugeOrders from '../../src/mm/huge-orders.ts';
import * as pgtable from '../../src/mm/pgtable.ts';
import * as types from '../../src/mm/types.ts';
import * as vmFlags from '../../src/mm/vm-flags.ts';
import * as vmf from '../../src/mm/vmf.ts';
import * as zap from '../../src/mm/zap.ts';
import * as canonical from '../../src/pagetable/canonical.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const exported: Record<string, unknown> = { ...canonical, ...gfp, ...pageFlags, ...hugeOrders, ...pgtable, ...types, ...vmFlags, ...vmf, ...zap };
const numbersOf = (text: string): [string, number][] => [...text.matchAll(/export const (\w+) = (.*);/g)].map(([, name, value]) => [name, Number(value)]);

it('in all files of the mm', () => {
  const folder = constantFolder(root, (text) => text);
  let compared = 0;
  for (const name of readdirSync(join(root, 'src/mm')).filter((one) => one.endsWith('.ts'))) {
    const path = join(root, 'src/mm', name);
    const source = readFileSync(path, 'utf8');
    const folded = folder.fold(source, path);
    if (folded === source) continue;
    expect(folded.split('\n').length, name).toBe(source.split('\n').length);
    for (const [constant, value] of numbersOf(folder.numbers(path))) {
      if (!(constant in exported) || new RegExp(`^const ${constant}\\b`, 'm').test(source)) continue;
      expect(value, `${constant} in ${name}`).toBe(exported[constant]);
      compared++;
    }
  }
  expect(compared).toBeGreaterThan(500);
});

it('leaves what is no constant, and every line where it was', () => {
  const folder = constantFolder(root, (text) => text);
  const text = `/** A = B */
import { protOf } from '../mm/pgtable.ts';
import { VM_READ, type Flags } from '../mm/vm-flags.ts';
const LOCAL = VM_READ |
  6;
export const SHOWN: number = LOCAL * 2;
const NAMES = ['LOCAL'];
let COUNT = 4;
export const f = () => protOf(VM_READ) + LOCAL + COUNT + NAMES.length;
`;
  const path = join(root, 'src/mm/made-up.ts');
  const folded = folder.fold(text, path);
  expect(numbersOf(folder.numbers(path))).toEqual([
    ['LOCAL', 7],
    ['SHOWN', 14],
    ['VM_READ', 1],
  ]);
  expect(
    folded
      .replace(/^.*'; /, '')
      .replace(/ +$/gm, '')
      .replace(/ +/g, ' '),
  ).toBe(
    `/** A = B */
import { protOf } from '../mm/pgtable.ts';
import { type Flags } from '../mm/vm-flags.ts';


export { SHOWN };
const NAMES = ['LOCAL'];
let COUNT = 4;
export const f = () => protOf(VM_READ) + LOCAL + COUNT + NAMES.length;
`
      .replace(/ +$/gm, '')
      .replace(/ +/g, ' '),
  );
});
