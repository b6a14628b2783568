/** What the dialect forbids, as values: one place, one name, one sentence. */

/** The rules by name, each as the sentence that must hold. */
export const RULES = {
  syntax: 'The file is a sequence of statements that parse.',
  'plain-yield': 'Only primitives wait: kernel code has yield* and a call, never a plain yield.',
  'generator-call': 'A generator function is called with yield*.',
  'generator-value': 'A generator function is only called or exported: it is no value, and what it returns is none.',
  'generator-form': 'Generator functions are declarations at the top of their file, with a name.',
  'yield-operand': 'What follows yield* is the call of a generator function by its name, of a primitive with at most four arguments.',
  closure: 'A generator function has no function inside.',
  'try-catch': 'A generator function has no try, catch or finally.',
  object: 'A generator function makes no object, array, class or instance.',
  text: 'A generator function has no strings or templates.',
  'not-a-number': 'Values in a generator function are numbers, or booleans that decide.',
  pattern: 'A generator function has no destructuring, spread, rest, default or optional parameters.',
  async: 'Nothing is async.',
  receiver: 'There is no this, arguments, super or new.target.',
  accessor: 'There are no getters and setters.',
  operator: 'A generator function has the operators of numbers and conditions.',
  member: 'Locals have no properties; arrays and functions are named by modules.',
  statement: 'A generator function has let, const, if, loops, switch, labels, break, continue, return and throw.',
  scope: "Names have no $: those are the compiler's.",
  'module-state': 'A file with generator functions has functions and constants: anything else would be there once for each program.',
  host: 'Kernel code knows no clock, randomness, environment or output of the host.',
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
