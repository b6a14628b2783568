/** `pxd layout`: which page sizes sit at which level, and how each is represented. */
import { type Command, Option } from 'commander';
import { allModes, findMode, modeNames } from '../../arch/registry.ts';
import { LEGEND, layoutJson, layoutText, overviewText } from '../../inspect/draw-layout.ts';
import { layoutSvg } from '../../inspect/draw-svg.ts';
import { layoutOf } from '../../inspect/layout.ts';
import { compileMode } from '../../pagetable/compile.ts';
import { PxdError } from '../../pagetable/error.ts';
import type { Context } from '../context.ts';

export function register(program: Command, context: Context): void {
  const { io } = context;
  program
    .command('layout')
    .description('draw which page sizes sit at which level and how each is represented')
    .argument('[mode...]', 'paging modes ("pxd modes" lists them); a family (powerpc) draws all of its modes; without: an overview of every mode')
    .addOption(new Option('--svg', 'as a picture (SVG) on stdout, one mode').conflicts('json'))
    .option('--json', 'one object a mode')
    .action((names: string[], options: { svg?: boolean; json?: boolean }) => {
      const chosen = names.flatMap(modesNamed);
      if (options.svg) {
        if (chosen.length !== 1) throw new PxdError('usage', 'layout --svg: expected one mode');
        io.write(layoutSvg(chosen[0]));
      } else if (options.json) {
        for (const name of chosen.length > 0 ? chosen : modeNames())
          io.write(`${JSON.stringify(layoutJson(layoutOf(compileMode(findMode(name) as NonNullable<ReturnType<typeof findMode>>))))}\n`);
      } else if (chosen.length === 0) io.write(`${overviewText(allModes().map((m) => compileMode(m))).join('\n')}\n`);
      else
        io.write(
          `${[...new Set(chosen.map((n) => n.replace(/-hugepd$/, '')))].map((n) => layoutText(n, Math.max(60, io.columns)).join('\n')).join('\n\n')}\n\n${LEGEND.length <= io.columns ? LEGEND : LEGEND.replaceAll('   ', '\n')}\n`,
        );
    });
}

function modesNamed(name: string): string[] {
  if (findMode(name)) return [name];
  const family = allModes()
    .filter((m) => m.family === name)
    .map((m) => m.name);
  if (family.length > 0) return family;
  throw new PxdError('unknown', `there is no paging mode "${name}"; "pxd modes" lists the ${modeNames().length} there are`);
}
