/**
 * Translations that CPUs hold, and how kernel code gets rid of them.
 *
 * A machine's soft TLB is a table of tags and page addresses which emulated CPUs look into before they ask the mm (machine/soft-tlb.ts
 * tells their layout). Whoever owns one registers to hear of every flush.
 */

type Flusher = (mm: number, start: number, end: number) => void;

let flusher: Flusher | undefined;

/** The mounted machine's TLB; called with vpns [start, end) of an address space whose translations must go. */
export const mountTlb = (next: Flusher | undefined): void => {
  flusher = next;
};

/** flush_tlb_range: no CPU translates a page of [start, end) of the address space any longer. */
export function flushTlbRange(mm: number, start: number, end: number): number {
  flusher?.(mm, start, end);
  return 0;
}

/** flush_tlb_mm: the whole address space. */
export function flushTlbMm(mm: number): number {
  flusher?.(mm, 0, Number.MAX_SAFE_INTEGER);
  return 0;
}
