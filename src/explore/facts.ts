/**
 * What is known of who touches which places, how, and with which locks held: what hiding of operations stands on (reduction.ts).
 *
 * Invariants: facts only become more (kinds of touches) or weaker (locks that were held at every touch); `freeze` makes what is known now the ground of
 * `clashes`, and whatever is noted afterwards and could have made a difference sets `contradicted`.
 */
import { HELD_FOLIO, HELD_SPIN, HELD_VMA, HELD_WRITE } from '../kernel/lockdep.ts';
import { Task, type TaskRef } from '../kernel/task.ts';
import { heap } from '../memory/state.ts';
import { CLASH, footprint, KINDS, TLB, WRITE } from './footprint.ts';

/** Kinds that clash with a kind, whichever of the two is moved. */
const EITHER = CLASH.map((set, kind) => CLASH.reduce((found, other, k) => (((other >>> kind) & 1) !== 0 ? found | (1 << k) : found), set));

/** A lock as it is held: its number, and 1 more when nobody else can hold it. */
const tokenOf = (lock: number, mode: number): number =>
  2 * (mode === HELD_FOLIO ? lock + 2 ** 33 : mode === HELD_VMA ? lock + 2 ** 34 : lock) +
  (mode === HELD_SPIN || mode === HELD_WRITE || mode === HELD_FOLIO ? 1 : 0);

/** Sets of locks by number: 0 is the empty one. */
class LockSets {
  readonly #sets: number[][] = [[]];
  readonly #numbers = new Map<string, number>([['', 0]]);
  readonly #common = new Map<number, number>();

  number(tokens: readonly number[]): number {
    const set = [...new Set(tokens)].sort((a, b) => a - b);
    const key = set.join();
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#sets.length;
      this.#sets.push(set);
      this.#numbers.set(key, number);
    }
    return number;
  }

  /** Locks that both hold: alone where both do. */
  common(a: number, b: number): number {
    if (a === b) return a;
    const key = a * 65536 + b;
    let number = this.#common.get(key);
    if (number === undefined) {
      const other = this.#sets[b];
      const shared = (token: number): number => token - (token & 1);
      number = this.number(
        this.#sets[a].flatMap((token) => (other.includes(token) ? [token] : other.some((t) => shared(t) === shared(token)) ? [shared(token)] : [])),
      );
      this.#common.set(key, number);
    }
    return number;
  }

  /** Whether who holds one set keeps away who holds the other: they share a lock that one of them holds alone. */
  exclude(a: number, b: number): boolean {
    return this.keepAway(this.#sets[a], [b]);
  }

  /** Whether one lock of a set keeps away whoever holds any of the others. */
  keepAway(tokens: readonly number[], others: readonly number[]): boolean {
    return tokens.some((token) =>
      others.every((other) => {
        const shared = token - (token & 1);
        return this.#sets[other].some((t) => t - (t & 1) === shared && ((t | token) & 1) !== 0);
      }),
    );
  }

  get(number: number): readonly number[] {
    return this.#sets[number];
  }
}

/** Facts as plain data, for other threads and for files. */
export interface FactsDump {
  readonly actors: number;
  /** Who did what nothing is known of, as bits. */
  readonly wild: number;
  /** One after the other: place, kind, actor, number of locks, locks. */
  readonly touches: readonly number[];
}

/** Rows that there is room for at first. */
const ROOM = 256;

export class Facts {
  readonly #actors: number;
  /** Place → its row. */
  readonly #rows = new Map<number, number>();
  /** By row and kind: who, as bits. */
  #who = new Int32Array(ROOM * KINDS);
  /** By row, kind and actor: number of the set of locks that were held at each of these touches. */
  #locks: Uint16Array<ArrayBuffer>;
  readonly #sets = new LockSets();
  /** The same, and who clashes with a kind at a place, as it was known at `freeze`. */
  #frozenWho = new Int32Array(0);
  #frozenLocks = new Uint16Array(0);
  #clash = new Int32Array(0);
  /** Answers that were given: by row, kind, actor and set of locks. */
  readonly #answers = new Map<number, boolean>();
  /** Who did what nothing is known of: it may touch anything. */
  #wild = 0;
  #frozenWild = 0;
  /** CPUs that were seen to fill in translations. */
  filled = 0;
  /** Whether something was noted that clashes with what was known. */
  contradicted = false;
  /** By task: its locks when it was asked last, and the number of their set. */
  readonly #held: { tokens: number[]; set: number }[] = [];

  /** `actors`: tasks, CPUs, and what runs on none of these: at most 32. */
  constructor(actors: number) {
    this.#actors = actors;
    this.#locks = new Uint16Array(ROOM * KINDS * actors);
  }

