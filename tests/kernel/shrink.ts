/**
 * Makes a list of operations as short and as plain as it goes while something about it stays true (that kernel and model differ). The
 * question is asked anew for each candidate, so that a list is only ever replaced by one that was seen to differ.
 *
 * Candidates, largest steps first: a process with all that it does, a fork (the parent then does the child's work), chunks of operations (halves, quarters, … single ones), then arguments one by one.
 */
import type { Operation, OperationList } from './recorder.ts';

export interface Shrunk {
  readonly list: OperationList;
  /** Candidates that were asked about. */
  readonly asked: number;
}

export async function shrink(list: OperationList, holds: (candidate: OperationList) => Promise<boolean>, most = 3000): Promise<Shrunk> {
  let asked = 0;
  // with a snapshot after each operation the last one that matters is seen at once
  let best: OperationList = { ...list, header: { ...list.header, snap: 1 } };
  const tried = new Set<string>();
  const better = async (operations: readonly Operation[]): Promise<boolean> => {
    const key = JSON.stringify(operations);
    if (asked >= most || tried.has(key)) return false;
    tried.add(key);
    asked++;
    const candidate = { ...best, operations };
    if (!(await holds(candidate))) return false;
    best = candidate;
    return true;
  };
  if (!(await better(best.operations))) return { list, asked }; // only with the rarer snapshots
  for (let before = -1; before !== asked && asked < most; ) {
    before = asked;
    let changed = false;
    for (let p = processesOf(best.operations); p > 0; p--) {
      changed = (await better(withoutProcess(best.operations, p))) || (await better(mergedProcess(best.operations, p))) || changed;
    }
    changed = (await dropChunks(() => best.operations, better)) || changed;
    changed = (await simplify(() => best.operations, better)) || changed;
    if (!changed) break;
  }
  return { list: best, asked };
}

type Better = (operations: readonly Operation[]) => Promise<boolean>;

/** Leaves out chunks of n operations, from the end to the start, for n halved down to 1. */
async function dropChunks(operations: () => readonly Operation[], better: Better): Promise<boolean> {
  let changed = false;
  for (let size = Math.ceil(operations().length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let end = operations().length; end > 0; end -= size) {
      const now = operations();
      const start = Math.max(0, end - size);
      if (now.length > 1 && (await better([...now.slice(0, start), ...now.slice(end)]))) changed = true;
    }
  }
  return changed;
}

/** Tries plainer arguments, each operation on its own. */
async function simplify(operations: () => readonly Operation[], better: Better): Promise<boolean> {
  let changed = false;
  for (let i = 0; i < operations().length; i++) {
    for (let again = true; again; ) {
      again = false;
      for (const plainer of plainerOnes(operations()[i])) {
        if (await better(operations().map((o, k) => (k === i ? plainer : o)))) {
          changed = again = true;
          break;
        }
      }
    }
  }
  return changed;
}

/** How many processes the forks of a list make at most. */
const processesOf = (operations: readonly Operation[]): number => operations.filter((o) => o.op === 'fork').length;

/** Without the fork that makes process p, what p does, and with the numbers of later processes closed up. */
export function withoutProcess(operations: readonly Operation[], p: number): Operation[] {
  let made = 0;
  const kept: Operation[] = [];
  for (const o of operations) {
    if (o.op === 'fork' && ++made === p) continue;
    if (o.p === p) {
      if (o.op === 'fork') made--; // what p would have made does not come to be
      continue;
    }
    const target = TARGETS.has(o.op) && typeof o.a[0] === 'number' && o.a[0] > p ? [o.a[0] - 1, ...o.a.slice(1)] : o.a;
    kept.push({ op: o.op, p: o.p > p ? o.p - 1 : o.p, a: target });
  }
  return kept;
}

/** Without the fork that makes process p; its parent does what p did. */
export function mergedProcess(operations: readonly Operation[], p: number): Operation[] {
  let made = 0;
  const fork = operations.find((o) => o.op === 'fork' && ++made === p);
  if (fork === undefined) return [...operations];
  const renumbered = (n: number): number => (n === p ? fork.p : n > p ? n - 1 : n);
  return operations
    .filter((o) => o !== fork)
    .map((o) => ({ op: o.op, p: renumbered(o.p), a: TARGETS.has(o.op) && typeof o.a[0] === 'number' ? [renumbered(o.a[0]), ...o.a.slice(1)] : o.a }));
}

const TARGETS = new Set(['process_vm_readv', 'process_vm_writev', 'process_madvise', 'process_mrelease']);

/** Which arguments are sets of bits. */
const BITS: Readonly<Record<string, readonly number[]>> = {
  mmap: [2, 3],
  mprotect: [2],
  mremap: [3],
  mlock2: [2],
  mlockall: [0],
  memfd_create: [1],
  open: [1],
  fallocate: [1],
  msync: [2],
  shmat: [2],
};

/** The same operation with one argument plainer, the plainest first. */
export function* plainerOnes(o: Operation): Generator<Operation> {
  for (let i = 0; i < o.a.length; i++) {
    const replaced = (x: unknown): Operation => ({ ...o, a: o.a.map((y, k) => (k === i ? x : y)) });
    const x = o.a[i];
    if (Array.isArray(x)) {
      if (x.length > 1) for (let k = 0; k < x.length; k++) yield replaced(x.filter((_, j) => j !== k));
      continue;
    }
    const value = typeof x === 'string' && x.startsWith('0x') ? BigInt(x) : typeof x === 'number' ? BigInt(x) : undefined;
    if (value === undefined || value <= 0n) continue;
    if (BITS[o.op]?.includes(i)) {
      for (let bit = 1n; bit <= value; bit <<= 1n) if ((value & bit) !== 0n && value !== bit) yield replaced(written(value & ~bit));
    } else if (value < 2n ** 26n) {
      // lengths, counts, offsets; not addresses, advice or commands
      if (i === 0 || UNCHANGED.has(o.op)) continue;
      for (const y of [1n, 4096n, (value / 8192n) * 4096n, value - (value % 4096n), value - 4096n]) if (y > 0n && y < value) yield replaced(written(y));
    } else if (value % 4096n !== 0n) yield replaced(written(value - (value % 4096n)));
  }
  if (o.op === 'w' && o.a.length > 2 && o.a[2] !== 1) yield { ...o, a: [o.a[0], o.a[1], 1] };
}

const UNCHANGED = new Set(['fcntl', 'prctl', 'setrlimit', 'lseek', 'clear_refs', 'pagemap_scan', 'shmget']);

const written = (x: bigint): unknown => (x >= 2n ** 20n ? `0x${x.toString(16)}` : Number(x));
