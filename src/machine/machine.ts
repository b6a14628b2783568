/**
 * A machine: RAM, a kernel, processes.
 *
 * Invariants: every public method mounts the machine first, so that any number of machines live side by side in one thread; nothing that
 * decides what the kernel does is kept here (identities of processes are references into the machine's memory).
 */
import { mountArch } from '../kernel/arch.ts';
import { setCurrent } from '../kernel/current.ts';
import { injectFailuresThrough } from '../kernel/effects.ts';
import { mountTlb } from '../kernel/tlb.ts';
import { get } from '../memory/heap.ts';
import { bytes, type MachineState, mount, pageShift, type Ram } from '../memory/state.ts';
import { globals } from '../mm/globals.ts';
import { Globals, Process as ProcessStruct } from '../mm/types.ts';
import type { EntryCodec } from '../pagetable/canonical.ts';
import { PxdError } from '../pagetable/error.ts';
import type { FrameSource } from '../pagetable/source.ts';
import { type BootOptions, boot } from './boot.ts';
import { capture, frameSource } from './capture.ts';
import { bootHugePages } from './hugetlb-options.ts';
import { type Kernel, kernelOf, type ProgramName } from './kernel.ts';
import { hugetlbMeminfo, hugetlbNodeMeminfo } from './proc/hugetlb-meminfo.ts';
import { zoneinfoText } from './proc/node-stats.ts';
import { vmstatText } from './proc/vmstat.ts';
import { Process } from './process.ts';
import { settingOf } from './settings.ts';
import { Sleepers } from './sleepers.ts';
import { beginJournal, copyOf, endJournal, type Mark, markOf, rewindTo, snapshotOf, stateOf } from './snapshot.ts';
import { SoftTlb } from './soft-tlb.ts';
import { type ArgumentKind, callOf } from './syscalls.ts';
import { bootThpOptions } from './thp-options.ts';
import type { Setting } from './thp-settings.ts';

export interface MachineOptions extends BootOptions {
  /** Which of the programs runs the kernel's code: `direct` (default), `native` generators, `step`. They do the same. */
  readonly program?: ProgramName;
}

/** A system call of the machine. */
export interface MachineCall {
  readonly run: (...args: number[]) => number;
  /** Name of the kernel function. */
  readonly name: string;
  readonly kinds: readonly ArgumentKind[];
}

export class Machine {
  readonly codec: EntryCodec;
  readonly state: MachineState;
  readonly kernel: Kernel;
  /** The kernel's, at hand: to look for it among all functions takes longer than a walk of page tables. */
  readonly userFault: Kernel['userFault'];
  readonly tlb: SoftTlb;
  /** Calls that wait for a userfaultfd. */
  readonly sleepers = new Sleepers();
  readonly options: MachineOptions;
  /** What of the command line was passed over or could not be had. */
  readonly bootMessages: readonly string[];
  readonly #flush: (mm: number, start: number, end: number) => void;
  readonly #processes = new Map<number, Process>();
  readonly #calls = new Map<string, MachineCall>();

  /** Boots a machine. @throws {PxdError} for a mode or a size of RAM that cannot be. */
  constructor(options: MachineOptions = {}, restored?: { state: MachineState; codec: EntryCodec }) {
    const booted = restored ?? boot(options);
    this.options = options;
    this.codec = booted.codec;
    this.state = booted.state;
    this.kernel = kernelOf(options.program ?? 'direct');
    this.userFault = this.kernel.userFault;
    this.tlb = new SoftTlb(booted.state);
    this.#flush = (mm, start, end) => this.tlb.flush(mm, start, end);
    this.enter();
    this.bootMessages = restored === undefined ? this.#bootOptions(options) : [];
  }

