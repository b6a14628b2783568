/** Scenarios that tests of runs check: two of the catalogue, and small programs of a seed. Threads load it too. */
import type { Scenario } from '../../../src/explore/scenario.ts';
import e17 from '../../../src/races/e17.ts';
import e28 from '../../../src/races/e28.ts';
import { smallProgram } from './small-programs.ts';

/** Seed of the small programs (PXD_SEED), the same in threads. */
export const SEED = Number(process.env.PXD_SEED ?? 1);
const PROGRAMS = 6;

export const small: readonly Scenario[] = Array.from({ length: PROGRAMS }, (_, i) => smallProgram(SEED + i));
export const catalogue: readonly Scenario[] = [e17, e28, ...small];
