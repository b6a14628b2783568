/** Copies: a clone at any step goes on as the original does; a machine with tasks in the middle of calls is bytes, here and in another thread. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { esbuildPrograms } from '../../scripts/kernel-program.mjs';
import { KernelBug } from '../../src/kernel/bug.ts';
import { chooseRandom, chooseRecorded } from '../../src/kernel/choose.ts';
import { Machine } from '../../src/machine/machine.ts';
import { clone, equalStates, snapshot } from '../../src/memory/snapshot.ts';
import { apply, historyMachine, makeHistory } from './smoke/history.ts';
import { stage } from './smoke/play.ts';
import { makeScenario, type Scenario } from './smoke/scenario.ts';
import { capture, resume, type Shipped } from './smoke/ship.ts';

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

describe('clones', () => {
  it('at step n are what replay to step n makes, and go on like the original', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000_000 }), fc.nat(29), (seed, n) => {
        const history = makeHistory(seed, 30);
        const original = historyMachine('direct');
        const replayed = historyMachine('direct');
        for (const call of history.slice(0, n)) apply(original, call);
        const copy = new Machine({ program: 'direct' }, { state: clone(original.state), codec: original.codec });
        for (const call of history.slice(0, n)) apply(replayed, call);
        expect(equalStates(copy.state, replayed.state)).toBe(true);
        const before = snapshot(copy.state);
        const results = history.slice(n).map((call) => apply(original, call));
        // What the original does does not reach the copy.
        expect(equal(snapshot(copy.state), before)).toBe(true);
        expect(history.slice(n).map((call) => apply(copy, call))).toEqual(results);
        expect(equalStates(copy.state, original.state)).toBe(true);
      }),
      { numRuns: 15 },
    );
  });
});

/** A schedule that ends without a bug, and the bytes of the machine at its end with the tasks still known. */
function wholeRun(scenario: Scenario, seed: number): { schedule: readonly number[]; end: Uint8Array } | undefined {
  const { machine, scheduler } = stage(scenario, 'step');
  try {
    scheduler.run(chooseRandom(seed));
  } catch (error) {
    if (error instanceof KernelBug) return undefined;
    throw error;
  }
  return { schedule: scheduler.schedule, end: snapshot(machine.state) };
}

/** The same run, captured after `n` actions. */
function shippedAt(scenario: Scenario, schedule: readonly number[], n: number): Shipped {
  const { machine, scheduler } = stage(scenario, 'step');
  for (const action of schedule.slice(0, n)) scheduler.step(action);
  return capture(machine, scheduler, scenario, schedule.slice(n));
}

describe('tasks in the middle of calls', () => {
  it('go on from a copy of the bytes to the same end', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (seed, at) => {
        const scenario = makeScenario(seed);
        const run = wholeRun(scenario, seed);
        if (run === undefined) return;
        const n = Math.floor(at * run.schedule.length);
        expect(equal(resume(shippedAt(scenario, run.schedule, n)).bytes, run.end)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it('every state of the native program has the same memory as that of the step program', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const scenario = makeScenario(seed);
        const run = wholeRun(scenario, seed);
        if (run === undefined) return;
        const [native, step] = [stage(scenario, 'native'), stage(scenario, 'step')];
        run.schedule.forEach((action, i) => {
          native.machine.enter();
          expect(native.scheduler.actions()).toContain(action);
          native.scheduler.step(action);
          step.machine.enter();
          step.scheduler.step(action);
          if (i % 7 === 0 || i === run.schedule.length - 1) expect([i, equalStates(native.machine.state, step.machine.state)]).toEqual([i, true]);
        });
        expect(native.scheduler.results).toEqual(step.scheduler.results);
        // A recorded schedule chooses the same again.
        const again = stage(scenario, 'step');
        again.scheduler.run(chooseRecorded(run.schedule));
        expect(equal(snapshot(again.machine.state), run.end)).toBe(true);
      }),
      { numRuns: 8 },
    );
  });

  describe('in another thread', () => {
    let folder: string;
    let worker: Worker;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'pxd-ship-'));
      const outfile = join(folder, 'worker.mjs');
      await build({
        entryPoints: [new URL('smoke/ship-worker.ts', import.meta.url).pathname],
        outfile,
        bundle: true,
        format: 'esm',
        platform: 'node',
        logLevel: 'silent',
        plugins: [esbuildPrograms()],
      });
      worker = new Worker(outfile);
    }, 120_000);

    afterAll(async () => {
      await worker?.terminate();
      rmSync(folder, { recursive: true });
    });

    it('go on to the same end', async () => {
      let shipped = 0;
      for (let seed = 100; seed < 110; seed++) {
        const scenario = makeScenario(seed);
        const run = wholeRun(scenario, seed);
        if (run === undefined) continue;
        for (const part of [0.3, 0.6]) {
          const parcel = shippedAt(scenario, run.schedule, Math.floor(part * run.schedule.length));
          const there = await new Promise<Uint8Array>((resolve, reject) => {
            worker.removeAllListeners('error');
            worker.once('message', resolve);
            worker.once('error', reject);
            worker.postMessage(parcel);
          });
          expect([seed, part, equal(there, run.end)]).toEqual([seed, part, true]);
          shipped++;
        }
      }
      expect(shipped).toBeGreaterThan(10);
    });
  });
});
