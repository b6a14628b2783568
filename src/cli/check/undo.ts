/**
 * `pxd check --check-undo`: whether steps of random schedules can be undone and done again, row by row. What is found in a file of the user's is bad input, of which
 * nothing that a search says would be true.
 */
import type { UndoReport } from '../../explore/undo-check.ts';
import { PxdError } from '../../pagetable/error.ts';
import { type Io, type ProcessIo, paint } from '../io.ts';
import { padEnd, padStart, wrap } from '../table.ts';
import type { CheckCommandOptions } from './options.ts';
import type { Item } from './select.ts';

/** Steps of a row when the check is asked for, and before a file of the user's is searched. */
const STEPS = 500;
const QUICK = 60;

/** The exit code. @throws {PxdError} 'usage' for a scenario of a file that keeps state outside of the machine, or asks clocks */
export async function checkUndo(io: Io, items: readonly Item[], options: CheckCommandOptions): Promise<number> {
  const { undoCheck } = await import('../../explore/undo-check.ts');
  const { blamed } = await import('./rows.ts');
  const seed = options.seed ?? 1;
  const width = (of: (item: Item) => string): number => Math.max(...items.map((item) => of(item).length));
  const widths = [width(({ scenario }) => scenario.id), width(({ variant }) => variant), width(({ mode }) => mode)];
  let wrong = 0;
  for (const item of items) {
    const report = await blamed([item], async () => undoCheck(item.scenario, item.variant, item.mode, { seed, steps: STEPS }));
    await refuse(item, report);
    if (report.fault) wrong++;
    if (options.json) io.write(`${JSON.stringify(jsonOf(report))}\n`);
    else {
      const subject = [item.scenario.id, item.variant, item.mode].map((text, i) => padEnd(text, widths[i])).join('  ');
      const verdict = report.fault ? paint(io, 'red', 'NO') : paint(io, 'green', 'ok');
      io.write(`${subject}  ${padStart(String(report.steps), 4)} steps undone and done again  ${verdict}\n`);
      if (report.fault) for (const line of wrap(`  ${report.fault.message}`, io.columns)) io.write(`${line}\n`);
    }
    (io as Partial<ProcessIo>).flush?.();
  }
  if (!options.json) {
    const text = `${items.length - wrong} of ${items.length} keep all that they are in the machine’s memory (seed ${seed})`;
    io.write(`\n${paint(io, wrong === 0 ? 'green' : 'red', text)}\n`);
  }
  return wrong === 0 ? 0 : 1;
}

/** Looks at scenarios of files before they are searched, each once. @throws {PxdError} 'usage' */
export async function refuseUnrepeatable(items: readonly Item[]): Promise<void> {
  const ours = items.filter(({ file }) => file !== undefined);
  if (ours.length === 0) return;
  const { undoCheck } = await import('../../explore/undo-check.ts');
  const { blamed } = await import('./rows.ts');
  const [{ mode }] = ours;
  for (const item of ours)
    if (item.mode === mode) await refuse(item, await blamed([item], async () => undoCheck(item.scenario, item.variant, item.mode, { steps: QUICK })));
}

async function refuse({ file, scenario, variant }: Item, { fault }: UndoReport): Promise<void> {
  if (file === undefined || fault === null) return;
  const { placeOf } = await import('../../explore/node/load.ts');
  throw new PxdError('usage', `${placeOf(fault.cause) ?? file}: ${scenario.id}, variant ${variant}: ${fault.message}`);
}

/** Refuses what threw in a scenario of a file: it is written wrong. @throws {PxdError} 'usage' */
export async function refuserOf(items: readonly Item[]): Promise<(item: Item, rule: string | undefined | null, schedule: string | null) => void> {
  if (!items.some(({ file }) => file !== undefined)) return () => {};
  const [{ diagnose }, { parseSchedule }, { placeOf }] = await Promise.all([
    import('../../explore/diagnose.ts'),
    import('../../explore/schedule.ts'),
    import('../../explore/node/load.ts'),
  ]);
  return ({ file, scenario, variant, mode }, rule, schedule) => {
    if (file === undefined || rule !== 'exception' || schedule === null) return;
    const { message, cause } = diagnose(scenario, variant, mode, parseSchedule(schedule));
    throw new PxdError('usage', `${placeOf(cause) ?? file}: ${scenario.id}, variant ${variant}: ${message}`);
  };
}

/** A report for programs. */
const jsonOf = ({ fault, ...rest }: UndoReport): Record<string, unknown> => ({
  ...rest,
  fault: fault === null ? null : { kind: fault.kind, message: fault.message, task: fault.task, schedule: fault.schedule },
});
