/**
 * A process of a machine: its system calls, and the loads and stores of its code.
 *
 * Addresses are bigints at this edge, as everywhere in public; page numbers and offsets inside.
 */
import { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, mmuAccess, mmuLeaf } from '../kernel/mmu.ts';
import { get, set, typeOf } from '../memory/heap.ts';
import { bytes, recording, setByte } from '../memory/state.ts';
import { DUMP_USER_PAGES_TEST, GUP_BASIC_TEST, GUP_FAST_BENCHMARK, PIN_BASIC_TEST, PIN_FAST_BENCHMARK, PIN_LONGTERM_BENCHMARK } from '../mm/gup-test.ts';
import { Mm, Process as ProcessStruct } from '../mm/types.ts';
import { PTE_DIRTY, PTE_EXEC, PTE_READ, PTE_WRITE, userLimits } from '../pagetable/canonical.ts';
import { PxdError } from '../pagetable/error.ts';
import type { Machine } from './machine.ts';
import { type ProcFile, procText } from './proc/files.ts';
import type { TlbView } from './soft-tlb.ts';
import type { ArgumentKind } from './syscalls.ts';

/** A signal that an access raised; the access did not happen. */
export interface Fault {
  /** Linux's number: 7 SIGBUS, 9 SIGKILL (out of memory), 11 SIGSEGV. */
  readonly signal: number;
  /** si_code. */
  readonly code: number;
  /** si_addr. */
  readonly address: bigint;
  /** si_addr_lsb: log2 of the bytes that are poisoned, with BUS_MCEERR_AR. */
  readonly addressLsb?: number;
}

/** What userFault() said. */
const faultOf = (signal: number, address: bigint): Fault => ({
  signal: (signal >> 8) & 255,
  code: signal & 255,
  address,
  ...(signal >= 65536 ? { addressLsb: signal >> 16 } : {}),
});

export type Access = 'read' | 'write' | 'exec';
/** Compared, as a load by a name that differs is slow. */
const kindOf = (access: Access): number => (access === 'read' ? ACCESS_READ : access === 'write' ? ACCESS_WRITE : ACCESS_EXEC);

const gupCommands = {
  GUP_FAST_BENCHMARK,
  PIN_FAST_BENCHMARK,
  PIN_LONGTERM_BENCHMARK,
  GUP_BASIC_TEST,
  PIN_BASIC_TEST,
  DUMP_USER_PAGES_TEST,
} as const;

export type GupTestCommand = keyof typeof gupCommands | 'PIN_LONGTERM_TEST_START' | 'PIN_LONGTERM_TEST_STOP' | 'PIN_LONGTERM_TEST_READ';

export interface GupTestOptions {
  /** FOLL_ flags; of PIN_LONGTERM_TEST_START its own. */
  readonly flags?: number;
  /** Pages that one call is asked for. */
  readonly perCall?: number;
  /** GUP_TEST_FLAG_ flags. */
  readonly testFlags?: number;
}

export class Process {
  readonly machine: Machine;
  /** The process's struct in the machine's heap. */
  readonly ref: number;
  readonly pid: number;

  constructor(machine: Machine, ref: number) {
    this.machine = machine;
    this.ref = ref;
    this.pid = get(ref, ProcessStruct.pid);
  }

  /** Limits, capabilities and layout of a process that root starts with ADDR_NO_RANDOMIZE. */
  initialise(): void {
    const mm = this.mm;
    const shift = this.machine.pageShift;
    for (let i = 0; i < 16; i++) {
      set(this.ref, ProcessStruct.rlimitCur + i, -1);
      set(this.ref, ProcessStruct.rlimitMax + i, -1);
    }
    set(this.ref, ProcessStruct.rlimitCur + 3, 8 * 2 ** 20);
    set(this.ref, ProcessStruct.rlimitCur + 8, 8 * 2 ** 20);
    set(this.ref, ProcessStruct.rlimitMax + 8, 8 * 2 ** 20);
    set(this.ref, ProcessStruct.capsLow, -1);
    set(this.ref, ProcessStruct.capsHigh, 0x1ff);
    const limits = userLimits(this.machine.codec.mode);
    const page = 2 ** shift;
    set(mm, Mm.taskSize, Math.floor(limits.taskSize / page));
    set(mm, Mm.mapWindow, Math.floor(limits.mapWindow / page));
    this.machine.kernel.archPickMmapLayout(mm, 8 * 2 ** 20, Math.floor(limits.stackTop / page));
  }

