/**
 * Threads that do the work of runs: an `Executor` (run.ts) for Node.
 *
 *   const executor = workerPool({ threads: 4, catalogue: entryUrl('races/index.ts', 'races.js'), files: ['my-race.ts'] });
 *   await runJobs({ …, executor });
 *   await executor.close();
 *
 * Works from the built package (dist/check-worker.js) and from source, where thread and catalogue are bundled first (scripts/source-worker.mjs).
 *
 * Invariants: a thread does one piece at a time and begins nothing while it is closed; a piece whose thread runs out of memory ends as `lost`, others go on in a
 * new thread; whatever else a thread throws is thrown by `run`.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { PxdError, type PxdErrorCode } from '../../pagetable/error.ts';
import type { Executor, ExecutorHooks } from '../run.ts';
import type { SubtreeResult } from '../subtrees.ts';
import type { Outcome, Work, WorkProgress } from '../work.ts';

export interface PoolOptions {
  /** Threads at most; no more are started than there are pieces. Default: what the machine can do at once. */
  readonly threads?: number;
  /** A module that exports scenarios as `catalogue`. */
  readonly catalogue?: URL;
  /** Files of scenarios (load.ts). Together with the catalogue they are what jobs name. */
  readonly files?: readonly string[];
  /** Megabytes that one thread's JavaScript heap may take (tables of states are beside it: `WorkLimits.memoryBytes`). Default 2048. */
  readonly heapMegabytes?: number;
}

/** What a thread is started with. */
export interface WorkerData {
  readonly catalogue?: string;
  readonly files: readonly string[];
  /** One word: not 0 when all pieces are to end. */
  readonly stop: SharedArrayBuffer;
}

/** What a thread says. */
export type WorkerMessage =
  | { readonly kind: 'progress'; readonly progress: WorkProgress }
  | { readonly kind: 'subtree'; readonly result: SubtreeResult; readonly ms: number }
  | { readonly kind: 'outcome'; readonly outcome: Outcome }
  | { readonly kind: 'error'; readonly code?: PxdErrorCode; readonly message: string; readonly stack: string };

/** Where a part of this package is: its source (from src/), or the file of dist/ that it is built into. */
export function entryUrl(source: string, built: string): URL {
  const here = import.meta.url;
  if (here.endsWith('.ts')) return new URL(`../../${source}`, here);
  return new URL(`${here.includes('/chunks/') ? '../' : './'}${built}`, here);
}

export function workerPool(options: PoolOptions = {}): Executor {
  return new Pool(options);
}

/** What a thread runs. */
interface Modules {
  readonly worker: URL;
  readonly catalogue?: URL;
}

async function modulesOf(catalogue: URL | undefined): Promise<Modules> {
  const worker = entryUrl('explore/node/worker.ts', 'check-worker.js');
  if (!worker.pathname.endsWith('.ts')) return { worker, ...(catalogue ? { catalogue } : {}) };
  const script = new URL('../../../scripts/source-worker.mjs', import.meta.url);
  const { sourceWorker } = (await import(/* @vite-ignore */ String(script))) as { sourceWorker: (catalogue?: URL) => Promise<Modules> };
  return await sourceWorker(catalogue);
}

interface Piece {
  readonly work: Work;
  readonly hooks: ExecutorHooks;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

const HEAP_MEGABYTES = 2048;

class Pool implements Executor {
  readonly size: number;
  readonly #options: PoolOptions;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #queue: Piece[] = [];
  readonly #idle: Worker[] = [];
  readonly #all = new Map<Worker, Piece | undefined>();
  #modules: Modules | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.size = Math.max(1, options.threads ?? availableParallelism());
  }

  run(work: Work, hooks: ExecutorHooks = {}): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ work, hooks, resolve, reject });
      if (this.#modules === undefined) this.#prepare().catch(reject);
      else this.#dispatch();
    });
  }

  async #prepare(): Promise<void> {
    const modules = await modulesOf(this.#options.catalogue);
    this.#modules ??= modules;
    this.#dispatch();
  }

  stop(): void {
    Atomics.store(this.#stop, 0, 1);
    for (const piece of this.#queue.splice(0)) piece.resolve({ kind: 'cancelled' });
  }

  async close(): Promise<void> {
    this.stop();
    const workers = [...this.#all.keys()];
    for (const piece of this.#all.values()) piece?.resolve({ kind: 'cancelled' });
    this.#all.clear();
    this.#idle.length = 0;
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      if (Atomics.load(this.#stop, 0) !== 0) {
        this.#queue.shift()?.resolve({ kind: 'cancelled' });
        continue;
      }
      const worker = this.#idle.pop() ?? (this.#all.size < this.size ? this.#start() : undefined);
      if (worker === undefined) return;
      const piece = this.#queue.shift() as Piece;
      this.#all.set(worker, piece);
      worker.ref();
      worker.postMessage(piece.work);
    }
  }

  #start(): Worker {
    const { files = [], heapMegabytes = HEAP_MEGABYTES } = this.#options;
    const { worker: url, catalogue } = this.#modules as Modules;
    const workerData: WorkerData = { ...(catalogue ? { catalogue: String(catalogue) } : {}), files, stop: this.#stop.buffer as SharedArrayBuffer };
    const worker = new Worker(url, { workerData, resourceLimits: { maxOldGenerationSizeMb: heapMegabytes } });
    worker.on('message', (message: WorkerMessage) => this.#heard(worker, message));
    worker.on('error', (error) => this.#died(worker, error));
    worker.on('exit', (code) => this.#died(worker, new Error(`a thread of pxd check ended with code ${code} in the middle of its work`)));
    return worker;
  }

  #heard(worker: Worker, message: WorkerMessage): void {
    const piece = this.#all.get(worker);
    if (piece === undefined) return;
    if (message.kind === 'progress') piece.hooks.onProgress?.(message.progress);
    else if (message.kind === 'subtree') piece.hooks.onSubtree?.(message.result, message.ms);
    else {
      this.#all.set(worker, undefined);
      this.#idle.push(worker);
      // Threads that wait keep nobody from ending.
      worker.unref();
      if (message.kind === 'outcome') piece.resolve(message.outcome);
      else piece.reject(errorOf(message));
      this.#dispatch();
    }
  }

  #died(worker: Worker, error: unknown): void {
    const piece = this.#all.get(worker);
    this.#all.delete(worker);
    const at = this.#idle.indexOf(worker);
    if (at >= 0) this.#idle.splice(at, 1);
    if ((error as { code?: string }).code === 'ERR_WORKER_OUT_OF_MEMORY')
      piece?.resolve({ kind: 'lost', reason: 'the thread that searched ran out of memory' });
    else piece?.reject(error);
    this.#dispatch();
  }
}

function errorOf({ code, message, stack }: WorkerMessage & { kind: 'error' }): Error {
  if (code !== undefined) return new PxdError(code, message);
  const error = new Error(message);
  error.stack = stack;
  return error;
}
