/**
 * What lies beside an image in a folder of a capture: `meta.json` (facts about the machine), `roots.json`, `vmcoreinfo.txt`.
 *
 * Invariant: every fact of `meta.json` is optional, but one that is there and of the wrong kind is an error.
 */
import { PxdError } from '../pagetable/error.ts';
import { printable } from './bytes.ts';
import { isRecord, kindOf, numberFrom, type RootEntry, shown } from './roots.ts';

export interface FolderMeta {
  readonly name?: string;
  readonly arch?: string;
  /** Name of the paging mode. */
  readonly mode?: string;
  readonly pageSize?: number;
  readonly vaBits?: number;
  readonly endian?: 'little' | 'big';
  readonly kernel?: { readonly release?: string; readonly version?: string; readonly machine?: string };
  /** Addresses of kernel symbols. */
  readonly symbols: Readonly<Record<string, bigint>>;
  /** Lines of /proc/iomem. */
  readonly memoryMap: readonly string[];
  /** The whole file, for what is not named above. */
  readonly json: Readonly<Record<string, unknown>>;
}

export interface Folder {
  /** The folder's own name. */
  readonly name: string;
  readonly roots: readonly RootEntry[];
  readonly meta?: FolderMeta;
  /** Text of vmcoreinfo.txt. */
  readonly vmcoreinfo?: string;
}

export function parseMeta(text: string, name = 'meta.json'): FolderMeta {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new PxdError('bad-image', `${name} is not JSON: ${printable((error as Error).message)}`);
  }
  if (!isRecord(json)) throw new PxdError('bad-image', `${name} holds ${kindOf(json)}, expected an object`);
  const wrong = (field: string, value: unknown, expected: string): never => {
    throw new PxdError('bad-image', `${name} has ${field} ${shown(value)}, expected ${expected}`);
  };
  const text_ = (from: Record<string, unknown>, field: string): string | undefined => {
    const value = from[field];
    return value === undefined || typeof value === 'string' ? value : wrong(field, value, 'a text');
  };
  const count = (field: string): number | undefined => {
    const value = json[field];
    return value === undefined || (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) ? value : wrong(field, value, 'a positive number');
  };
  const { endian, symbols = {}, memoryMap = [], kernel } = json;
  if (endian !== undefined && endian !== 'little' && endian !== 'big') wrong('endian', endian, '"little" or "big"');
  if (kernel !== undefined && !isRecord(kernel)) wrong('kernel', kernel, 'an object {release, version, machine}');
  if (!isRecord(symbols)) wrong('symbols', symbols, 'an object of names and addresses');
  if (!Array.isArray(memoryMap) || !memoryMap.every((line) => typeof line === 'string')) wrong('memoryMap', memoryMap, 'a list of lines');
  return {
    name: text_(json, 'name'),
    arch: text_(json, 'arch'),
    mode: text_(json, 'mode'),
    pageSize: count('pageSize'),
    vaBits: count('vaBits'),
    endian: endian as FolderMeta['endian'],
    kernel: isRecord(kernel) ? { release: text_(kernel, 'release'), version: text_(kernel, 'version'), machine: text_(kernel, 'machine') } : undefined,
    symbols: Object.fromEntries(
      Object.entries(symbols as object).map(([symbol, value]) => [symbol, numberFrom(value, `${name}, symbol ${printable(symbol, 60)}`)]),
    ),
    memoryMap: memoryMap as string[],
    json,
  };
}
