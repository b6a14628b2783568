/**
 * exec, as far as address spaces go: layouts and limits as Linux 6.18.44 has them, who keeps the old address space, and that looking into a process agrees
 * with its credentials whenever it execs.
 *
 * The recordings: the program of support/elf.ts, its code replaced by one that calls brk(brk(0) + 0x2000), maps 3 pages and copies /proc/self/maps to its
 * output, run with ADDR_NO_RANDOMIZE from the same path on x86-64.
 */
import { describe, expect, it } from 'vitest';
import { forgetOrder } from '../../src/kernel/lockdep.ts';
import { allocPage } from '../../src/kernel/pages.ts';
import { type Call, Scheduler } from '../../src/kernel/scheduler.ts';
import { type SwitchName, throwSwitches } from '../../src/kernel/switches.ts';
import { removeTasks } from '../../src/kernel/task.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { GFP_KERNEL } from '../../src/memory/gfp.ts';
import { get, set } from '../../src/memory/heap.ts';
import { equalStates } from '../../src/memory/snapshot.ts';
import { heap } from '../../src/memory/state.ts';
import { Memory, memory, Pcp, Zone } from '../../src/memory/zone.ts';
import { globals } from '../../src/mm/globals.ts';
import * as source from '../../src/mm/index.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Globals, Mm, Process as ProcessStruct, Vma } from '../../src/mm/types.ts';
import { firstVma } from '../../src/mm/vma-tree.ts';
import { census } from './support/address-space.ts';
import { elf, exec, install, SEGMENTS, vectors } from './support/elf.ts';

const PAGE = 4096;
const MiB = 2 ** 20;
const PROGRAM = '/dev/shm/pxd/prog';
const STACK = 3;
const [ENOENT, E2BIG, ENOEXEC, EACCES, EFAULT, EEXIST, EINVAL] = [-2, -7, -8, -13, -14, -17, -22];

function fresh(options: { program?: 'direct' | 'native' | 'step'; mode?: string } = {}): { machine: Machine; p: Process } {
  const machine = new Machine({ ramBytes: 64 * MiB, ...options });
  const p = machine.spawn();
  install(p, PROGRAM, elf());
  return { machine, p };
}

function limit(p: Process, soft: number, hard = -1): void {
  p.machine.enter();
  set(p.ref, ProcessStruct.rlimitCur + STACK, soft);
  set(p.ref, ProcessStruct.rlimitMax + STACK, hard);
}

/** Ranges and rights as maps shows them. */
function maps(p: Process): string[] {
  p.machine.enter();
  const lines: string[] = [];
  for (let vma = firstVma(p.mm); vma !== 0; vma = get(vma, Vma.next)) {
    const flags = get(vma, Vma.flags);
    const rights = ['r', 'w', 'x'].map((letter, bit) => ((flags >> bit) & 1 ? letter : '-')).join('');
    lines.push(`${(get(vma, Vma.start) * PAGE).toString(16).padStart(8, '0')}-${(get(vma, Vma.end) * PAGE).toString(16).padStart(8, '0')} ${rights}`);
  }
  return lines;
}

/** Pages that nobody uses. */
function freePages(): number {
  let free = 0;
  for (let number = 0; number < heap[memory() + Memory.nrZones]; number++) {
    const zone = heap[memory() + Memory.zones + number];
    free += heap[zone + Zone.free];
    for (let cpu = 0; cpu < heap[memory() + Memory.cpus]; cpu++) free += heap[heap[zone + Zone.pcps + cpu] + Pcp.count];
  }
  return free;
}

const IMAGE = ['00400000-00401000 r-x', '00402000-00403000 rw-', '00403000-00407000 rw-', '00409000-0040b000 r--'];

