/** The public face: snapshots, clones, rewinding, several machines side by side. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Machine, type Process, PxdError, viewProcess } from '../../src/machine/index.ts';
import { tableDifferences } from './tables.ts';

const BASE = 0x20000000;
const PAGES = 24;

interface Step {
  readonly kind: 'mmap' | 'share' | 'file' | 'munmap' | 'mprotect' | 'store' | 'load' | 'fork' | 'exit' | 'dontneed' | 'mremap';
  readonly page: number;
  readonly pages: number;
  readonly value: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('mmap', 'mmap', 'share', 'file', 'munmap', 'mprotect', 'store', 'store', 'store', 'load', 'fork', 'exit', 'dontneed', 'mremap'),
  page: fc.nat(PAGES - 5),
  pages: fc.integer({ min: 1, max: 4 }),
  value: fc.integer({ min: 1, max: 255 }),
});
const history = fc.array(step, { minLength: 5, maxLength: 40 });

/** One step of the process whose turn it is; what it answers. Only the machine's own state says whose turn it is. */
function play(machine: Machine, { kind, page, pages, value }: Step): string {
  const { processes } = machine;
  const p = processes[value % processes.length];
  const size = machine.pageSize;
  const at = BASE + page * size;
  const text = (x: unknown): string => JSON.stringify(x, (_, v) => (typeof v === 'bigint' ? `${v}n` : v)) ?? 'done';
  switch (kind) {
    case 'mmap':
      return text(p.syscall('mmap', at, pages * size, 3, 0x32, -1, 0));
    case 'share':
      return text(p.syscall('mmap', at, pages * size, 3, 0x31, -1, 0));
    case 'file':
      return text(p.syscall('mmap', at, pages * size, 3, value & 1 ? 0x11 : 0x12, 0, 0));
    case 'mprotect':
      return text(p.syscall('mprotect', at, pages * size, value & 3));
    case 'munmap':
      return text(p.syscall('munmap', at, pages * size));
    case 'dontneed':
      return text(p.syscall('madvise', at, pages * size, 4));
    case 'mremap':
      return text(p.syscall('mremap', at, pages * size, size * (1 + (value % 5)), 1));
    case 'store':
      return text(p.store(BigInt(at + size - 3), 8, BigInt(value) * 0x0101010101n));
    case 'load':
      return text(p.load(BigInt(at + size - 3), 8));
    case 'fork':
      return processes.length < 3 ? `child ${p.fork().pid}` : 'enough';
    default:
      if (processes.length > 1) p.exit(value);
      return 'gone';
  }
}

/** A machine with a process that has a file open as descriptor 0. */
function machineIn(mode: string, ramBytes = 2 ** 28): Machine {
  const machine = new Machine({ mode, ramBytes });
  const p = machine.spawn();
  const name = BASE - 16 * machine.pageSize;
  p.syscall('mmap', name, machine.pageSize, 3, 0x32, -1, 0);
  p.write(BigInt(name), new TextEncoder().encode('file\0'));
  expect(p.syscall('memfd_create', name, 0)).toBe(0);
  expect(p.syscall('ftruncate', 0, 3 * machine.pageSize)).toBe(0);
  return machine;
}

const playAll = (machine: Machine, steps: readonly Step[]): string[] => steps.map((s) => play(machine, s));
const base64 = (machine: Machine): string => Buffer.from(machine.snapshot()).toString('base64');
const tables = (machine: Machine): string[] => machine.processes.flatMap((p) => tableDifferences(machine, p));

/** x86, big-endian, 64 KiB pages, and the two families whose empty slots point to shared tables. */
const MODES = ['x86-4level', 's390x', 'arm64-64k-48', 'mips64-4k', 'loongarch64-16k'];

