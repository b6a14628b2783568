/** `pxd check`: explores the interleavings of entries of the catalogue of races, or of a file's scenarios, and says whether each behaves as it should. */
import { performance } from 'node:perf_hooks';
import type { Command } from 'commander';
import type { Row } from '../../explore/check.ts';
import { PxdError } from '../../pagetable/error.ts';
import { type Drawing, draw, loadFormats } from '../check/diagrams.ts';
import { junitXml } from '../check/junit.ts';
import { writeList } from '../check/list.ts';
import { type CheckCommandOptions, checkOptions, formatOf, separateDiagram, withCheckOptions } from '../check/options.ts';
import { Totals, writeReport, writeViolation } from '../check/report.ts';
import { blamed, findRows, type Standing } from '../check/rows.ts';
import { chosenOf, type Item, itemsOf, modesOf } from '../check/select.ts';
import { jsonOf, RowPrinter } from '../check/table.ts';
import type { Context } from '../context.ts';
import { type Io, type ProcessIo, paint } from '../io.ts';
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
  pxd check examples/protocol/dirty-log.ts      a protocol of your own`;

export const prepare = separateDiagram;

export function register(program: Command, context: Context): void {
  const { io } = context;
  withCheckOptions(program.command('check'))
    .description("explore every interleaving of the mm's own code: races of Linux's history, and scenarios of your own")
    .argument('[what...]', 'entries of the catalogue (E17), or files with scenarios of your own (.ts, .js); the whole catalogue where nothing is named')
    .addHelpText('after', HELP)
    .action(async (names: string[], options: CheckCommandOptions) => {
      checkOptions(options, names);
      context.exitCode = options.merge === undefined ? await checked(io, names, options) : await merged(io, options.merge, options);
    });
}

/** Everything but `--merge`. The exit code. */
async function checked(io: Io, names: readonly string[], options: CheckCommandOptions): Promise<number> {
  const draws = options.diagram !== undefined || options.output !== undefined || options.replay !== undefined;
  const format = formatOf(options, draws ? Object.keys(await loadFormats()) : []);
  const { catalogue } = await import('../../races/index.ts');
  const chosen = await chosenOf(catalogue, names, async (path) => (await import('../../explore/node/load.ts')).loadScenarios(path));
  const items = itemsOf(chosen, options.mode && modesOf(options.mode), options.variant);
  if (options.list) {
    const scenarios = [...new Set(items.map(({ scenario }) => scenario))];
    writeList(io, scenarios, options.json === true);
    return 0;
  }
  const { checkUndo, refuseUnrepeatable } = await import('../check/undo.ts');
  if (options.checkUndo) return await checkUndo(io, items, options);
  await refuseUnrepeatable(items);
  const drawing = format === undefined ? undefined : { format, output: options.output, several: items.length > 1, minimise: options.minimise };
  if (options.replay !== undefined) return await replay(io, items, options, drawing as Drawing);
  return await check(io, items, options, drawing, names.length > 0);
}

/** Finds all rows and prints them one by one. */
async function check(io: Io, items: readonly Item[], options: CheckCommandOptions, drawing: Drawing | undefined, named: boolean): Promise<number> {
  const random = options.smoke !== undefined;
  const printer = new RowPrinter(io, items, random);
  const totals = new Totals();
  const rows: Row[] = [];
  const itemOf = (row: Row): Item =>
    items.find(({ scenario, variant, mode }) => scenario.id === row.id && variant === row.variant && mode === row.mode) as Item;
  const { refuserOf } = await import('../check/undo.ts');
  const refuse = await refuserOf(items);
  const onRow = (found: Row): void => {
    const row = options.times ? found : { ...found, ms: 0 };
    refuse(itemOf(row), row.invariant, row.schedule);
    rows.push(row);
    printRow(io, printer, row, options);
  };
  const complete = await findRows(items, options, totals, { onRow, onProgress: progressTo(io) });
  const fileOf = (row: Row): string | undefined => itemOf(row).file;
  const violations = rows.filter((row) => row.schedule !== null);
  if (drawing !== undefined) {
    for (const row of violations) {
      if (drawing.output === undefined) io.write('\n');
      await draw(io, drawing, { ...itemOf(row), schedule: row.schedule as string, rule: row.invariant ?? undefined });
    }
  }
  if (!options.json) {
    // Of what was asked for by name, violations that were expected are told, too: in one mode.
    const told = violations.filter((row, i) => row.ok && violations.findIndex((one) => one.id === row.id && one.variant === row.variant) === i);
    if (named && drawing === undefined && told.length > 0) {
      io.write('\n');
      for (const row of told) writeViolation(io, row, fileOf(row));
    }
    writeReport(io, rows, totals, fileOf, random);
  }
  if (!complete) io.note(`pxd: stopped after ${rows.length} rows${options.resume === undefined ? '' : `; --resume ${options.resume} goes on`}`);
  writeJunit(options, rows);
  return complete && rows.every((row) => row.ok) ? 0 : 1;
}

function printRow(io: Io, printer: RowPrinter, row: Row, { json }: CheckCommandOptions): void {
  io.progress('');
  if (json) io.write(`${JSON.stringify(jsonOf(row))}\n`);
  else printer.print(row);
  // A row is seen when it is found, however long the next one takes.
  (io as Partial<ProcessIo>).flush?.();
}

function writeJunit({ junit }: CheckCommandOptions, rows: readonly Row[]): void {
  if (junit !== undefined) writeChunks(junit, [new TextEncoder().encode(junitXml(rows))], true);
}

/** `--merge`. The exit code: 1 also when something is missing. */
async function merged(io: Io, files: readonly string[], options: CheckCommandOptions): Promise<number> {
  const { gapsOf, merge } = await import('../check/merge.ts');
  const all = await merge(files, options);
  const found = options.times ? all : { ...all, rows: all.rows.map((row) => ({ ...row, ms: 0 })) };
  const printer = new RowPrinter(
    io,
    found.rows.map(({ id, variant, mode, invariant }) => ({ scenario: { id, variants: { [variant]: { rule: invariant ?? [] } } }, variant, mode })),
  );
  for (const row of found.rows) printRow(io, printer, row, options);
  if (!options.json) writeReport(io, found.rows, new Totals(), () => undefined);
  for (const gap of gapsOf(found)) io.note(`pxd: ${gap}`);
  writeJunit(options, found.rows);
  return found.complete && found.rows.every((row) => row.ok) ? 0 : 1;
}

/** Milliseconds between two changes of the progress line. */
const LOOK = 100;

/** Tells how far a run is, on a terminal. */
function progressTo(io: Io): (standing: Standing) => void {
  let before = performance.now();
  return ({ job, done, of, states, rate, depth, bound }): void => {
    const now = performance.now();
    if (now - before < LOOK) return;
    before = now;
    const limit = bound !== undefined && Number.isFinite(bound) ? ` (bound ${bound})` : '';
    const numbers = `${states.toLocaleString('en-US')} states, ${rate.toLocaleString('en-US')}/s, depth ${depth}`;
    io.progress(cut(`${done + 1}/${of} ${job.id} ${job.variant} ${job.mode}${limit}: ${numbers}`, io.columns));
  };
}

/** Plays a schedule. Exit code: 1 when it breaks a rule that it should not. */
async function replay(io: Io, items: readonly Item[], options: CheckCommandOptions, drawing: Drawing): Promise<number> {
  if (items.length !== 1) {
    const found = items.slice(0, 6).map((one) => `${one.scenario.id} ${one.variant} ${one.mode}`);
    const more = items.length > 6 ? ', …' : '';
    throw new PxdError('usage', `--replay needs one entry with one --variant and one --mode, these are ${items.length}: ${found.join(', ')}${more}`);
  }
  const [{ scenario, variant, mode }] = items;
  const [{ play }, { parseSchedule, scheduleText }] = await Promise.all([import('../../explore/play.ts'), import('../../explore/schedule.ts')]);
  const played = await blamed(items, async () => play(scenario, variant, mode, parseSchedule(options.replay as string)));
  const { violation, preemptions, done } = played;
  const schedule = scheduleText(played.schedule);
  const { refuserOf } = await import('../check/undo.ts');
  (await refuserOf(items))(items[0], violation?.rule, schedule);
  if (options.json) {
    const row = { id: scenario.id, variant, mode, invariant: violation?.rule ?? null, message: violation?.message ?? null, preemptions, done, schedule };
    io.write(`${JSON.stringify(row)}\n`);
  } else {
    const head = `${scenario.id} ${variant} ${mode}, ${played.schedule.length} steps, ${preemptions} preemptions: `;
    const what = violation ? `${violation.rule} is broken` : done ? 'nothing is broken' : 'nothing is broken so far: tasks are not done';
    io.write(`${paint(io, 'bold', head)}${what}\n`);
  }
  if (!options.json || options.output !== undefined) await draw(io, drawing, { scenario, variant, mode, schedule });
  return violation !== undefined && scenario.variants[variant].expect === 'clean' ? 1 : 0;
}
