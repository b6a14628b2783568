/** Ways to choose the next action: at random, by priorities (PCT), as recorded. Deterministic in their seed. */
import { ACTOR_BASE, type Action, type Choose } from './scheduler.ts';

/** A small generator of random numbers (mulberry32). `random(n)`: a whole number below n. */
export function randomNumbers(seed: number): (n: number) => number {
  let state = seed | 0;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 4294967296) * n);
  };
}

/** Any action, tasks `stay` times in a hundred the one that ran before, actors `actors` times in a hundred. */
export function chooseRandom(seed: number, { stay = 50, actors = 10 } = {}): Choose {
  const random = randomNumbers(seed);
  let before: Action = -1;
  return (actions) => {
    const tasks = actions.filter((action) => action < ACTOR_BASE);
    const others = actions.filter((action) => action >= ACTOR_BASE);
    if (others.length > 0 && (tasks.length === 0 || random(100) < actors)) return others[random(others.length)];
    if (tasks.includes(before) && random(100) < stay) return before;
    before = tasks[random(tasks.length)];
    return before;
  };
}

/**
 * Probabilistic concurrency testing: the task of the highest priority runs; at `depth` − 1 random moments among the first `steps` the one that runs falls
 * below all others. Finds a bug of `depth` ordering constraints among k tasks with probability at least 1 / (k · steps^(depth − 1)).
 */
export function choosePct(seed: number, { depth = 3, steps = 500, actors = 5 } = {}): Choose {
  const random = randomNumbers(seed);
  const priorities = new Map<Action, number>();
  const changes = new Set(Array.from({ length: depth - 1 }, () => random(steps)));
  let low = 0;
  let n = 0;
  return (actions) => {
    const tasks = actions.filter((action) => action < ACTOR_BASE);
    const others = actions.filter((action) => action >= ACTOR_BASE);
    if (others.length > 0 && (tasks.length === 0 || random(100) < actors)) return others[random(others.length)];
    for (const task of tasks) if (!priorities.has(task)) priorities.set(task, 1 + random(1_000_000));
    const highest = (): Action => tasks.reduce((best, task) => ((priorities.get(task) as number) > (priorities.get(best) as number) ? task : best));
    if (changes.has(n++)) priorities.set(highest(), --low);
    return highest();
  };
}

/** The actions of a schedule; where one may not happen (the tasks are others than those it was recorded with), the first that may. */
export function chooseRecorded(schedule: readonly Action[]): Choose {
  let n = 0;
  return (actions) => {
    while (n < schedule.length) {
      const action = schedule[n++];
      if (actions.includes(action)) return action;
    }
    return actions[0];
  };
}
