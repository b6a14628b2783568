/**
 * The text of a trace: a header line, one line an operation, an end line, each a JSON object.
 *
 * Invariants: what `parseTrace` returns is complete and typed whatever went in; the first thing that is not as expected is named with its
 * line. Arguments keep their meaning: numbers are unsigned 64-bit bigints (`-1` is 2^64-1), texts stay texts.
 *
 * A list of operations without results (the recorder's input) is read by the same functions.
 */
import { PxdError } from '../../pagetable/error.ts';
import type { Snapshot, SnapshotDelta, StatusFields } from './delta.ts';
import { applyDelta, emptySnapshot } from './delta.ts';

/** An argument of an operation. */
export type Argument = bigint | string | null | readonly Argument[];

export interface Operation {
  /** Name as in the protocol: that of a system call, or `r`, `w`, `fork`, … */
  readonly op: string;
  /** Number of the process that carries it out. */
  readonly process: number;
  readonly args: readonly Argument[];
}

/** A list with equal neighbours folded: `x` or `[count, x]`. */
export type RunLengths = readonly (number | readonly [number, number])[];

/** Faults of consecutive accesses 4096 bytes apart: first address, count, signal, si_code. */
export type FaultRun = readonly [address: string, count: number, signal: number, code: number];

/** What an operation gave. Fields as in the trace; addresses are texts `0x…`. */
export interface OperationResult {
  readonly r: number | string;
  /** Values read: runs of bytes, a hexadecimal text, numbers, regions, an object; by operation. */
  readonly v?: unknown;
  readonly f?: readonly FaultRun[];
  readonly status?: string;
  readonly walk_end?: string;
  /** Result of the ioctl inside `uffd_unblock`. */
  readonly u?: string;
}

/** Fields of a result beside `r`, in the order in which a trace has them. */
export const RESULT_FIELDS = ['r', 'status', 'v', 'f', 'walk_end', 'u'] as const;

export interface TraceStep extends Operation {
  readonly i: number;
  /** As recorded; undefined in a list of operations. */
  readonly expected: OperationResult | undefined;
  /** Change of the state; undefined where the recorder took no snapshot. */
  readonly delta: SnapshotDelta | undefined;
}

export interface TraceHeader {
  readonly group: string;
  readonly name: string;
  readonly purpose: string;
  /** A snapshot is taken after every so many operations. */
  readonly snap: number;
  /** Parts of the machine whose counters are recorded: `hugetlb`, `swap`, `ksm`. */
  readonly sys: readonly string[];
  /** No `ref` in the numbers of VMAs. */
  readonly noref: boolean;
  readonly kernel: string;
  readonly machine: string;
  readonly pageSize: number;
  /** Settings, by the recorder's names (`thp.enabled`, `vm.overcommit_memory`), values as they read. */
  readonly config: Readonly<Record<string, string>>;
  readonly memTotalKb: number;
  /** Soft and hard limit by name (DATA, STACK, AS, MEMLOCK, NOFILE, FSIZE); -1 for none. */
  readonly rlimits: Readonly<Record<string, readonly [number, number]>>;
  readonly harness: {
    /** The executor's VMAs: [start, end]. */
    readonly vmas: readonly (readonly [bigint, bigint])[];
    readonly brk: bigint;
    readonly mmapBase: bigint;
    readonly taskSize: bigint;
    /** kB of page tables that exist before the first operation; not part of recorded VmPTE. */
    readonly pteBaseKb: number;
  };
}

export interface Trace {
  readonly header: TraceHeader;
  readonly steps: readonly TraceStep[];
}

