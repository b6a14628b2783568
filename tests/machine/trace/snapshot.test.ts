import { describe, expect, it } from 'vitest';
import { compareSnapshots, type Difference } from '../../../src/machine/trace/compare.ts';
import { applyDelta, deltaBetween, deltaToJson, emptySnapshot, type Snapshot } from '../../../src/machine/trace/delta.ts';
import { expand, parseTrace } from '../../../src/machine/trace/format.ts';
import type { TraceHost } from '../../../src/machine/trace/host.ts';
import { parseLine, printLine } from '../../../src/machine/trace/line.ts';
import { Snapshots } from '../../../src/machine/trace/snapshot.ts';
import { FileIds, rebuild } from './rebuild.ts';
import { nameOf, readTrace, traceFiles } from './traces.ts';

/** Groups of the five, and gup, whose lines have huge pages, too. */
const GROUPS = ['anon', 'file', 'fork', 'mlock', 'misc', 'gup'];

/** A host that only shows a state. */
function showing(state: Snapshot, ids: FileIds, pteBaseKb: number): TraceHost {
  const views = rebuild(state, ids, pteBaseKb);
  const files = [...state.files].map(([name, fields]) => ids.view(name, fields));
  const first = Math.min(...views.keys());
  return {
    processCount: Math.max(-1, ...views.keys()) + 1,
    alive: (process: number) => views.has(process),
    view: (process: number) => views.get(process),
    file: (process: number, descriptor: number) => (process === first ? files[descriptor] : undefined),
    counters: () => Object.fromEntries(state.sys),
  } as unknown as TraceHost;
}

/** All snapshots of a trace, rebuilt and printed again. */
function roundTrip(text: string): { snapshots: number; lines: number; differences: Difference[] } {
  const trace = parseTrace(text);
  const ids = new FileIds();
  const { noref, sys, harness } = trace.header;
  const snapshots = new Snapshots({ noref, sys, pteBaseKb: harness.pteBaseKb });
  const result = { snapshots: 0, lines: 0, differences: [] as Difference[] };
  for (const { step, state } of expand(trace)) {
    if (step.delta === undefined) continue;
    for (const name of state.files.keys()) snapshots.names.name(ids.of(name), name);
    for (const { lines } of state.processes.values())
      for (const line of lines.values()) {
        const { name } = parseLine(line);
        if (/^(memfd|tmpfs|disk):/.test(name)) snapshots.names.name(ids.of(name), name);
        result.lines++;
      }
    const printed = snapshots.take(showing(state, ids, harness.pteBaseKb));
    result.snapshots++;
    result.differences.push(...compareSnapshots(state, printed));
  }
  return result;
}

describe('snapshots', () => {
  it.each(GROUPS)('of group %s are printed as they were recorded', (group) => {
    let snapshots = 0;
    for (const file of traceFiles([group])) {
      const result = roundTrip(readTrace(file));
      expect({ trace: nameOf(file), differences: result.differences.slice(0, 3) }).toEqual({ trace: nameOf(file), differences: [] });
      snapshots += result.snapshots;
    }
    expect(snapshots).toBeGreaterThan(10);
  });

  it('have the deltas that were recorded', () => {
    for (const file of traceFiles(['anon', 'fork', 'misc'])) {
      const before = emptySnapshot();
      const after = emptySnapshot();
      for (const step of parseTrace(readTrace(file)).steps) {
        if (step.delta === undefined) continue;
        applyDelta(after, step.delta);
        expect(sorted(deltaToJson(deltaBetween(before, after)))).toEqual(sorted(deltaToJson(step.delta)));
        applyDelta(before, step.delta);
      }
    }
  });

  it('have lines that are read and printed without loss', () => {
    let lines = 0;
    for (const file of traceFiles())
      for (const { delta } of parseTrace(readTrace(file)).steps)
        for (const change of delta?.processes.values() ?? [])
          for (const line of change?.changed ?? []) {
            expect(printLine(parseLine(line))).toBe(line);
            lines++;
          }
    expect(lines).toBeGreaterThan(500);
  });
});

/** The order of a delta's lists is the recorder's affair. */
function sorted(json: Record<string, unknown>): unknown {
  return JSON.parse(JSON.stringify(json), (_, value) => (Array.isArray(value) ? [...value].sort() : value));
}
