/** The 64-bit hash table: entries, groups, segments, and every way in which table and tree can disagree. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hpt64 } from '../../src/arch/hpt64.ts';
import {
  avpnOf,
  compareHashTable,
  decodeHashEntry,
  encodeHashEntry,
  type HashComparison,
  type HashEntry,
  type HashSegment,
  hashTableOf,
  linuxUserSegments,
  pageSizeOf,
  partitionEntry,
  primaryGroup,
  segmentOfSlb,
} from '../../src/pagetable/hpt64.ts';
import { swap32 } from '../../src/pagetable/source.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt } from '../support/translation.ts';

const TABLE = hashTableOf(0x40000000n);
const PLAIN: Omit<HashEntry, 'slot' | 'avpn' | 'rpn'> = {
  secondary: false,
  b: 0,
  large: 0,
  key: 0,
  pp: 2,
  noExec: true,
  wimg: 2,
  referenced: true,
  changed: true,
};

/** Writes an entry at a slot as the CPU would. */
function place(memory: Memory, slot: number, entry: Omit<HashEntry, 'slot'>): void {
  for (const [i, w] of encodeHashEntry(entry).entries()) memory.put(Number(TABLE.origin) + slot * 16 + i * 4, swap32(w));
}

const segment = (esid: number, vsid: number, base: number | undefined = 12, b: 0 | 1 = 0): HashSegment => ({
  size: hpt64.segments[b],
  esid,
  vsid,
  base,
  kp: 1,
  ks: 1,
  noExec: false,
});

describe('format', () => {
  it('the partition table names table and size', () => {
    expect(hashTableOf(0x3e000006n)).toEqual({ origin: 0x3e000000n, bytes: 1 << 24, groups: 1 << 17 });
    expect(() => hashTableOf(0xc0000000027500adn)).toThrow(/HR is set/);
    expect(() => hashTableOf(0x4000001dn)).toThrow(/HTABSIZE is 29/);
    expect(() => hashTableOf(0x40040006n)).toThrow(/not aligned/);
    const memory = new Memory('big');
    memory.put(0x5000 + 32, 0x3e000006n, 8);
    expect(partitionEntry(memory, 0x5004n, 2)).toBe(0x3e000006n);
    expect(() => partitionEntry(memory, 0x9004n)).toThrow(/does not hold the partition table/);
    expect(() => partitionEntry(memory, 0x5000n, 256)).toThrow(/beyond the partition table/);
  });

  it('entries decode to what was encoded', () => {
    const flag = fc.boolean();
    const entry = fc.record({
      secondary: flag,
      avpn: fc.nat(2 ** 31),
      b: fc.nat(3),
      large: fc.nat(1),
      rpn: fc.nat(2 ** 31),
      key: fc.nat(31),
      pp: fc.nat(7),
      noExec: flag,
      wimg: fc.nat(15),
      referenced: flag,
      changed: flag,
    });
    fc.assert(fc.property(entry, (e) => void expect(decodeHashEntry(encodeHashEntry(e), 0, 5)).toEqual({ ...e, slot: 5 })));
  });

  it('an entry of a running kernel', () => {
    // First doubleword: AVPN 0x1ff, V; second: B 0, RPN 0x12345, R, C, M, N, PP 2.
    const words = Uint32Array.from([0, 0xff81, 0, 0x12345196].map(swap32));
    expect(decodeHashEntry(words, 0, 0)).toMatchObject({
      avpn: 0x1ff,
      rpn: 0x12345,
      pp: 2,
      noExec: true,
      wimg: 2,
      referenced: true,
      changed: true,
      b: 0,
      key: 0,
    });
    expect(decodeHashEntry(Uint32Array.from([0, 0xff80, 0, 0x12345196].map(swap32)), 0, 0)).toBeUndefined();
  });

  it('SLB entries give segments; those without V are stale', () => {
    expect(segmentOfSlb(0x0000000018000000n, 0x000250fff51c8d90n)).toMatchObject({ esid: 1, vsid: 0x250fff51c8, base: 16, kp: 1, ks: 1, noExec: false });
    expect(segmentOfSlb(0x00007f0008000000n, 0x40013a109c000d90n)).toMatchObject({ esid: 0x7f, vsid: 0x13a109c, base: 16, size: { shift: 40 } });
    expect(segmentOfSlb(0xc0003d0008000000n, 0x400ad9a7e7000400n)).toMatchObject({ base: 12, kp: 1, ks: 0 });
    expect(segmentOfSlb(0x00003e0008000000n, 0x400204d768000d80n)).toMatchObject({ base: 24 });
    expect(segmentOfSlb(0x0000000010000000n, 0x000250fff51c8d90n)).toBeUndefined();
  });

  it("Linux's contexts give the VSIDs that the SLB shows", () => {
    const all = linuxUserSegments(
      new Map([
        [0, 10],
        [7, 16],
      ]),
    );
    expect(all.find((s) => s.size.b === 0 && s.esid === 1)?.vsid).toBe(0x250fff51c8);
    expect(all.find((s) => s.size.b === 1 && s.esid === 0x7f)?.vsid).toBe(0x13a109c);
    expect(all.filter((s) => s.size.b === 0).length).toBe(4096);
    expect(all.filter((s) => s.size.b === 1).length).toBe(511 + 512);
    expect(Math.max(...all.map((s) => s.esid * 2 ** s.size.shift))).toBe(2 ** 52 - 2 ** 40);
  });

  it('sizes are told by L and the low bits of the page number', () => {
    const of = (large: number, rpn: number, base: number): number | undefined => pageSizeOf({ ...PLAIN, slot: 0, avpn: 0, large, rpn }, base)?.actual;
    expect([of(0, 0x123, 12), of(1, 0x127, 12), of(1, 0x1038, 12), of(1, 0x121, 16), of(1, 0x1008, 16), of(1, 0x1000, 24)]).toEqual([12, 16, 24, 16, 24, 24]);
    expect([of(0, 0x121, 16), of(1, 0x122, 16), of(1, 0x1008, 24)]).toEqual([undefined, undefined, undefined]);
  });
});

