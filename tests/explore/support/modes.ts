/** The modes in which every entry of the catalogue that makes sense there has to do what it says. */
import type { Scenario } from '../../../src/explore/scenario.ts';

export const MODES = ['x86-4level', 's390x', 'arm64-4k-48', 'ppc-8xx-4k'];

/** The first of them that an entry makes sense in. */
export const modeOf = ({ modes }: Scenario): string => MODES.find((mode) => modes?.(mode) !== false) as string;
