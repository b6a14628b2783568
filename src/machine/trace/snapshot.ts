/**
 * The state of a machine in the notation of a trace: a line for each VMA, status counters, files.
 *
 * Invariants: objects are numbered by their first appearance (`shanon:0`, `sysv:0`, …) and keep their names for the whole trace; the
 * executor's own VMA is not shown and its part is taken out of the counters, as the recorder does.
 *
 * Source of the notation: the recorder's protocol, section 5.
 */
import { offsetOf, permsOf, specialName } from '../proc/maps.ts';
import { type Smaps, smapsOf } from '../proc/smaps.ts';
import { statusNumbers } from '../proc/status.ts';
import type { FileKind, FileView, ProcessView, VmaView } from '../proc/view.ts';
import { flagLetters, hasFlag } from '../proc/vm-bits.ts';
import { emptySnapshot, type FileFields, keyOf, type ProcessSnapshot, type Snapshot, sameFile } from './delta.ts';
import { HARNESS_END, HARNESS_START, type TraceHost } from './host.ts';
import { printLine } from './line.ts';
import { FirstAppearances, runsOf } from './tokens.ts';

const PAGE_BYTES = 4096;
const HARNESS_FIRST = Number(HARNESS_START / 4096n);
const HARNESS_LAST = Number(HARNESS_END / 4096n);
/** Descriptors that are looked at for files. */
const DESCRIPTORS = 24;

/** How a kind is called when it appears without a name of its own. */
const NUMBERED: Readonly<Record<FileKind, string>> = {
  memfd: 'memfd',
  tmpfs: 'tmpfs',
  disk: 'disk',
  'shared-anon': 'shanon',
  sysv: 'sysv',
  'hugetlb-anon': 'ahuge',
  hugetlbfs: 'hugefile',
  other: 'other',
};

/** Names of files as a trace has them. */
export class FileNames {
  readonly #names = new Map<number, string>();
  readonly #counts = new Map<string, number>();

  /** The next number of a kind; memfds are counted as they are created. */
  next(prefix: string): string {
    const n = this.#counts.get(prefix) ?? 0;
    this.#counts.set(prefix, n + 1);
    return `${prefix}:${n}`;
  }

  /** Gives a file a name, unless it has one. */
  name(id: number, name: string): void {
    if (!this.#names.has(id)) this.#names.set(id, name);
  }

  known(id: number): string | undefined {
    return this.#names.get(id);
  }

  /** The name of a file that is mapped: a number of its kind where it was never named. */
  of(file: FileView): string {
    const known = this.#names.get(file.id);
    if (known !== undefined) return known;
    const name = this.next(NUMBERED[file.kind]);
    this.#names.set(file.id, name);
    return name;
  }
}

/** Files whose page cache a trace does not tell of. */
const onDisk = (file: FileView | undefined): boolean => file !== undefined && (file.kind === 'disk' || file.kind === 'other');

export interface SnapshotOptions {
  readonly noref: boolean;
  readonly sys: readonly string[];
  /** kB of page tables before the first operation. */
  readonly pteBaseKb: number;
}

/** Takes snapshots of one machine. */
export class Snapshots {
  readonly names = new FileNames();
  readonly #options: SnapshotOptions;
  /** What was last told of each file, by its identity. */
  readonly #told = new Map<number, FileFields>();
  /** By name, what was told last. */
  readonly #files = new Map<string, FileFields>();

  constructor(options: SnapshotOptions) {
    this.#options = options;
  }

