/** Hand-made 8xx memories: every page size, before and after huge page directories; entries by the manual; roots; swap-type words. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode, levelNamed } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap } from '../../src/pagetable/swap.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

const NAMES = ['ppc-8xx-4k', 'ppc-8xx-4k-hugepd', 'ppc-8xx-16k', 'ppc-8xx-16k-hugepd'];
const PGD = 0x10000;
const M = 2 ** 20;
const USER = 0x041;
const SHARED = 0x121;

/** Writes one page as Linux's set_huge_pte_at does. `first` is what the first-level entry carries below the address. */
function map(memory: Memory, name: string, va: number, pa: number, size: number, bits = SHARED): void {
  const base = name.includes('16k') ? 16384 : 4096;
  const mark = size === 4096 ? 0 : size === 16384 ? 0x008 : 0x808;
  const attributes = bits | mark | (base === 16384 ? 0x008 : 0);
  const slots = Math.max(1, size / (4 * M));
  for (let s = 0; s < slots; s++) {
    const slot = Math.floor(va / (4 * M)) + s;
    const hugepd = size === 8 * M && name.endsWith('hugepd');
    const table = hugepd ? 0x40000 + (slot - s) * 4096 : 0x20000 + slot * 4096;
    memory.put(PGD + slot * 4, table | (size === 8 * M ? 0x04d : USER));
    if (hugepd) memory.put(table, pa | attributes);
    else {
      const bytes = Math.min(size, 4 * M);
      const cells = bytes === base && base === 16384 ? 4 : bytes / 4096;
      // An ordinary PTE of 16K base pages is four equal cells; otherwise the address rises by 4K.
      const step = bytes === base ? 0 : 4096;
      const first = Math.floor((va % (4 * M)) / 4096);
      for (let i = 0; i < cells; i++) memory.put(table + (first + i) * 4, pa + s * 4 * M + i * step + attributes);
    }
  }
}

describe.each(NAMES)('%s: pages of every size', (name) => {
  const mode = modeNamed(name, name.endsWith('hugepd') ? '6.1' : '6.12');
  const base = name.includes('16k') ? 16384 : 4096;
  const sizes = [4096, 16384, 512 * 1024, 8 * M].filter((s) => s >= base);

  it.each(sizes)('%i bytes', (size) => {
    const memory = new Memory('big');
    map(memory, name, 0x1000000, 0x5800000, size);
    const lines = translationOf(tablesAt(mode, memory, BigInt(PGD)));
    expect(lines).toEqual([`1000000-${(0x1000000 + size).toString(16)} 5800000 rw-u ${size}`]);
  });

  it('tells pages of all sizes in one tree apart', () => {
    const memory = new Memory('big');
    map(memory, name, 0x800000, 0x2800000, 8 * M);
    map(memory, name, 0x1000000, 0x4000000, 512 * 1024, 0x641);
    map(memory, name, 0x1080000, 0x4100000, base);
    map(memory, name, 0x1080000 + base, 0x4100000 + base, base, 0x221);
    expect(translationOf(tablesAt(mode, memory, BigInt(PGD)))).toEqual([
      '800000-1000000 2800000 rw-u 8388608',
      '1000000-1080000 4000000 r-xu 524288',
      `1080000-${(0x1080000 + base).toString(16)} 4100000 rw-u ${base}`,
      `${(0x1080000 + base).toString(16)}-${(0x1080000 + 2 * base).toString(16)} ${(0x4100000 + base).toString(16)} ---u ${base}`,
    ]);
  });

  it('reports an 8M page of which one half is missing', () => {
    const memory = new Memory('big');
    map(memory, name, 0x800000, 0x2800000, 8 * M);
    memory.put(PGD + 3 * 4, 0);
    const lines = translationOf(tablesAt(mode, memory, BigInt(PGD)));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^800000-c00000 2800000 rw-u \d+ broken$/);
  });

  it.runIf(base === 16384)('reports a page whose four cells disagree', () => {
    const memory = new Memory('big');
    map(memory, name, 0x1000000, 0x4000000, base);
    map(memory, name, 0x1000000 + base, 0x4000000 + base, base);
    memory.put(0x20000 + 4 * 4096 + 4 * 4 + 2 * 4, (0x4000000 + base) | 0x629);
    expect(translationOf(tablesAt(mode, memory, BigInt(PGD)))).toEqual(['1000000-1004000 4000000 rw-u 16384', '1004000-1008000 4004000 rw-u 16384 broken']);
  });

  it('reports a cell that disagrees', () => {
    const memory = new Memory('big');
    map(memory, name, 0x1000000, 0x4000000, 512 * 1024);
    const table = 0x20000 + 4 * 4096;
    memory.put(table + 64 * 4, 0x4040000 | 0x629 | 0x800);
    const lines = translationOf(tablesAt(mode, memory, BigInt(PGD)));
    expect(lines.every((l) => l.endsWith('broken'))).toBe(true);
    expect(lines.some((l) => l.includes(' r--u '))).toBe(true);
  });
});

