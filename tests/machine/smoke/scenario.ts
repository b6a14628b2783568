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
/** Descriptor of the file that the setup opens. */
export const FD = 0;
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
const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MREMAP_DONTUNMAP = 4;

class Maker {
  readonly random: (n: number) => number;
  /** Pages of the window that most operations of this scenario touch: few, so that they meet. */
  readonly hot: readonly number[];

  constructor(seed: number) {
    this.random = randomNumbers(seed);
    this.hot = Array.from({ length: 1 + this.random(3) }, () => this.random(WINDOW_PAGES));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.random(list.length)];
  }

  /** First page and number of pages of a part of the window, sometimes of a whole table. */
  range(): [vpn: number, pages: number] {
    if (this.random(8) === 0) return [WHOLE, TABLE];
    if (this.random(8) === 0) return [WHOLE, 2 * TABLE];
    const from = this.random(3) === 0 ? this.random(WINDOW_PAGES) : Math.max(0, this.pick(this.hot) - this.random(3));
    return [WINDOW + from, 1 + this.random(Math.min(6, WINDOW_PAGES - from))];
  }

  vpn(): number {
    const n = this.random(10);
    return n === 0 ? ELSEWHERE + this.random(4) : WINDOW + (n < 8 ? this.pick(this.hot) : this.random(WINDOW_PAGES));
  }

  mmap(): Step {
    const [vpn, pages] = this.range();
    const file = this.random(3) === 0;
    const shared = this.random(3) === 0;
    let flags = (shared ? MAP_SHARED : MAP_PRIVATE) | (file ? 0 : MAP_ANONYMOUS);
    if (this.random(4) !== 0) flags |= MAP_FIXED;
    if (this.random(8) === 0) flags |= MAP_NORESERVE;
    if (this.random(12) === 0 && pages < 16) flags |= MAP_LOCKED;
    return { run: 'sysMmap', args: [vpn * PAGE, pages * PAGE, this.pick(PROT), flags, file ? FD : -1, file ? this.random(FILE_PAGES) * PAGE : 0] };
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

  /** One call of a thread. `value` is what a store stores. */
  step(value: number): Step {
    const [vpn, pages] = this.range();
    const at = vpn * PAGE;
    const bytes = pages * PAGE;
    const n = this.random(100);
    if (n < 22) return { run: 'threadStore', args: [this.vpn(), value] };
    if (n < 36) return { run: 'threadLoad', args: [this.vpn()] };
    if (n < 46) return { run: 'sysMunmap', args: [at, bytes] };
    if (n < 56) return this.mmap();
    if (n < 66) return { run: 'sysMprotect', args: [at, bytes, this.pick(PROT)] };
    if (n < 78) return { run: 'sysMadvise', args: [at, bytes, this.pick(ADVICE)] };
    if (n < 85) return this.mremap();
    if (n < 91) return { run: 'sysFork', args: [] };
    if (n < 93) return { run: this.pick(['sysMlock', 'sysMunlock']), args: [at, Math.min(pages, 16) * PAGE] };
    if (n < 96) return { run: 'sysFtruncate', args: [FD, this.random(FILE_PAGES + 1) * PAGE] };
    if (n < 97) return { run: 'sysFallocate', args: [FD, 3, this.random(FILE_PAGES) * PAGE, (1 + this.random(3)) * PAGE] };
    if (n < 98) return { run: 'sysMsync', args: [at, bytes, 4] };
    if (n < 99) return { run: 'sysBrk', args: [0x40000000 + this.random(8) * PAGE] };
    return { run: 'sysMincore', args: [at, bytes, WINDOW * PAGE] };
  }
}

/** The scenario of a seed. */
export function makeScenario(seed: number): Scenario {
  const maker = new Maker(seed);
  const { random } = maker;
  const setup: Step[] = [{ run: 'sysMmap', args: [WINDOW * PAGE, WINDOW_PAGES * PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0] }];
  if (random(3) === 0) setup[0] = { run: 'sysMmap', args: [WHOLE * PAGE, 2 * TABLE * PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0] };
  for (let n = random(4); n > 0; n--) setup.push(random(2) === 0 ? maker.mmap() : maker.step(1000 + n));
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