  /** The process's mm_struct, 0 once it has exited. */
  get mm(): number {
    this.machine.enter();
    return get(this.ref, ProcessStruct.mm);
  }

  /** False once the machine was rewound to before its birth. */
  get exists(): boolean {
    this.machine.enter();
    return typeOf(this.ref) === ProcessStruct.$type && get(this.ref, ProcessStruct.pid) === this.pid;
  }

  /** False when it has exited, or was never born (`exists`). */
  get alive(): boolean {
    return this.exists && get(this.ref, ProcessStruct.alive) !== 0;
  }

  /** What it exited with; undefined while it lives. */
  get exitStatus(): number | undefined {
    return this.exists && !this.alive ? get(this.ref, ProcessStruct.exitStatus) : undefined;
  }

  /**
   * One system call: Linux's name and its arguments as unsigned 64-bit numbers (negative ones are taken as two's complement). The result is not
   * negative, or −errno. @throws {PxdError} 'unknown' for a call that the machine does not have, 'usage' for a process that has exited.
   */
  syscall(
    name: string,
    a: bigint | number = 0,
    b: bigint | number = 0,
    c: bigint | number = 0,
    d: bigint | number = 0,
    e: bigint | number = 0,
    f: bigint | number = 0,
  ): number {
    this.#live();
    const { run, name: kernelName, kinds } = this.machine.call(name);
    if (this.machine.mayWait) {
      const args = [a, b, c, d, e, f].map((value, i) => argument(kinds[i], value));
      return this.#wait(name, kernelName, [this.ref, ...args]);
    }
    return run(
      this.ref,
      argument(kinds[0], a),
      argument(kinds[1], b),
      argument(kinds[2], c),
      argument(kinds[3], d),
      argument(kinds[4], e),
      argument(kinds[5], f),
    );
  }

  /** fork(2): the child's reference in the machine, or −errno. @throws {PxdError} 'asleep'. */
  forkRaw(): number {
    this.#live();
    return this.machine.mayWait ? this.#wait('fork', 'sysFork', [this.ref]) : this.machine.kernel.sysFork(this.ref);
  }

  /** fork(2): the child. @throws {PxdError} 'limit' with the errno when it fails. */
  fork(): Process {
    const child = this.forkRaw();
    if (child < 0) throw new PxdError('limit', `fork fails with errno ${-child}`);
    return this.machine.processAt(child);
  }

  /** exit_group(2), or death by a signal: pages, mappings and descriptors go, number and status stay. */
  exit(status = 0): void {
    this.#live();
    const { machine } = this;
    if (machine.sleepers.has(this.ref)) {
      // A fatal signal: what sleeps gives up.
      machine.kernel.killSleeping(this.ref);
      machine.sleepers.settle();
      this.#late = undefined;
    }
    if (machine.mayWait) machine.callWaiting(this.ref, 'sysExit', [this.ref, status], () => undefined);
    else machine.kernel.sysExit(this.ref, status);
    machine.tlb.flushAll();
  }

  /** True while a call or an access of the process sleeps: until its userfaultfd is read or resolves its fault. It can do nothing else meanwhile. */
  get asleep(): boolean {
    return this.machine.sleepers.has(this.ref);
  }

  /**
   * The result of the last call that slept, once it is over: what `syscall` would have returned, and for `fork` the child's reference in the machine. Undefined while it
   * sleeps, and for an access (which is to be done again).
   */
  takeResult(): number | undefined {
    if (this.asleep) return undefined;
    const result = this.#late;
    this.#late = undefined;
    return result;
  }

  /** What the last call that slept has returned since. */
  #late: number | undefined;

