/** Differences, held against a comparison page by page. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { diff, differenceJson } from '../../src/inspect/diff.ts';
import { extentsOf } from '../../src/pagetable/extents.ts';
import type { PageTables } from '../../src/pagetable/tree.ts';
import { A, D, Made, NX, P, RW, US } from './made.ts';

const DATA = P | RW | US | A | D | NX;
const CODE = P | US | A;

const tables = (m: Made): PageTables => m.walked().tables;

test('nothing differs from itself', () => {
  const t = tables(new Made().map(0x400000n, 0x5000, CODE));
  expect(diff([t], [t])).toEqual([]);
});

test('added, removed, moved and reprotected', () => {
  const before = tables(new Made().map(0x400000n, 0x5000, CODE).map(0x401000n, 0x5001, CODE).map(0x500000n, 0x6000, DATA).map(0x600000n, 0x7000, DATA));
  const after = tables(
    new Made()
      .map(0x400000n, 0x5000, CODE | RW)
      .map(0x401000n, 0x5001, CODE | RW)
      .map(0x500000n, 0x6001, DATA)
      .map(0x700000n, 0x7000, DATA),
  );
  expect(diff([before], [after]).map((d) => differenceJson(d, 12))).toEqual([
    {
      what: 'changed',
      va: '0x400000',
      bytes: 8192,
      before: { kind: 'leaf', pa: '0x5000000', rights: 'r-xu', page: 4096 },
      after: { kind: 'leaf', pa: '0x5000000', rights: 'rwxu', page: 4096 },
      changed: ['rights'],
    },
    {
      what: 'changed',
      va: '0x500000',
      bytes: 4096,
      before: { kind: 'leaf', pa: '0x6000000', rights: 'rw-u', page: 4096 },
      after: { kind: 'leaf', pa: '0x6001000', rights: 'rw-u', page: 4096 },
      changed: ['frame'],
    },
    { what: 'removed', va: '0x600000', bytes: 4096, before: { kind: 'leaf', pa: '0x7000000', rights: 'rw-u', page: 4096 } },
    { what: 'added', va: '0x700000', bytes: 4096, after: { kind: 'leaf', pa: '0x7000000', rights: 'rw-u', page: 4096 } },
  ]);
});

test('accessed and dirty bits count only when asked for', () => {
  const before = tables(new Made().map(0x400000n, 0x5000, DATA));
  const after = tables(new Made().map(0x400000n, 0x5000, DATA & ~D));
  expect(diff([before], [after])).toEqual([]);
  expect(diff([before], [after], { exact: true })).toMatchObject([{ what: 'changed', changed: ['flags'] }]);
});

test('equals a comparison page by page', () => {
  const mappings = fc.array(
    fc.record({
      page: fc.integer({ min: 0, max: 60 }),
      pfn: fc.integer({ min: 0x5000, max: 0x5010 }),
      write: fc.boolean(),
      run: fc.integer({ min: 1, max: 20 }),
    }),
    { maxLength: 12 },
  );
  const made = (list: { page: number; pfn: number; write: boolean; run: number }[]): PageTables => {
    const m = new Made();
    for (const { page, pfn, write, run } of list) for (let i = 0; i < run; i++) m.map(BigInt(0x400 + page + i) << 12n, pfn + i, write ? DATA : CODE);
    return tables(m);
  };
  const pages = (t: PageTables): Map<number, string> => {
    const { columns, classes } = extentsOf(t);
    const out = new Map<number, string>();
    for (let i = 0; i < columns.length; i++)
      for (let k = 0; k < columns.count[i]; k++)
        for (let p = 0; p < columns.pages[i]; p++)
          out.set(columns.vpn[i] + k * columns.stride[i] + p, `${columns.pfn[i] + p} ${classes[columns.kind[i]].write}`);
    return out;
  };
  fc.assert(
    fc.property(mappings, mappings, (x, y) => {
      const [a, b] = [made(x), made(y)];
      const [before, after] = [pages(a), pages(b)];
      const wanted = new Map<number, string>();
      for (const vpn of new Set([...before.keys(), ...after.keys()])) {
        if (before.get(vpn) === after.get(vpn)) continue;
        wanted.set(vpn, before.has(vpn) ? (after.has(vpn) ? 'changed' : 'removed') : 'added');
      }
      const found = new Map<number, string>();
      for (const d of diff([a], [b])) for (let k = 0; k < d.count; k++) for (let p = 0; p < d.pages; p++) found.set(d.vpn + k * d.stride + p, d.what);
      expect(found).toEqual(wanted);
    }),
    { numRuns: 100 },
  );
});
