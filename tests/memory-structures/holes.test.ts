import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alloc, free, get, set } from '../../src/memory/heap.ts';
import { createState, FIRST_OBJECT, mount } from '../../src/memory/state.ts';
import { Globals, Mm, Vma } from '../../src/mm/types.ts';
import { VM_GROWSDOWN, VM_GROWSUP } from '../../src/mm/vm-flags.ts';
import { findVmaIntersection, gapBottomUp, gapTopDown, vmaTreeInsert, vmaTreeRemove } from '../../src/mm/vma-tree.ts';

let mm = 0;

function boot(guardPages: number, minBytes: number): void {
  mount(createState(64));
  const globals = alloc(Globals);
  set(globals, Globals.stackGuardGap, guardPages);
  set(globals, Globals.mmapMinAddr, minBytes);
  mm = alloc(Mm);
}

function add(start: number, end: number, flags: number): void {
  const vma = alloc(Vma);
  set(vma, Vma.start, start);
  set(vma, Vma.end, end);
  set(vma, Vma.flags, flags);
  vmaTreeInsert(mm, vma);
}

/** munmap by removing and adding again what is left. */
function unmap(start: number, end: number): void {
  for (let vma = findVmaIntersection(mm, start, end); vma !== 0; vma = findVmaIntersection(mm, start, end)) {
    const [a, b, flags] = [get(vma, Vma.start), get(vma, Vma.end), get(vma, Vma.flags)];
    vmaTreeRemove(mm, vma);
    free(Vma, vma);
    if (a < start) add(a, start, flags);
    if (b > end) add(end, b, flags);
  }
}

// --- the kernel's own answers -------------------------------------------------------------------------------------------------

const DEFAULT_WINDOW = 0x7ffffffff;
const MMAP_BASE = 0x7ffff7fff;
const LEGACY_BASE = Math.ceil(0x7ffffffff000 / 3 / 4096);

/** As arch_get_unmapped_area_topdown() and arch_get_unmapped_area() of x86-64 ask. */
function place(pages: number, kind: number, mask: number): number {
  if (kind & 4) return gapBottomUp(mm, pages, 0x40000, 0x80000, mask, 0);
  const high = gapTopDown(mm, pages, 1, MMAP_BASE, mask, 0);
  return high === -1 ? gapBottomUp(mm, pages, LEGACY_BASE, DEFAULT_WINDOW, mask, 0) : high;
}

describe('holes as the kernel gives them out', () => {
  const [head, ...sequences] = readFileSync(join(import.meta.dirname, 'holes.txt'), 'utf8').split(/^n /m);

  it(`agrees with every mmap() of record-holes.c (${head.trim().slice(2)})`, () => {
    const seen = { down: 0, up: 0, aligned: 0, grows: 0, none: 0, guarded: 0 };
    for (const [i, sequence] of sequences.entries()) {
      boot(256, 65536);
      for (const [number, line] of sequence.trim().split('\n').slice(1).entries()) {
        const [what, ...rest] = line.split(' ');
        const [a, b, c] = rest.map((x) => Number.parseInt(x, 16));
        if (what === 'v') add(a, b, c === 1 ? VM_GROWSDOWN : 0);
        else if (what === 'f') add(a, a + b, 0);
        else if (what === 'u') unmap(a, a + b);
        else {
          const mask = b & 2 ? 511 : 0;
          const got = place(a, b, mask);
          const expected = c === 0 ? -1 : c;
          if (got !== expected) expect.fail(`sequence ${i}, line ${number}: ${line}: ${got.toString(16)}`);
          seen[b & 4 ? 'up' : 'down']++;
          if (mask) seen.aligned++;
          if (b & 1) seen.grows++;
          if (got === -1) seen.none++;
          // A guard gap mattered when the same question without guard gaps has another answer.
          set(FIRST_OBJECT, Globals.stackGuardGap, 0);
          if (place(a, b, mask) !== got) seen.guarded++;
          set(FIRST_OBJECT, Globals.stackGuardGap, 256);
          if (got !== -1) add(got, got + a, b & 1 ? VM_GROWSDOWN : 0);
        }
      }
    }
    console.log(`compared with the kernel: ${JSON.stringify(seen)}`);
    expect(Math.min(seen.down, seen.up, seen.aligned, seen.grows, seen.none, seen.guarded)).toBeGreaterThan(100);
  });
});