  /** Calls a kernel function that might sleep. @throws {PxdError} 'asleep' when it does, or when the process sleeps already. */
  #wait(what: string, name: string, args: readonly number[]): number {
    this.#awake(what);
    const result = this.machine.callWaiting(this.ref, name, args, (late) => {
      this.#late = late;
    });
    if (result === undefined) throw new PxdError('asleep', `${what} of process ${this.pid} sleeps until its userfaultfd is read or resolves its fault`);
    return result;
  }

  #awake(what: string): void {
    if (this.asleep) throw new PxdError('asleep', `process ${this.pid} sleeps and cannot do ${what}`);
  }

  /** A fault that might sleep; when it has woken up the page is asked for again, by itself. @throws {PxdError} 'asleep'. */
  #faultWaiting(vpn: number, access: number, cpu: number): number {
    this.#awake('an access');
    const signal = this.machine.callWaiting(this.ref, 'userFault', [get(this.ref, ProcessStruct.mm), vpn, access], (late) => {
      if (late !== 0 || !this.alive) return;
      try {
        this.translate(vpn, access, cpu);
      } catch (error) {
        if (!(error instanceof PxdError) || error.code !== 'asleep') throw error;
      }
    });
    if (signal === undefined) throw new PxdError('asleep', `process ${this.pid} sleeps until its userfaultfd resolves the fault at page 0x${vpn.toString(16)}`);
    return signal;
  }

  /**
   * An ioctl of /sys/kernel/debug/gup_test (mm/gup_test.c) on `size` bytes at an address: GUP_FAST_BENCHMARK, PIN_FAST_BENCHMARK, PIN_LONGTERM_BENCHMARK,
   * GUP_BASIC_TEST, PIN_BASIC_TEST and DUMP_USER_PAGES_TEST take pages, by FOLL_ flags, `perCall` at a time (default all), and give them back: how many;
   * PIN_LONGTERM_TEST_START pins, by PIN_LONGTERM_TEST_FLAG_ flags, until PIN_LONGTERM_TEST_STOP; PIN_LONGTERM_TEST_READ copies what is pinned to the
   * address. 0 or −errno.
   */
  gupTest(
    command: GupTestCommand,
    address: bigint | number,
    size = 0,
    { flags = 0, perCall = Number.MAX_SAFE_INTEGER, testFlags = 0 }: GupTestOptions = {},
  ): number {
    this.#live();
    const { kernel } = this.machine;
    const at = Number(address);
    if (command === 'PIN_LONGTERM_TEST_START') return kernel.pinLongtermTestStart(this.ref, at, size, flags);
    if (command === 'PIN_LONGTERM_TEST_STOP') return kernel.pinLongtermTestStop();
    if (command === 'PIN_LONGTERM_TEST_READ') return kernel.pinLongtermTestRead(this.ref, at);
    return kernel.gupTest(this.ref, gupCommands[command], at, size, perCall, flags, testFlags);
  }

  /** The text of a file of /proc/PID: `maps`, `smaps`, `numa_maps`, or of `status` the lines about memory. @throws {PxdError} 'usage' for a process that has exited. */
  proc(file: ProcFile): string {
    this.#live();
    return procText(this.machine, this.ref, file);
  }

  /** Mounts the machine. The mm of a process that lives. */
  #live(): number {
    this.machine.enter();
    const mm = get(this.ref, ProcessStruct.mm);
    if (mm === 0) throw new PxdError('usage', `process ${this.pid} has exited`);
    return mm;
  }

  /**
   * This process's code runs on a CPU from now on: what the CPU's soft TLB holds of another address space is dropped. Gives the arrays for an
   * inline fast path. Call it whenever a CPU goes on with another process than the last one that used it, the host's own `load` and `store` (of CPU 0
   * where they do not say) included; and take the arrays again (`machine.tlb.view`) after each call into the machine, which may have made RAM grow.
   */
  runOn(cpu = 0): TlbView {
    this.machine.tlb.switchTo(cpu, this.#live());
    return this.machine.tlb.view(cpu);
  }

  /**
   * The page of RAM behind a virtual page, for an access: from the soft TLB, the page tables, or after a page fault. A fault that ends in
   * a signal returns it.
   */
  translate(vpn: number, access: number, cpu = 0): number | Fault {
    const { machine } = this;
    const mm = this.#live();
    machine.tlb.switchTo(cpu, mm);
    const hit = machine.tlb.lookup(cpu, vpn, access);
    if (hit !== 0) return hit;
    const pgd = get(mm, Mm.pgd);
    for (;;) {
      const page = mmuAccess(pgd, vpn, access);
      if (page !== 0) {
        const leaf = mmuLeaf & 0xfffff;
        // Stores go through the TLB only once the entry is dirty, and only while nobody writes them down.
        const store = (leaf & PTE_WRITE) !== 0 && (leaf & PTE_DIRTY) !== 0 && !recording;
        const kinds = ((leaf & PTE_READ) !== 0 ? 1 : 0) | (store ? 2 : 0) | ((leaf & PTE_EXEC) !== 0 ? 4 : 0);
        machine.tlb.fill(cpu, vpn, kinds, page);
        return page;
      }
      const signal = machine.mayWait ? this.#faultWaiting(vpn, access, cpu) : machine.userFault(mm, vpn, access);
      if (signal !== 0) return faultOf(signal, BigInt(vpn) << BigInt(machine.pageShift));
    }
  }

  /** The signal that was sent to the process since it was asked last, if any: BUS_MCEERR_AR by MADV_HWPOISON. What it does to the process is the caller's to say. */
  takeSignal(): Fault | undefined {
    this.#live();
    const signal = get(this.ref, ProcessStruct.signal);
    if (signal === 0) return undefined;
    set(this.ref, ProcessStruct.signal, 0);
    return faultOf(signal, BigInt(get(this.ref, ProcessStruct.signalPage)) << BigInt(this.machine.pageShift));
  }

  /**
   * A miss of the soft TLB: undefined when the page may be accessed now and the CPU's TLB says where it is, else the signal. While a journal
   * runs no store is ever granted: use `store` on a miss rather than trying again.
   */
  fault(vpn: number, access: Access, cpu = 0): Fault | undefined {
    const result = this.translate(vpn, kindOf(access), cpu);
    return typeof result === 'number' ? undefined : result;
  }

  /** Loads `size` bytes (1 to 16), little-endian. The value, or the fault: of the first page that refuses. Fills the soft TLB of `cpu`. */
  load(address: bigint, size: number, cpu = 0): bigint | Fault {
    let value = 0n;
    const data = this.#access(address, size, ACCESS_READ, cpu);
    if (!(data instanceof Uint8Array)) return data;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(data[i]);
    return value;
  }

  /** Stores `size` bytes (1 to 16), little-endian; all of them or none. Fills the soft TLB of `cpu`. */
  store(address: bigint, size: number, value: bigint, cpu = 0): Fault | undefined {
    const data = new Uint8Array(size);
    for (let i = 0; i < size; i++) data[i] = Number((value >> BigInt(8 * i)) & 255n);
    const result = this.#access(address, size, ACCESS_WRITE, cpu, data);
    return result instanceof Uint8Array ? undefined : result;
  }

  /** Reads a buffer: as many bytes as may be read, then the fault. */
  read(address: bigint, length: number): { bytes: Uint8Array; fault?: Fault } {
    const out = new Uint8Array(length);
    const size = this.machine.pageSize;
    let done = 0;
    while (done < length) {
      const part = Math.min(length - done, size - Number((address + BigInt(done)) & BigInt(size - 1)));
      const data = this.#access(address + BigInt(done), part, ACCESS_READ, 0);
      if (!(data instanceof Uint8Array)) return { bytes: out.slice(0, done), fault: data };
      out.set(data, done);
      done += part;
    }
    return { bytes: out };
  }

  /** Writes a buffer: as many bytes as may be written, then the fault. */
  write(address: bigint, data: Uint8Array): { written: number; fault?: Fault } {
    const size = this.machine.pageSize;
    let done = 0;
    while (done < data.length) {
      const part = Math.min(data.length - done, size - Number((address + BigInt(done)) & BigInt(size - 1)));
      const result = this.#access(address + BigInt(done), part, ACCESS_WRITE, 0, data.subarray(done, done + part));
      if (!(result instanceof Uint8Array)) return { written: done, fault: result };
      done += part;
    }
    return { written: done };
  }

  /** An instruction fetch: asks for the page, gives no bytes (`load` needs the right to read, code need not have it). */
  fetch(address: bigint, cpu = 0): Fault | undefined {
    const at = this.#place(address);
    if (typeof at !== 'object' || !('vpn' in at)) return at;
    const page = this.translate(at.vpn, ACCESS_EXEC, cpu);
    return typeof page === 'number' ? undefined : { ...page, address };
  }

  /** vpn and offset of an address; a fault for one that no table can translate. */
  #place(address: bigint): { vpn: number; offset: number } | Fault {
    const { codec } = this.machine;
    const shift = BigInt(codec.pageShift);
    const halves = codec.mode.family === 'x86' && codec.vaBits > 32;
    // The upper half of the tables is the kernel's, and its addresses are written with the sign extended.
    if (address < 0n || address >> BigInt(halves ? codec.vaBits - 1 : codec.vaBits) !== 0n) return nonCanonical(address, codec.vaBits, codec.mode.family);
    return { vpn: Number(address >> shift), offset: Number(address & ((1n << shift) - 1n)) };
  }

  /** Every page of the range is faulted in before a byte moves, so that an access is whole or not at all. */
  #access(address: bigint, size: number, access: number, cpu: number, data?: Uint8Array): Uint8Array | Fault {
    this.machine.enter();
    const pageSize = this.machine.pageSize;
    const first = this.#place(address);
    if (!('vpn' in first)) return first;
    const parts: { page: number; offset: number; length: number }[] = [];
    for (let done = 0; done < size; ) {
      const at = done === 0 ? first : this.#place(address + BigInt(done));
      if (!('vpn' in at)) return at;
      const page = this.translate(at.vpn, access, cpu);
      if (typeof page !== 'number') return { ...page, address: address + BigInt(done) };
      const length = Math.min(size - done, pageSize - at.offset);
      parts.push({ page, offset: at.offset, length });
      done += length;
    }
    // A later page's fault may have replaced an earlier page: what counts is what the tables say now.
    if (parts.length > 1)
      for (const [i, part] of parts.entries()) {
        const vpn = first.vpn + i;
        const page = this.translate(vpn, access, cpu);
        if (typeof page === 'number') part.page = page;
      }
    const out = data ?? new Uint8Array(size);
    let done = 0;
    for (const { page, offset, length } of parts) {
      const from = page * pageSize + offset;
      if (data) for (let i = 0; i < length; i++) setByte(from + i, data[done + i]);
      else out.set(bytes.subarray(from, from + length), done);
      done += length;
    }
    return out;
  }
}

/** x86 raises a general protection fault for addresses that are no sign-extended ones; kernel addresses fault like unmapped ones. */
function nonCanonical(address: bigint, vaBits: number, family: string): Fault {
  const high = BigInt.asUintN(64, address);
  const kernelHalf = high >> BigInt(vaBits - 1) === (1n << BigInt(65 - vaBits)) - 1n;
  if (family === 'x86' && vaBits > 32 && !kernelHalf) return { signal: 11, code: 128, address: 0n };
  return { signal: 11, code: 1, address };
}

/** An argument as kernel code takes it: an exact number below 2^53, anything larger rounded (it is out of every range). Small positive numbers are all kinds alike. */
function argument(kind: ArgumentKind | undefined, value: bigint | number): number {
  if (typeof value === 'number' && value >= 0 && value < 2 ** 31) return value;
  return wideArgument(kind, BigInt(value));
}

function wideArgument(kind: ArgumentKind | undefined, value: bigint): number {
  if (kind === 'int') return Number(BigInt.asIntN(32, value));
  if (kind === 'uint') return Number(BigInt.asUintN(32, value));
  if (kind === 'slong') return Number(BigInt.asIntN(64, value));
  return Number(BigInt.asUintN(64, value));
}
