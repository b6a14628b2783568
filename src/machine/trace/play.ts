/**
 * Plays a trace or a script step by step: on a machine, or as it was recorded.
 *
 * Invariant: the snapshots handed out are never changed afterwards.
 */
import { PxdError } from '../../pagetable/error.ts';
import { compareResults, compareSnapshots, type Difference, identityOf } from './compare.ts';
import { applyDelta, emptySnapshot, type Snapshot } from './delta.ts';
import type { OperationResult, Trace, TraceStep } from './format.ts';
import { type CreateMachine, Player } from './player.ts';

/** An operation that was played. */
export interface Played {
  readonly step: TraceStep;
  /** A text where the machine could not carry it out. */
  readonly result: OperationResult | string;
  readonly before: Snapshot;
  readonly after: Snapshot;
  /** What differs from the recording, and did not before; none in a script. */
  readonly differences: readonly Difference[];
}

/** The recording itself, without a machine. Throws a `PxdError` for what holds none. */
export function* playRecorded(trace: Trace): Generator<Played> {
  let before = emptySnapshot();
  for (const step of trace.steps) {
    if (step.expected === undefined)
      throw new PxdError('usage', `${trace.header.name || 'the trace'} is a list of operations without results: nothing is recorded in it`);
    const after = copyOf(before);
    if (step.delta !== undefined) applyDelta(after, step.delta);
    yield { step, result: step.expected, before, after, differences: [] };
    before = after;
  }
}

/** Plays on a machine and compares with the recording, where there is one. */
export function* playOnMachine(trace: Trace, create: CreateMachine): Generator<Played> {
  const player = new Player(trace.header, create);
  const recorded = emptySnapshot();
  let before = emptySnapshot();
  let known = new Set<string>();
  for (const step of trace.steps) {
    const result = player.run(step);
    const after = player.snapshot();
    const differences: Difference[] = [];
    if (step.expected !== undefined && typeof result !== 'string') differences.push(...compareResults(step.expected, result));
    if (step.delta !== undefined) {
      applyDelta(recorded, step.delta);
      const state = compareSnapshots(recorded, after);
      differences.push(...state.filter((d) => !known.has(identityOf(d))));
      known = new Set(state.map(identityOf));
    }
    yield { step, result, before, after, differences };
    before = after;
  }
}

const copyOf = (state: Snapshot): Snapshot => ({
  processes: new Map([...state.processes].map(([number, { lines, status }]) => [number, { lines: new Map(lines), status: { ...status } }])),
  files: new Map(state.files),
  sys: new Map(state.sys),
});