describe('groups', () => {
  it('are chosen as bigint arithmetic over the whole hash says', () => {
    const page = fc.nat(2 ** 31 - 1);
    fc.assert(
      fc.property(fc.constantFrom<0 | 1>(0, 1), fc.integer({ min: 0, max: 2 ** 28 - 1 }), page, fc.constantFrom(12, 16, 24), (b, vsid, low, base) => {
        const s = segment(0, vsid, base, b);
        const offset = BigInt(low) % (1n << BigInt(s.size.shift - 12));
        const v = BigInt(vsid);
        const hash = ((b === 0 ? v : v ^ (v << 25n)) ^ ((offset << 12n) >> BigInt(base))) & ((1n << 39n) - 1n);
        expect(primaryGroup(TABLE, s, low, base)).toBe(Number(hash & BigInt(TABLE.groups - 1)));
        expect(avpnOf(s, low, base)).toBe(Number(((v << BigInt(s.size.shift)) | ((offset << 12n) & ~((1n << BigInt(base)) - 1n))) >> 23n));
      }),
    );
  });
});

describe('comparison', () => {
  const LEAF = 0xc000000000000000n;
  const mode = modeNamed('ppc64-hash-4k');
  const seg = segment(0, 0x1234567);
  const VA = 0x45000;

  /** A tree with one page at VA (frame 0x12345, dirty, hashed in the given slot) and a hash table with one entry for it. */
  function scene(change: Partial<HashEntry> = {}, pte = LEAF | 0x1000000012345386n, at: { secondary?: boolean; index?: number } = {}): HashComparison {
    const memory = new Memory('big');
    memory.put(0x20000, 0x8000000000021000n, 8);
    memory.put(0x21000, 0x8000000000022000n, 8);
    memory.put(0x22000, 0x8000000000023000n, 8);
    memory.put(0x23000 + (VA / 4096) * 8, pte, 8);
    const group = primaryGroup(TABLE, seg, VA / 4096, 12);
    const secondary = at.secondary ?? false;
    place(memory, (secondary ? TABLE.groups - 1 - group : group) * 8 + (at.index ?? 0), {
      ...PLAIN,
      avpn: avpnOf(seg, VA / 4096, 12),
      rpn: 0x12345,
      secondary,
      ...change,
    });
    return compareHashTable(memory, TABLE, [seg], tablesAt(mode, memory, 0x20000n));
  }

  it('finds the page in either group', () => {
    expect(scene()).toMatchObject({ lookedUp: 1, hits: 1, misses: 0, secondary: 0, entries: 1, owned: 1, differences: [], bySize: { '4096/4096': 1 } });
    const second = LEAF | 0x1000000012345386n | (1n << 56n) | (3n << 53n);
    expect(scene({}, second, { secondary: true, index: 3 })).toMatchObject({ hits: 1, secondary: 1, differences: [] });
  });

  it.each<[string, Partial<HashEntry>, bigint, RegExp]>([
    ['another frame', { rpn: 0x12346 }, 0x1000000012345386n, /^0x45000: frame 0x12346 .* 0x12345 /],
    ['writable though read-only', {}, 0x1000000012345384n, /write true in the hash table, false in the tree/],
    ['writable before the page is dirty', { changed: false }, 0x1000000012345306n, /write true/],
    ['executable', { noExec: false }, 0x1000000012345386n, /execute true/],
    ['not readable by the user', { pp: 0 }, 0x1000000012345384n, /read false/],
    ['accessible though PROT_NONE', { pp: 3, changed: false }, 0x1000000012345100n, /read true/],
    ['another key', { key: 3 }, 0x1000000012345386n, /key 3 in the hash table, 0/],
    ['cached though I/O', {}, 0x10000000123453a6n, /WIMG 2 in the hash table, 5/],
    ['changed though clean', { pp: 3 }, 0x1000000012345306n, /changed true/],
    ['no mark in the tree', {}, 0x0000000012345386n, /HASHPTE 1 in the hash table, 0/],
    ['another slot', {}, 0x1060000012345386n, /slot 0\/0 in the hash table, 0\/3/],
    [
      'an entry for a page that the tree lacks',
      { avpn: avpnOf(seg, 0x800, 12) },
      0x1000000012345386n,
      /^0x800000: entry for an address within 8 MiB from here, slot \d+/,
    ],
  ])('tells %s', (_, change, bits, text) => {
    const { differences } = scene(change, LEAF | bits);
    expect(differences).toHaveLength(1);
    expect(differences[0].text).toMatch(text);
  });

  it('leaves entries of other segments, other segment sizes and pages outside the segments alone', () => {
    expect(scene({ avpn: avpnOf(segment(0, 0x7654321), 0x45, 12) })).toMatchObject({ hits: 0, misses: 1, entries: 1, owned: 0, differences: [] });
    expect(scene({ b: 1 })).toMatchObject({ hits: 0, misses: 1, owned: 0 });
  });

  it('looks huge pages up by the segment’s base page: 16M in a 16M segment, and by 64K in a 64K one', () => {
    const memory = new Memory('big');
    memory.put(0x20000, 0x8000000000024000n, 8);
    memory.put(0x24000, 0x8000000000028000n, 8);
    // A transparent huge page at 16M, and a hugetlb page at 16M in the next segment.
    memory.put(0x28000 + 8, LEAF | 0x0080000005002386n, 8);
    memory.put(0x28000 + 16 * 8, LEAF | 0x0080000006000386n, 8);
    const segments = [segment(0, 0x1111, 16), segment(1, 0x2222, 24)];
    const page = 0x1000 + 0x30;
    place(memory, primaryGroup(TABLE, segments[0], page, 16) * 8, { ...PLAIN, avpn: avpnOf(segments[0], page, 16), large: 1, rpn: 0x5008 });
    place(memory, primaryGroup(TABLE, segments[1], 0x10000, 24) * 8, { ...PLAIN, avpn: avpnOf(segments[1], 0x10000, 24), large: 1, rpn: 0x6000 });
    const tables = tablesAt(modeNamed('ppc64-hash-64k'), memory, 0x20000n);
    const result = compareHashTable(memory, TABLE, segments, tables);
    expect(result).toMatchObject({ lookedUp: 256 + 1, hits: 2, owned: 2, differences: [], bySize: { '65536/16777216': 1, '16777216/16777216': 1 } });
    // Without an SLB the tree's own marks tell the base pages.
    const blind = segments.map((s) => ({ ...s, base: undefined }));
    expect(compareHashTable(memory, TABLE, blind, tables)).toMatchObject({ lookedUp: 257, hits: 2, differences: [] });
  });
});
