/** Entries checked by hand: a word of a level, and what the manual says of it. */
import { expect } from 'vitest';
import { holds } from '../../src/arch/notation.ts';
import type { CompiledMode } from '../../src/pagetable/compile.ts';
import { decode, encode, levelNamed, rightsOf } from '../../src/pagetable/entry.ts';

export interface HandEntry {
  readonly level: string;
  readonly word: bigint;
  /** Name of the form; undefined: no form fits. */
  readonly form: string | undefined;
  /** Fields that are not zero, and zero ones worth naming. */
  readonly fields?: Readonly<Record<string, number>>;
  readonly address?: bigint;
  /** `rwxu` with dashes. */
  readonly rights?: string;
  /** Any of `present`, `global`, `dirty`, `accessed` that hold. */
  readonly is?: string;
  readonly reserved?: bigint;
}

const halves = (word: bigint): { lo: number; hi: number } => ({ lo: Number(word & 0xffffffffn), hi: Number(word >> 32n) });

/** Decodes the word, compares all that the row says, and encodes it back. */
export function checkEntry(mode: CompiledMode, row: HandEntry): void {
  const { lo, hi } = halves(row.word);
  const d = decode(levelNamed(mode, row.level), lo, hi);
  expect(d.form?.form.name).toBe(row.form);
  if (!d.form) return;
  for (const [name, value] of Object.entries(row.fields ?? {})) expect([name, d.fields.get(name)]).toEqual([name, value]);
  if (row.address !== undefined) expect(d.address).toBe(row.address);
  const r = rightsOf(d.form, lo, hi);
  if (row.rights !== undefined) expect(`${r.read ? 'r' : '-'}${r.write ? 'w' : '-'}${r.exec ? 'x' : '-'}${r.user ? 'u' : '-'}`).toBe(row.rights);
  const { allows } = d.form;
  if (row.is !== undefined) {
    const true_ = (['present', 'global', 'dirty', 'accessed'] as const).filter((n) => holds(allows[n], lo, hi)).join(' ');
    expect(true_).toBe(row.is);
  }
  expect((BigInt(d.reserved.hi) << 32n) | BigInt(d.reserved.lo)).toBe(row.reserved ?? 0n);
  expect(encode(d.form, d)).toEqual({ lo, hi });
}

export const title = (row: HandEntry): string => `${row.level} 0x${row.word.toString(16)}: ${row.form ?? 'no form'}`;
