/**
 * Mounted file systems of huge pages, with limits and minima: lists of operations that Linux 6.18 was given (hugetlb-mounts/record-mounts.c) have the same answers here, the
 * same counters of the pool, and the same statfs() of each mount, after every operation.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { throwSwitches } from '../../src/kernel/switches.ts';
import { makeCpus } from '../../src/kernel/task.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { hugePools } from '../../src/machine/view-hugetlb.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';

const HUGE = 2 ** 21;
const SCRATCH = 0x20000;
const nightly = process.env.PXD_NIGHTLY === '1';

/** A machine that plays lists as the recorder does. */
class Player {
  readonly machine: Machine;
  readonly p: Process;
  readonly #files = new Map<number, number>();
  /** How many file systems are mounted, one over the other, by directory. */
  readonly #mounted = [0, 0, 0];

  constructor(pages: number, overcommit: number, switches: readonly ('hugetlbSubpoolUnused' | 'hugetlbSubpoolKeepsFailed' | 'hugetlbSurplusKept')[] = []) {
    this.machine = new Machine({ ramBytes: 2 ** 27, program: switches.length > 0 ? 'straight' : 'direct' });
    this.p = this.machine.spawn();
    this.machine.enter();
    if (switches.length > 0) {
      makeCpus(1);
      throwSwitches(switches);
    }
    this.machine.kernel.setMaxHugePages(poolOf(2048, 12), pages);
    this.machine.kernel.setOvercommitHugePages(poolOf(2048, 12), overcommit);
    this.p.syscall('mmap', SCRATCH, 4096, 3, 0x32, -1, 0);
  }

  /** Strings in the process's memory, as many addresses. */
  #strings(...texts: readonly string[]): number[] {
    return texts.map((text, i) => {
      this.p.write(BigInt(SCRATCH + i * 512), new TextEncoder().encode(`${text}\0`));
      return SCRATCH + i * 512;
    });
  }

  /** The answer to one operation, in the recorder's words. */
  play(line: string): string {
    const [word, ...words] = line.split(' ');
    const [a, b, c, d, e, f] = words.map(Number);
    const at = (map: number, page: number): number => 0x100000000000 + map * 2 ** 30 + page * HUGE;
    const file = (slot: number): number => this.#files.get(slot) ?? -1;
    const call = (name: string, ...args: number[]): number => this.p.syscall(name, ...args) as number;
    let result = 0;
    if (word === 'mount') {
      const [dir, type, options] = this.#strings(`/mnt/huge${a}`, 'hugetlbfs', words[1] === '-' ? '' : words[1]);
      result = call('mount', dir, dir, type, 0, options);
      if (result === 0) this.#mounted[a]++;
    } else if (word === 'umount') {
      result = call('umount2', this.#strings(`/mnt/huge${a}`)[0], b);
      if (result === 0) this.#mounted[a]--;
    } else if (word === 'open') {
      result = call('open', this.#strings(`/mnt/huge${a}/${words[1]}`)[0], c, 0o600);
      if (result >= 0) this.#files.set(d, result);
      result = Math.min(result, 0);
    } else if (word === 'close') {
      result = call('close', file(a));
      this.#files.delete(a);
    } else if (word === 'unlink') result = call('unlink', this.#strings(`/mnt/huge${a}/${words[1]}`)[0]);
    else if (word === 'trunc') result = call('ftruncate', file(a), b);
    else if (word === 'falloc') result = call('fallocate', file(a), b, c, d);
    else if (word === 'mmap') result = Math.min(0, call('mmap', at(b, 0), c * HUGE, d, e | 0x10, file(a), f * HUGE));
    else if (word === 'munmap') result = call('munmap', at(a, b), c * HUGE);
    else if (word === 'madvise') result = call('madvise', at(a, b), c * HUGE, d);
    else if (word === 'touch') {
      const answer = c === 1 ? this.p.store(BigInt(at(a, b)), 1, 1n) : this.p.load(BigInt(at(a, b)), 1);
      result = typeof answer === 'object' ? answer.signal : 0;
    } else if (word === 'pool') this.#kernel().setMaxHugePages(poolOf(2048, 12), a);
    else if (word === 'overcommit') this.#kernel().setOvercommitHugePages(poolOf(2048, 12), a);
    else throw new Error(line);
    return `${result}${this.state()}`;
  }

  #kernel(): Machine['kernel'] {
    this.machine.enter();
    return this.machine.kernel;
  }

  state(): string {
    const mounts = this.#mounted.map((depth, n) => {
      if (depth === 0) return '';
      const [path] = this.#strings(`/mnt/huge${n}`);
      expect(this.p.syscall('statfs', path, SCRATCH + 1024)).toBe(0);
      const word = (i: number): bigint => {
        const { bytes } = this.p.read(BigInt(SCRATCH + 1024 + i * 8), 8);
        return new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(0, true);
      };
      return `|${n} ${word(0).toString(16)} ${[1, 2, 3, 4, 5, 6, 8].map(word).join(' ')}`;
    });
    this.machine.enter();
    const { nr, free, resv, surplus } = hugePools(4)[0];
    return `|${nr} ${free} ${resv} ${surplus}${mounts.join('')}`;
  }

  /** What the invariants find, without what is said about switches. */
  wrong(): string[] {
    this.machine.enter();
    return checkMachine({ leaks: true }).filter((w) => !/^leak: (kernel|cpu) /.test(w));
  }
}

