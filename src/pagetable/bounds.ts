/**
 * How much a graph of tables can expand to. Tables that share tables through entries that differ stand for exponentially many extents (a table that
 * points to itself 512 times over four levels: 2^36), so expansion is bounded by what is really there.
 *
 * Invariant: real kernels stay far below the bound, since what they share (the kernel half, zero shadows) they share through equal entries or once.
 */
import { PxdError } from './error.ts';
import type { PageTables } from './tree.ts';

/** Runs of entries that an expansion may look at or hand on. */
export const expansionLimit = (tables: PageTables): number => 8_000_000 + 8 * tables.items.length;

export const tooManyExtents = (tables: PageTables): PxdError =>
  new PxdError(
    'limit',
    `${tables.root.label}: the tables point to each other so often that they stand for more than ${expansionLimit(tables)} runs of pages; restrict the walk to a range`,
  );

/**
 * Refuses tables whose expansion is beyond the limit before anything is handed on. Runs of equal entries count once, so this is a lower bound;
 * whoever expands counts as well. @throws {PxdError} `limit`.
 */
export function checkExpansion(tables: PageTables): void {
  const { nodes, items, attributes } = tables;
  const work = new Float64Array(nodes.length);
  // A child's level lies below its parent's: deepest levels first.
  const order = nodes.map((n) => n.id).sort((a, b) => nodes[b].level - nodes[a].level);
  for (const id of order) {
    const { from, to } = nodes[id];
    let sum = to - from;
    for (let i = from; i < to; i++) {
      const { kind } = attributes[items.attribute[i]];
      if (kind === 'table' || kind === 'hugepd') sum += work[items.value[i]];
    }
    work[id] = sum;
  }
  if (nodes.length > 0 && work[0] > expansionLimit(tables)) throw tooManyExtents(tables);
}
