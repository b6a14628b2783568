/**
 * Options of `pxd check`, and what they mean together.
 *
 * Invariant: what cannot be done is said before anything is searched.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Shard } from '../../explore/jobs.ts';
import { PxdError } from '../../pagetable/error.ts';

/** Options as commander hands them over. */
export interface CheckCommandOptions {
  readonly list?: boolean;
  readonly mode?: readonly string[];
  readonly variant?: string;
  readonly preemptions?: number;
  readonly limit?: number;
  readonly memory?: number;
  readonly reduce: boolean;
  readonly json?: boolean;
  readonly times: boolean;
  readonly junit?: string;
  readonly replay?: string;
  /** The format; of `--diagram` alone `text`. */
  readonly diagram?: string;
  readonly output?: string;
  readonly minimise: boolean;
  readonly shard?: Shard;
  readonly merge?: readonly string[];
  readonly resume?: string;
  /** Try searches of the file to resume again that ran out of time or memory. */
  readonly again?: boolean;
  readonly sizes?: string;
  readonly split?: readonly string[];
  readonly workers?: number;
  readonly smoke?: number;
  readonly checkUndo?: boolean;
  readonly seed?: number;
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
  const [, index, count] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  if (index === undefined || Number(index) < 1 || Number(index) > Number(count)) throw new InvalidArgumentError('expected I/N with I from 1 to N, as 2/8');
  return { index: Number(index), count: Number(count) };
}

/** Formats of diagrams by name; the last letters of a file's name mean the same. */
export const FORMATS: readonly string[] = ['text', 'svg', 'mermaid', 'json', 'plantuml', 'perfetto'];

export function withCheckOptions(command: Command): Command {
  return command
    .option('--list', 'list the entries with their variants, and check nothing')
    .option(
      '-m, --mode <mode>',
      'paging mode, repeatable; "all": x86-4level, arm64-4k-48, s390x, ppc-8xx-4k (default: the first of these that an entry makes sense in)',
      collect,
    )
    .option('--variant <name>', 'only this variant')
    .option('--preemptions <number>', 'search schedules with at most so many preemptions', whole(0, 100, 'a number of preemptions'))
    .option('--limit <seconds>', 'give up a search after this time (default 120)', whole(1, 1_000_000, 'a number of seconds'))
    .option('--memory <MB>', 'memory that the table of states may take (default 1024)', whole(1, 1_000_000, 'a number of megabytes'))
    .option('--no-reduce', 'stop before every operation, also where no other task or hardware takes notice')
    .option('--json', 'one object a line')
    .addOption(new Option('--times', 'say how long rows took').default(true).hideHelp())
    .option('--no-times', 'every time is 0: two runs print the same, byte for byte')
    .option('--junit <file>', 'write the results as JUnit XML, too')
    .option('--diagram [format]', `draw what breaks a rule: ${FORMATS.join(', ')}`)
    .option('-o, --output <file>', 'write the diagram there (where there are several: one file each)')
    .addOption(new Option('--minimise', 'make the schedule small before it is drawn').default(true).hideHelp())
    .option('--no-minimise', 'draw the schedule as it was found')
    .option('--replay <schedule>', 'play a schedule of one variant, and draw it')
    .option('--workers <number>', 'threads that search (default 1)', whole(1, 1024, 'a number of threads'))
    .option('--resume <file>', 'append what is found to a results file, and go on where it ends')
    .option('--again', 'with --resume: try searches again that ran out of time or memory')
    .option('--shard <i/n>', 'only the i-th of n shares of the work', shard)
    .option('--sizes <file>', 'with --shard: a results file of an earlier run, so that all shards take about as long')
    .option('--split <row>', 'with --shard: search this row (E28:fixed:s390x) by parts in all shards, repeatable', collect)
    .option('--merge <file...>', 'put the results files of shards together, and search nothing')
    .option('--smoke <number>', 'so many random schedules of each row instead of a search', whole(1, 1_000_000_000, 'a number of schedules'))
    .option('--check-undo', 'undo and redo every step of random schedules: nothing may lie outside of the memory')
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

/** Options that say something only together with another one. */
const NEEDS: readonly (readonly [keyof CheckCommandOptions, readonly (keyof CheckCommandOptions)[]])[] = [
  ['seed', ['smoke', 'checkUndo']],
  ['again', ['resume']],
  ['sizes', ['shard']],
  ['split', ['shard']],
];

/** Options that contradict each other, and why. */
const CONTRADICT: readonly (readonly [keyof CheckCommandOptions, readonly (keyof CheckCommandOptions)[], string])[] = [
  ['replay', ['smoke', 'list', 'junit', 'shard', 'merge', 'resume', 'workers', 'preemptions'], 'one schedule is played, nothing is searched'],
  ['smoke', ['preemptions', 'shard', 'resume', 'workers', 'merge'], 'random schedules are no search'],
  [
    'checkUndo',
    ['list', 'junit', 'replay', 'smoke', 'shard', 'merge', 'resume', 'workers', 'preemptions', 'diagram', 'output'],
    'steps are undone and done again, nothing is searched',
  ],
  ['merge', ['list', 'shard', 'resume', 'workers', 'preemptions', 'limit', 'mode', 'variant', 'diagram', 'output'], 'results are as they are'],
];

/** An option as it is typed. */
const dashed = (name: string): string => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** What contradicts itself. @throws {PxdError} 'usage' */
export function checkOptions(options: CheckCommandOptions, names: readonly string[]): void {
  const given = (name: keyof CheckCommandOptions): boolean => options[name] !== undefined;
  const complain = (what: string): never => {
    throw new PxdError('usage', what);
  };
  for (const [name, others] of NEEDS)
    if (given(name) && !others.some(given)) complain(`${dashed(name)} says something only together with ${others.map(dashed).join(' or ')}`);
  for (const [name, others, why] of CONTRADICT)
    for (const other of others) if (given(name) && given(other)) complain(`${dashed(name)} and ${dashed(other)}: ${why}`);
  if (options.merge !== undefined && names.length > 0) complain(`--merge takes files of results and nothing else: "${names[0]}" stands before it`);
  if (options.json && options.diagram !== undefined && options.output === undefined && options.replay === undefined)
    complain('--json and --diagram both write to stdout: --output FILE takes the diagram');
}
