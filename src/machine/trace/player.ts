/**
 * Plays a recorded trace on a machine and reports where the machine answers differently.
 *
 * Invariants: every operation is played, also after a difference; an operation counts as different when its result differs or when its
 * snapshot has a difference that was not there before it; a difference that stays counts once, where it came to be.
 */
import { PxdError } from '../../pagetable/error.ts';
import { ACCEPTED, type Accepted, acceptedBy } from './accepted.ts';
import { compareResults, compareSnapshots, type Difference, identityOf } from './compare.ts';
import { applyDelta, emptySnapshot, type Snapshot } from './delta.ts';
import { Executor } from './execute.ts';
import { type OperationResult, parseTrace, type Trace, type TraceHeader, type TraceStep } from './format.ts';
import type { TraceHost } from './host.ts';
import { Snapshots } from './snapshot.ts';

/** An operation whose result or state differs, with what came to differ in it. */
export interface OperationDifference extends Difference {
  /** Number of the operation. */
  readonly i: number;
  readonly op: string;
}

export interface TraceReport {
  readonly trace: string;
  readonly group: string;
  /** Operations in the trace. */
  readonly ops: number;
  /** Operations that differ, without the accepted ones. */
  readonly differences: number;
  /** Operations that differ for a reason in docs/fidelity.md. */
  readonly accepted: number;
  /** The first difference. */
  readonly first?: OperationDifference;
  /** All differences, where asked for. */
  readonly all?: readonly OperationDifference[];
}

/** Builds the machine that a trace asks for. */
export type CreateMachine = (header: TraceHeader) => TraceHost;

export interface ReportOptions {
  readonly accepted?: readonly Accepted[];
  /** Keep every difference. */
  readonly all?: boolean;
}

/** Plays a trace (its text, or parsed) and compares every result and every state. Throws a `PxdError` for what is no trace. */
export function reportTrace(text: string | Trace, create: CreateMachine, options: ReportOptions = {}): TraceReport {
  const trace = typeof text === 'string' ? parseTrace(text) : text;
  const { name, group } = trace.header;
  const rows = options.accepted ?? ACCEPTED;
  const all: OperationDifference[] = [];
  let [differences, accepted] = [0, 0];
  let first: OperationDifference | undefined;
  for (const { step, found } of compareTrace(trace, create)) {
    if (found.length === 0) continue;
    const mine = found.filter((d) => acceptedBy(name, step.op, d.what, rows) === undefined).map((d) => ({ i: step.i, op: step.op, ...d }));
    if (mine.length === 0) accepted++;
    else {
      differences++;
      first ??= mine[0];
      if (options.all) all.push(...mine);
    }
  }
  return { trace: name, group, ops: trace.steps.length, differences, accepted, ...(first ? { first } : {}), ...(options.all ? { all } : {}) };
}

/** Each operation with what it came to differ in. */
export function* compareTrace(trace: Trace, create: CreateMachine): Generator<{ step: TraceStep; found: Difference[] }> {
  let player: Player;
  try {
    player = new Player(trace.header, create);
  } catch (error) {
    // Without a machine every operation differs.
    for (const step of trace.steps) yield { step, found: [{ what: 'run', where: '', expected: undefined, got: failure(error) }] };
    return;
  }
  const expected = emptySnapshot();
  let before = new Set<string>();
  for (const step of trace.steps) {
    const result = player.run(step);
    const found: Difference[] = [];
    if (typeof result === 'string') found.push({ what: 'run', where: '', expected: JSON.stringify(step.expected ?? null), got: result });
    else if (step.expected !== undefined) found.push(...compareResults(step.expected, result));
    if (step.delta !== undefined) {
      applyDelta(expected, step.delta);
      const state = compareState(expected, player);
      found.push(...state.filter((d) => !before.has(identityOf(d))));
      before = new Set(state.map(identityOf));
    }
    yield { step, found };
  }
}

/** The state may be one that the machine cannot show: that is a difference, too. */
function compareState(expected: Snapshot, player: Player): Difference[] {
  try {
    return compareSnapshots(expected, player.snapshot());
  } catch (error) {
    return [{ what: 'run', where: 'snapshot', expected: undefined, got: failure(error) }];
  }
}

const failure = (error: unknown): string =>
  error instanceof PxdError ? error.message : `the machine failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;

/** A machine, and what plays operations on it. */
export class Player {
  readonly host: TraceHost;
  readonly snapshots: Snapshots;
  readonly #executor: Executor;

  constructor(header: TraceHeader, create: CreateMachine) {
    this.host = create(header);
    this.snapshots = new Snapshots({ noref: header.noref, sys: header.sys, pteBaseKb: header.harness.pteBaseKb });
    this.#executor = new Executor(this.host, this.snapshots.names);
  }

  /** Carries out an operation; a sentence where the machine cannot (a bug of it, or something it does not have). */
  run(step: TraceStep): OperationResult | string {
    this.host.drain();
    try {
      return this.#executor.run(step);
    } catch (error) {
      if (error instanceof PxdError && error.code === 'unknown') throw error;
      return failure(error);
    }
  }

  /** The state now. */
  snapshot(): Snapshot {
    this.host.drain();
    return this.snapshots.take(this.host);
  }
}