  /** What the command line says of huge pages; what was passed over. */
  #bootOptions({ thp, hugepages }: MachineOptions): string[] {
    return [...(thp === undefined ? [] : bootThpOptions(thp)), ...(hugepages === undefined ? [] : bootHugePages(hugepages, this.kernel, this.pageShift))];
  }

  /** Makes this the machine that kernel code works on. */
  enter(): void {
    mount(this.state);
    mountArch(this.codec);
    mountTlb(this.#flush);
    injectFailuresThrough(globals + Globals.failAllocation);
    setCurrent(0);
  }

  /** A system call by name: the kernel function and the kinds of its arguments. Looked up once. */
  call(name: string): MachineCall {
    let call = this.#calls.get(name);
    if (call === undefined) {
      const { run, args } = callOf(name);
      const found = (this.kernel as unknown as Record<string, ((...a: number[]) => number) | undefined>)[run];
      if (found === undefined) throw new PxdError('unavailable', `the system call ${name} is not implemented`);
      call = { run: found, name: run, kinds: args };
      this.#calls.set(name, call);
    }
    return call;
  }

  /** log2 of the mode's page size. */
  get pageShift(): number {
    return this.codec.pageShift;
  }

  /** Bytes of a page. */
  get pageSize(): number {
    return 2 ** this.codec.pageShift;
  }

  /** Whether a call might sleep: while there is a userfaultfd. */
  get mayWait(): boolean {
    return get(globals, Globals.userfaultfds) !== 0 || this.sleepers.count !== 0;
  }

  /** A kernel function called for a process, where it might sleep; undefined when it does: `done` is called with the result when it has woken up. */
  callWaiting(process: number, name: string, args: readonly number[], done: (result: number) => void): number | undefined {
    const result = this.sleepers.call(process, name, args, done);
    this.sleepers.settle();
    return result;
  }

  /** @throws {PxdError} 'usage' while a process sleeps in a call: what it has yet to do is not in the machine's memory. */
  #nobodySleeps(what: string): void {
    if (this.sleepers.count !== 0) throw new PxdError('usage', `${what}: a process sleeps until its userfaultfd is read or resolves its fault`);
  }

  /** All processes that live, in order of their numbers. */
  get processes(): Process[] {
    this.enter();
    const found: Process[] = [];
    for (let ref = get(globals, Globals.processes); ref !== 0; ref = get(ref, ProcessStruct.next))
      if (get(ref, ProcessStruct.alive) !== 0) found.push(this.processAt(ref));
    return found.reverse();
  }

  /** The process of a pid. @throws {PxdError} 'unknown' when none lives under it. */
  process(pid: number): Process {
    const found = this.processes.find((p) => p.pid === pid);
    if (!found) throw new PxdError('unknown', `no process ${pid} lives in this machine`);
    return found;
  }

  /** A new process with an empty address space, limits and capabilities of root. @throws {PxdError} 'limit' when there is no memory for it. */
  spawn(): Process {
    this.enter();
    const ref = this.kernel.processCreate();
    if (ref === 0) throw new PxdError('limit', 'there is no memory for another process');
    const process = this.processAt(ref);
    process.initialise();
    return process;
  }

  /** /proc/zoneinfo: zones, and what their pages are used for. */
  zoneinfo(): string {
    this.enter();
    return zoneinfoText();
  }

  /** /proc/vmstat: counters of pages, and events of huge pages since the machine was made. */
  vmstat(): string {
    this.enter();
    return vmstatText();
  }

  /** The lines about hugetlb in /proc/meminfo, or in the meminfo of a node. */
  hugetlbMeminfo(node?: number): string {
    this.enter();
    return node === undefined ? hugetlbMeminfo() : hugetlbNodeMeminfo(node);
  }

  /**
   * A file of /sys/kernel/mm/transparent_hugepage, of a pool of huge pages (/sys/kernel/mm/hugepages, /sys/devices/system/node) or of /proc/sys/vm as it reads; of several
   * words the one that is chosen. @throws {PxdError} 'unknown' where the machine has no such file.
   */
  setting(path: string): string {
    return this.#settingAt(path).read();
  }

  /** Writes such a file, as root. @throws {PxdError} 'unknown' where there is none, 'usage' for what it does not take. */
  configure(path: string, value: string | number): void {
    this.#settingAt(path).write(String(value));
  }

  #settingAt(path: string): Setting {
    this.enter();
    const setting = settingOf(this, path);
    if (setting === undefined) throw new PxdError('unknown', `the machine has no file ${path}`);
    return setting;
  }

  /**
   * Lets khugepaged make one pass, as it does every `khugepaged/scan_sleep_millisecs`: over `khugepaged/pages_to_scan` pages from where the last pass ended. The
   * pages that it went over; 0 when no process has memory that huge pages may be made of.
   */
  khugepaged(): number {
    this.enter();
    return this.kernel.khugepagedDoScan();
  }

  /**
   * Memory is short: the folios that wait for it are split (deferred_split_scan), partially mapped ones and those that were hardly used
   * (`khugepaged/max_ptes_none`), as by writing 2 to /proc/sys/vm/drop_caches. How many.
   */
  shrinkFolios(): number {
    this.enter();
    return this.kernel.deferredSplitScan(Number.POSITIVE_INFINITY);
  }

  /** The face of a process struct. */
  processAt(ref: number): Process {
    let process = this.#processes.get(ref);
    if (!process) {
      process = new Process(this, ref);
      this.#processes.set(ref, process);
    }
    return process;
  }

  /** RAM by bytes: what a page number of the soft TLB times the page size leads into. Valid until RAM grows (the next fault or system call). */
  get ram(): Uint8Array {
    this.enter();
    return bytes;
  }

  /** RAM, a WebAssembly.Memory that a module can import: soft TLB in the first 64 KiB, then pages. It grows. */
  get memory(): Ram {
    return this.state.ram;
  }

  /** RAM as a source of frames: what `readPageTables` and everything else of `pxd/pagetable` walks. */
  get source(): FrameSource {
    return frameSource(this);
  }

  /** The chunks of a file that `pxd inspect` opens. */
  capture(): Uint8Array[] {
    return capture(this);
  }

  /**
   * The whole machine as bytes: memory, processes, files. They are small where nothing was touched, and equal for machines in equal state. The soft
   * TLB is emptied, so that this machine and one restored from the bytes go on alike.
   */
  snapshot(): Uint8Array {
    this.#nobodySleeps('a snapshot cannot be made');
    return snapshotOf(this);
  }

  /**
   * A machine from the bytes of a snapshot; `program` need not be the one that it was made with.
   *
   * @throws {PxdError} 'bad-image' for bytes that are no snapshot, are damaged, or were made by a version of pxd whose structs differ.
   */
  static restore(bytes: Uint8Array, options: { readonly program?: ProgramName } = {}): Machine {
    return new Machine(options, stateOf(bytes));
  }

  /** A second machine in the same state. What happens to one of them does not touch the other. The soft TLB is emptied, the journal is not copied. */
  clone(): Machine {
    this.#nobodySleeps('the machine cannot be copied');
    return new Machine(this.options, copyOf(this));
  }

  /**
   * Starts (again) to write down every change of memory, so that `rewind` can take them back. It costs speed: what an emulator stores goes through
   * `Process.store`, because the soft TLB grants no stores as long as the journal runs.
   */
  startJournal(): void {
    beginJournal(this);
  }

  /** Stops the journal and drops it. */
  stopJournal(): void {
    endJournal(this);
  }

  /** This moment, for `rewind`. @throws {PxdError} 'usage' without a journal. */
  mark(): Mark {
    this.#nobodySleeps('nothing can be marked');
    return markOf(this);
  }

  /**
   * Takes back everything since a mark: memory is what it was, to the byte. Marks before it stay good, later ones are void; `Process` objects of
   * processes that lived at the mark stay good too. @throws {PxdError} 'usage' for a mark that is void.
   */
  rewind(mark: Mark): void {
    rewindTo(this, mark);
    // They came after the mark.
    this.sleepers.clear();
    for (const [ref, process] of this.#processes) if (!process.exists) this.#processes.delete(ref);
  }

  /** Copies bytes out of RAM. `page` as the soft TLB gives it. */
  readRam(page: number, offset: number, length: number): Uint8Array {
    this.enter();
    const from = page * 2 ** pageShift + offset;
    return bytes.slice(from, from + length);
  }
}
