import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gather, holds, inVersions, maskOf, parseBits, parseCondition, parseSetting, scatter, versionNumber } from '../../src/arch/notation.ts';

const fields = new Map([
  ['P', parseBits('0')],
  ['TYPE', parseBits('2:1')],
  ['SPLIT', parseBits('63,9:8')],
  ['WIDE', parseBits('40:20')],
]);
const is = (condition: string, word: bigint): boolean => holds(parseCondition(condition, fields), Number(word & 0xffffffffn), Number(word >> 32n));

describe('bits', () => {
  it('scatter and gather are inverse for any ranges', () => {
    const ranges = fc.uniqueArray(fc.integer({ min: 0, max: 63 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(ranges, fc.bigInt({ min: 0n, max: (1n << 53n) - 1n }), (bits, value) => {
        const pieces = parseBits(bits.join(','));
        const fits = value & ((1n << BigInt(bits.length)) - 1n);
        const word = scatter(pieces, fits);
        expect(BigInt(gather(pieces, word.lo, word.hi))).toBe(fits);
        const mask = maskOf(pieces);
        expect([(word.lo & ~mask.lo) >>> 0, (word.hi & ~mask.hi) >>> 0]).toEqual([0, 0]);
      }),
    );
  });

  it('a range over the middle of the word reads as a bigint shift does', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (word) => {
        expect(BigInt(gather(parseBits('40:20'), Number(word & 0xffffffffn), Number(word >> 32n)))).toBe((word >> 20n) & 0x1fffffn);
      }),
    );
  });

  it.each(['', 'x', '3:5', '64', '1:2:3'])('"%s" is refused', (bits) => {
    expect(() => parseBits(bits)).toThrow(TypeError);
  });
});

describe('conditions', () => {
  it.each([
    ['P', 1n, true],
    ['P', 2n, false],
    ['!P', 2n, true],
    ['TYPE=3', 6n, true],
    ['TYPE=1,3', 2n, true],
    ['TYPE=1,3', 4n, false],
    ['TYPE!=1,3', 4n, true],
    ['TYPE!=1,3', 6n, false],
    ['P TYPE=2', 5n, true],
    ['P TYPE=2', 4n, false],
    ['P | TYPE=2', 4n, true],
    ['SPLIT=5', (1n << 63n) | (1n << 8n), true],
    ['SPLIT', 1n << 63n, true],
    ['&0xff=0x12', 0xff12n, true],
    ['&0xff!=0x12', 0xff12n, false],
    ['&=0', 0n, true],
    ['&=0', 1n << 63n, false],
    ['1', 0n, true],
    ['0', 0n, false],
  ])('"%s" of 0x%s is %s', (condition, word, answer) => {
    expect(is(condition, word)).toBe(answer);
  });

  it('name what is wrong', () => {
    expect(() => parseCondition('Q', fields)).toThrow(/no field "Q"/);
    expect(() => parseCondition('TYPE=4', fields)).toThrow(/does not fit/);
    expect(() => parseCondition('P && TYPE', fields)).toThrow(/cannot read "&&"/);
  });
});

describe('settings', () => {
  it('set whole fields, values and raw bits, and tell what they cover', () => {
    expect(parseSetting('P TYPE=2 &0x100', fields)).toEqual({ set: { lo: 0x105, hi: 0 }, covered: { lo: 0x107, hi: 0 } });
    expect(parseSetting('SPLIT', fields).set).toEqual({ lo: 0x300, hi: 0x80000000 });
    expect(parseSetting('', fields)).toEqual({ set: { lo: 0, hi: 0 }, covered: { lo: 0, hi: 0 } });
  });
});

describe('kernel versions', () => {
  it('compare as versions, not as text', () => {
    expect(versionNumber('6.1.0-50-amd64')).toBeLessThan(versionNumber('v6.12'));
    expect(inVersions('..6.5', versionNumber('6.1'))).toBe(true);
    expect(inVersions('..6.5', versionNumber('6.5'))).toBe(false);
    expect(inVersions('6.5..', versionNumber('6.5'))).toBe(true);
    expect(inVersions('5.19..6.2', versionNumber('6.12'))).toBe(false);
    expect(inVersions(undefined, 0)).toBe(true);
    expect(() => versionNumber('new')).toThrow(RangeError);
  });
});
