/**
 * A live process as the kernel tells of it: /proc/PID/maps, smaps, pagemap, and /proc/kpageflags and kpagecount where permitted.
 *
 * These files are a view of the page tables, not the tables: rights are the VMA's, levels are not known, and the process runs on while they
 * are read. Invariants: a VMA that changed between two readings of maps is marked `torn`, never silently mixed; frames that the kernel hides
 * (no CAP_SYS_ADMIN) are undefined, never 0.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { PxdError } from '../../pagetable/error.ts';

export interface LiveVma {
  readonly start: bigint;
  readonly end: bigint;
  readonly perms: string;
  readonly offset: bigint;
  readonly name: string;
  /** From smaps; empty when it could not be read. */
  readonly flags: readonly string[];
  readonly kernelPageSize: number;
  /** maps no longer listed the same area after pagemap was read. */
  readonly torn: boolean;
}

/** Pages of one VMA that are alike and consecutive. */
export interface LiveRun {
  readonly vma: LiveVma;
  readonly va: bigint;
  readonly pages: number;
  readonly kind: 'present' | 'swap' | 'guard';
  /** Undefined when the kernel hides frame numbers. */
  readonly pfn: number | undefined;
  /** Whether frames advance with the pages (else the same frame repeats). */
  readonly step: 0 | 1;
  readonly swap: { readonly type: number; readonly offset: number } | undefined;
  readonly file: boolean;
  readonly exclusive: boolean;
  readonly softDirty: boolean;
  readonly uffdWp: boolean;
  /** Names of /proc/kpageflags, when readable. */
  readonly pageFlags: readonly string[] | undefined;
  /** How often the first frame is mapped (/proc/kpagecount), when readable. */
  readonly mapCount: number | undefined;
  /** smaps' KernelPageSize: larger than the base page for hugetlb. Transparent huge pages show as the flag `thp`, whose mapping level is not told. */
  readonly pageBytes: number;
}

export interface LiveProcess {
  readonly pid: number;
  readonly comm: string;
  readonly pageBytes: number;
  readonly vmas: readonly LiveVma[];
  readonly runs: readonly LiveRun[];
  /** What could not be read, one sentence each. */
  readonly notes: readonly string[];
}

/** Bit names of /proc/kpageflags (Documentation/admin-guide/mm/pagemap.rst). */
const KPAGE_FLAGS: readonly string[] = [
  'locked',
  'error',
  'referenced',
  'uptodate',
  'dirty',
  'lru',
  'active',
  'slab',
  'writeback',
  'reclaim',
  'buddy',
  'mmap',
  'anon',
  'swapcache',
  'swapbacked',
  'compound_head',
  'compound_tail',
  'huge',
  'unevictable',
  'hwpoison',
  'nopage',
  'ksm',
  'thp',
  'offline',
  'zero_page',
  'idle',
  'pgtable',
];

const PRESENT = 1n << 63n;
const SWAPPED = 1n << 62n;
const FILE = 1n << 61n;
const GUARD = 1n << 58n;
const UFFD_WP = 1n << 57n;
const EXCLUSIVE = 1n << 56n;
const SOFT_DIRTY = 1n << 55n;
const FRAME = (1n << 55n) - 1n;

/** Reads a process. @throws {PxdError} `unavailable` with the reason: no /proc, no such process, or not permitted. */
export function readLive(pid: number, pageBytes = 4096): LiveProcess {
  const base = `/proc/${pid}`;
  const maps = readText(`${base}/maps`, pid);
  const notes: string[] = [];
  const smaps = readSmaps(`${base}/smaps`, notes);
  const found = parseMaps(maps, smaps);
  const runs = new PagemapReader(pid, pageBytes, notes).read(found);
  const after = new Set(readText(`${base}/maps`, pid).split('\n'));
  const torn = new Map(found.map((f) => [f.vma, !after.has(f.line)]));
  const vmas = new Map(found.map((f) => [f.vma, torn.get(f.vma) ? { ...f.vma, torn: true } : f.vma]));
  if ([...torn.values()].some(Boolean)) notes.push('the process changed its mappings while they were read; areas marked torn may mix two moments');
  return {
    pid,
    comm: readText(`${base}/comm`, pid).trim(),
    pageBytes,
    vmas: [...vmas.values()],
    runs: runs.map((r) => ({ ...r, vma: vmas.get(r.vma) as LiveVma })),
    notes,
  };
}

