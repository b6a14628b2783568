/** `pxd capture`: a small file with nothing in it but page tables, to send around. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { type Io, paint } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, sessionFrom, withImageOptions } from '../options.ts';

interface Options extends ImageOptions {
  readonly output: string;
  readonly force?: boolean;
}

const HELP = `
A capture is a sparse ELF core that holds the frames of page tables (PowerPC's
hash table among them), VMCOREINFO and the root registers; no contents of other
memory. Every command opens it. Without --pid or --root the tables of all known
roots go in.`;

export function register(program: Command, { io }: Context): void {
  withImageOptions(
    program.command('capture').description('write the page tables of an image, and nothing else, to a small file').argument('<image>', IMAGE_ARGUMENT),
    { half: false, range: false },
  )
    .requiredOption('-o, --output <file>', 'the file to write')
    .option('--force', 'overwrite the file when it exists')
    .addHelpText('after', HELP)
    .action((image: string, options: Options) => capture(image, options, io));
}

async function capture(path: string, options: Options, io: Io): Promise<void> {
  const [{ captureOf }, { writeChunks }, { plural, sizeOf }] = await Promise.all([
    import('../../inspect/capture.ts'),
    import('../write-file.ts'),
    import('../../inspect/text.ts'),
  ]);
  const session = await sessionFrom(path, options, io);
  const { chunks, frames, roots, remarks } = captureOf(session, (what) => io.progress(what));
  io.progress('');
  for (const remark of remarks) io.note(`pxd: ${remark}`);
  writeChunks(options.output, chunks, options.force === true);
  const bytes = chunks.reduce((n, c) => n + c.length, 0);
  io.write(`${paint(io, 'bold', options.output)}: ${plural(frames, 'frame')} of page tables, ${plural(roots, 'root')}, ${sizeOf(bytes)}\n`);
}
