/** powerpc book3s/64: entries as the ISA and the kernel's headers define them, roots, huge pages in both forms, swap-type words by version. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holds } from '../../src/arch/notation.ts';
import { decode, encode, levelNamed, rightsOf } from '../../src/pagetable/entry.ts';
import { LinuxEntries } from '../../src/pagetable/linux.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { decodeSwap, swapTypes } from '../../src/pagetable/swap.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt, translationOf } from '../support/translation.ts';

const NAMES = ['ppc64-radix-4k', 'ppc64-radix-64k', 'ppc64-hash-4k', 'ppc64-hash-64k', 'ppc64-hash-4k-hugepd', 'ppc64-hash-64k-hugepd'];

const halves = (word: bigint): [number, number] => [Number(word & 0xffffffffn), Number(word >> 32n)];

/** What an entry means in one line: form, address, rights, state. */
function meaning(name: string, level: string, word: bigint): string {
  const l = levelNamed(modeNamed(name), level);
  const [lo, hi] = halves(word);
  const d = decode(l, lo, hi);
  if (!d.form) return 'bad';
  const back = encode(d.form, { fields: d.fields, address: d.address, rest: d.rest });
  expect((BigInt(back.hi) << 32n) | BigInt(back.lo)).toBe(word);
  const odd = d.reserved.lo || d.reserved.hi ? ' reserved' : '';
  if (d.kind !== 'leaf') return `${d.form.form.name}${d.address === undefined ? '' : ` 0x${d.address.toString(16)}`}${odd}`;
  const r = rightsOf(d.form, lo, hi);
  const a = d.form.allows;
  const flag = (condition: typeof a.dirty, letter: string): string => (holds(condition, lo, hi) ? letter : '');
  return `${d.form.form.name} 0x${d.address?.toString(16)} ${r.read ? 'r' : '-'}${r.write ? 'w' : '-'}${r.exec ? 'x' : '-'}${r.user ? 'u' : 'k'} ${flag(a.dirty, 'd')}${flag(a.accessed, 'a')}${flag(a.present, 'p')}${odd}`;
}

