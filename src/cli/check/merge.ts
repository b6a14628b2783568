/** `pxd check --merge FILE…`: results files of shards put together. */
import type { Merged } from '../../explore/merge.ts';
import type { CheckCommandOptions } from './options.ts';
import { readResultsFile } from './rows.ts';

export async function merge(files: readonly string[], { memory }: CheckCommandOptions): Promise<Merged> {
  const [{ mergeResults }, results] = await Promise.all([import('../../explore/merge.ts'), import('../../explore/results.ts')]);
  const read = files.map((file) => readResultsFile(results, file));
  return mergeResults(read, memory === undefined ? {} : { memoryBytes: memory * 2 ** 20 });
}

/** What is not there, a sentence each. */
export function gapsOf({ missing, incomplete, unsettled }: Merged): string[] {
  const list = (names: readonly string[]): string => `${names.slice(0, 8).join(', ')}${names.length > 8 ? ` and ${names.length - 8} more` : ''}`;
  return [
    ...(missing.length === 0 ? [] : [`there is no file of shard ${list(missing)}`]),
    ...(incomplete.length === 0 ? [] : [`without a row: ${list(incomplete)}`]),
    ...(unsettled.length === 0 ? [] : [`parts cannot tell, to be checked without --shard: ${list(unsettled)}`]),
  ];
}
