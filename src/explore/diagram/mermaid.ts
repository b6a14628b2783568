/** A Mermaid sequence diagram: what GitHub, GitLab and many wikis draw from text. */
import type { Format } from './format.ts';
import { laneName, rowsOf, rowText, shortened, summary, withoutIdle } from './rows.ts';

/** Mermaid ends statements at semicolons and reads `#…;` as a character; lines are broken by a tag. */
const CODES: Readonly<Record<string, string>> = { '#': '#35;', ';': '#59;', '<': '#lt;', '>': '#gt;', '\n': '<br/>' };
const escaped = (what: string): string => what.replace(/[#;<>\n]/g, (c) => CODES[c]);

export const mermaid: Format = {
  extension: 'mmd',
  what: 'a sequence diagram for Markdown',
  render: (given) => {
    const story = withoutIdle(given);
    const { rows, causes } = shortened(rowsOf(story));
    const last = story.lanes.length - 1;
    const all = last === 0 ? 'L0' : `L0,L${last}`;
    const lines = ['---', `title: ${JSON.stringify(summary(story).split('\n')[0])}`, '---', 'sequenceDiagram'];
    for (const [i, lane] of story.lanes.entries()) lines.push(`  participant L${i} as ${escaped(laneName(lane))}`);
    for (const row of rows) {
      const me = `L${row.lane}`;
      const what = escaped(rowText(row));
      if (row.kind === 'end') lines.push(`  Note over ${all}: ${what}`);
      else if (row.kind === 'call' || row.kind === 'hardware') lines.push(`  Note over ${me}: ${what}`);
      else lines.push(`  ${me}${row.kind === 'late' ? '--' : '-'}>>${me}: ${what}`);
      if (!row.violation) continue;
      for (const [i, cause] of causes.entries())
        if (cause.lane !== row.lane && row.kind !== 'end') lines.push(`  L${cause.lane}-x${me}: ${escaped(`(${i + 1}) ${cause.text}`)}`);
      lines.push(`  Note over ${all}: ${escaped(`${story.violation?.rule}: ${story.violation?.text}`)}`);
    }
    return `${lines.join('\n')}\n`;
  },
};