describe('entries', () => {
  it.each([
    // Radix: V, L, RPN, R, C, EAA of a leaf; V, NLB, NLS of a directory entry.
    ['ppc64-radix-4k', 'pgd', 0x8000000000123009n, 'level 2 page directory 0x123000'],
    ['ppc64-radix-4k', 'pud', 0x8000000000123009n, 'level 3 page directory 0x123000'],
    ['ppc64-radix-4k', 'pmd', 0x8000000000123009n, 'page table 0x123000'],
    ['ppc64-radix-4k', 'pmd', 0x8000000000123005n, 'bad'],
    ['ppc64-radix-4k', 'pmd', 0xc000000040000386n, '2M page 0x40000000 rw-u dap'],
    ['ppc64-radix-4k', 'pmd', 0x6000000040000386n, '2M page, invalid for a moment 0x40000000 ---u da'],
    ['ppc64-radix-4k', 'pmd', 0xc000000040001386n, '2M page 0x40000000 rw-u dap reserved'],
    ['ppc64-radix-4k', 'pud', 0xc00000004000018fn, '1G page 0x40000000 rwxk dap'],
    ['ppc64-radix-4k', 'pte', 0xc000000012345386n, '4K page 0x12345000 rw-u dap'],
    ['ppc64-radix-4k', 'pte', 0xc00000001234510dn, '4K page 0x12345000 r-xk ap'],
    ['ppc64-radix-4k', 'pte', 0xc000000012345102n, '4K page 0x12345000 rw-u ap'],
    ['ppc64-radix-4k', 'pte', 0xc000000012345100n, '4K page 0x12345000 ---u a'],
    ['ppc64-radix-4k', 'pte', 0x8000000012345106n, 'bad'],
    ['ppc64-radix-4k', 'pte', 0x0000000000000180n, 'empty'],
    ['ppc64-radix-4k', 'pte', 0x4000000012345021n, 'swap-type entry'],
    ['ppc64-radix-64k', 'pmd', 0x8000000001230105n, 'page table 0x1230100'],
    ['ppc64-radix-64k', 'pmd', 0x8000000001230009n, 'bad'],
    ['ppc64-radix-64k', 'pud', 0x8000000001230009n, 'level 3 page directory 0x1230000'],
    ['ppc64-radix-64k', 'pte', 0xc000000123450384n, '64K page 0x123450000 r--u dap'],
    ['ppc64-radix-64k', 'pte', 0xc000000123451384n, '64K page 0x123450000 r--u dap reserved'],
    ['ppc64-radix-64k', 'pmd', 0xc000000400200105n, '2M page 0x400200000 r-xu ap'],
    ['ppc64-radix-64k', 'pte', 0x4000000123450017n, 'swap-type entry'],
    // Hash: slot and key of the hardware's entry stand in the upper bits.
    ['ppc64-hash-4k', 'pgd', 0x8000000000123000n, 'PUD table 0x123000'],
    ['ppc64-hash-4k', 'pud', 0x8000000000123c00n, 'PMD table 0x123c00'],
    ['ppc64-hash-4k', 'pmd', 0x8000000000123000n, 'PTE table 0x123000'],
    ['ppc64-hash-4k', 'pmd', 0xd040000004000386n, '2M page 0x4000000 rw-u dap'],
    ['ppc64-hash-4k', 'pud', 0xc000000400000386n, '256M page 0x400000000 rw-u dap'],
    ['ppc64-hash-4k', 'pte', 0xd1e0000012345386n, '4K page 0x12345000 rw-u dap'],
    ['ppc64-hash-4k', 'pte', 0xce00000012345101n, '4K page 0x12345000 --xu ap'],
    ['ppc64-hash-4k', 'pte', 0x11e0000000000040n, 'empty'],
    ['ppc64-hash-64k', 'pgd', 0x8000000001230000n, 'PUD table 0x1230000'],
    ['ppc64-hash-64k', 'pmd', 0x8000000001231000n, 'PTE table 0x1231000'],
    ['ppc64-hash-64k', 'pmd', 0xc000000400002104n, '16M page 0x400000000 r--u ap'],
    ['ppc64-hash-64k', 'pud', 0xc000000400000106n, '16G page 0x400000000 rw-u ap'],
    ['ppc64-hash-64k', 'pte', 0xc080000123451386n, '64K page 0x123450000 rw-u dap'],
    ['ppc64-hash-64k', 'pte', 0x0080000000001040n, 'empty'],
    ['ppc64-hash-64k', 'pte', 0x4000000123450201n, 'swap-type entry'],
    // Until 6.10: page size number << 2 beside the address of the directory.
    ['ppc64-hash-4k-hugepd', 'pud', 0x8000000000123028n, 'huge page directory, 16M 0x123000'],
    ['ppc64-hash-4k-hugepd', 'pgd', 0x80000000001230f8n, 'huge page directory, 16G 0x1230c0'],
    ['ppc64-hash-4k-hugepd', 'pud', 0x8000000000123400n, 'PMD table 0x123400'],
    ['ppc64-hash-4k-hugepd', 'pmd', 0x8000000000123000n, 'PTE table 0x123000'],
    ['ppc64-hash-4k-hugepd', 'pmd', 0xc000000004000386n, 'bad'],
    ['ppc64-hash-4k-hugepd', 'hugepte16m', 0xc000000007000386n, '16M page 0x7000000 rw-u dap'],
    ['ppc64-hash-4k-hugepd', 'hugepte16g', 0xc000000400000384n, '16G page 0x400000000 r--u dap'],
    ['ppc64-hash-64k-hugepd', 'pmd', 0xc000000400000386n, '16M page 0x400000000 rw-u dap'],
    ['ppc64-hash-64k-hugepd', 'pud', 0xc000000400000386n, '16G page 0x400000000 rw-u dap'],
    ['ppc64-hash-64k-hugepd', 'pud', 0x8000000001234000n, 'PMD table 0x1234000'],
    ['ppc64-hash-64k-hugepd', 'pte', 0xc000000123450108n, '64K page 0x123450000 ---k a'],
    ['ppc64-hash-64k-hugepd', 'pte', 0xc000000123450107n, '64K page 0x123450000 rwxu ap'],
    ['ppc64-hash-64k-hugepd', 'pmd', 0x4000000400000018n, 'swap-type entry'],
  ])('%s, %s: %s', (name, level, word, text) => {
    expect(meaning(name, level, word)).toBe(text);
  });

  it.each(NAMES)('%s: decoding and encoding any word gives the word', (name) => {
    const mode = modeNamed(name);
    const word = fc.record({ hi: fc.nat(0xffffffff), lo: fc.nat(0xffffffff), top: fc.constantFrom(0, 0x40000000, 0x80000000, 0xc0000000) });
    fc.assert(
      fc.property(fc.constantFrom(...mode.levels), word, (level, { hi, lo, top }) => {
        const h = ((hi & 0x3fffffff) | top) >>> 0;
        const d = decode(level, lo, h);
        if (!d.form) return;
        expect(encode(d.form, { fields: d.fields, address: d.address, rest: d.rest })).toEqual({ lo, hi: h });
      }),
    );
  });

  it('fields have the names of ISA and kernel', () => {
    const d = decode(levelNamed(modeNamed('ppc64-hash-4k'), 'pte'), ...halves(0xd7a00000123453a6n));
    expect(Object.fromEntries(d.fields)).toMatchObject({
      V: 1,
      L: 1,
      HASHPTE: 1,
      PKEY: 3,
      F_SECOND: 1,
      F_GIX: 5,
      SOFT_DIRTY: 1,
      R: 1,
      C: 1,
      ATT: 2,
      READ: 1,
      WRITE: 1,
      EXEC: 0,
      PRIVILEGED: 0,
    });
  });
});

