/**
 * Transparent huge pages are transparent: a random history of calls and accesses has the same results and contents with huge pages as without, in modes whose
 * huge pages differ in size and format; and after each step the tables, folios and counters agree (checkMachine). What is huge when is compared with a
 * real kernel by the recordings (conform.test.ts).
 */
import { afterAll, expect, test } from 'vitest';
import { spanPages } from '../../src/kernel/arch.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';
import { viewProcess } from '../../src/machine/view.ts';
import { get } from '../../src/memory/heap.ts';
import { PG_HEAD } from '../../src/memory/page-flags.ts';
import { pageFlags, pagesEnd } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Globals } from '../../src/mm/types.ts';

const DIRECTORY = '/sys/kernel/mm/transparent_hugepage/';
const BASE = 0x10000000;
const PRIVATE_FIXED = 0x32;
const MADV_COLLAPSE = 25;
const ADVICE = [4, 8, 14, 15, 20, MADV_COLLAPSE];
const MODES = ['x86-4level', 'arm64-4k-48', 's390x'];

/** A machine with huge pages on, or off. */
function machineOf(mode: string, on: boolean, orders: readonly number[] = []): Machine {
  const machine = new Machine({ mode, ramBytes: 2 ** 28 });
  if (on) {
    thpSetting(`${DIRECTORY}enabled`)?.write('always');
    for (const order of orders) thpSetting(`${DIRECTORY}hugepages-${4 << order}kB/enabled`)?.write('always');
  }
  return machine;
}

/** Large folios that are in use. */
function largeFolios(machine: Machine): number {
  machine.enter();
  let count = 0;
  for (let page = 1; page < pagesEnd(); page++) if ((pageFlags[page] & PG_HEAD) !== 0) count++;
  return count;
}

function random(seed: number): (below: number) => number {
  let state = seed * 2654435761 + 1;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return (state >>> 7) % below;
  };
}

type Step = (p: Process[]) => unknown;

/** Steps of a history, over four huge pages of an address space. */
function history(seed: number, steps: number, span: number): Step[] {
  const next = random(seed);
  const page = (): number => (next(3) === 0 ? next(4) * span : next(4 * span));
  const at = (vpn: number): number => BASE + vpn * 4096;
  const range = (): [number, number] => {
    const from = page();
    return [at(from), Math.min(4 * span - from, next(2) === 0 ? span : 1 + next(span)) * 4096];
  };
  const list: Step[] = [(p) => p[0].syscall('mmap', BASE, 4 * span * 4096, 3, PRIVATE_FIXED, -1, 0)];
  for (let i = 0; i < steps; i++) {
    const who = next(3);
    const of = (p: Process[]): Process => p[who % p.length];
    const kind = next(20);
    if (kind < 8) {
      const where = BigInt(at(page()) + next(500) * 8);
      const value = BigInt(1 + next(1 << 30));
      list.push(kind < 5 ? (p) => of(p).store(where, 8, value) : (p) => of(p).load(where, 8));
    } else if (kind < 13) {
      const [start, length] = range();
      const advice = ADVICE[next(ADVICE.length)];
      list.push((p) => {
        const result = of(p).syscall('madvise', start, length, advice);
        return advice === MADV_COLLAPSE ? undefined : result;
      });
    } else if (kind < 15) {
      const [start, length] = range();
      const prot = next(3) === 0 ? 1 : 3;
      list.push((p) => of(p).syscall('mprotect', start, length, prot));
    } else if (kind < 16) {
      const [start, length] = range();
      list.push((p) => of(p).syscall('munmap', start, length));
    } else if (kind < 17) {
      const [start, length] = range();
      list.push((p) => of(p).syscall('mmap', start, length, 3, PRIVATE_FIXED, -1, 0));
    } else if (kind < 18) {
      const [start, length] = range();
      const to = at(page());
      list.push((p) => of(p).syscall('mremap', start, length, length, 3, to));
    } else if (kind < 19)
      list.push((p) => {
        if (p.length >= 3) return 0;
        of(p).machine.enter();
        const child = of(p).machine.kernel.sysFork(of(p).ref);
        if (child > 0) p.push(of(p).machine.processAt(child));
        return child > 0;
      });
    else
      list.push((p) => {
        if (p.length > 1) (p.splice(who % p.length, 1)[0] as Process).exit(0);
        return p.length;
      });
  }
  return list;
}

/** What a process reads of the arena: one word of each page that any step wrote to, or that it may not. */
function contents(p: Process, span: number): string {
  const words: string[] = [];
  for (let vpn = 0; vpn < 4 * span; vpn++)
    for (let at = vpn % 97; at < 500; at += 97) {
      const word = p.load(BigInt(BASE + vpn * 4096 + 8 * at), 8);
      words.push(typeof word === 'bigint' ? String(word) : 'fault');
    }
  return words.join();
}

const seeds = process.env.PXD_NIGHTLY ? Array.from({ length: 40 }, (_, i) => i + 1) : [Number(process.env.PXD_SEED ?? 7)];
let made = 0;
afterAll(() => expect(made, 'some history made huge pages').toBeGreaterThan(0));

for (const mode of MODES)
  for (const seed of seeds)
    test(`${mode}: the same with and without huge pages (seed ${seed})`, () => {
      const huge = machineOf(mode, true, [2, 4]);
      const span = spanPages(1);
      const plain = machineOf(mode, false);
      const ours = [huge.spawn()];
      const theirs = [plain.spawn()];
      for (const [i, step] of history(seed, 60, span).entries()) {
        const got = step(ours);
        expect(got, `step ${i}`).toEqual(step(theirs));
        huge.enter();
        expect(checkMachine({ leaks: true }), `step ${i}`).toEqual([]);
        made += largeFolios(huge);
      }
      expect(ours.map((p) => contents(p, span))).toEqual(theirs.map((p) => contents(p, span)));
      for (const p of ours) p.exit(0);
      huge.enter();
      expect(checkMachine({ leaks: true })).toEqual([]);
      // What is left is the zero page, if anything.
      expect(largeFolios(huge)).toBe(get(globals, Globals.hugeZeroFolio) === 0 ? 0 : 1);
    });

test.each(MODES)('%s: a write fault maps one huge page, a read fault the huge zero page; a part that goes splits it', (mode) => {
  const machine = machineOf(mode, true);
  const span = spanPages(1);
  const p = machine.spawn();
  p.syscall('mmap', BASE, 2 * span * 4096, 3, PRIVATE_FIXED, -1, 0);
  p.store(BigInt(BASE + 5 * 4096), 8, 1n);
  p.load(BigInt(BASE + span * 4096), 8);
  const kinds = (): string[] => {
    const pages = viewProcess(machine, p.ref, 0).vmas.flatMap((vma) => vma.pages);
    return [...new Set(pages.map((page) => `${page.kind} ${page.order}`))];
  };
  expect(kinds()).toEqual([`page ${Math.log2(span)}`, 'huge-zero 0']);
  p.syscall('munmap', BASE + 4096, 4096);
  p.syscall('madvise', BASE + (span + 1) * 4096, 4096, 4);
  expect(kinds()).toEqual([`page ${Math.log2(span)}`, 'zero 0']);
  expect(p.load(BigInt(BASE + 5 * 4096), 8)).toBe(1n);
  machine.enter();
  expect(checkMachine()).toEqual([]);
});
