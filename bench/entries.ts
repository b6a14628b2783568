/**
 * Canonical entries: nanoseconds to make and to read a page-table entry, warm, beside the cost of taking a canonical number apart at all.
 * `npx tsx bench/entries.ts [mode …]`
 */
import { findMode } from '../src/arch/registry.ts';
import {
  createCodec,
  type EntryCodec,
  makeEntry,
  makeSwapEntry,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_EXEC,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_READ,
  PTE_SOFT_DIRTY,
  PTE_USER,
  PTE_WRITE,
} from '../src/pagetable/canonical.ts';

const N = 4096;
const ROUNDS = 40;

/** What a process's tables hold: mostly anonymous and file pages, some swap entries and holes. */
function sample(): Float64Array {
  const page = PTE_PRESENT | PTE_READ | PTE_USER | PTE_ACCESSED;
  const data = page | PTE_WRITE | PTE_DIRTY;
  const kinds = [data | PTE_SOFT_DIRTY, data, page, page | PTE_EXEC, data | PTE_SOFT_DIRTY, page & ~PTE_ACCESSED, PTE_PRESENT | PTE_PROTNONE | PTE_ACCESSED];
  const out = new Float64Array(N);
  for (let i = 0; i < N; i++) out[i] = i % 16 === 15 ? makeSwapEntry(2, i) : i % 8 === 6 ? 0 : makeEntry(i * 7 + 1, kinds[i % kinds.length]);
  return out;
}

/** Best of several rounds over all entries, in nanoseconds an entry. */
function best(round: () => number): number {
  let least = Number.POSITIVE_INFINITY;
  let sink = 0;
  for (let r = 0; r < ROUNDS; r++) {
    const start = process.hrtime.bigint();
    for (let k = 0; k < 20; k++) sink += round();
    least = Math.min(least, Number(process.hrtime.bigint() - start) / 20 / N);
  }
  if (sink === 1) console.log(sink);
  return least;
}

function measure(codec: EntryCodec): { encode: number; decode: number } {
  const entries = sample();
  const lo = new Int32Array(N);
  const hi = new Int32Array(N);
  entries.forEach((e, i) => {
    codec.encode(0, e);
    lo[i] = codec.lo;
    hi[i] = codec.hi;
  });
  const encode = best(() => {
    let sum = 0;
    for (let i = 0; i < N; i++) {
      codec.encode(0, entries[i]);
      sum ^= codec.lo ^ codec.hi;
    }
    return sum;
  });
  const decode = best(() => {
    let sum = 0;
    for (let i = 0; i < N; i++) sum += codec.decode(0, lo[i], hi[i]);
    return sum;
  });
  return { encode, decode };
}

/** Taking a canonical number apart and putting it together again. */
function floor(): number {
  const entries = sample();
  return best(() => {
    let sum = 0;
    for (let i = 0; i < N; i++) {
      const e = entries[i];
      const bits = e & 0xfffff;
      sum += ((e - bits) * 2 ** -20 * 4096) ^ bits;
    }
    return sum;
  });
}

const names = process.argv.length > 2 ? process.argv.slice(2) : ['x86-4level', 'arm64-4k-48', 's390x', 'arm-short'];
console.log(`${'mode'.padEnd(16)} encode ns  decode ns   (splitting a number alone: ${floor().toFixed(1)} ns)`);
for (const name of names) {
  const mode = findMode(name);
  if (!mode) throw new RangeError(`there is no mode ${name}`);
  const { encode, decode } = measure(createCodec(mode));
  console.log(`${name.padEnd(16)} ${encode.toFixed(1).padStart(9)} ${decode.toFixed(1).padStart(10)}`);
}
