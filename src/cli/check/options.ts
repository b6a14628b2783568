/**
 * Options of `pxd check`, and what they mean together.
 *
 * Invariant: what cannot be done is said before anything is searched.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { PxdError } from '../../pagetable/error.ts';

/** Options as commander hands them over. */
export interface CheckCommandOptions {
  readonly list?: boolean;
  readonly mode?: readonly string[];
  readonly variant?: string;
  readonly preemptions?: number;
  readonly limit?: number;
  readonly memory?: number;
  readonly json?: boolean;
  readonly junit?: string;
  readonly replay?: string;
  /** The format; of `--diagram` alone `text`. */
  readonly diagram?: string;
  readonly output?: string;
  readonly minimise: boolean;
  readonly shard?: Shard;
  readonly smoke?: number;
  readonly seed?: number;
}

/** The i-th of n shares, from 1. */
export interface Shard {
  readonly index: number;
  readonly of: number;
}

const collect = (text: string, before: readonly string[] | undefined): string[] => [...(before ?? []), text];

/** A whole number from `least` to `most`. */
const whole =
  (least: number, most: number, what: string) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d{1,12}$/.test(text) || value < least || value > most) throw new InvalidArgumentError(`expected ${what} from ${least} to ${most}`);
    return value;
  };

function shard(text: string): Shard {
  const [, index, of] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  if (index === undefined || Number(index) < 1 || Number(index) > Number(of)) throw new InvalidArgumentError('expected I/N with I from 1 to N, as 2/8');
  return { index: Number(index), of: Number(of) };
}

/** Formats of diagrams by name; the last letters of a file's name mean the same. */
export const FORMATS: readonly string[] = ['text', 'svg', 'mermaid', 'json', 'plantuml', 'perfetto'];

export function withCheckOptions(command: Command): Command {
  return command
    .option('--list', 'list the entries with their variants, and check nothing')
    .option('-m, --mode <mode>', 'paging mode, repeatable; "all": x86-4level, arm64-4k-48, s390x, ppc-8xx-4k (default x86-4level)', collect)
    .option('--variant <name>', 'only this variant')
    .option('--preemptions <number>', 'search schedules with at most so many preemptions', whole(0, 100, 'a number of preemptions'))
    .option('--limit <seconds>', 'give up a search after this time (default 120)', whole(1, 1_000_000, 'a number of seconds'))
    .option('--memory <MB>', 'memory that the table of states may take (default 1024)', whole(1, 1_000_000, 'a number of megabytes'))
    .option('--json', 'one object a line')
    .option('--junit <file>', 'write the results as JUnit XML, too')
    .option('--diagram [format]', `draw what breaks a rule: ${FORMATS.join(', ')}`)
    .option('-o, --output <file>', 'write the diagram there (where there are several: one file each)')
    .addOption(new Option('--no-minimise', 'draw the schedule as it was found'))
    .option('--replay <schedule>', 'play a schedule of one variant, and draw it')
    .option('--shard <i/n>', 'only the i-th of n shares of the rows', shard)
    .option('--smoke <number>', 'so many random schedules of each row instead of a search', whole(1, 1_000_000_000, 'a number of schedules'))
    .option('--seed <number>', 'where the random schedules begin (default 1)', whole(0, 2 ** 31, 'a number'));
}

/** `--diagram` takes a format or nothing; commander alone would swallow an entry's name after it. Options that stand for themselves arrive as they are. */
export function separateDiagram(argv: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--') return [...out, ...argv.slice(i)];
    if (argv[i] !== '--diagram') out.push(argv[i]);
    else out.push(`--diagram=${FORMATS.includes(argv[i + 1]) ? argv[++i] : 'text'}`);
  }
  return out;
}

/** The format of the diagrams that are wanted, undefined when none are. @throws {PxdError} for formats that there are not */
export function formatOf({ diagram, output, replay }: CheckCommandOptions, known: readonly string[]): string | undefined {
  if (diagram !== undefined) {
    if (!known.includes(diagram)) throw new PxdError('usage', `--diagram=${diagram}: there is no such format: there are ${known.join(', ')}`);
    return diagram;
  }
  if (output !== undefined) return BY_EXTENSION[/\.([a-z]+)$/.exec(output)?.[1] ?? ''] ?? 'text';
  return replay === undefined ? undefined : 'text';
}

const BY_EXTENSION: Readonly<Record<string, string>> = { svg: 'svg', mmd: 'mermaid', json: 'json', puml: 'plantuml', txt: 'text' };

/** What contradicts itself. @throws {PxdError} 'usage' */
export function checkOptions(options: CheckCommandOptions): void {
  const { json, diagram, output, replay, smoke, preemptions, seed } = options;
  const both = (a: string, b: string, why: string): never => {
    throw new PxdError('usage', `${a} and ${b}: ${why}`);
  };
  if (json && diagram !== undefined && output === undefined && replay === undefined)
    both('--json', '--diagram', 'both write to stdout; --output FILE takes the diagram');
  if (replay !== undefined && smoke !== undefined) both('--replay', '--smoke', 'a schedule is either given or random');
  if (smoke !== undefined && preemptions !== undefined) both('--smoke', '--preemptions', 'random schedules have no bound');
  if (seed !== undefined && smoke === undefined) throw new PxdError('usage', '--seed: only --smoke has something random');
  for (const name of ['list', 'junit', 'shard'] as const)
    if (replay !== undefined && options[name] !== undefined) both('--replay', `--${name}`, 'one schedule is no list of results');
}
