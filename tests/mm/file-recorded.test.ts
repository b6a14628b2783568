/**
 * Files: answers of Linux 6.18 to the questions in tests/mm/questions, recorded by tests/kernel/record.ts, against the model's.
 * `npx tsx tests/kernel/record.ts tests/mm/questions/NAME.ops | gzip -9n > tests/mm/fixtures/NAME.trace.gz` asks the running kernel again.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { conformTrace } from '../../src/machine/trace/conform.ts';

const folder = join(import.meta.dirname, 'fixtures');
const names = readdirSync(folder).filter((f) => f.startsWith('file_'));

describe('files against recordings of the kernel', () => {
  test.each(names)(
    '%s',
    (name) => {
      const report = conformTrace(gunzipSync(readFileSync(join(folder, name))).toString('utf8'), { all: true });
      expect(report.all ?? []).toEqual([]);
      expect(report.ops).toBeGreaterThan(10);
    },
    60_000,
  );

  test('each question was asked', () => {
    const asked = readdirSync(join(import.meta.dirname, 'questions')).map((f) => f.replace(/\.ops$/, '.trace.gz'));
    expect(asked.filter((f) => f.startsWith('file_')).sort()).toEqual(names.sort());
  });
});
