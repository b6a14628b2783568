/** Where captures are: those kept with the tests, and the larger collection beside the checkout where it is. */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const FIXTURES = join(here, '../fixtures/captures');
export const SHARED = join(here, '../../../shared/dumps');
const SHARED_VECTORS = join(here, '../../../shared/vectors');
const FIXTURE_VECTORS = join(here, '../fixtures/vectors');

const foldersOf = (dir: string): string[] =>
  readdirSync(dir)
    .filter((d) => existsSync(join(dir, d, 'meta.json')))
    .sort()
    .map((d) => join(dir, d));

/** Capture folders kept with the tests. */
export const captureDirs = (): string[] => foldersOf(FIXTURES);

/** All capture folders there are: the collection beside the checkout, else those kept with the tests. */
export function allCaptureDirs(): string[] {
  if (existsSync(SHARED)) return foldersOf(SHARED);
  console.log('skipped: ../shared/dumps is not here; the captures kept with the tests stand in');
  return captureDirs();
}

/** Vector files: the collection beside the checkout, else those kept with the tests. */
export function vectorFiles(): string[] {
  const dir = vectorsDir();
  return readdirSync(dir)
    .filter((f) => f.endsWith('.json.gz'))
    .sort()
    .map((f) => join(dir, f));
}

/** Where the capture folders are. */
export const capturesDir = (): string => (existsSync(SHARED) ? SHARED : FIXTURES);

/** Where the vector files are. */
export const vectorsDir = (): string => (existsSync(SHARED_VECTORS) ? SHARED_VECTORS : FIXTURE_VECTORS);

/** A capture folder by name, wherever it is; undefined when it is not here. */
export const captureDir = (name: string): string | undefined => [SHARED, FIXTURES].map((dir) => join(dir, name)).find((dir) => existsSync(dir));
