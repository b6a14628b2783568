/** Where allocations have failed: the calls of kernel code (call-sites.ts) that were being made when fault injection made one fail. */
import { watchFailures } from '../../../src/kernel/effects.ts';
import { callsNow } from './backtrace.ts';

/** Names of calls, as call-sites.ts makes them. */
export const failed = new Set<string>();

/** Every allocation that fails from here on is noted. */
export const noteFailures = (): void =>
  watchFailures(() => {
    for (const name of callsNow()) failed.add(name);
  });

export const stopNoting = (): void => watchFailures(undefined);
