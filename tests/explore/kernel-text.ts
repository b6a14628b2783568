/** Kernel functions written in a test as text: compiled to the step program, with the primitives of the real kernel as `./ops.ts`. */
import { toStep } from '../../src/kernel/compile/index.ts';
import * as runtime from '../../src/kernel/compile/runtime.ts';
import * as ops from '../../src/kernel/ops.ts';

/** What a text may import, beside `./ops.ts`. */
export type TextModules = Readonly<Record<string, object>>;

const IMPORT = /^import \{(.*?)\} from ["'](.*?)["'];/gm;

/** The kernel functions that a text (JavaScript) exports. */
export function kernelText(source: string, modules: TextModules = {}): Record<string, runtime.Descriptor> {
  const { code } = toStep({
    source,
    path: '/text.ts',
    label: 'text.ts',
    javascript: source,
    map: { mappings: '' },
    files: { isPrimitives: (path) => path === '/ops.ts' },
    runtime: 'runtime',
  });
  const exported: string[] = [];
  const body = code
    .replace(IMPORT, (_, names: string, module: string) => `const {${names.replace(/ as /g, ': ')}} = $modules[${JSON.stringify(module)}];`)
    .replace(/^export ((?:function ?\*?|const) +(\w+))/gm, (_, declaration: string, name: string) => {
      exported.push(name);
      return declaration;
    })
    // A name taken out of a module keeps its value; the stack and the stops are others at each step.
    .replaceAll('const $s = $S;', 'const $s = $modules.runtime.S;')
    .replaceAll('$S[', '$modules.runtime.S[')
    .replaceAll('$stops[', '$modules.runtime.stops[');
  const all: TextModules = { ...modules, './ops.ts': ops, runtime };
  return new Function('$modules', `"use strict";\n${body}\nreturn { ${exported.join(', ')} };`)(all);
}