/** What holds where a header does not say otherwise: the machine on which the traces were recorded. */
export const DEFAULT_HEADER: TraceHeader = {
  group: '',
  name: '',
  purpose: '',
  snap: 1,
  sys: [],
  noref: false,
  kernel: '6.18.44',
  machine: 'x86_64',
  pageSize: 4096,
  config: {
    'thp.enabled': 'madvise',
    'thp.defrag': 'madvise',
    'thp.shmem_enabled': 'never',
    'thp.use_zero_page': '1',
    'thp.2048kB.enabled': 'inherit',
    'thp.2048kB.shmem_enabled': 'inherit',
    'hugetlb.2M.nr': '0',
    'hugetlb.2M.overcommit': '0',
    'hugetlb.1G.nr': '0',
    'ksm.run': '0',
    'ksm.use_zero_pages': '0',
    'ksm.max_page_sharing': '256',
    'vm.overcommit_memory': '0',
    'vm.overcommit_ratio': '50',
    'vm.overcommit_kbytes': '0',
    'vm.max_map_count': '65530',
    'vm.mmap_min_addr': '4096',
    'vm.swappiness': '60',
    'vm.page-cluster': '3',
    'vm.unprivileged_userfaultfd': '0',
    'vm.legacy_va_layout': '0',
    'vm.memfd_noexec': '0',
  },
  memTotalKb: 24_684_092,
  rlimits: { DATA: [-1, -1], STACK: [8388608, -1], AS: [-1, -1], MEMLOCK: [8388608, 8388608], NOFILE: [20000, 20000], FSIZE: [-1, -1] },
  harness: {
    vmas: [[0x7e00_0000_0000n, 0x7e00_0001_1000n]],
    brk: 0x7e00_0001_1000n,
    mmapBase: 0x7fff_f7ff_f000n,
    taskSize: 0x7fff_ffff_f000n,
    pteBaseKb: 12,
  },
};

const MOST_TEXT = 256 * 2 ** 20;

/** Reads a trace, or a list of operations. Throws a `PxdError` that names the line and what was expected there. */
export function parseTrace(text: string): Trace {
  if (text.length > MOST_TEXT) throw new PxdError('limit', `the trace has ${text.length} characters, more than pxd reads`);
  const lines = text.split('\n');
  const steps: TraceStep[] = [];
  let header: TraceHeader | undefined;
  let ended = false;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at].trim();
    if (line === '') continue;
    const place = `line ${at + 1} of the trace`;
    if (ended) throw bad(`${place} follows the end line`);
    const object = parseLine(line, place);
    if (header === undefined) {
      header = headerFrom(object, place);
      continue;
    }
    if (object.op === undefined && object.end !== undefined) {
      if (object.end !== steps.length) throw bad(`${place} says that ${shown(object.end)} operations came before it, there were ${steps.length}`);
      ended = true;
      continue;
    }
    steps.push(stepFrom(object, steps.length, place));
  }
  if (header === undefined) throw bad('the trace is empty, expected a header line {"trace":1,…} or {"ops":1,…}');
  const recorded = steps.some((s) => s.expected !== undefined);
  if (recorded && !ended) throw bad(`the trace ends after ${steps.length} operations without an end line {"end":N}: it is cut off`);
  return { header, steps };
}

function parseLine(line: string, place: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw bad(`${place} is not JSON: ${shown(line)}`);
  }
  if (!isRecord(value)) throw bad(`${place} holds ${shown(value)}, expected a JSON object`);
  return value;
}

