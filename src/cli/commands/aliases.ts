/** `pxd aliases`: who maps a frame, or which frames are mapped more than once. */
import { type Command, InvalidArgumentError } from 'commander';
import { type FrameUser, PRESENT, ReverseMap, rightsText, WRITE } from '../../inspect/aliases.ts';
import { aligned, counted, hexPage, hexRange, pageSizeText, thousands } from '../../inspect/draw-text.ts';
import { walkedRoots } from '../../inspect/walked.ts';
import { PxdError } from '../../pagetable/error.ts';
import type { Context } from '../context.ts';
import type { Io } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, parseAddress, parseRange, sessionFrom, withImageOptions } from '../options.ts';

interface AliasOptions extends ImageOptions {
  readonly json?: boolean;
  readonly pfn?: boolean;
  readonly atLeast: number;
}

export function register(program: Command, context: Context): void {
  const { io } = context;
  withImageOptions(
    program
      .command('aliases')
      .description('reverse map: every virtual address of a frame, or a summary of the frames that are mapped more than once')
      .argument('<image>', IMAGE_ARGUMENT),
  )
    .argument('[physical]', 'physical address, START-END, START+LENGTH, or pfn:NUMBER')
    .option('--pfn', 'the argument counts in page frames instead of bytes')
    .option('--at-least <n>', 'summary: only frames with this many mappings', atLeast, 2)
    .option('--json', 'one object a line')
    .action(async (path: string, physical: string | undefined, options: AliasOptions) => {
      const wanted = physical === undefined ? undefined : parseFrames(physical, options.pfn === true);
      const session = await sessionFrom(path, options, io);
      const map = new ReverseMap(walkedRoots(session, (what) => io.progress(what)));
      io.progress('');
      for (const root of map.cutShort) io.note(`pxd: the tables of ${root.name} unfold to more mappings than can be kept: not all of them are looked at`);
      if (wanted === undefined) summary(io, map, options);
      else users(io, map, wanted(map.pageShift), options);
    });
}

function atLeast(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a number');
  return Number(text);
}

/** The frames that the argument names, as a function of the page size. */
function parseFrames(text: string, inFrames: boolean): (pageShift: number) => { pfn: number; end: number } {
  const bare = text.replace(/^pfn:/i, '');
  const frames = inFrames || bare !== text;
  const range = /[-+]|\.\./.test(bare);
  const { start, end } = parsed(() => (range ? parseRange(bare) : { start: parseAddress(bare), end: undefined }));
  return (pageShift) => {
    const per = frames ? 1n : 1n << BigInt(pageShift);
    return { pfn: Number(start / per), end: end === undefined ? Number(start / per) + 1 : Number((end + per - 1n) / per) };
  };
}

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (e) {
    if (e instanceof InvalidArgumentError) throw new PxdError('usage', `physical address: ${e.message}`);
    throw e;
  }
}

function users(io: Io, map: ReverseMap, wanted: { pfn: number; end: number }, options: AliasOptions): void {
  const found = map.users(wanted.pfn, wanted.end);
  const shift = map.pageShift;
  if (options.json) {
    for (const u of found) io.write(`${JSON.stringify(userJson(u, shift))}\n`);
    return;
  }
  const what =
    wanted.end === wanted.pfn + 1
      ? `frame 0x${wanted.pfn.toString(16)} (physical ${hexPage(wanted.pfn, shift)})`
      : `physical ${hexRange(wanted.pfn, wanted.end - wanted.pfn, shift)}`;
  if (found.length === 0) {
    io.write(`${what}: no known root maps it (${counted(map.roots.length, 'root')} walked)\n`);
    return;
  }
  io.write(`${what}: ${counted(found.length, 'mapping')}\n`);
  const rows = found.map((u) => [
    `  ${hexPage(u.pfn, shift)}`,
    hexRange(u.vpn, u.pages, shift),
    u.flags & PRESENT ? rightsText(u.flags) : 'none',
    pageSizeText(u.leafPages * 2 ** shift),
    `${u.root.name}${u.roots > 1 ? ` and ${u.roots - 1} more` : ''}${u.count > 1 ? `, repeated ${thousands(u.count)} times every ${pageSizeText(u.stride * 2 ** shift)}` : ''}`,
  ]);
  io.write(`${aligned([['  physical', 'virtual', 'rights', 'leaf', 'of'], ...rows]).join('\n')}\n`);
}

const userJson = (u: FrameUser, shift: number): Record<string, unknown> => ({
  pa: hexPage(u.pfn, shift),
  va: hexPage(u.vpn, shift),
  bytes: u.pages * 2 ** shift,
  page: u.leafPages * 2 ** shift,
  rights: rightsText(u.flags),
  present: (u.flags & PRESENT) !== 0,
  root: u.root.name,
  ...(u.root.pid !== undefined ? { pid: u.root.pid } : {}),
  roots: u.roots,
  count: u.count,
  ...(u.count > 1 ? { stride: u.stride * 2 ** shift } : {}),
});

/** Groups shown on a terminal; JSON has them all. */
const SHOWN = 24;

function summary(io: Io, map: ReverseMap, options: AliasOptions): void {
  const groups = map.summary(options.atLeast);
  const bytes = 2 ** map.pageShift;
  if (options.json) {
    for (const g of groups)
      io.write(`${JSON.stringify({ mappings: g.mappings, rights: g.rights.split(' '), frames: g.frames, first: hexPage(g.firstPfn, map.pageShift) })}\n`);
    return;
  }
  const frames = groups.reduce((sum, g) => sum + g.frames, 0);
  const writable = map
    .runs((c) => c.mappings >= options.atLeast && c.rows.reduce((n, rows, rights) => n + (rights & WRITE ? rows : 0), 0) > 1)
    .reduce((n, r) => n + r.end - r.pfn, 0);
  io.write(
    `${counted(map.roots.length, 'root')}, ${counted(map.length, 'extent')}: ${counted(frames, 'frame')} (${pageSizeText(frames * bytes)}) ${frames === 1 ? 'is' : 'are'} mapped ${options.atLeast} times or more, ${thousands(writable)} of them writable in several places\n`,
  );
  const rows = groups
    .slice(0, SHOWN)
    .map((g) => [thousands(g.mappings), thousands(g.frames), pageSizeText(g.frames * bytes), g.rights, hexPage(g.firstPfn, map.pageShift)]);
  if (rows.length > 0) io.write(`${aligned([['mappings', 'frames', 'bytes', 'rights', 'first at'], ...rows], [0, 1, 2]).join('\n')}\n`);
  if (groups.length > SHOWN) io.write(`and ${counted(groups.length - SHOWN, 'more group')} (--json lists them all)\n`);
}
