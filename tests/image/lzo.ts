/** LZO1X streams for tests: written from a list of instructions, so that every form of one is met, or from data. */

/** How a match is written; each form has its own reach and lengths. */
export type MatchForm = 'short' | 'after-run' | 'm2' | 'm3' | 'm4';

export interface Step {
  readonly literals: Uint8Array;
  /** After the literals; absent in the last step. */
  readonly match?: { readonly form: MatchForm; readonly distance: number; readonly length: number };
}

/** What a form can say; `state` is the number of literals before it, 4 for a run of four or more. */
export const FORMS: Readonly<Record<MatchForm, { state: readonly number[]; distance: readonly [number, number]; length: readonly [number, number] }>> = {
  short: { state: [1, 2, 3], distance: [1, 1024], length: [2, 2] },
  'after-run': { state: [4], distance: [2049, 3072], length: [3, 3] },
  m2: { state: [0, 1, 2, 3, 4], distance: [1, 2048], length: [3, 8] },
  m3: { state: [0, 1, 2, 3, 4], distance: [1, 16384], length: [3, 1 << 16] },
  m4: { state: [0, 1, 2, 3, 4], distance: [16385, 49151], length: [3, 1 << 16] },
};

/** What the instructions mean. */
export function expand(steps: readonly Step[]): Uint8Array {
  const out: number[] = [];
  for (const { literals, match } of steps) {
    for (const byte of literals) out.push(byte);
    for (let i = 0; match && i < match.length; i++) out.push(out[out.length - match.distance]);
  }
  return Uint8Array.from(out);
}

/** The stream of the instructions. The first step needs literals. */
export function encodeLzo(steps: readonly Step[]): Uint8Array {
  const out: number[] = [];
  /** Where the two bits for the literals after a match stand. */
  let tail = -1;
  for (const { literals, match } of steps) {
    if (literals.length > 3 && tail >= 0) run(out, literals.length);
    else if (tail < 0 && literals.length > 0 && literals.length < 239) out.push(17 + literals.length);
    else if (tail < 0 && literals.length > 0) run(out, literals.length);
    else if (tail >= 0) out[tail] |= literals.length;
    for (const byte of literals) out.push(byte);
    if (match) tail = write(out, match);
  }
  return Uint8Array.from([...out, 17, 0, 0]);
}

function run(out: number[], length: number): void {
  if (length <= 18) out.push(length - 3);
  else {
    out.push(0);
    long(out, length - 18);
  }
}

function long(out: number[], rest: number): void {
  let left = rest;
  for (; left > 255; left -= 255) out.push(0);
  out.push(left);
}

function write(out: number[], { form, distance, length }: { form: MatchForm; distance: number; length: number }): number {
  if (form === 'short' || form === 'after-run') {
    const d = distance - (form === 'short' ? 1 : 2049);
    return out.push((d & 3) << 2, d >> 2) - 2;
  }
  if (form === 'm2') return out.push(((length - 1) << 5) | (((distance - 1) & 7) << 2), (distance - 1) >> 3) - 2;
  const d = form === 'm3' ? distance - 1 : distance - 16384;
  const most = form === 'm3' ? 33 : 9;
  out.push((form === 'm3' ? 32 : 16 | ((d >> 14) << 3)) | (length <= most ? length - 2 : 0));
  if (length > most) long(out, length - most);
  return out.push((d & 63) << 2, (d >> 6) & 0xff) - 2;
}

/** Compresses by repeating bytes and equal stretches 64 bytes back: enough to make pages smaller. */
export function lzoOf(data: Uint8Array): Uint8Array {
  const steps: Step[] = [];
  let from = 0;
  for (let at = 1; at < data.length; ) {
    const found = [1, 64].map((distance) => ({ distance, length: same(data, at, distance) })).sort((a, b) => b.length - a.length)[0];
    if (found.length < 8) at++;
    else {
      steps.push({ literals: data.subarray(from, at), match: { form: 'm3', ...found } });
      at += found.length;
      from = at;
    }
  }
  return encodeLzo([...steps, { literals: data.subarray(from) }]);
}

function same(data: Uint8Array, at: number, distance: number): number {
  if (distance > at) return 0;
  let n = 0;
  while (at + n < data.length && data[at + n] === data[at + n - distance]) n++;
  return n;
}
