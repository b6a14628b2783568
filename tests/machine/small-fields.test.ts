/** Built kernel code reads fields of these kinds as integers of 32 bits (scripts/fold-offsets.mjs). */
import { expect, it } from 'vitest';
import { FIRST_OBJECT, heap, SLOT_TOP } from '../../src/memory/state.ts';
import { layouts } from '../../src/memory/struct.ts';
import { apply, historyMachine, makeHistory } from './smoke/history.ts';

it('references and numbers of pages are small integers in all objects', () => {
  let fields = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const machine = historyMachine('direct');
    for (const call of makeHistory(seed, 60)) {
      apply(machine, call);
      machine.enter();
      for (let ref = FIRST_OBJECT; ref < heap[SLOT_TOP]; ) {
        const layout = layouts[Math.abs(heap[ref])];
        for (const [name, { kind, slots, offset }] of layout.fields) {
          if (heap[ref] < 0 || slots !== 1 || !/^(ref:|page$)/.test(kind)) continue;
          const value = heap[ref + offset];
          if ((value | 0) !== value) expect.fail(`${layout.name}.${name} of ${ref} holds ${value} after ${JSON.stringify(call)} (seed ${seed})`);
          fields++;
        }
        ref += layout.size;
      }
    }
  }
  expect(fields).toBeGreaterThan(10_000);
});
