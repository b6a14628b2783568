/**
 * Roots of 32-bit PowerPC and of 64-bit e500. No architected register of these processors holds the root of Linux's tables as such: it is
 * `mm->pgd`, given here as the physical address `pgd` (8xx keeps it in M_TWB).
 */
import type { Root, RootRegister } from './mode.ts';

export interface PgdShape {
  /** Index bits of the top table. */
  readonly bits: number;
  /** Bytes of the top table: its alignment. */
  readonly tableBytes: number;
  /** First address of the kernel's half. */
  readonly kernel: bigint;
  /** log2 of what one entry spans. */
  readonly shift: number;
  /** Low bits of the register that are no part of the address. */
  readonly ignored?: bigint;
  /** Entries do not tell user from kernel pages: the address does. */
  readonly byAddress?: boolean;
  readonly doc: string;
}

/** Checks that a value may be the physical address of a top table. @throws {RangeError} when not. */
export function tableAddress(value: bigint, bytes: number, top: bigint, ignored = 0n): bigint {
  const table = value & ~ignored;
  if (table === 0n) throw new RangeError('there is no table at physical address 0');
  if (table >= top)
    throw new RangeError(`0x${value.toString(16)} is a kernel virtual address; a physical address is expected (subtract 0x${top.toString(16)})`);
  if (table % BigInt(bytes) !== 0n) throw new RangeError(`a top table of ${bytes} bytes lies on a multiple of its size`);
  return table;
}

/** A register with the physical address of the top table of a 32-bit address space, both halves in one table. */
export const pgdRoot = (names: readonly string[], shape: PgdShape): RootRegister => ({
  names,
  of: 'both',
  doc: shape.doc,
  resolve: (value): Root => {
    const split = Number(shape.kernel >> BigInt(shape.shift));
    return {
      table: tableAddress(value, shape.tableBytes, 0xc0000000n, shape.ignored),
      level: 'pgd',
      ranges: [
        { half: 'user', va: 0n, from: 0, to: split },
        { half: 'kernel', va: shape.kernel, from: split, to: 2 ** shape.bits, ...(shape.byAddress ? { supervisor: true } : {}) },
      ],
      label: `${names[0]} 0x${value.toString(16)}`,
    };
  },
});
