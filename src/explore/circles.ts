/**
 * States from which nothing leads to an end any more: circles that a run can go round in for ever, and cannot leave (I27).
 *
 * A search that goes depth first knows, when it leaves a state for good, whether that is the first of a strongly connected component (Tarjan), and whether any
 * action leads out of the component: to an end, to a broken rule, or to a state that was left before, from where an end can be reached, or it would have
 * been reported. A component that none leads out of is a livelock, whoever goes when.
 *
 * Invariants: asked only by searches of all schedules that see every action of every state. What is kept is by the depth of the way; beyond it only states
 * of components that are not complete yet, of which there are none where states come back to none before them.
 */

const keyOf = (low: number, high: number): string => `${low},${high}`;

export class Circles {
  /** States that were met: each has the number of those before it. */
  #met = 0;
  /** By depth: the state's number, the least number of an open state that is reached from there, whether anything leads out, how many states were open when it was met. */
  readonly #number: number[] = [];
  readonly #least: number[] = [];
  readonly #out: boolean[] = [];
  readonly #opened: number[] = [];
  /** States that were left while their component was not complete: key → number. */
  readonly #open = new Map<string, number>();
  readonly #keys: string[] = [];

  /** A state is met at a depth for the first time. */
  meet(depth: number): void {
    this.#number[depth] = this.#met;
    this.#least[depth] = this.#met++;
    this.#out[depth] = false;
    this.#opened[depth] = this.#keys.length;
  }

  /** An action from the state at a depth leads out of all that is open. */
  leadsOut(depth: number): void {
    this.#out[depth] = true;
  }

  /** It leads back to the state at another depth of the way. */
  leadsBack(depth: number, to: number): void {
    this.#reaches(depth, this.#number[to]);
  }

  /** It leads to a state that was left before. */
  leadsTo(depth: number, low: number, high: number): void {
    const number = this.#open.size === 0 ? undefined : this.#open.get(keyOf(low, high));
    if (number === undefined) this.leadsOut(depth);
    else this.#reaches(depth, number);
  }

  /** Whether anything leads out of what is open at a depth. Asked for states above those that were searched (subtrees.ts). */
  hasWayOut(depth: number): boolean {
    return this.#out[depth];
  }

  #reaches(depth: number, number: number): void {
    if (number < this.#least[depth]) this.#least[depth] = number;
  }

  /** The state at a depth, the last of the way, is left for good. True when its component is complete and nothing leads out of it. */
  leave(depth: number, low: number, high: number): boolean {
    const least = this.#least[depth];
    const out = this.#out[depth];
    if (out && depth > 0) this.#out[depth - 1] = true;
    if (least < this.#number[depth]) {
      this.#reaches(depth - 1, least);
      const key = keyOf(low, high);
      this.#open.set(key, this.#number[depth]);
      this.#keys.push(key);
      return false;
    }
    while (this.#keys.length > this.#opened[depth]) this.#open.delete(this.#keys.pop() as string);
    return !out;
  }
}
