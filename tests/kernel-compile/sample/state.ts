/** The memory of the sample kernel: one typed array, shared by its three programs. */

/** Words of the sample kernel's memory. */
export const WORDS = 64;
export const memory = new Int32Array(WORDS);
/** What the primitives did, for comparison: code and arguments. */
export const trace: number[][] = [];

/** Longest history that is of interest; random programs may go on longer. */
export const LONGEST = 2000;

export function record(...operation: number[]): void {
  if (trace.length >= LONGEST) throw new Error('long enough');
  trace.push(operation);
}

export const reset = (): void => {
  memory.fill(0);
  trace.length = 0;
};

/** A plain helper of kernel code. */
export const clampIndex = (index: number): number => (((index % WORDS) + WORDS) % WORDS) | 0;
