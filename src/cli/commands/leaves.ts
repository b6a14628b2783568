/** `pxd leaves`: every extent of one address space, for people or for programs. */
import { type Command, Option } from 'commander';
import type { RowOptions } from '../../inspect/leaves.ts';
import type { Session } from '../../inspect/session.ts';
import type { PageTables } from '../../pagetable/tree.ts';
import type { Context } from '../context.ts';
import { type Io, paint } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, sessionFrom, withImageOptions } from '../options.ts';
import { padEnd, padStart, tableLines } from '../table.ts';

interface Options extends ImageOptions {
  readonly format: 'table' | 'jsonl' | 'csv';
  readonly all?: boolean;
  readonly where?: string;
  readonly summary?: boolean;
}

const HELP = `
An extent is a run of pages equal in rights and leaf size, contiguous virtually
and physically. In JSON, "bytes" is one repetition, "page" the leaf size,
"contig" the entries of the contiguous group that a leaf belongs to (1 when
none), "count" how often the extent repeats (a shared subtable, or one frame
mapped over and over), "stride" bytes apart. "present" is false where the entry
keeps its frame but grants nothing (PROT_NONE, NUMA hints).

--where takes conditions over these fields, joined by && and ||, negated by !,
with numbers such as 4096, 0x1000 or 2M:
  write && exec     page >= 2M     user && !present     pa < 0x1000000
Further fields: half (user, kernel), level (pgd … pte), kind (leaf, swap,
migration, marker, …), swapType, swapOffset.`;

export function register(program: Command, { io }: Context): void {
  withImageOptions(
    program
      .command('leaves')
      .description('list what is mapped, one line an extent')
      .argument('[image]', `${IMAGE_ARGUMENT}; none: --pid is a process of this machine`),
  )
    .addOption(new Option('-f, --format <format>', 'how to write it').choices(['table', 'jsonl', 'csv']).default('table'))
    .option('-a, --all', 'entries that are not present, too (swapped, migrating, markers, …)')
    .option('-w, --where <expression>', 'only extents for which this holds, for example "write && exec"')
    .option('-s, --summary', 'only the exact totals')
    .addHelpText('after', HELP)
    .action((image: string | undefined, options: Options) => (image === undefined ? live(options, io) : leaves(image, options, io)));
}

/** Runs of pages of a live process; always as JSON lines, since pagemap knows other things than tables do. */
async function live(options: Options, io: Io): Promise<void> {
  const { PxdError } = await import('../../pagetable/error.ts');
  if (options.pid === undefined) throw new PxdError('usage', 'nothing to list: give an image, or --pid for a live process of this machine');
  if (options.format !== 'jsonl' || options.summary || options.where !== undefined)
    throw new PxdError('usage', 'a live process is listed with --format jsonl only, without --summary and --where ("pxd inspect --pid" shows it as a table)');
  const [{ readLive }, { liveJson }] = await Promise.all([import('../../image/node/live.ts'), import('../live.ts')]);
  const process = readLive(options.pid);
  for (const note of process.notes) io.note(`note: ${note}`);
  for (const run of process.runs) if (options.all || run.kind === 'present') io.write(`${JSON.stringify(liveJson(run, process.pageBytes))}\n`);
}

async function leaves(path: string, options: Options, io: Io): Promise<void> {
  const [library, { compileWhere }, session] = await Promise.all([
    import('../../inspect/leaves.ts'),
    import('../../inspect/where.ts'),
    import('../../inspect/session.ts'),
  ]);
  const where = options.where === undefined ? undefined : compileWhere(options.where);
  const opened = await sessionFrom(path, options, io);
  const rows: RowOptions = { ...opened.limits, ...(options.all ? { all: true } : {}), ...(where ? { where } : {}) };
  for (const remark of opened.remarks) io.note(`note: ${remark}`);
  if (!opened.asked) explainChoice(opened, io);
  let csvHeader = true;
  let listed = 0;
  for (const space of opened.chosen) {
    for (const root of session.rootsFor(space, opened.limits.half)) {
      const tables = session.tablesOf(opened, root);
      const write = (text: string): void => io.write(text);
      let missing: ReturnType<typeof library.forEachRow>;
      if (options.summary) {
        const totals = new library.Totals(tables);
        missing = library.forEachRow(tables, { all: true, ...rows }, totals.sink);
        if (options.format === 'jsonl') io.write(`${JSON.stringify({ root: root.label, ...totals.toJson() })}\n`);
        else writeSummary(root.label, totals, io);
      } else if (options.format === 'jsonl') {
        const writer = library.jsonlWriter(tables, write);
        missing = library.forEachRow(tables, rows, writer.sink, writer.batchDone);
      } else if (options.format === 'csv') {
        const writer = library.csvWriter(tables, write);
        if (csvHeader) io.write(`${writer.header}\n`);
        csvHeader = false;
        missing = library.forEachRow(tables, rows, writer.sink, writer.batchDone);
      } else {
        const sink = tableSink(library, tables, await namer(opened, tables, io), io);
        missing = library.forEachRow(tables, rows, sink);
      }
      listed += missing.rows;
      if (missing.tables > 0) {
        const { pageHex, plural } = await import('../../inspect/text.ts');
        const at = pageHex(missing.first[0], opened.mode.mode.pageShift);
        io.note(
          `note: ${plural(missing.tables, 'table or part of one lies', 'tables or parts of them lie')} outside the image, the first one for address 0x${at}`,
        );
      }
    }
  }
  // An empty list must not be taken for a failure to read the tables.
  if (listed === 0) io.note(`note: ${nothing(opened, options)}`);
}

