/**
 * What differs between a recording and a machine: results of an operation, and states.
 *
 * Invariant: two equal values give no difference, and whatever a trace tells is compared.
 */
import { type Snapshot, sameFile } from './delta.ts';
import { type OperationResult, RESULT_FIELDS } from './format.ts';

/** One thing that differs; texts are as in the trace. */
export interface Difference {
  /** `r`, `v`, `f`, `status`, `walk_end`, `u`; `process`, `vma`, `counter`, `file`, `sys` for parts of the state; `run` where playing failed. */
  readonly what: DifferenceKind;
  /** Where in the state: `0 10000000-10004000`, `0 VmPTE`, `memfd:0`; empty for a field of the result. */
  readonly where: string;
  /** Absent where one side has nothing. */
  readonly expected: string | undefined;
  readonly got: string | undefined;
}

export type DifferenceKind = (typeof RESULT_FIELDS)[number] | 'process' | 'vma' | 'counter' | 'file' | 'sys' | 'run';

/** Fields of the result that differ. */
export function compareResults(expected: OperationResult, got: OperationResult): Difference[] {
  const found: Difference[] = [];
  for (const what of RESULT_FIELDS) {
    const [a, b] = [textOf(expected[what]), textOf(got[what])];
    if (a !== b) found.push({ what, where: '', expected: a, got: b });
  }
  return found;
}

const textOf = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));

/** Parts of the state that differ: processes ascending, VMAs by address, then files and counters of the machine. */
export function compareSnapshots(expected: Snapshot, got: Snapshot): Difference[] {
  const found: Difference[] = [];
  for (const number of union(expected.processes.keys(), got.processes.keys()).sort((a, b) => a - b)) {
    const [a, b] = [expected.processes.get(number), got.processes.get(number)];
    if (a === undefined || b === undefined) {
      found.push({ what: 'process', where: `${number}`, expected: a && 'alive', got: b && 'alive' });
      continue;
    }
    for (const key of union(a.lines.keys(), b.lines.keys()).sort(byStart)) {
      const [line, other] = [a.lines.get(key), b.lines.get(key)];
      if (line !== other) found.push({ what: 'vma', where: `${number} ${key}`, expected: line, got: other });
    }
    for (const key of union(Object.keys(a.status), Object.keys(b.status))) {
      const [value, other] = [a.status[key], b.status[key]];
      if (value !== other) found.push({ what: 'counter', where: `${number} ${key}`, expected: value?.toString(), got: other?.toString() });
    }
  }
  for (const name of union(expected.files.keys(), got.files.keys())) {
    const [a, b] = [expected.files.get(name), got.files.get(name)];
    if (b === undefined || !sameFile(a, b)) found.push({ what: 'file', where: name, expected: textOf(a), got: textOf(b) });
  }
  for (const name of union(expected.sys.keys(), got.sys.keys())) {
    const [a, b] = [expected.sys.get(name), got.sys.get(name)];
    if (a !== b) found.push({ what: 'sys', where: name, expected: a?.toString(), got: b?.toString() });
  }
  return found;
}

function union<T>(a: Iterable<T>, b: Iterable<T>): T[] {
  return [...new Set([...a, ...b])];
}

const startOf = (key: string): number => Number.parseInt(key, 16);
const byStart = (a: string, b: string): number => startOf(a) - startOf(b);

/** A text that tells one difference from another, to see whether it is new. */
export const identityOf = (d: Difference): string => `${d.what}|${d.where}|${d.expected ?? ''}|${d.got ?? ''}`;

/** Words of a VMA line that differ, for people: `[perms] rw-p → r--p`. */
export function explainLine(expected: string | undefined, got: string | undefined): string[] {
  if (expected === undefined || got === undefined) return [];
  const [a, b] = [words(expected), words(got)];
  if (a === undefined || b === undefined) return [];
  const out: string[] = [];
  for (const [i, title] of WORDS.entries()) {
    if (a[i] === b[i]) continue;
    if (title === 'numbers' || title === 'pages') {
      const [left, right] = [a[i].split(','), b[i].split(',')];
      const only = (x: readonly string[], y: readonly string[]): string => x.filter((word) => !y.includes(word)).join(',');
      const [missing, extra] = [only(left, right), only(right, left)];
      if (missing === '' && extra === '') out.push(`${title}: the same in another order`);
      else out.push(`${title}: expected ${missing || 'no more'}, got ${extra || 'no more'}`);
    } else out.push(`${title}: expected ${a[i]}, got ${b[i]}`);
  }
  return out;
}

const WORDS = ['range', 'perms', 'offset', 'name', 'numbers', 'flags', 'pages'];

const words = (line: string): string[] | undefined => /^(\S+) (\S+) (\S+) (.+) (\S+) (\S+) (\S+)$/.exec(line)?.slice(1);
