/** Canonical entries: what goes in comes out, less what the mode cannot express. */
import { expect, it } from 'vitest';
import { findMode } from '../../src/arch/registry.ts';
import {
  createCodec,
  makeEntry,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_READ,
  PTE_TABLE,
  PTE_USER,
  PTE_WRITE,
} from '../../src/pagetable/canonical.ts';

it('x86-4level: words as pgtable_types.h gives them', () => {
  const codec = createCodec(findMode('x86-4level') as NonNullable<ReturnType<typeof findMode>>);
  const word = (level: number, e: number): string => {
    codec.encode(level, e);
    return ((BigInt(codec.hi >>> 0) << 32n) | BigInt(codec.lo >>> 0)).toString(16);
  };
  expect(word(0, makeEntry(0x12345, PTE_PRESENT | PTE_READ | PTE_WRITE | PTE_USER | PTE_ACCESSED | PTE_DIRTY))).toBe('8000000012345067');
  expect(word(0, makeEntry(0x12345, PTE_PRESENT | PTE_PROTNONE | PTE_ACCESSED))).toBe('fffffedcba120');
  expect(word(1, makeEntry(0x12345, PTE_TABLE))).toBe('12345067');
  expect(word(3, 0)).toBe('0');
});
