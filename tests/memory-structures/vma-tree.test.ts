import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { alloc, free, get, set } from '../../src/memory/heap.ts';
import { createState, mount } from '../../src/memory/state.ts';
import { Globals, Mm, Vma } from '../../src/mm/types.ts';
import { VM_GROWSDOWN, VM_GROWSUP } from '../../src/mm/vm-flags.ts';
import {
  findVma,
  findVmaIntersection,
  findVmaPrev,
  firstVma,
  gapBottomUp,
  gapTopDown,
  lastVma,
  vmaLookup,
  vmaTreeAdjust,
  vmaTreeInsert,
  vmaTreeRemove,
} from '../../src/mm/vma-tree.ts';
import { expectUndone, same } from './undo.ts';

/** Address space of the models: small, so that every question can be answered by trying every page. */
const SPACE = 160;
/** Far away, where page numbers take more than 32 bits. */
const FAR = 2 ** 36 - 64;

interface Range {
  start: number;
  end: number;
  flags: number;
  ref: number;
}

let mm = 0;

function boot(guard = 3, minAddr = 0): void {
  mount(createState(64));
  const globals = alloc(Globals);
  set(globals, Globals.stackGuardGap, guard);
  set(globals, Globals.mmapMinAddr, minAddr);
  mm = alloc(Mm);
}

function add(start: number, end: number, flags = 0): Range {
  const ref = alloc(Vma);
  set(ref, Vma.start, start);
  set(ref, Vma.end, end);
  set(ref, Vma.flags, flags);
  vmaTreeInsert(mm, ref);
  return { start, end, flags, ref };
}

/** Shape of the tree as nested lists of starts, after checking every invariant of the head comment of vma-tree.ts against a sorted model. */
function check(model: readonly Range[]): string {
  const seen: number[] = [];
  const visit = (node: number, parent: number): { shape: string; gap: number } => {
    if (node === 0) return { shape: '', gap: -1 };
    same(get(node, Vma.parent), parent);
    if (parent !== 0) same(get(node, Vma.priority) <= get(parent, Vma.priority), true);
    const left = visit(get(node, Vma.left), node);
    const before = seen.at(-1);
    seen.push(node);
    const own = get(node, Vma.start) - (before === undefined ? 0 : get(before, Vma.end));
    const right = visit(get(node, Vma.right), node);
    const gap = Math.max(own, left.gap, right.gap);
    same(get(node, Vma.maxGap), gap);
    return { shape: `(${left.shape}${get(node, Vma.start)}${right.shape})`, gap };
  };
  const { shape } = visit(get(mm, Mm.vmas), 0);
  same(seen.join(), model.map((r) => r.ref).join());
  model.forEach((r, i) => {
    same(get(r.ref, Vma.start), r.start);
    same(get(r.ref, Vma.end), r.end);
    same(get(r.ref, Vma.next), model[i + 1]?.ref ?? 0);
    same(get(r.ref, Vma.prev), model[i - 1]?.ref ?? 0);
  });
  same(firstVma(mm), model[0]?.ref ?? 0);
  same(lastVma(mm), model.at(-1)?.ref ?? 0);
  return shape;
}

/** A random step on the tree and the model alike; steps that make no sense are skipped. */
function step(model: Range[], kind: number, a: number, b: number, flags: number): void {
  if (kind < 4) {
    const start = a;
    const end = a + 1 + (b % 12);
    if (model.some((r) => r.start < end && r.end > start)) return;
    model.push(add(start, end, flags));
    model.sort((x, y) => x.start - y.start);
  } else if (model.length !== 0) {
    const i = a % model.length;
    const it = model[i];
    if (kind < 6) {
      vmaTreeRemove(mm, it.ref);
      for (const f of [Vma.left, Vma.right, Vma.parent, Vma.next, Vma.prev, Vma.maxGap, Vma.priority]) same(get(it.ref, f), 0);
      free(Vma, it.ref);
      model.splice(i, 1);
    } else {
      const low = model[i - 1]?.end ?? 0;
      const high = model[i + 1]?.start ?? it.end + 20;
      const start = kind === 6 ? it.start : low + (b % (it.end - low));
      const end = kind === 7 ? it.end : start + 1 + ((a + b) % (high - start));
      vmaTreeAdjust(mm, it.ref, start, end);
      it.start = start;
      it.end = end;
    }
  }
}

