/**
 * Root registers of processes as a file lists them: `roots.json` beside an image, and the list inside a pxd capture.
 *
 * Invariant: what comes out is complete and typed, whatever went in; the first thing that is not as expected is named with its place.
 */
import { PxdError } from '../pagetable/error.ts';
import { printable } from './bytes.ts';

/** Registers of one CPU while one process ran on it. */
export interface RootEntry {
  readonly pid: number;
  readonly comm: string;
  /** Mode of the CPU when the registers were read. */
  readonly mode: 'user' | 'kernel';
  readonly pc?: bigint;
  /** Lower-case names, values as the hardware holds them. */
  readonly registers: Readonly<Record<string, bigint>>;
  /** Where the root came from, when it was not simply a register. */
  readonly how?: string;
}

const MOST_ENTRIES = 100_000;
const MOST_TEXT = 16 * 2 ** 20;

/** Parses the text of a roots file. */
export function parseRoots(text: string, name = 'roots.json'): RootEntry[] {
  if (text.length > MOST_TEXT) throw new PxdError('limit', `${name} has ${text.length} characters, more than pxd reads`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new PxdError('bad-image', `${name} is not JSON: ${printable((error as Error).message)}`);
  }
  return rootsFrom(value, name);
}

/** The same, from JSON that is parsed already. */
export function rootsFrom(value: unknown, name: string): RootEntry[] {
  if (!Array.isArray(value)) throw new PxdError('bad-image', `${name} holds ${kindOf(value)}, expected a list of {pid, comm, mode, root}`);
  if (value.length > MOST_ENTRIES) throw new PxdError('limit', `${name} lists ${value.length} roots, more than the ${MOST_ENTRIES} that pxd reads`);
  return value.map((entry, i) => rootFrom(entry, `${name}, entry ${i + 1}`));
}

function rootFrom(value: unknown, place: string): RootEntry {
  if (!isRecord(value)) throw new PxdError('bad-image', `${place} is ${kindOf(value)}, expected an object {pid, comm, mode, root}`);
  const { pid, comm, mode, pc, how, derived } = value;
  if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid < 0)
    throw new PxdError('bad-image', `${place} has pid ${shown(pid)}, expected a whole number`);
  if (comm !== undefined && typeof comm !== 'string') throw new PxdError('bad-image', `${place} has comm ${shown(comm)}, expected a text`);
  if (mode !== undefined && mode !== 'user' && mode !== 'kernel')
    throw new PxdError('bad-image', `${place} has mode ${shown(mode)}, expected "user" or "kernel"`);
  const root = value.root ?? value.registers;
  if (!isRecord(root)) throw new PxdError('bad-image', `${place} has root ${shown(root)}, expected an object of registers and their values`);
  const explained = how ?? derived;
  return {
    pid,
    comm: typeof comm === 'string' ? printable(comm, 64) : '',
    mode: mode ?? (pid === 0 ? 'kernel' : 'user'),
    ...(pc === undefined || pc === null ? {} : { pc: numberFrom(pc, `${place}, pc`) }),
    registers: Object.fromEntries(Object.entries(root).map(([register, v]) => [register.toLowerCase(), numberFrom(v, `${place}, ${printable(register, 40)}`)])),
    ...(explained === undefined ? {} : { how: printable(typeof explained === 'string' ? explained : JSON.stringify(explained), 1000) }),
  };
}

/** A register's value: `"0x…"`, `"123"` or a number; at most 64 bits. */
export function numberFrom(value: unknown, place: string): bigint {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value === 'string' && /^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(value)) {
    const number = BigInt(value);
    if (number < 2n ** 64n) return number;
  }
  throw new PxdError('bad-image', `${place} is ${shown(value)}, expected a number of at most 64 bits such as "0x1f"`);
}

/** The entry as JSON has it. */
export const rootToJson = (entry: RootEntry): Record<string, unknown> => ({
  pid: entry.pid,
  comm: entry.comm,
  mode: entry.mode,
  ...(entry.pc === undefined ? {} : { pc: `0x${entry.pc.toString(16)}` }),
  root: Object.fromEntries(Object.entries(entry.registers).map(([name, v]) => [name, `0x${v.toString(16)}`])),
  ...(entry.how === undefined ? {} : { how: entry.how }),
});

export const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

export const kindOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;

/** A wrong value as messages show it: short. */
export const shown = (value: unknown): string => (value === undefined ? 'missing' : printable(JSON.stringify(value) ?? String(value), 60));
