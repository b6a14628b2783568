/**
 * Results files: what a run has found so far, as lines of JSON that are only ever appended.
 *
 *   {"pxd":"0.1.0","results":1,"shard":"1/3","seed":1,"options":{…},"jobs":["E17:fixed:x86-4level",…],"split":[…]}   the header, first
 *   {"id":"E17","variant":"fixed","mode":"x86-4level",…}                    a row (check.ts)
 *   {"search":{"job":"…","bound":null,"subtrees":70,…}}                     a large search that is done by subtrees (subtrees.ts)
 *   {"states":{"job":"…","bound":null,"number":3},"set":"…"}                states that a subtree met, in chunks, before its line
 *   {"subtree":{"job":"…","bound":null,"number":3,"verdict":"done",…}}      a subtree that is done
 *
 * Invariants: a file that was cut off anywhere tells all that its whole lines tell: the last line of a piece is the one that says that it is done. A bound of
 * null is none. Files of shards of one run have the same header, `shard` apart.
 */
import { PxdError } from '../pagetable/error.ts';
import type { Row } from './check.ts';
import type { FactsDump } from './facts.ts';
import { jobKey, type Plan, shardText } from './jobs.ts';
import type { Variant } from './scenario.ts';
import type { Violation } from './search.ts';
import type { SubtreeResult } from './subtrees.ts';
import type { WorkLimits } from './work.ts';

const FORMAT = 1;

export interface Header {
  /** Version of pxd that made it. */
  readonly pxd: string;
  readonly results: number;
  readonly shard: string;
  readonly seed: number | null;
  readonly options: Readonly<Record<string, unknown>>;
  /** Keys of all jobs of the run, in their order. */
  readonly jobs: readonly string[];
  /** Keys of those that are split over the shards. */
  readonly split: readonly string[];
}

/** A large search that is done by subtrees: what is needed to make a row of it. */
export interface SearchLine {
  readonly job: string;
  readonly bound: number | null;
  readonly subtrees: number;
  /** Of all beginnings: files that do not agree in it are of different kernels. */
  readonly digest: string;
  /** What it stands on; null where nothing is hidden. */
  readonly ground: FactsDump | null;
  /** States of searches under smaller bounds. */
  readonly before: number;
  readonly boundsGiven: boolean;
  readonly variant: Pick<Variant, 'expect' | 'rule' | 'bounded' | 'note'>;
}

export interface SubtreeLine {
  readonly job: string;
  readonly bound: number | null;
  readonly number: number;
  readonly verdict: SubtreeResult['verdict'];
  readonly states: number;
  readonly transitions: number;
  readonly circular?: boolean;
  readonly ms: number;
  readonly violation?: Violation;
  readonly learned?: SubtreeResult['learned'];
}

/** A search of a file, with the subtrees of which the file says that they are done. */
export interface SearchRead {
  readonly search: SearchLine;
  readonly subtrees: Map<number, { readonly line: SubtreeLine; readonly set: Int32Array<ArrayBuffer> }>;
}

export interface Results {
  /** What the file is called in messages. */
  readonly name: string;
  readonly header: Header;
  /** By key of the job. */
  readonly rows: Map<string, Row>;
  /** By `searchKey`. */
  readonly searches: Map<string, SearchRead>;
  /** Length of the part of the text that is whole lines, in UTF-16 units: what a run that goes on with the file keeps. */
  readonly whole: number;
}

export const boundText = (bound: number): number | null => (Number.isFinite(bound) ? bound : null);
export const boundOf = (bound: number | null): number => bound ?? Number.POSITIVE_INFINITY;
export const searchKey = ({ job, bound }: { readonly job: string; readonly bound: number | null }): string => `${job}#${bound}`;

// --- writing ----------------------------------------------------------------------------------------------------------------

export function headerOf(plan: Plan, limits: WorkLimits, { version = '0', seed }: { readonly version?: string; readonly seed?: number | undefined }): Header {
  const { limitMs = null, memoryBytes = null, bounds = null, reduce = true } = limits;
  return {
    pxd: version,
    results: FORMAT,
    shard: shardText(plan.shard),
    seed: seed ?? null,
    options: { limitMs, memoryBytes, bounds, reduce },
    jobs: plan.jobs.map(jobKey),
    split: plan.split.map(jobKey),
  };
}