function headerFrom(object: Record<string, unknown>, place: string): TraceHeader {
  if (object.trace !== 1 && object.ops !== 1) throw bad(`${place} is no header: expected {"trace":1,…} or {"ops":1,…}, found ${shown(object)}`);
  const where = `${place} (the header)`;
  const base = DEFAULT_HEADER;
  const config = object.config === undefined ? {} : record(object.config, 'config', where);
  const harness = object.harness === undefined ? {} : record(object.harness, 'harness', where);
  const pageSize = object.page_size === undefined ? 4096 : whole(object.page_size, 'page_size', where);
  if (pageSize !== 4096) throw new PxdError('unavailable', `${where} tells of pages of ${pageSize} bytes, pxd plays traces of 4096 only`);
  const snap = object.snap === undefined ? 1 : whole(object.snap, 'snap', where);
  if (snap < 1) throw bad(`${where} has "snap" ${snap}, expected at least 1`);
  const settings: Record<string, string> = { ...base.config };
  for (const [key, value] of Object.entries(config)) if (typeof value === 'string') settings[key] = value;
  return {
    group: word(object.group, 'group', where),
    name: word(object.name, 'name', where),
    purpose: word(object.purpose, 'purpose', where),
    snap,
    sys: object.sys === undefined ? [] : list(object.sys, 'sys', where).map((x) => word(x, 'sys', where)),
    noref: object.noref === 1,
    kernel: object.kernel === undefined ? base.kernel : word(object.kernel, 'kernel', where),
    machine: object.machine === undefined ? base.machine : word(object.machine, 'machine', where),
    pageSize,
    config: settings,
    memTotalKb: config.MemTotal_kB === undefined ? base.memTotalKb : whole(config.MemTotal_kB, 'MemTotal_kB', where),
    rlimits: config.rlimits === undefined ? base.rlimits : { ...base.rlimits, ...limits(record(config.rlimits, 'rlimits', where), where) },
    harness: {
      vmas: harness.vmas === undefined ? base.harness.vmas : list(harness.vmas, 'harness.vmas', where).map((v) => range(v, where)),
      brk: harness.brk === undefined ? base.harness.brk : address(harness.brk, 'harness.brk', where),
      mmapBase: harness.mmap_base === undefined ? base.harness.mmapBase : address(harness.mmap_base, 'harness.mmap_base', where),
      taskSize: harness.task_size === undefined ? base.harness.taskSize : address(harness.task_size, 'harness.task_size', where),
      pteBaseKb: harness.VmPTE_base === undefined ? base.harness.pteBaseKb : whole(harness.VmPTE_base, 'harness.VmPTE_base', where),
    },
  };
}

const limits = (object: Record<string, unknown>, where: string): Record<string, [number, number]> =>
  Object.fromEntries(
    Object.entries(object).map(([name, pair]) => {
      const [soft, hard] = list(pair, `rlimits.${name}`, where);
      if (typeof soft !== 'number' || typeof hard !== 'number') throw bad(`${where} has rlimits.${name} ${shown(pair)}, expected [soft, hard]`);
      return [name, [soft, hard]];
    }),
  );

function range(value: unknown, where: string): [bigint, bigint] {
  const [start, end] = list(value, 'harness.vmas', where);
  return [address(start, 'harness.vmas', where), address(end, 'harness.vmas', where)];
}

function stepFrom(object: Record<string, unknown>, i: number, place: string): TraceStep {
  const { op, p, a, s } = object;
  if (typeof op !== 'string' || op === '') throw bad(`${place} has no operation: expected "op", found ${shown(object)}`);
  if (object.i !== undefined && object.i !== i) throw bad(`${place} is operation ${shown(object.i)}, expected ${i}`);
  const process = p === undefined ? 0 : p;
  if (typeof process !== 'number' || !Number.isInteger(process)) throw bad(`${place} has process ${shown(p)}, expected a whole number`);
  const args = a === undefined ? [] : list(a, 'a', place).map((x) => argument(x, place, 0));
  const expected = object.r === undefined ? undefined : resultFrom(object, place);
  return { i, op, process, args, expected, delta: s === undefined ? undefined : deltaFrom(s, place) };
}

function argument(value: unknown, place: string, depth: number): Argument {
  if (value === null) return null;
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw bad(`${place} has the argument ${value}, expected a whole number (larger than 2^53 as "0x…")`);
    return BigInt.asUintN(64, BigInt(value));
  }
  if (typeof value === 'string') {
    if (!/^-?0x[0-9a-f]{1,16}$/i.test(value)) return value;
    return BigInt.asUintN(64, value.startsWith('-') ? -BigInt(value.slice(1)) : BigInt(value));
  }
  if (Array.isArray(value) && depth < 3) return value.map((x) => argument(x, place, depth + 1));
  throw bad(`${place} has the argument ${shown(value)}, expected a number, a text, null or a list`);
}

