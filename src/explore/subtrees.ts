/**
 * Large searches in parts: subtrees below beginnings of runs, searched by whoever has time, on machines that do not talk to each other, or tomorrow.
 *
 * Why the parts together find what the whole search finds. The search goes depth first, and turns back where it has been; runs are ordered by the first
 * action in which they differ, in the order in which the search tries the actions there, which hangs on nothing but the way there. Let P be the first of all
 * runs that break a rule and meet no state twice (with a bound on preemptions: no state with the same task last).
 *  1. The search finds P, and nothing before it. What it finds is such a run, so not before P. And were it to turn back on P at a state v, it would have met v
 *     on a run Q before P (with no more preemptions). Q to v and then the rest of P breaks the rule too, and it contains a run that meets no state twice and
 *     lies before P: one that leaves P where Q did, since the ways to there are the same and v's rest of P avoids them. P was not the first.
 *  2. The argument asks only that whoever turns back has met the state on an earlier run. So it holds for the search below a beginning of P, with an empty
 *     table or with one in which subtrees that come earlier left what they met. It holds for the list of beginnings, which a search made that was cut
 *     off at a depth: what it dropped, it had met on an earlier way. Hence the part that P belongs to finds P; other parts find nothing before P; of what all
 *     parts find the first is P. Its rule, its message and its preemptions are P's.
 *  3. Put a state for the broken rule: the first run to each state is found by the part that it belongs to. So the parts' states together are the states of the
 *     whole search; when P ends it, those of subtrees up to P's own, which met exactly the states whose first run comes before P. A state counts once:
 *     parts hand over what they met, and `Union` puts that together.
 *  4. A bound cuts something off when a branch of a state costs too much from the fewest preemptions with which it can be met. Both are the state's own.
 *  5. One rule hangs on the ways that were gone: ways that come back to themselves (I27, livelock). A part goes ways that the whole search does not, and may
 *     find such a circle where the whole search is blind to it: it is what the whole search finds when the state that closes it was met by no earlier subtree;
 *     else the search is made as a whole (`unsettled`). States from which nothing leads to an end (circles.ts) are found by the first part that meets them,
 *     when they all lie below its beginning; where all below a beginning leads back above it, only the whole search can tell.
 *  6. What is hidden (reduction.ts) follows from the state and from facts that are the same for all parts: what the whole search stood on when it was split. All
 *     of the above is said of that search. When what is learned on the way contradicts that, the search is made anew from there on: so does a chain of parts, each
 *     of which knows what all before it met and learned (`again`). Parts that do not know of each other learn the same, but not when: together they
 *     tell that the search is to be made anew, not what it stands on then (`unsettled`).
 *
 * What splitting is good for: a search that was stopped goes on where it was, and parts take memory one after the other. It does not make a search faster: where
 * tasks commute, the first subtree reaches nearly all states, and every part that does not know what earlier ones met goes there again (E28 in two parts
 * with tables of their own: each makes 98% of the transitions of the whole). So one worker does all subtrees of a search with one table, unless it is told otherwise.
 */
import type { Action } from '../kernel/scheduler.ts';
import { Facts, type FactsDump } from './facts.ts';
import { Reduction } from './reduction.ts';
import type { Scenario } from './scenario.ts';
import { beginnings, CUT, FRESH, PREEMPTIONS, type Progress, type SearchResult, search, type Violation } from './search.ts';
import type { Staged } from './stage.ts';
import { Visited } from './visited.ts';

/** Subtrees into which a search is split. */
export const SUBTREES = 64;
/** Actions that a beginning may have. */
const DEEPEST = 200;

/** How a search is split. Plain data. */
export interface Split {
  /** It cannot be: what it hides contradicts what it stands on. There is one beginning then, that of all runs. */
  readonly contradicted: boolean;
  /** At least as many as were asked for (fewer where there are no more), in the order of the search. */
  readonly beginnings: readonly (readonly Action[])[];
  /** Of the states on the ways there: searches that do not agree in it are of different kernels. */
  readonly digest: string;
}

/** Splits a search, which stands on `ground` (undefined where it hides nothing). The same for whoever asks. */
export function splitSearch(scenario: Scenario, staged: Staged, bound: number, ground?: FactsDump, count = SUBTREES): Split {
  let found: Action[][] = [[]];
  let visited = new Visited();
  let contradicted = false;
  for (let depth = 1; depth <= DEEPEST && found.length < count && !contradicted; depth++) {
    visited = new Visited();
    const reduction = reductionOn(staged, ground);
    found = beginnings(scenario, staged, depth, { preemptions: bound, visited, ...(reduction ? { reduction } : {}) });
    contradicted = reduction?.contradicted === true;
    // Nothing is that deep: there is nothing more to split.
    if (found.every((beginning) => beginning.length < depth)) break;
  }
  let [low, high] = [0, 0];
  visited.forEach((l, h) => {
    low = (low + l) >>> 0;
    high = (high + h) >>> 0;
  });
  return {
    contradicted,
    beginnings: contradicted ? [[]] : found,
    digest: `${found.length}-${high.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}`,
  };
}

