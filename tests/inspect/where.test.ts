/** The filter language. */
import { describe, expect, it } from 'vitest';
import { compileWhere, emptyRow, type FilterRow } from '../../src/inspect/where.ts';

const row = (over: Partial<FilterRow>): FilterRow => ({ ...emptyRow(), ...over });
const holds = (text: string, over: Partial<FilterRow>): boolean => compileWhere(text)(row(over));

describe('where', () => {
  it.each<[string, Partial<FilterRow>, boolean]>([
    ['write && exec', { write: true, exec: true }, true],
    ['write && exec', { write: true }, false],
    ['write and not exec', { write: true }, true],
    ['!write', {}, true],
    ['!(write || exec)', { exec: true }, false],
    ['write || exec && user', { write: true }, true],
    ['page >= 2M', { page: 2 ** 21 }, true],
    ['page>4K', { page: 4096 }, false],
    ['2M <= page', { page: 2 ** 21 }, true],
    ['page = 0x1000', { page: 4096 }, true],
    ['count != 1', { count: 512 }, true],
    ['kind == swap', { kind: 'swap' }, true],
    ["kind == 'swap' && swapType == 31", { kind: 'swap', swapType: 31 }, true],
    ['half == kernel', { half: 'kernel' }, true],
    ['user == false', { user: false }, true],
    ['va >= 0xffffffff80000001', { va: Number(0xffffffff80000000n) }, false],
    ['va < 0xffffffff80000001', { va: Number(0xffffffff80000000n) }, true],
    ['va == 0xffffffff80000000', { va: Number(0xffffffff80000000n) }, true],
    ['va == 0xffffffff80000001', { va: Number(0xffffffff80000000n) }, false],
    ['va != 0xffffffff80000001', { va: Number(0xffffffff80000000n) }, true],
    ['pa == va', { pa: 4096, va: 4096 }, true],
  ])('%s', (text, over, expected) => {
    expect(holds(text, over)).toBe(expected);
  });

  it.each([
    ['', /expected a field or a number at the end/],
    ['write &', /cannot read "&"/],
    ['3', /expected a field/],
    ['page == ', /at the end/],
    ['(write', /expected "\)"/],
    ['write exec', /expected an operator/],
    ['kind > 3', /can be compared/],
    ['process.exit()', /cannot read/],
    ['exit()', /expected a field/],
    ['!'.repeat(300), /nested too deeply/],
    ['('.repeat(300), /nested too deeply/],
  ])('refuses %s', (text, says) => {
    expect(() => compileWhere(text)).toThrow(says);
  });
});
