/**
 * Options that every command on an image takes, and the way from them to a session.
 *
 * Use: `const command = withImageOptions(program.command('leaves').argument('<image>', IMAGE_ARGUMENT))`, then in the action
 * `const session = await sessionFrom(image, options, io)`.
 *
 * Invariant: what the user wrote is checked here, in words of the option that he wrote.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ImageFormat } from '../image/open.ts';
import type { Choice, Half, Session } from '../inspect/session.ts';
import { PxdError } from '../pagetable/error.ts';
import type { Io } from './io.ts';

export const IMAGE_ARGUMENT = 'memory image: ELF core, kdump, LiME, raw, pxd capture, or a folder with one (image.*, roots.json, meta.json)';

/** Options as commander hands them over. */
export interface ImageOptions {
  readonly mode?: string;
  readonly root?: readonly { readonly register?: string; readonly value: bigint }[];
  readonly pid?: number;
  readonly of?: Half;
  readonly roots?: string;
  /** The version; a bare `--kernel` arrives as `kernelHalf`. */
  readonly kernel?: string;
  readonly scan?: boolean;
  readonly layout?: string;
  readonly inputFormat?: ImageFormat;
  readonly user?: boolean;
  readonly kernelHalf?: boolean;
  readonly range?: { readonly start: bigint; readonly end: bigint };
}

/** Adds the options that say what to open, with which mode, and which roots. */
export function withImageOptions(command: Command, which: { half?: boolean; range?: boolean } = { half: true, range: true }): Command {
  command
    .option('-m, --mode <mode>', 'paging mode, instead of what the image tells ("pxd modes" lists them)')
    .option('-r, --root <[register=]value>', 'root register as the hardware holds it (cr3, ttbr0, satp, …), repeatable', collectRoot)
    .option('-p, --pid <number>', 'the page tables of this process', parsePid)
    .addOption(new Option('--of <mode>', "which root of the process: user mode's, or the kernel's while it ran for it").choices(['user', 'kernel']))
    .option('--roots <file>', 'roots of processes, beside the image (JSON as in roots.json)')
    .option('--kernel [version]', 'with a version (6.12): how this Linux writes its entries; without: only the kernel half')
    .option('--scan', 'look for root tables by their structure even where some are known')
    .option('--layout <file>', 'which part of a raw image is which physical memory')
    .addOption(new Option('--input-format <format>', 'what the file is, when that cannot be told').choices(['elf', 'kdump', 'lime', 'raw']));
  if (which.half !== false) command.option('--user', 'only the user half').addOption(new Option('--kernel-half', 'only the kernel half (as a bare --kernel)'));
  if (which.range !== false) command.option('--range <start-end>', 'only these virtual addresses (end exclusive)', parseRange);
  return command;
}

/**
 * `--kernel` takes a version or nothing; commander alone would swallow the image's name after it.
 * Options that stand for themselves arrive as they are.
 */
export function separateKernel(argv: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    if (argv[i] === '--') return [...out, ...argv.slice(i)];
    if (argv[i] !== '--kernel') out.push(argv[i]);
    else if (/^v?\d+\.\d+/.test(argv[i + 1] ?? '')) out.push(`--kernel=${argv[++i]}`);
    else out.push('--kernel-half');
  }
  return out;
}

/** Opens the image and works out its mode and roots. `more` overrides what the options say. */
export async function sessionFrom(path: string, options: ImageOptions, io: Io, more: Partial<Choice> = {}): Promise<Session> {
  const [{ openForSession, readRoots }, { openSession }] = await Promise.all([import('./open-image.ts'), import('../inspect/session.ts')]);
  if (io.isTerminal) io.progress(`opening ${path} …`);
  const { image, around } = await openForSession(path, {
    ...(options.layout !== undefined ? { layout: options.layout } : {}),
    ...(options.inputFormat !== undefined ? { format: options.inputFormat } : {}),
  });
  io.progress('');
  const roots = options.roots === undefined ? undefined : await readRoots(options.roots);
  const progress = (share: number): void => io.progress(`looking for root tables: ${Math.round(share * 100)} %`);
  const session = openSession(image, around, { ...choiceOf(options), ...(roots ? { roots } : {}), progress, ...more });
  io.progress('');
  return session;
}

/** The part of the options that is the user's choice, without the roots file. */
export function choiceOf(options: ImageOptions): Choice {
  const { mode, kernel, root, pid, of, range } = options;
  const half = options.user === options.kernelHalf ? undefined : options.user ? 'user' : 'kernel';
  if (root !== undefined && pid !== undefined) throw new PxdError('usage', '--root and --pid both name a root: give one of them');
  return {
    ...(mode !== undefined ? { mode } : {}),
    ...(kernel !== undefined ? { kernel } : {}),
    ...(root !== undefined ? { root } : {}),
    ...(pid !== undefined ? { pid } : {}),
    ...(of !== undefined ? { of } : {}),
    ...(half !== undefined ? { half } : {}),
    ...(range !== undefined ? { range } : {}),
    ...(options.scan ? { scan: true } : {}),
  };
}

/** An address or value: `0x…`, bare hexadecimal, at most 64 bits; underscores may separate digits. */
export function parseAddress(text: string): bigint {
  const digits = text.trim().replace(/[_']/g, '').replace(/^0x/i, '');
  if (!/^[0-9a-f]{1,16}$/i.test(digits)) throw new InvalidArgumentError(`expected a hexadecimal number of at most 64 bits, found "${shorten(text)}"`);
  return BigInt(`0x${digits}`);
}

const shorten = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

function collectRoot(text: string, before: { register?: string; value: bigint }[] | undefined): { register?: string; value: bigint }[] {
  const at = text.indexOf('=');
  if (at === 0) throw new InvalidArgumentError('expected REGISTER=VALUE or VALUE');
  const value = parseAddress(at < 0 ? text : text.slice(at + 1));
  return [...(before ?? []), at < 0 ? { value } : { register: text.slice(0, at).toLowerCase(), value }];
}

function parsePid(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError(`expected a process number, found "${shorten(text)}"`);
  return Number(text);
}

/** `START-END`, `START..END`, `START+LENGTH`; an open end is the end of the address space. */
export function parseRange(text: string): { start: bigint; end: bigint } {
  const found = /^([^-+.]*)(-|\.\.|\+)([^-+.]*)$/.exec(text.trim());
  if (!found) throw new InvalidArgumentError(`expected START-END (hexadecimal, end exclusive) or START+LENGTH, found "${shorten(text)}"`);
  const start = found[1] === '' ? 0n : parseAddress(found[1]);
  const last = found[3] === '' ? 1n << 64n : found[2] === '+' ? start + parseAddress(found[3]) : parseAddress(found[3]);
  if (last <= start) throw new InvalidArgumentError(`the range ${shorten(text)} ends before it starts`);
  return { start, end: last };
}
