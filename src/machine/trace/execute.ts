/**
 * Carries out the operations of a trace on a machine, the way the recorder carries them out on Linux.
 *
 * Invariants: buffers of system calls lie in the scratch pages of the process, at the places where the recorder has them; results have
 * the form of the trace; an operation of a process that is gone gives "noproc" and does nothing.
 *
 * Operations on swap areas, KSM scans, memory cgroups and NUMA policies are not carried out yet: a `PxdError` 'unavailable'
 * names them.
 *
 * Source of the meanings: the recorder's protocol, sections 3 and 4.
 */
import { PxdError } from '../../pagetable/error.ts';
import { hex, num, words } from './arguments.ts';
import { ERRNO, errnoName } from './errno.ts';
import type { Argument, FaultRun, Operation, OperationResult } from './format.ts';
import { DISK_DIRECTORY, type Fault, SCRATCH, SCRATCH_BYTES, TMPFS_DIRECTORY, type TraceHost } from './host.ts';
import type { FileNames } from './snapshot.ts';
import { Userfaultfds } from './userfaultfd.ts';

const PAGE_BYTES = 4096;
const MOST_ACCESSES = 65_536;
const MOST_TRANSFER = 2 ** 20;
/** Second vector of process_vm_readv. */
const SECOND_VECTOR = SCRATCH + 0x2000n;

/** System calls whose arguments are those of the operation: name → [number of arguments, is the result an address?]. */
const PLAIN: Readonly<Record<string, readonly [count: number, address?: boolean]>> = {
  mmap: [6, true],
  munmap: [2],
  mprotect: [3],
  mremap: [5, true],
  madvise: [3],
  brk: [1, true],
  msync: [3],
  mlock: [2],
  mlock2: [3],
  munlock: [2],
  mlockall: [1],
  munlockall: [0],
  remap_file_pages: [5],
  ftruncate: [2],
  fallocate: [4],
  fcntl: [3],
  close: [1],
  mseal: [3],
  prctl: [5],
  lseek: [3],
  dup: [1],
  fadvise64: [4],
  fsync: [1],
  sync_file_range: [4],
  pkey_alloc: [2],
  pkey_mprotect: [4],
  pkey_free: [1],
  read: [3],
  write: [3],
  pread64: [4],
  pwrite64: [4],
  shmdt: [1],
  memfd_secret: [1],
  set_robust_list: [2],
  membarrier: [3],
  map_shadow_stack: [3, true],
  tee: [4],
};

/** Known to the protocol, but of parts of the mm that cannot be played yet. */
const NOT_YET = /^(swapon|swapoff|ksm_scan|memcg|sleep|mbind|set_mempolicy|get_mempolicy|set_mempolicy_home_node|move_pages|migrate_pages|splice|shmctl)$/;

type Handler = (e: Executor, process: number, args: readonly Argument[]) => OperationResult;

/** Operations carried out from outside: they need no living process. */
const OUTSIDE: Readonly<Record<string, Handler>> = {
  cfg: (e, _process, args) => e.configure(args),
  shmrm: (e, _process, args) => e.removeSegment(args),
  snap: () => ({ r: 0 }),
  pm_read: (e, process, args) => e.readMemory(process, args),
  pm_write: (e, process, args) => e.writeMemory(process, args),
  peek: (e, process, args) => e.peekWord(process, args),
  poke: (e, process, args) => e.pokeWord(process, args),
  pagemap_scan: (e, process, args) => e.pagemapScan(process, args),
  clear_refs: (e, process, args) => e.clearRefs(process, args),
};

