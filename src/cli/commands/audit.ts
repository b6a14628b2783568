/** `pxd audit`: what is wrong or remarkable in the page tables of an image. */
import type { Command } from 'commander';
import { audit, isGrave, type Severity } from '../../inspect/audit.ts';
import { findingJson, findingText } from '../../inspect/audit-text.ts';
import { counted } from '../../inspect/draw-text.ts';
import { walkedRoots } from '../../inspect/walked.ts';
import type { Context } from '../context.ts';
import { paint } from '../io.ts';
import { IMAGE_ARGUMENT, type ImageOptions, sessionFrom, withImageOptions } from '../options.ts';

const COLORS: Readonly<Record<Severity, 'red' | 'yellow' | 'dim'>> = { error: 'red', warning: 'yellow', note: 'dim' };

export function register(program: Command, context: Context): void {
  const { io } = context;
  withImageOptions(
    program.command('audit').description('find writable code, exposed page tables, reserved bits, cycles and the like').argument('<image>', IMAGE_ARGUMENT),
  )
    .option('--strict', 'exit with 1 when there are errors or warnings')
    .option('--json', 'one finding a line, as JSON')
    .option('--full-image', 'the image holds all of RAM: report frames that lie beyond it')
    .option('--all', 'every range of a finding, not only the first ones')
    .action(async (path: string, options: ImageOptions & { strict?: boolean; json?: boolean; all?: boolean; fullImage?: boolean }) => {
      const session = await sessionFrom(path, options, io);
      const roots = walkedRoots(session, (what) => io.progress(what));
      io.progress('auditing');
      const findings = audit(roots, {
        ...session.limits,
        ...(options.fullImage ? { ram: session.image.segments } : {}),
        ...(options.all ? { maxRanges: 1_000_000 } : {}),
      });
      io.progress('');
      if (options.strict && isGrave(findings)) context.exitCode = 1;
      if (options.json) {
        for (const finding of findings) io.write(`${JSON.stringify(findingJson(finding))}\n`);
        return;
      }
      for (const finding of findings) {
        const [first, ...rest] = findingText(finding, options.all ? Number.POSITIVE_INFINITY : 4);
        io.write(`${paint(io, COLORS[finding.severity], first)}\n${rest.map((line) => `${line}\n`).join('')}`);
      }
      const of = (severity: Severity): number => findings.filter((f) => f.severity === severity).length;
      io.write(
        `${findings.length > 0 ? '\n' : ''}${counted(roots.length, 'root')} audited: ${counted(of('error'), 'error')}, ${counted(of('warning'), 'warning')}, ${counted(of('note'), 'note')}\n`,
      );
    });
}
