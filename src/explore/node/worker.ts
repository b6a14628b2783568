/** A thread of workers.ts: loads the scenarios, then does the pieces of work that it is sent, one after the other. */
import { performance } from 'node:perf_hooks';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { PxdError } from '../../pagetable/error.ts';
import type { Scenario } from '../scenario.ts';
import { type Work, Workbench, type WorkProgress } from '../work.ts';
import type { WorkerData, WorkerMessage } from './workers.ts';

/** Milliseconds between two messages of progress. */
const TELL_MS = 200;

const port = parentPort as MessagePort;
const { catalogue, files, stop } = workerData as WorkerData;
const stopWord = new Int32Array(stop);
const now = (): number => performance.now();

async function loadAll(): Promise<Scenario[]> {
  const found: Scenario[] = [];
  if (catalogue !== undefined) found.push(...((await import(/* @vite-ignore */ catalogue)) as { catalogue: readonly Scenario[] }).catalogue);
  if (files.length > 0) {
    const { loadScenarios } = await import('./load.ts');
    for (const file of files) found.push(...(await loadScenarios(file)));
  }
  return found;
}

const say = (message: WorkerMessage, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

function told(error: unknown): WorkerMessage {
  const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
  return { kind: 'error', ...(error instanceof PxdError ? { code: error.code } : {}), message, stack };
}

let bench: Promise<Workbench> | undefined;
let last = 0;

/** Progress now and then. */
function tell(progress: WorkProgress): void {
  if (now() - last < TELL_MS) return;
  last = now();
  say({ kind: 'progress', progress });
}

port.on('message', (work: Work) => {
  bench ??= loadAll().then((scenarios) => new Workbench(scenarios, now));
  bench
    .then((ready) =>
      ready.perform(work, {
        onProgress: tell,
        onSubtree: (result, ms) => say({ kind: 'subtree', result, ms }, [result.set.buffer]),
        cancelled: () => Atomics.load(stopWord, 0) !== 0,
      }),
    )
    .then((outcome) => say({ kind: 'outcome', outcome }))
    .catch((error) => say(told(error)));
});
