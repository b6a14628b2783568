import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { generate } from './generate.ts';
import type { Operation, OperationList } from './recorder.ts';
import { mergedProcess, plainerOnes, shrink, withoutProcess } from './shrink.ts';

const op = (name: string, p: number, ...a: unknown[]): Operation => ({ op: name, p, a });
const listOf = (operations: Operation[]): OperationList => ({ header: { ops: 1, group: 'fork', name: 't', purpose: '', snap: 1 }, operations });

describe('shrink', () => {
  test('finds the operations that a difference needs, and their plainest arguments', async () => {
    // "differs" where a store by a child hits a mapping that was shared and at least two pages long
    const differs = async ({ operations }: OperationList): Promise<boolean> => {
      let [shared, children] = [false, 0];
      for (const o of operations) {
        if (o.op === 'mmap' && typeof o.a[1] === 'number' && o.a[1] >= 8192 && ((o.a[3] as number) & 1) === 1) shared = true;
        if (o.op === 'fork') children++;
        if (o.op === 'w' && o.p > 0 && o.p <= children && shared) return true;
      }
      return false;
    };
    const noise = generate('fork', 5, 60).operations;
    const [before, between] = [noise.slice(0, 30), noise.slice(30)];
    const list = listOf([...before, op('mmap', 0, '0x10000000', 40960, 3, 0x8031, -1, 0), ...between, op('fork', 0), op('w', 1, '0x10000100', 5, 77)]);
    const { list: small } = await shrink(list, differs);
    const [fork, mmap, w] = [...small.operations].sort((a, b) => (a.op < b.op ? -1 : 1));
    expect([small.operations.length, fork.op, mmap.op, w.op]).toEqual([3, 'fork', 'mmap', 'w']);
    expect([mmap.a[1], mmap.a[3], fork.p, w.p, w.a[1], w.a[2]]).toEqual([8192, 1, 0, 1, 1, 1]);
  });

  test('what comes out still differs, whatever the reason', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 4 }), async (seed, needed) => {
        const list = generate('misc', seed, 40);
        const wanted = list.operations.slice(-needed).map((o) => o.op);
        const holds = async (l: OperationList): Promise<boolean> => wanted.every((name) => l.operations.some((o) => o.op === name));
        const { list: small } = await shrink(list, holds);
        expect(await holds(small)).toBe(true);
        expect(small.operations).toHaveLength(new Set(wanted).size);
      }),
      { numRuns: 20 },
    );
  });

  test('what never differs stays as it was', async () => {
    const list = generate('anon', 1, 20);
    expect((await shrink(list, async () => false)).list).toBe(list);
  });

  test('a process goes with all that it did, later ones move up', () => {
    const operations = [op('fork', 0), op('fork', 1), op('fork', 0), op('w', 1, 1), op('w', 2, 2), op('w', 3, 3), op('process_madvise', 0, 3, [], 4, 0)];
    expect(withoutProcess(operations, 2)).toEqual([op('fork', 0), op('fork', 0), op('w', 1, 1), op('w', 2, 3), op('process_madvise', 0, 2, [], 4, 0)]);
  });

  test('a fork goes, the parent does what the child did', () => {
    const operations = [op('fork', 0), op('fork', 1), op('w', 1, 1), op('w', 2, 2), op('process_madvise', 0, 2, [], 4, 0)];
    expect(mergedProcess(operations, 1)).toEqual([op('fork', 0), op('w', 0, 1), op('w', 1, 2), op('process_madvise', 0, 1, [], 4, 0)]);
  });

  test('plainer arguments are other ones, and end', () => {
    for (const o of generate('misc', 3, 200).operations) {
      for (const plainer of plainerOnes(o)) {
        expect(plainer.op).toBe(o.op);
        expect(plainer.a).not.toEqual(o.a);
      }
      let [last, steps]: [Operation, number] = [o, 0];
      for (let next = plainerOnes(last).next(); !next.done; next = plainerOnes(last).next()) {
        last = next.value;
        expect(++steps).toBeLessThan(200);
      }
    }
  });
});
