/**
 * Canonical entries: one exact number for a page-table entry of any mode.
 *
 * 0 is the empty entry. Any other entry is `payload * 2^20 + bits`: `e & 0xfffff` gives the bits (ToInt32 is exact modulo 2^32), what is left is
 * the payload, below 2^33: a page frame number in pages of the mode, or of a swap-type entry `offset * 32 + type`.
 *
 * Invariants: exactly one of PRESENT, SWAP and TABLE is set in an entry that is not empty; PROTNONE comes with PRESENT and without READ, WRITE,
 * EXEC and USER; HUGE stands on every leaf above the lowest level and, with TABLE, on what leads to a table of huge pages; CONT on leaves, and with TABLE and HUGE; SWP_EXCLUSIVE comes with SWAP.
 */

/** Maps memory: `pte_present()`. */
export const PTE_PRESENT = 1;
export const PTE_READ = 2;
export const PTE_WRITE = 4;
export const PTE_EXEC = 8;
/** Open to user mode. */
export const PTE_USER = 16;
/** `pte_young()`. */
export const PTE_ACCESSED = 32;
export const PTE_DIRTY = 64;
/** No struct page behind it, or not to be looked at. */
export const PTE_SPECIAL = 128;
/** Of a swap-type entry: `pte_swp_soft_dirty()`. */
export const PTE_SOFT_DIRTY = 256;
/** Of a swap-type entry: `pte_swp_uffd_wp()`. */
export const PTE_UFFD_WP = 512;
/** Present for Linux, inaccessible for everybody: PAGE_NONE. */
export const PTE_PROTNONE = 1024;
/** A leaf above the lowest level. */
export const PTE_HUGE = 2048;
/** A swap-type entry: swap slot, migration, hwpoison, marker. */
export const PTE_SWAP = 4096;
/** `pte_swp_exclusive()`. */
export const PTE_SWP_EXCLUSIVE = 8192;
/**
 * Points to a table of the level below; payload is the page frame number of its (first) page. With HUGE: to one that maps huge pages, and with a number in PTE_GROUP to
 * a huge page directory of that kind (`EntryCodec.directories`), whose entries are of a level of their own.
 */
export const PTE_TABLE = 16384;

/**
 * One of a group of leaves that map a larger page together; each maps its own piece, whatever its word says (arm64's contiguous bit, Svnapot, size codes of sparc64 and
 * e500, cells of 8xx). Of which of the level's groups (`CodecLevel.groups`), as a number from 1 on, stands in the bits of PTE_GROUP: PTE_CONT alone is the first.
 */
export const PTE_CONT = 32768;
export const PTE_GROUP = 7 * PTE_CONT;

/** All bits that have a meaning. */
export const PTE_BITS = 32767 + PTE_GROUP;
/** What a payload is multiplied with. */
export const PAYLOAD_UNIT = 2 ** 20;
/** Payloads are below this. */
export const PAYLOAD_LIMIT = 2 ** 33;
const INVERSE_UNIT = 2 ** -20;
const BITS_MASK = 0xfffff;

export const entryBits = (e: number): number => e & BITS_MASK;
export const entryPayload = (e: number): number => (e - (e & BITS_MASK)) * INVERSE_UNIT;
/** The page frame number of a leaf or a table. */
export const entryPfn = entryPayload;
export const makeEntry = (payload: number, bits: number): number => payload * PAYLOAD_UNIT + bits;

/** Type of a swap-type entry (its meaning: `swapTypes` of swap.ts). */
export const swapType = (e: number): number => entryPayload(e) & 31;
export const swapOffset = (e: number): number => Math.floor(entryPayload(e) / 32);
/** @param bits any of SWP_EXCLUSIVE, SOFT_DIRTY and UFFD_WP. */
export const makeSwapEntry = (type: number, offset: number, bits = 0): number => makeEntry(offset * 32 + type, bits | PTE_SWAP);
