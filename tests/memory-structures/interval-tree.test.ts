import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alloc, set } from '../../src/memory/heap.ts';
import { createState, heap, mount } from '../../src/memory/state.ts';
import {
  anonVmaIntervalTreeInsert,
  anonVmaIntervalTreeIterFirst,
  anonVmaIntervalTreeIterNext,
  anonVmaIntervalTreeRemove,
  vmaIntervalTreeInsert,
  vmaIntervalTreeInsertAfter,
  vmaIntervalTreeIterFirst,
  vmaIntervalTreeIterNext,
  vmaIntervalTreeRemove,
} from '../../src/mm/interval-tree.ts';
import { AnonVma, Avc, Globals, Inode, Vma } from '../../src/mm/types.ts';
import { expectUndone } from './undo.ts';

const POOL = 40;
const SPAN = 60;

interface Entry {
  node: number;
  vma: number;
  first: number;
  last: number;
}

let root = 0;
let pool: Entry[] = [];

interface Kind {
  readonly name: string;
  readonly left: number;
  readonly last: number;
  insert(node: number, root: number): void;
  remove(node: number, root: number): void;
  first(root: number, start: number, last: number): number;
  next(node: number, start: number, last: number): number;
}

const kinds: Kind[] = [
  {
    name: 'of VMAs',
    left: Vma.sharedLeft,
    last: Vma.sharedLast,
    insert: vmaIntervalTreeInsert,
    remove: vmaIntervalTreeRemove,
    first: vmaIntervalTreeIterFirst,
    next: vmaIntervalTreeIterNext,
  },
  {
    name: 'of chains',
    left: Avc.left,
    last: Avc.last,
    insert: anonVmaIntervalTreeInsert,
    remove: anonVmaIntervalTreeRemove,
    first: anonVmaIntervalTreeIterFirst,
    next: anonVmaIntervalTreeIterNext,
  },
];

function boot(kind: Kind): void {
  mount(createState(64));
  alloc(Globals);
  const ofVmas = kind === kinds[0];
  root = ofVmas ? alloc(Inode) + Inode.iMmap : alloc(AnonVma) + AnonVma.tree;
  pool = Array.from({ length: POOL }, () => {
    const vma = alloc(Vma);
    const avc = alloc(Avc);
    set(avc, Avc.vma, vma);
    return { node: ofVmas ? vma : avc, vma, first: 0, last: 0 };
  });
}

/** Sets the range of an entry that is in no tree. Addresses differ from offsets on purpose. */
function place(e: Entry, first: number, pages: number): void {
  e.first = first;
  e.last = first + pages - 1;
  set(e.vma, Vma.pgoff, first);
  set(e.vma, Vma.start, 5000 + first * 3);
  set(e.vma, Vma.end, 5000 + first * 3 + pages);
}

/** Adds behind the last entry of the same or a lower first page: the sequence that Linux's tree has. */
function insertModel(model: Entry[], e: Entry): void {
  let at = model.length;
  while (at > 0 && model[at - 1].first > e.first) at--;
  model.splice(at, 0, e);
}

/** Shape of the tree, after checking the sequence, parents, ranks (as far as they can be seen: shape) and largest last pages. */
function check(kind: Kind, model: readonly Entry[]): string {
  const seen: number[] = [];
  const byNode = new Map(pool.map((e) => [e.node, e]));
  const visit = (node: number, parent: number): { shape: string; last: number } => {
    if (node === 0) return { shape: '', last: -1 };
    expect(heap[node + kind.left + 2]).toBe(parent);
    const left = visit(heap[node + kind.left], node);
    seen.push(node);
    const right = visit(heap[node + kind.left + 1], node);
    const last = Math.max((byNode.get(node) as Entry).last, left.last, right.last);
    expect(heap[node + kind.last]).toBe(last);
    return { shape: `(${left.shape}${node}${right.shape})`, last };
  };
  const { shape } = visit(heap[root], 0);
  expect(seen).toEqual(model.map((e) => e.node));
  return shape;
}

const op = fc.tuple(fc.nat(5), fc.nat(POOL - 1), fc.nat(SPAN), fc.integer({ min: 1, max: 25 }));

function step(kind: Kind, model: Entry[], [what, which, first, pages]: [number, number, number, number]): void {
  const e = pool[which];
  const at = model.indexOf(e);
  if (at < 0) {
    if (what === 0 && kind === kinds[0] && model.length > 0) {
      const prev = model[first % model.length];
      place(e, prev.first, pages);
      vmaIntervalTreeInsertAfter(e.node, prev.node, root);
      model.splice(model.indexOf(prev) + 1, 0, e);
    } else {
      place(e, first, pages);
      kind.insert(e.node, root);
      insertModel(model, e);
    }
  } else if (what < 4) {
    kind.remove(e.node, root);
    for (let f = 0; f < 4; f++) expect(heap[e.node + kind.left + f]).toBe(0);
    model.splice(at, 1);
  }
}

describe.each(kinds)('interval tree $name', (kind) => {
  it('keeps the sequence and answers each range as a filter of the sorted list does', () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 120 }), (ops) => {
        boot(kind);
        const model: Entry[] = [];
        for (const o of ops) {
          step(kind, model, o);
          check(kind, model);
        }
        for (let start = 0; start < SPAN + 30; start += 3)
          for (const pages of [1, 2, 10, 200]) {
            const last = start + pages - 1;
            const found: number[] = [];
            for (let node = kind.first(root, start, last); node !== 0; node = kind.next(node, start, last)) found.push(node);
            expect(found).toEqual(model.filter((e) => e.first <= last && e.last >= start).map((e) => e.node));
          }
      }),
      { numRuns: 150 },
    );
  });

  it('has a shape that depends on the sequence alone', () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 80 }), (ops) => {
        boot(kind);
        const model: Entry[] = [];
        for (const o of ops) step(kind, model, o);
        const shape = check(kind, model);
        for (const e of model) kind.remove(e.node, root);
        expect(heap[root]).toBe(0);
        // Equal first pages keep their order when added in order.
        for (const e of model) kind.insert(e.node, root);
        expect(check(kind, model)).toBe(shape);
      }),
    );
  });

  it('is undone to the byte', () => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 40 }), fc.array(op, { maxLength: 40 }), (before, after) => {
        boot(kind);
        const model: Entry[] = [];
        for (const o of before) step(kind, model, o);
        expectUndone(() => {
          for (const o of after) step(kind, model, o);
        });
      }),
    );
  });

  it('stays shallow with thousands of equal first pages (fork servers)', () => {
    mount(createState(64));
    alloc(Globals);
    root = alloc(Inode) + Inode.iMmap;
    if (kind !== kinds[0]) root = alloc(AnonVma) + AnonVma.tree;
    const nodes: number[] = [];
    for (let i = 0; i < 20000; i++) {
      const vma = alloc(Vma);
      set(vma, Vma.end, 4);
      const node = kind === kinds[0] ? vma : alloc(Avc);
      if (node !== vma) set(node, Avc.vma, vma);
      kind.insert(node, root);
      nodes.push(node);
    }
    let deepest = 0;
    for (const node of nodes) {
      let depth = 0;
      for (let at = node; at !== 0; at = heap[at + kind.left + 2]) depth++;
      deepest = Math.max(deepest, depth);
    }
    expect(deepest).toBeLessThan(50);
    const found: number[] = [];
    for (let node = kind.first(root, 3, 3); node !== 0; node = kind.next(node, 3, 3)) found.push(node);
    expect(found).toEqual(nodes);
    expect(kind.first(root, 4, 9)).toBe(0);
  });
});