const steps = (maxLength: number) =>
  fc.array(
    fc.tuple(
      fc.nat(8),
      fc.oneof(
        fc.nat(SPACE),
        fc.nat(60).map((n) => FAR + n),
      ),
      fc.nat(1000),
      fc.constantFrom(0, 0, 0, VM_GROWSDOWN, VM_GROWSUP),
    ),
    { maxLength },
  );

beforeEach(() => boot());

describe('tree of VMAs', () => {
  it('keeps order, links, rank and gaps at each step, and answers as a sorted list does', () => {
    fc.assert(
      fc.property(steps(60), (list) => {
        boot();
        const model: Range[] = [];
        for (const [kind, a, b, flags] of list) {
          step(model, kind, a, b, flags);
          check(model);
        }
        for (const base of [0, FAR])
          for (let vpn = base; vpn < base + SPACE; vpn++) {
            const first = model.find((r) => r.end > vpn);
            same(findVma(mm, vpn), first?.ref ?? 0);
            same(vmaLookup(mm, vpn), first && first.start <= vpn ? first.ref : 0);
            same(findVmaPrev(mm, vpn), model.filter((r) => r.end <= vpn).at(-1)?.ref ?? 0);
            for (const pages of [1, 7]) same(findVmaIntersection(mm, vpn, vpn + pages), first && first.start < vpn + pages ? first.ref : 0);
          }
      }),
      { numRuns: 200 },
    );
  });

  it('has a shape that depends on the set alone', () => {
    fc.assert(
      fc.property(steps(80), fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (list, randoms) => {
        boot();
        const model: Range[] = [];
        for (const [kind, a, b, flags] of list) step(model, kind, a, b, flags);
        const shape = check(model);
        boot();
        const order = model.map((r) => ({ r, key: randoms.next().value })).sort((x, y) => x.key - y.key);
        const again = order.map(({ r }) => add(r.start, r.end, r.flags)).sort((x, y) => x.start - y.start);
        expect(check(again)).toBe(shape);
      }),
    );
  });

  it('has one shape also where ranks are equal', () => {
    // The rank mixes the high word into the low one by this constant; starts of equal sum have equal ranks.
    const starts = [1, 2, 3, 4, 5].map((high) => high * 2 ** 32 + ((12345 ^ Math.imul(high, 0x9e3779b1)) >>> 0)).sort((x, y) => x - y);
    const shapes = new Set<string>();
    for (let turn = 0; turn < 10; turn++) {
      boot();
      const order = starts.map((_, i) => starts[(i * (1 + (turn % 4)) + turn) % 5]);
      const model = order.map((start) => add(start, start + 1)).sort((x, y) => x.start - y.start);
      expect(new Set(model.map((r) => get(r.ref, Vma.priority))).size).toBe(1);
      shapes.add(check(model));
    }
    expect(shapes.size).toBe(1);
  });

  it('is undone to the byte, hash included', () => {
    fc.assert(
      fc.property(steps(40), steps(40), (before, after) => {
        boot();
        const model: Range[] = [];
        for (const [kind, a, b, flags] of before) step(model, kind, a, b, flags);
        expectUndone(() => {
          for (const [kind, a, b, flags] of after) step(model, kind, a, b, flags);
        });
      }),
    );
  });

  it('refuses ranges that overlap', () => {
    add(10, 20);
    const b = add(30, 40);
    for (const [start, end] of [
      [15, 16],
      [5, 11],
      [19, 25],
      [25, 31],
      [10, 12],
    ])
      expect(() => add(start, end)).toThrow('overlaps');
    expect(() => vmaTreeAdjust(mm, b.ref, 19, 40)).toThrow('overlap');
  });

  it('stays shallow with 65,530 VMAs in rising order', () => {
    for (let i = 0; i < 65530; i++) add(i * 3, i * 3 + 2);
    let deepest = 0;
    for (let i = 0; i < 65530; i += 7) {
      let depth = 0;
      for (let node = vmaLookup(mm, i * 3); node !== 0; node = get(node, Vma.parent)) depth++;
      deepest = Math.max(deepest, depth);
    }
    // A random binary search tree of n nodes is about 4.3 ln n − 1.95 ln ln n = 43 deep.
    expect(deepest).toBeLessThan(55);
    expect(gapTopDown(mm, 2, 0, 65530 * 3, 0, 0)).toBe(-1);
    expect(gapBottomUp(mm, 1, 100, 65530 * 3, 0, 0)).toBe(101);
  });
});
