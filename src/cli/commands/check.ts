/** `pxd check`: explores the interleavings of entries of the catalogue of races, and says whether each behaves as it should. */
import { performance } from 'node:perf_hooks';
import { type Command, InvalidArgumentError } from 'commander';
import type { Row } from '../../explore/check.ts';
import type { Scenario } from '../../explore/scenario.ts';
import { entriesOf, type Item, itemsOf, modesOf } from '../check/select.ts';
import { jsonOf, RowPrinter } from '../check/table.ts';
import type { Context } from '../context.ts';
import { type Io, type ProcessIo, paint } from '../io.ts';
import { cut, padEnd, wrap } from '../table.ts';

interface CheckCommandOptions {
  readonly list?: boolean;
  readonly mode?: readonly string[];
  readonly variant?: string;
  readonly preemptions?: number;
  readonly limit?: number;
  readonly memory?: number;
  readonly json?: boolean;
}

const collect = (text: string, before: readonly string[] | undefined): string[] => [...(before ?? []), text];

/** A whole number from `least` on. */
const whole =
  (least: number, most: number, what: string) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d{1,12}$/.test(text) || value < least || value > most) throw new InvalidArgumentError(`expected ${what} from ${least} to ${most}`);
    return value;
  };

export function register(program: Command, context: Context): void {
  const { io } = context;
  program
    .command('check')
    .description("explore every interleaving of the mm's own code: races of Linux's history, and scenarios of your own")
    .argument('[entry...]', 'entries of the catalogue (E17); all of them where none is named')
    .option('--list', 'list the entries with their variants, and check nothing')
    .option('-m, --mode <mode>', 'paging mode, repeatable; "all": x86-4level, arm64-4k-48, s390x, ppc-8xx-4k (default x86-4level)', collect)
    .option('--variant <name>', 'only this variant')
    .option('--preemptions <number>', 'search schedules with at most so many preemptions', whole(0, 100, 'a number of preemptions'))
    .option('--limit <seconds>', 'give up a search after this time (default 120)', whole(1, 1_000_000, 'a number of seconds'))
    .option('--memory <MB>', 'memory that the table of states may take (default 1024)', whole(1, 1_000_000, 'a number of megabytes'))
    .option('--json', 'one object a line')
    .action(async (ids: string[], options: CheckCommandOptions) => {
      const { catalogue } = await import('../../races/index.ts');
      const scenarios = entriesOf(catalogue, ids);
      const modes = modesOf(options.mode);
      if (options.list) {
        list(io, scenarios, options.json === true);
        return;
      }
      const rows = await check(io, itemsOf(scenarios, modes, options.variant), options);
      if (rows.some((row) => !row.ok)) context.exitCode = 1;
    });
}

function list(io: Io, scenarios: readonly Scenario[], json: boolean): void {
  for (const { id, title, source, variants } of scenarios) {
    if (json) {
      io.write(`${JSON.stringify({ id, title, source, variants })}\n`);
      continue;
    }
    for (const line of wrap(`${paint(io, 'bold', id)} ${title}`, io.columns)) io.write(`${line}\n`);
    const width = Math.max(...Object.keys(variants).map((name) => name.length));
    for (const [name, { expect, note }] of Object.entries(variants))
      io.write(`${cut(`    ${padEnd(name, width)}  ${padEnd(expect, 9)}  ${note ?? ''}`.trimEnd(), io.columns)}\n`);
  }
}

async function check(io: Io, items: readonly Item[], options: CheckCommandOptions): Promise<Row[]> {
  const { checkVariant } = await import('../../explore/check.ts');
  const printer = new RowPrinter(io, items);
  const rows: Row[] = [];
  for (const { scenario, variant, mode } of items) {
    const row = checkVariant(scenario, variant, mode, {
      now: () => performance.now(),
      ...(options.limit === undefined ? {} : { limitMs: options.limit * 1000 }),
      ...(options.memory === undefined ? {} : { memoryBytes: options.memory * 2 ** 20 }),
      ...(options.preemptions === undefined ? {} : { bounds: Array.from({ length: options.preemptions + 1 }, (_, i) => i) }),
    });
    rows.push(row);
    if (options.json) io.write(`${JSON.stringify(jsonOf(row))}\n`);
    else printer.print(row);
    (io as Partial<ProcessIo>).flush?.();
  }
  return rows;
}
