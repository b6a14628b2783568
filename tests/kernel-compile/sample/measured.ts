/** The mock fault that is measured: its operations do not record themselves. */
import type { Op } from './op.ts';
import { readQuietly, writeQuietly } from './ops.ts';

function* lock(word: number, owner: number): Op<number> {
  while ((yield* readQuietly(word)) !== 0);
  return yield* writeQuietly(word, owner);
}

function* fill(entry: number): Op<number> {
  if ((yield* readQuietly(entry)) !== 0) return 1;
  const frame = yield* readQuietly(2);
  yield* writeQuietly(entry, frame + 1);
  return 0;
}

function* locked(entry: number, owner: number): Op<number> {
  yield* lock(1, owner);
  const result = yield* fill(entry);
  yield* writeQuietly(1, 0);
  return result;
}

/** Eight operations, calls three deep. */
export function* measured(vpn: number, owner: number): Op<number> {
  if ((yield* readQuietly(8 + owner)) === vpn) return 1;
  const result = yield* locked(16 + (vpn & 31), owner);
  if (result === 0) yield* writeQuietly(3, vpn);
  return result;
}
