/** Guards: which lock must be held to touch a field. Checked in step and native runs when switched on. */

export let checking = false;
type Check = (ref: number, field: number, write: boolean) => void;
let check: Check = () => undefined;

/** Switches checks on with a function that throws at a violation, or off. */
export function setGuardCheck(next: Check | undefined): void {
  checking = next !== undefined;
  check = next ?? (() => undefined);
}

export function checkAccess(ref: number, field: number, write: boolean): void {
  if (checking) check(ref, field, write);
}
