/**
 * Builds the machine that a trace asks for and plays the host of its operations.
 *
 * Process 0 is what the recorder's executor is on Linux: one private file mapping (rwxp) whose pages are all private copies, no stack, no
 * open files, ADDR_NO_RANDOMIZE, root's capabilities without CAP_SYS_RESOURCE.
 */
import { get, set } from '../../memory/heap.ts';
import { EBADF } from '../../mm/errno.ts';
import { globals } from '../../mm/globals.ts';
import { Mm, Process as ProcessStruct } from '../../mm/types.ts';
import { Machine, type MachineOptions } from '../machine.ts';
import { readProcMem, writeProcMem } from '../proc/mem.ts';
import { scanPagemap, writeClearRefs } from '../proc/pagemap.ts';
import type { Process } from '../process.ts';
import { SYSCTLS, settingOf } from '../settings.ts';
import { thpSetting } from '../thp-settings.ts';
import { fileView, viewProcess } from '../view.ts';
import { hugePools } from '../view-hugetlb.ts';
import type { TraceHeader } from './format.ts';
import {
  type Fault,
  type FileView,
  HARNESS_END,
  HARNESS_START,
  type PagemapScan,
  type PagemapScanResult,
  type ProcessView,
  type TraceDriver,
  type TraceHost,
} from './host.ts';

const PROT_RWX = 7;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const CAP_SYS_RESOURCE = 24;
/** Resource numbers by the names of a header. */
const RESOURCES: Readonly<Record<string, number>> = { FSIZE: 1, DATA: 2, STACK: 3, MEMLOCK: 8, AS: 9, NOFILE: 7 };

/** A machine with the settings of the header, process 0 and its harness VMA. */
export function createTraceMachine(header: TraceHeader, options: MachineOptions = {}): TraceHost {
  const pages = Math.floor(header.memTotalKb / 4);
  const settings: Record<string, number> = { totalRam: pages };
  const machine = new Machine({ mode: 'x86-4level', ramBytes: Math.ceil(pages / 1024 + 64) * 1024 * 4096, ...options, settings });
  for (const [name, value] of Object.entries(header.config)) {
    const field = SYSCTLS[name.replace(/^vm\./, '')];
    if (name.startsWith('vm.') && field !== undefined) set(globals, field, Number(value));
  }
  for (const [name, value] of Object.entries(header.config)) if (/^(thp|khugepaged)\./.test(name)) thpSetting(thpPath(name))?.write(String(value));
  return new MachineHost(machine, header);
}

/** The file of a header's entry: `thp.enabled`, `thp.64kB.enabled`, `khugepaged.max_ptes_none`. */
const thpPath = (name: string): string =>
  `/sys/kernel/mm/transparent_hugepage/${name.replace(/^thp\.(?:(\d+kB)\.)?/, (_, size) => (size === undefined ? '' : `hugepages-${size}/`)).replace(/^khugepaged\./, 'khugepaged/')}`;

class MachineHost implements TraceHost {
  readonly machine: Machine;
  readonly #processes: Process[] = [];
  readonly #settings = new Map<string, string>();

  constructor(machine: Machine, header: TraceHeader) {
    this.machine = machine;
    const first = machine.spawn();
    this.#processes.push(first);
    this.#layOut(first, header);
  }

