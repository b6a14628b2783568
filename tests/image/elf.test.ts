import { describe, expect, it } from 'vitest';
import { MemoryBytes } from '../../src/image/bytes.ts';
import { openElf } from '../../src/image/elf.ts';
import type { Image } from '../../src/image/image.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { type ElfInput, expectBytes, makeElf, PAGE, pageOf, prstatus } from './make.ts';

const open = (input: ElfInput): Image => openElf(new MemoryBytes(makeElf(input)));
const bytesOf = (words: Uint32Array | undefined): Uint8Array | undefined => words && new Uint8Array(words.buffer, words.byteOffset, PAGE);
const text = (s: string): Uint8Array => new TextEncoder().encode(s);

describe('ELF cores', () => {
  it.each([
    [64, true],
    [64, false],
    [32, true],
    [32, false],
  ] as const)('of %i bits, little-endian %s', (bits, little) => {
    const image = open({
      bits,
      little,
      machine: little ? 3 : 20,
      segments: [
        { paddr: 0x3000, bytes: pageOf(1, 2 * PAGE) },
        { paddr: 0x10000, bytes: pageOf(2) },
      ],
    });
    expect(image).toMatchObject({ bits, endian: little ? 'little' : 'big', elfMachine: little ? 3 : 20, format: 'ELF core' });
    expect(image.segments).toEqual([
      { start: 3, frames: 2 },
      { start: 16, frames: 1 },
    ]);
    expect([...image.frames()]).toEqual([3, 4, 16]);
    expectBytes(bytesOf(image.frame(4)), pageOf(1, 2 * PAGE).subarray(PAGE));
    expectBytes(bytesOf(image.frame(16)), pageOf(2));
    expect(image.frame(5)).toBeUndefined();
    expect(image.has(5)).toBe(false);
    expect(image.frame(16)).toBe(image.frame(16));
  });

  it('reads words as little-endian, whatever the machine', () => {
    const bytes = new Uint8Array(PAGE);
    bytes.set([0x78, 0x56, 0x34, 0x12]);
    expect(open({ little: false, segments: [{ paddr: 0, bytes }] }).frame(0)?.[0]).toBe(0x12345678);
  });

  it('takes no copy of frames that lie aligned in memory', () => {
    const file = makeElf({ segments: [{ paddr: 0, bytes: pageOf(1) }], align: PAGE });
    expect(openElf(new MemoryBytes(file)).frame(0)?.buffer).toBe(file.buffer);
  });

  it('puts frames together from unaligned segments that meet, and leaves out the ones that are not whole', () => {
    const whole = pageOf(7, 4 * PAGE);
    const image = open({
      segments: [
        { paddr: 0x1800, bytes: whole.subarray(0, 0x1000) },
        { paddr: 0x2800, bytes: whole.subarray(0x1000, 0x1900) },
      ],
    });
    expect([...image.frames()]).toEqual([2]);
    expect(image.segments).toEqual([{ start: 2, frames: 1 }]);
    expectBytes(bytesOf(image.frame(2)), whole.subarray(0x800, 0x1800));
    expect(image.frame(1)).toBeUndefined();
    expectBytes(image.readBytes(0x1800, 0x1900), whole.subarray(0, 0x1900));
    expect(image.readBytes(0x1800n, 0x1901)).toBeUndefined();
    expect(image.readBytes(0x17ff, 1)).toBeUndefined();
  });

  it('takes the first of overlapping segments', () => {
    const image = open({
      segments: [
        { paddr: 0x1000, bytes: pageOf(1) },
        { paddr: 0, bytes: pageOf(2, 3 * PAGE) },
      ],
    });
    expectBytes(bytesOf(image.frame(1)), pageOf(1));
    expectBytes(bytesOf(image.frame(2)), pageOf(2, 3 * PAGE).subarray(2 * PAGE));
  });

  it('fills with zeros what memory has beyond the data, without counting it among the stored frames', () => {
    const image = open({
      segments: [
        { paddr: 0x1000, bytes: pageOf(1).subarray(0, 100), memsz: 0x3000 },
        { paddr: 0x3000, bytes: pageOf(3) },
        { paddr: 2 ** 40, bytes: new Uint8Array(0), memsz: 2 ** 50 },
      ],
    });
    expectBytes(bytesOf(image.frame(1))?.subarray(0, 101), Uint8Array.from([...pageOf(1).subarray(0, 100), 0]));
    expect(image.frame(2)?.every((w) => w === 0)).toBe(true);
    expectBytes(bytesOf(image.frame(3)), pageOf(3));
    expect(image.has(2 ** 28 + 12345)).toBe(true);
    expect([...image.frames()]).toEqual([1, 3]);
  });

  it('takes the number of segments from the section header when there are many', () => {
    const segments = Array.from({ length: 300 }, (_, i) => ({ paddr: i * 0x2000, bytes: pageOf(i) }));
    const image = open({ segments, extended: true });
    expect(image.segments.length).toBe(300);
    expectBytes(bytesOf(image.frame(598)), pageOf(299));
  });

  it('leaves out segments without a physical address', () => {
    const image = open({
      segments: [
        { paddr: 2n ** 64n - 1n, vaddr: 0xffffc90000000000n, bytes: pageOf(1) },
        { paddr: 0x5000, bytes: pageOf(5) },
      ],
    });
    expect(image.segments).toEqual([{ start: 5, frames: 1 }]);
  });

  it('reads notes: registers, VMCOREINFO, and those it does not know', () => {
    const names = 27;
    const image = open({
      segments: [{ paddr: 0, bytes: pageOf(0) }],
      notes: [
        prstatus(
          42,
          Array.from({ length: names }, (_, i) => BigInt(i) + 2n ** 63n),
        ),
        prstatus(
          43,
          Array.from({ length: names }, (_, i) => BigInt(i)),
        ),
        { name: 'QEMU', type: 0, data: qemuNote(0x1000n) },
        { name: 'QEMU', type: 0, data: qemuNote(0x2000n) },
        { name: 'VMCOREINFO', type: 0, data: text('OSRELEASE=6.1.0-test\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff82a0a000\nOSRELEASE=second\n') },
        { name: 'OTHER', type: 7, data: Uint8Array.from([1, 2, 3]) },
      ],
    });
    expect(image.notes.cpus.map((c) => [c.cpu, c.pid, c.registers.cr3, c.registers.rip])).toEqual([
      [0, 42, 0x1000n, 16n],
      [1, 43, 0x2000n, 16n],
    ]);
    expect(image.notes.cpus[0].registers.r15).toBe(16n - 1n);
    expect(image.notes.cpus[0].registers.orig_rax).toBe(15n + 2n ** 63n);
    expect(image.vmcoreinfo?.get('SYMBOL(swapper_pg_dir)')).toBe('ffffffff82a0a000');
    expect(image.kernelRelease).toBe('6.1.0-test');
    expect(image.vmcoreinfoText).toContain('PAGESIZE=4096\n');
    expect(image.notes.all[5]).toEqual({ name: 'OTHER', type: 7, data: Uint8Array.from([1, 2, 3]) });
  });

  it('reads the control registers of s390', () => {
    const ctrs = new Uint8Array(128);
    new DataView(ctrs.buffer).setBigUint64(8, 0x1234n);
    const notes = [
      prstatus(
        1,
        Array.from({ length: 27 }, () => 5n),
        false,
      ),
      { name: 'LINUX', type: 0x304, data: ctrs },
    ];
    const { registers } = open({ little: false, machine: 22, segments: [{ paddr: 0, bytes: pageOf(0) }], notes }).notes.cpus[0];
    expect([registers.cr1, registers.pswm, registers.r15]).toEqual([0x1234n, 5n, 5n]);
  });

  it('describes itself', () => {
    const image = open({ segments: [{ paddr: 0x3000, bytes: pageOf(1, 2 * PAGE) }] });
    expect(image.description()).toEqual(['ELF core, 64-bit little-endian', '8 KiB of memory in 1 segment, physical 0x3000 to 0x5000', 'x86-64']);
  });

  it.each<[string, ElfInput, RegExp]>([
    [
      'a core of a process',
      {
        segments: [
          { paddr: 0, vaddr: 0x400000, bytes: pageOf(1) },
          { paddr: 0, vaddr: 0x600000, bytes: pageOf(2) },
        ],
      },
      /virtual memory of a process/,
    ],
    [
      'a core of a process with one segment',
      { segments: [{ paddr: 0, vaddr: 0x400000, bytes: pageOf(1) }], notes: [{ name: 'CORE', type: 6, data: new Uint8Array(16) }] },
      /virtual memory of a process/,
    ],
    ['a program', { type: 2, segments: [{ paddr: 0x1000, bytes: pageOf(1) }] }, /type 2, expected 4/],
    ['no segment', { segments: [] }, /no segment with memory/],
    ['only virtual segments', { segments: [{ paddr: 2n ** 64n - 1n, bytes: pageOf(1) }] }, /no segment of the ELF core has a physical address/],
    [
      'data beyond the end',
      { segments: [{ paddr: 0x1000, bytes: pageOf(1), offset: 0x100000 }] },
      /ends too early: memory 0x1000 to 0x2000 should lie at offset 0x100000/,
    ],
    ['an offset beyond counting', { segments: [{ paddr: 0x1000, bytes: pageOf(1), offset: 2n ** 60n }] }, /p_offset 0x1000000000000000/],
    ['a size that overflows', { segments: [{ paddr: 2n ** 52n, bytes: pageOf(1), memsz: 2n ** 53n - 1n }] }, /beyond any memory/],
    ['an address beyond counting', { segments: [{ paddr: 2n ** 63n, bytes: pageOf(1) }] }, /beyond any memory/],
    [
      'the same bytes as memory a hundred times',
      {
        segments: Array.from({ length: 100 }, (_, i) => ({
          paddr: i * 2 ** 20,
          bytes: i === 0 ? pageOf(1, 2 ** 18) : new Uint8Array(0),
          offset: 5700,
          filesz: 2 ** 18,
          memsz: 2 ** 18,
        })),
      },
      /cannot hold/,
    ],
  ])('refuses %s', (_, input, message) => {
    expect(() => open(input)).toThrow(PxdError);
    expect(() => open(input)).toThrow(message);
  });

  it.each<[string, (file: DataView) => void, RegExp]>([
    ['a class', (f) => f.setUint8(4, 3), /class 3/],
    ['a byte order', (f) => f.setUint8(5, 0), /byte order 0/],
    ['a size of program headers', (f) => f.setUint16(54, 57, true), /57 bytes, expected 56/],
    ['a number of program headers', (f) => f.setUint16(56, 0x7fff, true), /ends too early/],
    ['an extended number without sections', (f) => f.setUint16(56, 0xffff, true), /./],
    ['an offset of program headers', (f) => f.setBigUint64(32, 2n ** 62n, true), /e_phoff/],
    ['a note longer than its segment', (f) => f.setUint32(64 + 2 * 56 + 4, 0xffffffff, true), /note at offset .* claims/],
    ['a note segment beyond the end', (f) => f.setBigUint64(64 + 32, 0x1000000n, true), /ends too early/],
    ['a note segment without measure', (f) => f.setBigUint64(64 + 32, 2n ** 40n, true), /notes take more/],
  ])('refuses %s that is wrong', (_, damage, message) => {
    const file = makeElf({ segments: [{ paddr: 0x1000, bytes: pageOf(1) }], notes: [{ name: 'X', type: 1, data: new Uint8Array(8) }] });
    damage(new DataView(file.buffer));
    expect(() => openElf(new MemoryBytes(file))).toThrow(PxdError);
    expect(() => openElf(new MemoryBytes(file))).toThrow(message);
  });
});

/** QEMU's note: version 1, and registers that are their own index minus one. */
function qemuNote(cr3: bigint): Uint8Array {
  const data = new Uint8Array(440);
  const view = new DataView(data.buffer);
  view.setUint32(0, 1, true);
  view.setUint32(4, 440, true);
  for (let i = 0; i < 18; i++) view.setBigUint64(8 + 8 * i, BigInt(i), true);
  view.setBigUint64(392 + 24, cr3, true);
  return data;
}
