/** Hand-made e500 memories: every huge page size at every level, before and after huge page directories; entries, roots, swap-type words. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode, levelNamed } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap } from '../../src/pagetable/swap.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

const NAMES = ['ppc-e500', 'ppc-e500-hugepd', 'ppc64-e500', 'ppc64-e500-hugepd'];
const PGD = 0x10000;
const SHIFTS = [22, 24, 26, 28, 30];
const SHARED = 0x24103dn;

/** Writes tables as Linux does, top down, making those that lack. */
class Builder {
  readonly memory = new Memory('big');
  readonly #wide: boolean;
  readonly #hugepd: boolean;
  #next = 0x20000;
  readonly #tables = new Map<string, number>();

  constructor(name: string) {
    this.#wide = name.startsWith('ppc64');
    this.#hugepd = name.endsWith('hugepd');
    for (let frame = 0; frame < 4; frame++) this.memory.put(PGD + frame * 4096, 0);
  }

  table(key: string): number {
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    this.#tables.set(key, this.#next);
    this.#next += 0x1000;
    return this.#next - 0x1000;
  }

  #slot(table: number, index: number, value: bigint): void {
    const bytes = this.#wide || !this.#hugepd ? 8 : 4;
    this.memory.put(table + index * bytes, value, bytes);
  }

  /** The table that holds the slot for `va` at a shift, with the index bits of that table. */
  #walk(va: number, shift: number): number {
    if (!this.#wide) return PGD;
    let table = PGD;
    for (const [above, below] of [
      [37, 28],
      [28, 21],
    ]) {
      if (shift === above) return table;
      const child = this.table(`${below} ${Math.floor(va / 2 ** above)}`);
      this.#slot(table, Math.floor(va / 2 ** above) % 512, 0xc000000000000000n + BigInt(child));
      table = child;
    }
    return table;
  }

  map(va: number, pa: number, shift: number, bits = SHARED): void {
    const slot = this.#wide && shift >= 28 ? 28 : 21;
    const entries = this.#wide ? (slot === 28 ? 512 : 128) : 2048;
    const table = this.#walk(va, slot);
    const first = Math.floor(va / 2 ** slot) % entries;
    const directory = this.table(`hugepd ${va}`);
    if (shift === 12) {
      const ptes = this.table(`pte ${Math.floor(va / 2 ** 21)}`);
      this.#slot(table, first, (this.#wide ? 0xc000000000000000n : 0xc0000000n) + BigInt(ptes));
      this.memory.put(ptes + (Math.floor(va / 4096) % 512) * 8, (BigInt(pa / 4096) << 24n) | bits | (this.#hugepd ? 0x200n : 0x100n), 8);
      return;
    }
    if (this.#hugepd) this.memory.put(directory, (BigInt(pa / 4096) << 24n) | bits | 0x200n, 8);
    for (let i = 0; i < 2 ** (shift - slot); i++) {
      const own = BigInt((pa + i * 2 ** slot) / 4096) << 24n;
      const size = BigInt((shift - 10) / 2) << 8n;
      this.#slot(table, first + i, this.#hugepd ? (this.#wide ? 0x4000000000000000n : 0x40000000n) + BigInt(directory + shift) : own | bits | size);
    }
  }
}

const modeFor = (name: string) => modeNamed(name, name.endsWith('hugepd') ? '6.1' : '6.12');

describe.each(NAMES)('%s: pages of every size', (name) => {
  it.each([12, ...SHIFTS])('2^%i bytes', (shift) => {
    const b = new Builder(name);
    const va = name.startsWith('ppc64') ? 0x4040000000 : 0x40000000;
    b.map(va, 0x80000000, shift);
    const end = (va + 2 ** shift).toString(16);
    expect(translationOf(tablesAt(modeFor(name), b.memory, BigInt(PGD)))).toEqual([`${va.toString(16)}-${end} 80000000 rw-u ${2 ** shift}`]);
  });

  it.each(SHIFTS.filter((s) => s !== 28 || !name.startsWith('ppc64')))('reports a page of 2^%i bytes of which a slot is missing', (shift) => {
    const b = new Builder(name);
    b.map(0x40000000, 0x80000000, shift);
    const wide = name.startsWith('ppc64');
    const slot = wide && shift >= 28 ? 28 : 21;
    const bytes = name === 'ppc-e500-hugepd' ? 4 : 8;
    const table = wide ? b.table(slot === 28 ? '28 0' : `21 ${0x40000000 / 2 ** 28}`) : PGD;
    b.memory.put(table + (((0x40000000 / 2 ** slot) % (wide ? (slot === 28 ? 512 : 128) : 2048)) + 1) * bytes, 0, bytes as 4 | 8);
    const lines = translationOf(tablesAt(modeFor(name), b.memory, BigInt(PGD)));
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.every((l) => l.endsWith(' broken'))).toBe(true);
    expect(lines[0]).toMatch(/^40000000-\w+ 80000000 rw-u/);
  });
});

describe('huge page directories and their removal translate alike', () => {
  it.each(['ppc-e500', 'ppc64-e500'])('%s', (name) => {
    const answers = [name, `${name}-hugepd`].map((n) => {
      const b = new Builder(n);
      b.map(0x00400000, 0x40400000, 22);
      b.map(0x00800000, 0x40800000, 22, 0x24000dn);
      b.map(0x01000000, 0x91000000, 24);
      b.map(0x04000000, 0x94000000, 26);
      b.map(0x10000000, 0x60000000, 28);
      b.map(0x40000000, 0xc0000000, 30);
      b.map(0x80000000, 0x12345000, 12);
      return translationOf(tablesAt(modeFor(n), b.memory, BigInt(PGD)));
    });
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).toEqual([
      '400000-800000 40400000 rw-u 4194304',
      '800000-c00000 40800000 r--u 4194304',
      '1000000-2000000 91000000 rw-u 16777216',
      '4000000-8000000 94000000 rw-u 67108864',
      '10000000-20000000 60000000 rw-u 268435456',
      '40000000-80000000 c0000000 rw-u 1073741824',
      '80000000-80001000 12345000 rw-u 4096',
    ]);
  });
});

