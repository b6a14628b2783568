/** The form between source and step program: basic blocks of JavaScript text with the variables that each piece reads and writes. */
import type { Variable } from './scope.ts';

/** What is known of a value's type. Everything that waits in a frame is a number; a boolean becomes one when it is stored. */
export type Kind = 'number' | 'boolean' | 'unknown';

/** Text of the generated program (with marks of places), and what it does with hoisted variables. */
export interface Code {
  readonly text: string;
  readonly kind: Kind;
  readonly reads: ReadonlySet<Variable>;
  /** Variables that may have a new value afterwards. */
  readonly writes: ReadonlySet<Variable>;
  /** Blocks that the text may leave to. */
  readonly exits: ReadonlySet<Block>;
}

/** A jump out of a copied piece, to the block of that number. */
export const exitTo = (block: Block): string => `\uE004${block.id}\uE005`;
export const EXITS = /\uE004(\d+)\uE005/g;

/**
 * Stand before and behind the value in the text of a return. Who writes the program turns them into one that leaves, and makes the frame's memory zero
 * again in between; what that takes is known when the flow is.
 */
export const RETURN = '\uE003';
export const RETURNED = '\uE006';

export interface Instruction {
  readonly code: Code;
  /** Variables that have a new value afterwards, whatever happened. */
  readonly kills: readonly Variable[];
  /** It takes over the result of the call before. */
  readonly takes?: Variable;
}

export type End =
  | { readonly kind: 'jump'; readonly to: Block }
  | { readonly kind: 'branch'; readonly test: Code; readonly yes: Block; readonly no: Block }
  | { readonly kind: 'switch'; readonly on: Code; readonly cases: readonly { readonly test: Code; readonly to: Block }[]; readonly otherwise: Block }
  | { readonly kind: 'return'; readonly value: Code | undefined }
  | {
      /** A call of a kernel function (`callee` is its descriptor) or a primitive (`callee` is its code): the task may wait here. */
      readonly kind: 'call' | 'primitive';
      readonly callee: string;
      /** What performs a primitive. */
      readonly effect: string | undefined;
      readonly args: readonly Code[];
      readonly next: Block;
      /** Offset of the call in the compiler's input. */
      readonly at: number;
    };

export interface Block {
  readonly id: number;
  readonly instructions: Instruction[];
  end: End | undefined;
  /** For the block behind a call or primitive: number of the piece that takes the variables back out of the frame. */
  stub: number;
}

export interface Graph {
  /** Blocks in the order of the text; the first is the entry. */
  readonly blocks: readonly Block[];
  /** Numbers used up by blocks and stubs. */
  readonly numbers: number;
}

const NOTHING: ReadonlySet<never> = new Set<never>();

export const plain = (text: string, kind: Kind = 'unknown'): Code => ({ text, kind, reads: NOTHING, writes: NOTHING, exits: NOTHING });
export const ofVariable = (variable: Variable): Code => ({ text: variable.name, kind: 'number', reads: new Set([variable]), writes: NOTHING, exits: NOTHING });

/** Joins texts and codes. */
export function join(kind: Kind, parts: readonly (string | Code)[]): Code {
  let text = '';
  const reads = new Set<Variable>();
  const writes = new Set<Variable>();
  const exits = new Set<Block>();
  for (const part of parts) {
    if (typeof part === 'string') {
      text += part;
      continue;
    }
    text += part.text;
    for (const variable of part.reads) reads.add(variable);
    for (const variable of part.writes) writes.add(variable);
    for (const block of part.exits) exits.add(block);
  }
  return { text, kind, reads, writes, exits };
}

/** The code as a number: what a boolean is in a frame. */
export const number = (code: Code): Code => (code.kind === 'number' ? code : join('number', ['+(', code, ')']));

/** Blocks that control may pass to from a block. */
export function successors(block: Block): Block[] {
  const found: Block[] = [];
  for (const { code } of block.instructions) found.push(...code.exits);
  const end = block.end;
  if (end === undefined || end.kind === 'return') return found;
  if (end.kind === 'jump') found.push(end.to);
  else if (end.kind === 'branch') found.push(end.yes, end.no);
  else if (end.kind === 'switch') found.push(...end.cases.map(({ to }) => to), end.otherwise);
  else found.push(end.next);
  return found;
}

/** The codes that a block's end evaluates, in order. */
export function codesOf(end: End): Code[] {
  if (end.kind === 'branch') return [end.test];
  if (end.kind === 'switch') return [end.on, ...end.cases.map(({ test }) => test)];
  if (end.kind === 'return') return end.value ? [end.value] : [];
  return end.kind === 'jump' ? [] : [...end.args];
}
