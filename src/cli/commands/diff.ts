/** `pxd diff`: what changed between two images, or differs between two roots of one. */
import { type Command, InvalidArgumentError } from 'commander';
import { type Difference, diff, differenceJson, sideText } from '../../inspect/diff.ts';
import { aligned, counted, hexRange, pageSizeText, thousands } from '../../inspect/draw-text.ts';
import type { AddressSpace, Session } from '../../inspect/session.ts';
import { PxdError } from '../../pagetable/error.ts';
import { type PageTables, readPageTables } from '../../pagetable/tree.ts';
import type { Context } from '../context.ts';
import { type Io, paint } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, parseAddress, sessionFrom, withImageOptions } from '../options.ts';

interface DiffCommandOptions extends ImageOptions {
  readonly toPid?: number;
  readonly toRoot?: bigint;
  readonly all?: boolean;
  readonly exact?: boolean;
  readonly json?: boolean;
  readonly summary?: boolean;
}

export function register(program: Command, context: Context): void {
  const { io } = context;
  withImageOptions(
    program
      .command('diff')
      .description('list extents added, removed and changed between two images, or between two roots of one')
      .argument('<before>', IMAGE_ARGUMENT),
  )
    .argument('[after]', 'the other image; without it --to-pid, --to-root or a second --root says what to compare with')
    .option('--to-pid <number>', 'process on the other side', (text: string) => {
      if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('expected a process number');
      return Number(text);
    })
    .option('--to-root <value>', 'root register on the other side', parseAddress)
    .option('--all', 'non-present entries (swap, migration, markers) too')
    .option('--exact', 'global, dirty and accessed bits count as differences')
    .option('--summary', 'only the totals')
    .option('--json', 'one difference a line, as JSON')
    .action(async (before: string, after: string | undefined, options: DiffCommandOptions) => {
      const [a, b] = await bothSides(before, after, options, io);
      io.progress('comparing');
      const found = diff(a.tables, b.tables, { ...a.session.limits, all: options.all === true, exact: options.exact === true });
      io.progress('');
      const shift = a.session.mode.mode.pageShift;
      if (options.json) for (const d of found) io.write(`${JSON.stringify(differenceJson(d, shift))}\n`);
      else print(io, a, b, found, shift, options.summary === true);
    });
}

interface Compared {
  readonly session: Session;
  readonly space: AddressSpace;
  readonly tables: PageTables[];
}

async function bothSides(before: string, after: string | undefined, options: DiffCommandOptions, io: Io): Promise<[Compared, Compared]> {
  const first = await sessionFrom(before, options, io);
  const other = {
    ...(options.toPid !== undefined ? { pid: options.toPid, root: undefined } : {}),
    ...(options.toRoot !== undefined ? { root: [{ value: options.toRoot }], pid: undefined } : {}),
  };
  if (after === undefined && Object.keys(other).length === 0) {
    if (first.chosen.length !== 2) throw new PxdError('usage', 'diff: expected a second image, --to-pid, --to-root or a second --root to compare with');
    return [compared(first, first.chosen[0]), compared(first, first.chosen[1])];
  }
  // Without --to-pid the same process is looked for in the other image; without a pid at all, the one chosen here where the other image knows it.
  const same =
    options.pid === undefined && options.root === undefined && Object.keys(other).length === 0 && first.chosen[0].pid !== undefined
      ? { preferPid: first.chosen[0].pid }
      : {};
  const second = await sessionFrom(after ?? before, options, io, { ...same, ...other });
  return [compared(first, first.chosen[0]), compared(second, second.chosen[0])];
}

const compared = (session: Session, space: AddressSpace): Compared => ({
  session,
  space,
  tables: space.roots.map((root) => readPageTables(session.mode, session.image, root)),
});

const SIGNS: Readonly<Record<Difference['what'], { sign: string; color: 'green' | 'red' | 'yellow' }>> = {
  added: { sign: '+', color: 'green' },
  removed: { sign: '-', color: 'red' },
  changed: { sign: '~', color: 'yellow' },
};

function print(io: Io, a: Compared, b: Compared, found: readonly Difference[], shift: number, summary: boolean): void {
  io.write(`--- ${a.session.name}, ${a.space.name}\n+++ ${b.session.name}, ${b.space.name}\n`);
  if (!summary) {
    const lines = aligned(
      found.map((d) => [
        SIGNS[d.what].sign,
        hexRange(d.vpn, d.pages, shift),
        [d.before, d.after].flatMap((s) => (s ? [sideText(s, shift)] : [])).join(' → '),
        `${d.changed.join(', ')}${d.count > 1 ? `${thousands(d.count)} times every ${pageSizeText(d.stride * 2 ** shift)}` : ''}`,
      ]),
    );
    lines.forEach((line, i) => io.write(`${paint(io, SIGNS[found[i].what].color, line)}\n`));
  }
  const total = (what: Difference['what']): string => {
    const of = found.filter((d) => d.what === what);
    return `${counted(of.length, 'extent')} ${what} (${pageSizeText(of.reduce((sum, d) => sum + d.pages * d.count, 0) * 2 ** shift)})`;
  };
  io.write(found.length === 0 ? 'no difference\n' : `${total('added')}, ${total('removed')}, ${total('changed')}\n`);
}
