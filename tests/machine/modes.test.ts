/**
 * The same operations in every paging mode: results, faults, VMAs, pages and counters are those of x86-4level (in pages, addresses rebased), and the
 * tables in RAM, read by the walker that reads dumps, say what the mm believes.
 *
 * Not compared: bytes of page tables, accessed and dirty bits of entries, addresses that the kernel chooses (the space differs), execution.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PAGE } from '../../src/machine/proc/view.ts';
import type { Process } from '../../src/machine/process.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { codecMissing } from '../../src/pagetable/canonical.ts';
import { tableDifferences } from './tables.ts';

/** Where operations happen: 64 pages from here, in every mode. */
const BASE = 0x20000000;
const PAGES = 48;

type Op =
  | { op: 'mmap'; page: number; pages: number; prot: number; flags: number }
  | { op: 'munmap' | 'mseal'; page: number; pages: number }
  | { op: 'mprotect'; page: number; pages: number; prot: number }
  | { op: 'mremap'; page: number; pages: number; length: number; to: number; flags: number }
  | { op: 'madvise'; page: number; pages: number; advice: number }
  | { op: 'mlock' | 'munlock'; page: number; pages: number }
  | { op: 'store' | 'load'; page: number; value: number }
  | { op: 'fork' | 'exit' }
  | { op: 'file'; page: number; pages: number; offset: number; flags: number }
  | { op: 'ftruncate'; pages: number };

const page = fc.nat(PAGES - 9);
const pages = fc.integer({ min: 1, max: 8 });
const prot = fc.constantFrom(3, 3, 3, 1, 0);
/** MAP_FIXED with private or shared anonymous memory; NORESERVE, POPULATE. */
const flags = fc.constantFrom(0x32, 0x32, 0x32, 0x31, 0x4032, 0x8032, 0x100022, 0x8031);
const advice = fc.constantFrom(0, 1, 2, 4, 4, 8, 10, 11, 14, 15, 16, 18, 19, 20, 22, 23, 102, 103);