interface List {
  readonly name: string;
  readonly pages: number;
  readonly overcommit: number;
  readonly steps: readonly (readonly [operation: string, answer: string])[];
}

function recorded(): List[] {
  const text = gunzipSync(readFileSync(new URL('fixtures/hugetlb-mounts.txt.gz', import.meta.url))).toString();
  const lists: { name: string; pages: number; overcommit: number; steps: [string, string][] }[] = [];
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  for (let i = 0; i < lines.length; i++) {
    const begin = /^list (\d+) (\d+)$/.exec(lines[i]);
    if (begin) lists.push({ name: `list ${lists.length}`, pages: Number(begin[1]), overcommit: Number(begin[2]), steps: [] });
    else lists[lists.length - 1].steps.push([lines[i], lines[++i]]);
  }
  return lists;
}

const lists = recorded();
/** Operations that ended well and otherwise, over all lists: what was recorded is about something. */
const outcome = new Map<string, number>();
for (const { steps } of lists)
  for (const [operation, answer] of steps) {
    const key = `${operation.split(' ')[0]} ${answer.split('|')[0]}`;
    outcome.set(key, (outcome.get(key) ?? 0) + 1);
  }

test('the recording has what limits are about', () => {
  expect(lists.length).toBeGreaterThan(100);
  for (const key of ['mount 0', 'mount -12', 'mount -22', 'umount 0', 'umount -16', 'umount -22', 'open -28', 'mmap -12', 'falloc -28', 'touch 7', 'trunc -22'])
    expect([key, (outcome.get(key) ?? 0) > 3]).toEqual([key, true]);
});

describe('mounted file systems with limits answer as Linux does', () => {
  test.each(nightly ? lists : lists.filter((_, i) => i < 11 || i % 8 === 0))('$name', ({ pages, overcommit, steps }) => {
    const player = new Player(pages, overcommit);
    const played: string[] = [];
    for (const [operation, answer] of steps) {
      const own = player.play(operation);
      played.push(`${operation}: ${own}`);
      if (own !== answer) expect(played.join('\n')).toBe([...played.slice(0, -1), `${operation}: ${answer}`].join('\n'));
    }
    // What counts against a limit for ever, and pages that are promised and gone, are Linux's own mistakes (docs/findings.md).
    expect(player.wrong().filter((w) => !/^I24: (subpool .*: used pages|.* pages are reserved, \d+ are free)|^leak: subpool/.test(w))).toEqual([]);
  });
});

describe('pages that could not be had', () => {
  const list = ['mount 0 size=8M', 'open 0 a 66 0', 'mmap 0 0 2 3 16385 0', 'touch 0 0 1', 'touch 0 1 1', 'touch 0 1 1'];
  const free = (player: Player): number => Number(player.state().split('|')[2].split(' ')[4]);

  test('count against the limit of their file system for ever, and I24 says so', () => {
    const player = new Player(1, 0);
    for (const line of list) player.play(line);
    expect(free(player)).toBe(1);
    expect(player.wrong().map((w) => w.replace(/\d+/g, '#'))).toEqual(['I#: subpool #: used pages is #, # expected']);
  });

  test('do not with the repair', () => {
    const player = new Player(1, 0, ['hugetlbSubpoolUnused']);
    for (const line of list) player.play(line);
    expect(free(player)).toBe(3);
    expect(player.wrong()).toEqual([]);
  });

  test('reservations that could not be had counted, too, before 6.19', () => {
    for (const [switches, left] of [[[], 4] as const, [['hugetlbSubpoolKeepsFailed'] as const, 2] as const]) {
      const player = new Player(1, 0, switches);
      player.play('mount 0 size=8M');
      player.play('open 0 a 66 0');
      expect(player.play('mmap 0 0 2 3 1 0')).toMatch(/^-12\|/);
      expect(free(player)).toBe(left);
    }
  });
});

describe('surplus pages that the minimum of a file system is made of', () => {
  const list = ['mount 0 min_size=4M', 'open 0 a 66 0', 'mmap 0 0 2 3 1 0', 'touch 0 0 1', 'touch 0 1 1', 'munmap 0 0 2', 'trunc 0 0'];
  const later = ['overcommit 0', 'mmap 0 0 2 3 1 0', 'touch 0 0 1'];

  test('are freed though they are promised again: a mapping that has its reservation gets SIGBUS, and I24 says so', () => {
    const player = new Player(0, 2);
    for (const line of list) player.play(line);
    expect(player.state()).toMatch(/^\|0 0 2 0\|/);
    expect(player.wrong()).toEqual(['I24: pool of order 9: 2 pages are reserved, 0 are free']);
    expect(later.map((line) => player.play(line).split('|')[0])).toEqual(['0', '0', '7']);
  });

  test('stay with the repair', () => {
    const player = new Player(0, 2, ['hugetlbSurplusKept']);
    for (const line of list) player.play(line);
    expect(player.state()).toMatch(/^\|2 2 2 2\|/);
    expect(player.wrong()).toEqual([]);
    expect(later.map((line) => player.play(line).split('|')[0])).toEqual(['0', '0', '0']);
  });
});
