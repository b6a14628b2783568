/** Entries worked out by hand from a manual or a header: decoded, judged and encoded back. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { holds } from '../../src/arch/notation.ts';
import type { CompiledMode } from '../../src/pagetable/compile.ts';
import { decode, encode, levelNamed, rightsOf } from '../../src/pagetable/entry.ts';

/** One entry: level, word, form's name, fields that must have these values, `rwxu` and flags, address. */
export type Known = readonly [level: string, word: bigint, form: string, fields: Readonly<Record<string, number>>, rights: string, address?: bigint];

export const halves = (word: bigint): { lo: number; hi: number } => ({ lo: Number(word & 0xffffffffn), hi: Number(word >> 32n) });

/** `rw-u` for read, write, execute, user; then P present, D dirty, A accessed, G global. */
export function rightsText(mode: CompiledMode, level: string, word: bigint): string {
  const { lo, hi } = halves(word);
  const form = decode(levelNamed(mode, level), lo, hi).form;
  if (!form) return 'bad';
  const r = rightsOf(form, lo, hi);
  const flags = (
    [
      ['present', 'P'],
      ['dirty', 'D'],
      ['accessed', 'A'],
      ['global', 'G'],
    ] as const
  )
    .filter(([name]) => holds(form.allows[name], lo, hi))
    .map(([, letter]) => letter);
  return `${r.read ? 'r' : '-'}${r.write ? 'w' : '-'}${r.exec ? 'x' : '-'}${r.user ? 'u' : '-'} ${flags.join('')}`.trim();
}

/** One test an entry. */
export function checkEntries(mode: CompiledMode, known: readonly Known[]): void {
  it.each(known.map((k) => [`${k[0]} 0x${k[1].toString(16)}: ${k[2]}`, k] as const))('%s', (_, [name, word, form, fields, rights, address]) => {
    const { lo, hi } = halves(word);
    const level = levelNamed(mode, name);
    const d = decode(level, lo, hi);
    expect(d.form?.form.name ?? 'bad').toBe(form);
    if (!d.form) return;
    for (const [field, value] of Object.entries(fields)) expect({ [field]: d.fields.get(field) }).toEqual({ [field]: value });
    if (d.kind === 'leaf') expect(rightsText(mode, name, word)).toBe(rights);
    expect(d.address).toBe(address);
    expect(d.reserved).toEqual({ lo: 0, hi: 0 });
    expect(encode(d.form, { fields: d.fields, address: d.address })).toEqual({ lo, hi });
  });
}

/** `encode` undoes `decode` for any word of any level. */
export function checkInverse(mode: CompiledMode): void {
  it('encode undoes decode', () => {
    const half = fc.integer({ min: 0, max: 0xffffffff });
    for (const level of mode.levels)
      fc.assert(
        fc.property(half, half, (lo, high) => {
          const hi = level.wide ? high : 0;
          const d = decode(level, lo, hi);
          if (d.form) expect(encode(d.form, d)).toEqual({ lo, hi });
          else expect(d.kind).toBe('bad');
        }),
        { numRuns: 200 },
      );
  });
}