describe('a machine', () => {
  it.each(MODES)('%s: restored from bytes, and cloned, it goes on as the first one does', (mode) => {
    fc.assert(
      fc.property(history, history, (first, second) => {
        const machine = machineIn(mode);
        playAll(machine, first);
        const bytes = machine.snapshot();
        const restored = Machine.restore(bytes);
        const copy = machine.clone();
        expect(Buffer.from(restored.snapshot()).equals(bytes)).toBe(true);
        const answers = playAll(machine, second);
        // Nothing that the first did has touched the others.
        expect(base64(restored) === base64(copy)).toBe(true);
        expect(Buffer.from(copy.snapshot()).equals(bytes)).toBe(true);
        expect(playAll(restored, second)).toEqual(answers);
        expect(playAll(copy, second)).toEqual(answers);
        const end = base64(machine);
        expect(base64(restored) === end).toBe(true);
        expect(base64(copy) === end).toBe(true);
        expect(tables(restored)).toEqual([]);
      }),
      { numRuns: mode === 'x86-4level' ? 15 : 4 },
    );
  });

  it.each(MODES)('%s: rewound to any mark it is what it was, to the byte, and repeats itself', (mode) => {
    fc.assert(
      fc.property(history, fc.infiniteStream(fc.nat(1000)), (steps, choose) => {
        const machine = machineIn(mode);
        machine.startJournal();
        const marks: { mark: number; bytes: string }[] = [];
        const answers: string[] = [];
        for (const s of steps) {
          marks.push({ mark: machine.mark(), bytes: base64(machine) });
          answers.push(play(machine, s));
        }
        const end = base64(machine);
        const back = choose.next().value % marks.length;
        machine.rewind(marks[back].mark);
        expect(base64(machine) === marks[back].bytes).toBe(true);
        expect(tables(machine)).toEqual([]);
        // With marks taken in the same places: they empty the soft TLB.
        for (let i = back; i < steps.length; i++) {
          machine.mark();
          expect(play(machine, steps[i])).toBe(answers[i]);
        }
        expect(base64(machine) === end).toBe(true);
        machine.rewind(marks[0].mark);
        expect(base64(machine) === marks[0].bytes).toBe(true);
      }),
      { numRuns: mode === 'x86-4level' ? 15 : 3 },
    );
  });

  it('takes back what an emulator stores: no store goes past the journal', () => {
    const machine = machineIn('x86-4level');
    const p = machine.processes[0];
    const vpn = BASE / 4096;
    p.syscall('mmap', BASE, 0x1000, 3, 0x32, -1, 0);
    p.store(BigInt(BASE), 1, 7n);
    const { tags } = p.runOn(0);
    expect(tags[512 + (vpn & 511)]).toBe(vpn + 1);
    machine.startJournal();
    const mark = machine.mark();
    p.store(BigInt(BASE), 1, 9n);
    expect(p.fault(vpn, 'write')).toBeUndefined();
    expect(machine.tlb.view(0).tags[512 + (vpn & 511)]).toBe(0);
    expect(machine.tlb.view(0).tags[vpn & 511]).toBe(vpn + 1);
    machine.rewind(mark);
    expect(p.load(BigInt(BASE), 1)).toBe(7n);
    machine.stopJournal();
    p.store(BigInt(BASE), 1, 9n);
    expect(machine.tlb.view(0).tags[512 + (vpn & 511)]).toBe(vpn + 1);
  });

  it('keeps its journal while others run, and theirs apart', () => {
    const a = machineIn('x86-4level');
    const b = machineIn('riscv-sv39');
    const before = [base64(a), base64(b)];
    const marks = [a, b].map((m) => {
      m.startJournal();
      return m.mark();
    });
    for (let i = 0; i < 30; i++) {
      const s: Step = { kind: i % 3 === 0 ? 'mmap' : 'store', page: i % 7, pages: 2, value: i + 1 };
      play(a, s);
      play(b, { ...s, value: 255 - i });
    }
    expect([base64(a), base64(b)]).not.toEqual(before);
    const between = base64(b);
    a.rewind(marks[0]);
    expect(base64(a) === before[0]).toBe(true);
    expect(base64(b) === between).toBe(true);
    b.rewind(marks[1]);
    expect(base64(b) === before[1]).toBe(true);
  });

  it('of a mode with shared empty tables stays itself beside one with other RAM', () => {
    for (const mode of MODES.filter((m) => m.startsWith('mips') || m.startsWith('loong'))) {
      const a = machineIn(mode, 2 ** 28);
      const b = machineIn(mode, 2 ** 30);
      expect(a.codec).not.toBe(b.codec);
      for (const m of [a, b, a]) {
        const p = m.processes[0];
        expect(p.syscall('mmap', BASE, 4 * m.pageSize, 3, 0x32, -1, 0)).toBe(BASE);
        expect(p.store(BigInt(BASE), 1, 5n)).toBeUndefined();
      }
      expect(tables(a)).toEqual([]);
      expect(tables(b)).toEqual([]);
    }
  });

  it('forgets processes that were born after the mark', () => {
    const machine = machineIn('x86-4level');
    const parent = machine.processes[0];
    machine.startJournal();
    const mark = machine.mark();
    const child = parent.fork();
    machine.rewind(mark);
    expect(child.exists).toBe(false);
    expect(child.alive).toBe(false);
    expect(machine.processes).toEqual([parent]);
    // The parent stays the same object, and the next child takes the number anew.
    const again = parent.fork();
    expect(again.pid).toBe(child.pid);
    expect(machine.processes).toEqual([parent, again]);
    again.exit(3);
    expect([again.alive, again.exists, again.exitStatus]).toEqual([false, true, 3]);
    expect(() => again.syscall('munmap', BASE, 4096)).toThrow(/has exited/);
  });

  it('runs in any program after a restore', () => {
    const machine = machineIn('x86-4level');
    const steps: Step[] = (['mmap', 'store', 'fork', 'store', 'file', 'store', 'mprotect', 'exit'] as const).map((kind, i) => ({
      kind,
      page: 0,
      pages: 3,
      value: i + 1,
    }));
    const bytes = machine.snapshot();
    const answers = playAll(machine, steps);
    const states = (['direct', 'native', 'step'] as const).map((program) => {
      const m = Machine.restore(bytes, { program });
      expect(playAll(m, steps)).toEqual(answers);
      return viewProcess(m, m.processes[0].ref, 0);
    });
    expect(states[1]).toEqual(states[0]);
    expect(states[2]).toEqual(states[0]);
  });
});

