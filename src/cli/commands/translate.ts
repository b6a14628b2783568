/** `pxd translate`: virtual addresses to physical ones, or why not. */
import type { Command } from 'commander';
import type { Session } from '../../inspect/session.ts';
import type { Translation } from '../../inspect/translate.ts';
import type { Context } from '../context.ts';
import { type Io, paint } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, parseAddress, sessionFrom, withImageOptions } from '../options.ts';

interface Options extends ImageOptions {
  readonly json?: boolean;
  readonly path?: boolean;
}

export function register(program: Command, { io }: Context): void {
  withImageOptions(
    program
      .command('translate')
      .description('translate virtual addresses, or say why they do not translate')
      .argument('<image>', IMAGE_ARGUMENT)
      .argument('<address...>', 'virtual addresses, hexadecimal', (text: string, before?: bigint[]) => [...(before ?? []), parseAddress(text)]),
    { range: false },
  )
    .option('--json', 'one object an address')
    .option('--path', 'the entries on the way, too')
    .action((image: string, addresses: bigint[], options: Options) => translate(image, addresses, options, io));
}

async function translate(path: string, addresses: readonly bigint[], options: Options, io: Io): Promise<void> {
  const [{ covers, translateAddress }, { rootsFor, tablesOf }] = await Promise.all([import('../../inspect/translate.ts'), import('../../inspect/session.ts')]);
  const session = await sessionFrom(path, options, io);
  for (const space of session.chosen) {
    if (!session.asked && session.spaces.length > 1)
      io.note(`note: ${space.name}, the first of ${session.spaces.length} known roots (--pid or --root choose another)`);
    const roots = rootsFor(space, session.limits.half);
    for (const va of addresses) {
      const root = roots.find((r) => covers(session, r, va)) ?? roots[0];
      if (root === undefined) {
        io.note(`note: ${space.name} has no tables for the ${session.limits.half} half`);
        return;
      }
      const found = translateAddress(tablesOf(session, root), session.image, va);
      if (options.json) io.write(`${JSON.stringify(toJson(found, root.label, session, options.path === true))}\n`);
      else print(found, options.path === true, io);
    }
  }
}

const hex = (n: bigint): string => `0x${n.toString(16)}`;
const hexWord = (lo: number, hi: number): string => hex((BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0));

function toJson(t: Translation, root: string, session: Session, path: boolean): Record<string, unknown> {
  const a = t.attribute;
  const leaf = t.pa !== undefined && a !== undefined;
  return {
    va: hex(t.va),
    pa: t.pa === undefined ? null : hex(t.pa),
    mode: session.mode.mode.name,
    root,
    ...(t.level ? { level: t.level } : {}),
    ...(leaf
      ? {
          page: t.leafBytes,
          read: a.rights.read,
          write: a.rights.write,
          exec: a.rights.exec,
          user: a.rights.user,
          present: a.present,
          global: a.global,
          dirty: a.dirty,
          accessed: a.accessed,
          contig: a.contig,
          inImage: t.inImage,
        }
      : {}),
    ...(t.reason ? { reason: t.reason } : {}),
    ...(t.swap ? { swapType: t.swap.type, swapOffset: `0x${t.swap.offset.toString(16)}` } : {}),
    text: t.text,
    ...(path
      ? {
          path: t.steps.map((s) => ({
            level: s.level,
            table: hex(s.table),
            index: s.index,
            entryAddress: hex(s.entryAddress),
            ...(s.lo === undefined ? {} : { entry: hexWord(s.lo, s.hi ?? 0) }),
            ...(s.form ? { form: s.form } : {}),
          })),
        }
      : {}),
  };
}

function print(t: Translation, path: boolean, io: Io): void {
  const to = t.pa === undefined ? paint(io, 'yellow', '-') : paint(io, t.reason ? 'yellow' : 'green', hex(t.pa));
  io.write(`${paint(io, 'bold', hex(t.va))} ${paint(io, 'dim', '→')} ${to}  ${t.text}\n`);
  if (!path) return;
  for (const s of t.steps) {
    const entry = s.lo === undefined ? 'not in the image' : hexWord(s.lo, s.hi ?? 0);
    io.write(`  ${s.level.padEnd(4)} ${s.manual} at ${hex(s.table)}, entry ${s.index}: ${entry}${s.form ? ` (${s.form})` : ''}\n`);
  }
}
