/**
 * Differences from the recordings that are accepted, each for a reason that stands in docs/fidelity.md.
 *
 * Invariant: a row accepts only what it names; `npm run conform` counts accepted operations in a column of their own, and `reason` stands
 * word for word in docs/fidelity.md (a test looks).
 */
export interface Accepted {
  /** Names of traces. */
  readonly trace: RegExp;
  /** Names of operations; any where absent. */
  readonly op?: RegExp;
  /** What differs: `r`, `v`, `f`, `vma`, `status`, …; any where absent. */
  readonly what?: RegExp;
  /** Words of docs/fidelity.md that tell why. */
  readonly reason: string;
}

export const ACCEPTED: readonly Accepted[] = [];

/** The row that accepts a difference. */
export const acceptedBy = (trace: string, op: string, what: string, rows: readonly Accepted[] = ACCEPTED): Accepted | undefined =>
  rows.find((row) => row.trace.test(trace) && (row.op?.test(op) ?? true) && (row.what?.test(what) ?? true));
