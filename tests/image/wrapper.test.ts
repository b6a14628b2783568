import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { MemoryBytes } from '../../src/image/bytes.ts';
import { ChunkedBytes } from '../../src/image/chunks.ts';
import type { Image } from '../../src/image/image.ts';
import { nodeCodecs } from '../../src/image/node/codecs.ts';
import { openSource } from '../../src/image/open.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { concat, expectBytes, makeElf, makeLime, PAGE, pageOf, zstdFrame, zstdSkippable } from './make.ts';

const open = (file: Uint8Array, limits?: { size: number; stored: number }): Promise<Image> => openSource(new MemoryBytes(file), { codecs: nodeCodecs, limits });
const bytesOf = (words: Uint32Array | undefined): Uint8Array | undefined => words && new Uint8Array(words.buffer, words.byteOffset, PAGE);

const noise = (bytes: number): Uint8Array => {
  const out = new Uint8Array(bytes);
  let x = 1;
  for (let i = 0; i < bytes; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
};

describe('packed images', () => {
  const elf = makeElf({ segments: [{ paddr: 0x1000, bytes: pageOf(1, 300 * PAGE) }], align: PAGE });
  const half = elf.length >> 1;
  const [a, b] = [elf.subarray(0, half), elf.subarray(half)];

  it.each<[string, Uint8Array, string[]]>([
    ['gzip', gzipSync(elf), ['gzip']],
    ['gzip in two members', concat([gzipSync(a), gzipSync(b)]), ['gzip']],
    ['zstd', zstdFrame(elf), ['zstd']],
    ['zstd of unknown size', zstdFrame(elf, { sized: false }), ['zstd']],
    ['zstd in two frames', concat([zstdFrame(a), zstdFrame(b, { sized: false })]), ['zstd']],
    [
      'zstd with frames to pass over',
      concat([zstdSkippable(noise(10)), zstdFrame(a), zstdSkippable(noise(1000)), zstdFrame(b), zstdSkippable(noise(0))]),
      ['zstd'],
    ],
    ['zstd in gzip', gzipSync(zstdFrame(elf)), ['gzip', 'zstd']],
  ])('%s', async (_, file, layers) => {
    const image = await open(file);
    expect(image.layers).toEqual(layers);
    for (const n of [1, 2, 150, 300]) expectBytes(bytesOf(image.frame(n)), pageOf(1, 300 * PAGE).subarray((n - 1) * PAGE, n * PAGE));
    expectBytes(image.readBytes(0x1000, 300 * PAGE), pageOf(1, 300 * PAGE));
  });

  it('LiME of a size that is no multiple of anything', async () => {
    const bytes = noise(3 * 65536 + 17);
    const image = await open(zstdFrame(makeLime([{ start: 0x10000, bytes }]), { sized: false }));
    expectBytes(image.readBytes(0x10000, bytes.length), bytes);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['gzip that was cut', gzipSync(elf).subarray(0, 200), /gzip data ends too early/],
    ['gzip with a wrong checksum', flip(gzipSync(elf), -6), /gzip data is damaged/],
    ['zstd that was cut', zstdFrame(elf).subarray(0, -5), /middle of a frame/],
    ['zstd with garbage behind', concat([zstdFrame(elf), noise(20)]), /zstd data is damaged/],
    ['zstd with a reserved block', flip(zstdFrame(elf), 9, 6), /zstd data is damaged/],
    ['zstd of nothing', zstdFrame(new Uint8Array(0)), /is empty once its zstd wrapper is taken off/],
    ['only a magic', Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd]), /middle of a frame/],
    ['something else in gzip', gzipSync(noise(100)), /no memory image that pxd knows/],
    ['gzip over and over', gzipSync(gzipSync(gzipSync(gzipSync(elf)))), /packed more than 3 times/],
  ])('refuses %s', async (_, file, message) => {
    await expect(open(file)).rejects.toThrow(PxdError);
    await expect(open(file)).rejects.toThrow(message);
  });

  it('bounds what it unpacks, and what of it is kept', async () => {
    const zeros = new Uint8Array(20 * 2 ** 20);
    await expect(open(gzipSync(zeros), { size: 10 * 2 ** 20, stored: 2 ** 20 })).rejects.toThrow(/larger than 10 MiB.*unpack the file first/);
    await expect(open(zstdFrame(noise(4 * 2 ** 20)), { size: 10 * 2 ** 20, stored: 2 ** 20 })).rejects.toThrow(/more than 1 MiB of data/);
    const image = await open(gzipSync(concat([makeLime([{ start: 0, bytes: zeros }])])), { size: 30 * 2 ** 20, stored: 2 ** 20 });
    expect(image.frame(5000)?.every((w) => w === 0)).toBe(true);
  });

  it('meets bombs of the default size with a sentence, in little memory and time', async () => {
    const before = process.memoryUsage().rss;
    const member = gzipSync(new Uint8Array(32 * 2 ** 20), { level: 1 });
    const gigabytes = concat(Array.from({ length: 40 }, () => member));
    // 4 bytes a block of 128 KiB.
    const frame = zstdFrame(new Uint8Array(64 * 2 ** 20), { sized: false });
    const started = performance.now();
    await expect(open(gigabytes)).rejects.toThrow(/larger than 1 GiB/);
    await expect(open(concat(Array.from({ length: 20 }, () => frame)))).rejects.toThrow(/larger than 1 GiB/);
    expect(performance.now() - started).toBeLessThan(30_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 2 ** 20);
  }, 60_000);

  it('works again after damaged data', async () => {
    const packed = zstdFrame(elf);
    for (let i = 0; i < 50; i++) await open(flip(packed, 6 + i * 11)).catch(() => undefined);
    expectBytes(bytesOf((await open(zstdFrame(elf))).frame(1)), pageOf(1, PAGE * 300).subarray(0, PAGE));
  });
});

describe('ChunkedBytes', () => {
  it('gives back what was put in, however it was cut', () => {
    const bytes = concat([noise(100_000), new Uint8Array(200_000), noise(50_001)]);
    const chunks = new ChunkedBytes({ size: 2 ** 30, stored: 2 ** 30 });
    for (let at = 0; at < bytes.length; at += 777) chunks.append(bytes.subarray(at, at + 777));
    chunks.finish();
    expect(chunks.size).toBe(bytes.length);
    for (const [at, n] of [
      [0, 10],
      [65530, 12],
      [100_000, 200_000],
      [0, bytes.length],
      [bytes.length, 0],
      [350_000, 1],
    ])
      expectBytes(chunks.read(at, n), bytes.subarray(at, at + n));
    expect(() => chunks.read(bytes.length, 1)).toThrow(PxdError);
    expect(() => chunks.read(-1, 1)).toThrow(PxdError);
  });
});

function flip(bytes: Uint8Array, at: number, bits = 0xff): Uint8Array {
  const out = bytes.slice();
  out[at < 0 ? out.length + at : at] ^= bits;
  return out;
}
