import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { cellsOf } from '../../src/pagetable/draw-form.ts';
import { addressOf, addressUnits, decode, encode } from '../../src/pagetable/entry.ts';
import { addressable, random, wordOf } from '../support/random-tables.ts';

const word32 = fc.integer({ min: 0, max: 0xffffffff });

describe.each(allModes().map((m) => [m.name, m] as const))('%s', (_, mode) => {
  const compiled = compileMode(mode);

  it('encode undoes decode for every word of every level', () => {
    for (const level of compiled.levels)
      fc.assert(
        fc.property(word32, word32, (lo, high) => {
          const hi = level.wide ? high : 0;
          const d = decode(level, lo, hi);
          if (d.form) expect(encode(d.form, d)).toEqual({ lo, hi });
          else expect(d.kind).toBe('bad');
        }),
        { numRuns: 60 },
      );
  });

  it('decode undoes encode for every form: kind, fields and address come back', () => {
    for (const level of compiled.levels)
      for (const form of level.forms) {
        if (form.when.length === 0) continue;
        let met = 0;
        for (let seed = 0; seed < 60; seed++) {
          const next = random(seed);
          const base = form.kind === 'leaf' ? 0n : (mode.linearBase ?? 0n);
          const address = form.address
            ? (base + (BigInt(Math.floor(next() * 2 ** 20)) << BigInt(Math.max(mode.pageShift, form.kind === 'leaf' ? level.level.shift : 0)))) &
              addressable(form)
            : undefined;
          const word = wordOf(level, form, next, address ?? 0n);
          if (!word) continue;
          met++;
          const d = decode(level, word.lo, word.hi);
          expect(d.kind).toBe(form.kind);
          if (form.address) expect(addressOf(form.address, word.lo, word.hi)).toBe(address);
          expect(encode(form, d)).toEqual(word);
        }
        expect({ form: form.form.name, met: met > 0 }).toEqual({ form: form.form.name, met: true });
      }
  });

  it('addresses count in pages as they do in bytes', () => {
    for (const level of compiled.levels)
      for (const form of level.forms)
        if (form.address) {
          const address = form.address;
          fc.assert(
            fc.property(word32, word32, (lo, hi) => {
              expect(addressUnits(address, lo, hi, mode.pageShift)).toBe(Number(addressOf(address, lo, hi) >> BigInt(mode.pageShift)));
            }),
            { numRuns: 20 },
          );
        }
  });

  it('every form names each bit once', () => {
    for (const level of compiled.levels)
      for (const form of level.forms) {
        const cells = cellsOf(level, form);
        expect(cells.reduce((n, c) => n + c.high - c.low + 1, 0)).toBe(level.wide ? 64 : 32);
        const masks = [...form.fields.values(), ...(form.address ? [form.address.pieces] : [])];
        const bits = masks.flatMap((pieces) => pieces.flatMap((p) => Array.from({ length: p.width }, (_, i) => p.low + i)));
        expect({ form: form.form.name, twice: bits.filter((b, i) => bits.indexOf(b) !== i) }).toEqual({ form: form.form.name, twice: [] });
      }
  });
});

it('a mode that is compiled for one release does not bear the name of another with the same rules', () => {
  const mode = allModes()[0];
  const names = ['6.1', '6.1.0-50-amd64', 'v6.1', '6.1'];
  expect(names.map((name) => compileMode(mode, name).kernelText)).toEqual(names);
  expect(compileMode(mode, '6.1')).toBe(compileMode(mode, '6.1'));
});
