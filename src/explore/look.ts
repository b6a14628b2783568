/**
 * What checks of scenarios look at: memory as a process would read it, without a fault and without a trace.
 */
import { loadEntry } from '../kernel/arch.ts';
import { leafPage, mmuEntry, mmuLevel } from '../kernel/mmu.ts';
import { get } from '../memory/heap.ts';
import { wordShift, words } from '../memory/state.ts';
import { blockState } from '../mm/disk-block.ts';
import { BLOCK_UNWRITTEN } from '../mm/file-types.ts';
import { Block, Mm, Process } from '../mm/types.ts';
import { PTE_PRESENT } from '../pagetable/canonical.ts';

/** The entry (of the lowest level, or a huge one) that a process (its reference, as `fork` returns it) has for a page; 0 for none. */
export function entryOf(process: number, vpn: number): number {
  const ptep = mmuEntry(get(get(process, Process.mm), Mm.pgd), vpn);
  return ptep === 0 ? 0 : loadEntry(ptep, mmuLevel);
}

/** The page of RAM that a process maps at a page, 0 for none. */
export function pageAt(process: number, vpn: number): number {
  const entry = entryOf(process, vpn);
  return (entry & PTE_PRESENT) === 0 ? 0 : leafPage(entry, mmuLevel, vpn);
}

/** First word of what the disk holds of a page of a file; 0 where nothing was written. */
export function blockWord(inode: number, index: number): number {
  const block = blockState(inode, index);
  return block > BLOCK_UNWRITTEN ? get(block, Block.words) : 0;
}

/** First word of a page of a process (its low 31 bits, as `threadLoad` returns it); undefined where nothing is mapped. */
export function wordAt(process: number, vpn: number): number | undefined {
  const page = pageAt(process, vpn);
  return page === 0 ? undefined : words[page << wordShift] & 0x7fffffff;
}