describe('entries', () => {
  const mode = modeNamed('ppc64-e500', '6.12');
  // Word, level, kind, address: pte-e500.h, nohash/64/pgtable.h.
  it.each([
    [0x123452_4013dn, 'pte', 'leaf', 0x12345000n, { PRESENT: 1, SR: 1, UR: 1, SW: 1, UW: 1, TSIZE: 1, ACCESSED: 1, M: 1 }],
    [0x12345541115n, 'pte', 'leaf', 0x12345000n, { PRESENT: 1, SR: 1, SW: 1, TSIZE: 1, DIRTY: 1, ACCESSED: 1, G: 1, I: 1 }],
    [0x12345240181n, 'pte', 'leaf', 0x12345000n, { PRESENT: 1, UX: 1, TSIZE: 1, ACCESSED: 1, M: 1 }],
    [0x40000241a3dn, 'pud', 'leaf', 0x40000000n, { PRESENT: 1, SR: 1, UR: 1, SW: 1, UW: 1, TSIZE: 10, DIRTY: 1, ACCESSED: 1, M: 1 }],
    [0x4000024163dn, 'pmd', 'leaf', 0x40000000n, { PRESENT: 1, SR: 1, UR: 1, SW: 1, UW: 1, TSIZE: 6, DIRTY: 1, ACCESSED: 1, M: 1 }],
    [0xc000000000123000n, 'pmd', 'table', 0xc000000000123000n, {}],
    [0xc000000000123400n, 'pud', 'table', 0xc000000000123400n, {}],
    [0x12345000084n, 'pte', 'nonpresent', undefined, {}],
  ] as const)('0x%s', (word, level, kind, address, fields) => {
    const [lo, hi] = [Number(word & 0xffffffffn), Number(word >> 32n)];
    const entry = decode(levelNamed(mode, level), lo, hi);
    expect(entry.kind).toBe(kind);
    expect(entry.address).toBe(address);
    expect(Object.fromEntries([...entry.fields].filter(([, v]) => v !== 0))).toEqual(fields);
    expect(encode(entry.form as NonNullable<typeof entry.form>, entry)).toEqual({ lo, hi });
  });

  it('refuses a page size that the level cannot hold', () => {
    expect(decode(levelNamed(mode, 'pmd'), 0x0024193d, 0x400).kind).toBe('bad');
  });

  it('makes directories as hugepd_populate does, until 6.10', () => {
    expect(new LinuxEntries(modeNamed('ppc-e500-hugepd', '6.1')).populate('hugepd_populate shift=24', 0x123000n)).toEqual({ lo: 0x40123018, hi: 0 });
    expect(new LinuxEntries(modeNamed('ppc64-e500-hugepd', '6.1')).populate('hugepd_populate shift=30', 0x123000n)).toEqual({ lo: 0x0012301e, hi: 0x40000000 });
  });

  it('swap-type words by version', () => {
    expect(decodeSwap(mode, 'pte', 0x45000084, 0x123)).toMatchObject({ type: 1, offset: 0x12345, exclusive: true });
    expect(decodeSwap(modeNamed('ppc64-e500-hugepd', '6.1'), 'pte', 0x45000004, 0x123)).toMatchObject({ type: 1, offset: 0x12345, exclusive: false });
    expect(decodeSwap(modeNamed('ppc-e500', '6.12'), 'pte', 0x123450c, 0)).toMatchObject({ type: 1, offset: 0x12345, exclusive: true });
  });

  it("a page that user mode cannot touch has the supervisor's rights", () => {
    const b = new Builder('ppc-e500');
    b.map(0x1000, 0x5000, 12, 0x241015n);
    b.map(0x2000, 0x6000, 12, 0x240001n);
    b.map(0x3000, 0x7000, 12, 0x240081n);
    expect(translationOf(tablesAt(modeFor('ppc-e500'), b.memory, BigInt(PGD)))).toEqual([
      '1000-2000 5000 rw-k 4096',
      '2000-3000 6000 ---k 4096',
      '3000-4000 7000 --xu 4096',
    ]);
  });
});

