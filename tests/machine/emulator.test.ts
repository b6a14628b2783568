/** The emulator of examples/emulator: its program, its loads and stores against plain memory, its use of everything that docs/machine.md tells of. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { esbuildPrograms } from '../../scripts/kernel-program.mjs';
import { type Fault, Machine, type Process } from '../../src/machine/index.ts';
import { pxd } from '../cli/pxd.ts';

interface Task {
  readonly process: Process;
  readonly registers: BigUint64Array;
  pc: number;
  status: number | undefined;
}
interface Cpu {
  misses: number;
  run(task: Task, budget: number): 'ecall' | 'time' | Fault;
}
interface Frozen {
  readonly bytes: Uint8Array;
  readonly tasks: readonly unknown[];
}
interface Emulator {
  readonly machine: Machine;
  readonly output: string;
  readonly log: readonly string[];
  readonly tasks: readonly Task[];
  readonly cpus: readonly Cpu[];
  exec(code: Uint8Array): Task;
  run(turns?: number): boolean;
  freeze(): Frozen;
}

/** The example is plain JavaScript: a path in a variable keeps the type checker away. */
const EXAMPLE = new URL('../../examples/emulator/', import.meta.url);
const load = async (name: string): Promise<unknown> => await import(new URL(name, EXAMPLE).href);
const { assemble } = (await load('assembler.mjs')) as { assemble: (source: string, origin: number) => Uint8Array };
const { Linux, ORIGIN } = (await load('linux.mjs')) as {
  Linux: { new (machine: Machine): Emulator; thaw(machine: Machine, frozen: Frozen): Emulator };
  ORIGIN: number;
};
const SOURCE = readFileSync(new URL('program.s', EXAMPLE), 'utf8');

const hello = 'Hello, my page.\n';
const OUTPUT = `${hello}${hello.replace('H', 'J')}${hello}${hello.replace('.', '!')}`;

function started(mode: string, source = SOURCE): Emulator {
  const linux = new Linux(new Machine({ mode, ramBytes: 2 ** 28 }));
  linux.exec(assemble(source, ORIGIN));
  return linux;
}

/** What must come out, and the one death that the program wants: SEGV_MAPERR at the first byte of what mmap gave. */
function expectEnd(linux: Emulator): void {
  expect(linux.output).toBe(OUTPUT);
  expect(linux.log).toHaveLength(1);
  expect(linux.log[0]).toMatch(/^process 2: signal 11, code 1, address 0x[0-9a-f]+000$/);
  expect(linux.tasks.map((t) => t.status)).toEqual([0]);
}

describe('the program of the example', () => {
  it.each(['x86-4level', 'x86-5level', 'arm64-64k-48', 'riscv-sv39', 's390x', 'ppc64-radix-4k', 'mips32-4k', 'sparc64'])('runs in %s', (mode) => {
    const linux = started(mode);
    linux.run();
    expectEnd(linux);
  });

  it('goes on elsewhere from wherever it is frozen', () => {
    for (let turns = 0; turns < 40; turns += 3) {
      const linux = started('x86-4level');
      linux.run(turns);
      const frozen = linux.freeze();
      linux.run();
      const other = Linux.thaw(Machine.restore(frozen.bytes), frozen);
      other.run();
      expectEnd(linux);
      expectEnd(other);
      expect(Buffer.from(other.machine.snapshot()).equals(linux.machine.snapshot())).toBe(true);
    }
  });

  it('has left no trace once the journal is rewound', () => {
    const linux = started('x86-4level');
    const { machine } = linux;
    const before = Buffer.from(machine.snapshot());
    machine.startJournal();
    const mark = machine.mark();
    linux.run();
    expectEnd(linux);
    expect(before.equals(machine.snapshot())).toBe(false);
    machine.rewind(mark);
    expect(before.equals(machine.snapshot())).toBe(true);
  });
});

