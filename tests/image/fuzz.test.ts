/** Damaged files of every format: an image that can be read, or one sentence. Never another error, a hang, or memory by the file's numbers. */
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryBytes } from '../../src/image/bytes.ts';
import { writeCapture } from '../../src/image/capture.ts';
import { nodeCodecs } from '../../src/image/node/codecs.ts';
import { type ImageFormat, openSource } from '../../src/image/open.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { concat, makeElf, makeFlattened, makeKdump, makeLime, pageOf, prstatus, zstdFrame } from './make.ts';

const CASES = Number(process.env.PXD_FUZZ_CASES ?? 150);
const MOST_FRAMES = 200;

const pages = new Map([1, 2, 3, 40, 41, 5000].map((n) => [n, pageOf(n)]));
const notes = [
  prstatus(
    1,
    Array.from({ length: 27 }, (_, i) => BigInt(i)),
  ),
  { name: 'VMCOREINFO', type: 0, data: new TextEncoder().encode('OSRELEASE=6.1\n') },
];
const segments = [...pages].map(([n, bytes]) => ({ paddr: n * 4096, bytes }));
const elf = makeElf({ segments, notes });
const kdump = makeKdump({ pages, notes, vmcoreinfo: 'OSRELEASE=6.1\n' });
const capture = concat(
  writeCapture({
    elfMachine: 62,
    endian: 'little',
    frames: [...pages].map(([frame, bytes]) => ({ frame, bytes })),
    meta: { mode: 'x86-4level', roots: [{ pid: 1, comm: 'x', mode: 'user', registers: { cr3: 4096n } }] },
  }),
);

const files: Record<string, Uint8Array> = {
  elf64: elf,
  elf32: makeElf({ bits: 32, little: false, machine: 20, segments, notes }),
  'elf, many headers': makeElf({ segments, notes, extended: true }),
  capture,
  'kdump zlib': kdump,
  'kdump lzo': makeKdump({ pages, method: 'lzo' }),
  'kdump snappy': makeKdump({ pages, method: 'snappy' }),
  'kdump zstd': makeKdump({ pages, method: 'zstd' }),
  'kdump 32': makeKdump({ pages, form: '32-natural', little: false, notes }),
  flattened: makeFlattened([
    [0, kdump.subarray(0, 9000)],
    [9000, kdump.subarray(9000)],
    [0, kdump.subarray(0, 4096)],
  ]),
  lime: makeLime(segments.map(({ paddr, bytes }) => ({ start: paddr, bytes }))),
  gzip: gzipSync(elf),
  zstd: zstdFrame(elf),
  'zstd without size': zstdFrame(kdump, { sized: false }),
};

/** Opens and reads; anything but an image or a `PxdError` fails. Returns whether it opened. */
async function survives(bytes: Uint8Array, format?: ImageFormat): Promise<boolean> {
  try {
    const image = await openSource(new MemoryBytes(bytes), { codecs: nodeCodecs, format, limits: { size: 2 ** 26, stored: 2 ** 24 } });
    let left = MOST_FRAMES;
    for (const n of image.frames()) {
      if (left-- === 0) break;
      try {
        image.frame(n);
      } catch (error) {
        expectSentence(error);
      }
    }
    expect(image.frame(2 ** 45)).toBeUndefined();
    expect(image.description().length).toBeGreaterThan(0);
    expect(image.segments.every((s) => Number.isSafeInteger(s.start) && s.frames > 0)).toBe(true);
    return true;
  } catch (error) {
    expectSentence(error);
    return false;
  }
}

function expectSentence(error: unknown): void {
  if (!(error instanceof PxdError)) throw error;
  expect(error.message).toMatch(/^[^\p{Cc}\p{Cf}]{10,600}$/u);
}

/** Places where headers are, more often than where contents are. */
const place = (length: number) => fc.oneof({ weight: 3, arbitrary: fc.nat(Math.min(length, 700) - 1) }, fc.nat(length - 1));
const NUMBERS = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

describe.each(Object.entries(files))('damaged %s', (_, file) => {
  it('is sound undamaged', async () => {
    expect(await survives(file)).toBe(true);
  });

  it('with bits flipped', async () => {
    const flips = fc.array(fc.tuple(place(file.length), fc.nat(7)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(flips, async (list) => {
        const damaged = file.slice();
        for (const [at, bit] of list) damaged[at] ^= 1 << bit;
        await survives(damaged);
      }),
      { numRuns: CASES },
    );
  });

  it('with numbers replaced', async () => {
    await fc.assert(
      fc.asyncProperty(place(file.length - 8), fc.constantFrom(...NUMBERS), fc.constantFrom(...NUMBERS), fc.boolean(), async (at, low, high, wide) => {
        const damaged = file.slice();
        const view = new DataView(damaged.buffer);
        view.setUint32(at & ~3, low, true);
        if (wide) view.setUint32((at & ~3) + 4, high, true);
        await survives(damaged);
      }),
      { numRuns: CASES },
    );
  });

  it('cut short', async () => {
    await fc.assert(
      fc.asyncProperty(place(file.length), async (length) => {
        await survives(file.slice(0, length));
      }),
      { numRuns: CASES },
    );
  });

  it('with a piece of another', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...Object.values(files)), place(file.length), fc.nat(4000), fc.nat(600), async (other, at, from, length) => {
        const damaged = file.slice();
        damaged.set(other.subarray(from, from + Math.min(length, file.length - at)), at);
        await survives(damaged);
      }),
      { numRuns: Math.ceil(CASES / 2) },
    );
  });
});

it('any bytes, said to be anything', async () => {
  const formats: (ImageFormat | undefined)[] = ['elf', 'kdump', 'lime', 'raw', undefined];
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 5000 }),
      fc.constantFrom(...formats),
      fc.constantFrom('', '\x7fELF\x02\x01', 'KDUMP   \x06\0\0\0', 'EMiL', 'makedumpfile\0\0\0\0', '\x1f\x8b\x08', '(\xb5/\xfd'),
      async (bytes, format, start) => {
        await survives(concat([Uint8Array.from(start, (c) => c.charCodeAt(0)), bytes]), format);
      },
    ),
    { numRuns: 500 },
  );
});
