/** Hash tables made by hand: hits, misses and every kind of difference. */
import { describe, expect, it } from 'vitest';
import { hashTable32 } from '../../src/arch/powerpc-book3s32.ts';
import { compareHashTable32, findContext32, hashTable32At, linuxVsids } from '../../src/pagetable/hpt32.ts';
import { Memory } from '../support/memory.ts';
import { modeNamed, tablesAt } from '../support/translation.ts';

const ORIGIN = 0x800000;
const SDR1 = ORIGIN | 0;
const CONTEXT = 5;
const mode = modeNamed('ppc-book3s32', '6.12');
const vsids = linuxVsids(hashTable32, CONTEXT);

/** Writes an entry as create_hpte does: into the primary or the secondary group of a page. */
function insert(memory: Memory, va: number, pa: number, pp: number, options: { slot?: number; secondary?: boolean; shift?: number } = {}): void {
  const vsid = vsids[va >>> 28];
  const page = (va >>> 12) & 0xffff;
  let group = ((vsid & 0x7ffff) ^ page) & 0x3ff;
  if (options.secondary) group = ~group & 0x3ff;
  group ^= options.shift ?? 0;
  const at = ORIGIN + group * 64 + (options.slot ?? 0) * 8;
  memory.put(at, (0x80000000 | (vsid << 7) | (options.secondary ? 0x40 : 0) | (page >>> 10)) >>> 0);
  memory.put(at + 4, pa | 0x110 | pp);
}

/** Three pages: read-write, read-only, no access. */
function tree(): Memory {
  const memory = new Memory('big');
  memory.put(0x10000 + 4 * 0x40, 0x20000);
  memory.put(0x20000 + 4 * 1, 0x1001000 | 0x597);
  memory.put(0x20000 + 4 * 2, 0x1002000 | 0x117);
  memory.put(0x20000 + 4 * 3, 0x1003000 | 0x111);
  return memory;
}

const compare = (memory: Memory) => compareHashTable32(hashTable32, tablesAt(mode, memory, 0x10000n), memory, SDR1, vsids);
const kinds = (memory: Memory): string[] => compare(memory).differences.map((d) => d.what);

describe('the hash table against the tree', () => {
  it('counts hits and misses; an entry may stand in its second group', () => {
    const memory = tree();
    insert(memory, 0x10001000, 0x1001000, 2);
    insert(memory, 0x10002000, 0x1002000, 3, { secondary: true, slot: 7 });
    expect(compare(memory)).toEqual({ lookedUp: 3, hits: 2, misses: 1, secondary: 1, entries: 2, differences: [] });
    expect(findContext32(hashTable32, tablesAt(mode, memory, 0x10000n), memory, SDR1, [1])).toBe(CONTEXT);
  });

  it('finds another frame', () => {
    const memory = tree();
    insert(memory, 0x10001000, 0x1009000, 2);
    expect(kinds(memory)).toEqual(['frame']);
    expect(compare(memory).differences[0].text).toBe('0x10001000: frame 0x1009, the tree has 0x1001');
  });

  it('finds rights that the tree does not give', () => {
    const memory = tree();
    insert(memory, 0x10002000, 0x1002000, 2);
    insert(memory, 0x10003000, 0x1003000, 3);
    expect(kinds(memory)).toEqual(['rights', 'rights']);
  });

  it('finds entries without a page, twice, and in the wrong group', () => {
    const memory = tree();
    insert(memory, 0x10007000, 0x1007000, 2);
    insert(memory, 0x10001000, 0x1001000, 2);
    insert(memory, 0x10001000, 0x1001000, 2, { slot: 1 });
    expect(kinds(memory).sort()).toEqual(['stray', 'twice']);
  });

  it('reads SDR1', () => {
    expect(hashTable32At(hashTable32, 0x9f80007)).toEqual({ origin: 0x9f80000, groups: 8192 });
    expect(() => hashTable32At(hashTable32, 0x9f80005)).toThrow(/run of low ones/);
    expect(() => hashTable32At(hashTable32, 0x9f10007)).toThrow(/multiple of its size/);
  });
});

it('an entry in a group that no page of its segment hashes to is misplaced', () => {
  // Two groups of 1024 entries each: the group's 11th bit contradicts the abbreviated page index.
  const memory = tree();
  const vsid = vsids[1];
  const page = 0x0001;
  const group = (((vsid & 0x7ffff) ^ page) & 0x7ff) ^ 0x400;
  memory.put(ORIGIN + group * 64, (0x80000000 | (vsid << 7)) >>> 0);
  memory.put(ORIGIN + group * 64 + 4, 0x1001112);
  const result = compareHashTable32(hashTable32, tablesAt(mode, memory, 0x10000n), memory, ORIGIN | 1, vsids);
  expect(result.differences.map((d) => d.what)).toEqual(['misplaced']);
});