/** States in a line. */
const CHUNK = 3 * (1 << 16);

/** Lines of a subtree that is done, its states first. */
export function* subtreeLines(line: SubtreeLine, set: Int32Array<ArrayBuffer>): Generator<string> {
  const { job, bound, number } = line;
  for (let i = 0; i < set.length; i += CHUNK) yield JSON.stringify({ states: { job, bound, number }, set: toBase64(set.subarray(i, i + CHUNK)) });
  yield JSON.stringify({ subtree: line });
}

function toBase64(words: Int32Array<ArrayBuffer>): string {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

function fromBase64(text: string): Int32Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return new Int32Array(bytes.buffer);
}

// --- reading ----------------------------------------------------------------------------------------------------------------

/** Reads the text of a results file; a last line that was cut off is left out. @throws {PxdError} 'bad-image' for what is no results file */
export function readResults(text: string, name: string): Results {
  const whole = text.lastIndexOf('\n') + 1;
  const [first, ...rest] = text.slice(0, whole).split('\n').slice(0, -1);
  const header = parse(first ?? '', name, 1) as unknown as Header;
  if (header.results !== FORMAT || typeof header.shard !== 'string' || !Array.isArray(header.jobs) || !Array.isArray(header.split))
    throw new PxdError('bad-image', `${name}: this is no results file of pxd check (or of another version's form)`);
  const results: Results = { name, header, rows: new Map(), searches: new Map(), whole };
  const pending = new Map<string, Int32Array<ArrayBuffer>[]>();
  rest.forEach((line, i) => {
    readLine(results, pending, parse(line, name, i + 2), i + 2);
  });
  return results;
}

type Line = Row | { readonly search: SearchLine } | { readonly subtree: SubtreeLine } | { readonly states: Omit<SubtreeLine, 'verdict'>; readonly set: string };

function parse(line: string, name: string, at: number): Line {
  try {
    const found = JSON.parse(line);
    if (typeof found === 'object' && found !== null) return found;
  } catch {
    // Said below.
  }
  throw new PxdError('bad-image', `${name}: line ${at} is no JSON object`);
}

function readLine({ name, rows, searches }: Results, pending: Map<string, Int32Array<ArrayBuffer>[]>, line: Line, at: number): void {
  const subtreeKey = (one: { job: string; bound: number | null; number: number }): string => `${searchKey(one)}#${one.number}`;
  if ('search' in line) searches.set(searchKey(line.search), { search: line.search, subtrees: new Map() });
  else if ('set' in line) {
    const key = subtreeKey(line.states);
    pending.set(key, [...(pending.get(key) ?? []), fromBase64(line.set)]);
  } else if ('subtree' in line) {
    const search = searches.get(searchKey(line.subtree));
    if (search === undefined) throw new PxdError('bad-image', `${name}: line ${at} is of a search that no line before it began`);
    const key = subtreeKey(line.subtree);
    const set = joined(pending.get(key) ?? []);
    pending.delete(key);
    if (set.length !== 3 * line.subtree.states) throw new PxdError('bad-image', `${name}: line ${at}: states of the subtree are missing`);
    search.subtrees.set(line.subtree.number, { line: line.subtree, set });
  } else if (typeof line.id === 'string' && typeof line.variant === 'string' && typeof line.mode === 'string') rows.set(jobKey(line), line);
  else throw new PxdError('bad-image', `${name}: line ${at} is neither a row nor a part of a search`);
}

function joined(sets: readonly Int32Array<ArrayBuffer>[]): Int32Array<ArrayBuffer> {
  if (sets.length === 1) return sets[0];
  const all = new Int32Array(sets.reduce((sum, set) => sum + set.length, 0));
  let at = 0;
  for (const set of sets) {
    all.set(set, at);
    at += set.length;
  }
  return all;
}

/** States of jobs by their keys, for `planOf`. */
export const sizesOf = ({ rows }: Pick<Results, 'rows'>): Map<string, number> => new Map([...rows].map(([key, row]) => [key, row.states]));
