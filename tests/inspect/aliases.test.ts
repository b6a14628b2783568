/** The reverse map, held against counting page by page. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PRESENT, ReverseMap, rightsText, sortedBy } from '../../src/inspect/aliases.ts';
import { extentsOf } from '../../src/pagetable/extents.ts';
import { A, D, Made, NX, P, RW, US } from './made.ts';

const DATA = P | RW | US | A | D | NX;
const CODE = P | US | A;

test('sorts numbers up to 2^52 like the language does', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 2 ** 52 })), (values) => {
      const order = sortedBy(Float64Array.from(values), values.length);
      expect([...order].map((i) => values[i])).toEqual([...values].sort((a, b) => a - b));
    }),
  );
});

test('lists every user of a frame, with rights and process', () => {
  const a = new Made(0x100).map(0x400000n, 0x5000, CODE).map(0x401000n, 0x5001, CODE).map(0x600000n, 0x5000, DATA);
  const b = new Made(0x900).map(0x700000n, 0x5000, DATA);
  const map = new ReverseMap([a.walked('a', 1), b.walked('b', 2)]);
  expect(map.users(0x5000).map((u) => [u.root.pid, u.vpn, u.pages, rightsText(u.flags)])).toEqual([
    [1, 0x400, 1, 'r-xu'],
    [1, 0x600, 1, 'rw-u'],
    [2, 0x700, 1, 'rw-u'],
  ]);
  expect(map.users(0x5001).length).toBe(1);
  expect(map.users(0x4fff)).toEqual([]);
  expect(map.summary()).toEqual([{ mappings: 3, rights: 'rw-u r-xu', frames: 1, firstPfn: 0x5000 }]);
});

test('a kernel half in several roots counts once', () => {
  const a = new Made().map(0xffff888000000000n, 0x6000, P | RW | NX);
  const map = new ReverseMap([a.walked('a', 1), a.walked('b', 2), a.walked('c', 3)]);
  expect(map.users(0x6000)).toMatchObject([{ roots: 3 }]);
  expect(map.summary()).toEqual([]);
});

test('counts like a page-by-page count', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          page: fc.integer({ min: 0, max: 300 }),
          pfn: fc.integer({ min: 0x5000, max: 0x5040 }),
          write: fc.boolean(),
          run: fc.integer({ min: 1, max: 20 }),
        }),
        { maxLength: 30 },
      ),
      (mappings) => {
        const m = new Made();
        for (const { page, pfn, write, run } of mappings) for (let i = 0; i < run; i++) m.map(BigInt(0x400 + page + i) << 12n, pfn + i, write ? DATA : CODE);
        const walked = m.walked();
        const byFrame = new Map<number, number>();
        const { columns } = extentsOf(walked.tables);
        for (let i = 0; i < columns.length; i++)
          for (let p = 0; p < columns.pages[i]; p++) byFrame.set(columns.pfn[i] + p, (byFrame.get(columns.pfn[i] + p) ?? 0) + columns.count[i]);
        const wanted = new Map<number, number>();
        for (const n of byFrame.values()) if (n > 1) wanted.set(n, (wanted.get(n) ?? 0) + 1);
        const map = new ReverseMap([walked]);
        const found = new Map<number, number>();
        for (const g of map.summary()) found.set(g.mappings, (found.get(g.mappings) ?? 0) + g.frames);
        expect(found).toEqual(wanted);
        for (const [frame, n] of byFrame)
          expect(
            map
              .users(frame)
              .filter((u) => u.flags & PRESENT)
              .reduce((sum, u) => sum + u.count, 0),
          ).toBe(n);
      },
    ),
    { numRuns: 60 },
  );
});

test('roots with more rows than may be kept are named', () => {
  const m = new Made();
  for (let i = 0; i < 50; i++) m.map(BigInt(0x400 + 2 * i) << 12n, 0x5000 + 3 * i, DATA);
  const map = new ReverseMap([m.walked('big')], { maxRows: 10 });
  expect(map.cutShort.map((r) => r.name)).toEqual(['big']);
  expect(map.length).toBe(10);
});
