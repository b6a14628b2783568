/**
 * A host that answers as a recording says, in the raw form of the kernel (negative errno, bytes in user memory, single faults), and
 * checks that it is asked as the recorder asks: arguments, buffers and vectors are decoded here, independently of the code under test.
 *
 * It knows which operation it is in by `drain`, which is called once before each operation and once before each look at the state.
 */
import type { ProcessView } from '../../../src/machine/proc/view.ts';
import { applyDelta, emptySnapshot } from '../../../src/machine/trace/delta.ts';
import { ERRNO } from '../../../src/machine/trace/errno.ts';
import type { Argument, FaultRun, RunLengths, Trace, TraceStep } from '../../../src/machine/trace/format.ts';
import {
  DISK_DIRECTORY,
  type Fault,
  type FileView,
  type PagemapScan,
  type PagemapScanResult,
  SCRATCH,
  TMPFS_DIRECTORY,
  type TraceHost,
} from '../../../src/machine/trace/host.ts';
import { FileIds, rebuild } from './rebuild.ts';

const SEGMENT = 5000;
const PIDFD = 99n;

export class Playback implements TraceHost {
  readonly #trace: Trace;
  readonly #ids = new FileIds();
  readonly #state = emptySnapshot();
  #looks = 0;
  #views = new Map<number, ProcessView>();
  #dead = new Set<number>();
  #memory = new Map<string, number>();
  #calls = 0;
  /** Names of files by process and descriptor, as they were created in the recording. */
  readonly #open = new Map<string, string>();
  #memfds = 0;
  processCount = 1;
  /** What was not as the recorder does it. */
  readonly complaints: string[] = [];

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  get #step(): TraceStep {
    return this.#trace.steps[Math.floor((this.#looks - 1) / 2)];
  }

  drain(): void {
    this.#looks++;
    this.#calls = 0;
    const { delta } = this.#step;
    if (this.#looks % 2 !== 0 || delta === undefined) return;
    applyDelta(this.#state, delta);
    this.#views = rebuild(this.#state, this.#ids, this.#trace.header.harness.pteBaseKb);
  }

  #expect(what: string, expected: unknown, got: unknown): void {
    const text = (value: unknown): string => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `0x${v.toString(16)}` : v));
    if (text(expected) !== text(got)) this.complaints.push(`op ${this.#step.i} ${this.#step.op}: ${what}: expected ${text(expected)}, got ${text(got)}`);
  }

  #raw(): number {
    const { r } = this.#step.expected as { r: number | string };
    if (typeof r === 'number') return r;
    if (r.startsWith('0x')) return Number(r);
    if (r.startsWith('shm')) return SEGMENT + Number(r.slice(3));
    if (ERRNO[r] === undefined) throw new Error(`${r} is no result of a call`);
    return -ERRNO[r];
  }

  alive = (process: number): boolean => process < this.processCount && !this.#dead.has(process);
  pid = (process: number): number => 4000 + process;

  syscall(process: number, name: string, args: readonly bigint[]): number {
    const { op, args: given, process: by } = this.#step;
    this.#expect('process', by, process);
    const call = this.#calls++;
    if (op === 'process_madvise' || op === 'process_mrelease') return this.#throughPidfd(op, name, args, given, call);
    if (op === 'mapmany') return call < this.#raw() ? 0x30000000 : -ERRNO.ENOMEM;
    const calls: Readonly<Record<string, string>> = { readbuf: 'read', preadbuf: 'pread64', writebuf: 'write', pwritebuf: 'pwrite64', setrlimit: 'prlimit64' };
    this.#expect('name', calls[op] ?? op, name);
    this.#expect('calls', 0, call);
    this.#expect('arguments', this.#expectedArguments(op, args, given), args);
    const r = this.#raw();
    if (r >= 0) this.#after(op, process, r, given);
    return r;
  }

  #throughPidfd(op: string, name: string, args: readonly bigint[], given: readonly Argument[], call: number): number {
    const target = Number(given[0]);
    if (call === 0) {
      this.#expect('pidfd_open', ['pidfd_open', [BigInt(this.pid(target)), 0n]], [name, args]);
      return this.#dead.has(target) ? -ERRNO.ESRCH : Number(PIDFD);
    }
    if (call === 1) {
      this.#expect('name', op, name);
      if (op === 'process_madvise') {
        this.#expect('arguments', [PIDFD, SCRATCH, BigInt((given[1] as unknown[]).length), given[2], given[3] ?? 0n], args);
        this.#expect('vector', given[1], this.#vector(SCRATCH, (given[1] as unknown[]).length));
      } else this.#expect('arguments', [PIDFD, given[1]], args);
      return this.#raw();
    }
    this.#expect('close', ['close', [PIDFD]], [name, args]);
    return 0;
  }

  /** What the call's arguments must be; buffers are looked at on the way. */
  #expectedArguments(op: string, args: readonly bigint[], given: readonly Argument[]): (Argument | undefined)[] {
    const string = (path: string): void => this.#expect('text', path, this.#text(SCRATCH));
    const bytes = (length: bigint): bigint => (length > 65536n ? 65536n : length);
    const path = (): string => (given[0] as string).replace(/^T/, TMPFS_DIRECTORY).replace(/^D/, DISK_DIRECTORY);
    switch (op) {
      case 'mincore':
        return [given[0], given[1], SCRATCH];
      case 'memfd_create':
        string(given[0] as string);
        return [SCRATCH, given[1]];
      case 'open':
        string(path());
        return [SCRATCH, given[1], 0o600n];
      case 'unlink':
        string(path());
        return [SCRATCH];
      case 'readbuf':
        return [given[0], SCRATCH, bytes(given[1] as bigint)];
      case 'preadbuf':
        return [given[0], SCRATCH, bytes(given[1] as bigint), given[2]];
      case 'pwritebuf': {
        const length = bytes(given[2] as bigint);
        this.#expect(
          'buffer',
          true,
          this.#bytes(SCRATCH, Number(length)).every((b) => b === Number(given[1])),
        );
        return [given[0], SCRATCH, length, given[3]];
      }
      case 'pipe2':
        return [SCRATCH, given[0]];
      case 'vmsplice':
        this.#expect('vector', given[1], this.#vector(SCRATCH, (given[1] as unknown[]).length));
        return [given[0], SCRATCH, BigInt((given[1] as unknown[]).length), given[2]];
      case 'process_vm_readv':
      case 'process_vm_writev': {
        const [local, remote] = [given[1] as unknown[], given[2] as unknown[]];
        this.#expect('vector', local, this.#vector(SCRATCH, local.length));
        this.#expect('vector', remote, this.#vector(SCRATCH + 0x2000n, remote.length));
        return [BigInt(this.pid(Number(given[0]))), SCRATCH, BigInt(local.length), SCRATCH + 0x2000n, BigInt(remote.length), given[3]];
      }
      case 'setrlimit':
        this.#expect('limits', [given[1], given[2]], this.#words(SCRATCH, 2));
        return [0n, given[0], SCRATCH, 0n];
      case 'shmat':
        return [BigInt(SEGMENT) + (given[0] as bigint), given[1], given[2]];
      default:
        return [...given, ...args.slice(given.length).map(() => 0n)].slice(0, args.length);
    }
  }

  /** Effects that later questions depend on. */
  #after(op: string, process: number, r: number, given: readonly Argument[]): void {
    if (op === 'memfd_create') this.#open.set(`${process} ${r}`, `memfd:${this.#memfds++}`);
    if (op === 'open') this.#open.set(`${process} ${r}`, (given[0] as string).replace('T/', 'tmpfs:').replace('D/', 'disk:'));
    const values = this.#step.expected?.v;
    if (values === undefined) return;
    const bytes = op === 'pipe2' ? [...new Uint8Array(new Int32Array(values as number[]).buffer)] : unfold(values as RunLengths);
    // mincore's bytes have more bits than the one that counts.
    bytes.forEach((byte, i) => this.#memory.set((SCRATCH + BigInt(i)).toString(), op === 'mincore' ? byte | 0x40 : byte));
  }

  fork(): number {
    const { r } = this.#step.expected as { r: string };
    if (!r.startsWith('P')) return this.#raw();
    return this.processCount++;
  }

  exit(process: number, status: number): void {
    this.#expect('status', this.#step.args[0], BigInt(status));
    this.#dead.add(process);
  }

  kill(process: number): void {
    this.#dead.add(process);
  }

  #access(address: bigint): Fault | undefined {
    for (const [first, count, signal, code] of (this.#step.expected?.f ?? []) as readonly FaultRun[]) {
      const offset = address - BigInt(first);
      if (offset >= 0n && offset < BigInt(count) * 4096n && offset % 4096n === 0n) return { signal, code, address };
    }
    return undefined;
  }

  load(_process: number, address: bigint, bytes: 1 | 8): bigint | Fault {
    const fault = this.#access(address);
    if (fault !== undefined) return fault;
    const { v } = this.#step.expected as { v: unknown };
    if (bytes === 8) return BigInt(v as string);
    const [start] = this.#step.args as bigint[];
    return BigInt(unfold(v as RunLengths)[Number((address - start) / 4096n)]);
  }

  store(_process: number, address: bigint, bytes: 1 | 8, value: bigint): Fault | undefined {
    const [start, n, first] = this.#step.args as bigint[];
    if (bytes === 8) this.#expect('value', n, value);
    else this.#expect('value', ((first ?? 0n) + (address - start) / 4096n) & 255n, value);
    return this.#access(address);
  }

  compareExchange = (_process: number, address: bigint): Fault | undefined => this.#access(address);
  fetch = (_process: number, address: bigint): Fault | undefined => this.#access(address);

  readMemory(_process: number, address: bigint, length: number): Uint8Array | number {
    const { op, expected } = this.#step;
    if (op === 'peek') return expected?.r === 'EIO' ? -ERRNO.EIO : words([BigInt(expected?.r as string)]);
    if (op !== 'pm_read') return this.#bytes(address, length);
    this.#expect('arguments', [this.#step.args[0], this.#step.args[1]], [address, BigInt(length)]);
    return typeof expected?.r === 'string' ? -ERRNO[expected.r] : Uint8Array.from(unfold((expected?.v ?? []) as RunLengths));
  }

  writeMemory(_process: number, address: bigint, bytes: Uint8Array): number {
    const { op, args, expected } = this.#step;
    if (op === 'pm_write' || op === 'poke') {
      const content = op === 'poke' ? [...words([args[1] as bigint])] : new Array(Number(args[1])).fill(Number(args[2]));
      this.#expect('bytes', content, [...bytes]);
      if (op === 'poke') return expected?.r === 0 ? 8 : -ERRNO.EIO;
      return this.#raw();
    }
    for (const [i, byte] of bytes.entries()) this.#memory.set((address + BigInt(i)).toString(), byte);
    return bytes.length;
  }

  #bytes(address: bigint, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.#memory.get((address + BigInt(i)).toString()) ?? 0);
  }

  #words(address: bigint, count: number): bigint[] {
    const view = new DataView(this.#bytes(address, count * 8).buffer);
    return Array.from({ length: count }, (_, i) => view.getBigUint64(i * 8, true));
  }

  #vector(address: bigint, count: number): bigint[][] {
    const all = this.#words(address, count * 2);
    return Array.from({ length: count }, (_, i) => all.slice(i * 2, i * 2 + 2));
  }

  #text(address: bigint): string {
    let text = '';
    for (let at = address; this.#memory.get(at.toString()); at++) text += String.fromCharCode(this.#memory.get(at.toString()) as number);
    return text;
  }

  pagemapScan(_process: number, request: PagemapScan): PagemapScanResult {
    const { args, expected } = this.#step;
    const { start, end, flags, maxPages, invertedMask, mask, anyMask, returnMask, vectorLength } = request;
    this.#expect('scan', [...args.slice(0, 8), args[8] ?? 256n], [start, end, flags, maxPages, invertedMask, mask, anyMask, returnMask, BigInt(vectorLength)]);
    const found = (expected?.v ?? []) as [string, string, number][];
    return {
      result: this.#raw(),
      regions: found.map(([a, b, categories]) => ({ start: BigInt(a), end: BigInt(b), categories })),
      walkEnd: BigInt(expected?.walk_end ?? 0),
    };
  }

  clearRefs(_process: number, value: number): number {
    this.#expect('value', this.#step.args[0], BigInt(value));
    return this.#raw();
  }

  dropCapabilities(_process: number, capabilities: readonly number[]): number {
    this.#expect('capabilities', this.#step.args, capabilities.map(BigInt));
    return this.#raw();
  }

  removeSegment(id: number): number {
    this.#expect('segment', this.#step.args[0], BigInt(id - SEGMENT));
    return this.#raw();
  }

  configure(path: string, value: string): number {
    this.#expect(
      'setting',
      this.#step.args.map((a) => `${a}`),
      [path, value],
    );
    return this.#raw();
  }

  setting = (): string => this.#step.expected?.v as string;
  view = (process: number): ProcessView | undefined => this.#views.get(process);
  counters = (): Record<string, number> => Object.fromEntries(this.#state.sys);

  /** At once after its creation a file is known by its descriptor; in a snapshot all files of the state are descriptors of the first process. */
  file(process: number, descriptor: number): FileView | undefined {
    if (this.#looks % 2 === 1) {
      const name = this.#open.get(`${process} ${descriptor}`);
      return name === undefined ? undefined : this.#ids.view(name);
    }
    if (process !== Math.min(...this.#views.keys())) return undefined;
    const entry = [...this.#state.files][descriptor];
    return entry && this.#ids.view(entry[0], entry[1]);
  }
}

const unfold = (runs: RunLengths): number[] => runs.flatMap((run) => (typeof run === 'number' ? [run] : new Array(run[0]).fill(run[1])));

function words(values: readonly bigint[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 8));
  for (const [i, value] of values.entries()) view.setBigUint64(i * 8, value, true);
  return new Uint8Array(view.buffer);
}