describe('layout', () => {
  it.each([
    [8 * MiB, '7ffff7ff4000-7ffff7ff7000', '7ffffffde000-7ffffffff000'],
    [65536, '7ffff7ff4000-7ffff7ff7000', '7ffffffef000-7ffffffff000'],
    [16 * MiB, '7ffff7ff4000-7ffff7ff7000', '7ffffffde000-7ffffffff000'],
    [2 ** 30, '7fffbfef4000-7fffbfef7000', '7ffffffde000-7ffffffff000'],
    [-1, '15555554b000-15555554e000', '7ffffffde000-7ffffffff000'],
    [2 ** 47, '15555554b000-15555554e000', '7ffffffde000-7ffffffff000'],
  ])('a stack limit of %d', (soft, mapped, stack) => {
    const { p } = fresh();
    limit(p, soft);
    expect(exec(p, PROGRAM, ['prog', 'one'], ['A=b'])).toBe(0);
    expect(maps(p)).toEqual([...IMAGE, `${stack} rw-`]);
    const heap = p.syscall('brk', 0);
    expect(heap.toString(16)).toBe('40b000');
    expect(p.syscall('brk', heap + 0x2000)).toBe(heap + 0x2000);
    // The vdso and its data take 8 pages in the recording.
    p.syscall('mmap', 0, 8 * PAGE, 1, 0x22, -1, 0);
    p.syscall('mmap', 0, 3 * PAGE, 3, 0x22, -1, 0);
    const lines = maps(p);
    expect(lines[4]).toBe('0040b000-0040d000 rw-');
    expect(lines).toContain(`${mapped} rw-`);
    expect(get(p.mm, Mm.execStackLimit)).toBe(soft);
    expect(checkMachine()).toEqual([]);
  });

  it.each([
    [5, 'rwx'],
    [6, 'rw-'],
    [7, 'rwx'],
    [undefined, 'rw-'],
  ])('PT_GNU_STACK %s', (flags, rights) => {
    const { p } = fresh();
    install(p, PROGRAM, elf(SEGMENTS, flags));
    expect(exec(p, PROGRAM, ['a'])).toBe(0);
    expect(maps(p).at(-1)).toBe(`7ffffffde000-7ffffffff000 ${rights}`);
  });

  it('what is in the file is there, what is not is zero', () => {
    const { p } = fresh();
    expect(exec(p, PROGRAM, ['a'])).toBe(0);
    expect([...p.read(0x402008n, 16).bytes]).toEqual([...Array<number>(8).fill(0x5a), ...Array<number>(8).fill(0)]);
    expect([...p.read(0x406ff8n, 8).bytes]).toEqual(Array<number>(8).fill(0));
    // Behind the segment's end the page has what the file goes on with.
    expect(p.load(0x400ff8n, 8)).toBe(0x5a5a5a5a5a5a5a5an);
    expect(p.store(0x402000n, 8, 1n)).toBeUndefined();
    expect(p.store(0x400000n, 8, 1n)).toMatchObject({ signal: 11 });
  });

  it.each(['x86-4level', 'x86-5level', 'riscv-sv57', 'arm64-4k-48', 'x86-pae', 's390x'])('%s: arguments and environment stand on the stack', (mode) => {
    const machine = new Machine({ ramBytes: 64 * MiB, mode });
    const p = machine.spawn();
    install(p, PROGRAM, elf());
    const args = ['prog', 'x'.repeat(9000), '', 'last'];
    const env = ['A=b', 'C=d'];
    expect(exec(p, PROGRAM, args, env)).toBe(0);
    const size = machine.codec.vaBits > 32 ? 8 : 4;
    const word = (at: bigint): bigint => p.load(at, size) as bigint;
    const sp = BigInt(get(p.mm, Mm.startStack));
    expect(sp % 16n).toBe(0n);
    expect(word(sp)).toBe(4n);
    const strings: string[] = [];
    for (let at = sp + BigInt(size); strings.length < 8; at += BigInt(size)) {
      let string = '';
      let from = word(at);
      if (from === 0n) string = 'null';
      else for (let byte = p.load(from, 1) as bigint; byte !== 0n; byte = p.load(++from, 1) as bigint) string += String.fromCharCode(Number(byte));
      strings.push(string);
    }
    expect(strings).toEqual([...args, 'null', ...env, 'null']);
    expect(checkMachine()).toEqual([]);
  });
});

/** So many bytes of arguments, ends included. */
function argumentsOf(total: number): string[] {
  const found: string[] = [];
  for (let left = total; left > 0; left -= 100_000) found.push('x'.repeat(Math.min(left, 100_000) - 1));
  return found;
}

