/** What scenarios set up most: mappings, pages that were touched, files. All of it by system calls; whatever fails throws. */
import { spanPages } from '../kernel/arch.ts';
import { codecFor } from '../machine/boot.ts';
import { hugePoolSetting } from '../machine/hugetlb-settings.ts';
import type { Process } from '../machine/process.ts';
import { thpSetting } from '../machine/thp-settings.ts';
import { MADV_HUGEPAGE } from '../mm/madv.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_HUGE_SHIFT, MAP_HUGETLB, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE } from '../mm/mman.ts';
import { PxdError } from '../pagetable/error.ts';
import type { Stage } from './scenario.ts';

export { MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE };

/** First page of the window in which scenarios map: below 1 GiB, so that it is there in every mode, and in the middle of a page table. */
export const WINDOW = 0x10000;

export interface Mapping {
  /** PROT_ bits, default read and write. */
  readonly prot?: number;
  /** MAP_ bits beside MAP_FIXED; default private (shared for a file), anonymous without a file. */
  readonly flags?: number;
  readonly fd?: number;
  /** First page of the file. */
  readonly pgoff?: number;
}

const done = (what: string, result: number): number => {
  if (result < 0) throw new PxdError('usage', `setting up: ${what} fails with errno ${-result}`);
  return result;
};

/** A system call that must succeed. */
export const must = (process: Process, name: string, ...args: (number | bigint)[]): number =>
  done(name, (process.syscall as (name: string, ...args: (number | bigint)[]) => number).call(process, name, ...args));

