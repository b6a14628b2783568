/**
 * The filter language of `--where`: conditions over the fields that the JSON output has.
 *
 *     write && exec        page >= 2M        user && !present        pa < 0x1000000        kind == swap || count > 1
 *
 * `||` binds weakest, then `&&`, then `!`; comparisons are `== != < <= > >=` (`=` is `==`); parentheses group; numbers are decimal, `0x…`, or carry
 * K, M, G, T; words that are no field are texts, so `kind == swap` needs no quotes; `and`, `or`, `not` are `&&`, `||`, `!`.
 *
 * Invariant: an expression is checked as it is compiled; the compiled filter never throws and never evaluates code.
 */
import { PxdError } from '../pagetable/error.ts';

/** What a filter looks at. Addresses are byte addresses, exact because they are multiples of the page size. */
export interface FilterRow {
  va: number;
  pa: number;
  bytes: number;
  page: number;
  read: boolean;
  write: boolean;
  exec: boolean;
  user: boolean;
  present: boolean;
  global: boolean;
  dirty: boolean;
  accessed: boolean;
  contig: number;
  count: number;
  stride: number;
  /** `leaf`, or the kind of a non-present entry. */
  kind: string;
  swapType: number;
  swapOffset: number;
  /** `user` or `kernel`: where the address lies, whatever the rights are. */
  half: string;
  /** Name of the level that the entry stands in. */
  level: string;
}

export const emptyRow = (): FilterRow => ({
  va: 0,
  pa: 0,
  bytes: 0,
  page: 0,
  read: false,
  write: false,
  exec: false,
  user: false,
  present: false,
  global: false,
  dirty: false,
  accessed: false,
  contig: 1,
  count: 1,
  stride: 0,
  kind: 'leaf',
  swapType: -1,
  swapOffset: -1,
  half: 'user',
  level: '',
});

export const FILTER_FIELDS: readonly string[] = Object.keys(emptyRow());

export type Filter = (row: FilterRow) => boolean;

type Value = (row: FilterRow) => boolean | number | string;
type FieldType = 'boolean' | 'number' | 'string';

interface Operand {
  readonly value: Value;
  readonly type: FieldType;
  readonly constant?: number | string;
  /** Exact value of a number in the expression. */
  readonly exact?: bigint;
}

const SUFFIX: Readonly<Record<string, bigint>> = { '': 1n, k: 1n << 10n, m: 1n << 20n, g: 1n << 30n, t: 1n << 40n };
const COMPARE = ['==', '!=', '<=', '>=', '<', '>', '='];
const WORDS: Readonly<Record<string, string>> = { and: '&&', or: '||', not: '!' };
const MAX_LENGTH = 4096;

/** Compiles an expression. @throws {PxdError} `usage`, naming the place. */
export function compileWhere(text: string): Filter {
  if (text.length > MAX_LENGTH) throw new PxdError('usage', `--where: the expression has ${text.length} characters, more than the ${MAX_LENGTH} allowed`);
  const parser = new Parser(text);
  const value = parser.or();
  parser.end();
  return (row) => Boolean(value(row));
}

