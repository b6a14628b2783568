import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { rightsKey } from '../../src/pagetable/entry.ts';
import { extentsOf } from '../../src/pagetable/extents.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { joined, naiveLeaves, type Piece, TooMany } from '../support/naive.ts';
import { randomTables } from '../support/random-tables.ts';

/** Extents as pieces: repetitions written out. */
function pieces(tables: ReturnType<typeof readPageTables>, limit: number): Piece[] {
  const { columns, classes } = extentsOf(tables);
  const shift = BigInt(tables.mode.mode.pageShift);
  const out: Piece[] = [];
  for (let i = 0; i < columns.length; i++) {
    const c = classes[columns.kind[i]];
    if (out.length + columns.count[i] > limit) throw new TooMany();
    for (let k = 0; k < columns.count[i]; k++)
      out.push({
        va: BigInt(columns.vpn[i] + k * columns.stride[i]) << shift,
        pa: BigInt(columns.pfn[i]) << shift,
        bytes: BigInt(columns.pages[i]) << shift,
        rights: rightsKey(c) | (c.present ? 16 : 0),
      });
  }
  return out.sort((a, b) => (a.va < b.va ? -1 : a.va > b.va ? 1 : 0));
}

/** CI takes the same cases every time; PXD_SEED=N takes others. */
const seed = Number(process.env.PXD_SEED ?? 1);

describe.each(allModes().map((m) => [m.name, m] as const))('%s: random tables', (_, mode) => {
  it('translate as a naive walker translates them', () => {
    const compiled = compileMode(mode);
    let compared = 0;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 10 }), (seed, density) => {
        const { memory, root } = randomTables(compiled, seed, density);
        try {
          const want = joined(naiveLeaves(compiled, memory, root, 1_000));
          const have = joined(pieces(readPageTables(compiled, memory, root), 1_000));
          expect(have).toEqual(want);
          compared++;
        } catch (e) {
          if (!(e instanceof TooMany)) throw e;
        }
      }),
      { numRuns: 12, seed },
    );
    expect(compared).toBeGreaterThan(0);
  });

  it('stay bounded by the tables that exist, cycles included', () => {
    const compiled = compileMode(mode);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const { memory, root } = randomTables(compiled, seed, 200);
        const tables = readPageTables(compiled, memory, root);
        // Five blocks of tables, each read at most once for every level, right and piece.
        expect(tables.nodes.length).toBeLessThan(80 * 16 * 16 * compiled.levels.length);
      }),
      { numRuns: 3, seed },
    );
  });
});

describe('extents of a range', () => {
  it('are the whole list cut to the range', () => {
    const compiled = compileMode(allModes()[0]);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 0, max: 2 ** 36 }), fc.integer({ min: 1, max: 2 ** 36 }), (seed, from, length) => {
        const { memory, root } = randomTables(compiled, seed, 4);
        const tables = readPageTables(compiled, memory, root);
        const cut = (columns: ReturnType<typeof extentsOf>['columns']): string[] => {
          const out: string[] = [];
          for (let i = 0; i < columns.length; i++)
            for (let k = 0; k < Math.min(columns.count[i], 5000); k++) {
              const start = columns.vpn[i] + k * columns.stride[i];
              const a = Math.max(start, from);
              const b = Math.min(start + columns.pages[i], from + length);
              if (a < b) out.push(`${a} ${b - a} ${columns.pfn[i] + (a - start)}`);
            }
          return out.sort();
        };
        const whole = extentsOf(tables).columns;
        for (let i = 0; i < whole.length; i++) fc.pre(whole.count[i] <= 5000);
        const ranged = extentsOf(tables, { range: { from, to: from + length } }).columns;
        expect(joinText(cut(ranged))).toEqual(joinText(cut(whole)));
      }),
      { numRuns: 40, seed },
    );
  });
});

/** Neighbouring cuts joined: a repetition may be given as one run or as several. */
function joinText(lines: readonly string[]): string[] {
  const rows = lines.map((l) => l.split(' ').map(Number)).sort((a, b) => a[0] - b[0]);
  const out: number[][] = [];
  for (const [start, pages, pfn] of rows) {
    const last = out[out.length - 1];
    if (last && last[0] + last[1] === start && last[2] + last[1] === pfn) last[1] += pages;
    else out.push([start, pages, pfn]);
  }
  return out.map((r) => r.join(' '));
}
