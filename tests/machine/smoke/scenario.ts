/**
 * Scenarios of the smoke test of interleavings: what a few threads of one or two processes do at the same time, as data, made from a seed.
 *
 * Addresses are pages of a window that lies across the border of two page tables, so that most operations meet each other and tables come and go.
 */
import { randomNumbers } from '../../../src/kernel/choose.ts';

/** A call of a thread: a kernel function by name and its arguments without the process; addresses in bytes, loads and stores by page. */
export interface Step {
  readonly run: string;
  readonly args: readonly number[];
}

export interface Thread {
  /** 0: the first process; 1: its child, forked after the setup. */
  readonly process: 0 | 1;
  readonly steps: readonly Step[];
}

export interface Scenario {
  /** Done one after the other before anything else. */
  readonly setup: readonly Step[];
  readonly threads: readonly Thread[];
  /** Threads share CPUs: fewer than threads. */
  readonly cpus: number;
  readonly ipis: boolean;
  /** Hardware reads translations ahead. */
  readonly speculate: boolean;
  /** Fault injection: number of the allocation that fails once the threads run, 0 for none. */
  readonly failAllocation: number;
}

export const PAGE = 4096;
/** Pages of a table of the lowest level (x86). */
const TABLE = 512;
/** First page of the window; the next table begins in its middle. */
export const WINDOW = 0x10000000 / PAGE + TABLE - 8;
export const WINDOW_PAGES = 16;
/** Where nothing is at first: targets of moves. */
const ELSEWHERE = WINDOW + 4 * TABLE;
/** A whole table's range, for operations that empty one. */
const WHOLE = 0x10000000 / PAGE;
/** Descriptors 0 (shared memory) and 1 (a disk's file) are open. */
export const FILE_PAGES = 8;

const PROT = [0, 1, 3, 3, 3, 5, 7];
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_LOCKED = 0x2000;
/** MADV_DONTNEED three times: it is what faults race with. */
const ADVICE = [4, 4, 4, 8, 9, 20, 21, 22, 23, 10, 11, 12, 13, 14, 15, 18, 19, 102, 103, 3, 0];
/** MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_GUARD_INSTALL. */
const PAGE_BY_PAGE = [22, 23, 102];
const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MREMAP_DONTUNMAP = 4;

/** Weights of what threads do, by the subject of a scenario. */
const PROFILES: readonly Readonly<Record<string, number>>[] = [
  // Everything.
  { store: 22, load: 14, munmap: 10, mmap: 10, mprotect: 10, madvise: 12, mremap: 7, fork: 6, mlock: 3, truncate: 3, punch: 1, msync: 1, brk: 1, mincore: 1 },
  // Faults of anonymous memory against what takes it away.
  { store: 40, load: 15, dontneed: 20, munmap: 8, mmap: 8, mprotect: 10 },
  // Page tables that come and go.
  { store: 30, load: 20, dontneedAll: 30, munmapAll: 6, mmapAll: 8, populate: 6 },
  // Copies on write after forks.
  { store: 45, load: 10, fork: 20, dontneed: 8, mprotect: 8, munmap: 5, free: 4 },
  // Files that shrink under their mappings.
  { store: 25, load: 25, truncate: 18, punch: 10, remove: 6, dontneed: 6, mmap: 5, munmap: 5 },
  // Moves.
  { store: 25, load: 15, mremap: 30, munmap: 8, mmap: 8, fork: 6, mprotect: 8 },
];
/** Number of the profile of files. */
const FILES = 4;
const TABLES = 2;

class Maker {
  readonly random: (n: number) => number;
  /** Pages of the window that most operations of this scenario touch: few, so that they meet. */
  readonly hot: readonly number[];
  readonly profile: number;
  /** Mappings of the setup are of this descriptor; −1: anonymous. */
  readonly fd: number;
  readonly #weights: readonly (readonly [name: string, weight: number])[];

  constructor(seed: number) {
    this.random = randomNumbers(seed);
    this.hot = Array.from({ length: 1 + this.random(3) }, () => this.random(WINDOW_PAGES));
    this.profile = this.random(PROFILES.length);
    this.fd = this.profile === FILES || this.random(5) === 0 ? this.random(2) : -1;
    this.#weights = Object.entries(PROFILES[this.profile]);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.random(list.length)];
  }

  /** First page and number of pages of a part of the window, sometimes of a whole table. */
  range(): [vpn: number, pages: number] {
    if (this.random(10) === 0) return [WHOLE, TABLE];
    if (this.random(16) === 0) return [WHOLE, 2 * TABLE];
    const from = this.random(3) === 0 ? this.random(WINDOW_PAGES) : Math.max(0, this.pick(this.hot) - this.random(3));
    return [WINDOW + from, 1 + this.random(Math.min(6, WINDOW_PAGES - from))];
  }

  vpn(): number {
    const n = this.random(10);
    return n === 0 ? ELSEWHERE + this.random(4) : WINDOW + (n < 8 ? this.pick(this.hot) : this.random(WINDOW_PAGES));
  }

  mmap([vpn, pages]: [number, number] = this.range(), fixed = this.random(4) !== 0): Step {
    const fd = this.random(3) === 0 ? this.random(2) : this.fd;
    const shared = this.random(fd >= 0 ? 2 : 4) === 0;
    let flags = (shared ? MAP_SHARED : MAP_PRIVATE) | (fd >= 0 ? 0 : MAP_ANONYMOUS);
    if (fixed) flags |= MAP_FIXED;
    if (this.random(8) === 0) flags |= MAP_NORESERVE;
    if (this.random(12) === 0 && pages < 16) flags |= MAP_LOCKED;
    const prot = this.random(3) === 0 ? this.pick(PROT) : 3;
    // Most mappings of the window show the pages of the file from its beginning, so that truncation meets them.
    const offset = this.random(3) === 0 ? this.random(FILE_PAGES) : Math.max(0, vpn - WINDOW) % FILE_PAGES;
    return { run: 'sysMmap', args: [vpn * PAGE, pages * PAGE, prot, flags, fd, fd >= 0 ? offset * PAGE : 0] };
  }