describe('roots', () => {
  const radix = modeNamed('ppc64-radix-4k');
  const hash = modeNamed('ppc64-hash-4k');

  it('a process-table doubleword gives table and quadrant', () => {
    const user = rootFromRegisters(radix, { prte0: 0x40000000012a00adn, pidr: 4n }, 'user');
    expect(user).toMatchObject({ table: 0x12a0000n, level: 'pgd', ranges: [{ half: 'user', va: 0n, from: 0, to: 8192 }] });
    const kernel = rootFromRegisters(radix, { prte0: 0x40000000006d00adn, pidr: 0n }, 'kernel');
    expect(kernel).toMatchObject({ table: 0x6d0000n, ranges: [{ half: 'kernel', va: 0xc000000000000000n }] });
    // The same doubleword stands in the partition table of a host, with HR set.
    expect(rootFromRegisters(radix, { prte0: 0xc0000000027500adn }, 'kernel').table).toBe(0x2750000n);
  });

  it.each([
    [0x40000000012a00acn, /RPDS is 12, expected 13/],
    [0x40000000012a00cdn, /RTS is 22 \(53 address bits\), expected 21/],
    [0x00000000012a00adn, /RTS is 5/],
    [0x40000000012a10adn, /not aligned/],
    [0x40000000000000adn, /RPDB is 0/],
    [0x50000000012a00adn, /bit 60/],
    [0n, /RTS is 0/],
  ])('0x%s is refused', (value, why) => {
    expect(() => rootFromRegisters(radix, { prte0: value }, 'user')).toThrow(why);
  });

  it("a process's root does not serve the kernel's addresses", () => {
    expect(() => rootFromRegisters(radix, { prte0: 0x40000000012a00adn, pidr: 4n }, 'kernel')).toThrow(/entry of PID 4/);
    expect(() => rootFromRegisters(hash, { pgd: 0x46ca000n, context_id: 7n }, 'kernel')).toThrow(/PGD of a process/);
    expect(rootFromRegisters(hash, { pgd: 0x2750000n }, 'kernel').ranges[0].va).toBe(0xc000000000000000n);
  });

  it.each([0n, 0x46ca010n, 1n << 60n])('a pgd of 0x%s is refused', (value) => {
    expect(() => rootFromRegisters(hash, { pgd: value }, 'user')).toThrow(/multiple of 4096/);
  });
});