const operation: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('mmap' as const), page, pages, prot, flags }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('munmap' as const), page, pages }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('mprotect' as const), page, pages, prot }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('mremap' as const), page, pages, length: pages, to: page, flags: fc.constantFrom(1, 3, 3, 7, 0) }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('madvise' as const), page, pages, advice }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('mlock' as const, 'munlock' as const), page, pages }) },
  {
    weight: 10,
    arbitrary: fc.record({
      op: fc.constantFrom('store' as const, 'store' as const, 'load' as const),
      page: fc.nat(PAGES - 1),
      value: fc.integer({ min: 1, max: 255 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('fork' as const, 'exit' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('file' as const), page, pages, offset: fc.nat(3), flags: fc.constantFrom(0x11, 0x12) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('ftruncate' as const), pages: fc.nat(6) }) },
);

/** Plays operations in a mode; the transcript is what must be equal. */
class Player {
  readonly machine: Machine;
  readonly #processes: Process[];
  readonly #size: number;
  #turn = 0;

  constructor(mode: string) {
    this.machine = new Machine({ mode, ramBytes: 2 ** 28, settings: { faultAroundPages: 1 } });
    const first = this.machine.spawn();
    this.#processes = [first];
    this.#size = this.machine.pageSize;
    first.syscall('mmap', BASE - 16 * this.#size, this.#size, 3, 0x32, -1, 0);
    first.write(BigInt(BASE - 16 * this.#size), new TextEncoder().encode('file\0'));
    first.syscall('memfd_create', BASE - 16 * this.#size, 0);
    first.syscall('ftruncate', 0, 5 * this.#size);
  }

  #at = (n: number): number => BASE + n * this.#size;

  /** Addresses as pages from the base; errors as they are; places that the kernel chose as one word. */
  #result(r: number): string {
    if (r < 0) return `errno ${-r}`;
    const n = (r - BASE) / this.#size;
    if (r === 0) return '0';
    return Number.isInteger(n) && n >= -16 && n < PAGES * 2 ? `page ${n}` : 'elsewhere';
  }

  run(o: Op): string {
    const process = this.#processes[this.#turn++ % this.#processes.length];
    const call = (name: string, ...args: number[]): string => this.#result(process.syscall(name, ...args));
    const bytes = (n: number): number => n * this.#size;
    switch (o.op) {
      case 'mmap':
        return call('mmap', this.#at(o.page), bytes(o.pages), o.prot, o.flags, -1, 0);
      case 'file':
        return call('mmap', this.#at(o.page), bytes(o.pages), 3, o.flags, 0, bytes(o.offset));
      case 'mprotect':
        return call('mprotect', this.#at(o.page), bytes(o.pages), o.prot);
      case 'mremap':
        return call('mremap', this.#at(o.page), bytes(o.pages), bytes(o.length), o.flags, this.#at(o.to));
      case 'madvise':
        return call('madvise', this.#at(o.page), bytes(o.pages), o.advice);
      case 'ftruncate':
        return call('ftruncate', 0, bytes(o.pages));
      case 'store': {
        const fault = process.store(BigInt(this.#at(o.page) + 5), 1, BigInt(o.value));
        return fault ? `signal ${fault.signal} ${fault.code}` : 'stored';
      }
      case 'load': {
        const value = process.load(BigInt(this.#at(o.page) + 5), 1);
        return typeof value === 'bigint' ? `value ${value}` : `signal ${value.signal} ${value.code}`;
      }
      case 'fork':
        if (this.#processes.length < 3) this.#processes.push(process.fork());
        return 'forked';
      case 'exit':
        if (this.#processes.length > 1) {
          process.exit();
          this.#processes.splice(this.#processes.indexOf(process), 1);
        }
        return 'exited';
      default:
        return call(o.op, this.#at(o.page), bytes(o.pages), ...(o.op === 'mseal' ? [0] : []));
    }
  }

  /** VMAs, pages and counters of all processes. Pages are named in order of first appearance. */
  state(): string[] {
    const names = new Map<number, number>();
    const lines: string[] = [];
    for (const process of this.#processes) {
      const view = viewProcess(this.machine, process.ref, 0);
      const c = view.counters;
      lines.push(`total ${c.totalVm} data ${c.dataVm} locked ${c.lockedVm} anon ${c.rssAnon} file ${c.rssFile} shmem ${c.rssShmem}`);
      for (const vma of view.vmas) {
        const start = vma.start - BASE / this.#size;
        if (start < -16 || start > 2 * PAGES) continue;
        const pages = vma.pages.map((p) => {
          if (p.kind !== 'page') return `${p.vpn - vma.start}${p.kind}`;
          if (!names.has(p.key)) names.set(p.key, names.size);
          const flag = (bit: number, text: string): string => ((p.flags & bit) !== 0 ? text : '');
          return `${p.vpn - vma.start}#${names.get(p.key)}m${p.mapcount}${flag(PAGE.ANON, 'a')}${flag(PAGE.ANON_EXCLUSIVE, 'X')}${flag(PAGE.MLOCKED, 'L')}${flag(PAGE.SWAPBACKED, 's')}`;
        });
        lines.push(`${start}-${vma.end - BASE / this.#size} ${vma.flags.toString(16)} ${vma.file ? `${vma.file.kind}+${vma.pgoff}` : ''} ${pages.join(' ')}`);
      }
    }
    return lines;
  }

  tables(): string[] {
    return this.#processes.flatMap((p) => tableDifferences(this.machine, p));
  }
}

/** Every step's result and state, tables checked on the way. */
function transcript(mode: string, operations: readonly Op[]): string[] {
  const player = new Player(mode);
  const lines: string[] = [];
  for (const [i, o] of operations.entries()) {
    lines.push(`${i} ${JSON.stringify(o)} → ${player.run(o)}`, ...player.state());
    const wrong = player.tables();
    if (wrong.length > 0) throw new Error(`${mode}, after operation ${i} (${JSON.stringify(o)}): ${wrong.slice(0, 4).join('; ')}`);
  }
  return lines;
}

describe('the same operations in every paging mode', () => {
  const modes = allModes().filter((m) => codecMissing(m) === undefined);

  it('runs in every mode', () => {
    expect(modes.length).toBe(allModes().length);
  });

  // One mode a family at least sees long histories; all see short ones.
  const formats = [
    'x86-2level',
    'x86-pae',
    'arm-short',
    'arm64-16k-48',
    'riscv-sv39',
    's390x',
    'ppc64-radix-4k',
    'ppc-8xx-16k',
    'mips32-4k',
    'sparc64',
    'm68k',
    'alpha',
  ];
  it.each(formats)('%s: long histories', (mode) => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 20, maxLength: 60 }), (operations) => {
        expect(transcript(mode, operations)).toEqual(transcript('x86-4level', operations));
      }),
      { numRuns: 4 },
    );
  });

  it('all modes: short histories', () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 10, maxLength: 25 }), (operations) => {
        const expected = transcript('x86-4level', operations);
        for (const mode of modes) expect({ mode: mode.name, lines: transcript(mode.name, operations) }).toEqual({ mode: mode.name, lines: expected });
      }),
      { numRuns: 3 },
    );
  });
});
