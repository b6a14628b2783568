/** Undo, hash and snapshots: three ways to say that two states are the same, which must agree. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alloc, free } from '../../src/memory/heap.ts';
import { array, defineStruct } from '../../src/memory/struct.ts';
import {
  allocPages,
  clearFrame,
  clone,
  copyFrame,
  createState,
  equalStates,
  freePages,
  GFP_HIGHUSER_MOVABLE,
  GFP_KERNEL,
  journalMark,
  type MachineState,
  mount,
  mounted,
  pageOfPfn,
  restore,
  setByte,
  setPageFlags,
  setPageIndex,
  setPageMapcount,
  setPageMapping,
  setPageNext,
  setPageOrder,
  setPagePincount,
  setPagePrev,
  setPagePrivate,
  setPageRefcount,
  setSlot,
  setWord,
  snapshot,
  startJournal,
  stateHash,
  stopJournal,
  undo,
  words,
} from './all.ts';
import { boot, checkAllocator, SMALL } from './support.ts';

const Thing = defineStruct('snapshotTestThing', { values: array(30) });
const FRAMES = 4096;

type Write = { kind: number; at: number; value: number };
const columns = [setPageFlags, setPageRefcount, setPageMapcount, setPagePincount, setPageMapping, setPagePrivate, setPageNext, setPagePrev, setPageOrder];

/** The object whose slots writes go to. */
let thing = 0;

/** Performs a write of the kind; every setter there is. */
function perform({ kind, at, value }: Write): void {
  const page = pageOfPfn(at % FRAMES);
  if (kind < columns.length) columns[kind](page, value);
  else if (kind === 9) setPageIndex(page, value * 4096.5);
  else if (kind === 10) setSlot(thing + Thing.values + (at % 30), value / 8);
  else if (kind === 11) setWord((page << 10) + (at % 1024), value);
  else if (kind === 12) setByte((page << 12) + (at % 4096), value & 255);
  else if (kind === 13) clearFrame(page);
  else if (kind === 14) copyFrame(page, pageOfPfn((at * 7) % FRAMES));
  else if (kind === 15) alloc(Thing);
  else {
    const ref = alloc(Thing);
    setSlot(ref + Thing.values, value);
    free(Thing, ref);
  }
}

const write = fc.record({ kind: fc.nat(16), at: fc.nat(FRAMES - 1), value: fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer()) });

/** A machine with something in it. */
function fresh(): MachineState {
  const state = createState(FRAMES);
  mount(state);
  stopJournal();
  thing = alloc(Thing);
  for (let i = 0; i < 40; i++) perform({ kind: i % 12, at: (i * 97) % 64, value: i * 1001 });
  return state;
}

const bytesOf = (s: MachineState): string => Buffer.from(snapshot(s)).toString('base64');

