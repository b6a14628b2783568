/**
 * Results files of the shards of a run, put together: `pxd check --merge FILE…`.
 *
 *   mergeResults([readResults(text, name), …]): Merged
 *
 * Invariants: rows come in the order of the run's jobs, and are those of the run that was not split (`ms` apart). What is not there is named, never guessed;
 * files that contradict each other are an error.
 */
import { PxdError } from '../pagetable/error.ts';
import { type Row, rowOf } from './check.ts';
import type { Job } from './jobs.ts';
import { boundOf, type Header, type Results, type SearchRead } from './results.ts';
import { differenceOf } from './resume.ts';
import { together, Union } from './subtrees.ts';

export interface Merged {
  /** Of the first file; `shard` is of no meaning. */
  readonly header: Header;
  readonly rows: readonly Row[];
  /** Shards of which there is no file: `2/3`. */
  readonly missing: readonly string[];
  /** Keys of jobs without a row, though the files of all shards that have part in them may be there: runs that were stopped. */
  readonly incomplete: readonly string[];
  /** Keys of jobs that have to be searched whole: their parts cannot tell (subtrees.ts, 5 and 6). */
  readonly unsettled: readonly string[];
  /** Every job has its row. */
  readonly complete: boolean;
}

export interface MergeOptions {
  /** Bytes that the states of a split search may take. Default 1 GiB. */
  readonly memoryBytes?: number;
}

/** @throws {PxdError} 'usage' when there is nothing to merge, or files are of different runs or contradict each other */
export function mergeResults(files: readonly Results[], options: MergeOptions = {}): Merged {
  if (files.length === 0) throw new PxdError('usage', 'there is nothing to merge: no results file is named');
  const [{ header, name }] = files;
  for (const file of files) {
    const difference = differenceOf(header, file.header, ['pxd', 'seed', 'jobs', 'split', 'options']);
    if (difference !== undefined) throw new PxdError('usage', `${name} and ${file.name} are of different runs: ${difference}`);
    if (countOf(file.header) !== countOf(header))
      throw new PxdError('usage', `${name} and ${file.name} are of different runs: shards ${header.shard} and ${file.header.shard}`);
  }
  const rows = mergeRows(files);
  const unsettled: string[] = [];
  for (const job of header.split) {
    if (rows.has(job)) continue;
    const row = splitRow(job, files, options);
    if (row === 'unsettled') unsettled.push(job);
    else if (row !== undefined) rows.set(job, row);
  }
  const present = new Set(files.map((file) => file.header.shard));
  const missing = Array.from({ length: countOf(header) }, (_, i) => `${i + 1}/${countOf(header)}`).filter((shard) => !present.has(shard));
  const incomplete = header.jobs.filter((job) => !rows.has(job) && !unsettled.includes(job));
  return {
    header,
    rows: header.jobs.flatMap((job) => rows.get(job) ?? []),
    missing,
    incomplete,
    unsettled,
    complete: incomplete.length === 0 && unsettled.length === 0,
  };
}

const countOf = ({ shard }: Header): number => Number(shard.split('/')[1]);

function mergeRows(files: readonly Results[]): Map<string, Row> {
  const rows = new Map<string, Row>();
  const from = new Map<string, string>();
  for (const { name, rows: these } of files)
    for (const [job, row] of these) {
      const before = rows.get(job);
      if (before !== undefined && rowText(before) !== rowText(row)) throw new PxdError('usage', `${from.get(job)} and ${name} contradict each other in ${job}`);
      rows.set(job, row);
      from.set(job, name);
    }
  return rows;
}

/** A row without what differs from run to run. */
export const rowText = ({ ms, ...row }: Row): string => JSON.stringify(row);

/** The row of a search that shards did together; undefined while parts are missing. */
function splitRow(job: string, files: readonly Results[], { memoryBytes }: MergeOptions): Row | 'unsettled' | undefined {
  const parts = files.flatMap((file) => [...file.searches.values()].filter(({ search }) => search.job === job).map((read) => ({ ...read, name: file.name })));
  if (parts.length === 0) return undefined;
  const [{ search }] = parts;
  const union = new Union(memoryBytes);
  const results = new Map<number, { readonly text: string; readonly result: SearchRead['subtrees'] extends Map<number, infer V> ? V : never }>();
  for (const part of parts) {
    if (JSON.stringify(part.search) !== JSON.stringify(search))
      throw new PxdError('usage', `${parts[0].name} and ${part.name} contradict each other in ${job}`);
    for (const [number, subtree] of part.subtrees) {
      const text = JSON.stringify([subtree.line.verdict, subtree.line.violation]);
      const before = results.get(number);
      if (before !== undefined && before.text !== text) throw new PxdError('usage', `${part.name} contradicts another file in subtree ${number} of ${job}`);
      results.set(number, { text, result: subtree });
      union.add(number, subtree.set);
    }
  }
  const lines = [...results.values()].map(({ result }) => result.line);
  const first = Math.min(...lines.filter((line) => line.verdict === 'violation').map((line) => line.number));
  // A shard that ran out of time or memory, or cannot tell, does not go on with its other subtrees.
  const given = lines.some((line) => line.verdict !== 'done' && line.verdict !== 'violation') ? 0 : Math.min(search.subtrees, first);
  for (let number = 0; number < given; number++) if (!results.has(number)) return undefined;
  const all = together(lines, search.subtrees, union, { ground: search.ground ?? undefined });
  if (all.unsettled) return 'unsettled';
  const ms = lines.reduce((sum, line) => sum + line.ms, 0);
  const { boundsGiven, variant } = search;
  return rowOf(jobOf(job), variant, { ...all, states: search.before + all.states, bound: boundOf(search.bound), boundsGiven }, ms);
}

/** The job of a key. Ids and modes have no colons. */
function jobOf(key: string): Job {
  const [id, ...rest] = key.split(':');
  return { id, variant: rest.slice(0, -1).join(':'), mode: rest[rest.length - 1] };
}
