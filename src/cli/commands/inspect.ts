/** `pxd inspect`: what an image maps, folded so that it fits a window; then totals and findings. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Finding } from '../../inspect/audit.ts';
import type { Ink } from '../../inspect/render-tree.ts';
import type { AddressSpace, Half, Session } from '../../inspect/session.ts';
import { pageHex } from '../../inspect/text.ts';
import type { Context } from '../context.ts';
import { type Io, paint } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, sessionFrom, withImageOptions } from '../options.ts';
import { cut, widthOf, wrap } from '../table.ts';

interface Options extends ImageOptions {
  readonly full?: boolean;
  readonly rows?: number;
  readonly where?: string;
}

const HELP = `
A line is a run of pages alike in rights and size, contiguous virtually;
"pieces" says how many runs it is physically. Lines with "areas" stand for what
lies below one table entry. Rights: r read, w write, x execute, u user (k:
kernel only). A name with ? was inferred from the tables. "pxd leaves" lists
every extent, "pxd audit" tells where the findings are.`;

const STYLES: Readonly<Record<Ink, Parameters<typeof paint>[1]>> = {
  head: 'bold',
  name: ['bold', 'green'],
  address: 'cyan',
  dim: 'dim',
  warn: 'yellow',
  plain: 'reset',
};

export function register(program: Command, { io }: Context): void {
  withImageOptions(
    program
      .command('inspect')
      .description('show what is mapped where, folded to fit a window, with totals and findings')
      .argument('[image]', `${IMAGE_ARGUMENT}; none: --pid is a process of this machine`),
  )
    .option('--full', 'everything, however long')
    .option('--rows <number>', 'fit this many lines instead of the window', parseRows)
    .option('-w, --where <expression>', 'only extents for which this holds (as for "pxd leaves")')
    .addHelpText('after', HELP)
    .action((image: string | undefined, options: Options) => (image === undefined ? live(options, io) : inspect(image, options, io)));
}

async function live(options: Options, io: Io): Promise<void> {
  const { PxdError } = await import('../../pagetable/error.ts');
  if (options.pid === undefined) throw new PxdError('usage', 'nothing to inspect: give an image, or --pid for a live process of this machine');
  const [{ readLive }, { writeLive }] = await Promise.all([import('../../image/node/live.ts'), import('../live.ts')]);
  writeLive(readLive(options.pid), io, options.full ? Number.POSITIVE_INFINITY : (options.rows ?? io.rows));
}

function parseRows(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError(`expected a number of lines, found "${text.slice(0, 40)}"`);
  return Number(text);
}

async function inspect(path: string, options: Options, io: Io): Promise<void> {
  const [library, { regionsOf }, { foldHalf }, render, { compileWhere }] = await Promise.all([
    import('../../inspect/session.ts'),
    import('../../inspect/regions.ts'),
    import('../../inspect/fold.ts'),
    import('../../inspect/render-tree.ts'),
    import('../../inspect/where.ts'),
  ]);
  const where = options.where === undefined ? undefined : compileWhere(options.where);
  const session = await sessionFrom(path, options, io);
  const head = [...headLines(session, io), ...rootLines(session, library.sameTables, io)];
  for (const line of head) io.write(`${line}\n`);
  for (const [nth, space] of session.chosen.entries()) {
    const roots = library.rootsFor(space, session.limits.half);
    const tables = roots.map((root) => library.tablesOf(session, root));
    const filter = { ...(session.limits.range ? { range: session.limits.range } : {}), ...(where ? { where } : {}) };
    const halves = roots.flatMap((root, i) =>
      [...new Set(root.ranges.map((r): Half => r.half))]
        .filter((half) => session.limits.half === undefined || half === session.limits.half)
        .map((half) => foldHalf(tables[i], half, half === 'kernel' ? regionsOf(session.mode, session.image, tables[i]) : [], filter)),
    );
    const findings = await findingLines(session, space, tables, io);
    const totals = tables.length > 0 ? render.totalLines(tables, halves) : [];
    const rows = options.full ? Number.POSITIVE_INFINITY : Math.max(10, (options.rows ?? io.rows) - head.length - findings.length - totals.length - 4);
    const title = `${space.name}: ${roots.map((r) => r.label).join(', ') || `no tables for the ${session.limits.half} half`}`;
    if (nth > 0 || head.length > 0) io.write('\n');
    io.write(`${cut(paint(io, ['bold', 'underline'], title), io.columns)}\n`);
    const ink = (kind: Ink, text: string): string => (kind === 'plain' ? text : paint(io, STYLES[kind], text));
    for (const line of render.treeLines(session.mode, halves, { width: io.columns, rows, ink })) io.write(`${line}\n`);
    totals.forEach(([what, text], i) => {
      const [first, ...rest] = wrap(text, io.columns - 16);
      io.write(`${paint(io, 'bold', (i === 0 ? 'totals' : '').padEnd(8))} ${what.padEnd(6)} ${first}\n${rest.map((l) => `${' '.repeat(16)}${l}\n`).join('')}`);
    });
    for (const line of findings) io.write(`${line}\n`);
  }
}

function headLines(session: Session, io: Io): string[] {
  const { mode } = session;
  const [kind, ...more] = session.image.description();
  const facts = [
    `${paint(io, 'bold', session.name)}: ${[kind, more[0]].filter((s) => s !== undefined).join('; ')}`,
    `mode ${paint(io, 'bold', mode.mode.name)} ${paint(io, 'dim', `(${session.modeEvidence})`)}`,
    `Linux ${paint(io, 'bold', mode.kernelText)} ${paint(io, 'dim', `(${session.kernelEvidence})`)}`,
  ];
  const joined = `${facts[1]}, ${facts[2]}`;
  const lines = widthOf(joined) <= io.columns ? [facts[0], joined] : facts;
  return [...lines.flatMap((l) => wrap(l, io.columns)), ...session.remarks.flatMap((r) => wrap(`note: ${r}`, io.columns).map((l) => paint(io, 'yellow', l)))];
}

/** Roots that are known, several a line; a process that has one table in both CPU modes is named once. */
function rootLines(session: Session, same: (a: AddressSpace, b: AddressSpace) => boolean, io: Io): string[] {
  const { spaces } = session;
  if (spaces.length < 2)
    return spaces.map((s) =>
      cut(
        `root ${s.roots.map((r) => r.label).join(', ')} ${paint(io, 'dim', `(${s.evidence}${s.confidence === 'given' ? '' : `; ${s.confidence}`})`)}`,
        io.columns,
      ),
    );
  const cells: string[] = [];
  for (const [i, s] of spaces.entries()) {
    if (spaces.findIndex((o) => o.pid === s.pid && same(o, s)) < i) continue;
    const both = spaces.some((o) => o !== s && o.pid === s.pid && same(o, s));
    const chosen = session.chosen.some((c) => c.pid === s.pid && same(c, s));
    const what =
      s.pid === undefined
        ? s.name.replace(/^table at .*/, '')
        : s.pid === 0
          ? 'kernel'
          : `${s.pid} ${s.comm ?? ''}${both || s.cpuMode === undefined ? '' : `/${s.cpuMode}`}`;
    cells.push(`${chosen ? '*' : ' '}${`${what.trim()} 0x${s.roots[0].table.toString(16)}`.trim()}`);
  }
  const width = Math.max(...cells.map((c) => c.length)) + 2;
  const perLine = Math.max(1, Math.floor((io.columns - 6) / width));
  const first = spaces.find((s) => s.pid !== 0) ?? spaces[0];
  const inferred = first.confidence === 'likely' || first.confidence === 'guess';
  const source = inferred
    ? `${first.confidence === 'likely' ? 'likely' : 'guessed'}, ${first.evidence}; --root chooses one`
    : `${first.evidence.split(':')[0]}; --pid and --of choose one`;
  const lines = wrap(`${paint(io, 'bold', `${cells.length} roots`)} (${source}; * is shown below)`, io.columns);
  for (let i = 0; i < cells.length; i += perLine)
    lines.push(
      `  ${cells
        .slice(i, i + perLine)
        .map((c) => c.padEnd(width))
        .join('')
        .trimEnd()}`,
    );
  return lines.map((l) => cut(l, io.columns));
}

