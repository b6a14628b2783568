/** Diagrams of `pxd check`: a schedule told and drawn, to stdout or to files. */
import type { Format } from '../../explore/diagram/format.ts';
import type { Scenario } from '../../explore/scenario.ts';
import { parseSchedule } from '../../explore/schedule.ts';
import type { Io } from '../io.ts';
import { writeChunks } from '../write-file.ts';

export interface Drawing {
  readonly format: string;
  readonly output: string | undefined;
  /** Whether more than one diagram may come: each file is then named after its row. */
  readonly several: boolean;
  readonly minimise: boolean;
}

/** Formats by name. Loaded when they are needed. */
export const loadFormats = async (): Promise<Readonly<Record<string, Format>>> => (await import('../../explore/diagram/index.ts')).formats;

/** `race.svg` for one diagram; `race.E17.unaware.x86-4level.svg` where there may be several. */
function fileOf({ output, several }: Drawing, parts: readonly string[]): string {
  const name = output as string;
  if (!several) return name;
  const [, stem, extension] = /^(.*?)(\.[^./]*)?$/s.exec(name) as RegExpExecArray;
  return `${stem}.${parts.join('.').replace(/[^\w.-]+/g, '_')}${extension ?? ''}`;
}

/** A schedule of a variant; `rule`: the rule that it breaks, undefined where it is to be drawn as it is. */
export interface Drawn {
  readonly scenario: Scenario;
  readonly variant: string;
  readonly mode: string;
  readonly schedule: string;
  readonly rule?: string | undefined;
}

/** Draws a schedule, made small where that is wanted. */
export async function draw(io: Io, drawing: Drawing, { scenario, variant, mode, schedule, rule }: Drawn): Promise<void> {
  const [{ tell }, { minimise }, formats] = await Promise.all([import('../../explore/story.ts'), import('../../explore/minimise.ts'), loadFormats()]);
  const found = parseSchedule(schedule);
  const small = drawing.minimise && rule !== undefined ? minimise(scenario, variant, mode, { rule, schedule: found }).schedule : found;
  const text = formats[drawing.format].render(tell(scenario, variant, mode, small), { width: io.columns });
  if (drawing.output === undefined) {
    io.write(text.endsWith('\n') ? text : `${text}\n`);
    return;
  }
  const file = fileOf(drawing, [scenario.id, variant, mode]);
  writeChunks(file, [new TextEncoder().encode(text)], true);
  io.note(`${file}: ${scenario.id} ${variant} ${mode}`);
}
