/**
 * madvise, process_madvise, guard regions, reclaim, the shrinker of large folios: answers and states of Linux 6.18 to the questions in tests/mm/questions, recorded by tests/kernel/record.ts, against
 * the model's. `npx tsx tests/kernel/record.ts tests/mm/questions/NAME.ops | gzip -9n > tests/mm/fixtures/NAME.trace.gz` asks the running kernel again.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { conformTrace } from '../../src/machine/trace/conform.ts';

const folder = join(import.meta.dirname, 'fixtures');
const ours = (file: string): boolean => /^(madvise|thp)_/.test(file);
const names = readdirSync(folder).filter(ours).sort();

describe('madvise against recordings of the kernel', () => {
  test.each(names)('%s', (name) => {
    const report = conformTrace(gunzipSync(readFileSync(join(folder, name))).toString('utf8'), { all: true });
    expect(report.all ?? []).toEqual([]);
    expect(report.ops).toBeGreaterThan(30);
  });

  test('each question was asked', () => {
    const asked = readdirSync(join(import.meta.dirname, 'questions')).filter(ours);
    expect(asked.map((file) => file.replace(/\.ops$/, '.trace.gz')).sort()).toEqual(names);
  });
});
