import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryBytes } from '../../src/image/bytes.ts';
import { type CaptureInput, parseCaptureMeta, writeCapture } from '../../src/image/capture.ts';
import { openElf } from '../../src/image/elf.ts';
import type { RootEntry } from '../../src/image/roots.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { concat, expectBytes, PAGE, pageOf } from './make.ts';

const bytesOf = (words: Uint32Array | undefined): Uint8Array | undefined => words && new Uint8Array(words.buffer, words.byteOffset, PAGE);
const reopen = (input: CaptureInput) => openElf(new MemoryBytes(concat(writeCapture(input))));

describe('captures', () => {
  it('come back with frames, registers and all that was said', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.oneof(fc.nat(20), fc.nat(2 ** 30), fc.constant(2 ** 40))),
        fc.constantFrom('little' as const, 'big' as const),
        fc.bigInt(0n, 2n ** 64n - 1n),
        (frames, endian, value) => {
          fc.pre(frames.length > 0);
          const roots: RootEntry[] = [
            { pid: 0, comm: 'kernel', mode: 'kernel', registers: { ttbr1: value }, how: 'by scan' },
            { pid: 79, comm: 'a "b"', mode: 'user', pc: value, registers: { cr3: 1n, cr4: value } },
          ];
          const meta = { mode: 'x86-4level', kernel: '6.1.0-test', roots, extra: { note: 'für später' } };
          const image = reopen({
            elfMachine: 62,
            endian,
            frames: frames.map((frame) => ({ frame, bytes: pageOf(frame) })),
            meta,
            vmcoreinfo: 'PAGESIZE=4096\n',
          });
          expect(image).toMatchObject({
            format: 'pxd capture',
            elfMachine: 62,
            endian,
            bits: 64,
            capture: meta,
            kernelRelease: '6.1.0-test',
            vmcoreinfoText: 'PAGESIZE=4096\n',
          });
          expect([...image.frames()]).toEqual([...frames].sort((a, b) => a - b));
          for (const frame of frames) expectBytes(bytesOf(image.frame(frame)), pageOf(frame));
        },
      ),
      { numRuns: 50 },
    );
  });

  it('may have more segments than a header can count', () => {
    const bytes = pageOf(1);
    const image = reopen({
      elfMachine: 183,
      endian: 'little',
      frames: Array.from({ length: 70_000 }, (_, i) => ({ frame: 2 * i, bytes })),
      meta: { roots: [] },
    });
    expect(image.segments.length).toBe(70_000);
    expectBytes(bytesOf(image.frame(139_998)), bytes);
  });

  it('joins adjacent frames, and is the same for any order of its input', () => {
    const frames = [5, 3, 4, 9].map((frame) => ({ frame, bytes: pageOf(frame) }));
    const input = { elfMachine: 8, endian: 'little' as const, meta: { roots: [] } };
    expect(reopen({ ...input, frames }).segments).toEqual([
      { start: 3, frames: 3 },
      { start: 9, frames: 1 },
    ]);
    expectBytes(concat(writeCapture({ ...input, frames })), concat(writeCapture({ ...input, frames: frames.toReversed() })));
  });

  it.each<[string, { frame: number; bytes: Uint8Array }[], RegExp]>([
    ['a frame of a wrong size', [{ frame: 1, bytes: new Uint8Array(100) }], /frame 0x1 of a capture has 100 bytes/],
    ['a frame twice', [1, 1].map((frame) => ({ frame, bytes: pageOf(1) })), /frame 0x1 is twice/],
    ['no frame number', [{ frame: -1, bytes: pageOf(1) }], /frame -1/],
  ])('are not written with %s', (_, frames, message) => {
    const write = () => writeCapture({ elfMachine: 62, endian: 'little', frames, meta: { roots: [] } });
    expect(write).toThrow(PxdError);
    expect(write).toThrow(message);
  });

  it.each([
    ['{', /not JSON/],
    ['[]', /holds a list/],
    ['{"schema":2}', /schema 2, expected 1/],
    ['{"schema":1,"mode":3}', /mode 3/],
    ['{"schema":1,"kernel":{}}', /kernel \{\}/],
    ['{"schema":1,"roots":[{"pid":1,"root":{"cr3":-1}}]}', /roots, entry 1, cr3 is -1/],
  ])('whose note is %s are refused', (text, message) => {
    const parse = () => parseCaptureMeta(new TextEncoder().encode(text));
    expect(parse).toThrow(PxdError);
    expect(parse).toThrow(message);
  });
});