/** Operations carried out by the process. */
const INSIDE: Readonly<Record<string, Handler>> = {
  ...Object.fromEntries(Object.entries(PLAIN).map(([name, [count, address]]): [string, Handler] => [name, (e, p, a) => e.plain(p, name, a, count, address)])),
  r: (e, p, a) => e.accesses(p, 'load', num(a, 0), a.length > 1 ? num(a, 1) : 1n, 0n),
  w: (e, p, a) => e.accesses(p, 'store', num(a, 0), a.length > 1 ? num(a, 1) : 1n, num(a, 2)),
  cas: (e, p, a) => e.accesses(p, 'exchange', num(a, 0), a.length > 1 ? num(a, 1) : 1n, num(a, 2)),
  x: (e, p, a) => e.accesses(p, 'fetch', num(a, 0), a.length > 1 ? num(a, 1) : 1n, 0n),
  r8: (e, p, a) => e.loadWord(p, num(a, 0)),
  w8: (e, p, a) => e.storeWord(p, num(a, 0), num(a, 1)),
  fork: (e, p) => e.fork(p),
  exit: (e, p, a) => e.exit(p, num(a, 0)),
  kill: (e, p) => e.kill(p),
  mapmany: (e, p, a) => e.mapMany(p, a),
  mincore: (e, p, a) => e.mincore(p, a),
  memfd_create: (e, p, a) => e.memfdCreate(p, a),
  open: (e, p, a) => e.open(p, a),
  unlink: (e, p, a) => e.unlink(p, a),
  readbuf: (e, p, a) => e.readBuffer(p, 'read', a),
  preadbuf: (e, p, a) => e.readBuffer(p, 'pread64', a),
  writebuf: (e, p, a) => e.writeBuffer(p, 'write', a),
  pwritebuf: (e, p, a) => e.writeBuffer(p, 'pwrite64', a),
  pipe2: (e, p, a) => e.pipe(p, a),
  vmsplice: (e, p, a) => e.vmsplice(p, a),
  process_vm_readv: (e, p, a) => e.processVm(p, 'process_vm_readv', a),
  process_vm_writev: (e, p, a) => e.processVm(p, 'process_vm_writev', a),
  process_madvise: (e, p, a) => e.processMadvise(p, a),
  process_mrelease: (e, p, a) => e.processMrelease(p, a),
  setrlimit: (e, p, a) => e.setLimit(p, a),
  capdrop: (e, p, a) => e.result(e.host.dropCapabilities(p, a.map(Number))),
  shmget: (e, p, a) => e.segment(p, a),
  shmat: (e, p, a) => e.attach(p, a),
  uffd_open: (e, p, a) => e.openUserfaultfd(p, a),
};

/** Accesses that were interrupted. */
interface Progress {
  i: number;
  readonly faults: Fault[];
  readonly values: Uint8Array;
}

/** Plays operations on one machine. */
export class Executor {
  readonly host: TraceHost;
  readonly #names: FileNames;
  /** Identifiers of segments in the order of shmget. */
  readonly #segments: number[] = [];
  readonly #userfaultfds: Userfaultfds;
  /** What processes do that sleep, or have woken up and were not asked for their result yet. */
  readonly #pending = new Map<number, Operation>();
  readonly #progress = new Map<number, Progress>();

  /** `names` learns the names of files as they come to be. */
  constructor(host: TraceHost, names: FileNames) {
    this.host = host;
    this.#userfaultfds = new Userfaultfds(host);
    this.#names = names;
  }

  /** Carries out one operation. */
  run({ op, process, args }: Operation): OperationResult {
    const outside = Object.hasOwn(OUTSIDE, op) ? OUTSIDE[op] : undefined;
    if (outside !== undefined) return outside(this, process, args);
    if (Userfaultfds.has(op)) return this.#userfaultfds.run(op, args);
    if (NOT_YET.test(op)) throw new PxdError('unavailable', `the operation "${op}" cannot be played: pxd has no swap, KSM, memcg or NUMA yet`);
    const waits = op === 'wait' || op === 'uffd_unblock';
    if (!waits && !Object.hasOwn(INSIDE, op)) throw new PxdError('unknown', `there is no operation "${op}"`);
    if (this.#gone(process)) return { r: 'noproc' };
    const pending = this.#pending.get(process);
    if (!waits) return pending === undefined ? this.#begin({ op, process, args }) : { r: 'busy' };
    if (pending === undefined) return { r: 'idle' };
    if (op === 'wait') return this.#goOn(pending);
    const { r } = this.#userfaultfds.run('uffd_unregister', args);
    return { ...this.#goOn(pending), u: r === 0 ? 'ok' : String(r) };
  }

  /** `wait`: an operation that sleeps is asked for its result. */
  #goOn(operation: Operation): OperationResult {
    if (this.host.asleep?.(operation.process)) return { r: 'blocked' };
    this.#pending.delete(operation.process);
    return this.#begin(operation);
  }

  /** Carries out an operation of a process, from where it was interrupted. */
  #begin(operation: Operation): OperationResult {
    const { op, process, args } = operation;
    try {
      return INSIDE[op](this, process, args);
    } catch (error) {
      if (!(error instanceof PxdError) || error.code !== 'asleep') throw error;
      this.#pending.set(process, operation);
      return { r: 'blocked' };
    }
  }