describe('limits', () => {
  // Bytes of argument strings that 6.18.44 takes, beside the path; and what became of the program.
  it.each([
    [8 * MiB, 2096966, 0],
    [65536, 65510, 11],
    [131072, 131038, 11],
    [200 * 1024, 131038, 0],
    [400 * 1024, 131038, 0],
    [16 * MiB, 4193950, 0],
    [40 * MiB, 6290934, 0],
    [-1, 6290934, 0],
  ])('a stack limit of %d: %d bytes of arguments', (soft, most, signal) => {
    const { p } = fresh();
    // The vectors themselves need no stack.
    const [path, argv, envp] = vectors(p, PROGRAM, argumentsOf(most + 1), []);
    limit(p, soft);
    const before = maps(p);
    expect(p.syscall('execve', path, argv, envp)).toBe(E2BIG);
    expect(maps(p)).toEqual(before);
    expect(checkMachine()).toEqual([]);
    const result = exec(p, PROGRAM, argumentsOf(most));
    expect([result, p.exitStatus]).toEqual(signal === 0 ? [0, undefined] : [EFAULT, signal]);
    expect(checkMachine()).toEqual([]);
  });

  it('one string takes 32 pages', () => {
    const { p } = fresh();
    expect(exec(p, PROGRAM, ['x'.repeat(131072)])).toBe(E2BIG);
    expect(exec(p, PROGRAM, ['x'.repeat(131071)])).toBe(0);
  });

  it('the stack limit is that of the exec, whatever it was raised to meanwhile: read once, written back', () => {
    const { p } = fresh();
    limit(p, 16 * MiB, 32 * MiB);
    expect(exec(p, PROGRAM, ['a'])).toBe(0);
    expect([get(p.ref, ProcessStruct.rlimitCur + STACK), get(p.ref, ProcessStruct.rlimitMax + STACK)]).toEqual([16 * MiB, 32 * MiB]);
  });

  it('a program that gains rights has a usual stack', () => {
    const { p } = fresh();
    install(p, `${PROGRAM}-s`, elf(), 0o4755);
    limit(p, -1);
    set(p.ref, ProcessStruct.capsLow, 0);
    expect(exec(p, `${PROGRAM}-s`, ['a'])).toBe(0);
    expect(get(p.ref, ProcessStruct.rlimitCur + STACK)).toBe(8 * MiB);
    expect(get(p.mm, Mm.execStackLimit)).toBe(8 * MiB);
    expect(get(p.ref, ProcessStruct.capsLow)).toBe(-1);
  });
});

describe('refusals', () => {
  it.each([
    ['what is not executable', EACCES, (p: Process) => install(p, `${PROGRAM}-x`, elf(), 0o644), `${PROGRAM}-x`],
    ['a directory', EACCES, undefined, '/dev/shm/pxd'],
    ['a directory with a slash', EACCES, undefined, '/dev/shm/pxd/'],
    ['what does not exist', ENOENT, undefined, '/dev/shm/pxd/nothing'],
    ['half a header', ENOEXEC, (p: Process) => install(p, PROGRAM, elf().slice(0, 4)), PROGRAM],
    ['a shared object', ENOEXEC, (p: Process) => install(p, PROGRAM, elf(SEGMENTS, 6, 3)), PROGRAM],
  ] as const)('%s', (_what, error, prepare, path) => {
    const { machine, p } = fresh();
    prepare?.(p);
    const call = vectors(p, path, ['a'], []);
    const before = maps(p);
    expect(p.syscall('execve', ...call)).toBe(error);
    expect(maps(p)).toEqual(before);
    expect(p.alive).toBe(true);
    machine.enter();
    expect(checkMachine()).toEqual([]);
  });

  it('vectors that cannot be read', () => {
    const { p } = fresh();
    const [path, argv, envp] = vectors(p, PROGRAM, ['a'], []);
    expect(p.syscall('execve', path, 0x7000_0000, envp)).toBe(EFAULT);
    expect(p.syscall('execve', path, argv, 0x7000_0000)).toBe(EFAULT);
    expect(p.syscall('execve', 0x7000_0000, argv, envp)).toBe(EFAULT);
    p.store(BigInt(argv), 8, 0x7000_0000n);
    expect(p.syscall('execve', path, argv, envp)).toBe(EFAULT);
    expect(checkMachine()).toEqual([]);
    // Without any vector there is one empty argument.
    expect(p.syscall('execve', path, 0, 0)).toBe(0);
    expect(p.load(BigInt(get(p.mm, Mm.startStack)), 8)).toBe(1n);
  });

  it('a segment that does not lie in the file as in memory kills the process: the old program is gone by then', () => {
    const { machine, p } = fresh();
    install(p, PROGRAM, elf([{ ...SEGMENTS[0], address: 0x400800 }, ...SEGMENTS.slice(1)]));
    expect(exec(p, PROGRAM, ['a'])).toBe(EINVAL);
    expect([p.alive, p.exitStatus]).toEqual([false, 11]);
    machine.enter();
    expect(checkMachine()).toEqual([]);
  });

  it('F126: a program whose place is its own stack is refused, and the stack is not mapped over', () => {
    const { p } = fresh();
    install(p, PROGRAM, elf([{ ...SEGMENTS[0], address: 0x7fff_ffff_e000 }]));
    expect(exec(p, PROGRAM, ['a'])).toBe(EEXIST);
    expect([p.alive, p.exitStatus]).toEqual([false, 11]);
    expect(checkMachine()).toEqual([]);
  });
});

