/** Builds the machine that a trace asks for. */
import { PxdError } from '../../pagetable/error.ts';
import type { TraceHeader } from './format.ts';
import type { TraceHost } from './host.ts';

/** A machine with the settings of the header, process 0 and its harness VMA. */
export function createTraceMachine(header: TraceHeader): TraceHost {
  throw new PxdError('unavailable', `no machine is built in that could play ${header.name || 'the trace'}`);
}
