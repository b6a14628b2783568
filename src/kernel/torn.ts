/**
 * Entries of two words that a 32-bit kernel writes one word after the other (x86 PAE, e500 and book3s/32 with 64-bit entries): set_pte() writes the word that
 * makes an entry present last, and clearing writes it first. Lockless readers and hardware may come in between.
 *
 * Invariants: under the table's lock an entry is whole. What lies in memory in between may be nothing that Linux writes; a lockless read of it is an entry that
 * is not present and that nobody knows, which has to be looked at again under the lock.
 */
import { heap, setWord, words } from '../memory/state.ts';
import { PTE_EXEC, PTE_READ, PTE_SWAP, PTE_TABLE, PTE_WRITE } from '../pagetable/canonical.ts';
import { codec, loadEntry } from './arch.ts';
import { HW_TORN_ENTRIES, KernelState, kernelState } from './task.ts';

/** Whether the machine writes such entries in halves, and the mode's kernel does. arm's LPAE stores both words at once. */
export function entriesAreTorn(level: number): boolean {
  if (kernelState() === 0 || (heap[kernelState() + KernelState.hardware] & HW_TORN_ENTRIES) === 0) return false;
  const { entryWords, secondWord } = codec.tables[level];
  return entryWords === 2 && secondWord === 1 && codec.vaBits <= 32 && codec.mode.family !== 'arm';
}

/** Writes the first half of an entry. */
export function storeFirstHalf(at: number, level: number, entry: number): void {
  codec.encode(level, entry);
  const present = (entry & (PTE_TABLE | PTE_READ | PTE_WRITE | PTE_EXEC)) !== 0;
  // In memory of big-endian machines the high word stands first.
  const [first, second] = codec.bigEndian ? [codec.hi, codec.lo] : [codec.lo, codec.hi];
  const low = codec.bigEndian ? at + 1 : at;
  const high = codec.bigEndian ? at : at + 1;
  const [lowWord, highWord] = codec.bigEndian ? [second, first] : [first, second];
  setWord(present ? high : low, inMemory(present ? highWord : lowWord));
}

const inMemory = (word: number): number => (codec.bigEndian ? ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24) : word);

/** A read of an entry that may be half written. */
export function loadTorn(at: number, level: number): number {
  try {
    return loadEntry(at, level);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return (words[at] | words[at + 1]) === 0 ? 0 : PTE_SWAP;
  }
}
