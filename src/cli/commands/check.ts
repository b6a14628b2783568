/** `pxd check`: explores the interleavings of entries of the catalogue of races, or of a file's scenarios, and says whether each behaves as it should. */
import { performance } from 'node:perf_hooks';
import type { Command } from 'commander';
import type { CheckOptions, Row } from '../../explore/check.ts';
import type { Progress } from '../../explore/search.ts';
import { PxdError } from '../../pagetable/error.ts';
import { type Drawing, draw, loadFormats } from '../check/diagrams.ts';
import { junitXml } from '../check/junit.ts';
import { writeList } from '../check/list.ts';
import { type CheckCommandOptions, checkOptions, formatOf, separateDiagram, withCheckOptions } from '../check/options.ts';
import { Totals, writeReport, writeViolation } from '../check/report.ts';
import { chosenOf, type Item, itemsOf, modesOf, shareOf } from '../check/select.ts';
import { jsonOf, RowPrinter } from '../check/table.ts';
import type { Context } from '../context.ts';
import { type Io, PipeClosed, type ProcessIo, paint } from '../io.ts';
import { cut } from '../table.ts';
import { writeChunks } from '../write-file.ts';

const HELP = `
A row is a variant of an entry in a paging mode. Variants say which code runs
(as Linux 6.18 has it, or as a kernel before a fix) and whether a rule is broken
then. "clean" means that every interleaving was explored, "bounded" every one
with so many preemptions; docs/check.md tells what is explored and what is not.
Exit codes: 0 all rows are as expected, 1 some are not, 2 bad input.

Examples:
  pxd check                                    the whole catalogue
  pxd check E17 --mode all --json
  pxd check E17 --variant unaware --diagram    the race, drawn
  pxd check examples/protocol/snapshot.ts      a protocol of your own`;

export const prepare = separateDiagram;

export function register(program: Command, context: Context): void {
  const { io } = context;
  withCheckOptions(program.command('check'))
    .description("explore every interleaving of the mm's own code: races of Linux's history, and scenarios of your own")
    .argument('[what...]', 'entries of the catalogue (E17), or files with scenarios of your own (.ts, .js); the whole catalogue where nothing is named')
    .addHelpText('after', HELP)
    .action(async (names: string[], options: CheckCommandOptions) => {
      checkOptions(options);
      const formats = options.diagram === undefined && options.output === undefined && options.replay === undefined ? [] : Object.keys(await loadFormats());
      const format = formatOf(options, formats);
      const { catalogue } = await import('../../races/index.ts');
      const chosen = await chosenOf(catalogue, names, async (path) => (await import('../../explore/node/load.ts')).loadScenarios(path));
      const modes = modesOf(options.mode);
      if (options.list) {
        writeList(
          io,
          chosen.map(({ scenario }) => scenario),
          options.json === true,
        );
        return;
      }
      const items = itemsOf(chosen, modes, options.variant);
      const drawing = format === undefined ? undefined : { format, output: options.output, several: items.length > 1, minimise: options.minimise };
      if (options.replay !== undefined) {
        context.exitCode = await replay(io, items, options, drawing as Drawing);
        return;
      }
      const rows = await check(io, shareOf(items, options.shard), options, drawing, names.length > 0);
      if (rows.some((row) => !row.ok)) context.exitCode = 1;
    });
}

/** Checks all rows and prints them one by one. */
async function check(io: Io, items: readonly Item[], options: CheckCommandOptions, drawing: Drawing | undefined, named: boolean): Promise<Row[]> {
  const fileOf = (row: Row): string | undefined => items.find(({ scenario }) => scenario.id === row.id)?.file;
  const printer = new RowPrinter(io, items, options.smoke !== undefined);
  const totals = new Totals();
  const rows: Row[] = [];
  for (const item of items) {
    const row = await blamed(item, () => checkItem(item, options, totals, progressOf(io, item, rows.length, items.length)));
    io.progress('');
    rows.push(row);
    if (options.json) io.write(`${JSON.stringify(jsonOf(row))}\n`);
    else printer.print(row);
    if (row.schedule !== null && drawing !== undefined) await draw(io, drawing, item.scenario, item.variant, item.mode, row.schedule);
    (io as Partial<ProcessIo>).flush?.();
  }
  if (!options.json) {
    // Of what was asked for by name, violations that were expected are told, too.
    if (named && drawing === undefined) {
      const expected = rows.filter((row) => row.ok && row.schedule !== null);
      if (expected.length > 0) io.write('\n');
      for (const row of expected) writeViolation(io, row, fileOf(row));
    }
    writeReport(io, rows, totals, fileOf);
  }
  if (options.junit !== undefined) writeChunks(options.junit, [new TextEncoder().encode(junitXml(rows))], true);
  return rows;
}

