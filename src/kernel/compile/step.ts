export function toStep(): never {
  throw new Error('not yet');
}
