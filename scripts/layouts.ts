/** Writes docs/layout: a picture (SVG) and a text for every paging mode, and the overview. `--check` only says whether they are up to date. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { allModes, findMode } from '../src/arch/registry.ts';
import { LEGEND, layoutText, overviewText } from '../src/inspect/draw-layout.ts';
import { layoutSvg } from '../src/inspect/draw-svg.ts';
import { compileMode } from '../src/pagetable/compile.ts';

const WIDTH = 110;
const folder = join(import.meta.dirname, '..', 'docs', 'layout');

/** A mode with huge page directories shares the page of the one without. */
const names = allModes()
  .map((m) => m.name)
  .filter((n) => !(n.endsWith('-hugepd') && findMode(n.replace(/-hugepd$/, ''))));

const files = new Map<string, string>();
for (const name of names) {
  files.set(`${name}.svg`, layoutSvg(name));
  files.set(`${name}.txt`, `${layoutText(name, WIDTH).join('\n')}\n`);
}
files.set(
  'README.md',
  [
    '# Page sizes and where they sit',
    '',
    'Which page sizes each paging mode has, at which level of the tables each sits, and how entries represent it. Generated from the declarations by `npx tsx scripts/layouts.ts`; `pxd layout MODE` prints the same.',
    '',
    '```',
    ...overviewText(allModes().map((m) => compileMode(m))),
    '```',
    '',
    ...[...new Set(allModes().map((m) => m.family))].flatMap((family) => [
      `## ${family}`,
      '',
      ...names
        .filter((n) => findMode(n)?.family === family)
        .flatMap((n) => [`### ${n}`, '', `![${findMode(n)?.title}](${n}.svg)`, '', '```', ...layoutText(n, WIDTH), '', LEGEND, '```', '']),
    ]),
  ].join('\n'),
);

const stale: string[] = [];
if (process.argv.includes('--check')) {
  for (const [name, text] of files) if (read(join(folder, name)) !== text) stale.push(name);
  for (const name of stale) console.log(`docs/layout/${name} is not what the declarations give: run npx tsx scripts/layouts.ts`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) if (!files.has(name)) rmSync(join(folder, name));
  for (const [name, text] of files) writeFileSync(join(folder, name), text);
  console.log(`${files.size} files in docs/layout`);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
