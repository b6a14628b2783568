/**
 * One run of pxd: arguments in, output to an `Io`, exit code out.
 *
 * Exit codes: 0 fine, 1 findings of `audit --strict` or `hash --strict`, or rows of `check` that are not as expected, 2 bad input: then exactly one sentence is on stderr and nothing on stdout; 70 a bug of pxd itself.
 * Invariant: a command loads what it needs only when it runs, so that starting is fast; `run` never ends the process.
 */
import { Command, CommanderError } from 'commander';
import { reasonOf } from '../image/node/reasons.ts';
import { PxdError } from '../pagetable/error.ts';
import type { CommandModule, Context } from './context.ts';
import { type Io, PipeClosed, type ProcessIo } from './io.ts';
import { separateKernel } from './options.ts';
import { VERSION } from './version.ts';

/** Commands by name, in the order of the help; each is one file in `commands/`, loaded when it is asked for. */
const COMMANDS: Readonly<Record<string, () => Promise<CommandModule>>> = {
  inspect: () => import('./commands/inspect.ts'),
  leaves: () => import('./commands/leaves.ts'),
  translate: () => import('./commands/translate.ts'),
  walk: () => import('./commands/walk.ts'),
  pte: () => import('./commands/pte.ts'),
  modes: () => import('./commands/modes.ts'),
  layout: () => import('./commands/layout.ts'),
  audit: () => import('./commands/audit.ts'),
  hash: () => import('./commands/hash.ts'),
  aliases: () => import('./commands/aliases.ts'),
  diff: () => import('./commands/diff.ts'),
  sql: () => import('./commands/sql.ts'),
  capture: () => import('./commands/capture.ts'),
  play: () => import('./commands/play.ts'),
  check: () => import('./commands/check.ts'),
};

const EPILOGUE = `
Examples:
  pxd inspect dump.elf       what is mapped where, folded to fit a window
  pxd leaves DIR --pid 79 --where 'write && exec'
  pxd translate dump.elf --root 0x141c26000 0x401000
  pxd pte x86-4level pte 0x80000001234067
  pxd check E17              every interleaving of a race of Linux's history

An image is an ELF core, a kdump, LiME or raw image, a pxd capture, or a folder
that holds one.
Exit codes: 0 fine, 1 findings of "audit" or "hash" with --strict, or of
"check", 2 bad input.`;

/** Runs pxd with arguments (without node and script). */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  const context: Context = { io, exitCode: 0 };
  try {
    const { program, prepare } = await programFor(argv, context);
    const halves = program.commands.some((c) => argv.includes(c.name()) && c.options.some((o) => o.long === '--kernel-half'));
    await program.parseAsync(prepare(halves ? separateKernel(argv) : argv), { from: 'user' });
    flush(io);
    return context.exitCode;
  } catch (e) {
    return failed(e, io);
  }
}

const flush = (io: Io): void => (io as Partial<ProcessIo>).flush?.();

function failed(e: unknown, io: Io): number {
  if (e instanceof PipeClosed) return 0;
  if (e instanceof CommanderError && e.exitCode === 0) {
    flush(io);
    return 0;
  }
  const sentence = sentenceOf(e);
  if (sentence === undefined) return crashed(e, io);
  (io as Partial<ProcessIo>).discard?.();
  io.progress('');
  io.note(`pxd: ${sentence}`);
  flush(io);
  return 2;
}

/** A bug of ours: neither a finding nor bad input, and the exit code says so. */
function crashed(e: unknown, io: Io): number {
  (io as Partial<ProcessIo>).discard?.();
  io.progress('');
  io.note(`pxd: internal error: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`);
  flush(io);
  return 70;
}

/** The one sentence of an input error; undefined for what is a bug of ours. */
function sentenceOf(e: unknown): string | undefined {
  if (e instanceof PxdError) return oneLine(e.message);
  if (e instanceof CommanderError) return oneLine(e.message.replace(/^error: /, ''));
  const { code, path } = e as NodeJS.ErrnoException;
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) return oneLine(`${path ?? 'a file'}: ${reasonOf(code)}`);
  return undefined;
}

const oneLine = (text: string): string => text.trim().replace(/\s*\n\s*/g, ' ');

/** The program with the command that the arguments name, or with all of them where help is asked for. */
async function programFor(argv: readonly string[], context: Context): Promise<{ program: Command; prepare: (argv: readonly string[]) => string[] }> {
  const { io } = context;
  const program = new Command('pxd')
    .description("Linux's virtual memory: page tables out of real memory images, an mm to run, and every interleaving of it to check")
    .version(VERSION)
    .addHelpText('after', EPILOGUE)
    .showSuggestionAfterError(true);
  configure(program, io);
  const asked = argv.find((a) => !a.startsWith('-'));
  const names = asked !== undefined && Object.hasOwn(COMMANDS, asked) ? [asked] : Object.keys(COMMANDS);
  const modules = await Promise.all(names.map((name) => COMMANDS[name]()));
  for (const module of modules) module.register(program, context);
  for (const command of program.commands) configure(command, io);
  if (argv.length === 0) program.action(() => program.outputHelp());
  const prepare = modules.length === 1 ? modules[0].prepare : undefined;
  return { program, prepare: prepare ?? ((given) => [...given]) };
}

function configure(command: Command, io: Io): void {
  command
    .exitOverride()
    .configureHelp({ helpWidth: Math.max(60, Math.min(io.columns, 120)), showGlobalOptions: false, subcommandTerm: (c) => c.name() })
    .configureOutput({
      writeOut: (text) => io.write(text),
      // The one sentence on stderr is written by `failed`.
      writeErr: () => undefined,
      getOutHelpWidth: () => io.columns,
      getOutHasColors: () => io.color,
    });
}
