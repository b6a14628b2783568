/** `pxd sql`: page tables of one or several images as tables of a database. */
import { mkdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Command, Option } from 'commander';
import { printable } from '../../image/bytes.ts';
import { audit } from '../../inspect/audit.ts';
import { aligned, counted, cut, wrapped } from '../../inspect/draw-text.ts';
import { stageAnomalies, stageRoots, TABLE_DOCS } from '../../inspect/sql-tables.ts';
import { walkedRoots } from '../../inspect/walked.ts';
import { PxdError } from '../../pagetable/error.ts';
import type { Context } from '../context.ts';
import { type Answer, Database } from '../duckdb.ts';
import type { Io, ProcessIo } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, sessionFrom, withImageOptions } from '../options.ts';

type Format = 'table' | 'csv' | 'jsonl';

interface SqlOptions extends ImageOptions {
  readonly command?: readonly string[];
  readonly format?: Format;
  readonly export?: string;
  readonly force?: boolean;
  readonly to: 'parquet' | 'csv';
  readonly database?: string;
}

const EPILOGUE = `
Tables:
${Object.entries(TABLE_DOCS)
  .flatMap(([name, doc]) => wrapped(`  ${name.padEnd(10)} ${doc}`, 78, ' '.repeat(13)))
  .join('\n')}
Without -c or --export queries are read from a prompt, or from stdin. addr(x)
writes an address in hexadecimal.

  pxd sql dump.elf -c "SELECT pid, page, count(*), sum(bytes) FROM leaves \\
                       WHERE write AND exec GROUP BY ALL"`;

export function register(program: Command, context: Context): void {
  const { io } = context;
  withImageOptions(
    program
      .command('sql')
      .description('leaves, tables, entries and anomalies of images as DuckDB tables: one query, a prompt, or Parquet and CSV files')
      .argument('<image...>', IMAGE_ARGUMENT),
    { range: false },
  )
    .option('-c, --command <query>', 'run this query; repeatable', (text: string, before: string[] | undefined) => [...(before ?? []), text])
    .addOption(new Option('--format <format>', 'how answers are written').choices(['table', 'csv', 'jsonl']))
    .option('--export <folder>', 'write every table into this folder')
    .option('--force', 'overwrite files of an earlier export')
    .addOption(new Option('--to <format>', 'format of the export').choices(['parquet', 'csv']).default('parquet'))
    .option('--database <file>', 'keep the tables in a DuckDB file')
    .addHelpText('after', EPILOGUE)
    .action(async (images: string[], options: SqlOptions) => {
      const database = await Database.open(options.database);
      try {
        await fill(database, images, options, io);
        await answer(database, options, io);
      } finally {
        database.close();
      }
    });
}

async function fill(database: Database, images: readonly string[], options: SqlOptions, io: Io): Promise<void> {
  let root = 0;
  let finding = 0;
  for (const path of images) {
    const session = await sessionFrom(path, options, io);
    const roots = walkedRoots(session, (what) => io.progress(`${session.name}: ${what}`));
    io.progress(`${session.name}: storing`);
    root = stageRoots(database.sink, session.name, roots, root);
    finding = stageAnomalies(database.sink, session.name, audit(roots, session.limits), finding);
  }
  await database.finish();
  io.progress('');
}

async function answer(database: Database, options: SqlOptions, io: Io): Promise<void> {
  const format = options.format ?? 'table';
  for (const query of options.command ?? []) writeAll(io, await database.query(query), format);
  if (options.export !== undefined) {
    mkdirSync(options.export, { recursive: true });
    for (const file of await database.export(options.export, options.to, options.force === true)) io.write(`${file}\n`);
  }
  if (options.command !== undefined || options.export !== undefined) return;
  if (process.stdin.isTTY) await prompt(database, format, io);
  else writeAll(io, await database.query(readFileSync(0, 'utf8')), format);
}

// ---- answers ----

const ADDRESSES = /^(va|pa|bits|stride|swap_offset)$/;

function writeAll(io: Io, answers: readonly Answer[], format: Format): void {
  for (const answer of answers) write(io, answer, format);
}

