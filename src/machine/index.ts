/**
 * `pxd/machine`: Linux's memory management to run.
 *
 * A `Machine` is RAM in some paging mode with a kernel that answers as Linux 6.18 does; a `Process` has an address space, makes system calls and
 * loads, stores and fetches through page tables that lie in that RAM as the architecture's kernel would write them.
 *
 * ```ts
 * const machine = new Machine({ mode: 'x86-4level', ramBytes: 2 ** 30 });
 * const process = machine.spawn();
 * process.syscall('mmap', 0x10000000, 0x4000, 3, 0x32, -1, 0);   // PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED
 * process.store(0x10000008n, 8, 42n);
 * process.load(0x20000000n, 1);                                   // { signal: 11, code: 1, address: 0x20000000n }
 * ```
 *
 * Nothing here touches a platform: it runs in Node and in browsers. docs/machine.md shows how an emulator stands on it.
 */

export type { Ram } from '../memory/state.ts';
export { PxdError, type PxdErrorCode } from '../pagetable/error.ts';
export { type BootOptions, codecFor, type SettingName } from './boot.ts';
export { Machine, type MachineOptions } from './machine.ts';
export type { ProcFile } from './proc/files.ts';
export { readProcMem, writeProcMem } from './proc/mem.ts';
export { readPagemap, scanPagemap, writeClearRefs } from './proc/pagemap.ts';
export type { FileView, MmCounters, PageView, ProcessView, VmaView } from './proc/view.ts';
export { PAGE } from './proc/view.ts';
export { type Access, type Fault, Process } from './process.ts';
export type { Mark } from './snapshot.ts';
export { SoftTlb, TLB_CPUS, TLB_ENTRIES, type TlbView } from './soft-tlb.ts';
export { systemCalls } from './syscalls.ts';
export type { PagemapScan, PagemapScanResult } from './trace/host.ts';
export { viewProcess } from './view.ts';
