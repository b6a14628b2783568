/**
 * Events of huge pages in /proc/vmstat: operations that Linux 6.18.44 was given (vm-events/record-events.c) make the same counters grow here, by as much, one by one.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { smapsOf } from '../../src/machine/proc/smaps.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { VM_EVENT_NAMES } from '../../src/mm/vm-event-types.ts';

const PAGE = 4096;
const THP = '/sys/kernel/mm/transparent_hugepage/';
const at = (map: number, page: number): number => 0x100000000000 + map * 2 ** 30 + page * PAGE;
const recorded = readFileSync(new URL('./fixtures/vm-events.txt', import.meta.url), 'utf8')
  .trim()
  .split('\n');

function counters(machine: Machine): Map<string, number> {
  return new Map(
    machine
      .vmstat()
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
      .map(([name, value]) => [name, Number(value)]),
  );
}

/** A machine as the recorder found its own: the huge zero page has been made, shared memory takes huge pages where advised. */
class Player {
  readonly machine = new Machine({ ramBytes: 2 ** 28 });
  readonly #p: Process = this.machine.spawn();
  readonly #files: number[] = [];
  #child: Process | undefined;
  #before: Map<string, number>;

  constructor() {
    this.#set('shmem_enabled', 'advise');
    this.#set('enabled', 'madvise');
    for (const op of ['anon 9 512', 'madvise 9 0 512 14', 'read 9 0 1', 'munmap 9 0 512']) this.#play(op);
    this.#p.syscall('mmap', 0x20000, PAGE, 3, 0x32, -1, 0);
    this.#before = counters(this.machine);
  }

  #set(name: string, value: string): void {
    this.machine.enter();
    thpSetting(THP + name)?.write(value);
  }

  #play(operation: string): number {
    const p = this.#p;
    const [op, ...rest] = operation.split(' ');
    const [a, b, c, d] = rest.map(Number);
    if (op === 'anon') return p.syscall('mmap', at(a, 0), b * PAGE, 3, 0x32, -1, 0) === at(a, 0) ? 0 : -1;
    if (op === 'shmem') {
      this.#files[a] = p.syscall('memfd_create', 0x20000, 0);
      p.syscall('ftruncate', this.#files[a], b * PAGE);
      return p.syscall('mmap', at(a, 0), b * PAGE, 3, 0x11, this.#files[a], 0) === at(a, 0) ? 0 : -1;
    }
    if (op === 'read' || op === 'write') {
      for (let i = 0; i < c; i++) {
        if (op === 'read') p.load(BigInt(at(a, b + i)), 1);
        else p.store(BigInt(at(a, b + i)), 1, 1n);
      }
      return 0;
    }
    if (op === 'madvise' || op === 'mprotect') return p.syscall(op, at(a, b), c * PAGE, d);
    if (op === 'munmap') return p.syscall(op, at(a, b), c * PAGE);
    if (op === 'truncate') return p.syscall('ftruncate', this.#files[a], b * PAGE);
    if (op === 'punch') return p.syscall('fallocate', this.#files[a], 3, b * PAGE, c * PAGE);
    if (op === 'zero') this.#set('use_zero_page', rest[0]);
    else if (op === 'fork') this.#child = p.fork();
    else if (op === 'exit') this.#child?.exit();
    else throw new Error(`${op}?`);
    return 0;
  }

  /** The line that the recorder prints of an operation. */
  line(operation: string): string {
    const result = this.#play(operation);
    const now = counters(this.machine);
    const grown = [...now].filter(([name, value]) => name.startsWith('thp_') && value !== this.#before.get(name));
    const text = grown.map(([name, value]) => ` ${name}+${value - (this.#before.get(name) ?? 0)}`).join('');
    this.#before = now;
    return `${operation} = ${result}${text}`;
  }
}

describe('the last of three address spaces that mapped a huge page', () => {
  test('has it for itself: MADV_FREE gives it up, as Linux 6.18.44 does', () => {
    const machine = new Machine({ ramBytes: 2 ** 25 });
    const p = machine.spawn();
    expect(p.syscall('mmap', at(0, 0), 512 * PAGE, 3, 0x32, -1, 0)).toBe(at(0, 0));
    machine.enter();
    thpSetting(`${THP}enabled`)?.write('always');
    p.store(BigInt(at(0, 0)), 1, 1n);
    const [first, second] = [p.fork(), p.fork()];
    const free = (): number => {
      expect(second.syscall('madvise', at(0, 0), 512 * PAGE, 8)).toBe(0);
      return smapsOf(viewProcess(machine, second.ref, 0).vmas[0]).lazyFree;
    };
    expect(free()).toBe(0);
    first.exit();
    p.exit();
    expect(free()).toBe(512 * PAGE);
  });
});

describe('/proc/vmstat', () => {
  test('F216, F217, F237: events of huge pages are counted as Linux counts them', () => {
    const player = new Player();
    const seen = recorded.map((line) => (line.startsWith('#') ? line : player.line(line.split(' =')[0])));
    expect(seen).toEqual(recorded);
    const all = new Set(recorded.flatMap((line) => [...line.matchAll(/ (thp_\w+)\+/g)].map(([, name]) => name)));
    expect([...all].sort()).toEqual([
      'thp_collapse_alloc',
      'thp_deferred_split_page',
      'thp_fault_alloc',
      'thp_file_alloc',
      'thp_file_mapped',
      'thp_split_page',
      'thp_split_pmd',
    ]);
  });

  test('a range that has no huge page is counted, and the others; lines stand in the order of Linux', () => {
    const machine = new Machine({ ramBytes: 2 ** 24 });
    const p = machine.spawn();
    machine.enter();
    thpSetting(`${THP}enabled`)?.write('always');
    expect(p.syscall('mmap', at(0, 0), 8 * 512 * PAGE, 3, 0x32, -1, 0)).toBe(at(0, 0));
    for (let i = 0; i < 8; i++) p.store(BigInt(at(0, i * 512)), 1, 1n);
    const now = counters(machine);
    const [had, missed] = [now.get('thp_fault_alloc') ?? 0, now.get('thp_fault_fallback') ?? 0];
    expect([had > 0, missed > 0, had + missed, now.get('nr_anon_transparent_hugepages'), now.get('nr_anon_pages')]).toEqual([
      true,
      true,
      8,
      had,
      512 * had + missed,
    ]);
    expect([...now.keys()].slice(-VM_EVENT_NAMES.length)).toEqual([...VM_EVENT_NAMES]);
  });
});
