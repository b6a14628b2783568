/** The dialect check (to be filled in). */
import type { Program } from 'acorn';
import type { Violation } from './violation.ts';

export function checkProgram(
  _program: Program,
  _source: string,
  _file: string,
  _place: (offset: number) => { line: number; column: number } | undefined,
  _exports: undefined,
): Violation[] {
  return [];
}
