/** Conformance of pxd's own machine: a trace played on the machine that its header asks for. */
import type { Trace } from './format.ts';
import { createTraceMachine } from './machine.ts';
import { type CreateMachine, type ReportOptions, reportTrace, type TraceReport } from './player.ts';

export type { OperationDifference, TraceReport } from './player.ts';

/** Plays a trace (its text, or parsed) and compares every result and every state. Throws a `PxdError` for what is no trace. */
export const conformTrace = (text: string | Trace, options: ReportOptions & { readonly create?: CreateMachine } = {}): TraceReport =>
  reportTrace(text, options.create ?? createTraceMachine, options);
