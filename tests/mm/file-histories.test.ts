/**
 * Random histories of files: their content is what a plain array of bytes says, read through system calls and through mappings; after every step
 * the machine is sound; nothing is left when all is closed; the three programs do the same, byte for byte; an allocation that fails breaks nothing.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Machine, type MachineOptions } from '../../src/machine/machine.ts';
import type { Process } from '../../src/machine/process.ts';
import { get, set } from '../../src/memory/heap.ts';
import { heap, pageRefcount, pagesEnd, SLOT_TOP } from '../../src/memory/state.ts';
import { globals } from '../../src/mm/globals.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';
import { Globals } from '../../src/mm/types.ts';
import { census } from './support/address-space.ts';

const PAGE = 4096;
/** Pages that a file is made of at most. */
const PAGES = 24;
/** Where the process has a page for names and buffers, and maps files. */
const BUFFER = 0x1000_0000;
const BUFFER_BYTES = 4 * PAGE;
const SHARED = 0x2000_0000;
const PRIVATE = 0x3000_0000;

const text = (s: string): Uint8Array => new TextEncoder().encode(`${s}\0`);

/** A process with a buffer. */
function start(options: MachineOptions = {}): { machine: Machine; process: Process } {
  const machine = new Machine({ ramBytes: 64 * 2 ** 20, ...options });
  const process = machine.spawn();
  process.syscall('mmap', BUFFER, BUFFER_BYTES, 3, 0x32, -1, 0);
  process.write(BigInt(BUFFER), new Uint8Array(BUFFER_BYTES));
  return { machine, process };
}

/** A fresh empty file: a memfd, or one with a name. */
function create(process: Process, kind: string): number {
  const path = kind === 'tmpfs' ? '/dev/shm/pxd/f' : '/var/tmp/pxd/f';
  process.write(BigInt(BUFFER), text(kind === 'memfd' ? 'f' : path));
  return kind === 'memfd' ? process.syscall('memfd_create', BUFFER, 2) : process.syscall('open', BUFFER, 0o102, 0o600);
}

const objects = ['file', 'inode', 'name', 'block', 'pipe', 'shm', 'xaNode', 'mm', 'vma', 'anonVma', 'avc', 'vmf'];
const pagesInUse = (): number => pageRefcount.subarray(0, pagesEnd()).reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);

interface Change {
  readonly what: string;
  readonly at: number;
  readonly length: number;
  readonly value: number;
}

const place = fc.oneof(
  fc.nat(PAGES * PAGE),
  fc.nat(PAGES).map((n) => n * PAGE),
);
const change: fc.Arbitrary<Change> = fc.record({
  what: fc.constantFrom(
    'write',
    'write',
    'write',
    'store',
    'store',
    'truncate',
    'punch',
    'allocate',
    'keep',
    'zero',
    'collapse',
    'insert',
    'sync',
    'drop',
    'read',
    'private',
  ),
  at: place,
  length: fc.oneof(
    fc.integer({ min: 1, max: 3 * PAGE }),
    fc.integer({ min: 1, max: 6 }).map((n) => n * PAGE),
  ),
  value: fc.integer({ min: 1, max: 255 }),
});

/** A file as an array of bytes. Mappings may write behind the end in the last page: what stays of that is the file system's choice. */
class Plain {
  bytes = new Uint8Array(0);
  resize(size: number): void {
    const next = new Uint8Array(size);
    next.set(this.bytes.subarray(0, size));
    this.bytes = next;
  }
  fill(from: number, to: number, value: number): void {
    if (to > this.bytes.length && value !== 0) this.resize(to);
    this.bytes.fill(value, from, to);
  }
}