function nothing(session: Session, options: Options): string {
  const whose = session.chosen.map((s) => s.name).join(' and ');
  const { half } = session.limits;
  if (half !== undefined && session.chosen.every((s) => s.roots.every((root) => root.ranges.every((r) => r.half !== half))))
    return `${whose} has no tables for the ${half} half`;
  const limited = options.where !== undefined || options.range !== undefined || half !== undefined;
  return limited ? `nothing that ${whose} maps is within what --where, --range, --user and --kernel leave` : `${whose} maps nothing`;
}

/** Without --root or --pid the first known root is taken: say which, and what else there is. */
function explainChoice(session: Session, io: Io): void {
  const others = session.spaces.length - session.chosen.length;
  if (others > 0) io.note(`note: ${session.chosen[0].name} of ${session.spaces.length} known roots (--pid or --root choose another, "pxd inspect" lists them)`);
}

/** Names of regions, where the line has room for them. */
async function namer(session: Session, tables: PageTables, io: Io): Promise<(vpn: number) => string> {
  if (io.columns < 100) return () => '';
  const { regionsOf } = await import('../../inspect/regions.ts');
  const regions = regionsOf(session.mode, session.image, tables);
  let at = 0;
  return (vpn) => {
    if (at >= regions.length || regions[at].start > vpn) at = 0;
    while (at < regions.length && regions[at].end <= vpn) at++;
    const found = at < regions.length && regions[at].start <= vpn ? regions[at] : undefined;
    return found === undefined ? '' : `${found.name}${found.guessed ? '?' : ''}`;
  };
}

function tableSink(
  library: typeof import('../../inspect/leaves.ts'),
  tables: PageTables,
  name: (vpn: number) => string,
  io: Io,
): Parameters<typeof library.forEachRow>[2] {
  let head = true;
  const width = tables.mode.mode.vaBits <= 32 ? 17 : 33;
  return (e, i, cls) => {
    const t = library.rowText(tables, e, i, cls);
    if (head) io.write(`${paint(io, 'dim', `${padEnd('virtual', width)} ${padStart('physical', 13)} ${padStart('size', 6)} ${padStart('page', 5)} rights`)}\n`);
    head = false;
    const rights = cls.kind === 'leaf' ? `${rightsPainted(io, t.rights)} ${t.flags}` : '        ';
    const region = cls.half === 'kernel' ? name(e.vpn[i]) : '';
    const more = `${t.more ? ` ${paint(io, 'yellow', t.more)}` : ''}${region ? ` ${paint(io, 'green', region)}` : ''}`;
    const line = `${t.virtual} ${t.physical.padStart(13)} ${t.size.padStart(6)} ${t.page.padStart(5)} ${rights}${more}`;
    io.write(`${line.trimEnd()}\n`);
  };
}

/** Writable and executable at once stands out. */
export const rightsPainted = (io: Io, rights: string): string =>
  /^.wx/.test(rights) ? paint(io, ['bold', 'red'], rights) : rights.endsWith('u') ? paint(io, 'cyan', rights) : rights;

function writeSummary(label: string, totals: InstanceType<typeof import('../../inspect/leaves.ts').Totals>, io: Io): void {
  io.write(`${paint(io, 'bold', label)}\n`);
  const lines = tableLines([{ title: '' }, { title: '' }, { title: '', right: true }, { title: '', right: true }, { title: '', right: true }], totals.rows(), {
    indent: '  ',
  });
  io.write(lines.length > 0 ? `${lines.join('\n')}\n` : '  nothing is mapped\n');
}
