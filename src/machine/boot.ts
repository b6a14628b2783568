/**
 * Boots a machine: memory, zones, kernel-wide variables, the zero page. What Linux's start_kernel leaves behind, as far as the mm sees it.
 *
 * Invariants: the globals are the first object of the heap; nothing else of a machine lies outside the state that `createState` made, but its
 * mode, which never changes.
 */
import { findMode } from '../arch/registry.ts';
import { clearTable as clearTableAt, mountArch } from '../kernel/arch.ts';
import { injectFailuresThrough } from '../kernel/effects.ts';
import { allocPages } from '../memory/buddy.ts';
import { __GFP_ZERO, GFP_KERNEL } from '../memory/gfp.ts';
import { alloc, get, set } from '../memory/heap.ts';
import { initMemory, type MemoryMapConfig } from '../memory/memory-map.ts';
import { PG_RESERVED, PG_UPTODATE } from '../memory/page-flags.ts';
import { createState, type MachineState, mount, pfnOfPage, setPageFlags } from '../memory/state.ts';
import { globals } from '../mm/globals.ts';
import { Globals } from '../mm/types.ts';
import { EntryCodec, userLimits } from '../pagetable/canonical.ts';
import { PxdError } from '../pagetable/error.ts';
import { bootHugetlb } from './boot-hugetlb.ts';
import { bootThp } from './thp-settings.ts';

export interface BootOptions {
  /** Paging mode by name (`pxd modes`). Default x86-4level. */
  readonly mode?: string;
  /** RAM in bytes: frames that are never touched take no memory of this process. Default 1 GiB. */
  readonly ramBytes?: number;
  readonly cpus?: number;
  /** Details of zones, NUMA nodes, CMA, watermarks; `ranges` default to one from the mode's base. */
  readonly memory?: Partial<MemoryMapConfig>;
  /** Pools of huge pages as the kernel's command line names them: `hugepagesz=2M hugepages=0:2,1:2`. */
  readonly hugepages?: string;
  /** Transparent huge pages as the kernel's command line names them: `transparent_hugepage=madvise thp_anon=16K-64K:always`. */
  readonly thp?: string;
  /** vm.* and the like at boot, by the names of Globals. */
  readonly settings?: Readonly<Partial<Record<SettingName, number>>>;
}

export type SettingName =
  | 'overcommitMemory'
  | 'overcommitRatio'
  | 'overcommitKbytes'
  | 'maxMapCount'
  | 'mmapMinAddr'
  | 'stackGuardGap'
  | 'faultAroundPages'
  | 'softDirty'
  | 'memoryFailure'
  | 'totalRam';

export interface Booted {
  readonly state: MachineState;
  readonly codec: EntryCodec;
}

const codecs = new Map<string, EntryCodec>();

/**
 * The codec of a mode, made once; not for machines of modes with shared empty tables, which each know their own (`machineCodec`).
 *
 * @throws {PxdError} 'unknown' for a mode that does not exist or that no machine can run in.
 */
export function codecFor(name: string): EntryCodec {
  const known = codecs.get(name);
  if (known) return known;
  const mode = findMode(name);
  if (!mode) throw new PxdError('unknown', `there is no paging mode "${name}" (\`pxd modes\` lists them)`);
  try {
    const codec = new EntryCodec(mode);
    codecs.set(name, codec);
    return codec;
  } catch (e) {
    throw new PxdError('unavailable', `no machine runs in mode ${name}: ${(e as Error).message}`);
  }
}

/** A codec for one machine. */
function machineCodec(name: string): EntryCodec {
  const codec = codecFor(name);
  return codec.sharedEmpty ? new EntryCodec(codec.mode) : codec;
}

/** The codec of a machine whose memory exists and is mounted. @throws {PxdError} like `codecFor`. */
export function codecOfMounted(name: string): EntryCodec {
  const codec = machineCodec(name);
  if (codec.sharedEmpty) codec.useEmptyTables(codec.levels.slice(0, -1).map((_, level) => pfnOfPage(get(globals, Globals.emptyTables + level))));
  return codec;
}

/** First frame above 4 GiB, as a bound of zones. */
const frames = (bytes: number, shift: number): number => Math.floor(bytes / 2 ** shift);

/** Boots a machine and leaves it mounted. @throws {PxdError} for a mode or size that cannot be. */
export function boot(options: BootOptions = {}): Booted {
  const codec = machineCodec(options.mode ?? 'x86-4level');
  const shift = codec.pageShift;
  const ram = options.ramBytes ?? 2 ** 30;
  const total = frames(ram, shift);
  if (!(total >= 2048))
    throw new PxdError('usage', `RAM of ${ram} bytes is too small: at least ${2048 * 2 ** shift} bytes are needed with pages of ${2 ** shift}`);
  const state = createState(total, shift);
  mount(state);
  mountArch(codec);
  alloc(Globals);
  set(globals, Globals.overcommitRatio, 50);
  set(globals, Globals.maxMapCount, 65530);
  set(globals, Globals.mmapMinAddr, 4096);
  set(globals, Globals.lsmMmapMinAddr, userLimits(codec.mode).mmapMinAddr);
  set(globals, Globals.stackGuardGap, 256);
  set(globals, Globals.faultAroundPages, Math.max(1, 65536 >> shift));
  set(globals, Globals.nextPid, 1);
  set(globals, Globals.adminReserveKbytes, 8192);
  set(globals, Globals.userReserveKbytes, 131072);
  set(globals, Globals.totalRam, total);
  for (const [name, value] of Object.entries(options.settings ?? {})) set(globals, Globals[name as SettingName], value as number);
  initMemory({
    ranges: [{ start: 0, end: total }],
    zoneBounds: defaultZones(codec, total),
    cpus: Array.from({ length: options.cpus ?? 1 }, () => 0),
    ...options.memory,
  });
  injectFailuresThrough(globals + Globals.failAllocation);
  const zero = allocPages(0, GFP_KERNEL | __GFP_ZERO);
  setPageFlags(zero, PG_RESERVED | PG_UPTODATE);
  set(globals, Globals.zeroPage, zero);
  makeEmptyTables(codec);
  bootThp();
  bootHugetlb(codec);
  return { state, codec };
}

/** DMA32 below 4 GiB on 64-bit machines, HighMem above the direct map on 32-bit ones. */
function defaultZones(codec: EntryCodec, total: number): NonNullable<MemoryMapConfig['zoneBounds']> {
  const wide = codec.vaBits > 32;
  const bound = wide ? frames(2 ** 32, codec.pageShift) : frames(896 * 2 ** 20, codec.pageShift);
  if (total <= bound) return {};
  return wide ? { dma32: bound } : { normal: bound };
}

/** Tables that all empty slots above the lowest level point to, where the architecture has them (mips, loongarch). */
function makeEmptyTables(codec: EntryCodec): void {
  if (!codec.sharedEmpty) return;
  const pages = codec.levels.slice(0, -1).map(() => allocPages(0, GFP_KERNEL | __GFP_ZERO));
  codec.useEmptyTables(pages.map(pfnOfPage));
  pages.forEach((page, level) => {
    setPageFlags(page, PG_RESERVED);
    set(globals, Globals.emptyTables + level, page);
    clearTableAt(page, level);
  });
}
