/**
 * `npm run page-sizes`: the table in docs/fidelity.md of every size of pages that Linux uses in each mode, how it stands in the tables, and for which uses the mm here
 * maps with it. Sizes and representation come from the modes' data (src/arch/linux/page-sizes.ts); what is implemented is tried in a machine. `--check`: compare only.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { pageSizes, representation } from '../src/arch/linux/page-sizes.ts';
import { allModes } from '../src/arch/registry.ts';
import { PAGE_USES, probe } from '../tests/support/page-size-probe.ts';

const FILE = new URL('../docs/fidelity.md', import.meta.url);
const BEGIN = '<!-- page sizes: begin (npm run page-sizes) -->';
const END = '<!-- page sizes: end -->';

const sizeText = (shift: number): string => `${2 ** (shift % 10)}${['B', 'K', 'M', 'G', 'T'][Math.floor(shift / 10)]}`;

function table(): string {
  const lines = ['| mode | page | size | in the tables | THP | hugetlb | vmap | direct map |', '|-|-|-|-|-|-|-|-|'];
  for (const mode of allModes()) {
    const sizes = pageSizes(mode);
    if (sizes.length === 0) lines.push(`| ${mode.name} | ${sizeText(mode.pageShift)} | none | | – | – | – | – |`);
    for (const size of sizes) {
      const cells = PAGE_USES.map((use) => (!size[use] ? '–' : probe(mode, size.shift, use) ? 'yes' : 'no'));
      lines.push(
        `| ${mode.name} | ${sizeText(mode.pageShift)} | ${sizeText(size.shift)} | ${representation(mode, size.shift)?.text ?? 'not declared'} | ${cells.join(' | ')} |`,
      );
    }
  }
  return lines.join('\n');
}

const text = readFileSync(FILE, 'utf8');
const [before, rest] = text.split(BEGIN);
if (rest === undefined) throw new Error('docs/fidelity.md has no place for the table');
const after = rest.slice(rest.indexOf(END));
const made = `${before}${BEGIN}\n\n${table()}\n\n${after}`;
if (!process.argv.includes('--check')) writeFileSync(FILE, made);
else if (made !== text) {
  console.log('docs/fidelity.md: the table of page sizes is not what the modes and the mm say; npm run page-sizes');
  process.exitCode = 1;
}
