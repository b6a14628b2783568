/**
 * Builds the recorder with the machine's C compiler and tells whether this machine can be recorded. Results are kept under
 * node_modules/.cache by a hash of the sources, so that a second start costs nothing; where that cannot be written, in a folder that
 * the caller removes.
 *
 * Nothing here throws for a machine that cannot be recorded: the answer is a reason, one sentence.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('./recorder/', import.meta.url));
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/pxd-recorder/', import.meta.url));

const EXECUTOR = '-nostdlib -static -no-pie -s -Wl,-T,executor.ld -Wl,--build-id=none -Wl,-z,noseparate-code'.split(' ');
const RECORDER = '-O2 -Wall -Wextra -std=gnu17'.split(' ');

export type Built = { readonly recorder: string; readonly executor: string } | { readonly skipped: string };

const firstLine = (text: string): string => text.trim().split('\n')[0] ?? '';

function compile(compiler: string, options: readonly string[]): string | undefined {
  const made = spawnSync(compiler, options, { cwd: SOURCES, encoding: 'utf8' });
  if (made.error !== undefined) return `no C compiler (${compiler}: ${made.error.message})`;
  if (made.status !== 0) return `the recorder does not compile here: ${firstLine(made.stderr)}`;
  return undefined;
}

function buildInto(folder: string, compiler: string): string | undefined {
  const sources = readdirSync(SOURCES).filter((f) => f.endsWith('.c'));
  return (
    compile(compiler, [...EXECUTOR, '-o', join(folder, 'executor'), 'executor.S']) ??
    compile(compiler, [...RECORDER, '-o', join(folder, 'recorder'), ...sources])
  );
}

function folderOf(hash: string): { folder: string; done: boolean } {
  const folder = join(CACHE, hash);
  return { folder, done: existsSync(join(folder, 'recorder')) && existsSync(join(folder, 'executor')) };
}

/** Builds where it was not built before, and asks the recorder whether it can work here. */
export function buildRecorder(compiler: string = process.env.CC ?? 'cc'): Built {
  if (process.platform !== 'linux') return { skipped: `the recorder needs Linux, this is ${process.platform}` };
  if (process.arch !== 'x64') return { skipped: `the recorder knows x86-64, this is ${process.arch}` };
  const hash = createHash('sha256');
  for (const file of readdirSync(SOURCES).sort())
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(SOURCES, file)));
  const { folder, done } = folderOf(hash.update(compiler).digest('hex').slice(0, 16));
  let place = folder;
  if (!done) {
    const scratch = mkdtempSync(join(tmpdir(), 'pxd-recorder-'));
    const failure = buildInto(scratch, compiler);
    if (failure !== undefined) {
      rmSync(scratch, { recursive: true, force: true });
      return { skipped: failure };
    }
    place = install(scratch, folder);
  }
  const built = { recorder: join(place, 'recorder'), executor: join(place, 'executor') };
  const check = spawnSync(built.recorder, ['--check', '--executor', built.executor], { encoding: 'utf8' });
  if (check.status === 0) return built;
  return { skipped: firstLine(check.stderr) || `the recorder ended with ${check.status ?? check.signal}` };
}

/** Moves a finished build into the cache, as a whole, so that two builds at the same time do not see each other's halves. */
function install(scratch: string, folder: string): string {
  try {
    mkdirSync(CACHE, { recursive: true });
    const beside = mkdtempSync(join(CACHE, 'new-'));
    for (const file of ['recorder', 'executor']) {
      const copied = spawnSync('cp', ['-p', join(scratch, file), join(beside, file)]);
      if (copied.status !== 0) throw new Error('cp');
    }
    try {
      renameSync(beside, folder);
    } catch {
      rmSync(beside, { recursive: true, force: true }); // another process was first
    }
    rmSync(scratch, { recursive: true, force: true });
    return folder;
  } catch {
    process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
    return scratch;
  }
}