/** What goes wrong outside of kernel functions in a file of the user's is said of the file. */
async function blamed<T>({ file }: Item, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (file === undefined || error instanceof PxdError || error instanceof PipeClosed) throw error;
    const { placeOf } = await import('../../explore/node/load.ts');
    throw new PxdError('usage', `${placeOf(error) ?? file}: ${(error as Error).message ?? error}`);
  }
}

async function checkItem({ scenario, variant, mode }: Item, options: CheckCommandOptions, totals: Totals, progress: CheckOptions['progress']): Promise<Row> {
  const given: CheckOptions = {
    now: () => performance.now(),
    ...(options.limit === undefined ? {} : { limitMs: options.limit * 1000 }),
    ...(options.memory === undefined ? {} : { memoryBytes: options.memory * 2 ** 20 }),
    ...(options.preemptions === undefined ? {} : { bounds: Array.from({ length: options.preemptions + 1 }, (_, i) => i) }),
    ...(progress === undefined ? {} : { progress }),
    searched: (result) => totals.add(result),
  };
  if (options.smoke !== undefined) return (await import('../check/smoke.ts')).smokeVariant(scenario, variant, mode, options.smoke, options.seed ?? 1, given);
  return (await import('../../explore/check.ts')).checkVariant(scenario, variant, mode, given);
}

/** Milliseconds between two changes of the progress line. */
const LOOK = 100;

/** Tells how far a search is, on a terminal. */
function progressOf(io: Io, { scenario, variant, mode }: Item, number: number, of: number): NonNullable<CheckOptions['progress']> {
  let before = performance.now();
  const begin = before;
  return ({ states, transitions, depth }: Progress, bound: number): void => {
    const now = performance.now();
    if (now - before < LOOK) return;
    before = now;
    const rate = Math.round((transitions / (now - begin)) * 1000).toLocaleString('en-US');
    const limit = Number.isFinite(bound) ? ` (bound ${bound})` : '';
    io.progress(
      cut(
        `${number + 1}/${of} ${scenario.id} ${variant} ${mode}${limit}: ${states.toLocaleString('en-US')} states, ${rate} steps/s, depth ${depth}`,
        io.columns,
      ),
    );
  };
}

/** Plays a schedule. Exit code: 1 when it breaks a rule that it should not. */
async function replay(io: Io, items: readonly Item[], options: CheckCommandOptions, drawing: Drawing): Promise<number> {
  if (items.length !== 1) {
    const found = items.slice(0, 6).map((one) => `${one.scenario.id} ${one.variant} ${one.mode}`);
    throw new PxdError(
      'usage',
      `--replay needs one entry with one --variant and one --mode, these are ${items.length}: ${found.join(', ')}${items.length > 6 ? ', …' : ''}`,
    );
  }
  const [{ scenario, variant, mode }] = items;
  const [{ play }, { parseSchedule, scheduleText }] = await Promise.all([import('../../explore/play.ts'), import('../../explore/schedule.ts')]);
  const played = await blamed(items[0], async () => play(scenario, variant, mode, parseSchedule(options.replay as string)));
  const { violation, preemptions, done } = played;
  const schedule = scheduleText(played.schedule);
  if (options.json) {
    const row = { id: scenario.id, variant, mode, invariant: violation?.rule ?? null, message: violation?.message ?? null, preemptions, done, schedule };
    io.write(`${JSON.stringify(row)}\n`);
  } else {
    const head = `${scenario.id} ${variant} ${mode}, ${played.schedule.length} steps, ${preemptions} preemptions: `;
    const what = violation ? `${violation.rule} is broken` : done ? 'nothing is broken' : 'nothing is broken so far: tasks are not done';
    io.write(`${paint(io, 'bold', head)}${what}\n`);
    if (violation !== undefined && options.output === undefined && options.diagram === undefined) io.write(`${violation.message}\n`);
  }
  if (!options.json || options.output !== undefined) await draw(io, { ...drawing, minimise: false }, scenario, variant, mode, schedule);
  return violation !== undefined && scenario.variants[variant].expect === 'clean' ? 1 : 0;
}