/** Maps pages at a page. */
export function map(
  stage: Stage,
  vpn: number,
  pages: number,
  { prot = PROT_READ | PROT_WRITE, flags, fd = -1, pgoff = 0 }: Mapping = {},
  process = stage.process,
): void {
  const kind = flags ?? (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
  must(process, 'mmap', vpn * stage.page, pages * stage.page, prot, kind | MAP_FIXED, fd, pgoff * stage.page);
}

/** Stores a value to the first word of a page. */
export function store(stage: Stage, vpn: number, value: number, process = stage.process): void {
  const fault = process.store(BigInt(vpn) * BigInt(stage.page), 4, BigInt(value));
  if (fault) throw new PxdError('usage', `setting up: a store to page 0x${vpn.toString(16)} ends in signal ${fault.signal}`);
}

/** Loads the first word of a page, faulting it in. */
export function load(stage: Stage, vpn: number, process = stage.process): number {
  const value = process.load(BigInt(vpn) * BigInt(stage.page), 4);
  if (typeof value !== 'bigint') throw new PxdError('usage', `setting up: a load of page 0x${vpn.toString(16)} ends in signal ${value.signal}`);
  return Number(value);
}

/** Puts a struct iovec at an address, as wide as the mode's pointers are. */
export function iovec(stage: Stage, address: number, base: number, length: number, process = stage.process): void {
  const wide = stage.machine.codec.vaBits > 32 ? 8 : 4;
  process.store(BigInt(address), wide, BigInt(base));
  process.store(BigInt(address + wide), wide, BigInt(length));
}

/** Where names of files are put for a moment. */
const NAMES = WINDOW - 4096;

function withName<T>(stage: Stage, name: string, use: (address: number) => T): T {
  const { process, page } = stage;
  map(stage, NAMES, 1);
  process.write(BigInt(NAMES * page), new TextEncoder().encode(`${name}\0`));
  const result = use(NAMES * page);
  must(process, 'munmap', NAMES * page, page);
  return result;
}

/** A file of shared memory with so many pages; flags as of memfd_create(). Its descriptor. */
export function memfd(stage: Stage, pages: number, flags = 0): number {
  const fd = withName(stage, 'memory', (name) => must(stage.process, 'memfd_create', name, flags));
  must(stage.process, 'ftruncate', fd, pages * stage.page);
  return fd;
}

/** A file of a disk with so many pages. Its descriptor. */
export function diskFile(stage: Stage, pages: number): number {
  const fd = withName(stage, '/var/tmp/pxd/file', (name) => must(stage.process, 'open', name, 0o102, 0o600));
  must(stage.process, 'ftruncate', fd, pages * stage.page);
  return fd;
}

/** Families whose kernels have transparent huge pages in all modes of ours; 64-bit powerpc has them, too. */
const THP: readonly string[] = ['x86', 'arm64', 'riscv', 's390', 'loongarch'];

/** Whether a mode's kernel has transparent huge pages: entries of the level above the lowest that map memory. */
export const hasThp = (mode: string): boolean => THP.includes(codecFor(mode).mode.family) && codecFor(mode).levels[1].leaves;

/** Pages of one huge page. */
export const hugePages = (): number => spanPages(1);

/** From now on faults make huge pages of so many that are mapped at a page. */
export function adviseHuge(stage: Stage, vpn: number, count: number): void {
  stage.machine.enter();
  thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('madvise');
  must(stage.process, 'madvise', vpn * stage.page, count * hugePages() * stage.page, MADV_HUGEPAGE);
}

/** Maps so many huge pages of private anonymous memory at a page, which is a multiple of their size; faults make huge pages of them. */
export function mapHuge(stage: Stage, vpn: number, count: number): void {
  stage.machine.enter();
  map(stage, vpn, count * hugePages());
  adviseHuge(stage, vpn, count);
}

/** Maps the range of a huge page at WINDOW, of which one small page is there; it may be collapsed from now on. */
export function mapCollapsible(stage: Stage, touched = WINDOW): void {
  map(stage, WINDOW, hugePages());
  store(stage, touched, 1);
  adviseHuge(stage, WINDOW, 1);
}

/** Whether a mode's kernel has pages of hugetlb of the size of one huge page, and room for some in a scenario's RAM. */
export const hasHugetlb = hasThp;

/** So many pages in the pool of the default size of huge pages. */
export function hugePool(stage: Stage, pages: number): void {
  stage.machine.enter();
  hugePoolSetting('/proc/sys/vm/nr_hugepages')?.write(stage.machine.kernel, pages);
}

/** A pool with one page of 2^shift bytes, and at each of some pages as much private memory as it can back: it reserves none, so that one place at a time has the page. */
export function mapForOneHugePage(stage: Stage, shift: number, ...places: number[]): void {
  const { machine, page } = stage;
  machine.enter();
  hugePoolSetting(`/sys/kernel/mm/hugepages/hugepages-${2 ** (shift - 10)}kB/nr_hugepages`)?.write(machine.kernel, 1);
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_HUGETLB | (shift << MAP_HUGE_SHIFT);
  for (const vpn of places) map(stage, vpn, 2 ** shift / page, { flags });
}

/** Maps so many pages of hugetlb at a page, private ones of no file or as said. */
export function mapHugetlb(
  stage: Stage,
  vpn: number,
  count: number,
  { flags = MAP_PRIVATE | MAP_ANONYMOUS, ...rest }: Mapping = {},
  process = stage.process,
): void {
  map(stage, vpn, count * hugePages(), { ...rest, flags: flags | MAP_HUGETLB }, process);
}

/** Commands of a userfaultfd (ioctl_userfaultfd(2)), as they stand in ioctl numbers. */
export const UFFDIO_REGISTER = 0xaa00;
export const UFFDIO_COPY = 0xaa03;
export const UFFDIO_WRITEPROTECT = 0xaa06;
const UFFDIO_API = 0xaa3f;
/** UFFDIO_REGISTER_MODE_*. */
export const REGISTER_MISSING = 1;
export const REGISTER_WP = 2;

/** Stores the argument of an ioctl at an address: words of 64 bits. */
export function words64(stage: Stage, address: number, words: readonly number[], process = stage.process): number {
  for (const [i, word] of words.entries()) process.store(BigInt(address + i * 8), 8, BigInt(word));
  return address;
}

/** A userfaultfd of a process, ready for use; `scratch` is a mapped page of it. Its descriptor. */
export function userfaultfd(stage: Stage, scratch: number, process = stage.process): number {
  const fd = must(process, 'userfaultfd', 0);
  must(process, 'ioctl', fd, UFFDIO_API, words64(stage, scratch * stage.page, [0xaa, 0, 0], process));
  return fd;
}