class Parser {
  readonly #text: string;
  readonly #tokens: { text: string; at: number }[] = [];
  #next = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    const pattern = /\s*(?:(&&|\|\||[<>=!]=|[<>=!()])|(0x[0-9a-f_]+|\d[\d_]*[kmgt]?(?:i?b)?)\b|([a-z_][\w-]*)|'([^']*)'|"([^"]*)")/iy;
    while (pattern.lastIndex < text.trimEnd().length) {
      const at = pattern.lastIndex;
      const found = pattern.exec(text);
      if (!found) throw new PxdError('usage', `--where: cannot read "${text.slice(at).trim().slice(0, 20)}" at character ${at + 1} of "${short(text)}"`);
      this.#tokens.push({
        text: found[4] !== undefined || found[5] !== undefined ? `'${found[4] ?? found[5]}` : (WORDS[found[0].trim().toLowerCase()] ?? found[0].trim()),
        at,
      });
    }
  }

  or(): Value {
    return this.#chain('||', () => this.#chain('&&', () => this.#not()));
  }

  end(): void {
    if (this.#next < this.#tokens.length) this.#fail(`an operator`);
  }

  #chain(operator: string, below: () => Value): Value {
    const sides = [below()];
    while (this.#take(operator)) sides.push(below());
    if (sides.length === 1) return sides[0];
    return operator === '||' ? (row) => sides.some((s) => s(row)) : (row) => sides.every((s) => s(row));
  }

  #not(): Value {
    if (++this.#depth > 200) throw new PxdError('usage', '--where: the expression is nested too deeply');
    const negated = this.#take('!');
    const value = negated ? this.#not() : this.#comparison();
    this.#depth--;
    return negated ? (row) => !value(row) : value;
  }

  #comparison(): Value {
    if (this.#take('(')) {
      const inner = this.or();
      if (!this.#take(')')) this.#fail('")"');
      return inner;
    }
    const left = this.#operand(undefined);
    const operator = COMPARE.find((c) => this.#take(c));
    if (operator === undefined) {
      if (left.constant !== undefined) this.#fail(`a field (${FILTER_FIELDS.join(', ')})`, this.#next - 1);
      return left.type === 'string' ? (row) => left.value(row) !== '' : left.value;
    }
    return compare(left, operator === '=' ? '==' : operator, this.#operand(left), () => this.#fail('two things that can be compared', this.#next - 1));
  }

  #operand(left: Operand | undefined): Operand {
    const token = this.#tokens[this.#next++];
    if (token === undefined) this.#fail('a field or a number', this.#next);
    const { text } = token;
    if (text.startsWith("'")) return { value: () => text.slice(1), type: 'string', constant: text.slice(1) };
    if (/^\d/.test(text)) return numberOperand(text);
    if (FILTER_FIELDS.includes(text) && left?.type !== 'string') return fieldOperand(text as keyof FilterRow);
    if (text === 'true' || text === 'false') return { value: () => text === 'true', type: 'boolean', constant: text === 'true' ? 1 : 0 };
    if (left?.type === 'string' && /^[a-z]/i.test(text)) return { value: () => text, type: 'string', constant: text };
    return this.#fail(`a field (${FILTER_FIELDS.join(', ')}) or a number`, this.#next - 1);
  }

  #take(text: string): boolean {
    if (this.#tokens[this.#next]?.text !== text) return false;
    this.#next++;
    return true;
  }

  #fail(expected: string, token = this.#next): never {
    const found = this.#tokens[token];
    throw new PxdError(
      'usage',
      `--where: expected ${expected} ${found ? `at character ${found.at + 1}, found "${found.text.slice(0, 20)}",` : 'at the end'} in "${short(this.#text)}"`,
    );
  }
}

const short = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

function fieldOperand(name: keyof FilterRow): Operand {
  const sample = emptyRow()[name];
  return { value: (row) => row[name], type: typeof sample as FieldType };
}

function numberOperand(text: string): Operand {
  const found = /^(0x[0-9a-f]+|\d+)([kmgt]?)/i.exec(text.replaceAll('_', '')) as RegExpExecArray;
  const exact = BigInt(found[1]) * SUFFIX[found[2].toLowerCase()];
  const value = Number(exact);
  return { value: () => value, type: 'number', constant: value, exact };
}

/** Numbers above 2^53 are rounded to the side that keeps the comparison right: the fields are multiples of the page size there. */
function bound(operand: Operand, operator: string): number {
  const exact = operand.exact as bigint;
  if (exact < 1n << 53n) return Number(exact);
  const down = Number((exact >> 12n) << 12n);
  const up = exact % 4096n === 0n ? down : Number(((exact >> 12n) + 1n) << 12n);
  if (operator === '==' || operator === '!=') return up === down ? down : -1;
  return operator === '<' || operator === '>=' ? up : down;
}

function compare(left: Operand, operator: string, right: Operand, fail: () => never): Value {
  if ((left.type === 'string') !== (right.type === 'string')) return fail();
  if (left.exact !== undefined && right.exact === undefined)
    return compare(right, { '<': '>', '>': '<', '<=': '>=', '>=': '<=' }[operator] ?? operator, left, fail);
  const a = left.value;
  const limit = right.exact === undefined ? undefined : bound(right, operator);
  const b: Value = limit === undefined ? right.value : () => limit;
  switch (operator) {
    case '==':
      return left.type === 'string' ? (row) => a(row) === b(row) : (row) => Number(a(row)) === Number(b(row));
    case '!=':
      return left.type === 'string' ? (row) => a(row) !== b(row) : (row) => Number(a(row)) !== Number(b(row));
    case '<':
      return (row) => a(row) < b(row);
    case '<=':
      return (row) => a(row) <= b(row);
    case '>':
      return (row) => a(row) > b(row);
    default:
      return (row) => a(row) >= b(row);
  }
}

/** For the help text. */
export const WHERE_HELP = `--where takes conditions over the fields of the JSON output, joined by && and ||, negated by !:
  write && exec      page >= 2M      user && !present      pa < 0x1000000      kind == swap
Fields: ${FILTER_FIELDS.join(', ')}.`;
