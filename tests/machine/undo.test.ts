/** Undo: the journal leads back to every earlier moment, byte for byte, and what is done again from there is what was done. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { Machine } from '../../src/machine/index.ts';
import { snapshot } from '../../src/memory/snapshot.ts';
import { GROUP_WORDS, journalMark, startJournal, stateHash, stopJournal, undo, words } from '../../src/memory/state.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { createCodec } from '../../src/pagetable/canonical.ts';
import { apply, historyMachine, makeHistory } from './smoke/history.ts';

describe('undo', () => {
  for (const program of ['direct', 'native', 'step'] as const)
    it(`of random histories in the ${program} program leads back to every step`, () => {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 1_000_000 }), fc.infiniteStream(fc.nat(1000)), (seed, choices) => {
          const machine = historyMachine(program);
          const history = makeHistory(seed, 30);
          const next = (): number => choices.next().value as number;
          startJournal();
          try {
            const moments = [{ mark: journalMark(), bytes: snapshot(machine.state), hash: stateHash() }];
            const results: number[] = [];
            const goOn = (from: number): void => {
              for (let i = from; i < history.length; i++) {
                const result = apply(machine, history[i]);
                if (results[i] === undefined) results[i] = result;
                // Done again it is as it was the first time.
                expect(result).toBe(results[i]);
                const now = { mark: journalMark(), bytes: snapshot(machine.state), hash: stateHash() };
                if (moments[i + 1] !== undefined)
                  expect([i, now.mark, now.hash, equal(now.bytes, moments[i + 1].bytes)]).toEqual([i, moments[i + 1].mark, moments[i + 1].hash, true]);
                moments[i + 1] ??= now;
              }
            };
            goOn(0);
            // Back to a random moment and on again, twice; then to every moment, the last first.
            for (let n = 0; n < 2; n++) {
              const to = next() % moments.length;
              undo(moments[to].mark);
              expect(equal(snapshot(machine.state), moments[to].bytes)).toBe(true);
              expect(stateHash()).toEqual(moments[to].hash);
              goOn(to);
            }
            for (let i = moments.length - 1; i >= 0; i--) {
              undo(moments[i].mark);
              expect([i, equal(snapshot(machine.state), moments[i].bytes)]).toEqual([i, true]);
              expect(stateHash()).toEqual(moments[i].hash);
            }
            expect(stateHash()).toEqual({ low: 0, high: 0 });
            expect(checkMachine({ leaks: true })).toEqual([]);
          } finally {
            stopJournal();
          }
        }),
        { numRuns: program === 'direct' ? 8 : 4 },
      );
    });

  // One mode of each way in which entries stand in words: one or two of them, side by side or apart, written once or to several cells.
  const ways = new Map(
    allModes().map((mode) => {
      const { entryWords, secondWord, cells } = createCodec(mode).levels[0];
      return [`${entryWords} words, the second at ${secondWord}, in ${cells} cells`, mode.name];
    }),
  );
  for (const [way, mode] of ways)
    it(`takes back every word that entries are written to: ${way} (${mode})`, () => {
      const machine = new Machine({ mode, ramBytes: 2 ** 26 });
      const process = machine.spawn();
      const size = machine.pageSize;
      const map = (at: number): number => process.syscall('mmap', at * size, 8 * size, 3, 0x32, -1, 0);
      map(0x1000);
      for (let i = 0; i < 8; i++) expect(process.store(BigInt((0x1000 + i) * size), 1, 1n)).toBeUndefined();
      startJournal();
      const before = words.slice();
      process.syscall('mprotect', 0x1002 * size, 2 * size, 1);
      process.syscall('munmap', 0x1004 * size, 2 * size);
      map(0x2000);
      for (let i = 0; i < 8; i++) expect(process.store(BigInt((0x2000 + i) * size), 1, 1n)).toBeUndefined();
      expect(Buffer.compare(Buffer.from(before.buffer), Buffer.from(words.buffer, 0, before.byteLength))).not.toBe(0);
      undo(0);
      stopJournal();
      const wrong = before.findIndex((word, i) => i >= GROUP_WORDS && word !== words[i]);
      expect(wrong).toBe(-1);
    });

  it('different moments have different hashes', () => {
    const machine = historyMachine('direct');
    startJournal();
    const seen = new Map<string, Uint8Array>();
    for (const call of makeHistory(7, 60)) {
      apply(machine, call);
      const { low, high } = stateHash();
      const bytes = snapshot(machine.state);
      const known = seen.get(`${low}:${high}`);
      if (known) expect(equal(known, bytes)).toBe(true);
      seen.set(`${low}:${high}`, bytes);
    }
    stopJournal();
    expect(seen.size).toBeGreaterThan(20);
  });
});

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