  take(host: TraceHost): Snapshot {
    const snapshot = emptySnapshot();
    const seen = new FirstAppearances();
    for (let process = 0; process < host.processCount; process++) {
      const view = host.view(process);
      if (view !== undefined) snapshot.processes.set(process, this.#process(view, seen));
    }
    this.#tellFiles(host);
    for (const [name, fields] of this.#files) snapshot.files.set(name, fields);
    if (this.#options.sys.length > 0) for (const [name, value] of Object.entries(host.counters())) snapshot.sys.set(name, value);
    return snapshot;
  }

  #process(view: ProcessView, seen: FirstAppearances): ProcessSnapshot {
    const lines = new Map<string, string>();
    const harness = { pages: 0, rss: 0, anon: 0, swap: 0, locked: false };
    for (const vma of view.vmas) {
      if (vma.start >= HARNESS_FIRST && vma.end <= HARNESS_LAST) {
        const sums = smapsOf(vma);
        harness.pages += vma.end - vma.start;
        harness.rss += sums.rss;
        harness.anon += sums.anonymous;
        harness.swap += sums.swap;
        if (hasFlag(vma.flags, 'VM_LOCKED')) harness.locked = true;
        continue;
      }
      const line = this.#line(view, vma, seen);
      lines.set(keyOf(line), line);
    }
    return { lines, status: this.#status(view, harness) };
  }

  #line(view: ProcessView, vma: VmaView, seen: FirstAppearances): string {
    const disk = onDisk(vma.file);
    return printLine({
      start: vma.start,
      end: vma.end,
      perms: permsOf(vma.flags),
      offsetBytes: offsetOf(vma) * PAGE_BYTES,
      name: vma.file === undefined ? (specialName(view, vma) ?? 'anon') : this.names.of(vma.file),
      numbers: numbersOf(smapsOf(vma), disk, this.#options.noref),
      letters: flagLetters(vma.flags),
      runs: runsOf(vma, view.process, seen, disk),
    });
  }

  #status(view: ProcessView, harness: { pages: number; rss: number; anon: number; swap: number; locked: boolean }): Record<string, number> {
    const kb = statusNumbers(view.counters);
    const size = (harness.pages * PAGE_BYTES) / 1024;
    const [rss, anon, swap] = [harness.rss / 1024, harness.anon / 1024, harness.swap / 1024];
    return {
      VmSize: kb.VmSize - size,
      VmLck: kb.VmLck - (harness.locked ? size : 0),
      VmPin: kb.VmPin,
      VmRSS: kb.VmRSS - rss,
      RssAnon: kb.RssAnon - anon,
      RssFile: kb.RssFile - (rss - anon),
      RssShmem: kb.RssShmem,
      VmData: kb.VmData - size,
      VmStk: kb.VmStk,
      VmExec: kb.VmExe + kb.VmLib,
      VmPTE: kb.VmPTE - this.#options.pteBaseKb,
      VmSwap: kb.VmSwap - swap,
      HugetlbPages: kb.HugetlbPages,
      ...(this.#options.sys.includes('ksm') ? view.more : {}),
    };
  }

  /** Files with a name that a live process holds a descriptor of: lowest process and descriptor first, each once. */
  #tellFiles(host: TraceHost): void {
    const seen = new Set<number>();
    for (let process = 0; process < host.processCount; process++) {
      if (!host.alive(process)) continue;
      for (let descriptor = 0; descriptor < DESCRIPTORS; descriptor++) {
        const file = host.file(process, descriptor);
        const name = file === undefined ? undefined : this.names.known(file.id);
        if (file === undefined || name === undefined || seen.has(file.id)) continue;
        seen.add(file.id);
        const fields = onDisk(file) ? { size: file.sizeBytes } : { size: file.sizeBytes, pages: file.pages };
        if (sameFile(this.#told.get(file.id), fields)) continue;
        this.#told.set(file.id, fields);
        this.#files.set(name, fields);
      }
    }
  }
}

/** The numbers of a line: kB, zero left out. */
export function numbersOf(sums: Smaps, disk: boolean, noref: boolean): [string, number][] {
  const kb = (bytes: number): number => Math.floor(bytes / 1024);
  const gigantic = sums.pageBytes >= 2 ** 30;
  const pageKb = sums.pageBytes === PAGE_BYTES ? 0 : kb(sums.pageBytes);
  const split: [string, number][] = [
    ['sc', kb(sums.sharedClean)],
    ['sd', kb(sums.sharedDirty)],
    ['pc', kb(sums.privateClean)],
    ['pd', kb(sums.privateDirty)],
    ['ref', noref ? 0 : kb(sums.referenced)],
  ];
  const all: [string, number][] = [
    ['rss', kb(sums.rss)],
    ['pss', kb(sums.pss)],
    ...(disk ? [] : split),
    ['an', kb(sums.anonymous)],
    ['ksm', kb(sums.ksm)],
    ['lf', kb(sums.lazyFree)],
    ['ah', kb(sums.anonHuge)],
    ['sp', kb(sums.shmemPmdMapped)],
    ['fp', kb(sums.filePmdMapped)],
    ['sh', gigantic ? 0 : kb(sums.sharedHugetlb)],
    ['ph', kb(sums.privateHugetlb) + (gigantic ? kb(sums.sharedHugetlb) : 0)],
    ['sw', kb(sums.swap)],
    ['sps', kb(sums.swapPss)],
    ['lk', kb(sums.locked)],
    ['te', Number(sums.thpEligible)],
    ['kp', pageKb],
    ['mp', pageKb],
    ...((disk
      ? [
          ['s', kb(sums.sharedClean) + kb(sums.sharedDirty)],
          ['p', kb(sums.privateClean) + kb(sums.privateDirty)],
        ]
      : []) as [string, number][]),
  ];
  return all.filter(([, value]) => value !== 0);
}
