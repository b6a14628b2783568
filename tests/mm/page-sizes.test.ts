/** The table of page sizes in docs/fidelity.md: complete, and what it says of the mm is so (all modes with PXD_NIGHTLY=1). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { pageSizes, representation } from '../../src/arch/linux/page-sizes.ts';
import { allModes, findMode } from '../../src/arch/registry.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { PAGE_USES, probe } from '../support/page-size-probe.ts';

const text = readFileSync(join(import.meta.dirname, '../../docs/fidelity.md'), 'utf8');
const rows = [
  ...text
    .slice(text.indexOf('page sizes: begin'), text.indexOf('page sizes: end'))
    .matchAll(/^\| (\S+) \| (\w+) \| (\w+) \| (.*?) \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|$/gm),
]
  .map(([, mode, , size, how, ...uses]) => ({ mode, size, how, uses }))
  .filter((row) => row.mode !== 'mode' && row.size !== 'none');

const shiftOf = (size: string): number => Math.log2(Number.parseInt(size, 10)) + 10 * 'BKMGT'.indexOf(size.at(-1) as string);

const SAMPLE = ['x86-4level', 'x86-2level', 'arm64-16k-47', 's390x', 'riscv-sv39', 'ppc-8xx-4k', 'ppc-8xx-4k-hugepd', 'ppc64-radix-64k'];
const tried = process.env.PXD_NIGHTLY === '1' ? allModes().map((m) => m.name) : SAMPLE;

test('every size of every mode has its row, and what Linux has no use for says so', () => {
  const expected = allModes().flatMap((mode) =>
    pageSizes(mode).map((size) => ({
      mode: mode.name,
      shift: size.shift,
      how: representation(mode, size.shift)?.text,
      none: PAGE_USES.map((use) => !size[use]),
    })),
  );
  expect(expected.length).toBeGreaterThan(80);
  expect(rows.map(({ mode, size, how, uses }) => ({ mode, shift: shiftOf(size), how, none: uses.map((use) => use === '–') }))).toEqual(expected);
});

test.each(tried)('%s: what is said to be mapped so is, and what of the kernel is not said is not', (name) => {
  const mode = findMode(name);
  if (mode === undefined) throw new Error(name);
  for (const row of rows.filter((r) => r.mode === name))
    PAGE_USES.forEach((use, i) => {
      const says = row.uses[i];
      // hugetlb may lag behind: whoever implements a size runs the command again.
      if (says === 'yes' || (says === 'no' && use !== 'hugetlb'))
        expect(`${row.size} ${use} ${probe(mode, shiftOf(row.size), use) ? 'yes' : 'no'}`).toBe(`${row.size} ${use} ${says}`);
    });
});

// Of each mode's tables: bits of index from the lowest level to the top.
test.each([
  ['ppc64-radix-4k', [9, 9, 9, 13]],
  ['ppc64-radix-64k', [5, 9, 9, 13]],
])('F030 %s: 2M and 1G are leaves of the levels that span them, for users and for the kernel', (name, bits) => {
  const mode = findMode(name);
  if (mode === undefined) throw new Error(name);
  expect(codecFor(name).levels.map((level) => Math.log2(level.entries))).toEqual(bits);
  expect(pageSizes(mode).map(({ shift }) => [shift, representation(mode, shift)?.text])).toEqual([
    [21, 'pmd leaf'],
    [30, 'pud leaf'],
  ]);
  expect(PAGE_USES.map((use) => probe(mode, 21, use))).toEqual([true, true, true, true]);
  expect(PAGE_USES.map((use) => probe(mode, 30, use))).toEqual([false, true, true, true]);
});
