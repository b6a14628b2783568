import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ACCEPTED, type Accepted } from '../../../src/machine/trace/accepted.ts';
import { explainLine } from '../../../src/machine/trace/compare.ts';
import { parseTrace } from '../../../src/machine/trace/format.ts';
import type { Fault } from '../../../src/machine/trace/host.ts';
import { reportTrace, type TraceReport } from '../../../src/machine/trace/player.ts';
import { Playback } from './playback.ts';
import { isWhole, keptTrace, nameOf, PLAYABLE, readTrace, traceFiles } from './traces.ts';

/** Plays a recording on a machine that answers as another recording says. */
function against(recorded: string, machine: string, accepted: readonly Accepted[] = []): { report: TraceReport; complaints: string[] } {
  const host = new Playback(parseTrace(machine));
  return { report: reportTrace(recorded, () => host, { all: true, accepted }), complaints: host.complaints };
}

/** Changes one line of a trace as JSON. */
function edited(text: string, i: number, edit: (line: Record<string, unknown>) => unknown): string {
  const lines = text.split('\n');
  const line = JSON.parse(lines[i + 1]) as Record<string, unknown>;
  expect(line.i).toBe(i);
  edit(line);
  lines[i + 1] = JSON.stringify(line);
  return lines.join('\n');
}

describe('reportTrace', () => {
  it.each([...PLAYABLE, 'gup'])('asks a machine as the recorder asks Linux and finds no difference where it answers alike: %s', (group) => {
    let operations = 0;
    // One in four of the whole collection: playing back takes its time.
    const files = traceFiles([group]).filter((_, i) => !isWhole || i % 4 === 0);
    for (const file of files) {
      const text = readTrace(file);
      const { report, complaints } = against(text, text);
      expect({ trace: nameOf(file), complaints, differences: report.all?.slice(0, 3) }).toEqual({ trace: nameOf(file), complaints: [], differences: [] });
      operations += report.ops;
    }
    expect(operations).toBeGreaterThan(10);
  });

  const basic = keptTrace('anon/anon_basic');

  it.each([
    ['r', 0, { r: 'ENOMEM' }],
    ['v', 4, { v: [5, 1, 1, 2, [2, 0]] }],
    ['f', 4, { f: [['0x10004000', 2, 11, 2]] }],
  ] as [string, number, Record<string, unknown>][])('reports a machine that answers with another %s, at that operation alone', (what, i, fields) => {
    const edit = (line: Record<string, unknown>): unknown => Object.assign(line, fields);
    const { report } = against(basic, edited(basic, i, edit));
    expect(report.differences).toBe(1);
    expect(report.first).toMatchObject({ i, what, where: '' });
  });

  it('reports a VMA that differs, with both lines', () => {
    const other = basic.replace('aX,z,2*.', 'aX,3*.');
    const { report } = against(basic, other);
    expect(report.all).toEqual([
      {
        i: 2,
        op: 'w',
        what: 'vma',
        where: '0 10000000-10004000',
        expected: '10000000-10004000 rw-p 0 anon rss=4,pss=4,pd=4,ref=4,an=4 rdwrmrmwmeac aX,z,2*.',
        got: '10000000-10004000 rw-p 0 anon rss=4,pss=4,pd=4,ref=4,an=4 rdwrmrmwmeac aX,3*.',
      },
    ]);
  });

  it('reports counters where they come to differ, not again while they stay so; and files', () => {
    const counter = against(basic, basic.replace('"VmPTE":12', '"VmPTE":16')).report;
    expect(counter.first).toMatchObject({ i: 1, what: 'counter', where: '0 VmPTE', expected: '12', got: '16' });
    expect(counter.differences).toBe(1);
    const shared = keptTrace('file/file_memfd_shared');
    const at = parseTrace(shared).steps.findIndex((s) => s.delta && Object.keys(s.delta.files).length > 0);
    const grown = edited(shared, at, (l) => {
      const s = l.s as { files: Record<string, { size: number }> };
      for (const file of Object.values(s.files)) file.size += 1;
    });
    expect(against(shared, grown).report.first).toMatchObject({ i: at, what: 'file', where: 'memfd:0' });
  });

  it('accepts what a row names, and nothing else', () => {
    const other = basic.replace('"VmPTE":12', '"VmPTE":16');
    const row = { trace: /^anon_basic$/, op: /^r$/, what: /^counter$/, reason: 'of a test' };
    expect(against(basic, other, [row]).report).toMatchObject({ differences: 0, accepted: 1 });
    expect(against(basic, other, [{ ...row, op: /^w$/ }]).report).toMatchObject({ differences: 1, accepted: 0 });
    expect(against(basic, other, [{ ...row, what: /^vma$/ }]).report).toMatchObject({ differences: 1, accepted: 0 });
    expect(against(basic, other, [{ ...row, trace: /^file_/ }]).report).toMatchObject({ differences: 1, accepted: 0 });
  });

  it('accepts nothing without a reason in docs/fidelity.md', () => {
    const text = readFileSync('docs/fidelity.md', 'utf8');
    for (const { reason } of ACCEPTED) {
      expect(reason.length).toBeGreaterThan(10);
      expect(text).toContain(reason);
    }
  });

  it('counts every operation where there is no machine', () => {
    const report = reportTrace(basic, () => {
      throw new Error('no memory for it');
    });
    expect(report.differences).toBe(report.ops);
    expect(report.first).toMatchObject({ i: 0, what: 'run' });
    expect(report.first?.got).toContain('no memory for it');
  });

  it('goes on after an operation at which the machine fails', () => {
    const host = new Playback(parseTrace(basic));
    const store = host.store.bind(host);
    let calls = 0;
    host.store = (...args): Fault | undefined => {
      if (calls++ === 0) throw new Error('a bug of the machine');
      return store(...args);
    };
    const report = reportTrace(basic, () => host, { all: true });
    expect(report.differences).toBe(1);
    expect(report.first).toMatchObject({ i: 2, what: 'run' });
    expect(report.first?.got).toContain('a bug of the machine');
  });
});

describe('explainLine', () => {
  const line = '10000000-10002000 rw-p 0 anon rss=8,pss=8 rdwr aX,.';

  it('names the words that differ, and in lists only what differs', () => {
    expect(explainLine(line, line)).toEqual([]);
    expect(explainLine(line, line.replace('rw-p', 'r--p').replace('rdwr', 'rd'))).toEqual(['perms: expected rw-p, got r--p', 'flags: expected rdwr, got rd']);
    expect(explainLine(line, line.replace(',pss=8', ',pss=4'))).toEqual(['numbers: expected pss=8, got pss=4']);
    expect(explainLine(line, line.replace(',pss=8', ''))).toEqual(['numbers: expected pss=8, got no more']);
    expect(explainLine(line, line.replace('aX,.', '.,aX'))).toEqual(['pages: the same in another order']);
    expect(explainLine(line, undefined)).toEqual([]);
  });
});
