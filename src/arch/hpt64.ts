/**
 * The hashed page table that book3s/64 CPUs search where they do not walk a radix tree: its format as data.
 * Sources: Power ISA 3.0B book III, 5.7 (partition table, segment lookaside buffer, hashed page table translation; the entry format of
 * version 3.0 has the segment size B in the second doubleword); Linux arch/powerpc/include/asm/book3s/64/mmu-hash.h, arch/powerpc/mm/book3s64/hash_utils.c.
 *
 * Invariants: entries are 16 bytes, big-endian in memory, eight to a group; bits count from the least significant of each doubleword.
 * A virtual address is VSID and offset in the segment; a group is chosen by hashing both, by base page.
 */
import type { Fields } from './mode.ts';

/** What an actual page size looks like in an entry of a segment of a base page size. */
export interface HashPageSize {
  /** log2 of the segment's base page: by it addresses are hashed. */
  readonly base: number;
  /** log2 of what the entry maps. */
  readonly actual: number;
  /** L of the first doubleword. */
  readonly large: 0 | 1;
  /** Low bits of the real page number where L is set, as many as the page leaves free (8 at most). */
  readonly encoding: number;
}

/** How a segment of a size is hashed: the VSID is xor-ed with itself shifted left by `fold` (0: not at all). */
export interface HashSegmentSize {
  readonly b: 0 | 1;
  readonly shift: 28 | 40;
  readonly fold: 0 | 25;
}

/** Rights by storage key and page protection (PP0 in front). */
export type PageProtection = Readonly<Record<'key0' | 'key1', readonly ('' | 'r' | 'rw')[]>>;

export const hpt64 = {
  entryBytes: 16,
  groupEntries: 8,
  hashBits: 39,
  /** First doubleword of the partition-table entry (PTCR → partition table → entry of the LPID). */
  partition: { HR: '63 host radix', HTABORG: '59:18 origin of the hash table', HTABSIZE: '4:0 size: 2^(18 + this) bytes' },
  partitionControl: { PATB: '59:12 origin of the partition table', PATS: '4:0 size: 2^(12 + this) bytes' },
  slb: {
    esid: { ESID: '63:28 effective segment', V: '27 valid', INDEX: '11:0 slot' },
    vsid: {
      B: '63:62 segment size (0 256M, 1 1T)',
      VSID: '61:12 virtual segment',
      KS: '11 key in privileged state',
      KP: '10 key in problem state',
      N: '9 no execution from the segment',
      L: '8 large base page',
      C: '7 class',
      LP: '5:4 size of the large base page',
    },
  },
  entry: {
    first: {
      AVPN: '51:7 abbreviated virtual page (virtual address / 2^23)',
      SW: '6:3 software (Linux: bolted, locked)',
      L: '2 large page',
      H: '1 stands in the secondary group',
      V: '0 valid',
    },
    second: {
      PP0: '63 page protection, first bit',
      KEY: '61:60,11:9 storage key',
      B: '59:58 segment size',
      RPN: '56:12 real page number, its low bits the size where L is set',
      R: '8 reference',
      C: '7 change',
      W: '6 write through',
      I: '5 caching inhibited',
      M: '4 memory coherence',
      G: '3 guarded',
      N: '2 no execute',
      PP: '1:0 page protection',
    },
  },
  segments: [
    { b: 0, shift: 28, fold: 0 },
    { b: 1, shift: 40, fold: 25 },
  ] as readonly HashSegmentSize[],
  /** Base page sizes of a segment, by L and LP of its SLB entry (POWER8 and POWER9). */
  basePages: [
    { large: 0, lp: 0, base: 12 },
    { large: 1, lp: 0, base: 24 },
    { large: 1, lp: 1, base: 16 },
    { large: 1, lp: 2, base: 34 },
  ],
  /** Page sizes as firmware tells them on POWER8 and POWER9 (ibm,segment-page-sizes). */
  pageSizes: [
    { base: 12, actual: 12, large: 0, encoding: 0 },
    { base: 12, actual: 16, large: 1, encoding: 0x07 },
    { base: 12, actual: 24, large: 1, encoding: 0x38 },
    { base: 16, actual: 16, large: 1, encoding: 0x01 },
    { base: 16, actual: 24, large: 1, encoding: 0x08 },
    { base: 24, actual: 24, large: 1, encoding: 0x00 },
    { base: 34, actual: 34, large: 1, encoding: 0x03 },
  ] as readonly HashPageSize[],
  /** Indexed by PP0 PP. */
  protection: { key0: ['rw', 'rw', 'rw', 'r', '', '', 'r', ''], key1: ['', 'r', 'rw', 'r', '', '', '', ''] } as PageProtection,
  /** W I M G by the cache attribute of Linux's entry (ATT: normal, strong order, non-idempotent, tolerant). */
  wimg: [0b0010, 0b1110, 0b0101, 0b0100],
  /** Key that Linux gives its own pages, so that the kernel's access to user pages can be shut off (since 5.11, where the CPU has keys). */
  kernelKey: 3,
  /** How Linux makes VSIDs: (context, segment of the context) times a prime, modulo 2^n - 1. */
  vsid: {
    multiplier: 12538073n,
    vaBits: 68,
    contextBits: 49,
    smallSegmentsBelow: 40,
    /** Contexts that the linear map has, from 1 on, by page shift (46 or 51 bits of physical memory); vmalloc, I/O and vmemmap have the next three. */
    linearContexts: { 12: 1, 16: 4 } as Readonly<Record<number, number>>,
  },
} as const satisfies { readonly partition: Fields; readonly [name: string]: unknown };
