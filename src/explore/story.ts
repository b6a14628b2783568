/**
 * Tells a schedule: replays it and says, action by action, what happened, in the words of whoever knows Linux's mm.
 *
 * Invariant: the same scenario, variant, mode and schedule give the same story.
 */
import type { Action } from '../kernel/scheduler.ts';
import { SWITCHES } from '../kernel/switches.ts';
import { PxdError } from '../pagetable/error.ts';
import type { Scenario } from './scenario.ts';
import { scheduleText } from './schedule.ts';
import { type Cause, conflictOf, type Involved, involvedIn, weights } from './story/involved.ts';
import { Names, Objects, said } from './story/objects.ts';
import { type RawEvent, Replay } from './story/replay.ts';
import type { Story, StoryEvent } from './story/types.ts';
import { address } from './story/words.ts';

export type * from './story/types.ts';

export interface TellOptions {
  /** By code of an operation: whether the search that found the schedule stopped before it (default: before every one). */
  readonly stops?: Uint8Array;
  /** What the search said, for what no replay can see (a livelock: the way came back to where it was). */
  readonly violation?: { readonly rule: string; readonly message: string };
}

/** Steps that another task is followed for, to see what would have come too late. */
const LATER = 400;

/**
 * @throws {PxdError} 'unknown' for a variant that the scenario does not have, 'usage' for a schedule that cannot happen there
 */
export function tell(scenario: Scenario, variantName: string, mode: string, schedule: readonly Action[], options: TellOptions = {}): Story {
  const variant = scenario.variants[variantName];
  if (variant === undefined) throw new PxdError('unknown', `${scenario.id} has no variant ${variantName}`);
  const objects = new Objects();
  const replay = new Replay(scenario, variantName, mode, objects, options.stops);
  const pageBytes = replay.staged.stage.page;
  replay.play(schedule);
  if (options.violation) replay.fault ??= { ...options.violation, when: 'end', behind: false, inside: null, held: [] };
  const involved = involvedIn(replay);
  const conflict = conflictOf(replay, involved);
  const weight = weights(replay, involved, conflict);
  const late = tooLate(scenario, variantName, mode, schedule, options, replay, involved);
  const names = named(objects, replay, involved, weight, late);
  return {
    scenario: scenario.id,
    title: scenario.title,
    source: scenario.source ?? null,
    variant: variantName,
    mode,
    switches: (variant.switches ?? []).map((name) => ({ name, ...SWITCHES[name] })),
    schedule: scheduleText(schedule),
    pageBytes,
    lanes: replay.lanes.map((lane) => ({ ...lane, calls: lane.calls.map((call) => names.text(call)) })),
    objects: names.list(new Set(involved.first)),
    events: replay.events.map((event, i) => finished(event, names, weight[i])),
    tooLate: late.map((event) => finished(event, names, 3)),
    violation: replay.fault
      ? {
          rule: replay.fault.rule,
          message: replay.fault.message,
          text: names.text(involved.text),
          when: replay.fault.when,
          behind: replay.fault.behind,
          inside: replay.fault.inside,
          objects: involved.first.map((key) => names.of(key)),
          about: [...involved.keys].map((key) => names.of(key)),
        }
      : null,
    conflict: conflict.map((c: Cause) => ({ ...c, text: names.text(c.text) })),
  };
}

/** What the other tasks would have done next against a translation that is left: the run again without its last action, each going on alone. */
function tooLate(
  scenario: Scenario,
  variant: string,
  mode: string,
  schedule: readonly Action[],
  options: TellOptions,
  told: Replay,
  { stale }: Involved,
): RawEvent[] {
  if (!stale || told.fault?.when !== 'step') return [];
  const taken = told.events[told.events.length - 1].step;
  const found: RawEvent[] = [];
  for (const lane of told.staged.names.keys()) {
    if (lane === told.events[told.events.length - 1].lane) continue;
    const replay = new Replay(scenario, variant, mode, told.objects, options.stops);
    replay.play(schedule.slice(0, taken));
    const event = replay.goOn(lane, LATER, ({ tlb }) =>
      tlb.some(({ change, of }) => change === 'drop' && of.cpu === stale.cpu && of.mm === stale.mm && of.vpn === stale.vpn),
    );
    if (event) found.push(event);
  }
  return found;
}

/** Names: those of the violation first, then of what has to do with it, then of all else. */
function named(objects: Objects, replay: Replay, involved: Involved, weight: readonly number[], late: readonly RawEvent[]): Names {
  const names = new Names(objects);
  for (const key of involved.first) names.of(key);
  names.count(involved.text);
  for (const least of [2, 1, 0])
    replay.events.forEach((event, i) => {
      if (weight[i] < least) return;
      for (const text of [event.text, ...event.held, ...event.touches.map((t) => said(t.object))]) names.count(text);
      for (const { of } of event.tlb) names.count(replay.translationText(of));
    });
  for (const event of late) for (const text of [event.text, ...event.held]) names.count(text);
  return names;
}

function finished(event: RawEvent, names: Names, weight: 0 | 1 | 2 | 3): StoryEvent {
  const { span: _, touches, tlb, ...rest } = event;
  return {
    ...rest,
    call: event.call === null ? null : names.text(event.call),
    args: event.args.map((arg) => names.text(arg)),
    result: event.result === null ? null : names.text(event.result),
    text: names.text(event.text),
    held: event.held.map((lock) => names.text(lock)),
    touches: touches.map(({ object, access }) => ({ object: names.of(object), access })),
    freed: event.freed.map((key) => names.of(key)),
    tlb: tlb.map(({ change, of }) => ({
      cpu: of.cpu,
      change,
      address: address(of.vpn),
      to: names.of(of.page === 0 ? `table:${of.table}` : `page:${of.page}`),
    })),
    weight,
  };
}
