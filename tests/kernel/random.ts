/** A small generator of random numbers (xoshiro128**, seeded through splitmix32): the same seed gives the same numbers everywhere. */
export class Random {
  readonly #s = new Uint32Array(4);

  constructor(seed: string | number) {
    let h = 0x9e3779b9;
    for (const c of String(seed)) h = Math.imul(h ^ c.charCodeAt(0), 0x85ebca6b) ^ (h >>> 13);
    for (let i = 0; i < 4; i++) {
      h = (h + 0x9e3779b9) | 0;
      let x = h ^ (h >>> 16);
      x = Math.imul(x, 0x21f0aaad);
      x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
      this.#s[i] = x ^ (x >>> 15);
    }
  }

  /** 32 random bits. */
  bits(): number {
    const s = this.#s;
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** 0 … n-1. */
  below(n: number): number {
    return Math.floor((this.bits() / 2 ** 32) * n);
  }

  /** low … high, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.bits() / 2 ** 32 < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  /** One of the pairs' first elements, by the weights that stand second. */
  weighted<const T>(...pairs: readonly (readonly [T, number])[]): T {
    let x = (this.bits() / 2 ** 32) * pairs.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [value, weight] of pairs) if ((x -= weight) < 0) return value;
    return pairs[pairs.length - 1][0];
  }
}
