// biome-ignore-all lint/suspicious/noConfusingLabels: labels are what is tried here
// biome-ignore-all lint/suspicious/useDefaultSwitchClauseLast: so is this
// biome-ignore-all lint/suspicious/noFallthroughSwitchClause: and this
// biome-ignore-all lint/complexity/noCommaOperator: and this
// biome-ignore-all lint/correctness/useYield: and this
/** One function for each construct of the dialect. Every one takes two numbers. */
import type { Op } from './op.ts';
import * as ops from './ops.ts';
import { addWord, compareExchange, readWord, tick, writeWord } from './ops.ts';
import { clampIndex, memory } from './state.ts';

const Field = Object.freeze({ start: 3, end: 4 });

function isOdd(value: number): boolean {
  return (value & 1) === 1;
}

function sum(a: number, b: number, c: number): number {
  return a + 2 * b + 4 * c;
}

function* twice(value: number): Op<number> {
  return 2 * (yield* addWord(9, value));
}

/** Never waits. */
function* plainInside(value: number): Op<number> {
  return value + 1;
}

function* odd(value: number): Op<boolean> {
  yield* tick();
  return isOdd(value);
}

function* nothing(value: number): Op {
  if (value > 3) return;
  yield* writeWord(5, value);
}

export function* operandsInOrder(a: number, b: number): Op<number> {
  return (yield* addWord(1, a)) + memory[1] * (yield* addWord(1, b)) + memory[1] + (yield* tick());
}

export function* localReadBeforeChange(a: number, b: number): Op<number> {
  let x = a;
  return x + (yield* addWord(1, (x = b))) + x * (yield* addWord(2, x++)) + x;
}

export function* compoundAssignment(a: number, b: number): Op<number> {
  let x = a;
  x += yield* addWord(1, b);
  x -= (yield* readWord(1)) + x;
  x *= (x = 3) + (yield* tick());
  x ||= yield* twice(b);
  x &&= yield* twice(a);
  memory[x & 7] += yield* addWord(x & 7, 5);
  memory[clampIndex(x++)] = (yield* tick()) + x;
  memory[3] ||= yield* readWord(9);
  memory[4] &&= (yield* readWord(9)) + 1;
  const y = (memory[7] = yield* twice(1));
  memory[(yield* readWord(9)) & 7]++;
  return x + y + memory[(yield* readWord(9)) & 7];
}

export function* shortCircuit(a: number, b: number): Op<number> {
  let n = 0;
  if (a > 1 && (yield* addWord(1, 1)) > 0 && b > 2) n += 1;
  if (a > 1 || (yield* addWord(2, 1)) > 0 || (yield* addWord(3, 1)) > 0) n += 2;
  if (!(a > 1 && !((yield* addWord(4, 1)) > 0 || b > 2))) n += 4;
  const x = a && (yield* addWord(5, 7));
  const y = b || (yield* addWord(5, 9));
  if (a > b) yield* twice(1);
  a > 2 && (yield* twice(4));
  b > 2 || (yield* twice(5));
  return n + 8 * x + 64 * y;
}

export function* conditional(a: number, b: number): Op<number> {
  const x = a > b ? yield* twice(a) : b;
  const y = (yield* readWord(9)) > 4 ? x : a === b ? yield* twice(2) : 3;
  a > 1 ? yield* writeWord(1, 1) : yield* writeWord(2, 2);
  let z = x;
  z = z > 3 ? z + (yield* twice(z)) : z;
  z = z && z + (yield* tick());
  // What is written must not be what the right side still reads.
  z = b && z + (yield* tick());
  z = (yield* readWord(2)) || (yield* addWord(6, z)) + z;
  return x + y * 10 + z;
}

export function* booleans(a: number, b: number): Op<number> {
  const big = a > 2;
  let same = a === b;
  yield* tick();
  if (big === b > 2) yield* writeWord(1, 1);
  if (same !== isOdd(b)) yield* writeWord(2, 1);
  same = !big;
  yield* tick();
  if ((yield* odd(a)) === isOdd(a)) yield* writeWord(3, 1);
  if (same === !big && (yield* odd(b)) === odd_(b)) yield* writeWord(4, 1);
  const grown = a !== 0 && (yield* odd(a));
  return grown ? (same ? 1 : 2) : 3;
}

const odd_ = (value: number): boolean => value % 2 !== 0;

export function* loops(a: number, b: number): Op<number> {
  let n = 0;
  while (n < a) n += yield* plainInside(0);
  do {
    if (n > 6) continue;
    n += 2;
    if (n === 5) break;
  } while ((yield* addWord(1, 1)) < b);
  for (let i = 0; i < 3; i++) {
    if (i === b) continue;
    for (let j = i; ; j += yield* plainInside(j)) {
      if (j > 5) break;
      n += yield* addWord(2, j);
    }
  }
  for (let i = 0, j = yield* tick(); i < j && i < 3; i++, j--) n += i;
  for (let i = 0; i < a; i++) {
    let fresh = 0;
    fresh += yield* addWord(3, fresh + i);
    n += fresh;
  }
  for (; n < 100; ) {
    n += 50;
    if (n > 60) return n + (yield* tick());
  }
  for (;;) {
    yield* tick();
    break;
  }
  return n;
}

