/**
 * What the compiler reads off a TypeScript file without a parser of TypeScript: where the stars are, where plain `yield`s are, what is imported.
 *
 * Invariant: positions are offsets into the text as given; comments and strings never count. acorn's tokenizer knows them (types consist of tokens
 * of JavaScript); its parser sees the file only after the types are gone.
 */
import { type Token, tokenizer, tokTypes } from 'acorn';
import { DialectError, type Violation } from './violation.ts';

/** A module that a file names, and whether more than types is taken from it. */
export interface ImportedModule {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

export interface Scan {
  /** Offset of the star of every `function*`. */
  readonly stars: readonly number[];
  /** Every `yield*`: offset of the word and offset after the star. */
  readonly delegations: readonly { readonly start: number; readonly end: number }[];
  /** Offset of every `yield` that is not `yield*`. */
  readonly plainYields: readonly number[];
  readonly imports: readonly ImportedModule[];
  /** Optional parameters (`x?: number`) of `function*`: their names' offsets. */
  readonly optionalParameters: readonly { readonly at: number; readonly name: string }[];
}

/** Line (from 1) and column (from 1) of an offset. */
export function placeOf(text: string, offset: number): { line: number; column: number } {
  let line = 1;
  let start = 0;
  for (let at = text.indexOf('\n'); at >= 0 && at < offset; at = text.indexOf('\n', at + 1)) {
    line++;
    start = at + 1;
  }
  return { line, column: offset - start + 1 };
}

/** Tokens of a TypeScript text. Throws DialectError where it is not even a sequence of tokens. */
function tokensOf(source: string, file: string): Token[] {
  try {
    return [...tokenizer(source, { ecmaVersion: 'latest', sourceType: 'module' })];
  } catch (error) {
    const { pos, message } = error as { pos?: number; message: string };
    throw new DialectError([violationAt(source, file, pos ?? 0, 'syntax', `This is no TypeScript: ${message.replace(/ \(\d+:\d+\)$/, '')}.`)]);
  }
}

export function violationAt(source: string, file: string, offset: number, name: Violation['name'], sentence: string): Violation {
  return { file, ...placeOf(source, offset), name, sentence };
}

/** Text of a name or string (acorn's types leave it out). */
const tokenText = (token: Token): string => String((token as Token & { value?: unknown }).value);

const isWord = (token: Token | undefined, word: string): boolean => token !== undefined && token.type === tokTypes.name && tokenText(token) === word;

/** Parameters marked with `?` in the list that opens at `tokens[open]`. */
function optionalIn(tokens: readonly Token[], open: number, found: { at: number; name: string }[]): void {
  let depth = 0;
  for (let i = open; i < tokens.length; i++) {
    const { type } = tokens[i];
    if (type === tokTypes.parenL || type === tokTypes.braceL || type === tokTypes.bracketL) depth++;
    if (type === tokTypes.parenR || type === tokTypes.braceR || type === tokTypes.bracketR) depth--;
    if (depth === 0) return;
    if (depth === 1 && type === tokTypes.question && tokens[i + 1]?.type === tokTypes.colon && tokens[i - 1].type === tokTypes.name)
      found.push({ at: tokens[i - 1].start, name: tokenText(tokens[i - 1]) });
  }
}

/** Scans a file. Throws DialectError (`syntax`) when its text does not consist of tokens. */
export function scan(source: string, file: string): Scan {
  const tokens = tokensOf(source, file);
  const stars: number[] = [];
  const delegations: { start: number; end: number }[] = [];
  const plainYields: number[] = [];
  const imports: ImportedModule[] = [];
  const optionalParameters: { at: number; name: string }[] = [];
  let depth = 0;
  // Of the import or export declaration that is being read: where it began, −1 outside.
  let declaration = -1;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    const previous = tokens[i - 1];
    const { type } = token;
    if (type === tokTypes.braceL || type === tokTypes.dollarBraceL) depth++;
    if (type === tokTypes.braceR) depth--;
    if (type === tokTypes._function && tokens[i + 1]?.type === tokTypes.star) {
      stars.push(tokens[i + 1].start);
      let open = i + 2;
      while (open < tokens.length && tokens[open].type !== tokTypes.parenL) open++;
      optionalIn(tokens, open, optionalParameters);
    }
    if (isWord(token, 'yield') && previous?.type !== tokTypes.dot) {
      if (tokens[i + 1]?.type === tokTypes.star) delegations.push({ start: token.start, end: tokens[i + 1].end });
      else plainYields.push(token.start);
    }
    if ((type === tokTypes._import || type === tokTypes._export) && depth === 0) declaration = i;
    if (type === tokTypes.semi && depth === 0) declaration = -1;
    if (type === tokTypes.string && declaration >= 0 && (isWord(previous, 'from') || i === declaration + 1)) {
      const next = tokens[declaration + 1];
      imports.push({ specifier: tokenText(token), typeOnly: isWord(next, 'type') && !isWord(tokens[declaration + 2], 'from') });
      declaration = -1;
    }
  }
  return { stars, delegations, plainYields, imports, optionalParameters };
}