  /** A system call of numbers alone. `address`: that it returns one. */
  plain(process: number, name: string, args: readonly Argument[], count: number, address = false): OperationResult {
    const numbers = Array.from({ length: count }, (_, i) => num(args, i));
    return this.result(this.#call(process, name, numbers), address);
  }

  openUserfaultfd(process: number, args: readonly Argument[]): OperationResult {
    return this.#userfaultfds.open(process, num(args, 0));
  }

  /** The result of a call in the form of a trace; one that ended the process says so. */
  result(r: number, address = false): OperationResult {
    if (r < 0 && r > -4096) return { r: errnoName(-r) };
    return { r: address ? hex(BigInt(r)) : r };
  }

  #call(process: number, name: string, args: readonly bigint[]): number {
    return this.host.syscall(process, name, args);
  }

  // Scratch memory of a process, as the recorder reaches it.

  #put(process: number, address: bigint, bytes: Uint8Array): void {
    if (bytes.length > 0) this.host.writeMemory(process, address, bytes);
  }

  #get(process: number, address: bigint, length: number): Uint8Array {
    const bytes = this.host.readMemory(process, address, length);
    return typeof bytes === 'number' ? new Uint8Array(length) : bytes;
  }

  #putVector(process: number, address: bigint, pieces: Argument): number {
    const list = Array.isArray(pieces) ? pieces.slice(0, 256) : [];
    this.#put(process, address, words(list.flatMap((piece) => (Array.isArray(piece) ? [num(piece, 0), num(piece, 1)] : [0n, 0n]))));
    return list.length;
  }

  // Accesses.

  accesses(process: number, how: 'load' | 'store' | 'exchange' | 'fetch', address: bigint, wanted: bigint, value: bigint): OperationResult {
    const count = Math.min(Number(wanted), MOST_ACCESSES);
    const progress = this.#progress.get(process) ?? { i: 0, faults: [], values: new Uint8Array(how === 'load' ? count : 0) };
    this.#progress.set(process, progress);
    const { faults, values } = progress;
    for (; progress.i < count; progress.i++) {
      const { i } = progress;
      const at = BigInt.asUintN(64, address + BigInt(i * PAGE_BYTES));
      const got = this.#access(process, how, at, value, i);
      if (typeof got === 'object') faults.push(got);
      else if (how === 'load') values[i] = Number(got);
    }
    this.#progress.delete(process);
    return { r: count - faults.length, ...(how === 'load' ? { v: runLengths(values) } : {}), ...faultField(faults) };
  }

  #access(process: number, how: 'load' | 'store' | 'exchange' | 'fetch', at: bigint, value: bigint, i: number): bigint | Fault | undefined {
    if (how === 'load') return this.host.load(process, at, 1);
    if (how === 'store') return this.host.store(process, at, 1, (value + BigInt(i)) & 255n);
    if (how === 'fetch') {
      // Single-stepping, the kernel reads the instruction as a debugger does, whatever the rights (x86: is_setting_trap_flag).
      this.host.readMemory(process, at, 15);
      return this.host.fetch(process, at);
    }
    // The recorder compares with rax, which is 0, and stores the low byte of the operation's third argument.
    return this.host.compareExchange(process, at, 0, Number(value & 255n));
  }

  loadWord(process: number, address: bigint): OperationResult {
    const got = this.host.load(process, address, 8);
    if (typeof got === 'object') return { r: 0, v: '0x0', ...faultField([got]) };
    return { r: 1, v: hex(got) };
  }

  storeWord(process: number, address: bigint, value: bigint): OperationResult {
    const fault = this.host.store(process, address, 8, value);
    return fault === undefined ? { r: 1 } : { r: 0, ...faultField([fault]) };
  }

  // Life of processes.

  fork(process: number): OperationResult {
    const child = this.host.fork(process);
    return child < 0 ? this.result(child) : { r: `P${child}` };
  }

  exit(process: number, status: bigint): OperationResult {
    this.host.exit(process, Number(status & 255n));
    return { r: 'gone', status: `exit ${status & 255n}` };
  }

  kill(process: number): OperationResult {
    this.host.kill(process);
    return { r: 'gone', status: 'signal 9' };
  }

  // Calls with buffers.

  mapMany(process: number, args: readonly Argument[]): OperationResult {
    const [start, count, stride, length, protection, flags] = [0, 1, 2, 3, 4, 5].map((i) => num(args, i));
    let done = 0;
    for (let i = 0n; i < count; i++, done++) {
      const r = this.#call(process, 'mmap', [BigInt.asUintN(64, start + i * stride), length, protection, flags, 2n ** 64n - 1n, 0n]);
      if (r < 0 && r > -4096) break;
    }
    return { r: done };
  }

  mincore(process: number, args: readonly Argument[]): OperationResult {
    const r = this.#call(process, 'mincore', [num(args, 0), num(args, 1), SCRATCH]);
    if (r !== 0) return this.result(r);
    const pages = Math.min(Number((num(args, 1) + BigInt(PAGE_BYTES - 1)) / BigInt(PAGE_BYTES)), SCRATCH_BYTES);
    return { r, v: runLengths(this.#get(process, SCRATCH, pages).map((byte) => byte & 1)) };
  }

  memfdCreate(process: number, args: readonly Argument[]): OperationResult {
    this.#put(process, SCRATCH, text(args, 0));
    const r = this.#call(process, 'memfd_create', [SCRATCH, num(args, 1)]);
    if (r >= 0) this.#nameFile(process, r, this.#names.next('memfd'));
    return this.result(r);
  }

  open(process: number, args: readonly Argument[]): OperationResult {
    const path = pathOf(args);
    this.#put(process, SCRATCH, bytesOf(path.full));
    const r = this.#call(process, 'open', [SCRATCH, num(args, 1), 0o600n]);
    if (r >= 0) this.#nameFile(process, r, path.name);
    return this.result(r);
  }

  unlink(process: number, args: readonly Argument[]): OperationResult {
    this.#put(process, SCRATCH, bytesOf(pathOf(args).full));
    return this.result(this.#call(process, 'unlink', [SCRATCH]));
  }

  #nameFile(process: number, descriptor: number, name: string): void {
    const file = this.host.file(process, descriptor);
    if (file !== undefined) this.#names.name(file.id, name);
  }

  readBuffer(process: number, name: 'read' | 'pread64', args: readonly Argument[]): OperationResult {
    const length = capped(num(args, 1));
    const r = this.#call(process, name, name === 'read' ? [num(args, 0), SCRATCH, length] : [num(args, 0), SCRATCH, length, num(args, 2)]);
    return r > 0 ? { r, v: runLengths(this.#get(process, SCRATCH, r)) } : this.result(r);
  }

  writeBuffer(process: number, name: 'write' | 'pwrite64', args: readonly Argument[]): OperationResult {
    const length = capped(num(args, 2));
    this.#put(process, SCRATCH, new Uint8Array(Number(length)).fill(Number(num(args, 1) & 255n)));
    return this.result(this.#call(process, name, name === 'write' ? [num(args, 0), SCRATCH, length] : [num(args, 0), SCRATCH, length, num(args, 3)]));
  }

  pipe(process: number, args: readonly Argument[]): OperationResult {
    const r = this.#call(process, 'pipe2', [SCRATCH, num(args, 0)]);
    if (r !== 0) return this.result(r);
    const view = new DataView(this.#get(process, SCRATCH, 8).slice().buffer);
    return { r, v: [view.getInt32(0, true), view.getInt32(4, true)] };
  }

  vmsplice(process: number, args: readonly Argument[]): OperationResult {
    const pieces = this.#putVector(process, SCRATCH, args[1] ?? null);
    return this.result(this.#call(process, 'vmsplice', [num(args, 0), SCRATCH, BigInt(pieces), num(args, 2)]));
  }

  processVm(process: number, name: string, args: readonly Argument[]): OperationResult {
    const target = Number(num(args, 0));
    const local = this.#putVector(process, SCRATCH, args[1] ?? null);
    const remote = this.#putVector(process, SECOND_VECTOR, args[2] ?? null);
    if (target >= this.host.processCount) return { r: 'noproc' };
    const pid = BigInt(this.host.pid(target));
    return this.result(this.#call(process, name, [pid, SCRATCH, BigInt(local), SECOND_VECTOR, BigInt(remote), num(args, 3)]));
  }

  processMadvise(process: number, args: readonly Argument[]): OperationResult {
    const target = Number(num(args, 0));
    const pieces = this.#putVector(process, SCRATCH, args[1] ?? null);
    return this.#throughPidfd(process, target, (fd) => this.#call(process, 'process_madvise', [fd, SCRATCH, BigInt(pieces), num(args, 2), num(args, 3)]));
  }

  processMrelease(process: number, args: readonly Argument[]): OperationResult {
    return this.#throughPidfd(process, Number(num(args, 0)), (fd) => this.#call(process, 'process_mrelease', [fd, num(args, 1)]));
  }

  #throughPidfd(process: number, target: number, call: (fd: bigint) => number): OperationResult {
    if (target >= this.host.processCount) return { r: 'noproc' };
    const fd = this.#call(process, 'pidfd_open', [BigInt(this.host.pid(target)), 0n]);
    if (fd < 0) return this.result(fd);
    const r = call(BigInt(fd));
    this.#call(process, 'close', [BigInt(fd)]);
    return this.result(r);
  }

  setLimit(process: number, args: readonly Argument[]): OperationResult {
    this.#put(process, SCRATCH, words([num(args, 1), num(args, 2)]));
    return this.result(this.#call(process, 'prlimit64', [0n, num(args, 0), SCRATCH, 0n]));
  }

  segment(process: number, args: readonly Argument[]): OperationResult {
    const r = this.#call(process, 'shmget', [num(args, 0), num(args, 1), num(args, 2)]);
    if (r < 0) return this.result(r);
    this.#segments.push(r);
    return { r: `shm${this.#segments.length - 1}` };
  }

  attach(process: number, args: readonly Argument[]): OperationResult {
    return this.result(this.#call(process, 'shmat', [this.#segmentId(args), num(args, 1), num(args, 2)]), true);
  }

  #segmentId(args: readonly Argument[]): bigint {
    const id = this.#segments[Number(num(args, 0))];
    return id === undefined ? 2n ** 64n - 1n : BigInt(id);
  }

  // From outside.

  configure(args: readonly Argument[]): OperationResult {
    const path = typeof args[0] === 'string' ? args[0] : '';
    if (!path.startsWith('/sys/kernel/mm/') && !path.startsWith('/proc/sys/vm/')) return { r: 'EPERM' };
    const value = args[1];
    const r = this.host.configure(path, typeof value === 'string' ? value : BigInt.asIntN(64, num(args, 1)).toString());
    return { ...this.result(r), v: this.host.setting(path) };
  }

  removeSegment(args: readonly Argument[]): OperationResult {
    const id = this.#segments[Number(num(args, 0))];
    return this.result(id === undefined ? -ERRNO.EPERM : this.host.removeSegment(id));
  }

  /** A process that is gone has neither memory file nor pagemap. */
  #gone(process: number): boolean {
    return process < 0 || process >= this.host.processCount || !this.host.alive(process);
  }

  readMemory(process: number, args: readonly Argument[]): OperationResult {
    if (this.#gone(process)) return { r: 'EBADF' };
    const got = this.host.readMemory(process, num(args, 0), transfer(num(args, 1)));
    if (typeof got === 'number') return this.result(got);
    return got.length > 0 ? { r: got.length, v: runLengths(got) } : { r: 0 };
  }

  writeMemory(process: number, args: readonly Argument[]): OperationResult {
    if (this.#gone(process)) return { r: 'EBADF' };
    const bytes = new Uint8Array(transfer(num(args, 1))).fill(Number(num(args, 2) & 255n));
    return this.result(this.host.writeMemory(process, num(args, 0), bytes));
  }

  peekWord(process: number, args: readonly Argument[]): OperationResult {
    if (this.#gone(process)) return { r: 'ESRCH' };
    const got = this.host.readMemory(process, num(args, 0), 8);
    if (typeof got === 'number' || got.length < 8) return { r: 'EIO' };
    return { r: hex(new DataView(got.slice().buffer).getBigUint64(0, true)) };
  }

  pokeWord(process: number, args: readonly Argument[]): OperationResult {
    if (this.#gone(process)) return { r: 'ESRCH' };
    return this.host.writeMemory(process, num(args, 0), words([num(args, 1)])) === 8 ? { r: 0 } : { r: 'EIO' };
  }

  pagemapScan(process: number, args: readonly Argument[]): OperationResult {
    if (this.#gone(process)) return { r: 'EBADF' };
    const wanted = args.length > 8 ? num(args, 8) : 256n;
    const { result, regions, walkEnd } = this.host.pagemapScan(process, {
      start: num(args, 0),
      end: num(args, 1),
      flags: num(args, 2),
      vectorLength: Number(wanted > 256n ? 256n : wanted),
      maxPages: num(args, 3),
      invertedMask: num(args, 4),
      mask: num(args, 5),
      anyMask: num(args, 6),
      returnMask: num(args, 7),
    });
    if (result < 0) return this.result(result);
    return { r: result, v: regions.map(({ start, end, categories }) => [hex(start), hex(end), categories]), walk_end: hex(walkEnd) };
  }

  clearRefs(process: number, args: readonly Argument[]): OperationResult {
    if (this.#gone(process)) return { r: 'ENOENT' };
    return this.result(this.host.clearRefs(process, Number(num(args, 0))));
  }
}

const bytesOf = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);

const text = (args: readonly Argument[], at: number): Uint8Array => bytesOf(typeof args[at] === 'string' ? args[at] : '');

function pathOf(args: readonly Argument[]): { full: string; name: string } {
  const short = typeof args[0] === 'string' ? args[0] : '';
  const inMemory = short.startsWith('T');
  const file = short.slice(2);
  return { full: `${inMemory ? TMPFS_DIRECTORY : DISK_DIRECTORY}/${file}`, name: `${inMemory ? 'tmpfs' : 'disk'}:${file}` };
}

const capped = (length: bigint): bigint => (length > BigInt(SCRATCH_BYTES) ? BigInt(SCRATCH_BYTES) : length);

const transfer = (length: bigint): number => Number(length > BigInt(MOST_TRANSFER) ? BigInt(MOST_TRANSFER) : length);

/** Folds equal neighbours: `x` or `[count, x]`. */
export function runLengths(bytes: Uint8Array): (number | [number, number])[] {
  const out: (number | [number, number])[] = [];
  for (let i = 0; i < bytes.length; ) {
    let end = i + 1;
    while (end < bytes.length && bytes[end] === bytes[i]) end++;
    out.push(end - i === 1 ? bytes[i] : [end - i, bytes[i]]);
    i = end;
  }
  return out;
}

/** Faults at addresses 4096 apart with the same signal and code as one. */
function faultField(faults: readonly Fault[]): { f?: FaultRun[] } {
  if (faults.length === 0) return {};
  const runs: FaultRun[] = [];
  for (let i = 0; i < faults.length; ) {
    const first = faults[i];
    let end = i + 1;
    while (end < faults.length && follows(faults[end - 1], faults[end])) end++;
    runs.push([hex(first.address), end - i, first.signal, first.code]);
    i = end;
  }
  return { f: runs };
}

const follows = (a: Fault, b: Fault): boolean => a.signal === b.signal && a.code === b.code && b.address === BigInt.asUintN(64, a.address + BigInt(PAGE_BYTES));
