/**
 * The direct program: the stars deleted. `function*` becomes `function `, `yield*` becomes blanks; every other character stays where it is, so that
 * lines and columns of the result are those of the source and no map is needed beyond that of the tool which strips the types.
 *
 * That kernel functions and primitives are then ordinary functions is the work of whoever resolves imports: `ops.ts` becomes `ops-direct.ts`.
 */
import { scan, violationAt } from './tokens.ts';
import { DialectError } from './violation.ts';

/** TypeScript of the direct twin of `source`. Throws DialectError for a plain `yield`. */
export function toDirect(source: string, file: string): string {
  const { stars, delegations, plainYields } = scan(source, file);
  if (plainYields.length > 0)
    throw new DialectError(
      plainYields.map((at) => violationAt(source, file, at, 'plain-yield', 'Only primitives wait: write yield* and a call of a kernel function.')),
    );
  const spans = [...stars.map((at) => ({ start: at, end: at + 1 })), ...delegations].sort((a, b) => a.start - b.start);
  let text = '';
  let done = 0;
  for (const { start, end } of spans) {
    // A line break between `yield` and its star stays a line break.
    text += source.slice(done, start) + source.slice(start, end).replace(/\S/g, ' ');
    done = end;
  }
  return text + source.slice(done);
}
