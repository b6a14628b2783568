/**
 * The line that a snapshot has for a VMA: `start-end perms pgoff name numbers vmflags pages`.
 *
 * Invariant: `printLine(parseLine(text)) === text` for every line that the recorder writes.
 */
import { PxdError } from '../../pagetable/error.ts';

/** A run of pages: `count*token=process:address i index`. */
export interface PageRun {
  readonly count: number;
  readonly token: string;
  /** Index in its folio of the first page of the run; it goes on within the run, modulo the folio's size. */
  readonly index: number;
  /** Where the first page of the run appeared before (process, vpn); it advances with the run. */
  readonly same?: { readonly process: number; readonly vpn: number };
}

export interface VmaLine {
  /** First page and the page after the last. */
  readonly start: number;
  readonly end: number;
  readonly perms: string;
  /** Bytes, as /proc/PID/maps has it. */
  readonly offsetBytes: number;
  readonly name: string;
  /** kB, zero left out, in the order of the line. */
  readonly numbers: readonly (readonly [key: string, value: number])[];
  /** Two-letter codes. */
  readonly letters: readonly string[];
  readonly runs: readonly PageRun[];
}

const PAGE_BYTES = 4096;

export const hex = (bytes: number | bigint): string => bytes.toString(16);

/** Address of a page as text, without `0x`. */
export const hexOfPage = (vpn: number): string => hex(vpn * PAGE_BYTES);

export function printLine(line: VmaLine): string {
  const { start, end, perms, offsetBytes, name, numbers, letters, runs } = line;
  const fields = numbers.length === 0 ? '-' : numbers.map(([key, value]) => `${key}=${value}`).join(',');
  return `${hexOfPage(start)}-${hexOfPage(end)} ${perms} ${hex(offsetBytes)} ${name} ${fields} ${letters.join('') || '-'} ${printRuns(runs)}`;
}

export const printRuns = (runs: readonly PageRun[]): string => (runs.length === 0 ? '-' : runs.map(printRun).join(','));

function printRun({ count, token, index, same }: PageRun): string {
  const times = count > 1 ? `${count}*` : '';
  const where = same === undefined ? '' : `=${same.process}:${hexOfPage(same.vpn)}`;
  return `${times}${token}${where}${index > 0 ? `i${index}` : ''}`;
}

/** Reads a line; throws a `PxdError` that shows what does not belong there. */
export function parseLine(text: string): VmaLine {
  const found = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S.*) (\S+) (\S+) (\S+)$/.exec(text);
  if (!found) throw bad(text, 'expected "start-end perms pgoff name numbers vmflags pages"');
  const [, first, last, perms, offset, name, numbers, letters, runs] = found;
  const [start, end] = [pageOf(first, text), pageOf(last, text)];
  const line = {
    start,
    end,
    perms,
    offsetBytes: Number.parseInt(offset, 16),
    name,
    numbers: numbers === '-' ? [] : numbers.split(',').map((pair) => numberFrom(pair, text)),
    letters: letters === '-' ? [] : (letters.match(/../g) ?? []),
    runs: runs === '-' ? [] : runs.split(',').map((run) => runFrom(run, text)),
  };
  const pages = line.runs.reduce((sum, run) => sum + run.count, 0);
  if (pages !== end - start) throw bad(text, `its runs are ${pages} pages, the VMA has ${end - start}`);
  return line;
}

function pageOf(address: string, text: string): number {
  const bytes = Number.parseInt(address, 16);
  if (bytes % PAGE_BYTES !== 0) throw bad(text, `${address} is not the address of a page`);
  return bytes / PAGE_BYTES;
}

function numberFrom(pair: string, text: string): [string, number] {
  const found = /^([a-z]+)=(-?\d+)$/.exec(pair);
  if (!found) throw bad(text, `${pair} is not a number of a VMA`);
  return [found[1], Number(found[2])];
}

function runFrom(run: string, text: string): PageRun {
  const found = /^(?:(\d+)\*)?([A-Za-z0-9.!?]+?)(?:=(\d+):([0-9a-f]+))?(?:i(\d+))?$/.exec(run);
  if (!found) throw bad(text, `${run} is not a run of pages`);
  const [, count, token, process, address, index] = found;
  return {
    count: count === undefined ? 1 : Number(count),
    token,
    index: index === undefined ? 0 : Number(index),
    ...(process === undefined ? {} : { same: { process: Number(process), vpn: pageOf(address, text) } }),
  };
}

const bad = (text: string, why: string): PxdError => {
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return new PxdError('bad-image', `the VMA line "${shown}" cannot be read: ${why}`);
};
