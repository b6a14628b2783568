/** Calls of tasks as a programmer would write them: constants by name. */
import * as madv from '../../mm/madv.ts';
import * as mman from '../../mm/mman.ts';
import { numberText } from './words.ts';

type Argument = (value: number) => string;

const constants = (from: Readonly<Record<string, unknown>>, prefix: RegExp): [number, string][] =>
  Object.entries(from)
    .filter((pair): pair is [string, number] => prefix.test(pair[0]) && typeof pair[1] === 'number')
    .map(([name, value]): [number, string] => [value, name])
    .sort(([a], [b]) => a - b);

const oneOf =
  (names: readonly [number, string][]): Argument =>
  (value) =>
    names.find(([number]) => number === value)?.[1] ?? numberText(value);

/** Single bits by name; what is left over as a number. */
const bits =
  (names: readonly [number, string][], none: string): Argument =>
  (value) => {
    if (value <= 0) return value === 0 ? none : numberText(value);
    const found = names.filter(([bit]) => bit > 0 && (bit & (bit - 1)) === 0 && (value & bit) !== 0);
    const rest = found.reduce((left, [bit]) => left & ~bit, value);
    return [...found.map(([, name]) => name), ...(rest === 0 ? [] : [numberText(rest)])].join('|');
  };

const plain: Argument = numberText;
const prot = bits(constants(mman, /^PROT_(READ|WRITE|EXEC)$/), 'PROT_NONE');
const mapFlags = bits(constants(mman, /^MAP_(?!HUGE_|TYPE)/), '0');
const remapFlags = bits(constants(mman, /^MREMAP_/), '0');
const advice = oneOf(constants(madv, /^MADV_/));

/** By system call: how its arguments are written. */
const ARGUMENTS: Readonly<Record<string, readonly Argument[]>> = {
  madvise: [plain, plain, advice],
  process_madvise: [plain, plain, plain, advice],
  mprotect: [plain, plain, prot],
  pkey_mprotect: [plain, plain, prot],
  mmap: [plain, plain, prot, mapFlags],
  mremap: [plain, plain, plain, remapFlags],
};

/** `madvise(0x10000000, 0x2000, MADV_DONTNEED)`; `name` as Linux spells it, arguments without the process. `object` says those that are objects. */
export function callText(name: string, args: readonly number[], object: (value: number) => string | undefined): string {
  const told = ARGUMENTS[name];
  return `${name}(${args.map((value, i) => told?.[i]?.(value) ?? object(value) ?? plain(value)).join(', ')})`;
}
