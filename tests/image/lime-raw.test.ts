import { describe, expect, it } from 'vitest';
import { MemoryBytes } from '../../src/image/bytes.ts';
import { openLime } from '../../src/image/lime.ts';
import { openRaw, parseLayout } from '../../src/image/raw.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { concat, expectBytes, makeLime, PAGE, pageOf } from './make.ts';

const bytesOf = (words: Uint32Array | undefined): Uint8Array | undefined => words && new Uint8Array(words.buffer, words.byteOffset, PAGE);

describe('LiME', () => {
  const lime = (file: Uint8Array) => openLime(new MemoryBytes(file));

  it('reads ranges', () => {
    const image = lime(
      makeLime([
        { start: 0x1000, bytes: pageOf(1, 2 * PAGE) },
        { start: 0x100000000, bytes: pageOf(9) },
        { start: 0x9f000, bytes: pageOf(3).subarray(0, 0xc00) },
      ]),
    );
    expect(image.format).toBe('LiME');
    expect([...image.frames()]).toEqual([1, 2, 0x100000]);
    expectBytes(bytesOf(image.frame(0x100000)), pageOf(9));
    expectBytes(image.readBytes(0x9f000, 0xc00), pageOf(3).subarray(0, 0xc00));
    expect(image.readBytes(0x9f000, 0xc01)).toBeUndefined();
  });

  const file = makeLime([
    { start: 0x1000, bytes: pageOf(1) },
    { start: 0x8000, bytes: pageOf(2) },
  ]);
  const second = 32 + PAGE;
  it.each<[string, (v: DataView) => void, RegExp]>([
    ['magic', (v) => v.setUint32(second, 0, true), /LiME header is expected at offset 0x1020/],
    ['version', (v) => v.setUint32(second + 4, 2, true), /version 2, expected 1/],
    ['range', (v) => v.setBigUint64(second + 16, 0x7fffn, true), /ends \(0x7fff\) before it begins \(0x8000\)/],
    ['last address', (v) => v.setBigUint64(second + 16, 2n ** 52n, true), /ends too early/],
    ['address beyond counting', (v) => v.setBigUint64(second + 16, 2n ** 63n, true), /a last address 0x8000000000000000/],
  ])('refuses a wrong %s', (_, damage, message) => {
    const damaged = file.slice();
    damage(new DataView(damaged.buffer));
    expect(() => lime(damaged)).toThrow(PxdError);
    expect(() => lime(damaged)).toThrow(message);
  });

  it('refuses every shorter part but the whole ranges', () => {
    for (let n = 1; n < file.length; n += 97) if (n !== second) expect(() => lime(file.subarray(0, n))).toThrow(/ends too early/);
    expect([...lime(file.subarray(0, second)).frames()]).toEqual([1]);
  });
});

describe('raw memory', () => {
  const file = concat([pageOf(1), pageOf(2), pageOf(3), pageOf(4).subarray(0, 100)]);
  const raw = (layout?: string) => openRaw(new MemoryBytes(file), layout === undefined ? undefined : parseLayout(layout));

  it('begins at 0 without a layout', () => {
    const image = raw();
    expect([...image.frames()]).toEqual([0, 1, 2]);
    expectBytes(bytesOf(image.frame(2)), pageOf(3));
    expectBytes(image.readBytes(3 * PAGE, 100), pageOf(4).subarray(0, 100));
  });

  const expected = [
    { physical: 0x80000000, offset: 4096, bytes: 4096 },
    { physical: 0x1000, offset: 0, bytes: 4096 },
  ];
  it.each([
    ['JSON', '[{"offset": 4096, "physical": "0x80000000", "bytes": "0x1000"}, {"offset": "0", "physical": 4096, "bytes": 4096}]'],
    ['text', '# memory of a board\n0x80000000 4096 0x1000\n\n  4096\t0 4096  # low\n'],
  ])('takes a layout as %s', (_, layout) => {
    expect(parseLayout(layout)).toEqual(expected);
    const image = raw(layout);
    expect([...image.frames()]).toEqual([1, 0x80000]);
    expectBytes(bytesOf(image.frame(0x80000)), pageOf(2));
  });

  it('takes /proc/iomem as a layout, its RAM one after another', () => {
    const iomem =
      '00000000-00000fff : Reserved\n00001000-00001fff : System RAM\n00100000-001fffff : PCI Bus\n  00100000-001000ff : System RAM\n40000000-40001fff : System RAM\n  40000000-400000ff : Kernel code\n';
    expect(parseLayout(iomem)).toEqual([
      { physical: 0x1000, offset: 0, bytes: 0x1000 },
      { physical: 0x40000000, offset: 0x1000, bytes: 0x2000 },
    ]);
    expectBytes(bytesOf(raw(iomem).frame(0x40001)), pageOf(3));
  });

  it.each([
    ['', /no range of memory/],
    ['{"offset": 0}', /1 words|words, expected three|2 words/],
    ['[', /not JSON/],
    ['[3]', /entry 1 is a number/],
    ['[{"offset": -1, "physical": 0, "bytes": 1}]', /offset is -1/],
    ['[{"offset": 0, "physical": "zero", "bytes": 1}]', /physical is "zero"/],
    ['[{"offset": 0, "physical": "0xffffffffffffffff", "bytes": 1}]', /physical is "0xffffffffffffffff"/],
    ['[{"offset": 0, "physical": 9007199254740991, "bytes": 9007199254740991}]', /beyond 2\^53/],
    ['0x1000 0', /line 1 has 2 words/],
    ['0x1000 0 0x4000', /the file has only 12388 bytes/],
    ['00000000-00000000 : System RAM\n00000000-00000000 : System RAM\n', /hides them from readers without privilege/],
    ['00002000-00001000 : System RAM\n', /ends before it begins/],
  ])('refuses the layout %j', (layout, message) => {
    expect(() => raw(layout)).toThrow(PxdError);
    expect(() => raw(layout)).toThrow(message);
  });
});