/** One change, on the machine and on the array; both must agree whether it succeeds. */
function apply(process: Process, fd: number, plain: Plain, disk: boolean, { what, at, length, value }: Change): void {
  const size = plain.bytes.length;
  const room = Math.min(length, PAGES * PAGE - at);
  if (what === 'write' && room > 0) {
    process.write(BigInt(BUFFER), new Uint8Array(room).fill(value));
    for (let done = 0; done < room; done += BUFFER_BYTES) {
      const part = Math.min(BUFFER_BYTES, room - done);
      expect(process.syscall('pwrite64', fd, BUFFER, part, at + done)).toBe(part);
    }
    plain.fill(at, at + room, value);
  } else if (what === 'store' && at < PAGES * PAGE) {
    const end = Math.ceil(size / PAGE) * PAGE;
    const fault = process.store(BigInt(SHARED + at), 1, BigInt(value));
    if (at < size) plain.fill(at, at + 1, value);
    // Bytes behind the end of the last page can be written; they are zeroed again so that they do not matter.
    else if (at < end) process.store(BigInt(SHARED + at), 1, 0n);
    expect(fault?.signal).toBe(at < end ? undefined : 7);
  } else if (what === 'truncate') {
    expect(process.syscall('ftruncate', fd, at)).toBe(0);
    plain.resize(at);
  } else if (what === 'punch') {
    expect(process.syscall('fallocate', fd, 3, at, length)).toBe(0);
    plain.bytes.fill(0, at, at + length);
  } else if (what === 'allocate' && room > 0) {
    expect(process.syscall('fallocate', fd, 0, at, room)).toBe(0);
    if (at + room > size) plain.resize(at + room);
  } else if (what === 'keep' && room > 0) expect(process.syscall('fallocate', fd, 1, at, room)).toBe(0);
  else if (what === 'zero' && disk && room > 0) {
    expect(process.syscall('fallocate', fd, 16, at, room)).toBe(0);
    if (at + room > size) plain.resize(at + room);
    plain.bytes.fill(0, at, at + room);
  } else if (what === 'collapse' && disk) {
    const allowed = at % PAGE === 0 && length % PAGE === 0 && at + length < size;
    expect(process.syscall('fallocate', fd, 8, at, length)).toBe(allowed ? 0 : -22);
    if (allowed) {
      plain.bytes.copyWithin(at, at + length);
      plain.resize(size - length);
    }
  } else if (what === 'insert' && disk && size + length <= PAGES * PAGE) {
    const allowed = at % PAGE === 0 && length % PAGE === 0 && at < size;
    expect(process.syscall('fallocate', fd, 32, at, length)).toBe(allowed ? 0 : -22);
    if (allowed) {
      plain.resize(size + length);
      plain.bytes.copyWithin(at + length, at, size);
      plain.bytes.fill(0, at, at + length);
    }
  } else if (what === 'sync') expect(process.syscall('fsync', fd)).toBe(0);
  else if (what === 'drop') {
    // Unmapped and clean pages of a disk file leave memory; what is read again comes from its blocks.
    process.syscall('madvise', SHARED, PAGES * PAGE, 4);
    process.syscall('fsync', fd);
    expect(process.syscall('fadvise64', fd, 0, 0, 4)).toBe(0);
  } else if (what === 'private') {
    process.store(BigInt(PRIVATE + at), 1, BigInt(value));
    process.syscall('madvise', PRIVATE, PAGES * PAGE, 4);
  } else if (what === 'read') {
    const part = Math.min(length, BUFFER_BYTES);
    const expected = plain.bytes.subarray(at, at + part);
    expect(process.syscall('pread64', fd, BUFFER, part, at)).toBe(expected.length);
    same(process.read(BigInt(BUFFER), expected.length).bytes, expected);
  }
}

/** Equal bytes; the first that differs is told. */
function same(got: Uint8Array, expected: Uint8Array): void {
  expect(got.length).toBe(expected.length);
  const at = got.findIndex((byte, i) => byte !== expected[i]);
  if (at >= 0) expect.fail(`byte ${at} is ${got[at]}, not ${expected[at]}`);
}