describe('bytes that are no snapshot', () => {
  const machine = machineIn('x86-4level', 2 ** 26);
  const p: Process = machine.processes[0];
  p.syscall('mmap', BASE, 0x4000, 3, 0x8032, -1, 0);
  const bytes = machine.snapshot();

  it('are refused wherever they were changed or cut off', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), (at, flip, cut) => {
        const bad = cut ? bytes.slice(0, at) : bytes.slice();
        if (!cut) bad[at] ^= flip;
        expect(() => Machine.restore(bad)).toThrow(PxdError);
      }),
      { numRuns: 300 },
    );
  });

  it('are refused with a sentence', () => {
    expect(() => Machine.restore(new Uint8Array(0))).toThrow('these bytes are no snapshot of a machine');
    expect(() => Machine.restore(new Uint8Array(64))).toThrow('these bytes are no snapshot of a machine');
    const other = bytes.slice();
    other[4] = 9;
    expect(() => Machine.restore(other)).toThrow('version 9');
    other.set(bytes);
    other[bytes.length - 1] ^= 1;
    expect(() => Machine.restore(other)).toThrow('check sum');
  });

  it('and a mark that is none is refused', () => {
    const m = machineIn('x86-4level', 2 ** 26);
    expect(() => m.mark()).toThrow(PxdError);
    expect(() => m.rewind(0)).toThrow(PxdError);
    m.startJournal();
    expect(() => m.rewind(m.mark() + 3)).toThrow(PxdError);
    expect(() => m.rewind(-3)).toThrow(PxdError);
    expect(() => m.rewind(Number.NaN)).toThrow(PxdError);
  });
});
