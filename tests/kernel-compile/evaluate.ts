/** Makes the three programs of a text in the dialect and evaluates them here, without modules. */
import { toDirect, toStep } from '../../src/kernel/compile/index.ts';
import * as runtime from '../../src/kernel/compile/runtime.ts';
import type { Op } from './sample/op.ts';
import * as ops from './sample/ops.ts';
import * as direct from './sample/ops-direct.ts';
import * as state from './sample/state.ts';

type Modules = Readonly<Record<string, object>>;

/** Evaluates a module that imports by name only, and gives what it exports. */
function evaluate(code: string, modules: Modules): Record<string, unknown> {
  const exported: string[] = [];
  const body = code
    .replace(
      /^import \{(.*?)\} from ["'](.*?)["'];/gm,
      (_, names: string, module: string) => `const {${names.replace(/ as /g, ': ')}} = $modules[${JSON.stringify(module)}];`,
    )
    .replace(/^export ((?:function ?\*?|const) +(\w+))/gm, (_, declaration: string, name: string) => {
      exported.push(name);
      return declaration;
    })
    // A name taken out of a module keeps its value; the stack, and where it stops, is another at each run.
    .replaceAll('const $s = $S;', 'const $s = $modules.runtime.S;')
    .replaceAll('$S[', '$modules.runtime.S[')
    .replaceAll('$stops[', '$modules.runtime.stops[');
  return new Function('$modules', `"use strict";\n${body}\nreturn { ${exported.join(', ')} };`)(modules);
}

/** The step program's text. */
export const stepText = (source: string): string =>
  toStep({
    source,
    path: '/sample.ts',
    label: 'sample.ts',
    javascript: source,
    map: { mappings: '' },
    files: { isPrimitives: (path) => path === '/ops.ts' },
    runtime: 'runtime',
  }).code;

export interface ThreePrograms {
  readonly native: (...args: number[]) => Op<unknown>;
  readonly direct: (...args: number[]) => unknown;
  readonly step: runtime.Descriptor;
}

/** `name` of the three programs of a text (JavaScript: types are not removed here). */
export function threePrograms(source: string, name = 'main'): ThreePrograms {
  const shared = { './state.ts': state, runtime };
  return {
    native: evaluate(source, { ...shared, './ops.ts': ops })[name],
    direct: evaluate(toDirect(source, 'sample.ts'), { ...shared, './ops.ts': direct })[name],
    step: evaluate(stepText(source), { ...shared, './ops.ts': ops })[name],
  } as ThreePrograms;
}