function write(io: Io, a: Answer, format: Format): void {
  if (a.names.length === 0) return;
  if (format === 'jsonl') {
    for (const row of a.rows) io.write(`${JSON.stringify(Object.fromEntries(a.names.map((n, i) => [n, jsonValue(row[i])])))}\n`);
  } else if (format === 'csv') {
    for (const row of [a.names, ...a.rows]) io.write(`${row.map(csvValue).join(',')}\n`);
  } else io.write(tableText(a, io));
}

/** Numbers that JavaScript cannot hold exactly become text. */
const jsonValue = (v: unknown): unknown =>
  typeof v === 'bigint' ? (v <= 9007199254740991n && v >= -9007199254740991n ? Number(v) : v.toString()) : v === null || typeof v !== 'object' ? v : String(v);

function csvValue(v: unknown): string {
  const text = v === null || v === undefined ? '' : String(v);
  // A cell that begins like a formula is run by spreadsheets; addresses and numbers never do.
  const safe = typeof v === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Rows shown of a table; the other formats have them all. */
const SHOWN = 1000;

function tableText(a: Answer, io: Io): string {
  const cell = (v: unknown, i: number): string =>
    v === null ? '' : typeof v === 'bigint' && ADDRESSES.test(a.names[i]) ? `0x${v.toString(16)}` : printable(String(v), 80);
  const right = a.types.flatMap((t, i) => (/INT|DOUBLE|FLOAT|DECIMAL/.test(t) ? [i] : []));
  const lines = aligned([a.names, ...a.rows.slice(0, SHOWN).map((row) => row.map(cell))], right);
  const more = a.rows.length > SHOWN ? [`and ${counted(a.rows.length - SHOWN, 'more row')} (--format csv or jsonl has them all)`] : [];
  return [...lines, ...more].map((line) => `${io.isTerminal ? cut(line, io.columns) : line}\n`).join('');
}

// ---- the prompt ----

const HELP = `Statements end with a semicolon. .tables lists the tables, .schema NAME the columns of one, .format table|csv|jsonl, .quit leaves.`;

async function prompt(database: Database, first: Format, io: Io): Promise<void> {
  let format = first;
  const lines = createInterface({ input: process.stdin, output: process.stderr, prompt: 'pxd> ', historySize: 500 });
  let statement = '';
  const say = (text: string): void => {
    io.write(text);
    (io as Partial<ProcessIo>).flush?.();
  };
  say(`${HELP}\n`);
  lines.prompt();
  for await (const line of lines) {
    const trimmed = line.trim();
    if (statement === '' && trimmed.startsWith('.')) {
      const [command, argument = ''] = trimmed.slice(1).split(/\s+/);
      if (command === 'quit' || command === 'exit') break;
      if (command === 'format' && /^(table|csv|jsonl)$/.test(argument)) format = argument as Format;
      else say(await dotCommand(database, command, argument, io));
    } else {
      statement += `${line}\n`;
      if (/;\s*$/.test(statement)) {
        await attempt(database, statement, format, io);
        statement = '';
        (io as Partial<ProcessIo>).flush?.();
      }
    }
    lines.setPrompt(statement === '' ? 'pxd> ' : '...> ');
    lines.prompt();
  }
  lines.close();
}

/** A mistake in a query is told and forgotten: the prompt goes on. */
async function attempt(database: Database, statement: string, format: Format, io: Io): Promise<void> {
  try {
    writeAll(io, await database.query(statement), format);
  } catch (e) {
    if (!(e instanceof PxdError)) throw e;
    io.note(e.message);
  }
}

async function dotCommand(database: Database, command: string, argument: string, io: Io): Promise<string> {
  if (command === 'tables') return `${aligned(Object.entries(TABLE_DOCS).map(([n, d]) => [n, d])).join('\n')}\n`;
  if (command === 'schema' && Object.hasOwn(TABLE_DOCS, argument))
    return (await database.query(`SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '${argument}'`))
      .map((a) => tableText(a, io))
      .join('');
  return `${HELP}\n`;
}
