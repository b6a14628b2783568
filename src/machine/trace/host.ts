/**
 * What a machine must offer so that recorded operations can be played on it and its state be compared with the recording.
 *
 * The interface is the kernel's own: system calls take 64-bit arguments and find their buffers in user memory, accesses fault with a
 * signal, state is read from outside. `execute.ts` carries out each operation of a trace on top of it as the recorder does on Linux,
 * `snapshot.ts` prints the state. Nothing here is particular to one machine.
 *
 * Units: addresses are bytes (bigint); vpn, pfn and counters count pages (number).
 */
import type { FileView, ProcessView } from '../proc/view.ts';

export type { FileView, PageView, ProcessView, VmaView } from '../proc/view.ts';

/** Where the recorder's executor keeps buffers: 16 pages of its own VMA (rwx, private file) in every process. */
export const SCRATCH = 0x7e00_0000_1000n;
export const SCRATCH_BYTES = 0x1_0000;
/** The executor's VMA: ELF header and code, then the scratch pages; all 17 pages are private anonymous copies before the first operation. */
export const HARNESS_START = 0x7e00_0000_0000n;
export const HARNESS_END = 0x7e00_0001_1000n;

/** `open` with a path below this reaches a file system in memory (tmpfs) … */
export const TMPFS_DIRECTORY = '/dev/shm/pxd';
/** … and below this a disk's (ext4). Both directories exist from the start and are empty. */
export const DISK_DIRECTORY = '/var/tmp/pxd';

/** A signal that an access raised. The access did not happen; the process goes on with the next one, as under a debugger. */
export interface Fault {
  /** 11 SIGSEGV, 7 SIGBUS. */
  readonly signal: number;
  /** `si_code`: 1 SEGV_MAPERR, 2 SEGV_ACCERR or BUS_ADRERR, 128 SI_KERNEL, … */
  readonly code: number;
  /** `si_addr`. */
  readonly address: bigint;
}

/**
 * A machine with processes, numbered from 0 in the order in which they came to be; process 0 exists from the start. Numbers of processes
 * that ended stay taken. Results of calls are non-negative, or `-errno` from -4095 to -1.
 */
export interface TraceHost {
  /** How many processes there have been. */
  readonly processCount: number;
  alive(process: number): boolean;
  /** What system calls know the process by (process_vm_readv, pidfd_open); an ended process's is never given to another. */
  pid(process: number): number;

  /**
   * One system call of the process: Linux's name, arguments as unsigned 64-bit numbers in the kernel's order (missing ones are 0).
   * Pointers lead into the memory of the process: the call reads and writes it as the kernel does (it may fault: EFAULT).
   * An unknown name throws a `PxdError` 'unavailable' that names it.
   */
  syscall(process: number, name: string, args: readonly bigint[]): number;
  /** fork(2): the new process's number, or -errno. */
  fork(process: number): number;
  /** exit_group(2); the process is gone and reaped afterwards. */
  exit(process: number, status: number): void;
  /** SIGKILL from outside; gone and reaped afterwards. */
  kill(process: number): void;

  /** A load of 1 or 8 bytes by the process (8 may cross a page): the value (unsigned), or the fault. */
  load(process: number, address: bigint, bytes: 1 | 8): bigint | Fault;
  /** A store of 1 or 8 bytes by the process. */
  store(process: number, address: bigint, bytes: 1 | 8, value: bigint): Fault | undefined;
  /** `lock cmpxchg` of a byte: a write access even where the comparison fails. */
  compareExchange(process: number, address: bigint, expected: number, value: number): Fault | undefined;
  /** An instruction fetch. What the instruction does is of no interest. */
  fetch(process: number, address: bigint): Fault | undefined;

  /**
   * /proc/PID/mem by a tracer (FOLL_FORCE): bytes read from `address`, fewer than `length` where the memory ends, or -errno
   * (EIO where not even the first byte can be had).
   */
  readMemory(process: number, address: bigint, length: number): Uint8Array | number;
  /** Likewise; the number of bytes written, or -errno. */
  writeMemory(process: number, address: bigint, bytes: Uint8Array): number;
  /** PAGEMAP_SCAN on /proc/PID/pagemap from outside. */
  pagemapScan(process: number, request: PagemapScan): PagemapScanResult;
  /** A number written to /proc/PID/clear_refs: 0 or -errno. */
  clearRefs(process: number, value: number): number;
  /** capset(2): takes capabilities (by number) out of the effective and permitted sets. */
  dropCapabilities(process: number, capabilities: readonly number[]): number;
  /** shmctl(2) IPC_RMID from outside, by the identifier that shmget gave. */
  removeSegment(id: number): number;

  /** Writes a setting below /sys/kernel/mm or /proc/sys/vm as the superuser: 0 or -errno. */
  configure(path: string, value: string): number;
  /** The setting as it reads (the chosen word where the file lists several); '' where there is none. */
  setting(path: string): string;

  /** Empties the CPU's LRU and mlock batches; called before each operation and before each look at the state. */
  drain(): void;

  /** State of a process, undefined when it has ended. Looking changes nothing. */
  view(process: number): ProcessView | undefined;
  /** The file behind a descriptor, undefined when it is closed or nothing that has pages (a pipe). */
  file(process: number, descriptor: number): FileView | undefined;
  /** Who plays the recorder's part of a userfaultfd: a process of its own, which is none of those above; absent where the machine has none. */
  readonly driver?: TraceDriver;
  /**
   * A call or an access of the process sleeps (`PxdError` 'asleep' said so): until its userfaultfd is read or resolves its fault. A call that has ended since gives its
   * result to the next one, which is not carried out.
   */
  asleep?(process: number): boolean;

  /** Counters of the whole machine, by the names of a snapshot's `sys` part (HugeTotal, SwapUsed, …); only those that the machine has. */
  counters(): Readonly<Record<string, number>>;
}

/** The recorder: calls that it makes itself, with buffers in memory of its own. */
export interface TraceDriver {
  syscall(name: string, args: readonly bigint[]): number;
  /** Bytes that it can use, from this address on; more are made when they are asked for. */
  buffer(length: number): bigint;
  write(address: bigint, bytes: Uint8Array): void;
  read(address: bigint, length: number): Uint8Array;
  /** Takes a copy of a descriptor of a process (pidfd_getfd): the driver's own number for it, or -errno. */
  takeDescriptor(process: number, descriptor: number): number;
}

/** `struct pm_scan_arg`; `vectorLength` 0 stands for no vector. */
export interface PagemapScan {
  readonly flags: bigint;
  readonly start: bigint;
  readonly end: bigint;
  readonly vectorLength: number;
  readonly maxPages: bigint;
  readonly invertedMask: bigint;
  readonly mask: bigint;
  readonly anyMask: bigint;
  readonly returnMask: bigint;
}

export interface PagemapScanResult {
  /** Regions found, or -errno. */
  readonly result: number;
  /** As many as `result`; end exclusive. */
  readonly regions: readonly { readonly start: bigint; readonly end: bigint; readonly categories: number }[];
  readonly walkEnd: bigint;
}