  /** What is known, or (`frozen`) what was known at `freeze`. */
  dump(frozen = false): FactsDump {
    const [who, locks] = frozen ? [this.#frozenWho, this.#frozenLocks] : [this.#who, this.#locks];
    const touches: number[] = [];
    for (const [place, row] of this.#rows)
      for (let at = row * KINDS; at < Math.min(who.length, (row + 1) * KINDS); at++)
        for (let actor = 0; actor < this.#actors; actor++) {
          if (((who[at] >>> actor) & 1) === 0) continue;
          const held = this.#sets.get(locks[at * this.#actors + actor]);
          touches.push(place, at % KINDS, actor, held.length, ...held);
        }
    return { actors: this.#actors, wild: frozen ? this.#frozenWild : this.#wild, touches };
  }

  /** Notes all that is in a dump. The order in which dumps are taken makes no difference. */
  take({ wild, touches }: Pick<FactsDump, 'wild' | 'touches'>): void {
    if ((wild & ~this.#wild) !== 0) this.contradicted = true;
    this.#wild |= wild;
    for (let i = 0; i < touches.length; ) {
      const [place, kind, actor, count] = touches.slice(i, i + 4);
      i += 4 + count;
      this.#add(place, kind, actor, this.#sets.number(touches.slice(i - count, i)));
    }
  }

  get places(): number {
    return this.#rows.size;
  }

  freeze(): void {
    this.contradicted = false;
    this.#frozenWild = this.#wild;
    const size = this.#rows.size * KINDS;
    this.#frozenWho = this.#who.slice(0, size);
    this.#frozenLocks = this.#locks.slice(0, size * this.#actors);
    this.#clash = new Int32Array(size);
    for (let at = 0; at < size; at++) this.#clash[at] = this.#whoIn(at - (at % KINDS), CLASH[at % KINDS]);
    this.#answers.clear();
    this.filled = 0;
    for (let cpu = 0; cpu < 32; cpu++) {
      const row = this.#rows.get(TLB + cpu);
      if (row !== undefined && this.#who[row * KINDS + WRITE] !== 0) this.filled |= 1 << cpu;
    }
  }

  /** Who touched the place of a row (its first word) in some of these kinds. */
  #whoIn(first: number, kinds: number): number {
    let found = 0;
    for (let kind = 0; kind < KINDS; kind++) if (((kinds >>> kind) & 1) !== 0) found |= this.#who[first + kind];
    return found;
  }

  /** The set of locks that a task holds; hardware holds none. */
  #setOf(actor: number, task: TaskRef): number {
    if (task === 0) return 0;
    const count = heap[task + Task.heldCount];
    if (count === 0) return 0;
    const known = this.#held[actor];
    let same = known !== undefined && known.tokens.length === count;
    const tokens: number[] = [];
    for (let i = 0; i < count; i++) {
      tokens.push(tokenOf(heap[task + Task.held + i], heap[task + Task.modes + i]));
      if (same && known.tokens[i] !== tokens[i]) same = false;
    }
    if (!same) this.#held[actor] = { tokens, set: this.#sets.number(tokens) };
    return this.#held[actor].set;
  }

  /** Whether the footprint at hand clashes with what others were known to touch. Unless `locks`, a lock that keeps them away is no excuse. */
  clashes(actor: number, task: TaskRef, locks = true): boolean {
    const others = ~(1 << actor);
    if (footprint.everything || footprint.pinned || (this.#frozenWild & others) !== 0) return true;
    for (let i = 0; i < footprint.count; i++) {
      const row = this.#rows.get(footprint.places[i]);
      if (row === undefined || row * KINDS >= this.#clash.length) continue;
      const kind = footprint.kinds[i];
      if ((this.#clash[row * KINDS + kind] & others) !== 0 && !(locks && this.#kept(row, kind, actor, this.#setOf(actor, task)))) return true;
    }
    return false;
  }

  /** Whether a lock that is held now keeps away all who clash. */
  #kept(row: number, kind: number, actor: number, set: number): boolean {
    if (set === 0) return false;
    const key = ((row * KINDS + kind) * 32 + actor) * 65536 + set;
    let answer = this.#answers.get(key);
    if (answer === undefined) {
      const theirs: number[] = [];
      for (let k = 0; k < KINDS; k++)
        if (((CLASH[kind] >>> k) & 1) !== 0)
          for (let a = 0; a < this.#actors; a++)
            if (a !== actor && ((this.#frozenWho[row * KINDS + k] >>> a) & 1) !== 0) theirs.push(this.#frozenLocks[(row * KINDS + k) * this.#actors + a]);
      answer = this.#sets.keepAway(this.#sets.get(set), theirs);
      this.#answers.set(key, answer);
    }
    return answer;
  }

  /** Notes the footprint at hand; `task` 0 for hardware. */
  note(actor: number, task: TaskRef): void {
    if (footprint.everything && ((this.#wild >>> actor) & 1) === 0) {
      this.#wild |= 1 << actor;
      this.contradicted = true;
    }
    if (footprint.count === 0) return;
    const set = this.#setOf(actor, task);
    for (let i = 0; i < footprint.count; i++) this.#add(footprint.places[i], footprint.kinds[i], actor, set);
  }

  #add(place: number, kind: number, actor: number, set: number): void {
    let row = this.#rows.get(place);
    if (row === undefined) row = this.#newRow(place);
    const at = row * KINDS + kind;
    const lock = at * this.#actors + actor;
    if (((this.#who[at] >>> actor) & 1) !== 0) {
      const before = this.#locks[lock];
      if (before === set || before === 0) return;
      const now = this.#sets.common(before, set);
      if (now === before) return;
      this.#locks[lock] = now;
    } else {
      this.#who[at] |= 1 << actor;
      this.#locks[lock] = set;
      // Where no translations were, flushes told of none.
      if (kind === WRITE && place >= TLB && place < TLB + 32 && ((this.filled >>> (place - TLB)) & 1) === 0) this.contradicted = true;
    }
    if ((this.#whoIn(row * KINDS, EITHER[kind]) & ~(1 << actor)) !== 0) this.contradicted = true;
  }

  #newRow(place: number): number {
    const row = this.#rows.size;
    this.#rows.set(place, row);
    if ((row + 1) * KINDS > this.#who.length) {
      const who = new Int32Array(2 * this.#who.length);
      who.set(this.#who);
      this.#who = who;
      const locks = new Uint16Array(2 * this.#locks.length);
      locks.set(this.#locks);
      this.#locks = locks;
    }
    return row;
  }
}
