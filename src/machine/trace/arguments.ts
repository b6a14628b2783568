/** Numbers as operations of a trace have them: in arguments, in results, in buffers. */
import type { Argument } from './format.ts';

export const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** The number at a place, 0 where there is none or something else. */
export function num(args: readonly Argument[], at: number): bigint {
  const value = args[at];
  return typeof value === 'bigint' ? value : 0n;
}

/** 64-bit numbers in memory, little-endian. */
export function words(values: readonly bigint[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 8));
  for (const [i, value] of values.entries()) view.setBigUint64(i * 8, value, true);
  return new Uint8Array(view.buffer);
}
