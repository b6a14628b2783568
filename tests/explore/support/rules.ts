/** Every place in the sources where a rule is found broken: the rule, and what its message looks like. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Site {
  readonly file: string;
  readonly rule: string;
  /** The message as the source has it. */
  readonly text: string;
  readonly pattern: RegExp;
}

const root = new URL('../../../src/', import.meta.url).pathname;

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`);
}

/** The literal that begins at a place (a template or a string), with what is in it. */
function literalAt(text: string, at: number): string | undefined {
  const quote = text[at];
  if (quote !== '`' && quote !== "'") return undefined;
  let depth = 0;
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (quote === '`' && text.startsWith('${', i)) depth++;
    else if (depth > 0 && text[i] === '}') depth--;
    else if (depth === 0 && text[i] === quote) return text.slice(at + 1, i);
  }
  return undefined;
}

/** A pattern that what a template says matches: anything stands where it puts something in. */
function patternOf(template: string): RegExp {
  let pattern = '';
  for (let i = 0; i < template.length; i++) {
    if (!template.startsWith('${', i)) {
      pattern += template[i].replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      continue;
    }
    let depth = 0;
    do {
      if (template[i] === '{') depth++;
      if (template[i] === '}') depth--;
      i++;
    } while (depth > 0 || template[i - 1] !== '}');
    i--;
    pattern += '[^]*?';
  }
  return new RegExp(pattern);
}

function sitesIn(file: string, begin: RegExp): Site[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(begin)].flatMap((found) => {
    const message = literalAt(text, (found.index ?? 0) + found[0].length);
    return message === undefined ? [] : [{ file, rule: found[1], text: message, pattern: patternOf(message) }];
  });
}

/** Where kernel code and checks of runs throw a KernelBug of a rule that is told there. */
export const thrown = (): Site[] => ['kernel', 'mm', 'explore'].flatMap(sources).flatMap((file) => sitesIn(file, /new (?:KernelBug|Cycle)\(\s*'([^']+)',\s*/g));

/** What the invariants of a machine at rest add to their findings. */
export const found = (): Site[] => sources('mm/invariants').flatMap((file) => sitesIn(file, /\.(?:add|equal|account)\(\s*'([^']+)',\s*/g));
