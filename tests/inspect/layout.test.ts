/** Layouts follow from the declarations: sizes and representations that FEATURES names, and files in docs that are up to date. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { allModes, findMode } from '../../src/arch/registry.ts';
import { layoutText } from '../../src/inspect/draw-layout.ts';
import { layoutSvg } from '../../src/inspect/draw-svg.ts';
import { layoutOf, leafMark } from '../../src/inspect/layout.ts';
import { compileMode } from '../../src/pagetable/compile.ts';

const marks = (name: string): Record<string, string[]> => {
  const mode = findMode(name);
  if (!mode) throw new Error(`no mode ${name}`);
  return Object.fromEntries(layoutOf(compileMode(mode)).levels.map((l) => [l.level.level.name, l.leaves.map(leafMark)]));
};

describe('page sizes by level', () => {
  test.each([
    ['x86-4level', { pgd: [], pud: ['1G'], pmd: ['2M'], pte: ['4K'] }],
    ['x86-2level', { pgd: ['4M'], pte: ['4K'] }],
    ['arm64-4k-48', { pgd: [], pud: ['1G', '16G c16'], pmd: ['2M', '32M c16'], pte: ['4K', '64K c16'] }],
    ['riscv-sv39', { pgd: ['1G'], pmd: ['2M'], pte: ['4K', '64K c16'] }],
    ['ppc-8xx-4k', { pgd: [], pte: ['4K', '16K r4', '512K r128', '8M r1024×2'] }],
    ['ppc-8xx-4k-hugepd', { pgd: ['8M hugepd'], pte: ['4K', '16K r4', '512K r128'] }],
    ['ppc-e500', { pgd: ['4M c2', '16M c8', '64M c32', '256M c128', '1G c512'], pte: ['4K'] }],
    ['ppc64-e500', { pgd: [], pud: ['256M', '1G c4'], pmd: ['4M c2', '16M c8', '64M c32'], pte: ['4K'] }],
    ['ppc64-hash-4k', { pgd: [], pud: ['16G c64'], pmd: ['16M c8'], pte: ['4K'] }],
    ['ppc64-hash-4k-hugepd', { pgd: ['16G hugepd'], pud: ['16M hugepd'], pmd: [], pte: ['4K'] }],
    ['s390x', { pgd: [], p4d: [], pud: ['2G'], pmd: ['1M'], pte: ['4K'] }],
  ])('%s', (name, want) => {
    expect(marks(name)).toEqual(want);
  });
});

test('F037: every size that hugepd had is there without it', () => {
  for (const mode of allModes().filter((m) => m.name.endsWith('-hugepd'))) {
    const after = findMode(mode.name.replace(/-hugepd$/, ''));
    expect(after, mode.name).toBeDefined();
    const sizes = (m: typeof mode): number[] =>
      layoutOf(compileMode(m))
        .leaves.map((l) => l.bytes)
        .sort((a, b) => a - b);
    expect(sizes(after as typeof mode)).toEqual(sizes(mode));
  }
});

test.each(allModes().map((m) => m.name))('%s: pictures hold every size and fit', (name) => {
  const text = layoutText(name, 100);
  for (const line of text) expect(line.length).toBeLessThanOrEqual(100);
  const svg = layoutSvg(name);
  const mode = findMode(name);
  if (mode && !name.endsWith('-hugepd')) for (const leaf of layoutOf(compileMode(mode)).leaves) expect(svg).toContain(`>${leafMark(leaf).split(' ')[0]}<`);
  // Well-formed as far as a writer without nesting can go wrong: every tag closed, nothing unescaped.
  expect(svg.match(/<text/g)?.length).toBe(svg.match(/<\/text>/g)?.length);
  expect(svg).not.toMatch(/&(?!amp;|lt;|gt;|quot;)/);
  expect(svg).not.toMatch(/NaN|undefined/);
});

test('docs/layout is what the declarations give', () => {
  for (const mode of allModes()) {
    const file = new URL(`../../docs/layout/${mode.name}.svg`, import.meta.url);
    if (mode.name.endsWith('-hugepd') || !existsSync(file)) continue;
    expect(readFileSync(file, 'utf8'), `${mode.name}.svg: run npx tsx scripts/layouts.ts`).toBe(layoutSvg(mode.name));
  }
});