describe('trees', () => {
  const RW = 0x106n;
  const LEAF = 0xc000000000000000n;
  const TABLE = 0x8000000000000000n;

  it('radix: a path of four levels, entries big-endian; rights are the leaf alone', () => {
    const memory = new Memory('big');
    memory.put(0x10000 + 3 * 8, TABLE | 0x30009n, 8);
    memory.put(0x30000 + 511 * 8, TABLE | 0x31009n, 8);
    memory.put(0x31000 + 2 * 8, TABLE | 0x32009n, 8);
    memory.put(0x31000 + 3 * 8, LEAF | 0x40000000n | 0x18fn, 8);
    memory.put(0x32000 + 7 * 8, LEAF | 0x12345000n | RW, 8);
    const mode = modeNamed('ppc64-radix-4k');
    const tables = readPageTables(mode, memory, rootFromRegisters(mode, { prte0: 0x40000000000100adn }, 'user'));
    const base = (3n << 39n) | (511n << 30n);
    const at = (offset: bigint): string => (base + offset).toString(16);
    expect(translationOf(tables)).toEqual(
      expect.arrayContaining([`${at(0x407000n)}-${at(0x408000n)} 12345000 rw-u 4096`, `${at(0x600000n)}-${at(0x800000n)} 40000000 rwxk 2097152`]),
    );
  });

  /** PGD, PUD and PMD tables of a hash tree with 4K pages. */
  function hash4k(): Memory {
    const memory = new Memory('big');
    memory.put(0x20000, TABLE | 0x21000n, 8);
    memory.put(0x21000, TABLE | 0x22400n, 8);
    memory.put(0x22400, 0n, 8);
    return memory;
  }

  it('hash, 4K: eight PMDs are one 16M page, whose first entry decides', () => {
    const memory = hash4k();
    for (let i = 0; i < 8; i++) memory.put(0x22400 + (8 + i) * 8, LEAF | (0x4000000n + BigInt(i) * 0x200000n) | (i === 0 ? 0x1040000000000386n : 0x104n), 8);
    expect(translationOf(tablesAt(modeNamed('ppc64-hash-4k'), memory, 0x20000n))).toEqual(['1000000-2000000 4000000 rw-u 16777216']);
  });

  it('hash, 4K: a hole, a wrong frame or another privilege breaks the run', () => {
    for (const spoil of [0n, LEAF | 0x9000000n | 0x104n, LEAF | 0x4600000n | 0x10cn]) {
      const memory = hash4k();
      for (let i = 0; i < 8; i++) memory.put(0x22400 + (8 + i) * 8, LEAF | (0x4000000n + BigInt(i) * 0x200000n) | 0x104n, 8);
      memory.put(0x22400 + 11 * 8, spoil, 8);
      const lines = translationOf(tablesAt(modeNamed('ppc64-hash-4k'), memory, 0x20000n));
      expect(lines.length).toBeGreaterThan(1);
      for (const line of lines) expect(line).toMatch(/ broken$/);
    }
  });

  it('hash, 4K: sixty-four PUDs are one 16G page, in either form of the kernel', () => {
    const runs = new Memory('big');
    runs.put(0x20000, TABLE | 0x21000n, 8);
    for (let i = 0; i < 64; i++) runs.put(0x21000 + (64 + i) * 8, LEAF | (0x800000000n + BigInt(i) * 0x10000000n) | RW, 8);
    const directory = new Memory('big');
    directory.put(0x20000, TABLE | 0x21040n | (14n << 2n), 8);
    directory.put(0x21040 + 8, LEAF | 0x800000000n | RW, 8);
    const want = ['400000000-800000000 800000000 rw-u 17179869184'];
    expect(translationOf(tablesAt(modeNamed('ppc64-hash-4k'), runs, 0x20000n))).toEqual(want);
    expect(translationOf(tablesAt(modeNamed('ppc64-hash-4k-hugepd', '6.1'), directory, 0x20000n))).toEqual(want);
  });

  it('hash, 4K, 6.1: a directory of 16M pages hangs in the PUD', () => {
    const memory = new Memory('big');
    memory.put(0x20000, TABLE | 0x21000n, 8);
    memory.put(0x21000 + 8, TABLE | 0x22080n | (10n << 2n), 8);
    memory.put(0x22080 + 15 * 8, LEAF | 0x7000000n | 0x104n, 8);
    expect(translationOf(tablesAt(modeNamed('ppc64-hash-4k-hugepd', '6.1'), memory, 0x20000n))).toEqual(['1f000000-20000000 7000000 r--u 16777216']);
  });

  it('hash, 64K: PTE tables of 256 entries beside their slots, 16M and 16G leaves', () => {
    const memory = new Memory('big');
    memory.put(0x20000, TABLE | 0x24000n, 8);
    memory.put(0x24000, TABLE | 0x28000n, 8);
    memory.put(0x24000 + 8, LEAF | 0x400000000n | RW, 8);
    memory.put(0x28000, TABLE | 0x31000n, 8);
    memory.put(0x28000 + 8, LEAF | 0x5000000n | 0x2105n, 8);
    // The other frame of each upper table.
    memory.put(0x25000, 0n, 8);
    memory.put(0x29000, 0n, 8);
    memory.put(0x31000 + 255 * 8, LEAF | 0x1234570000n | RW, 8);
    // A hash slot word behind the table is no entry.
    memory.put(0x31000 + 256 * 8, 0xf00000000n, 8);
    expect(translationOf(tablesAt(modeNamed('ppc64-hash-64k'), memory, 0x20000n))).toEqual([
      'ff0000-1000000 1234570000 rw-u 65536',
      '1000000-2000000 5000000 r-xu 16777216',
      '400000000-800000000 400000000 rw-u 17179869184',
    ]);
  });
});

