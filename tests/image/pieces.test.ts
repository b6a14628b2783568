import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copy, find, overlay, type Piece, ZERO } from '../../src/image/pieces.ts';

const ranges = fc.array(
  fc
    .record({ start: fc.nat(60), length: fc.nat(20), offset: fc.oneof(fc.constant(ZERO), fc.nat(1000)) })
    .map(({ start, length, offset }): Piece => ({ start, end: start + length, offset })),
  { maxLength: 12 },
);

/** Where byte `at` comes from: the first range that covers it. */
const origin = (list: readonly Piece[], at: number): number | undefined => {
  const piece = list.find((p) => p.start <= at && at < p.end);
  return piece && (piece.offset === ZERO ? ZERO : piece.offset + at - piece.start);
};

describe('overlay', () => {
  it('keeps the first range where several cover a byte', () => {
    fc.assert(
      fc.property(ranges, (list) => {
        const pieces = overlay(list);
        const at = Array.from({ length: 90 }, (_, i) => i);
        expect(at.map((i) => origin(pieces, i))).toEqual(at.map((i) => origin(list, i)));
        expect(pieces.every((piece, i) => piece.end > piece.start && (i === 0 || piece.start >= pieces[i - 1].end))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('finds pieces, and where one would be', () => {
    fc.assert(
      fc.property(ranges, fc.nat(90), (list, at) => {
        const pieces = overlay(list);
        const i = find(pieces, at);
        const expected = pieces.findIndex((p) => p.start <= at && at < p.end);
        expect(i >= 0 ? i : -1).toBe(expected);
        if (i < 0) expect(-i - 1).toBe(pieces.filter((p) => p.end <= at).length);
      }),
      { numRuns: 500 },
    );
  });

  it('copies across pieces, and tells when a byte is missing', () => {
    fc.assert(
      fc.property(ranges, fc.nat(80), fc.integer({ min: 1, max: 20 }), (list, at, length) => {
        const pieces = overlay(list);
        const into = new Uint8Array(length);
        const whole = copy(pieces, (offset, n) => Uint8Array.from({ length: n }, (_, i) => (offset + i) & 0xff), at, into);
        const expected = Array.from({ length }, (_, i) => origin(list, at + i));
        expect(whole).toBe(!expected.includes(undefined));
        if (whole) expect([...into]).toEqual(expected.map((o) => (o === ZERO ? 0 : (o as number) & 0xff)));
      }),
      { numRuns: 500 },
    );
  });

  it('takes many ranges in little time', () => {
    const many = Array.from({ length: 100_000 }, (_, i): Piece => ({ start: (i * 7919) % 100_000, end: ((i * 7919) % 100_000) + 1000, offset: i }));
    const started = performance.now();
    expect(overlay(many).length).toBeGreaterThan(0);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});
