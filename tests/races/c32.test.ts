/**
 * C32, MAP_FIXED_NOREPLACE: what Linux 6.18 answers to the calls of c32.ops, and that in every order of two calls exactly one succeeds (src/races/c32.ts).
 * `npx tsx tests/kernel/record.ts tests/races/c32.ops | gzip -9n > tests/races/c32.trace.gz` asks the running kernel again.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { conformTrace } from '../../src/machine/trace/conform.ts';

const trace = gunzipSync(readFileSync(join(import.meta.dirname, 'c32.trace.gz'))).toString('utf8');

/** Answers of the recording, by operation. */
const recorded = trace
  .split('\n')
  .filter((line) => line.includes('"op":"mmap"'))
  .map((line) => JSON.parse(line) as { a: [string | number, ...number[]]; r: string | number });

test('the address that was asked for, or EEXIST, EINVAL, ENOMEM: as the kernel answers', () => {
  const report = conformTrace(trace, { all: true });
  expect(report.all ?? []).toEqual([]);
  expect(report.ops).toBeGreaterThan(30);
});

test('the kernel never put a range elsewhere than it was asked to', () => {
  const answers = recorded.map(({ r }) => r);
  expect(answers.filter((r) => r === 'EEXIST').length).toBeGreaterThan(8);
  for (const { a, r } of recorded) if (typeof r === 'number' || r.startsWith('0x')) expect(BigInt(r)).toBe(BigInt(a[0]));
});