function readText(path: string, pid: number): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new PxdError('unavailable', `${path}: there is no process ${pid} (or no Linux /proc on this system)`);
    if (code === 'ESRCH') throw new PxdError('unavailable', `${path}: process ${pid} has ended`);
    throw new PxdError('unavailable', `${path}: not permitted (${code}); reading another user's process needs its user or CAP_SYS_PTRACE`);
  }
}

interface Found {
  readonly line: string;
  readonly vma: LiveVma;
}

function parseMaps(maps: string, smaps: ReadonlyMap<string, { flags: string[]; page: number }>): Found[] {
  return maps
    .split('\n')
    .filter((l) => l !== '')
    .map((line) => {
      const m = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ \d+\s*(.*)$/.exec(line);
      if (!m) throw new PxdError('bad-image', `/proc maps: expected start-end perms offset, found "${line}"`);
      const more = smaps.get(`${m[1]}-${m[2]}`);
      const vma: LiveVma = {
        start: BigInt(`0x${m[1]}`),
        end: BigInt(`0x${m[2]}`),
        perms: m[3],
        offset: BigInt(`0x${m[4]}`),
        name: m[5],
        flags: more?.flags ?? [],
        kernelPageSize: more?.page ?? 4096,
        torn: false,
      };
      return { line, vma };
    });
}

function readSmaps(path: string, notes: string[]): Map<string, { flags: string[]; page: number }> {
  const areas = new Map<string, { flags: string[]; page: number }>();
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    notes.push(`${path} cannot be read: VmFlags and page sizes are not known`);
    return areas;
  }
  let current = { flags: [] as string[], page: 4096 };
  for (const line of text.split('\n')) {
    const head = /^([0-9a-f]+-[0-9a-f]+) /.exec(line);
    if (head) areas.set(head[1], (current = { flags: [], page: 4096 }));
    const [key, value] = line.split(/:\s+/);
    if (key === 'KernelPageSize') current.page = Number.parseInt(value, 10) * 1024;
    if (key === 'VmFlags') current.flags = value.trim().split(/\s+/);
  }
  return areas;
}

type MutableRun = { -readonly [K in keyof LiveRun]: LiveRun[K] };

class PagemapReader {
  readonly #pid: number;
  readonly #pageBytes: number;
  readonly #notes: string[];
  readonly #flags: FrameWords;
  readonly #counts: FrameWords;

  constructor(pid: number, pageBytes: number, notes: string[]) {
    this.#pid = pid;
    this.#pageBytes = pageBytes;
    this.#notes = notes;
    this.#flags = new FrameWords('/proc/kpageflags');
    this.#counts = new FrameWords('/proc/kpagecount');
  }

