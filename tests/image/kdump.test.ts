import { describe, expect, it } from 'vitest';
import { MemoryBytes } from '../../src/image/bytes.ts';
import type { Image } from '../../src/image/image.ts';
import { nodeCodecs } from '../../src/image/node/codecs.ts';
import { openSource } from '../../src/image/open.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { expectBytes, type KdumpInput, type Method, makeElf, makeFlattened, makeKdump, PAGE, pageOf, prstatus } from './make.ts';

const open = (file: Uint8Array): Promise<Image> => openSource(new MemoryBytes(file), { codecs: nodeCodecs });
const bytesOf = (words: Uint32Array | undefined): Uint8Array | undefined => words && new Uint8Array(words.buffer, words.byteOffset, PAGE);
const pages = (...numbers: number[]): Map<number, Uint8Array> => new Map(numbers.map((n) => [n, pageOf(n)]));

/** Every page as the input has it, and no other. */
async function expectPages(file: Uint8Array, input: KdumpInput): Promise<Image> {
  const image = await open(file);
  const { blockSize = PAGE } = input;
  const per = blockSize / PAGE;
  expect([...image.frames()]).toEqual([...input.pages.keys()].sort((a, b) => a - b).flatMap((n) => Array.from({ length: per }, (_, i) => n * per + i)));
  for (const [number, bytes] of input.pages) {
    for (let i = 0; i < per; i++) {
      expect(image.has(number * per + i)).toBe(true);
      expectBytes(bytesOf(image.frame(number * per + i)), bytes.subarray(i * PAGE, (i + 1) * PAGE));
    }
    expectBytes(image.readBytes(number * blockSize + 10, 100), bytes.subarray(10, 110));
  }
  return image;
}

