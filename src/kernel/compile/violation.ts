/** What the dialect forbids, as values: one place, one name, one sentence. */

/** Names of the rules. docs: `npm run dialect -- --rules`. */
export const RULES = {
  syntax: 'the file does not parse',
  'plain-yield': 'a yield without a star: only primitives wait',
  'generator-call': 'a generator function that is called without yield*',
  'generator-value': 'a generator function or generator used as a value',
  'yield-operand': 'yield* of something that is no call of a known generator function',
  'generator-form': 'a generator that is not a function declaration at the top of its file',
  closure: 'a function inside a generator function',
  'try-catch': 'try, catch or finally',
  throw: 'throw in a generator function',
  object: 'an object, array, class or new in a generator function',
  text: 'a string or template in a generator function',
  'not-a-number': 'a value that is no number in a generator function',
  pattern: 'destructuring, spread, default, optional or rest parameters in a generator function',
  async: 'async or await',
  receiver: 'this, arguments, super or new.target',
  accessor: 'a getter or setter',
  operator: 'an operator that numbers do not have',
  member: 'a property of a local',
  statement: 'a statement that the dialect does not have',
  scope: 'a name that the compiler cannot keep apart',
  'module-state': 'state of a module: a let, or a value that each program would have for itself',
  host: 'clock, randomness or input and output of the host',
} as const;

export type RuleName = keyof typeof RULES;

export interface Violation {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  readonly name: RuleName;
  readonly sentence: string;
}

/** `file:line:column: name: sentence`. */
export const violationText = (v: Violation): string => `${v.file}:${v.line}:${v.column}: ${v.name}: ${v.sentence}`;

/** Thrown by the compiler for a file that is not in the dialect. */
export class DialectError extends Error {
  readonly violations: readonly Violation[];
  constructor(violations: readonly Violation[]) {
    super(violations.map(violationText).join('\n'));
    this.name = 'DialectError';
    this.violations = violations;
  }
}