describe('the old address space', () => {
  it('lives as long as somebody uses it', () => {
    const { machine, p } = fresh();
    p.syscall('mmap', 0x2000_0000, PAGE, 3, 0x32, -1, 0);
    p.store(0x2000_0000n, 4, 77n);
    const old = p.mm;
    const kernel = machine.kernel;
    expect(kernel.getTaskMm(p.ref)).toBe(old);
    kernel.mmgrab(old);
    expect(exec(p, PROGRAM, ['a'])).toBe(0);
    expect(p.mm).not.toBe(old);
    expect([get(old, Mm.users), get(old, Mm.count)]).toEqual([1, 2]);
    const buffer = allocPage(GFP_KERNEL, 0);
    expect(kernel.accessRemoteVm(old, 0x20000, 0, buffer, 4, 0)).toBe(4);
    expect(machine.readRam(buffer, 0, 1)).toEqual(new Uint8Array([77]));
    kernel.folioPut(buffer);
    kernel.mmput(old);
    expect([get(old, Mm.users), firstVma(old)]).toEqual([0, 0]);
    expect(kernel.mmgetNotZero(old)).toBe(0);
    kernel.mmdrop(old);
    expect(checkMachine()).toEqual([]);
  });

  it('is what an open /proc/PID/mem shows, until nobody uses it', () => {
    const { machine, p } = fresh();
    p.syscall('mmap', 0x2000_0000, PAGE, 3, 0x32, -1, 0);
    p.store(0x2000_0000n, 4, 78n);
    const reader = p.fork();
    machine.enter();
    const { kernel } = machine;
    const buffer = allocPage(GFP_KERNEL, 0);
    const opened = kernel.procMemOpen(reader.ref, p.ref);
    expect(opened).toBe(p.mm);
    expect([get(opened, Mm.users), get(opened, Mm.count)]).toEqual([1, 2]);
    expect(kernel.procMemRead(opened, 0x20000, 0, buffer, 4)).toBe(4);
    expect(machine.readRam(buffer, 0, 1)).toEqual(new Uint8Array([78]));
    expect(exec(p, PROGRAM, ['a'])).toBe(0);
    machine.enter();
    expect(kernel.procMemRead(opened, 0x20000, 0, buffer, 4)).toBe(0);
    expect(kernel.accessProcessVm(p.ref, 0x402, 0, buffer, 4, 0)).toBe(4);
    expect(machine.readRam(buffer, 0, 1)).toEqual(new Uint8Array([0x5a]));
    kernel.folioPut(buffer);
    kernel.procMemRelease(opened);
    // Nobody looks into a process that may do more.
    for (const field of [ProcessStruct.capsLow, ProcessStruct.capsHigh]) set(reader.ref, field, 0);
    expect(kernel.procMemOpen(reader.ref, p.ref)).toBe(EACCES);
    expect(get(p.mm, Mm.users)).toBe(1);
    p.exit();
    machine.enter();
    expect(kernel.procMemOpen(reader.ref, p.ref)).toBe(-3);
    expect(kernel.accessProcessVm(p.ref, 0x402, 0, buffer, 4, 0)).toBe(0);
    expect(checkMachine()).toEqual([]);
  });

  it('goes with all it has: processes that exec again and again take no more memory than one', () => {
    const { machine, p } = fresh();
    const runs = Array.from({ length: 6 }, (_, i) => {
      p.syscall('mmap', 0x3000_0000 + i * 0x100000, 16 * PAGE, 3, 0x8032, -1, 0);
      expect(exec(p, PROGRAM, ['a'])).toBe(0);
      machine.enter();
      return { ...census(), freePages: freePages() };
    });
    expect(runs).toEqual(Array(6).fill(runs[0]));
  });

  it('a child that execs leaves its parent alone', () => {
    const { p } = fresh();
    p.syscall('mmap', 0x2000_0000, 4 * PAGE, 3, 0x32, -1, 0);
    p.store(0x2000_0000n, 4, 5n);
    const child = p.fork();
    expect(exec(child, PROGRAM, ['a'])).toBe(0);
    expect(p.load(0x2000_0000n, 4)).toBe(5n);
    expect(child.load(0x2000_0000n, 4)).toMatchObject({ signal: 11 });
    expect(checkMachine()).toEqual([]);
  });
});

