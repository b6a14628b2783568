/**
 * `npm run features`: the feature table. Names stand in features/names.tsv, what is shown by which test in features/shown.tsv
 * (`id`, `yes` or `partly`, test file or entry of the races, words of its title, and for `partly` what is missing). A row that shown.tsv does not list is a no.
 *
 * A claim counts only while its test file exists and has a test of that title; a claim without one is an error (exit code 1).
 * `--totals` prints the totals only; `--check` also compares them with the README.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

export interface Feature {
  readonly id: string;
  readonly area: string;
  readonly name: string;
  readonly state: 'yes' | 'partly' | 'no';
  /** Test file and title, or what is missing. */
  readonly shown: string;
}

const tsv = (file: string): string[][] =>
  readFileSync(join(root, 'features', file), 'utf8')
    .split('\n')
    .slice(1)
    .filter((l) => l !== '')
    .map((l) => l.split('\t'));

/** All rows, and what is wrong with the claims. */
export function readFeatures(): { features: Feature[]; errors: string[] } {
  const errors: string[] = [];
  const shown = new Map(tsv('shown.tsv').map((row) => [row[0], row]));
  const features = tsv('names.tsv').map(([id, area, name]): Feature => {
    const claim = shown.get(id);
    if (!claim) return { id, area, name, state: 'no', shown: '' };
    shown.delete(id);
    const [, state, file, title, missing] = claim;
    if (state !== 'yes' && state !== 'partly') errors.push(`${id}: state "${state}", expected yes or partly`);
    if (!existsSync(join(root, file))) errors.push(`${id}: there is no ${file}`);
    else if (!readFileSync(join(root, file), 'utf8').includes(title)) errors.push(`${id}: ${file} has no test "${title}"`);
    if (state === 'partly' && !missing) errors.push(`${id}: partly, but not said what is missing`);
    return { id, area, name, state: state as 'yes' | 'partly', shown: `${file}: ${title}${missing ? ` (missing: ${missing})` : ''}` };
  });
  for (const id of shown.keys()) errors.push(`${id} is no feature`);
  return { features, errors };
}

/** `yes 60, partly 12, no 427 of 499`. */
export function totals(features: readonly Feature[]): string {
  const n = (state: Feature['state']): number => features.filter((f) => f.state === state).length;
  return `yes ${n('yes')}, partly ${n('partly')}, no ${n('no')} of ${features.length}`;
}

function main(): void {
  const { features, errors } = readFeatures();
  const areas = new Map(tsv('areas.tsv').map(([a, name]) => [a, name]));
  if (!process.argv.includes('--totals')) {
    for (const [area, name] of areas) {
      console.log(`${area}. ${name}: ${totals(features.filter((f) => f.area === area))}`);
      for (const f of features) if (f.area === area) console.log(`  ${f.id}  ${f.state.padEnd(6)}  ${f.name}${f.shown ? `  [${f.shown}]` : ''}`);
    }
  }
  console.log(`features: ${totals(features)}`);
  if (process.argv.includes('--check') && !readFileSync(join(root, 'README.md'), 'utf8').includes(totals(features)))
    errors.push(`README.md does not say "${totals(features)}"`);
  for (const e of errors) console.log(`error: ${e}`);
  process.exitCode = errors.length > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
