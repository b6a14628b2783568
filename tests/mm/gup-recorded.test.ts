/**
 * Another process's memory and what is known of pages: answers of Linux 6.18 to the questions in tests/mm/questions, recorded by
 * tests/kernel/record.ts, against the model's.
 * `npx tsx tests/kernel/record.ts tests/mm/questions/NAME.ops | gzip -9n > tests/mm/fixtures/NAME.trace.gz` asks the running kernel again.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { conformTrace } from '../../src/machine/trace/conform.ts';
import { createTraceMachine } from '../../src/machine/trace/machine.ts';

const folder = join(import.meta.dirname, 'fixtures');
const ours = (name: string): boolean => /^(gup_|task-mmu_)/.test(name);
const names = readdirSync(folder).filter(ours).sort();
const traceOf = (name: string): string => gunzipSync(readFileSync(join(folder, name))).toString('utf8');

describe('memory of others, pagemap and clear_refs against recordings of the kernel', () => {
  test.each(names)('%s', (name) => {
    const report = conformTrace(traceOf(name), { all: true });
    expect(report.all ?? []).toEqual([]);
    expect(report.ops).toBeGreaterThan(30);
  });

  test.each(names)('%s as generators', (name) => {
    const report = conformTrace(traceOf(name), { all: true, create: (header) => createTraceMachine(header, { program: 'native' }) });
    expect(report.all ?? []).toEqual([]);
  });

  test('each question was asked', () => {
    const asked = readdirSync(join(import.meta.dirname, 'questions')).filter(ours);
    expect(asked.map((f) => f.replace(/\.ops$/, '.trace.gz')).sort()).toEqual(names);
  });
});
