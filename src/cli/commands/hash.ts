/** `pxd hash`: the hash table that PowerPC hardware translates by, against Linux's trees. */
import type { Command } from 'commander';
import { counted, pageSizeText, thousands } from '../../inspect/draw-text.ts';
import { type HashReport, hashReport, type SpaceHash, spaceHashJson } from '../../inspect/hash.ts';
import type { Context } from '../context.ts';
import { type Io, paint } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, sessionFrom, withImageOptions } from '../options.ts';
import { tableLines, wrap } from '../table.ts';

interface Options extends ImageOptions {
  readonly strict?: boolean;
  readonly json?: boolean;
  readonly all?: boolean;
}

const HELP = `
book3s PowerPC hardware knows no page-table tree: it looks pages up in a hash
table, which Linux fills on demand. A page that the table lacks is no fault; an
entry that says something else than the tree is one.
Registers: sdr1 (32-bit); ptcr or patb0, and context_id of each process
(64-bit). They come from roots.json, a capture, --roots, or --root for each of
them (--root pgd=0x95a000 --root sdr1=0x9f80007).`;

export function register(program: Command, context: Context): void {
  const { io } = context;
  withImageOptions(
    program
      .command('hash')
      .description("PowerPC's hash table: where it is, what it holds, what disagrees with Linux's tree")
      .argument('<image>', IMAGE_ARGUMENT),
    { half: false, range: false },
  )
    .option('--strict', 'exit with 1 when an entry disagrees with a tree')
    .option('--json', 'one process a line, as JSON')
    .option('--all', 'every entry that disagrees, not only the first ones of a process')
    .addHelpText('after', HELP)
    .action(async (path: string, options: Options) => {
      const session = await sessionFrom(path, options, io);
      const report = hashReport(session, (what) => io.progress(what));
      io.progress('');
      if (options.strict && report.spaces.some((s) => s.findings.length > 0)) context.exitCode = 1;
      if (options.json) for (const space of report.spaces) io.write(`${JSON.stringify(spaceHashJson(report, space))}\n`);
      else print(io, session.name, report, options.all === true);
    });
}

function print(io: Io, name: string, report: HashReport, all: boolean): void {
  const { place, contents, spaces } = report;
  const line = (text: string): void => io.write(`${wrap(text, io.columns).join('\n')}\n`);
  const frames = place.bytes / 4096;
  const slots = place.groups * 8;
  line(
    `${paint(io, 'bold', name)}: hash table at 0x${place.origin.toString(16)}, ${pageSizeText(place.bytes)} in ${thousands(place.groups)} groups of 8 (${place.evidence})${
      place.held < frames ? `; the image holds ${thousands(place.held)} of its ${thousands(frames)} frames` : ''
    }`,
  );
  line(
    `${thousands(contents.entries)} of ${thousands(slots)} entries valid${contents.entries > 0 ? `: ${sizesText(contents.bySize)}` : ''}; ${thousands(contents.secondary)} in the secondary group`,
  );
  io.write('\n');
  for (const row of rows(spaces, io)) io.write(`${row}\n`);
  for (const space of spaces) differences(io, space, all);
  io.write('\n');
  const owned = spaces.reduce((n, s) => n + s.entries, 0);
  if (contents.entries > owned)
    line(`${counted(contents.entries - owned, 'entry', 'entries')} of other address spaces, or bolted by the kernel (linear map): no tree to compare with`);
  const bad = spaces.reduce((n, s) => n + s.findings.length, 0);
  const sum = (of: 'hits' | 'misses' | 'lookedUp'): string => thousands(spaces.reduce((n, s) => n + s[of], 0));
  line(`${sum('lookedUp')} pages looked up, ${sum('hits')} found, ${sum('misses')} not there (Linux fills them on demand), ${counted(bad, 'disagreement')}`);
}

const COLUMNS = [
  { title: 'process' },
  { title: 'context', right: true },
  { title: 'pages', right: true },
  { title: 'hits', right: true },
  { title: 'misses', right: true },
  { title: 'second', right: true },
  { title: 'entries', right: true },
  { title: 'differ', right: true },
  { title: 'hits by size' },
];

const rows = (spaces: readonly SpaceHash[], io: Io): string[] =>
  tableLines(
    COLUMNS,
    spaces.map((s) =>
      s.contexts.length === 0
        ? [s.name, '?', '', '', '', '', '', '', s.contextEvidence]
        : [
            s.name,
            `${s.contexts[0]}${s.contexts.length > 1 ? '+' : ''}`,
            ...[s.lookedUp, s.hits, s.misses, s.secondary, s.entries, s.findings.length].map(thousands),
            sizesText(s.bySize),
          ],
    ),
    { header: (text) => paint(io, 'dim', text), width: io.columns },
  );

/** `731 × 4K, 12 × 16M (in 64K segments)`. */
function sizesText(bySize: Readonly<Record<string, number>>): string {
  return Object.entries(bySize)
    .sort((a, b) => b[1] - a[1])
    .map(([key, n]) => {
      const [base, actual] = key.split('/').map(Number);
      const size = key === 'unknown' ? 'of unknown size' : `${pageSizeText(actual)}${base === actual ? '' : ` (in ${pageSizeText(base)} segments)`}`;
      return `${thousands(n)} × ${size}`;
    })
    .join(', ');
}

const SHOWN = 10;

function differences(io: Io, space: SpaceHash, all: boolean): void {
  const shown = all ? space.findings : space.findings.slice(0, SHOWN);
  if (shown.length > 0) io.write(`\n${paint(io, 'red', `${space.name}: ${counted(space.findings.length, 'disagreement')}`)}\n`);
  for (const { text } of shown) io.write(`${wrap(`  ${text}`, io.columns).join('\n')}\n`);
  if (shown.length < space.findings.length) io.write(`  and ${thousands(space.findings.length - shown.length)} more (--all)\n`);
}
