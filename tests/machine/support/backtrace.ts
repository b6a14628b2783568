/** Which calls of kernel code are being made right now, by a backtrace: named as call-sites.ts does. Columns of the direct and of the native program are those of the sources. */
import { ROOT } from './call-sites.ts';

const known = new Map<string, readonly string[]>();
const FRAME = /^ +at (?:Object\.|new )?([\w$.]+) \((.*?)(?:\?[^:)]*)?:(\d+):(\d+)\)$/;

/** Names of the calls, innermost first. */
export function callsNow(): readonly string[] {
  const { prepareStackTrace, stackTraceLimit } = Error;
  Error.stackTraceLimit = 80;
  // The places as the engine has them are cheap: what was seen before needs no map.
  Error.prepareStackTrace = (_error, calls) => calls.map((one) => `${one.getFileName()}:${one.getLineNumber()}:${one.getColumnNumber()}`).join();
  const raw = String(new Error().stack);
  Error.prepareStackTrace = prepareStackTrace;
  let calls = known.get(raw);
  if (calls === undefined) {
    calls = named(String(new Error().stack));
    known.set(raw, calls);
  }
  Error.stackTraceLimit = stackTraceLimit;
  return calls;
}

function named(stack: string): string[] {
  const found: string[] = [];
  let callee = '';
  for (const line of stack.split('\n')) {
    const [, name, path, row, column] = FRAME.exec(line) ?? [];
    // A primitive as a generator has one name for all of them.
    if (name === undefined || name === 'announce') continue;
    const file = path.replace('file://', '');
    if (callee !== '' && file.startsWith(`${ROOT}/src/mm/`)) found.push(`${file.slice(ROOT.length + 1)}:${row}:${column} ${callee}`);
    callee = name;
  }
  return found;
}