/** The first lines of what the audit says of these tables. */
async function findingLines(session: Session, space: AddressSpace, tables: readonly import('../../pagetable/tree.ts').PageTables[], io: Io): Promise<string[]> {
  if (tables.length === 0) return [];
  const { audit } = await import('../../inspect/audit.ts');
  const findings = audit(
    tables.map((t) => ({ name: space.name, ...(space.pid !== undefined ? { pid: space.pid } : {}), tables: t })),
    { ...session.limits },
  );
  if (findings.length === 0) return [`${paint(io, 'bold', 'findings')} none`];
  const shown = findings.slice(0, 5);
  const style = { error: 'red', warning: 'yellow', note: 'dim' } as const;
  const lines = shown.flatMap((f, i) => {
    const [first, ...rest] = wrap(findingSentence(f), io.columns - 9);
    return [
      `${paint(io, 'bold', (i === 0 ? 'findings' : '').padEnd(8))} ${paint(io, style[f.severity], first)}`,
      ...rest.map((l) => `         ${paint(io, style[f.severity], l)}`),
    ];
  });
  if (findings.length > shown.length) lines.push(`         and ${findings.length - shown.length} more ("pxd audit" shows all)`);
  return lines;
}

/** A finding in one line: what, how much, where first. */
function findingSentence(f: Finding): string {
  const n = `${f.count.toLocaleString('en-US')} ${f.count === 1 ? f.unit : f.unit === 'entry' ? 'entries' : `${f.unit}s`}`;
  const [first] = f.ranges;
  const where = first === undefined ? '' : `${f.count > first.pages || f.more > 0 ? ', the first' : ''} at 0x${pageHex(first.vpn, f.pageShift)}`;
  return `${f.severity === 'note' ? '' : `${f.severity}: `}${f.sentence} (${n}${where})`;
}