describe('a state', () => {
  it('is again what it was after undo, to the byte, with hash 0', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 200 }), fc.array(write, { maxLength: 50 }), (first, second) => {
        const state = fresh();
        const start = bytesOf(state);
        const copy = clone(state);
        startJournal();
        for (const w of first) perform(w);
        const middle = bytesOf(state);
        const hash = stateHash();
        const middleCopy = clone(state);
        const mark = journalMark();
        for (const w of second) perform(w);
        undo(mark);
        expect(bytesOf(state)).toBe(middle);
        expect(stateHash()).toEqual(hash);
        expect(equalStates(state, middleCopy)).toBe(true);
        undo(0);
        expect(stateHash()).toEqual({ low: 0, high: 0 });
        expect(bytesOf(state)).toBe(start);
        expect(equalStates(state, copy)).toBe(true);
        stopJournal();
      }),
      { numRuns: 80 },
    );
  });

  it('comes back from its bytes and from a clone, which live on their own', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 120 }), fc.array(write, { minLength: 1, maxLength: 20 }), (writes, more) => {
        const state = fresh();
        for (const w of writes) perform(w);
        const bytes = snapshot(state);
        const other = restore(bytes);
        const copy = clone(state);
        expect(equalStates(state, other)).toBe(true);
        expect(Buffer.from(snapshot(other)).equals(Buffer.from(bytes))).toBe(true);
        expect(Buffer.from(snapshot(copy)).equals(Buffer.from(bytes))).toBe(true);
        // The same writes lead all three to the same state, one after the other.
        const after = [state, other, copy].map((s) => {
          mount(s);
          for (const w of more) perform(w);
          return bytesOf(s);
        });
        expect(after[1]).toBe(after[0]);
        expect(after[2]).toBe(after[0]);
        expect(equalStates(restore(bytes), state)).toBe(bytesOf(state) === Buffer.from(bytes).toString('base64'));
      }),
      { numRuns: 50 },
    );
  });

  it('has one hash whatever the order of writes, equal exactly when the bytes are', () => {
    // Few places and values, so that random states are often equal.
    const narrow = fc.array(fc.record({ kind: fc.nat(11), at: fc.nat(1), value: fc.nat(1) }), { maxLength: 6 });
    let equal = 0;
    fc.assert(
      fc.property(narrow, narrow, fc.infiniteStream(fc.nat(1000)), (a, b, dice) => {
        const run = (writes: readonly Write[]): { bytes: string; hash: string } => {
          const state = fresh();
          startJournal();
          for (const w of writes) perform(w);
          const { low, high } = stateHash();
          stopJournal();
          return { bytes: bytesOf(state), hash: `${low},${high}` };
        };
        const one = run(a);
        const two = run(b);
        expect(one.hash === two.hash).toBe(one.bytes === two.bytes);
        if (one.bytes === two.bytes) equal++;
        // Last writes win: any order of writes to different places.
        const last = new Map(a.map((w) => [`${w.kind === 10 ? 'slot' : w.kind} ${w.at}`, w]));
        const shuffled = [...last.values()].map((w) => ({ w, key: dice.next().value as number })).sort((x, y) => x.key - y.key);
        const three = run([...a.slice(0, 3).map((w) => ({ ...w, value: w.value + 5 })), ...shuffled.map(({ w }) => w)]);
        expect(three).toEqual(one);
      }),
      { numRuns: 250 },
    );
    expect(equal).toBeGreaterThan(3);
  });

  it('has a hash of its own among very many that are alike', () => {
    fresh();
    startJournal();
    const lows = new Set<number>();
    const both = new Set<string>();
    let states = 0;
    const seen = (): void => {
      const { low, high } = stateHash();
      lows.add(low);
      both.add(`${low},${high}`);
      states++;
    };
    // One or two small numbers in neighbouring places, as counters and states of a protocol are.
    for (let i = 0; i < 40; i++)
      for (let v = 1; v < 8; v++) {
        setSlot(thing + Thing.values + (i % 30), i < 30 ? v : v + 8);
        seen();
        for (let p = 16; p < 80; p++)
          for (let r = 1; r < 8; r++) {
            setPageRefcount(p, r);
            seen();
            setPageRefcount(p, 0);
          }
        setSlot(thing + Thing.values + (i % 30), 0);
      }
    stopJournal();
    expect(both.size).toBe(states);
    // One lane alone: about n²/2³³ of n values coincide by chance.
    expect(states - lows.size).toBeLessThan(20);
  });

  it('takes little room, however much memory it has', () => {
    boot({ ranges: [{ start: 0, end: 6 << 20 }], zoneBounds: { dma: 4096, dma32: 1 << 20 } });
    const pages = Array.from({ length: 100 }, () => allocPages(0, GFP_HIGHUSER_MOVABLE));
    for (const page of pages) setWord(page << 10, page);
    const bytes = snapshot(restore(snapshot(mounted())));
    expect(bytes.length).toBeLessThan(200_000);
    const again = restore(bytes);
    mount(again);
    checkAllocator();
    expect(pages.map((page) => words[page << 10])).toEqual(pages);
    setPageRefcount(pages[7], 0);
    freePages(pages[7], 0);
    expect(allocPages(0, GFP_HIGHUSER_MOVABLE)).toBe(pages[7]);
  });

  it('goes on as another one does that was cloned, allocator and all', () => {
    boot(SMALL);
    for (let i = 0; i < 500; i++) allocPages(i % 4, GFP_KERNEL);
    const copy = clone(mounted());
    const run = (s: MachineState): string => {
      mount(s);
      for (let i = 0; i < 3000; i++) allocPages(i % 3, i % 2 === 0 ? GFP_KERNEL : GFP_HIGHUSER_MOVABLE, i & 1);
      checkAllocator();
      return bytesOf(s);
    };
    const original = mounted();
    expect(run(copy)).toBe(run(original));
  });

  it('is refused when its bytes are not those of a snapshot', () => {
    const bytes = snapshot(fresh());
    expect(() => restore(new Uint8Array(8))).toThrow(/no snapshot/);
    expect(() => restore(bytes.subarray(0, bytes.length - 4))).toThrow(/cut off|damaged/);
    const changed = (at: number): Uint8Array => {
      const copy = bytes.slice();
      copy[at] ^= 0x40;
      return copy;
    };
    expect(() => restore(changed(0))).toThrow(/no snapshot/);
    expect(() => restore(changed(4))).toThrow(/version/);
    expect(() => restore(changed(8))).toThrow(/other structs/);
    expect(() => restore(changed(12))).toThrow(/damaged/);
    const longer = new Uint8Array(bytes.length + 4);
    longer.set(bytes);
    expect(() => restore(longer)).toThrow(/followed/);
  });
});
