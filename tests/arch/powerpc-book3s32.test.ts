/** book3s/32: entries by pgtable.h of both eras, roots, rights by address, swap-type words, hash table entries. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode, levelNamed } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap } from '../../src/pagetable/swap.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

describe('entries', () => {
  // Word, kernel, kind, address, fields.
  it.each([
    [0x12345515, '6.12', 'leaf', 0x12345000n, { PRESENT: 1, READ: 1, M: 1, ACCESSED: 1, WRITE: 1 }],
    [0x12345515, '6.1', 'leaf', 0x12345000n, { PRESENT: 1, USER: 1, M: 1, ACCESSED: 1, WRITE: 1 }],
    [0x12345797, '6.12', 'leaf', 0x12345000n, { PRESENT: 1, HASHPTE: 1, READ: 1, M: 1, DIRTY: 1, ACCESSED: 1, EXEC: 1, WRITE: 1 }],
    [0x123455ad, '6.12', 'leaf', 0x12345000n, { PRESENT: 1, READ: 1, G: 1, I: 1, DIRTY: 1, ACCESSED: 1, WRITE: 1 }],
    [0x12345911, '6.12', 'leaf', 0x12345000n, { PRESENT: 1, M: 1, ACCESSED: 1, SPECIAL: 1 }],
    [0x0123450c, '6.12', 'nonpresent', undefined, {}],
    [0x00000002, '6.12', 'none', undefined, { HASHPTE: 1 }],
  ] as const)('0x%s of Linux %s', (word, kernel, kind, address, fields) => {
    const pte = levelNamed(modeNamed('ppc-book3s32', kernel), 'pte');
    const entry = decode(pte, word, 0);
    expect(entry.kind).toBe(kind);
    expect(entry.address).toBe(address);
    expect(Object.fromEntries([...entry.fields].filter(([, v]) => v !== 0))).toEqual(fields);
    expect(encode(entry.form as NonNullable<typeof entry.form>, entry)).toEqual({ lo: word, hi: 0 });
  });

  it('64-bit PTEs reach 36 bits; only the low word tells an empty one', () => {
    const pte = levelNamed(modeNamed('ppc-book3s32-pte64'), 'pte');
    expect(decode(pte, 0xfffff515, 0xf).address).toBe(0xffffff000n);
    expect(decode(pte, 0xfffff515, 0x1f).reserved.hi).toBe(0x10);
    expect(decode(pte, 2, 0xc0000000).kind).toBe('none');
  });

  it('protections changed their bit 2 with 6.7', () => {
    expect(new LinuxEntries(modeNamed('ppc-book3s32', '6.12')).prot('PAGE_KERNEL').lo).toBe(0x595);
    expect(new LinuxEntries(modeNamed('ppc-book3s32', '6.1')).prot('PAGE_KERNEL').lo).toBe(0x591);
  });

  it('swap-type words by version', () => {
    expect(decodeSwap(modeNamed('ppc-book3s32', '6.12'), 'pte', 0x123450c, 0)).toMatchObject({ type: 1, offset: 0x12345, exclusive: true });
    expect(decodeSwap(modeNamed('ppc-book3s32', '6.1'), 'pte', 0x1234508, 0)).toMatchObject({ type: 1, offset: 0x12345, exclusive: false });
  });
});

describe('trees', () => {
  const build = (): Memory => {
    const memory = new Memory('big');
    memory.put(0x10000 + 4 * 0x3ff, 0x20000);
    memory.put(0x10000 + 4 * 0x2c0, 0x20000);
    memory.put(0x10000, 0x20000);
    memory.put(0x20000 + 4 * 5, 0x5000 | 0x515);
    memory.put(0x20000 + 4 * 6, 0x6000 | 0x315);
    return memory;
  };

  it('the address tells user from kernel since 6.7', () => {
    expect(translationOf(tablesAt(modeNamed('ppc-book3s32', '6.12'), build(), 0x10000n))).toEqual([
      '5000-6000 5000 rw-u 4096',
      '6000-7000 6000 r-xu 4096',
      'b0005000-b0006000 5000 rw-u 4096',
      'b0006000-b0007000 6000 r-xu 4096',
      'ffc05000-ffc06000 5000 rw-k 4096',
      'ffc06000-ffc07000 6000 r-xk 4096',
    ]);
  });

  it("the kernel's own directory has its modules in the kernel's half", () => {
    const lines = translationOf(tablesAt(modeNamed('ppc-book3s32', '6.12'), build(), 0x10000n, 'kernel'));
    expect(lines.filter((l) => l.startsWith('b'))).toEqual(['b0005000-b0006000 5000 rw-k 4096', 'b0006000-b0007000 6000 r-xk 4096']);
  });

  it('roots: physical, aligned, not zero', () => {
    const mode = modeNamed('ppc-book3s32');
    expect(rootFromRegisters(mode, { PGD: 0x95a000n }, 'user').table).toBe(0x95a000n);
    for (const pgd of [0n, 0xc095a000n, 0x95a800n]) expect(() => rootFromRegisters(mode, { pgd }, 'user')).toThrow(/pgd 0x/);
    expect(() => rootFromRegisters(modeNamed('ppc-book3s32-pte64'), { pgd: 0x95b000n }, 'user')).toThrow(/8192/);
  });
});

describe.each(['ppc-book3s32', 'ppc-book3s32-pte64'])('%s: encode inverts decode', (name) => {
  const half = fc.integer({ min: 0, max: 0xffffffff });
  for (const kernel of ['6.1', '6.12'])
    it.each(modeNamed(name).levels.map((l) => l.level.name))(`level %s of Linux ${kernel}`, (levelName) => {
      const level = levelNamed(modeNamed(name, kernel), levelName);
      fc.assert(
        fc.property(half, half, (lo, high) => {
          const hi = level.wide ? high : 0;
          const entry = decode(level, lo, hi);
          if (entry.form) expect(encode(entry.form, entry)).toEqual({ lo, hi });
        }),
      );
    });
});
