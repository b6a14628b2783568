/**
 * A trace in Chrome's JSON format, which ui.perfetto.dev opens: a track a task and one for the hardware of each CPU, slices for calls, functions and operations, a
 * flow from what caused the conflict to where it breaks. Every action takes a microsecond: what is true is the order.
 *
 * Invariant: slices of a track nest.
 */
import type { Story, StoryEvent } from '../story.ts';
import type { Format } from './format.ts';
import { laneName, summary, withoutIdle } from './rows.ts';

const PID = 1;
/** Microseconds of an action, and of its slice. */
const STEP = 1;
const SLICE = 0.9;
/** Tracks of hardware come behind those of tasks. */
const HARDWARE = 1000;

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly [more: string]: unknown;
}

const trackOf = (event: StoryEvent): number => (event.call === null ? HARDWARE + event.cpu : event.lane);

export const perfetto: Format = {
  extension: 'trace.json',
  what: 'a trace for ui.perfetto.dev',
  render: (given) => {
    const story = withoutIdle(given);
    const traceEvents: TraceEvent[] = [
      meta('process_name', 0, summary(story).split('\n')[0]),
      ...story.lanes.flatMap((lane, tid) => [meta('thread_name', tid, laneName(lane)), { ...meta('thread_sort_index', tid, ''), args: { sort_index: tid } }]),
      ...[...new Set(story.events.filter((e) => e.call === null).map((e) => e.cpu))].map((cpu) =>
        meta('thread_name', HARDWARE + cpu, cpu < 0 ? 'RCU' : `CPU ${cpu}: hardware`),
      ),
      ...story.lanes.flatMap((_, lane) => functionSlices(story, lane)),
      ...story.events.map((event, i) => operationSlice(event, i)),
      ...flows(story),
    ];
    const { scenario, variant, mode, schedule, title, violation } = story;
    return `${JSON.stringify({ displayTimeUnit: 'ns', otherData: { scenario, variant, mode, schedule, title, rule: violation?.rule ?? null }, traceEvents }, null, 1)}\n`;
  },
};

const meta = (name: string, tid: number, value: string): TraceEvent => ({ name, ph: 'M', pid: PID, tid, args: { name: value } });

const slice = (name: string, tid: number, from: number, to: number, args: object): TraceEvent => ({
  name,
  ph: 'X',
  pid: PID,
  tid,
  ts: from * STEP,
  dur: (to - from) * STEP + SLICE,
  cat: 'mm',
  args,
});

function operationSlice(event: StoryEvent, at: number): TraceEvent {
  const { text, held, freed, tlb, returns, stack, step } = event;
  const source = stack.length === 0 ? undefined : `${stack[0].file}:${stack[0].line}`;
  const name = event.kind === 'begin' ? 'begin' : (event.operation ?? text);
  return slice(name, trackOf(event), at, at, { text, held, freed, tlb, returns, source, step });
}

interface OpenSlice {
  readonly name: string;
  readonly from: number;
}

/** Slices of the calls and functions that a task is in: from its first operation in there to the last. */
function functionSlices({ events }: Story, lane: number): TraceEvent[] {
  const found: TraceEvent[] = [];
  const open: OpenSlice[] = [];
  let last = 0;
  const close = (depth: number): void => {
    while (open.length > depth) {
      const { name, from } = open.pop() as OpenSlice;
      found.push(slice(name, lane, from, last, {}));
    }
  };
  for (const [i, event] of events.entries()) {
    if (event.lane !== lane || event.call === null) continue;
    if (event.kind === 'begin') close(0);
    // The outermost function is the call itself, with its arguments.
    const names = [
      event.call,
      ...event.stack
        .toReversed()
        .map((frame) => frame.linux)
        .slice(1),
    ];
    const same = names.findIndex((name, depth) => open[depth]?.name !== name);
    close(same < 0 ? names.length : same);
    for (const name of names.slice(open.length)) open.push({ name, from: i });
    last = i;
    if (event.returns !== null) close(0);
  }
  close(0);
  return found;
}

/** From each cause to the violation. */
function flows({ conflict, events, violation }: Story): TraceEvent[] {
  const end = conflict.find((c) => c.role === 'violation');
  if (!end || !violation) return [];
  const at = (i: number): { tid: number; ts: number } => ({ tid: trackOf(events[i]), ts: i * STEP + SLICE / 2 });
  const arrows = conflict
    .filter((c) => c.role === 'cause' && c.event !== end.event)
    .flatMap((c, id): TraceEvent[] => [
      { name: c.text, cat: 'conflict', ph: 's', id, pid: PID, ...at(c.event) },
      { name: c.text, cat: 'conflict', ph: 'f', bp: 'e', id, pid: PID, ...at(end.event) },
    ]);
  return [...arrows, { name: `${violation.rule}: ${violation.text}`, cat: 'conflict', ph: 'i', s: 'g', pid: PID, ...at(end.event) }];
}