// --- a model that looks at every page ---------------------------------------------------------------------------------------------

const SPACE = 90;

interface Range {
  start: number;
  end: number;
  flags: number;
}

interface Question {
  pages: number;
  low: number;
  high: number;
  mask: number;
  offset: number;
  startGap: number;
}

/** Both searches over an array of pages, one after the other, with the neighbours' guards asked for as mm/vma.c does. */
function model(ranges: readonly Range[], guard: number, down: boolean, q: Question, min: number): number {
  const taken = Array.from({ length: SPACE }, (_, page) => ranges.find((r) => r.start <= page && page < r.end));
  const length = q.pages + q.mask + q.startGap;
  let low = Math.max(q.low, min);
  let high = q.high;
  for (let attempts = 0; attempts < 1000; attempts++) {
    if (high === 0) return 2 ** 52 - q.pages - mod(2 ** 52 - q.pages - q.offset, q.mask + 1);
    // All places where the whole length is free; the search takes the outermost.
    const places: number[] = [];
    for (let at = low; at + length <= high; at++) if (taken.slice(at, at + length).every((r) => r === undefined)) places.push(at);
    if (places.length === 0) return -1;
    const at = down ? Math.max(...places) : Math.min(...places);
    const above = ranges.find((r) => r.start >= at + length);
    const below = ranges.filter((r) => r.end <= at).at(-1);
    const guardedStart = above && (above.flags & VM_GROWSDOWN ? Math.max(0, above.start - guard) : above.start);
    const guardedEnd = below && (below.flags & VM_GROWSUP ? below.end + guard : below.end);
    let gap: number;
    if (down) {
      const end = at + length;
      gap = end - q.pages;
      while (mod(gap, q.mask + 1) !== mod(q.offset, q.mask + 1)) gap--;
      if (above && guardedStart !== undefined && above.flags & VM_GROWSDOWN) {
        if (guardedStart >= end) return gap;
        high = guardedStart;
      } else {
        if (below === undefined || guardedEnd === undefined || guardedEnd <= gap) return gap;
        high = below.start;
      }
    } else {
      gap = at + q.startGap;
      while (mod(gap, q.mask + 1) !== mod(q.offset, q.mask + 1)) gap++;
      if (above && guardedStart !== undefined && above.flags & VM_GROWSDOWN) {
        if (guardedStart >= gap + length) return gap;
        low = above.end;
      } else {
        if (guardedEnd === undefined || guardedEnd <= gap) return gap;
        low = guardedEnd;
      }
    }
  }
  throw new Error('the model does not end');
}

const mod = (a: number, n: number): number => ((a % n) + n) % n;

describe('holes in small address spaces', () => {
  const range = fc.record({ start: fc.nat(SPACE - 10), pages: fc.integer({ min: 1, max: 9 }), flags: fc.constantFrom(0, 0, 0, VM_GROWSDOWN, VM_GROWSUP) });
  const question = fc.record({
    pages: fc.integer({ min: 1, max: 20 }),
    low: fc.nat(40),
    high: fc.integer({ min: 1, max: SPACE }),
    mask: fc.constantFrom(0, 0, 1, 3, 7),
    offset: fc.nat(9),
    startGap: fc.constantFrom(0, 0, 0, 1),
  });

  it('are those of a search page by page', () => {
    fc.assert(
      fc.property(
        fc.array(range, { maxLength: 14 }),
        fc.array(question, { minLength: 1, maxLength: 12 }),
        fc.constantFrom(0, 1, 3, 12, 60),
        fc.constantFrom(0, 4096, 20000),
        (list, questions, guard, minBytes) => {
          boot(guard, minBytes);
          const ranges: Range[] = [];
          for (const { start, pages, flags } of list) {
            if (ranges.some((r) => r.start < start + pages && start < r.end)) continue;
            add(start, start + pages, flags);
            ranges.push({ start, end: start + pages, flags });
          }
          ranges.sort((a, b) => a.start - b.start);
          const min = Math.ceil(minBytes / 4096);
          for (const q of questions) {
            expect(gapTopDown(mm, q.pages, q.low, q.high, q.mask, q.offset, q.startGap)).toBe(model(ranges, guard, true, q, min));
            expect(gapBottomUp(mm, q.pages, q.low, q.high, q.mask, q.offset, q.startGap)).toBe(model(ranges, guard, false, q, min));
          }
        },
      ),
      { numRuns: 1500 },
    );
  });
});