function resultFrom(object: Record<string, unknown>, place: string): OperationResult {
  const { r, v, f, status, walk_end, u } = object;
  if (typeof r !== 'number' && typeof r !== 'string') throw bad(`${place} has the result ${shown(r)}, expected a number or a text`);
  const faults = f === undefined ? undefined : list(f, 'f', place).map((x) => faultFrom(x, place));
  return {
    r,
    ...(status === undefined ? {} : { status: word(status, 'status', place) }),
    ...(v === undefined ? {} : { v }),
    ...(faults === undefined ? {} : { f: faults }),
    ...(walk_end === undefined ? {} : { walk_end: word(walk_end, 'walk_end', place) }),
    ...(u === undefined ? {} : { u: word(u, 'u', place) }),
  };
}

function faultFrom(value: unknown, place: string): FaultRun {
  if (Array.isArray(value) && value.length === 4 && typeof value[0] === 'string' && value.slice(1).every((x) => typeof x === 'number'))
    return value as unknown as FaultRun;
  throw bad(`${place} has the fault ${shown(value)}, expected [address, count, signal, code]`);
}

function deltaFrom(value: unknown, place: string): SnapshotDelta {
  const processes = new Map<number, { gone: string[]; changed: string[]; status: StatusFields } | null>();
  let files: SnapshotDelta['files'] = {};
  let sys: StatusFields = {};
  for (const [key, part] of Object.entries(record(value, 's', place))) {
    if (key === 'files') files = record(part, 's.files', place) as SnapshotDelta['files'];
    else if (key === 'sys') sys = numbers(part, 's.sys', place);
    else if (!/^\d+$/.test(key)) throw bad(`${place} has "${shorten(key)}" in its snapshot, expected a process number, "files" or "sys"`);
    else if (part === null) processes.set(Number(key), null);
    else {
      const { '-': gone, '+': changed, st } = record(part, `s.${key}`, place);
      processes.set(Number(key), {
        gone: gone === undefined ? [] : list(gone, '-', place).map((x) => word(x, '-', place)),
        changed: changed === undefined ? [] : list(changed, '+', place).map((x) => word(x, '+', place)),
        status: st === undefined ? {} : numbers(st, 'st', place),
      });
    }
  }
  for (const [name, file] of Object.entries(files)) {
    const numbersOf = numbers(file, `s.files.${name}`, place);
    if (numbersOf.size === undefined) throw bad(`${place} has the file ${shorten(name)} without a size`);
  }
  return { processes, files, sys };
}

/** The full state after each step that has a snapshot (the same object each time, changed in between). */
export function* expand(trace: Trace): Generator<{ step: TraceStep; state: Snapshot }> {
  const state = emptySnapshot();
  for (const step of trace.steps) {
    if (step.delta !== undefined) applyDelta(state, step.delta);
    yield { step, state };
  }
}

const bad = (sentence: string): PxdError => new PxdError('bad-image', sentence);

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

const shown = (value: unknown): string => shorten(JSON.stringify(value) ?? 'nothing');

function word(value: unknown, name: string, where: string): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') throw bad(`${where} has "${name}" ${shown(value)}, expected a text`);
  return value;
}

function whole(value: unknown, name: string, where: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw bad(`${where} has "${name}" ${shown(value)}, expected a whole number`);
  return value;
}

function list(value: unknown, name: string, where: string): unknown[] {
  if (!Array.isArray(value)) throw bad(`${where} has "${name}" ${shown(value)}, expected a list`);
  return value;
}

function record(value: unknown, name: string, where: string): Record<string, unknown> {
  if (!isRecord(value)) throw bad(`${where} has "${name}" ${shown(value)}, expected an object`);
  return value;
}

function numbers(value: unknown, name: string, where: string): Record<string, number> {
  const object = record(value, name, where);
  for (const [key, x] of Object.entries(object)) whole(x, `${name}.${key}`, where);
  return object as Record<string, number>;
}

function address(value: unknown, name: string, where: string): bigint {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value === 'string' && /^0x[0-9a-f]{1,16}$/i.test(value)) return BigInt(value);
  throw bad(`${where} has "${name}" ${shown(value)}, expected an address "0x…"`);
}
