export interface Descriptor<A extends unknown[] = number[]> {
  readonly id: number;
  readonly name: string;
  readonly params?: A;
}