describe('huge page directories and their removal translate alike', () => {
  it.each(['4k', '16k'])('%s base pages', (base) => {
    const answers = [`ppc-8xx-${base}`, `ppc-8xx-${base}-hugepd`].map((name) => {
      const memory = new Memory('big');
      map(memory, name, 0x2000000, 0x800000, 8 * M);
      map(memory, name, 0x2800000, 0x1000000, 8 * M, 0x661);
      map(memory, name, 0x3000000, 0x1880000, 512 * 1024);
      return translationOf(tablesAt(modeNamed(name), memory, BigInt(PGD)));
    });
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).toHaveLength(3);
  });

  it('takes either half of an 8M page from its own table', () => {
    const memory = new Memory('big');
    const mode = modeNamed('ppc-8xx-4k');
    // After pte_update with 16K steps, and with all low bits zero: hardware ignores them.
    memory.put(PGD + 4 * 2, 0x2004d);
    memory.put(PGD + 4 * 3, 0x2104d);
    for (let i = 0; i < 1024; i++) {
      memory.put(0x20000 + 4 * i, 0x40000929);
      memory.put(0x21000 + 4 * i, 0x40000929);
    }
    expect(translationOf(tablesAt(mode, memory, BigInt(PGD)))).toEqual(['800000-1000000 40000000 rw-u 8388608']);
  });
});

describe('entries', () => {
  const mode = modeNamed('ppc-8xx-4k', '6.12');
  const pte = levelNamed(mode, 'pte');
  const linux = new LinuxEntries(mode);

  // Word, kind, address, then fields that are not zero: pte-8xx.h and the MPC885 manual's level-two descriptor.
  it.each([
    [0x12345021, 'leaf', 0x12345000n, { V: 1, ACCESSED: 1 }],
    [0x12345621, 'leaf', 0x12345000n, { V: 1, ACCESSED: 1, PP: 3 }],
    [0x12345221, 'leaf', 0x12345000n, { V: 1, ACCESSED: 1, PP: 1 }],
    [0xfffff165, 'leaf', 0xfffff000n, { V: 1, SH: 1, ACCESSED: 1, EXEC: 1, DIRTY: 1 }],
    [0x40000829, 'leaf', 0x40000000n, { V: 1, SPS: 1, ACCESSED: 1, HUGE: 1 }],
    [0x12345033, 'leaf', 0x12345000n, { V: 1, CI: 1, G: 1, ACCESSED: 1 }],
    [0x000001f8, 'nonpresent', undefined, {}],
    [0, 'none', undefined, {}],
  ] as const)('0x%s', (word, kind, address, fields) => {
    const entry = decode(pte, word, 0);
    expect(entry.kind).toBe(kind);
    expect(entry.address).toBe(address);
    expect(Object.fromEntries([...entry.fields].filter(([, v]) => v !== 0))).toEqual(fields);
    expect(entry.reserved).toEqual({ lo: 0, hi: 0 });
    expect(encode(entry.form as NonNullable<typeof entry.form>, entry)).toEqual({ lo: word, hi: 0 });
  });

  it('first level: user, kernel and 8M tables; reserved bits are seen', () => {
    const pgd = levelNamed(mode, 'pgd');
    expect(decode(pgd, 0x123041, 0).form?.form.name).toBe('level-two table');
    expect(decode(pgd, 0x12304d, 0).form?.form.next).toBe('pte-8m');
    expect(decode(pgd, 0x123f91, 0).reserved.lo).toBe(0xf90);
    expect(decode(levelNamed(modeNamed('ppc-8xx-4k-hugepd'), 'pgd'), 0x12304d, 0).kind).toBe('hugepd');
    expect(linux.predicate('pmd', 'pmd_bad', { lo: 0x123051, hi: 0 })).toBe(true);
  });

  it('swap-type words: the exclusive bit came with 6.3', () => {
    expect(decodeSwap(mode, 'pte', 0x123450c, 0)).toMatchObject({ type: 1, offset: 0x12345, exclusive: true });
    expect(decodeSwap(modeNamed('ppc-8xx-4k-hugepd', '6.1'), 'pte', 0x123450c, 0)).toMatchObject({ type: 1, offset: 0x12345, exclusive: false });
  });

  it('rights over the levels: a table without the user group keeps user mode out', () => {
    const memory = new Memory('big');
    memory.put(PGD, 0x20001);
    memory.put(0x20000, 0x5000000 | SHARED);
    expect(translationOf(tablesAt(mode, memory, BigInt(PGD)))).toEqual(['0-1000 5000000 rw-k 4096']);
  });
});

describe('root', () => {
  const mode = modeNamed('ppc-8xx-4k');
  it('takes M_TWB with the index that hardware left in it', () => {
    expect(rootFromRegisters(mode, { m_twb: 0x10abcn }, 'user').table).toBe(0x10000n);
  });
  it('splits at 0x80000000', () => {
    expect(rootFromRegisters(mode, { PGD: 0x10000n }, 'user').ranges.map((r) => [r.half, r.va])).toEqual([
      ['user', 0n],
      ['kernel', 0x80000000n],
    ]);
  });
  it.each([0n, 0xc0010000n])('rejects 0x%s', (value) => {
    expect(() => rootFromRegisters(mode, { pgd: value }, 'user')).toThrow(/pgd 0x/);
  });
});

describe.each(NAMES)('%s: encode inverts decode', (name) => {
  const mode = modeNamed(name);
  it.each(mode.levels.map((l) => l.level.name))('level %s', (level) => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (lo) => {
        const entry = decode(levelNamed(mode, level), lo, 0);
        if (entry.form) expect(encode(entry.form, entry)).toEqual({ lo, hi: 0 });
      }),
    );
  });
});