/** The whole file, read in every way. */
function compare(process: Process, fd: number, plain: Plain): void {
  const size = plain.bytes.length;
  expect(process.syscall('lseek', fd, 0, 2)).toBe(size);
  const read = new Uint8Array(size);
  for (let at = 0; at < size; at += BUFFER_BYTES) {
    const got = process.syscall('pread64', fd, BUFFER, BUFFER_BYTES, at);
    read.set(process.read(BigInt(BUFFER), got).bytes, at);
  }
  same(read, plain.bytes);
  same(process.read(BigInt(SHARED), size).bytes, plain.bytes);
  same(process.read(BigInt(PRIVATE), size).bytes, plain.bytes);
  // Where lseek sees a hole there are zeros; the places that it names ascend and end at the size.
  for (let at = 0; at < size; ) {
    const data = process.syscall('lseek', fd, at, 3);
    const from = data < 0 ? size : data;
    expect(plain.bytes.subarray(at, from).every((byte) => byte === 0)).toBe(true);
    if (data < 0) break;
    const hole = process.syscall('lseek', fd, data, 4);
    expect(hole).toBeGreaterThan(data);
    at = hole;
  }
}

describe.each(['memfd', 'tmpfs', 'disk'])('content of a %s file', (kind) => {
  test('is what was written, by whatever way', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 25 }), (changes) => {
        const { machine, process } = start();
        machine.enter();
        const before = pagesInUse();
        const fd = create(process, kind);
        const plain = new Plain();
        process.syscall('mmap', SHARED, PAGES * PAGE, 3, 0x11, fd, 0);
        process.syscall('mmap', PRIVATE, PAGES * PAGE, 3, 0x12, fd, 0);
        for (const c of changes) {
          apply(process, fd, plain, kind === 'disk', c);
          machine.enter();
          expect(checkMachine({ leaks: true })).toEqual([]);
        }
        compare(process, fd, plain);
        process.syscall('munmap', SHARED, PAGES * PAGE);
        process.syscall('munmap', PRIVATE, PAGES * PAGE);
        process.syscall('close', fd);
        if (kind !== 'memfd') {
          process.write(BigInt(BUFFER), text(kind === 'tmpfs' ? '/dev/shm/pxd/f' : '/var/tmp/pxd/f'));
          expect(process.syscall('unlink', BUFFER)).toBe(0);
        }
        process.syscall('munmap', BUFFER, BUFFER_BYTES);
        machine.enter();
        const left = census();
        for (const name of ['file', 'inode', 'name', 'block', 'xaNode']) expect(left[name] ?? 0, name).toBe(0);
        expect(get(globals, Globals.committed)).toBe(0);
        expect(pagesInUse()).toBeLessThanOrEqual(before);
      }),
      {
        numRuns: 50,
        examples: [
          // A clean folio of two pages, of which one byte is zeroed.
          [
            [
              { what: 'write', at: 0, length: 8192, value: 1 },
              { what: 'sync', at: 0, length: 1, value: 1 },
              { what: 'zero', at: 0, length: 1, value: 1 },
            ],
          ],
          // A part of a page that is not in memory is zeroed.
          [
            [
              { what: 'write', at: 0, length: 4096, value: 1 },
              { what: 'drop', at: 0, length: 4096, value: 1 },
              { what: 'zero', at: 1, length: 4096, value: 1 },
            ],
          ],
        ],
      },
    );
  }, 120_000);
});

// --- processes that share files ---------------------------------------------------------------------------------------------

interface Step {
  readonly what: string;
  readonly process: number;
  readonly fd: number;
  readonly at: number;
  readonly pages: number;
  readonly pick: number;
  readonly fails: number;
}