it('setrlimit and getrlimit are prlimit64 of oneself; memfd_secret is not configured', () => {
  const { p } = fresh();
  p.syscall('mmap', 0x2000_0000, PAGE, 3, 0x32, -1, 0);
  p.store(0x2000_0000n, 8, BigInt(MiB));
  p.store(0x2000_0008n, 8, BigInt(2 * MiB));
  expect(p.syscall('setrlimit', STACK, 0x2000_0000)).toBe(0);
  expect(p.syscall('getrlimit', STACK, 0x2000_0010)).toBe(0);
  expect([p.load(0x2000_0010n, 8), p.load(0x2000_0018n, 8)]).toEqual([BigInt(MiB), BigInt(2 * MiB)]);
  expect(p.syscall('setrlimit', 16, 0x2000_0000)).toBe(EINVAL);
  expect(p.syscall('memfd_secret', 0)).toBe(-38);
});

it('the same in all programs, to the byte', () => {
  for (const mode of ['x86-4level', 'x86-5level']) {
    const machines = (['direct', 'native', 'step'] as const).map((program) => {
      const { machine, p } = fresh({ program, mode });
      expect(exec(p, PROGRAM, ['prog', 'y'.repeat(5000)], ['HOME=/'])).toBe(0);
      return machine;
    });
    for (const machine of machines.slice(1)) expect(equalStates(machines[0].state, machine.state)).toBe(true);
  }
});

// --- schedules --------------------------------------------------------------------------------------------------------------

/** A random number below, from a seed. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Runs calls as tasks against each other in a random order, with few changes between them. */
function schedule(seed: number, tasks: readonly Call[], spaces: readonly number[], switches: readonly SwitchName[]): number[][] {
  forgetOrder();
  const scheduler = new Scheduler({ cpus: tasks.length });
  scheduler.pgdOf = (mm) => get(mm, Mm.pgd);
  throwSwitches(switches);
  tasks.forEach((call, cpu) => {
    scheduler.load(cpu, spaces[cpu]);
    scheduler.spawn([call], cpu);
  });
  const below = random(seed);
  let last = -1;
  scheduler.run((actions) => {
    if (!actions.includes(last) || below(20) === 0) last = actions[below(actions.length)];
    return last;
  });
  removeTasks();
  return scheduler.results;
}

const SEED = Number(process.env.PXD_SEED ?? 20251121);
const RUNS = 200;
const TARGET = 0x5000_0000;

