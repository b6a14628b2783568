/**
 * What `pxd check` is asked to check: entries, variants and modes, by what stands on the command line.
 *
 * Invariant: whatever is returned can be run; whatever cannot is a sentence about the word that the user wrote.
 */
import { allModes } from '../../arch/registry.ts';
import type { Scenario } from '../../explore/scenario.ts';
import { codecMissing } from '../../pagetable/canonical.ts';
import { PxdError } from '../../pagetable/error.ts';

/** One variant of one entry in one mode: a row of the table. */
export interface Item extends Chosen {
  readonly variant: string;
  readonly mode: string;
}

/** Modes in which everything must hold: `--mode all`. They differ in levels, size of pages, depth of tables and entry width. */
export const ALL_MODES: readonly string[] = ['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k'];

/** Modes by their names, `all` expanded, each once. @throws {PxdError} 'unknown' */
export function modesOf(names: readonly string[]): string[] {
  const found = new Set<string>();
  for (const name of names) for (const mode of name === 'all' ? ALL_MODES : [name]) found.add(knownMode(mode));
  return [...found];
}

function knownMode(name: string): string {
  const mode = allModes().find((m) => m.name === name);
  if (mode === undefined)
    throw new PxdError('unknown', `--mode ${name}: there is no such paging mode; "pxd modes" lists them, "all" means ${ALL_MODES.join(', ')}`);
  const missing = codecMissing(mode);
  if (missing !== undefined) throw new PxdError('unknown', `--mode ${name}: no machine runs in this mode: ${missing}`);
  return name;
}

/** A scenario, and the file that it comes from, as the user wrote it; undefined for an entry of the catalogue. */
export interface Chosen {
  readonly scenario: Scenario;
  readonly file?: string;
}

/** Whether a word names a file: it has a slash or the extension of a script. */
const isFile = (word: string): boolean => /[/\\]|\.(ts|mts|js|mjs)$/.test(word);

/**
 * Entries of the catalogue by their ids, in any case, and scenarios of files; the whole catalogue where none is named. `load` reads a file.
 *
 * @throws {PxdError} 'unknown', and whatever is wrong with a file
 */
export async function chosenOf(catalogue: readonly Scenario[], words: readonly string[], load: (path: string) => Promise<Scenario[]>): Promise<Chosen[]> {
  if (words.length === 0) return catalogue.map((scenario) => ({ scenario }));
  const found: Chosen[] = [];
  for (const word of words) {
    const more = isFile(word) ? (await load(word)).map((scenario) => ({ scenario, file: word })) : [{ scenario: entryOf(catalogue, word) }];
    for (const one of more) {
      const other = found.find(({ scenario }) => scenario.id === one.scenario.id);
      if (other === undefined) found.push(one);
      else if (other.scenario !== one.scenario)
        throw new PxdError('usage', `${word} has a scenario ${one.scenario.id}, and so has ${other.file ?? 'the catalogue'}`);
    }
  }
  return found;
}

function entryOf(catalogue: readonly Scenario[], id: string): Scenario {
  const found = catalogue.find((one) => one.id.toLowerCase() === id.toLowerCase());
  if (found === undefined)
    throw new PxdError('unknown', `the catalogue has no entry "${id.slice(0, 40)}"; "pxd check --list" lists what it has; files are .ts, .mts, .js or .mjs`);
  return found;
}

/** Where no mode is named: the first in which an entry makes sense. */
const usualModes = ({ modes }: Scenario): string[] => ALL_MODES.filter((mode) => modes?.(mode) !== false).slice(0, 1);

/**
 * All that is to be checked, in the order of the table: entry, variant, mode. Entries that make no sense in a mode are left out of it.
 *
 * @throws {PxdError} 'unknown' where nothing is left to check
 */
export function itemsOf(chosen: readonly Chosen[], modes: readonly string[] | undefined, variant?: string): Item[] {
  const scenarios = chosen.map(({ scenario }) => scenario);
  if (variant !== undefined && !scenarios.some((one) => Object.hasOwn(one.variants, variant)))
    throw new PxdError('unknown', `--variant ${variant}: ${variantsText(scenarios)}`);
  const found: Item[] = [];
  for (const one of chosen)
    for (const name of Object.keys(one.scenario.variants))
      for (const mode of modes ?? usualModes(one.scenario))
        if ((variant === undefined || name === variant) && one.scenario.modes?.(mode) !== false) found.push({ ...one, variant: name, mode });
  if (found.length === 0) throw new PxdError('unknown', `${scenarios.map((one) => one.id).join(', ')}: makes no sense in ${(modes ?? ALL_MODES).join(', ')}`);
  return found;
}

const variantsText = (scenarios: readonly Scenario[]): string =>
  scenarios.length === 1
    ? `${scenarios[0].id} has the variants ${Object.keys(scenarios[0].variants).join(', ')}`
    : `none of the ${scenarios.length} entries has such a variant; "pxd check --list" lists them`;