const KINDS = ['memfd', 'tmpfs', 'disk'];
const MAPS = [0x11, 0x12, 0x11, 0x12, 0x2011, 0x8011, 0x8012];
const step = (fails: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.record({
    what: fc.constantFrom(
      'open',
      'open',
      'mmap',
      'mmap',
      'mmap',
      'touch',
      'touch',
      'read',
      'write',
      'truncate',
      'truncate',
      'fallocate',
      'munmap',
      'close',
      'dup',
      'fork',
      'exit',
      'unlink',
      'fsync',
      'seal',
      'pipe',
      'pipe-write',
      'pipe-read',
      'shm',
      'shmat',
      'shmdt',
      'shmrm',
      'anon',
      'advise',
    ),
    process: fc.nat(3),
    fd: fc.nat(5),
    at: fc.nat(12),
    pages: fc.integer({ min: 1, max: 6 }),
    pick: fc.nat(999),
    fails,
  });

/** Descriptors 0 to 2: a memfd, a tmpfs and a disk file of some pages; 3 and 4: a pipe; segments 0 and 1. */
function openAll(process: Process): void {
  for (const kind of KINDS) {
    process.write(BigInt(BUFFER), text(kind === 'memfd' ? 'm' : kind === 'tmpfs' ? '/dev/shm/pxd/a' : '/var/tmp/pxd/b'));
    const fd = kind === 'memfd' ? process.syscall('memfd_create', BUFFER, 2) : process.syscall('open', BUFFER, 0o102, 0o600);
    process.syscall('ftruncate', fd, 5 * PAGE + 100);
    process.syscall('pwrite64', fd, BUFFER, 2 * PAGE, PAGE);
  }
  process.syscall('pipe2', BUFFER + 2 * PAGE, 0o4000);
  for (let i = 0; i < 2; i++) process.syscall('shmget', 0, 3 * PAGE, 0o1600);
}

/** Plays steps; every result. */
function play(machine: Machine, steps: readonly Step[], look: () => void): number[] {
  const results: number[] = [];
  openAll(machine.processes[0]);
  for (const s of steps) {
    const living = machine.processes;
    const p = living[s.process % living.length];
    const address = SHARED + s.at * PAGE;
    const length = s.pages * PAGE;
    const kind = KINDS[s.pick % 3];
    p.write(BigInt(BUFFER), text(kind === 'memfd' ? 'm' : kind === 'tmpfs' ? '/dev/shm/pxd/a' : '/var/tmp/pxd/b'));
    machine.enter();
    set(globals, Globals.failAllocation, s.fails);
    let result = 0;
    if (s.what === 'open') result = kind === 'memfd' ? p.syscall('memfd_create', BUFFER, 2) : p.syscall('open', BUFFER, 0o102, 0o600);
    else if (s.what === 'mmap') result = p.syscall('mmap', address, length, s.pick % 4 === 0 ? 1 : 3, MAPS[s.pick % MAPS.length], s.fd, (s.pick % 5) * PAGE);
    else if (s.what === 'anon') result = p.syscall('mmap', address, length, 3, 0x31, -1, 0);
    else if (s.what === 'touch') for (let i = 0; i < s.pages; i++) result += p.store(BigInt(address + i * PAGE), 1, BigInt(s.pick & 255)) === undefined ? 1 : 0;
    else if (s.what === 'read') result = p.syscall('pread64', s.fd, s.pick % 2 === 0 ? BUFFER + PAGE : address, length, s.at * 1000);
    else if (s.what === 'write') result = p.syscall('pwrite64', s.fd, s.pick % 2 === 0 ? BUFFER + PAGE : address, length, s.at * 1000);
    else if (s.what === 'truncate') result = p.syscall('ftruncate', s.fd, s.at * 1500 + (s.pick % 3) * PAGE);
    else if (s.what === 'fallocate') result = p.syscall('fallocate', s.fd, [0, 1, 3, 3, 16, 8, 32][s.pick % 7], s.at * PAGE + (s.pick % 2) * 77, length);
    else if (s.what === 'munmap') result = p.syscall('munmap', address, length);
    else if (s.what === 'close') result = p.syscall('close', s.fd);
    else if (s.what === 'dup') result = p.syscall('dup', s.fd);
    else if (s.what === 'unlink') result = p.syscall('unlink', BUFFER);
    else if (s.what === 'fsync') result = p.syscall('fsync', s.fd);
    else if (s.what === 'seal') result = p.syscall('fcntl', s.fd, 1033, [2, 4, 8, 16, 1, 32][s.pick % 6]);
    else if (s.what === 'pipe') result = p.syscall('pipe2', BUFFER + 2 * PAGE, 0o4000);
    else if (s.what === 'pipe-write') result = p.syscall('write', s.fd, s.pick % 3 === 0 ? address : BUFFER, length - s.pick);
    else if (s.what === 'pipe-read') result = p.syscall('read', s.fd, s.pick % 3 === 0 ? address : BUFFER, length - s.pick);
    else if (s.what === 'shm') result = p.syscall('shmget', 0, length + s.pick, 0o1600);
    else if (s.what === 'shmat') result = p.syscall('shmat', s.pick % 3, address, s.pick % 2 === 0 ? 0 : 0o40000);
    else if (s.what === 'shmdt') result = p.syscall('shmdt', address);
    else if (s.what === 'shmrm') result = p.syscall('shmctl', s.pick % 3, 0, 0);
    else if (s.what === 'advise') result = p.syscall('madvise', address, length, [3, 4, 9, 20, 21, 22, 23][s.pick % 7]);
    else if (s.what === 'exit') {
      if (living.length > 1) p.exit();
    } else if (living.length < 3) {
      machine.enter();
      result = machine.kernel.sysFork(p.ref) > 0 ? 1 : 0;
    }
    machine.enter();
    set(globals, Globals.failAllocation, 0);
    results.push(result);
    look();
  }
  return results;
}

/** Closes and removes everything. */
function endAll(machine: Machine): void {
  const [first, ...others] = machine.processes;
  for (const p of others) p.exit();
  for (const path of ['/dev/shm/pxd/a', '/var/tmp/pxd/b']) {
    first.write(BigInt(BUFFER), text(path));
    first.syscall('unlink', BUFFER);
  }
  for (let id = 0; id < 64; id++) first.syscall('shmctl', id, 0, 0);
  first.exit();
  machine.enter();
  const left = census();
  for (const name of objects) expect(left[name] ?? 0, name).toBe(0);
  expect(get(globals, Globals.committed)).toBe(0);
}

describe('processes that share files', () => {
  test('leave a sound machine after every step, and nothing at the end', () => {
    fc.assert(
      fc.property(fc.array(step(fc.constant(0)), { minLength: 20, maxLength: 80 }), (steps) => {
        const { machine } = start();
        machine.enter();
        const before = pagesInUse();
        play(machine, steps, () => expect(checkMachine({ leaks: true })).toEqual([]));
        endAll(machine);
        expect(pagesInUse()).toBeLessThan(before);
      }),
      { numRuns: 50 },
    );
  }, 120_000);

  test('survive allocations that fail', () => {
    fc.assert(
      fc.property(fc.array(step(fc.integer({ min: 0, max: 9 })), { minLength: 20, maxLength: 80 }), (steps) => {
        const { machine } = start();
        play(machine, steps, () => expect(checkMachine({ leaks: true })).toEqual([]));
        endAll(machine);
      }),
      { numRuns: 60 },
    );
  }, 120_000);

  test('do the same in the three programs, byte for byte', () => {
    fc.assert(
      fc.property(fc.array(step(fc.integer({ min: 0, max: 20 })), { minLength: 20, maxLength: 60 }), (steps) => {
        const run = (program: 'direct' | 'native' | 'step'): { results: number[]; bytes: Float64Array } => {
          const { machine } = start({ program });
          const results = play(machine, steps, () => undefined);
          machine.enter();
          return { results, bytes: heap.slice(0, heap[SLOT_TOP]) };
        };
        const direct = run('direct');
        const native = run('native');
        expect(native.results).toEqual(direct.results);
        expect(native.bytes).toEqual(direct.bytes);
        const stepped = run('step');
        expect(stepped.results).toEqual(direct.results);
        expect(stepped.bytes).toEqual(direct.bytes);
      }),
      { numRuns: 15 },
    );
  }, 120_000);
});
