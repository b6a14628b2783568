/**
 * `npx tsx tests/kernel/record.ts [--cpu N] [LIST…] < list > trace`: plays operation lists on the running kernel and prints their traces. A list may
 * lack its header, and may be a trace (its results are dropped). Exit code 77 with one line where this machine cannot be recorded.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { type Operation, type OperationList, startRecorder } from './recorder.ts';

/** The lists in a text: what a recording added to headers and operations is dropped. */
export function listsOf(text: string): OperationList[] {
  const lists: { header: OperationList['header']; operations: Operation[] }[] = [];
  const unnamed = { ops: 1, group: 'misc', name: 'unnamed', purpose: '', snap: 1 } as const;
  for (const line of text.split('\n')) {
    if (!line.startsWith('{')) continue;
    const x = JSON.parse(line);
    if (x.op !== undefined) {
      if (lists.length === 0) lists.push({ header: unnamed, operations: [] });
      lists[lists.length - 1].operations.push({ op: x.op, p: x.p ?? 0, a: x.a ?? [] });
    } else if (x.ops !== undefined) {
      const { ops, group, name, purpose, snap, noref, sys } = { ...unnamed, ...x };
      lists.push({ header: { ops, group, name, purpose, snap, ...(noref === 1 ? { noref } : {}), ...(sys === undefined ? {} : { sys }) }, operations: [] });
    }
  }
  return lists;
}

const read = (file: string | number): string => {
  const bytes = readFileSync(file);
  return (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString('latin1');
};

if (process.argv[1] === import.meta.filename) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { cpu: { type: 'string' } } });
  const recorder = startRecorder(values.cpu === undefined ? undefined : Number(values.cpu));
  if ('skipped' in recorder) {
    console.error(`skipped: ${recorder.skipped}`);
    process.exit(77);
  }
  const lists = (positionals.length > 0 ? positionals : [0]).flatMap((file) => listsOf(read(file)));
  for (const list of lists) process.stdout.write(await recorder.record(list));
  await recorder.close();
}