/** What a search hides when it stands on facts. */
function reductionOn({ stage, scheduler }: Staged, ground: FactsDump | undefined): Reduction | undefined {
  if (ground === undefined) return undefined;
  stage.machine.enter();
  const facts = new Facts(ground.actors);
  facts.take(ground);
  const reduction = new Reduction(scheduler, facts);
  reduction.begin();
  return reduction;
}

/** What the search of a subtree found. Plain data. */
export interface SubtreeResult {
  /** Its number in the order of the search, from 0. */
  readonly number: number;
  /**
   * `contradicted`: the search hides what it should not, and has to be made again with what it learned. `unclear`: all of it leads back above
   * its beginning: the search has to be made as a whole.
   */
  readonly verdict: 'done' | 'violation' | 'stopped' | 'contradicted' | 'unclear';
  /** Whether some way came back to itself. */
  readonly circular?: boolean;
  readonly violation?: Violation;
  /** States that its table did not have before, three words each: hash low, hash high, fewest preemptions and whether the bound cuts something off there. */
  readonly set: Int32Array<ArrayBuffer>;
  readonly transitions: number;
  /** What it has learned that neither the ground nor subtrees before it in the same searcher knew. */
  readonly learned?: Pick<FactsDump, 'wild' | 'touches'>;
}

export interface SearcherOptions {
  readonly memoryBytes?: number | undefined;
  /** What earlier subtrees met, as `SubtreeResult.set` has it. */
  readonly known?: Int32Array | undefined;
  /** What they learned. */
  readonly learned?: Pick<FactsDump, 'wild' | 'touches'> | undefined;
  /** What the search stands on; undefined where it hides nothing. */
  readonly ground?: FactsDump | undefined;
}

/** Searches subtrees of one search, in ascending order, with one table. */
export class SubtreeSearcher {
  readonly #scenario: Scenario;
  readonly #staged: Staged;
  readonly #bound: number;
  readonly #visited: Visited;
  readonly #reduction: Reduction | undefined;
  /** What is known of the facts, as text. */
  readonly #told = new Map<string, string>();
  #toldWild = 0;

  constructor(scenario: Scenario, staged: Staged, bound: number, { memoryBytes, known, learned, ground }: SearcherOptions = {}) {
    this.#scenario = scenario;
    this.#staged = staged;
    this.#bound = bound;
    this.#visited = new Visited(memoryBytes);
    this.#reduction = reductionOn(staged, ground);
    if (learned) this.#reduction?.facts.take(learned);
    this.#learned();
    for (let i = 0; known !== undefined && i < known.length; i += 3) this.#visited.add(known[i], known[i + 1], known[i + 2]);
  }

  /** After a subtree whose verdict is not `done` there is nothing more to search. */
  run(number: number, beginning: readonly Action[], stop: (progress: Progress) => boolean): SubtreeResult {
    const reduction = this.#reduction;
    const { verdict, violation, transitions, circular, unclear } = search(this.#scenario, this.#staged, {
      preemptions: this.#bound,
      prefix: beginning,
      visited: this.#visited,
      stop,
      ...(reduction ? { reduction } : {}),
    });
    const contradicted = verdict !== 'violation' && reduction?.contradicted === true;
    const found = verdict === 'violation' || verdict === 'stopped' ? verdict : unclear ? 'unclear' : 'done';
    return {
      number,
      verdict: contradicted ? 'contradicted' : found,
      ...(circular ? { circular } : {}),
      ...(violation ? { violation } : {}),
      set: this.#fresh(),
      transitions,
      ...(reduction ? { learned: this.#learned() } : {}),
    };
  }

  /** What of the facts was not told before. */
  #learned(): Pick<FactsDump, 'wild' | 'touches'> {
    if (this.#reduction === undefined) return { wild: 0, touches: [] };
    const { wild, touches } = this.#reduction.facts.dump();
    const news: number[] = [];
    for (let i = 0; i < touches.length; ) {
      const end = i + 4 + touches[i + 3];
      const key = touches.slice(i, i + 3).join();
      const locks = touches.slice(i + 3, end).join();
      if (this.#told.get(key) !== locks) news.push(...touches.slice(i, end));
      this.#told.set(key, locks);
      i = end;
    }
    const newWild = wild & ~this.#toldWild;
    this.#toldWild = wild;
    return { wild: newWild, touches: news };
  }

  /** States that the last search met first. */
  #fresh(): Int32Array<ArrayBuffer> {
    let count = 0;
    this.#visited.forEach((_low, _high, word) => {
      if ((word & FRESH) !== 0) count++;
    });
    const set = new Int32Array(3 * count);
    let top = 0;
    this.#visited.forEach((low, high, word, at) => {
      if ((word & FRESH) === 0) return;
      set[top++] = low;
      set[top++] = high;
      set[top++] = word & (PREEMPTIONS | CUT);
      this.#visited.setWord(at, word & ~FRESH);
    });
    return set;
  }
}

