/** Small schedules: they break the same rule when they are played, take no task that is not needed, and are found again. */
import { describe, expect, it, vi } from 'vitest';
import { minimise, runsOf } from '../../src/explore/minimise.ts';
import { play } from '../../src/explore/play.ts';
import { call, type Scenario, task } from '../../src/explore/scenario.ts';
import { search } from '../../src/explore/search.ts';
import { map, WINDOW } from '../../src/explore/setup.ts';
import { stageOf } from '../../src/explore/stage.ts';
import { chooseRandom } from '../../src/kernel/choose.ts';
import e17 from '../../src/races/e17.ts';
import { smallProgram } from './support/small-programs.ts';

vi.setConfig({ testTimeout: 300_000 });
const MODE = 'x86-4level';

/** A run that breaks a rule, by chance. */
function broken(scenario: Scenario, variant: string, seed: number): { readonly rule: string; readonly schedule: readonly number[] } {
  for (let n = seed; n < seed + 500; n++) {
    const { violation } = play(scenario, variant, MODE, chooseRandom(n, { stay: 60, actors: 25 }));
    if (violation?.rule === 'I4') return violation;
  }
  throw new Error('no random run breaks it');
}

/** E17 with a task that has nothing to do with it. */
const crowded: Scenario = {
  ...e17,
  id: 'E17-crowded',
  setup(stage) {
    e17.setup(stage);
    map(stage, WINDOW + 64, 4);
  },
  tasks: {
    first: e17.tasks.first,
    bystander: ({ process, page }) => task(call('sysMunmap', process.ref, (WINDOW + 64) * page, 2 * page), call('threadLoad', process.ref, WINDOW + 67)),
    second: e17.tasks.second,
  },
};

describe('a schedule that is made small', () => {
  it('breaks the same rule when it is played, and has no more preemptions than the fewest that are possible', () => {
    for (const seed of [1, 100, 200]) {
      const given = broken(e17, 'unaware', seed);
      const found = minimise(e17, 'unaware', MODE, given);
      const played = play(e17, 'unaware', MODE, found.schedule);
      expect(played.violation).toMatchObject({ rule: 'I4', message: found.message, preemptions: found.preemptions, schedule: found.schedule });
      expect(found.preemptions).toBe(e17.variants.unaware.preemptions);
      // First, the translation that is read ahead, second: the race as it is told.
      expect(runsOf(found.schedule).length).toBeLessThanOrEqual(4);
      expect(found.needed).toEqual(['first', 'second']);
      expect(minimise(e17, 'unaware', MODE, given)).toEqual(found);
    }
  });

  it('is left by tasks that have nothing to do with it', () => {
    const given = broken(crowded, 'unaware', 1);
    const found = minimise(crowded, 'unaware', MODE, given);
    expect(found.needed).toEqual(['first', 'second']);
    expect(found.schedule).not.toContain(1);
    expect(play(crowded, 'unaware', MODE, found.schedule).violation?.rule).toBe('I4');
    const idle = { ...crowded, tasks: { ...crowded.tasks, bystander: () => task() } };
    expect(play(idle, 'unaware', MODE, found.alone).violation).toMatchObject({ rule: 'I4', schedule: found.alone });
  });

  it('takes no more runs than it may', () => {
    const given = broken(crowded, 'unaware', 1);
    for (const replays of [1, 2, 7, 20]) {
      const found = minimise(crowded, 'unaware', MODE, given, { replays });
      expect(found.replays).toBeLessThanOrEqual(replays);
      expect(play(crowded, 'unaware', MODE, found.schedule).violation?.rule).toBe('I4');
    }
  });

  it('is not longer than it was, in random programs; tasks that are not needed may do nothing', () => {
    const seen = { smaller: 0, spared: 0, asItWas: 0 };
    for (let seed = 1; seed <= 60; seed++) {
      const scenario = smallProgram(seed);
      const { violation } = search(scenario, stageOf(scenario, scenario.variants.plain, MODE));
      if (!violation) continue;
      const found = minimise(scenario, 'plain', MODE, violation);
      if (found.message === null) {
        // A livelock is not seen by playing alone.
        expect(violation.rule).toBe('I27');
        expect(found.schedule).toEqual(violation.schedule);
        seen.asItWas++;
        continue;
      }
      const size = runsOf(found.schedule).length;
      const before = runsOf(violation.schedule).length;
      expect(size < before || (size === before && found.schedule.length <= violation.schedule.length)).toBe(true);
      if (size < before) seen.smaller++;
      expect(play(scenario, 'plain', MODE, found.schedule).violation).toMatchObject({ rule: violation.rule, message: found.message });
      const idle = Object.keys(scenario.tasks).filter((name) => !found.needed.includes(name));
      if (idle.length > 0) seen.spared++;
      const without = { ...scenario, tasks: { ...scenario.tasks, ...Object.fromEntries(idle.map((name) => [name, () => task()])) } };
      expect(play(without, 'plain', MODE, found.alone).violation?.rule).toBe(violation.rule);
    }
    expect(Math.min(seen.smaller, seen.spared, seen.asItWas)).toBeGreaterThan(2);
  });
});
