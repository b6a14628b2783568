/** mremap in every paging mode: what is moved is where it went, whole tables or single entries, and page tables, VMAs and folios agree afterwards. */
import { describe, expect, test } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { spanPages } from '../../src/kernel/arch.ts';
import { codecFor } from '../../src/machine/boot.ts';
import { Machine } from '../../src/machine/machine.ts';
import { get } from '../../src/memory/heap.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Mm } from '../../src/mm/types.ts';

const modes = allModes()
  .map((m) => m.name)
  .filter((name) => {
    try {
      return codecFor(name) !== undefined;
    } catch {
      return false;
    }
  });

const MAYMOVE = 1;
const FIXED = 2;
const DONTUNMAP = 4;

describe('moves in every mode', () => {
  test.each(modes)('%s', (mode) => {
    const machine = new Machine({ mode, ramBytes: 256 * 2 ** 20 });
    const p = machine.spawn();
    const size = machine.pageSize;
    machine.enter();
    /** Pages that one pte table maps. */
    const span = spanPages(1);
    const home = 4 * span;
    // Not where bottom-up layouts start.
    const away = Math.floor(get(p.mm, Mm.taskSize) / 2 / span) * span + 4 * span;
    const pages = 3 * span;
    /** Offsets that are written: with the value of their place in this list. */
    const places = [0, 1, span - 4, span - 3, span - 2, span, 2 * span - 1, 2 * span + 7, pages - 1];
    const move = (from: number, oldPages: number, newPages: number, flags: number, to = 0): number => {
      const result = p.syscall('mremap', from * size, oldPages * size, newPages * size, flags, to * size);
      machine.enter();
      expect(checkMachine({ leaks: true })).toEqual([]);
      return result < 0 ? result : result / size;
    };
    const read = (at: number, upTo = pages): (number | string)[] =>
      places
        .filter((place) => place < upTo)
        .map((place) => {
          const value = p.load(BigInt((at + place) * size), 1);
          return typeof value === 'bigint' ? Number(value) : `signal ${value.signal}`;
        });
    const written = places.map((_, i) => i + 1);
    // Begins three pages into a table, as its target does: the move begins with whole tables where the architecture has that.
    expect(p.syscall('mmap', (home + 3) * size, pages * size, 3, 0x4032, -1, 0)).toBe((home + 3) * size);
    for (const [i, place] of places.entries()) expect(p.store(BigInt((home + 3 + place) * size), 1, BigInt(i + 1))).toBeUndefined();
    expect(move(home + 3, pages, pages, MAYMOVE | FIXED, away + 3)).toBe(away + 3);
    expect(read(away + 3)).toEqual(written);
    expect(read(home + 3)[0]).toBe('signal 11');
    // Otherwise placed in its table: entry by entry.
    expect(move(away + 3, pages, pages, MAYMOVE | FIXED, home + 4)).toBe(home + 4);
    expect(read(home + 4)).toEqual(written);
    // To the start of a table, and what stays is empty.
    expect(move(home + 4, pages, pages, MAYMOVE | FIXED | DONTUNMAP, away)).toBe(away);
    expect(read(away)).toEqual(written);
    expect(read(home + 4)).toEqual(places.map(() => 0));
    expect(p.syscall('munmap', (home + 4) * size, pages * size)).toBe(0);
    // Whole tables both.
    expect(move(away, pages, pages, MAYMOVE | FIXED, home)).toBe(home);
    expect(read(home)).toEqual(written);
    // Smaller, larger again, larger where something is in the way.
    expect(move(home, pages, span + 1, 0)).toBe(home);
    expect(move(home, span + 1, pages, 0)).toBe(home);
    expect(read(home)).toEqual(written.map((value, i) => (places[i] <= span ? value : 0)));
    expect(p.syscall('mmap', (home + pages) * size, size, 1, 0x32, -1, 0)).toBe((home + pages) * size);
    expect(move(home, pages, pages + 1, 0)).toBe(-12);
    const moved = move(home, pages, pages + 1, MAYMOVE);
    expect(moved).toBeGreaterThan(0);
    expect(read(moved)).toEqual(written.map((value, i) => (places[i] <= span ? value : 0)));
    // A part, and several VMAs at once.
    expect(p.syscall('mprotect', (moved + 1) * size, size, 1)).toBe(0);
    expect(move(moved, span, span, MAYMOVE | FIXED, away + 5)).toBe(away + 5);
    expect(read(away + 5, span)).toEqual(written.filter((_, i) => places[i] < span));
    expect(p.store(BigInt((away + 6) * size), 1, 1n)).toMatchObject({ signal: 11 });
  });
});
