/**
 * The soft TLB: whatever happens to an address space, no CPU holds a translation that the page tables do not grant; JavaScript and WebAssembly find the
 * same bytes where its layout says.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadEntry } from '../../src/kernel/arch.ts';
import { mmuEntry } from '../../src/kernel/mmu.ts';
import { Machine, type Process, TLB_CPUS, TLB_ENTRIES } from '../../src/machine/index.ts';
import { get } from '../../src/memory/heap.ts';
import { pageOfPfn } from '../../src/memory/state.ts';
import { Mm } from '../../src/mm/types.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_EXEC, PTE_READ, PTE_WRITE } from '../../src/pagetable/canonical.ts';

const BASE = 0x20000000;
const PAGES = 16;
const KIND_NAMES = ['load', 'store', 'fetch'];
const GRANTED = [PTE_READ | PTE_ACCESSED, PTE_WRITE | PTE_DIRTY | PTE_ACCESSED, PTE_EXEC | PTE_ACCESSED];

/** What a CPU holds, and which of it the tables of the process that runs there do not grant. */
function look(process: Process, cpu: number): { held: number; stale: string[] } {
  const stale: string[] = [];
  let held = 0;
  const { tags, pages } = process.machine.tlb.view(cpu);
  const pgd = get(process.mm, Mm.pgd);
  for (let i = 0; i < 3 * TLB_ENTRIES; i++) {
    if (tags[i] === 0) continue;
    held++;
    const kind = Math.floor(i / TLB_ENTRIES);
    const at = mmuEntry(pgd, tags[i] - 1);
    const entry = at === 0 ? 0 : loadEntry(at, 0);
    const bits = entry & 0xfffff;
    const page = entry === 0 ? 0 : pageOfPfn((entry - bits) / 2 ** 20);
    // The accessed bit may be taken away without a flush on some architectures: then it is only set late.
    const needed = GRANTED[kind] & ~PTE_ACCESSED;
    if ((bits & needed) !== needed || page !== pages[i % TLB_ENTRIES])
      stale.push(`${KIND_NAMES[kind]} of page 0x${(tags[i] - 1).toString(16)}: TLB says ${pages[i % TLB_ENTRIES]}, tables ${page} with 0x${bits.toString(16)}`);
  }
  return { held, stale };
}

const operation = fc.record({
  name: fc.constantFrom(
    ...['mmap', 'shared', 'munmap', 'mprotect', 'dontneed', 'free', 'cold', 'pageout', 'mremap', 'fork', 'exit', 'msync', 'clear'],
    ...['store', 'store', 'store', 'load', 'load', 'fetch', 'switch', 'guard'],
  ),
  page: fc.nat(PAGES - 5),
  pages: fc.integer({ min: 1, max: 4 }),
  value: fc.nat(255),
});