describe('kdump', () => {
  const numbers = [0, 1, 2, 9, 4095, 4096, 40000, 70001];

  it.each<Method>(['none', 'zlib', 'lzo', 'snappy', 'zstd'])('pages compressed with %s', async (method) => {
    const input = {
      pages: pages(...numbers),
      method,
      vmcoreinfo: 'OSRELEASE=6.1.0-x\nPAGESIZE=4096\n',
      notes: [
        prstatus(
          9,
          Array.from({ length: 27 }, () => 1n),
        ),
      ],
    };
    const image = await expectPages(makeKdump(input), input);
    expect(image).toMatchObject({ format: 'kdump', elfMachine: 62, endian: 'little', bits: 64, kernelRelease: '6.1.0-x' });
    expect(image.vmcoreinfo?.get('PAGESIZE')).toBe('4096');
    expect(image.notes.cpus[0].pid).toBe(9);
    expect(image.segments[0]).toEqual({ start: 0, frames: 3 });
    expect(image.frame(3)).toBeUndefined();
    expect(image.frame(70002)).toBeUndefined();
    expect(image.frame(2 ** 40)).toBeUndefined();
    expect(image.readBytes(2 * PAGE + 4000, 200)).toBeUndefined();
    expect(image.readBytes(PAGE + 4000, 200)?.length).toBe(200);
  });

  it.each<[string, Partial<KdumpInput>]>([
    ['big-endian', { little: false, machine: 's390x' }],
    ['32-bit, 64-bit fields packed', { form: '32-packed', machine: 'i686' }],
    ['32-bit, 64-bit fields aligned', { form: '32-natural', machine: 'mips' }],
    ['32-bit big-endian', { form: '32-natural', little: false, machine: 'ppc' }],
    ['version 5', { version: 5 }],
    ['version 2, without VMCOREINFO', { version: 2 }],
    ['version 1, 32-bit', { version: 1, form: '32-packed' }],
    ['one bitmap', { single: true }],
    ['a count of pages that looks like a page size', { form: '32-packed', maxPages: 65536 }],
  ])('layout: %s', async (_, options) => {
    const input = { pages: pages(...numbers.filter((n) => n < (options.maxPages ?? 1e9))), vmcoreinfo: 'OSRELEASE=6.1.0-x\n', ...options };
    const image = await expectPages(makeKdump(input), input);
    expect(image.bits).toBe(options.form ? 32 : 64);
    expect(image.endian).toBe(options.little === false ? 'big' : 'little');
    expect(image.kernelRelease).toBe((options.version ?? 6) >= 3 ? '6.1.0-x' : '6.1.0-test');
  });

  it.each([16384, 65536])('pages of %i bytes', async (blockSize) => {
    const input = { pages: new Map([3, 4, 100].map((n) => [n, pageOf(n, blockSize)])), blockSize, machine: 'aarch64' };
    const image = await expectPages(makeKdump(input), input);
    expect(image.elfMachine).toBe(183);
  });

  it('pages counted from the beginning of RAM (arm)', async () => {
    const base = 0x60000;
    const input: KdumpInput = { pages: pages(base, base + 7, base + 900), form: '32-natural', machine: 'armv7l', physBase: base * PAGE, firstPage: base };
    await expectPages(makeKdump(input), input);
    const absolute: KdumpInput = { ...input, form: '32-packed', firstPage: 0 };
    await expectPages(makeKdump(absolute), absolute);
  });

  it('does not mind a large and empty address space', async () => {
    const input = { pages: pages(5, 2 ** 31), maxPages: 2 ** 31 + 1 };
    const file = makeKdump({ pages: pages(5), maxPages: 100 });
    expect(file.length).toBeLessThan(40000);
    // Written flattened, so that the bitmap's holes take no room here either.
    const whole = sparse(input);
    const image = await open(whole);
    expect([...image.frames()]).toEqual([5, 2 ** 31]);
    expectBytes(bytesOf(image.frame(2 ** 31)), pageOf(2 ** 31));
  });

  describe('flattened', () => {
    const input = { pages: pages(...numbers), vmcoreinfo: 'OSRELEASE=6.1.0-x\n' };
    const plain = makeKdump(input);
    const parts = (size: number): [number, Uint8Array][] =>
      Array.from({ length: Math.ceil(plain.length / size) }, (_, i) => [i * size, plain.subarray(i * size, (i + 1) * size)]);

    it.each([100, 4096, 1_000_000])('in records of %i bytes', async (size) => {
      const image = await expectPages(makeFlattened(parts(size)), input);
      expect(image.layers).toEqual(['flattened form']);
    });

    it('in any order', async () => {
      await expectPages(makeFlattened(parts(1000).reverse()), input);
    });

    it('later records count', async () => {
      const wrong = Uint8Array.from({ length: 5000 }, () => 0xee);
      await expectPages(makeFlattened([[0, wrong], [3000, wrong], ...parts(777)]), input);
    });

    it('holds ELF as well', async () => {
      const elf = makeElf({ segments: [{ paddr: 0x1000, bytes: pageOf(1) }] });
      const image = await open(
        makeFlattened([
          [0, elf.subarray(0, 500)],
          [500, elf.subarray(500)],
        ]),
      );
      expectBytes(bytesOf(image.frame(1)), pageOf(1));
    });

    it.each<[string, Uint8Array, RegExp]>([
      ['without an end mark', makeFlattened(parts(4096), false), /without its end mark/],
      ['that was cut', makeFlattened(parts(4096)).subarray(0, 9000), /ends too early/],
      ['with a negative offset', makeFlattened([[-5, new Uint8Array(1)]] as unknown as [number, Uint8Array][]), /an offset/],
      ['that is empty inside', makeFlattened([]), /is empty once/],
      ['that holds itself', makeFlattened([[0, makeFlattened([[0, makeFlattened([[0, makeFlattened([[0, plain]])]])]])]]), /packed more than 3 times/],
    ])('refuses one %s', async (_, file, message) => {
      await expect(open(file)).rejects.toThrow(PxdError);
      await expect(open(file)).rejects.toThrow(message);
    });
  });

  it('says that a split dump is one', async () => {
    await expect(open(makeKdump({ pages: pages(1, 2), split: true }))).rejects.toThrow(/one file of a split dump \(pages 0x0 to 0x3\).*--reassemble/);
  });

  it.each<[string, (view: DataView) => unknown, RegExp]>([
    ['version', (v) => v.setUint32(8, 7, true), /version 7/],
    ['page size', (v) => v.setUint32(428, 5000, true), /no page size/],
    ['sub header', (v) => v.setUint32(432, 0xffffffff, true), /sub header of 4294967295 blocks/],
    ['number of pages', (v) => v.setBigUint64(PAGE + 96, 2n ** 40n, true), /too few for|counts/],
    ['number of pages, both', (v) => [v.setBigUint64(PAGE + 96, 2n ** 40n, true), v.setUint32(440, 0, true)], /too few for 1099511627776 pages/],
    ['bitmap', (v) => v.setUint32(436, 0xfffffff0, true), /bitmaps should end/],
    ['VMCOREINFO', (v) => v.setBigUint64(PAGE + 32, 2n ** 50n, true), /VMCOREINFO should lie at/],
    ['notes', (v) => v.setBigUint64(PAGE + 56, 2n ** 62n, true), /size of notes/],
  ])('refuses a wrong %s', async (_, damage, message) => {
    const file = makeKdump({ pages: pages(1, 2, 3), vmcoreinfo: 'A=1\n', notes: [{ name: 'X', type: 1, data: new Uint8Array(4) }] });
    damage(new DataView(file.buffer));
    await expect(open(file)).rejects.toThrow(PxdError);
    await expect(open(file)).rejects.toThrow(message);
  });

  describe('a damaged page', () => {
    const descriptors = 4 * PAGE;
    const damaged = async (method: Method, damage: (view: DataView) => void): Promise<Image> => {
      const file = makeKdump({ pages: pages(1, 2, 3), method });
      damage(new DataView(file.buffer));
      return open(file);
    };

    it.each<[string, Method, (view: DataView) => void, RegExp]>([
      ['is larger than a page', 'zlib', (v) => v.setUint32(descriptors + 8, 5000, true), /5000 bytes in the file, more than a page/],
      ['lies beyond the end', 'zlib', (v) => v.setBigUint64(descriptors, 2n ** 40n, true), /ends too early/],
      ['lies nowhere', 'zlib', (v) => v.setBigUint64(descriptors, 2n ** 63n, true), /an offset/],
      ['is not compressed but short', 'zlib', (v) => v.setUint32(descriptors + 12, 0, true), /expected 4096/],
      ['is said to be lzo', 'zlib', (v) => v.setUint32(descriptors + 12, 2, true), /does not decompress|expected 4096/],
      ['is said to be zstd', 'zlib', (v) => v.setUint32(descriptors + 12, 0x20, true), /no decoder|does not decompress/],
      ['is said to be snappy', 'zlib', (v) => v.setUint32(descriptors + 12, 4, true), /does not decompress|expected 4096/],
      ['is said to be zlib', 'zstd', (v) => v.setUint32(descriptors + 12, 1, true), /does not decompress/],
    ])('%s', async (_, method, damage, message) => {
      const image = await damaged(method, damage);
      expect(() => image.frame(1)).toThrow(PxdError);
      expect(() => image.frame(1)).toThrow(message);
      expectBytes(bytesOf(image.frame(2)), pageOf(2));
    });
  });

  it('says which decoder is missing', async () => {
    const image = await openSource(new MemoryBytes(makeKdump({ pages: pages(1) })), { codecs: {} });
    expect(() => image.frame(1)).toThrow(/compressed with zlib, for which there is no decoder/);
  });

  it('never makes a page of more than its size', async () => {
    // A page that claims to be one but decompresses to sixteen.
    for (const method of ['zlib', 'lzo', 'snappy', 'zstd'] as const) {
      const file = makeKdump({ pages: new Map([[1, pageOf(1, 16 * PAGE)]]), method });
      const image = await open(file);
      expect(() => image.frame(1)).toThrow(/does not decompress|more than a page/);
    }
  });
});