/** Where the number of the first subtree that met a state begins in a word of the union's table. */
const NUMBER = 10;
/** Subtrees that a search may have. */
export const MOST_SUBTREES = 2 ** (31 - NUMBER);

/** The states of all parts, each once. */
export class Union {
  readonly #states: Visited;

  constructor(memoryBytes?: number) {
    this.#states = new Visited(memoryBytes);
  }

  /** True when there was no room for all that was added: it does not count any more. */
  get full(): boolean {
    return this.#states.full;
  }

  /** Adds what a subtree met. The order in which subtrees are added makes no difference. */
  add(number: number, set: Int32Array): void {
    for (let i = 0; i < set.length && !this.#states.full; i += 3) {
      const at = this.#states.find(set[i], set[i + 1]);
      if (at < 0) {
        this.#states.add(set[i], set[i + 1], (number << NUMBER) | set[i + 2]);
        continue;
      }
      const word = this.#states.word(at);
      const costs = word & (PREEMPTIONS | CUT);
      const fewer = (set[i + 2] & PREEMPTIONS) < (costs & PREEMPTIONS) ? set[i + 2] : costs;
      this.#states.setWord(at, (Math.min(number, word >> NUMBER) << NUMBER) | fewer);
    }
  }

  /** All that was added, each state once, for `SubtreeSearcher`. */
  all(): Int32Array<ArrayBuffer> {
    const set = new Int32Array(3 * this.#states.size);
    let top = 0;
    this.#states.forEach((low, high, word) => {
      set[top++] = low;
      set[top++] = high;
      set[top++] = word & (PREEMPTIONS | CUT);
    });
    return set;
  }

  /** States that subtrees up to a number met. */
  count(last = MOST_SUBTREES): number {
    let count = 0;
    this.#states.forEach((_low, _high, word) => {
      if (word >> NUMBER <= last) count++;
    });
    return count;
  }

  /** Whether the bound cuts something off. */
  get cut(): boolean {
    let cut = false;
    this.#states.forEach((_low, _high, word) => {
      cut ||= (word & CUT) !== 0;
    });
    return cut;
  }

  /** Whether a subtree before this one met a state. */
  metBefore(number: number, low: number, high: number): boolean {
    const at = this.#states.find(low, high);
    return at >= 0 && this.#states.word(at) >> NUMBER < number;
  }
}

/** What the parts say together. */
export interface Together extends Pick<SearchResult, 'verdict' | 'violation' | 'states'> {
  /** The parts cannot tell what the whole search finds: it has to be made (5 and 6 above). */
  readonly unsettled: boolean;
  /** Whether some way came back to itself. */
  readonly circular: boolean;
  /** What the search stands on that has to be made in place of this one. */
  readonly again?: FactsDump;
  /** All that is known of the facts then; undefined where nothing is hidden. */
  readonly facts?: FactsDump;
}

/**
 * Puts results of subtrees together. Those that are missing after the first violation do not matter; any other makes it `stopped`. `chain`: each was
 * searched with all that was met and learned before it.
 */
export function together(
  results: readonly Omit<SubtreeResult, 'set'>[],
  count: number,
  union: Union,
  { ground, chain = false }: { readonly ground?: FactsDump | undefined; readonly chain?: boolean } = {},
): Together {
  const sorted = results.toSorted((a, b) => a.number - b.number);
  const at = sorted.findIndex((one) => one.verdict === 'violation');
  const upTo = at < 0 ? sorted : sorted.slice(0, at + 1);
  const facts = ground && new Facts(ground.actors);
  if (ground) facts?.take(ground);
  facts?.freeze();
  for (const { learned } of upTo) if (learned) facts?.take(learned);
  const circular = upTo.some((one) => one.circular);
  const known = { circular, ...(facts ? { facts: facts.dump() } : {}) };
  if (chain && sorted.at(-1)?.verdict === 'contradicted')
    return { verdict: 'stopped', states: 0, unsettled: false, circular, ...(facts ? { again: facts.dump() } : {}) };
  if (upTo.some((one) => one.verdict === 'unclear')) return { verdict: 'stopped', states: 0, unsettled: true, ...known };
  // What contradicts at the very step that breaks a rule comes too late.
  const contradicted = !chain && (facts?.contradicted === true || upTo.some((one) => one.verdict === 'contradicted'));
  const violation = sorted[at]?.violation;
  if (violation) {
    const { number } = sorted[at];
    const blind = violation.cycle !== undefined && union.metBefore(number, violation.cycle.low, violation.cycle.high);
    return { verdict: 'violation', violation, states: union.count(number), unsettled: contradicted || blind, ...known };
  }
  const done = sorted.length === count && sorted.every((one) => one.verdict === 'done') && !union.full;
  return { verdict: !done ? 'stopped' : union.cut ? 'bounded' : 'exhausted', states: union.count(), unsettled: contradicted, ...known };
}
