/**
 * Where allocations have failed: the calls of kernel code (call-sites.ts) that were being made when fault injection made one fail, by backtraces. Columns of the
 * direct and the native program are those of the sources.
 */
import { watchFailures } from '../../../src/kernel/effects.ts';
import { ROOT } from './call-sites.ts';

/** Names of calls, as call-sites.ts makes them. */
export const failed = new Set<string>();

const seen = new Set<string>();
const FRAME = /^ +at (?:Object\.|new )?([\w$.]+) \((.*?)(?:\?[^:)]*)?:(\d+):(\d+)\)$/;

/** Every allocation that fails from here on is noted. */
export function noteFailures(): void {
  watchFailures(() => {
    const { prepareStackTrace, stackTraceLimit } = Error;
    Error.stackTraceLimit = 60;
    // The places as the engine has them are cheap: what was seen before needs no map.
    Error.prepareStackTrace = (_error, calls) => calls.map((one) => `${one.getFileName()}:${one.getLineNumber()}:${one.getColumnNumber()}`).join();
    const raw = String(new Error().stack);
    Error.prepareStackTrace = prepareStackTrace;
    if (!seen.has(raw)) {
      seen.add(raw);
      note(String(new Error().stack));
    }
    Error.stackTraceLimit = stackTraceLimit;
  });
}

export const stopNoting = (): void => watchFailures(undefined);

function note(stack: string): void {
  let callee = '';
  for (const line of stack.split('\n')) {
    const [, name, path, row, column] = FRAME.exec(line) ?? [];
    if (name === undefined) continue;
    if (callee !== '' && path.startsWith(`${ROOT}/src/mm/`)) failed.add(`${path.slice(ROOT.length + 1)}:${row}:${column} ${callee}`);
    callee = name;
  }
}
