/**
 * Loops of files that never end: every loop of a scenario's file counts its rounds, and one that goes round too often before the next operation of any task throws.
 * Without that a loop without operations would hang whoever runs it.
 *
 * Invariant: counted are rounds since the last operation (`wind`), of all loops of all files together.
 */

/** Rounds that plain code may go between two operations: far more than any that ends needs. */
export const ROUNDS = 20_000_000;

let left = ROUNDS;

/** A loop goes round. @throws {Error} when it was the last time that it may */
export function round(): void {
  if (--left >= 0) return;
  left = ROUNDS;
  throw new Error(`a loop has gone round ${ROUNDS.toLocaleString('en-US')} times without an operation: others never get to run`);
}

/** An operation: all loops begin anew. */
export function wind(): void {
  left = ROUNDS;
}