describe('swap-type words', () => {
  it.each([
    ['ppc64-radix-4k', 0x4000000012345021n, { type: 1, offset: 0x12345, exclusive: true, softDirty: false }],
    ['ppc64-hash-64k', 0x4000000123450205n, { type: 5, offset: 0x12345, exclusive: false, softDirty: true }],
    ['ppc64-hash-4k', 0x4001234567890016n, { type: 22, offset: 0x123456789 * 16 }],
  ])('%s: 0x%s', (name, word, want) => {
    expect(decodeSwap(modeNamed(name), 'pte', ...halves(word))).toMatchObject(want);
  });

  it('markers came to this architecture with 6.2; before it type 31 is a swap-in error', () => {
    const kinds = (kernel: string): string[] => {
      const mode = modeNamed('ppc64-radix-4k', kernel);
      return swapTypes(mode.kernel, mode.specials)
        .map((t) => t.kind)
        .slice(26);
    };
    expect(kinds('6.1')).toEqual(['swap', 'hwpoison', 'migration', 'migration', 'migration', 'swapin-error']);
    expect(kinds('6.12')).toEqual(['swap', 'hwpoison', 'migration', 'migration', 'migration', 'marker']);
  });
});

describe("Linux's own operations", () => {
  it('PROT_NONE was privileged until 6.8, and a hint could remember that it was writable until 6.2', () => {
    const old = new LinuxEntries(modeNamed('ppc64-radix-4k', '6.1'));
    const now = new LinuxEntries(modeNamed('ppc64-radix-4k', '6.12'));
    expect(old.prot('PAGE_NONE').lo).toBe(0x108);
    expect(now.prot('PAGE_NONE').lo).toBe(0x100);
    const hint = { lo: 0x12345100, hi: 0xc0000000 };
    expect(old.predicate('pte', 'pte_write', hint)).toBe(true);
    expect(now.predicate('pte', 'pte_write', hint)).toBe(false);
    expect(old.edit('pte_wrprotect', 'pte', hint).lo).toBe(0x12345108);
  });

  it('the leaf mark is on swap-type PMDs too: leaf means something only after present', () => {
    const linux = new LinuxEntries(modeNamed('ppc64-hash-64k', '6.12'));
    const migration = { lo: 0x0000001c, hi: 0x40000004 };
    expect(linux.predicate('pmd', 'pmd_leaf', migration)).toBe(true);
    expect(linux.predicate('pmd', 'pmd_present', migration)).toBe(false);
    expect(linux.predicate('pmd', 'is_pmd_migration_entry', migration)).toBe(true);
  });
});