  read(found: readonly Found[]): MutableRun[] {
    const path = `/proc/${this.#pid}/pagemap`;
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (e) {
      throw new PxdError('unavailable', `${path}: not permitted (${(e as NodeJS.ErrnoException).code}); expected the process's own user or root`);
    }
    const runs: MutableRun[] = [];
    let hidden = false;
    try {
      for (const { vma } of found) hidden = this.#vma(fd, vma, runs) || hidden;
    } finally {
      closeSync(fd);
      this.#flags.close();
      this.#counts.close();
    }
    if (hidden) this.#notes.push('frame numbers are hidden: pagemap shows them only with CAP_SYS_ADMIN');
    else if (this.#flags.denied) this.#notes.push('/proc/kpageflags cannot be read: page flags and compound sizes are not known (needs root)');
    return runs;
  }

  #vma(fd: number, vma: LiveVma, runs: MutableRun[]): boolean {
    const chunk = Buffer.alloc(8 * 4096);
    const total = Number((vma.end - vma.start) / BigInt(this.#pageBytes));
    let hidden = false;
    let open: MutableRun | undefined;
    for (let done = 0; done < total; ) {
      const want = Math.min(4096, total - done);
      const position = (vma.start / BigInt(this.#pageBytes) + BigInt(done)) * 8n;
      // The vsyscall page lies above what pagemap covers.
      if (position > BigInt(Number.MAX_SAFE_INTEGER)) return hidden;
      const got = readSync(fd, chunk, 0, want * 8, Number(position)) / 8;
      if (got <= 0) return hidden;
      for (let i = 0; i < got; i++) {
        const word = chunk.readBigUInt64LE(i * 8);
        if ((word & (PRESENT | SWAPPED | GUARD)) === 0n) {
          open = undefined;
          continue;
        }
        const run = this.#run(vma, vma.start + BigInt(done + i) * BigInt(this.#pageBytes), word);
        if (run.kind === 'present' && run.pfn === undefined) hidden = true;
        if (!open || !this.#joins(open, run)) runs.push((open = run));
      }
      done += got;
    }
    return hidden;
  }

  #run(vma: LiveVma, va: bigint, word: bigint): MutableRun {
    const present = (word & PRESENT) !== 0n;
    const guard = (word & GUARD) !== 0n;
    const frame = Number(word & FRAME);
    const pfn = present && frame !== 0 ? frame : undefined;
    const flags = pfn === undefined ? undefined : this.#flags.at(pfn);
    const names = flags === undefined ? undefined : KPAGE_FLAGS.filter((_, i) => (flags >> BigInt(i)) & 1n);
    return {
      vma,
      va,
      pages: 1,
      kind: guard ? 'guard' : present ? 'present' : 'swap',
      pfn,
      step: 1,
      swap: present || guard ? undefined : { type: Number(word & 31n), offset: Number((word & FRAME) >> 5n) },
      file: (word & FILE) !== 0n,
      exclusive: (word & EXCLUSIVE) !== 0n,
      softDirty: (word & SOFT_DIRTY) !== 0n,
      uffdWp: (word & UFFD_WP) !== 0n,
      pageFlags: names,
      mapCount: pfn === undefined ? undefined : this.#mapCount(pfn),
      pageBytes: vma.kernelPageSize,
    };
  }

  #mapCount(pfn: number): number | undefined {
    const count = this.#counts.at(pfn);
    return count === undefined ? undefined : Number(count);
  }

  #joins(run: MutableRun, next: MutableRun): boolean {
    if (
      run.kind !== next.kind ||
      run.file !== next.file ||
      run.exclusive !== next.exclusive ||
      run.softDirty !== next.softDirty ||
      run.uffdWp !== next.uffdWp ||
      run.mapCount !== next.mapCount ||
      run.pageFlags?.join() !== next.pageFlags?.join()
    )
      return false;
    if (run.va + BigInt(run.pages * this.#pageBytes) !== next.va || !follows(run, next)) return false;
    run.pages++;
    return true;
  }
}

function follows(run: MutableRun, next: MutableRun): boolean {
  if (run.swap && next.swap) return run.swap.type === next.swap.type && run.swap.offset + run.pages === next.swap.offset;
  if (run.pfn === undefined || next.pfn === undefined) return run.pfn === next.pfn;
  if (run.pages === 1 && run.pfn === next.pfn) {
    run.step = 0;
    return true;
  }
  return run.step === 1 ? run.pfn + run.pages === next.pfn : run.pfn === next.pfn;
}

/** One of the kernel's files of 64-bit words by frame number; silently absent where it may not be read. */
class FrameWords {
  denied = false;
  #fd = -1;
  readonly #word = Buffer.alloc(8);

  constructor(path: string) {
    try {
      this.#fd = openSync(path, 'r');
    } catch {
      this.denied = true;
    }
  }

  at(pfn: number): bigint | undefined {
    if (this.#fd < 0) return undefined;
    try {
      return readSync(this.#fd, this.#word, 0, 8, pfn * 8) === 8 ? this.#word.readBigUInt64LE(0) : undefined;
    } catch {
      return undefined;
    }
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}
