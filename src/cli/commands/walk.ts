/** `pxd walk`: one walk drawn step by step, or how a range is cropped and iterated. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Root } from '../../arch/mode.ts';
import { findMode, modeNames } from '../../arch/registry.ts';
import { rangeJson, rangeText } from '../../inspect/draw-range.ts';
import { walkJson, walkText } from '../../inspect/draw-walk.ts';
import type { AddressSpace, Session } from '../../inspect/session.ts';
import { LINUX_LEVELS, rangeOf, walk } from '../../inspect/walk.ts';
import { geometryOf, type Handover, imageTables, populated, type RangeTables, walkRange } from '../../inspect/walk-range.ts';
import { compileMode } from '../../pagetable/compile.ts';
import { PxdError } from '../../pagetable/error.ts';
import { vpnOf } from '../../pagetable/extents.ts';
import type { Context } from '../context.ts';
import type { Io } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, parseAddress, parseRange, sessionFrom, withImageOptions } from '../options.ts';

interface WalkOptions extends ImageOptions {
  readonly json?: boolean;
  readonly fields?: boolean;
  readonly depth?: string;
  readonly handover: Handover;
  readonly width?: number;
  readonly top?: string;
}

type Asked = { readonly va: bigint } | { readonly start: bigint; readonly end: bigint };

export function register(program: Command, context: Context): void {
  const { io } = context;
  withImageOptions(
    program
      .command('walk')
      .description("draw the walk of an address level by level, or how the kernel's loops crop and iterate a range")
      .argument('<image>', `${IMAGE_ARGUMENT}; or the name of a paging mode, to walk a range of full tables`),
    { range: false },
  )
    .argument('<address...>', 'virtual address, START-END or START+LENGTH; several are drawn one after the other')
    .option('--fields', 'every field of each entry with its bits and meaning')
    .addOption(new Option('--depth <level>', 'range: lowest level to descend to').choices([...LINUX_LEVELS]))
    .addOption(new Option('--handover <what>', 'range: what a walker hands to folded levels').choices(['pointer', 'copy', 'lockless']).default('pointer'))
    .option('--top <level>', 'range of full tables: level of the top table (s390x: pgd, p4d, pud or pmd)')
    .option('--width <columns>', 'columns to draw for', (text) => {
      if (!/^\d{2,4}$/.test(text)) throw new InvalidArgumentError('expected a number of columns');
      return Number(text);
    })
    .option('--json', 'one object a walk')
    .action(async (path: string, addresses: string[], options: WalkOptions) => {
      const asked = addresses.map(parseAsked);
      if (modeNames().includes(path)) return drawModel(io, path, asked, options);
      const session = await sessionFrom(path, options, io);
      asked.forEach((one, i) => {
        if (i > 0 && !options.json) io.write('\n');
        if ('va' in one) drawOne(io, session, one.va, options);
        else drawRange(io, session, one, options);
      });
    });
}

function parseAsked(text: string): Asked {
  try {
    return /^[^-+.]+$/.test(text) ? { va: parseAddress(text) } : parseRange(text);
  } catch (e) {
    if (e instanceof InvalidArgumentError) throw new PxdError('usage', `address: ${e.message}`);
    throw e;
  }
}

/** The root of the chosen space that translates an address: user and kernel halves may have one each. */
function rootFor(session: Session, va: bigint): { root: Root; space: AddressSpace } {
  const vpn = vpnOf(va, session.mode.mode.pageShift);
  const [space] = session.chosen;
  // Where both halves have all addresses (s390) --kernel asks for the kernel's.
  const { half } = session.limits;
  const roots = space.roots.filter((r) => half === undefined || r.ranges.some((range) => range.half === half));
  return { space, root: roots.find((r) => rangeOf(session.mode, r, vpn) !== undefined) ?? roots[0] ?? space.roots[0] };
}

const widthOf = (io: Io, options: WalkOptions): number => Math.max(60, options.width ?? io.columns);

function drawOne(io: Io, session: Session, va: bigint, options: WalkOptions): void {
  const { root, space } = rootFor(session, va);
  const w = walk(session.mode, session.image, root, va);
  if (options.json) io.write(`${JSON.stringify(walkJson(w))}\n`);
  else io.write(`${walkText(w, { width: widthOf(io, options), fields: options.fields === true, of: space.name }).join('\n')}\n`);
}

function drawRange(io: Io, session: Session, range: { start: bigint; end: bigint }, options: WalkOptions): void {
  const { root, space } = rootFor(session, range.start);
  const shift = session.mode.mode.pageShift;
  const [from, to] = pagesOf(range, shift);
  const tables = imageTables(session.mode, session.image, root, from, to);
  const names = `${space.name}, ${root.label}`;
  compare(
    io,
    {
      geometry: geometryOf(session.mode, root.level),
      tables,
      from,
      to,
      shift,
      title: `0x${range.start.toString(16)}-0x${range.end.toString(16)} in ${session.mode.mode.name}, ${names}`,
      tableName: (t) => `0x${t.toString(16)}`,
    },
    options,
  );
}

const pagesOf = (range: { start: bigint; end: bigint }, shift: number): [number, number] => [
  Number(range.start >> BigInt(shift)),
  Number((range.end + (1n << BigInt(shift)) - 1n) >> BigInt(shift)),
];

/** A range of tables in which every slot is there: no image is needed to see how loops run. */
function drawModel(io: Io, name: string, asked: readonly Asked[], options: WalkOptions): void {
  const mode = compileMode(findMode(name) as NonNullable<ReturnType<typeof findMode>>);
  const top = options.top ?? mode.levels[0].level.name;
  for (const one of asked) {
    if ('va' in one) throw new PxdError('usage', `a walk of one address needs an image; with the mode ${name} alone give a range START-END`);
    const geometry = geometryOf(mode, top);
    const [from, to] = pagesOf(one, mode.mode.pageShift);
    compare(
      io,
      {
        geometry,
        tables: populated(geometry),
        from,
        to,
        shift: mode.mode.pageShift,
        title: `0x${one.start.toString(16)}-0x${one.end.toString(16)} in full tables of ${name}, top table a ${top}`,
        tableName: (t) => (t === 0 ? 'top' : `#${t}`),
      },
      options,
    );
  }
}

interface Comparison {
  readonly geometry: ReturnType<typeof geometryOf>;
  readonly tables: RangeTables;
  readonly from: number;
  readonly to: number;
  readonly shift: number;
  readonly title: string;
  readonly tableName: (table: number) => string;
}

function compare(io: Io, c: Comparison, options: WalkOptions): void {
  const how = { handover: options.handover, ...(options.depth ? { depth: options.depth } : {}) };
  const [top, middle] = (['top', 'middle'] as const).map((convention) => walkRange(c.geometry, c.tables, c.from, c.to, convention, how));
  if (options.json) for (const trace of [top, middle]) io.write(`${JSON.stringify(rangeJson(c.geometry, trace, c.shift, c.tableName))}\n`);
  else io.write(`${[c.title, '', ...rangeText(c.geometry, top, middle, c.shift, widthOf(io, options), c.tableName)].join('\n')}\n`);
}
