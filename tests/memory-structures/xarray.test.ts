import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { alloc, get, typeOf } from '../../src/memory/heap.ts';
import { createState, heap, mount } from '../../src/memory/state.ts';
import {
  XA_MARK_DIRTY,
  XA_MARK_TOWRITE,
  XaNode,
  xaClearMark,
  xaCount,
  xaDestroy,
  xaEmpty,
  xaErase,
  xaFind,
  xaFindMarked,
  xaGetMark,
  xaLoad,
  xaMarked,
  xaSetMark,
  xaStore,
} from '../../src/memory/xarray.ts';
import { Globals, Inode } from '../../src/mm/types.ts';
import { expectUndone, same } from './undo.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const MARKS = [XA_MARK_DIRTY, XA_MARK_TOWRITE];
/** Indices about every boundary of levels and of JavaScript's integers, and some plain ones. */
const EDGES = [
  0,
  1,
  63,
  64,
  65,
  4095,
  4096,
  4097,
  2 ** 18 - 1,
  2 ** 18,
  2 ** 30 - 1,
  2 ** 30,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 36 + 5,
  2 ** 42,
  2 ** 51,
  2 ** 52 - 1,
  MAX,
];

let root = 0;

beforeEach(() => boot());

function boot(): void {
  mount(createState(64));
  alloc(Globals);
  root = alloc(Inode) + Inode.pages;
}

interface Model {
  values: Map<number, number>;
  marks: Map<number, Set<number>>;
}

const newModel = (): Model => ({ values: new Map(), marks: new Map(MARKS.map((m) => [m, new Set()])) });
const marked = (m: Model, mark: number): Set<number> => m.marks.get(mark) as Set<number>;

/** Shape as nested text, after checking every invariant of the head comment of xarray.ts. */
function check(model: Model): string {
  let entries = 0;
  const marks = [0, 1, 2].map((mark) => [...(model.marks.get(mark) ?? [])]);
  const visit = (node: number, parent: number, offset: number, shift: number, base: number): string => {
    same(typeOf(node), XaNode.$type);
    same([get(node, XaNode.parent), get(node, XaNode.offset), get(node, XaNode.shift)].join(), [parent, offset, shift].join());
    let used = 0;
    let text = `${shift}(`;
    for (let i = 0; i < 64; i++) {
      const value = heap[node + XaNode.slots + i];
      const index = base + i * 2 ** shift;
      const bits = [0, 1, 2].map((mark) => (heap[node + XaNode.marks + 2 * mark + (i >> 5)] >>> (i & 31)) & 1);
      for (const mark of MARKS) {
        const inside = marks[mark].some((at) => at >= index && at < index + 2 ** shift);
        same(bits[mark] === 1, inside);
      }
      if (value === 0) continue;
      used++;
      if (shift === 0) {
        same(model.values.get(index), value);
        entries++;
        text += `${i}:${value},`;
      } else text += `${i}:${visit(value, node, i, shift - 6, index)},`;
    }
    expect(get(node, XaNode.count)).toBe(used);
    expect(used).toBeGreaterThan(0);
    return `${text})`;
  };
  const top = heap[root];
  if (top === 0) {
    expect(model.values.size).toBe(0);
    return '';
  }
  let shift = 0;
  while (Math.max(...model.values.keys()) >= 2 ** (shift + 6)) shift += 6;
  const text = visit(top, 0, 0, shift, 0);
  expect(entries).toBe(model.values.size);
  return text;
}

const index = fc.oneof(fc.nat(200), fc.nat(9000), fc.constantFrom(...EDGES), fc.maxSafeNat());
type Step = [number, number, number, number];
const step: fc.Arbitrary<Step> = fc.tuple(fc.nat(9), index, fc.integer({ min: 1, max: 2 ** 40 }), fc.constantFrom(...MARKS));

