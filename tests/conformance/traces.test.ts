/** Every recording of a real kernel that the machine has the calls for, played on the machine: no difference in any result, signal or state. */
import { describe, expect, it } from 'vitest';
import { conformTrace } from '../../src/machine/trace/conform.ts';
import { isWhole, nameOf, PLAYABLE, readTrace, traceFiles } from '../machine/trace/traces.ts';

/** Recordings of each group in the whole collection. */
const WHOLE: Readonly<Record<string, number>> = { anon: 58, file: 45, fork: 41, mlock: 37, misc: 41 };

describe('recordings of Linux 6.18', () => {
  it.each(PLAYABLE)('%s', (group) => {
    const files = traceFiles([group]);
    expect(files.length).toBeGreaterThanOrEqual(isWhole ? WHOLE[group] : 1);
    for (const file of files) {
      const { ops, differences, first } = conformTrace(readTrace(file));
      expect({ trace: nameOf(file), differences, first }).toEqual({ trace: nameOf(file), differences: 0, first: undefined });
      expect(ops).toBeGreaterThan(2);
    }
  });
});