describe('the soft TLB', () => {
  it.each(['x86-4level', 'arm64-16k-48', 'riscv-sv39', 's390x'])('%s: holds nothing that the page tables do not grant', (mode) => {
    let most = 0;
    fc.assert(
      fc.property(fc.array(operation, { minLength: 20, maxLength: 120 }), (operations) => {
        const machine = new Machine({ mode, ramBytes: 2 ** 28 });
        const size = machine.pageSize;
        const running = [machine.spawn()];
        running[0].syscall('mmap', BASE, PAGES * size, 7, 0x32, -1, 0);
        running.push(running[0].fork());
        for (const { name, page, pages, value } of operations) {
          const cpu = value & 1;
          const p = running[cpu];
          const at = BASE + page * size;
          const call = (...args: [string, ...number[]]): number => p.syscall(...args);
          if (name === 'mmap' || name === 'shared') call('mmap', at, pages * size, 7, name === 'mmap' ? 0x32 : 0x31, -1, 0);
          else if (name === 'munmap') call('munmap', at, pages * size);
          else if (name === 'mprotect') call('mprotect', at, pages * size, value & 7);
          else if (name === 'dontneed') call('madvise', at, pages * size, 4);
          else if (name === 'free') call('madvise', at, pages * size, 8);
          else if (name === 'cold') call('madvise', at, pages * size, 20);
          else if (name === 'pageout') call('madvise', at, pages * size, 21);
          else if (name === 'guard') call('madvise', at, pages * size, 102);
          else if (name === 'mremap') call('mremap', at, pages * size, pages * size, 3, BASE + ((page + 7) % (PAGES - 4)) * size);
          else if (name === 'msync') call('msync', at, pages * size, 4);
          else if (name === 'fork') running[cpu ^ 1] = p.fork();
          else if (name === 'exit' && running[0] !== running[1] && machine.processes.length > 2) {
            p.exit();
            running[cpu] = machine.processes[value % machine.processes.length];
          } else if (name === 'switch') running[cpu] = machine.processes[value % machine.processes.length];
          else if (name === 'store') p.store(BigInt(at + 4), 8, BigInt(value), cpu);
          else if (name === 'load') p.load(BigInt(at + size - 4), 8, cpu);
          else if (name === 'fetch') p.fetch(BigInt(at), cpu);
          running.forEach((runs, n) => {
            if (!runs.alive) running[n] = machine.processes[0];
            running[n].runOn(n);
            const { held, stale } = look(running[n], n);
            most = Math.max(most, held);
            expect({ after: name, cpu: n, stale }).toEqual({ after: name, cpu: n, stale: [] });
          });
        }
      }),
      { numRuns: mode === 'x86-4level' ? 60 : 15 },
    );
    // Something was held at all.
    expect(most).toBeGreaterThan(8);
  });

  it('is checked by something that would see a flush left out', () => {
    const machine = new Machine({ ramBytes: 2 ** 26 });
    const p = machine.spawn();
    p.syscall('mmap', BASE, 0x3000, 3, 0x32, -1, 0);
    for (let i = 0; i < 3; i++) p.store(BigInt(BASE + i * 4096), 1, 1n);
    expect(look(p, 0)).toEqual({ held: 6, stale: [] });
    const flush = machine.tlb.flush;
    machine.tlb.flush = () => undefined;
    p.syscall('munmap', BASE, 0x1000);
    p.syscall('mprotect', BASE + 0x1000, 0x1000, 1);
    machine.tlb.flush = flush;
    expect(look(p, 0).stale).toHaveLength(3);
  });

  it('keeps CPUs and address spaces apart', () => {
    const machine = new Machine({ ramBytes: 2 ** 26 });
    const a = machine.spawn();
    a.syscall('mmap', BASE, 0x1000, 3, 0x32, -1, 0);
    for (let cpu = 0; cpu < TLB_CPUS; cpu++) {
      expect(a.runOn(cpu).tags[(BASE / 4096) & 511]).toBe(0);
      expect(a.load(BigInt(BASE), 1, cpu)).toBe(0n);
      expect(a.runOn(cpu).tags[(BASE / 4096) & 511]).toBe(BASE / 4096 + 1);
    }
    const b = machine.spawn();
    expect(b.runOn(2).tags.every((tag) => tag === 0)).toBe(true);
    expect(a.runOn(1).tags[(BASE / 4096) & 511]).toBe(BASE / 4096 + 1);
    expect(a.runOn(2).tags.every((tag) => tag === 0)).toBe(true);
    // fork(2) write-protects what the parent has: all of its translations go, on every CPU.
    a.fork();
    expect(a.runOn(1).tags.every((tag) => tag === 0)).toBe(true);
  });

  it('serves WebAssembly by the same layout', async () => {
    const machine = new Machine({ ramBytes: 2 ** 26 });
    const p = machine.spawn();
    p.syscall('mmap', BASE, 0x2000, 3, 0x32, -1, 0);
    p.store(BigInt(BASE + 5), 1, 0xabn);
    const { instance } = await wasm.instantiate(loadModule(), { env: { memory: machine.memory } });
    const load8 = instance.exports.load8;
    // The store filled both kinds.
    expect(load8(BASE / 4096, 5)).toBe(0xab);
    expect(load8(BASE / 4096, 6)).toBe(0);
    expect(load8(BASE / 4096 + 1, 5)).toBe(-1);
    p.load(BigInt(BASE + 4096), 1);
    expect(load8(BASE / 4096 + 1, 5)).toBe(0);
    // RAM grows under the module's feet.
    const before = machine.memory.buffer.byteLength;
    p.syscall('mmap', BASE + 0x100000, 0x800000, 3, 0x8032, -1, 0);
    expect(machine.memory.buffer.byteLength).toBeGreaterThan(before);
    expect(load8(BASE / 4096, 5)).toBe(0xab);
    p.syscall('munmap', BASE, 0x1000);
    expect(load8(BASE / 4096, 5)).toBe(-1);
  });
});

/** What the types of this package leave out of the platform's. */
const wasm = Reflect.get(globalThis, 'WebAssembly') as unknown as {
  instantiate(bytes: Uint8Array, imports: object): Promise<{ instance: { exports: { load8: (vpn: number, offset: number) => number } } }>;
};

/** A module with `load8(vpn, offset)`: a byte through the soft TLB of CPU 0, or -1 for a miss. Pages of 4 KiB. */
function loadModule(): Uint8Array<ArrayBuffer> {
  const section = (id: number, ...body: number[]): number[] => [id, body.length, ...body];
  const name = (text: string): number[] => [text.length, ...new TextEncoder().encode(text)];
  const [I32, GET, CONST, AND, SHL, ADD] = [0x7f, 0x20, 0x41, 0x71, 0x74, 0x6a];
  const slot = [GET, 0, CONST, 0xff, 0x03, AND];
  const code = [
    // if (f64.load(slot * 8) == f64(vpn + 1))
    ...[...slot, CONST, 3, SHL, 0x2b, 3, 0],
    ...[GET, 0, CONST, 1, ADD, 0xb8, 0x61],
    ...[0x04, I32],
    // u8.load(i32.load(slot * 4 + 12288) * 4096 + offset)
    ...[...slot, CONST, 2, SHL, 0x28, 2, 0x80, 0x60, CONST, 12, SHL, GET, 1, ADD, 0x2d, 0, 0],
    ...[0x05, CONST, 0x7f, 0x0b, 0x0b],
  ];
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, 1, 0x60, 2, I32, I32, 1, I32),
    ...section(2, 1, ...name('env'), ...name('memory'), 2, 0, 1),
    ...section(3, 1, 0),
    ...section(7, 1, ...name('load8'), 0, 0),
    ...section(10, 1, code.length + 1, 0, ...code),
  ]);
}