  #layOut(first: Process, header: TraceHeader): void {
    const mm = first.mm;
    set(mm, Mm.taskSize, Number(header.harness.taskSize >> 12n));
    set(mm, Mm.mmapBase, Number(header.harness.mmapBase >> 12n));
    for (const [name, [soft, hard]] of Object.entries(header.rlimits)) {
      const resource = RESOURCES[name];
      if (resource === undefined) continue;
      set(first.ref, ProcessStruct.rlimitCur + resource, soft);
      set(first.ref, ProcessStruct.rlimitMax + resource, hard);
    }
    set(first.ref, ProcessStruct.capsLow, ~(1 << CAP_SYS_RESOURCE));
    // The executor's file; its name is written to a page that goes again at once.
    must(first.syscall('mmap', HARNESS_START, 4096, 3, MAP_PRIVATE_ANONYMOUS | MAP_FIXED, -1, 0));
    first.write(HARNESS_START, new TextEncoder().encode('executor\0'));
    const fd = must(first.syscall('memfd_create', HARNESS_START, 0));
    must(first.syscall('munmap', HARNESS_START, 4096));
    must(first.syscall('ftruncate', fd, HARNESS_END - HARNESS_START));
    must(first.syscall('mmap', HARNESS_START, HARNESS_END - HARNESS_START, PROT_RWX, MAP_PRIVATE | MAP_FIXED, fd, 0));
    must(first.syscall('close', fd));
    set(mm, Mm.startBrk, Number(header.harness.brk));
    set(mm, Mm.brk, Number(header.harness.brk));
    // The executor gave its stack back; mappings where it was are still called so. Its one segment is writable, hence all data.
    set(mm, Mm.startStack, Number(header.harness.taskSize) - 2048);
    set(mm, Mm.dataBytes, Number(HARNESS_END - HARNESS_START));
    // Its last words tell the pages apart, as the recorder leaves them.
    for (let at = HARNESS_START; at < HARNESS_END; at += 4096n) first.store(at + 0xff8n, 8, at);
  }

  #process(number: number): Process {
    return this.#processes[number];
  }

  get processCount(): number {
    return this.#processes.length;
  }

  alive(process: number): boolean {
    return this.#processes[process]?.alive === true;
  }

  pid(process: number): number {
    return this.#process(process).pid;
  }

  syscall(process: number, name: string, args: readonly bigint[]): number {
    const p = this.#process(process);
    return p.takeResult() ?? p.syscall(name, ...args);
  }

  fork(process: number): number {
    const p = this.#process(process);
    const child = p.takeResult() ?? p.forkRaw();
    if (child < 0) return child;
    this.#processes.push(this.machine.processAt(child));
    return this.#processes.length - 1;
  }

  asleep(process: number): boolean {
    return this.#process(process).asleep;
  }

  #driver: TraceDriver | undefined;

  get driver(): TraceDriver {
    this.#driver ??= new MachineDriver(this.machine, (number) => this.#process(number));
    return this.#driver;
  }

  exit(process: number, status: number): void {
    this.#process(process).exit(status);
  }

  kill(process: number): void {
    this.#process(process).exit(9);
  }

  load(process: number, address: bigint, bytes: 1 | 8): bigint | Fault {
    return this.#process(process).load(address, bytes);
  }

  store(process: number, address: bigint, bytes: 1 | 8, value: bigint): Fault | undefined {
    return this.#process(process).store(address, bytes, value);
  }

  compareExchange(process: number, address: bigint, expected: number, value: number): Fault | undefined {
    const p = this.#process(process);
    // A locked instruction asks for write access whatever it finds.
    const fault = p.fault(Number(address >> 12n), 'write');
    if (fault) return { ...fault, address };
    const old = p.load(address, 1);
    if (typeof old !== 'bigint') return old;
    return p.store(address, 1, old === BigInt(expected) ? BigInt(value) : old);
  }

  fetch(process: number, address: bigint): Fault | undefined {
    return this.#process(process).fetch(address);
  }

  readMemory(process: number, address: bigint, length: number): Uint8Array | number {
    if (inHarness(address, length)) return this.#process(process).read(address, length).bytes;
    return readProcMem(this.machine, this.#process(process).ref, address, length);
  }

  writeMemory(process: number, address: bigint, bytes: Uint8Array): number {
    if (inHarness(address, bytes.length)) return this.#process(process).write(address, bytes).written;
    return writeProcMem(this.machine, this.#process(process).ref, address, bytes);
  }

  pagemapScan(process: number, request: PagemapScan): PagemapScanResult {
    return scanPagemap(this.machine, this.#process(process).ref, request);
  }

  clearRefs(process: number, value: number): number {
    return writeClearRefs(this.machine, this.#process(process).ref, value);
  }

  dropCapabilities(process: number, capabilities: readonly number[]): number {
    this.machine.enter();
    const { ref } = this.#process(process);
    for (const capability of capabilities) {
      const field = capability < 32 ? ProcessStruct.capsLow : ProcessStruct.capsHigh;
      set(ref, field, get(ref, field) & ~(1 << (capability & 31)));
    }
    return 0;
  }

  removeSegment(id: number): number {
    // From outside: no process of the machine has to be alive for it.
    this.machine.enter();
    return this.machine.kernel.sysShmctl(0, id, 0, 0);
  }

  configure(path: string, value: string): number {
    this.machine.enter();
    const setting = settingOf(this.machine, path);
    if (setting !== undefined) setting.write(value);
    else this.#settings.set(path, value);
    return 0;
  }

  setting(path: string): string {
    this.machine.enter();
    return settingOf(this.machine, path)?.read() ?? this.#settings.get(path) ?? '';
  }

  drain(): void {
    // Batches are never filled: see mm/swap.ts.
  }

  view(process: number): ProcessView | undefined {
    const p = this.#processes[process];
    return p?.alive ? viewProcess(this.machine, p.ref, process) : undefined;
  }

  file(process: number, descriptor: number): FileView | undefined {
    this.machine.enter();
    return this.alive(process) ? fileView(this.#process(process).ref, descriptor) : undefined;
  }

  counters(): Readonly<Record<string, number>> {
    this.machine.enter();
    const pool = hugePools(4).find((p) => p.kilobytes === 2048);
    return pool === undefined ? {} : { HugeTotal: pool.nr, HugeFree: pool.free, HugeRsvd: pool.resv, HugeSurp: pool.surplus };
  }
}

/** A process beside the others, with memory for its buffers. */
class MachineDriver implements TraceDriver {
  readonly #machine: Machine;
  readonly #process: Process;
  readonly #others: (number: number) => Process;
  #at = 0n;
  #length = 0;

  constructor(machine: Machine, others: (number: number) => Process) {
    this.#machine = machine;
    this.#process = machine.spawn();
    this.#others = others;
  }

  syscall(name: string, args: readonly bigint[]): number {
    return this.#process.syscall(name, ...args);
  }

  buffer(length: number): bigint {
    if (length > this.#length) {
      if (this.#length > 0) must(this.#process.syscall('munmap', this.#at, this.#length));
      this.#length = Math.ceil(length / 65536) * 65536;
      this.#at = BigInt(must(this.#process.syscall('mmap', 0, this.#length, 3, MAP_PRIVATE_ANONYMOUS, -1, 0)));
    }
    return this.#at;
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.#process.write(address, bytes);
  }

  read(address: bigint, length: number): Uint8Array {
    return this.#process.read(address, length).bytes;
  }

  takeDescriptor(process: number, descriptor: number): number {
    this.#machine.enter();
    const file = get(this.#others(process).ref, ProcessStruct.files + descriptor);
    if (file === 0) return -EBADF;
    this.#machine.kernel.fileGet(file);
    return this.#machine.kernel.fdPublish(this.#process.ref, file);
  }
}

/** The executor's own pages, which the recorder writes as it likes. */
const inHarness = (address: bigint, length: number): boolean => address >= HARNESS_START && address + BigInt(length) <= HARNESS_END;

/** A call of the set-up that cannot fail. */
function must(result: number): number {
  if (result < 0) throw new Error(`setting up the machine of a trace failed with errno ${-result}`);
  return result;
}