/** A process without capabilities that reads 1 byte at the same place of another one, which becomes a program with all of them. */
function readDuringExec(seed: number, switches: readonly SwitchName[]): { read: number; leaked: boolean } {
  const machine = new Machine({ ramBytes: 8 * MiB, cpus: 2 });
  const victim = machine.spawn();
  const top = 0x7fff_ffff_e000;
  set(victim.ref, ProcessStruct.capsLow, 0);
  set(victim.ref, ProcessStruct.capsHigh, 0);
  const reader = victim.fork();
  // The reader's own memory: where to, where from.
  reader.syscall('mmap', TARGET, PAGE, 3, 0x32, -1, 0);
  for (const [at, base] of [
    [TARGET, TARGET + 64],
    [TARGET + 16, top + PAGE - 16],
  ]) {
    reader.store(BigInt(at), 8, BigInt(base));
    reader.store(BigInt(at + 8), 8, 1n);
  }
  machine.enter();
  const calls: Call[] = [
    { run: source.execProgram, args: [victim.ref, 100, 1], name: 'exec' },
    { run: source.sysProcessVmReadv, args: [reader.ref, victim.pid, TARGET, 1, TARGET + 16, 1, 0], name: 'process_vm_readv' },
  ];
  const results = schedule(seed, calls, [victim.mm, reader.mm], switches);
  machine.enter();
  expect(results[0]).toEqual([0]);
  expect(checkMachine()).toEqual([]);
  // Nothing was mapped at the top of the old address space: a byte read is one of the new program's.
  return { read: results[1][0], leaked: results[1][0] === 1 };
}

describe('process_vm_readv against exec of a program with more rights', () => {
  it(`reads nothing of the new program, in ${RUNS} schedules from seed ${SEED}`, () => {
    const seen = new Set<number>();
    for (let i = 0; i < RUNS; i++) {
      const { read, leaked } = readDuringExec(SEED + i, []);
      expect([SEED + i, leaked]).toEqual([SEED + i, false]);
      seen.add(read);
    }
    // Before the exec, and after it.
    expect([...seen].sort((a, b) => a - b)).toEqual([EFAULT, -1]);
  });

  it('reads it where mm_access() does not keep exec from going on', () => {
    let found = false;
    for (let i = 0; i < 5 * RUNS && !found; i++) found = readDuringExec(SEED + i, ['execAccessUnlocked']).leaked;
    expect(found).toBe(true);
  });
});

/** exec while another process changes the stack limit. Whether arguments were measured, and the space laid out, by the same. */
function limitDuringExec(seed: number, switches: readonly SwitchName[]): boolean {
  const machine = new Machine({ ramBytes: 8 * MiB, cpus: 2 });
  const [p, other] = [machine.spawn(), machine.spawn()];
  machine.enter();
  const calls: Call[] = [
    { run: source.execProgram, args: [p.ref, 100, 0], name: 'exec' },
    { run: source.doPrlimit, args: [other.ref, p.ref, STACK, 2 ** 30, -1], name: 'prlimit' },
  ];
  const results = schedule(seed, calls, [p.mm, other.mm], switches);
  machine.enter();
  expect(results).toEqual([[0], [0]]);
  expect(checkMachine()).toEqual([]);
  const laidOut = get(p.mm, Mm.execStackLimit);
  const gap = laidOut === 8 * MiB ? 0x7ffff7fff : 0x7fffbfeff;
  expect(get(p.mm, Mm.mmapBase)).toBe(gap);
  return get(p.mm, Mm.execArgumentLimit) === laidOut;
}

describe('the stack limit changes during exec', () => {
  it(`arguments and layout go by the same, in ${RUNS} schedules from seed ${SEED}`, () => {
    for (let i = 0; i < RUNS; i++) expect([SEED + i, limitDuringExec(SEED + i, [])]).toEqual([SEED + i, true]);
  });

  it('and by two different ones where it is read again', () => {
    let found = false;
    for (let i = 0; i < 5 * RUNS && !found; i++) found = !limitDuringExec(SEED + i, ['execStackLimitReread']);
    expect(found).toBe(true);
  });
});

it('threads of an exec find no broken rule in what they do', () => {
  const machine = new Machine({ ramBytes: 16 * MiB });
  const p = machine.spawn();
  install(p, PROGRAM, elf());
  const call = vectors(p, PROGRAM, ['a', 'b'], ['C=d']);
  machine.enter();
  const results = schedule(1, [{ run: source.sysExecve, args: [p.ref, ...call], name: 'execve' }], [p.mm], []);
  machine.enter();
  expect(results).toEqual([[0]]);
  expect(get(globals, Globals.failAllocation)).toBe(0);
  expect(maps(p)).toEqual([...IMAGE, '7ffffffde000-7ffffffff000 rw-']);
});