export function* labels(a: number, b: number): Op<number> {
  let n = 0;
  out: {
    n = 1;
    if (a > 2) break out;
    yield* tick();
    if (b > 2) break out;
    n = 2;
    inner: {
      yield* tick();
      if (a === b) break out;
      if (a > b) break inner;
      n += 10;
    }
    n += 100;
  }
  outer: for (let i = 0; i < 4; i++) {
    for (let j = 0; j < 4; j++) {
      if (j === a) continue outer;
      if (i + j === 5) break outer;
      n += yield* addWord(1, j);
      quick: for (let k = 0; k < 3; k++) {
        for (let l = 0; l < 3; l++) {
          if (l === k) continue quick;
          if (k === b) break quick;
          if (i === 2) continue outer;
          n++;
        }
      }
    }
  }
  single: if (yield* readWord(1)) {
    if (a < b) break single;
    n += 1000;
  }
  return n;
}

export function* switches(a: number, b: number): Op<number> {
  let n = 0;
  switch (a) {
    // @ts-expect-error: it falls through
    case 0:
      n += yield* addWord(1, 1);
    case 1: {
      const x = b + 1;
      n += x;
      break;
    }
    // @ts-expect-error: it falls through
    default:
      n += 100;
    case 2:
      n += yield* addWord(2, 2);
      if (b > 2) break;
      n += 3;
  }
  switch (yield* readWord(2)) {
    case Field.start:
    case 2:
      n++;
  }
  const text = n;
  switch (text) {
    case yield* plainInside(4):
      n += 7;
      break;
    case (yield* addWord(3, 1)) + 1:
      n += 8;
  }
  for (let i = 0; i < 3; i++) {
    switch (i) {
      case 0:
        continue;
      case 1:
        yield* tick();
        break;
      default:
        return n + i;
    }
    switch (b) {
      case 3:
        continue;
      case 4:
        return n;
      default:
        break;
    }
    n += 1000;
  }
  return n;
}

export function* shadows(a: number, b: number): Op<number> {
  const x = a;
  let n = x;
  {
    const x = yield* addWord(1, b);
    n += x;
    for (let a = x; a < x + 2; a++) {
      const x = a + (yield* tick());
      n += x;
    }
    if (b > 1) {
      const b = 7;
      n += b;
    }
    n += x;
  }
  const memoryOfName = n;
  return n + x + a + memoryOfName;
}

export function* callsAnywhere(a: number, b: number): Op<number> {
  const x = sum(yield* twice(a), memory[9], yield* twice(memory[9]));
  memory[clampIndex(yield* twice(b))] = sum(a, yield* twice(1), memory[9]);
  yield* nothing(a);
  yield* twice(yield* twice(yield* plainInside(b)));
  yield* compareExchange(yield* readWord(9), memory[9], clampIndex(yield* tick()), Field.end);
  const y = yield* ops.readWord((yield* ops.readWord(9)) & 7);
  const z = (yield* twice(1), yield* twice(2), memory[9]);
  return x - -y + ~(yield* tick()) + +z;
}

export function* uninitialised(a: number, b: number): Op<number> {
  let x: number;
  let y: number, z: number;
  if (a > b) x = yield* tick();
  else x = 2;
  y = z = yield* readWord(a);
  z++;
  return x + y * z;
}

export function* returnsEarly(a: number, b: number): Op<number> {
  if (a > 3) return yield* twice(b);
  if (a > 2) return a;
  for (let i = 0; i < 5; i++) if (i === b) return i;
  while (a < 2) {
    if (b > 1) return (yield* tick()) + 1;
    return 9;
  }
  return 0;
}

/** Depth is counted down; each level waits before and after. */
export function* recursive(a: number, b: number): Op<number> {
  if (a <= 0) return b;
  const before = yield* addWord(1, a);
  const below = yield* recursive(a - 1, b + before);
  return below + (yield* addWord(2, below));
}

export function* largeNumbers(a: number, b: number): Op<number> {
  const vpn = a * 2 ** 40 + b;
  const half = vpn / 2;
  const negative = -vpn;
  yield* writeWord(1, vpn % 1000);
  yield* writeWord(2, half);
  return vpn + half - negative;
}

export function* throwsPlain(a: number, b: number): Op<number> {
  const x = yield* readWord(a);
  if (x === b) throw failure(x);
  return x;
}

const failure = (x: number): Error => new Error(`word is ${x}`);

/** Both sides may be a boolean or the number that a stored one became. */
export function* comparesMixed(a: number, b: number): Op<number> {
  const odd = isOdd(yield* readWord(b));
  if ((a < 3 && odd) === isOdd(a)) return 10 * a + b;
  return yield* readWord(a);
}