  mremap(): Step {
    const [vpn, pages] = this.range();
    const more = this.random(3);
    const size = more === 0 ? pages : more === 1 ? pages + this.random(3) : Math.max(1, pages - this.random(3));
    const fixed = this.random(3) === 0;
    let flags = MREMAP_MAYMOVE;
    if (fixed) flags |= MREMAP_FIXED;
    if (this.random(6) === 0 && size === pages) flags |= MREMAP_DONTUNMAP;
    return {
      run: 'sysMremap',
      args: [vpn * PAGE, pages * PAGE, size * PAGE, this.random(5) === 0 ? 0 : flags, fixed ? (ELSEWHERE + this.random(4)) * PAGE : 0],
    };
  }

  #what(): string {
    let n = this.random(this.#weights.reduce((sum, [, weight]) => sum + weight, 0));
    for (const [name, weight] of this.#weights) {
      if (n < weight) return name;
      n -= weight;
    }
    throw new Error('no weight is left');
  }

  /** One call of a thread. `value` is what a store stores. */
  step(value: number): Step {
    const [vpn, pages] = this.range();
    const at = vpn * PAGE;
    const bytes = pages * PAGE;
    const advise = (advice: number): Step => ({
      run: 'sysMadvise',
      // Whatever goes over every page of a range takes thousands of steps for a whole table.
      args: [at, PAGE_BY_PAGE.includes(advice) ? Math.min(pages, 16) * PAGE : bytes, advice],
    });
    const fd = this.fd >= 0 && this.random(4) !== 0 ? this.fd : this.random(2);
    switch (this.#what()) {
      case 'store':
        return { run: 'threadStore', args: [this.vpn(), value] };
      case 'load':
        return { run: 'threadLoad', args: [this.vpn()] };
      case 'munmap':
        return { run: 'sysMunmap', args: [at, bytes] };
      case 'munmapAll':
        return { run: 'sysMunmap', args: [(WHOLE + this.random(2) * TABLE) * PAGE, TABLE * PAGE] };
      case 'mmap':
        return this.mmap();
      case 'mmapAll':
        return this.mmap([WHOLE, 2 * TABLE], true);
      case 'mprotect':
        return { run: 'sysMprotect', args: [at, bytes, this.pick(PROT)] };
      case 'madvise':
        return advise(this.pick(ADVICE));
      case 'dontneed':
        return advise(4);
      case 'dontneedAll':
        return { run: 'sysMadvise', args: [(WHOLE + this.random(2) * TABLE) * PAGE, (1 + this.random(2)) * TABLE * PAGE, 4] };
      case 'populate':
        return advise(23);
      case 'free':
        return advise(this.pick([8, 20, 21]));
      case 'remove':
        return advise(9);
      case 'mremap':
        return this.mremap();
      case 'fork':
        return { run: 'sysFork', args: [] };
      case 'mlock':
        return { run: this.pick(['sysMlock', 'sysMunlock']), args: [at, Math.min(pages, 16) * PAGE] };
      case 'truncate':
        return { run: 'sysFtruncate', args: [fd, this.random(3) === 0 ? 0 : this.random(FILE_PAGES + 1) * PAGE - this.random(2) * 100] };
      case 'punch':
        return { run: 'sysFallocate', args: [fd, 3, this.random(FILE_PAGES) * PAGE, (1 + this.random(3)) * PAGE] };
      case 'msync':
        return { run: 'sysMsync', args: [at, bytes, 4] };
      case 'brk':
        return { run: 'sysBrk', args: [0x40000000 + this.random(8) * PAGE] };
      default:
        return { run: 'sysMincore', args: [at, bytes, WINDOW * PAGE] };
    }
  }
}

/** The scenario of a seed. */
export function makeScenario(seed: number): Scenario {
  const maker = new Maker(seed);
  const { random } = maker;
  const whole = maker.profile === TABLES || random(4) === 0;
  const setup: Step[] = [{ ...maker.mmap(whole ? [WHOLE, 2 * TABLE] : [WINDOW, WINDOW_PAGES], true) }];
  for (let n = random(3); n > 0; n--) setup.push(random(2) === 0 ? maker.mmap() : maker.step(1000 + n));
  for (const page of maker.hot) if (random(3) !== 0) setup.push({ run: 'threadStore', args: [WINDOW + page, 2000 + page] });
  if (random(4) === 0) setup.push({ run: 'sysFork', args: [] });
  let value = 0;
  const threads = Array.from({ length: 2 + random(3) }, (): Thread => {
    const process = random(4) === 0 ? 1 : 0;
    const steps = Array.from({ length: 1 + random(3) }, () => maker.step(++value));
    if (process === 1 && random(3) === 0) steps.push({ run: 'sysExit', args: [0] });
    return { process, steps };
  });
  // Whoever exits is alone in its process: nothing here kills other threads.
  const children = threads.filter((t) => t.process === 1);
  const alone = children.length === 1 ? threads : threads.map((t) => ({ ...t, steps: t.steps.filter((s) => s.run !== 'sysExit') }));
  return {
    setup,
    threads: alone,
    cpus: random(4) === 0 ? 2 : alone.length,
    ipis: random(3) === 0,
    speculate: random(2) === 0,
    failAllocation: random(5) === 0 ? 1 + random(20) : 0,
  };
}
