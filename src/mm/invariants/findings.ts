/** What the checks found: sentences, each with the invariant that it breaks. */

/** So many are kept: the first ones tell what went wrong. */
const MOST = 40;

export class Findings {
  readonly list: string[] = [];
  #more = 0;

  /** Notes a violation of an invariant (`I1`, …). */
  add(invariant: string, sentence: string): void {
    if (this.list.length < MOST) this.list.push(`${invariant}: ${sentence}`);
    else this.#more++;
  }

  /** Notes when two numbers differ that should not. */
  equal(invariant: string, what: string, is: number, expected: number): void {
    // Accounts may be −0.
    if (is !== expected && !(is === 0 && expected === 0)) this.add(invariant, `${what} is ${is}, ${expected} expected`);
  }

  /** Notes when an account is smaller than it must be; larger is wrong too unless `leaks`. */
  account(invariant: string, what: string, is: number, expected: number, leaks: boolean): void {
    if (!leaks || is < expected) this.equal(invariant, what, is, expected);
  }

  get result(): string[] {
    return this.#more === 0 ? this.list : [...this.list, `… and ${this.#more} more`];
  }
}

export const hex = (n: number): string => `0x${n.toString(16)}`;
