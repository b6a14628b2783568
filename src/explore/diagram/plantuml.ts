/** A PlantUML sequence diagram. */
import type { Format } from './format.ts';
import { laneName, rowsOf, rowText, shortened, summary, withoutIdle } from './rows.ts';

/** What PlantUML would take for markup (`__free_pages` is not underlined) gets its escape; lines are broken by `\n`. */
const escaped = (what: string): string =>
  what
    .replace(/__|--|\*\*|\/\/|""|~~/g, '~$&')
    .replaceAll('<', '~<')
    .replaceAll('\n', '\\n');

export const plantuml: Format = {
  extension: 'puml',
  what: 'a sequence diagram for PlantUML',
  render: (given) => {
    const story = withoutIdle(given);
    const { rows, causes } = shortened(rowsOf(story));
    const last = story.lanes.length - 1;
    const all = last === 0 ? 'L0' : `L0, L${last}`;
    const lines = ['@startuml', `title ${escaped(summary(story).split('\n')[0])}`];
    for (const [i, lane] of story.lanes.entries()) lines.push(`participant "${laneName(lane).replaceAll('"', "'")}" as L${i}`);
    for (const row of rows) {
      const me = `L${row.lane}`;
      const what = escaped(rowText(row));
      if (row.kind === 'end') lines.push(`note over ${all} : ${what}`);
      else if (row.kind === 'call' || row.kind === 'hardware') lines.push(`note over ${me} : ${what}`);
      else lines.push(`${me} ${row.kind === 'late' ? '-->' : '->'} ${me} : ${what}`);
      if (!row.violation) continue;
      for (const [i, cause] of causes.entries())
        if (cause.lane !== row.lane && row.kind !== 'end') lines.push(`L${cause.lane} -[#red]>x ${me} : ${escaped(`(${i + 1}) ${cause.text}`)}`);
      lines.push(`note over ${all} #pink : ${escaped(`${story.violation?.rule}: ${story.violation?.text}`)}`);
    }
    return `${[...lines, '@enduml'].join('\n')}\n`;
  },
};