describe('root', () => {
  it('64-bit: a process has user space, the kernel its own PGD', () => {
    const mode = modeNamed('ppc64-e500');
    expect(rootFromRegisters(mode, { pgd: 0x10000n }, 'user').ranges).toEqual([{ half: 'user', va: 0n, from: 0, to: 512 }]);
    expect(rootFromRegisters(mode, { swapper_pg_dir: 0x10000n }, 'kernel').ranges[0].va).toBe(0xc000000000000000n);
  });
  it.each([
    ['ppc64-e500', 0xc000000000010000n, /kernel virtual/],
    ['ppc-e500', 0x11000n, /16384 bytes/],
    ['ppc-e500-hugepd', 0x11000n, /8192 bytes/],
    ['ppc-e500', 0n, /address 0/],
  ] as const)('%s rejects 0x%s', (name, pgd, message) => {
    expect(() => rootFromRegisters(modeNamed(name), { pgd }, 'user')).toThrow(message);
  });
});

describe.each(NAMES)('%s: encode inverts decode', (name) => {
  const mode = modeNamed(name);
  const half = fc.integer({ min: 0, max: 0xffffffff });
  it.each(mode.levels.map((l) => l.level.name))('level %s', (levelName) => {
    const level = levelNamed(mode, levelName);
    fc.assert(
      fc.property(half, half, (lo, high) => {
        const hi = level.wide ? high : 0;
        const entry = decode(level, lo, hi);
        if (entry.form) expect(encode(entry.form, entry)).toEqual({ lo, hi });
      }),
    );
  });
});
