/** A rule of kernel code that was broken while it ran: what a checked run throws. */

/**
 * `rule` is an invariant of the catalogue of races (I4, I21, I22 …). The sentence says who did what to which object; the scheduler adds when.
 */
export class KernelBug extends Error {
  readonly rule: string;

  constructor(rule: string, sentence: string) {
    super(`${rule}: ${sentence}`);
    this.name = 'KernelBug';
    this.rule = rule;
  }
}