/** A dump over a large address space, in flattened records for the parts that are not zero. */
function sparse(input: { pages: Map<number, Uint8Array>; maxPages: number }): Uint8Array {
  const bitmapBlocks = Math.ceil(input.maxPages / 8 / PAGE);
  const small = makeKdump({ pages: new Map([...input.pages].map(([, bytes], i) => [i, bytes])), maxPages: 2 });
  const view = new DataView(small.buffer);
  view.setUint32(436, 2 * bitmapBlocks, true);
  view.setUint32(440, input.maxPages % 2 ** 32, true);
  view.setBigUint64(PAGE + 96, BigInt(input.maxPages), true);
  const shift = 2 * bitmapBlocks * PAGE - 2 * PAGE;
  const table = small.slice(4 * PAGE);
  const entries = new DataView(table.buffer);
  for (let i = 0; i < input.pages.size; i++) entries.setBigUint64(24 * i, entries.getBigUint64(24 * i, true) + BigInt(shift), true);
  const bit = (page: number): [number, Uint8Array] => [2 * PAGE + bitmapBlocks * PAGE + Math.floor(page / 8), Uint8Array.from([1 << (page % 8)])];
  return makeFlattened([[0, small.subarray(0, 2 * PAGE)], ...[...input.pages.keys()].map(bit), [4 * PAGE + shift, table]]);
}