function apply(model: Model, [what, at, value, mark]: Step): void {
  // Half of the operations fall on what is there.
  const keys = [...model.values.keys()];
  const key = keys.length !== 0 && what % 2 === 1 ? keys[at % keys.length] : at;
  if (what < 5) {
    expect(xaStore(root, key, value)).toBe(model.values.get(key) ?? 0);
    model.values.set(key, value);
  } else if (what < 7) {
    expect(what === 5 ? xaErase(root, key) : xaStore(root, key, 0)).toBe(model.values.get(key) ?? 0);
    model.values.delete(key);
    for (const m of MARKS) marked(model, m).delete(key);
  } else if (what < 9) {
    xaSetMark(root, key, mark);
    if (model.values.has(key)) marked(model, mark).add(key);
  } else {
    xaClearMark(root, key, mark);
    marked(model, mark).delete(key);
  }
}

const firstFrom = (keys: Iterable<number>, from: number, max: number): number => {
  const inside = [...keys].filter((k) => k >= from && k <= max);
  return inside.length === 0 ? -1 : Math.min(...inside);
};

describe('xarray', () => {
  it('is a map with marks, in canonical shape after each step', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.array(fc.tuple(index, index), { minLength: 10, maxLength: 30 }), (steps, ranges) => {
        boot();
        const model = newModel();
        for (const s of steps) {
          apply(model, s);
          check(model);
        }
        for (const [from, max] of [...ranges, ...[...model.values.keys()].map((k): [number, number] => [k, k])]) {
          expect(xaLoad(root, from)).toBe(model.values.get(from) ?? 0);
          expect(xaFind(root, from, max)).toBe(firstFrom(model.values.keys(), from, max));
          expect(xaCount(root, from, max)).toBe([...model.values.keys()].filter((k) => k >= from && k <= max).length);
          for (const mark of MARKS) {
            expect(xaGetMark(root, from, mark)).toBe(marked(model, mark).has(from));
            expect(xaFindMarked(root, from, max, mark)).toBe(firstFrom(marked(model, mark), from, max));
            expect(xaMarked(root, mark)).toBe(marked(model, mark).size !== 0);
          }
        }
        const found: number[] = [];
        for (let i = xaFind(root, 0, MAX); i >= 0; i = i === MAX ? -1 : xaFind(root, i + 1, MAX)) found.push(i);
        expect(found).toEqual([...model.values.keys()].sort((a, b) => a - b));
        expect(xaEmpty(root)).toBe(model.values.size === 0);
        expect(xaCount(root)).toBe(model.values.size);
      }),
      {
        numRuns: 150,
        // The last index of all, found from its neighbours.
        examples: [
          [
            [
              [0, MAX - 62, 1, 0],
              [0, MAX, 1, 0],
            ] as never,
            Array.from({ length: 10 }, (_, i): [number, number] => [MAX - i, MAX]),
          ],
          // Counted once, from the middle of its leaf.
          [
            [
              [0, MAX - 13, 1, 0],
              [0, MAX, 1, 0],
            ] as never,
            Array.from({ length: 10 }, (): [number, number] => [0, MAX]),
          ],
        ],
      },
    );
  });

  it('has the same shape for the same content, and gives all nodes back', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        boot();
        const model = newModel();
        for (const s of steps) apply(model, s);
        const shape = check(model);
        xaDestroy(root);
        expect(xaEmpty(root)).toBe(true);
        const live = (): number => {
          let count = 0;
          for (let at = 0; at < heap.length - XaNode.$size; at++)
            if (heap[at] === XaNode.$type && [0, 6, 12, 18, 24, 30, 36, 42, 48].includes(get(at, XaNode.shift)) && get(at, XaNode.count) > 0) count++;
          return count;
        };
        expect(live()).toBe(0);
        for (const [key, value] of [...model.values].reverse()) xaStore(root, key, value);
        for (const mark of MARKS) for (const key of marked(model, mark)) xaSetMark(root, key, mark);
        expect(check(model)).toBe(shape);
      }),
    );
  });

  it('is undone to the byte', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.array(step, { maxLength: 30 }), (before, after) => {
        boot();
        const model = newModel();
        for (const s of before) apply(model, s);
        expectUndone(() => {
          for (const s of after) apply(model, s);
        });
      }),
    );
  });

  it('refuses indices that are no exact numbers', () => {
    for (const bad of [-1, 2 ** 53, Number.NaN]) expect(() => xaStore(root, bad, 1)).toThrow(RangeError);
  });
});
