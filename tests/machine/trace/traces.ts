/** Where recorded traces are: the collection beside the checkout where it is, else the few kept with the tests. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
export const KEPT = join(here, 'fixtures');
const SHARED = join(here, '../../../../shared/oracle/traces');

/** Groups whose operations a machine without swap, huge pages and userfaultfd can play. */
export const PLAYABLE = ['anon', 'file', 'fork', 'mlock', 'misc'];

export const isWhole = existsSync(SHARED);

/** Files of the groups (of all where none is named). */
export function traceFiles(groups?: readonly string[]): string[] {
  const root = isWhole ? SHARED : KEPT;
  return readdirSync(root)
    .filter((group) => groups === undefined || groups.includes(group))
    .sort()
    .flatMap((group) =>
      readdirSync(join(root, group))
        .filter((f) => f.endsWith('.trace.gz'))
        .sort()
        .map((f) => join(root, group, f)),
    );
}

export const nameOf = (file: string): string => basename(file, '.trace.gz');

export const readTrace = (file: string): string => gunzipSync(readFileSync(file)).toString('utf8');

/** The text of a trace kept with the tests, by `group/name`. */
export const keptTrace = (name: string): string => readTrace(join(KEPT, `${name}.trace.gz`));