describe('the CPU', () => {
  it('asks the mm once a page, then no more', () => {
    const linux = started(
      'x86-4level',
      `   li a0, 0
          li a1, 0x8000
          li a2, 3
          li a3, 0x22
          li a4, -1
          li a7, 222
          ecall
          li t0, 20
          li t1, 0
       again:
          st.8 t0, 8(a0)
          ld.8 t2, 8(a0)
          st.8 t2, 0x5000(a0)
          addi t0, t0, -1
          bne t0, t1, again
          li a0, 7
          li a7, 93
          ecall`,
    );
    linux.run();
    expect(linux.tasks[0].status).toBe(7 << 8);
    // Two pages of data and one of code, on each of two CPUs; every time again after going to the other CPU would be more.
    expect(linux.cpus[0].misses + linux.cpus[1].misses).toBeLessThanOrEqual(6 + 2);
  });

  it('loads and stores 1 to 16 bytes at any place as plain memory does', () => {
    const SPAN = 3 * 4096;
    const AT = 0x20000000;
    const access = fc.record({
      store: fc.boolean(),
      size: fc.integer({ min: 1, max: 16 }),
      at: fc.oneof(fc.nat(SPAN - 16), fc.integer({ min: 4080, max: 4100 })),
      value: fc.tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
    });
    fc.assert(
      fc.property(fc.array(access, { minLength: 1, maxLength: 60 }), (accesses) => {
        const code = accesses.map((a) => `${a.store ? 'st' : 'ld'}.${a.size} t2, ${a.at}(t0)`).join('\n');
        const linux = started('x86-4level', code);
        const task = linux.tasks[0];
        task.process.syscall('mmap', AT, SPAN, 3, 0x32, -1, 0);
        const plain = new Uint8Array(SPAN);
        task.registers[8] = BigInt(AT);
        for (const { store, size, at, value } of accesses) {
          task.registers.set(value, 10);
          expect(linux.cpus[0].run(task, 1)).toBe('time');
          if (store) {
            const both = value[0] | (value[1] << 64n);
            for (let i = 0; i < size; i++) plain[at + i] = Number((both >> BigInt(8 * i)) & 255n);
          } else {
            let both = 0n;
            for (let i = size - 1; i >= 0; i--) both = (both << 8n) | BigInt(plain[at + i]);
            expect(task.registers[10]).toBe(both & (2n ** 64n - 1n));
            expect(task.registers[11]).toBe(size > 8 ? both >> 64n : value[1]);
          }
        }
        expect(task.process.read(BigInt(AT), SPAN).bytes).toEqual(plain);
      }),
      { numRuns: 25 },
    );
  });

  it.each([
    ['below address 0', 'li t0, 0\n ld.1 t1, -1(t0)', { signal: 11, code: 1, address: 2n ** 64n - 1n }],
    ['at no canonical address', 'lih t0, 0x20000000\n ld.1 t1, 0(t0)', { signal: 11, code: 128, address: 0n }],
    ['at 0', 'li t0, 0\n st.8 t1, 0(t0)', { signal: 11, code: 1, address: 0n }],
    ['into its own code', 'li t0, 0x10000000\n st.1 t1, 4(t0)', { signal: 11, code: 2, address: 0x10000004n }],
    ['of 17 bytes', 'li t0, 0x10000000\n ld.17 t1, 4(t0)', { signal: 4, code: 1, address: 0x10000008n }],
    ['as a jump off the code', 'li t0, 0x30000000\n jr t0\n', { signal: 11, code: 1, address: 0x30000000n }],
    ['as a jump between instructions', 'li t0, 0x10000004\n jr t0\n', { signal: 7, code: 1, address: 0x10000004n }],
    ['as no instruction at all', '.ascii "\\u0000"', { signal: 4, code: 1, address: 0x10000000n }],
  ])('faults %s', (_, code, fault) => {
    const linux = started('x86-4level', code);
    expect(linux.cpus[0].run(linux.tasks[0], 10)).toEqual(fault);
  });

  it('refuses what is no instruction when it is assembled', () => {
    for (const bad of ['nop', 'li t8, 0', 'li t0', 'jal t0, nowhere', 'add t0, t1'])
      expect(() => assemble(bad, 0)).toThrow(/no instruction|no register|neither/);
  });
});

describe('main.mjs', () => {
  const dir = mkdtempSync(join(tmpdir(), 'pxd-emulator-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('prints what the program wrote and keeps a capture of its fork', async () => {
    const bundle = join(dir, 'main.mjs');
    const capture = join(dir, 'capture.elf');
    await build({
      entryPoints: ['examples/emulator/main.mjs'],
      bundle: true,
      outfile: bundle,
      platform: 'node',
      format: 'esm',
      alias: { 'pxd/machine': new URL('../../src/machine/index.ts', import.meta.url).pathname },
      plugins: [esbuildPrograms()],
      logLevel: 'silent',
    });
    const out = execFileSync(process.execPath, [bundle, 'examples/emulator/program.s', capture], { encoding: 'utf8' });
    expect(out).toMatch(new RegExp(`^${OUTPUT.replaceAll('.', '\\.')}process 2: signal 11, code 1, address 0x[0-9a-f]+\n$`));
    // docs/machine.md shows this very capture.
    const [, shown] = /```console\n\$ pxd leaves capture\.elf --pid 1 --user\n([\s\S]*?)```/.exec(readFileSync('docs/machine.md', 'utf8')) ?? [];
    expect((await pxd(['leaves', capture, '--pid', '1', '--user'])).out).toBe(shown);
    const inspected = await pxd(['inspect', capture]);
    expect(inspected.code).toBe(0);
    const leaves = async (pid: number): Promise<readonly string[]> => (await pxd(['leaves', capture, '--pid', String(pid), '--user'])).lines;
    // The two processes share every page, none writable: copy on write. The child has not touched its own yet.
    const parent = await leaves(1);
    expect(parent).toHaveLength(3);
    expect(parent[1]).toMatch(/^0000000010000000-0000000010001000 .* r-xu /);
    expect(parent[2]).toMatch(/ 8K +4K r--u /);
    expect((await leaves(2)).slice(1)).toEqual(parent.slice(1).map((line) => line.replace('-DA', '-D-')));
  });
});
