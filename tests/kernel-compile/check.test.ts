import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { checkDialect } from '../../scripts/kernel-program.mjs';
import { RULES } from '../../src/kernel/compile/index.ts';

const file = new URL('sample/imagined.ts', import.meta.url).pathname;
const head = `import type { Op } from './op.ts';
import { readWord, writeWord } from './ops.ts';
import * as ops from './ops.ts';
import { fault } from './fault.ts';
import { memory, clampIndex, trace } from './state.ts';
`;
const headLines = head.split('\n').length - 1;

/** Violations as `line:column name`, lines counted behind the imports. */
async function violations(text: string): Promise<string[]> {
  return (await checkDialect(file, head + text)).map(({ line, column, name }) => `${line - headLines}:${column} ${name}`);
}

/** Violations of a generator function with these statements (which begin on line 2, column 3). */
const inside = (statements: string): Promise<string[]> =>
  violations(`export function* f(a: number, b: number): Op<number> {
  ${statements}
  return 0;
}
function plain(x: number): number { return x + 1; }
function* other(x: number): Op<number> { return yield* readWord(x); }
`);

describe('the dialect check', () => {
  it.each<[string, string[]]>([
    ['yield;', ['2:3 plain-yield']],
    ['const x: number = (yield) as never as number;', ['2:22 plain-yield']],
    ['readWord(1);', ['2:3 generator-call']],
    ['fault(1, 2, 3);', ['2:3 generator-call']],
    ['ops.readWord(1);', ['2:3 generator-call']],
    ['const g = other(a);', ['2:13 generator-call']],
    ['const g = other;', ['2:13 generator-value']],
    ['plain(other as never);', ['2:9 generator-value']],
    ['yield* plain(a);', ['2:3 yield-operand']],
    ['yield* clampIndex(a);', ['2:3 yield-operand']],
    ['const x = yield* other(a) + 1;', ['2:13 yield-operand']],
    ['yield* writeWord(1, 2, 3, 4, 5);', ['2:3 yield-operand']],
    ['const h = (x: number) => x;', ['2:13 closure']],
    ['function inner() {}', ['2:3 closure']],
    ['try { yield* other(1); } finally { plain(1); }', ['2:3 try-catch']],
    ['const o = { a };', ['2:13 object']],
    ['const o = [a];', ['2:13 object']],
    ['const o = new Map();', ['2:13 object']],
    ["const s = 'text';", ['2:13 text']],
    ['const s = `text`;', ['2:13 text']],
    ['const n = null;', ['2:13 not-a-number']],
    ['const n = undefined;', ['2:13 not-a-number']],
    ['const n = 1n;', ['2:13 not-a-number']],
    ['const n = /x/;', ['2:13 not-a-number']],
    ['plain(...memory);', ['2:9 pattern']],
    ['const [x] = memory;', ['2:9 pattern']],
    ['const { length } = memory;', ['2:9 pattern']],
    ['this;', ['2:3 receiver']],
    ['plain(arguments.length);', ['2:9 receiver']],
    ['const t = typeof a;', ['2:13 operator']],
    ['const t = a ?? b;', ['2:13 operator']],
    ['const t = trace?.length;', ['2:13 operator']],
    ['if ((a > 1) === true) return 1;', ['2:8 operator']],
    ['const t = a.toString();', ['2:13 member']],
    ['var v = 1;', ['2:3 statement']],
    ['for (const x of memory) plain(x);', ['2:3 statement']],
    ['const $x = 1;', ['2:9 scope']],
    ['const t = Date.now();', ['2:13 host']],
    ['const t = Math.random();', ['2:13 host']],
    ['console.log(a);', ['2:3 host']],
    ['plain(process.pid);', ['2:9 host']],
    // What is allowed.
    ['const process = plain(a); plain(process);', []],
    ['const x = (yield* other(a)) + 1; plain(x);', []],
    ['memory[a] = yield* ops.readWord(b);', []],
    ['out: { if (a) break out; yield* fault(1, 2, 3); } const t = a > 1; if (!t) throw plain(1);', []],
  ])('%s', async (statements, expected) => {
    const found = await inside(statements);
    expect(found).toEqual(expected);
  });

  it.each<[string, string[]]>([
    ['let count = 0;', ['1:5 module-state']],
    ['export let count = 0;', ['1:12 module-state']],
    ['const cache = new Map();', ['1:7 module-state']],
    ['const cache: number[] = [];', ['1:7 module-state']],
    ['export const table = [1, 2];', ['1:14 module-state']],
    ['const table = [1, 2];\nfunction change() { table[0] = 5; }', ['1:7 module-state']],
    ['const s = clampIndex(1);', ['1:7 module-state']],
    ['clampIndex(1);', ['1:1 module-state']],
    ['const table = [1, 2]; const N = 4 + 4; const half = (x: number) => x / 2; export const T = Object.freeze([1]);', []],
    ['const g = function* (): Op<number> { return 0; };', ['1:11 generator-form']],
    ['const o = Object.freeze({ *m(): Op<number> { return 0; } });', ['1:27 generator-form']],
    ['async function h() { await 1; }', ['1:1 async', '1:22 async']],
    ['const o = Object.freeze({ get x() { return 1; } });', ['1:27 accessor']],
    ['function h() { fault(1, 2, 3); }', ['1:16 generator-call']],
    ['function h(): number { return performance.now(); }', ['1:31 host']],
    ['function h(process: number): string { return String(process); }', []],
    ['function* h(a?: number): Op<number> { return 0; }', ['1:13 pattern']],
    ['function* h(a = 1): Op<number> { return a; }', ['1:13 pattern']],
    ['function* h(...a: number[]): Op<number> { return 0; }', ['1:16 pattern']],
    ['function* h({ x }: { x: number }): Op<number> { return x; }', ['1:13 pattern']],
    ['const ( = 1;', ['1:7 syntax']],
  ])('at the top: %s', async (text, expected) => {
    expect(await violations(text)).toEqual(expected);
  });

  it('tells each place with a name and a sentence', async () => {
    const [violation] = await checkDialect(file, `${head}export function* f(): Op<number> {\n  yield* readWord('x' as never);\n  return 0;\n}\n`);
    expect(violation).toMatchObject({ line: headLines + 2, column: 19, name: 'text' });
    expect(violation.file).toBe('tests/kernel-compile/sample/imagined.ts');
    expect(violation.sentence).toMatch(/^[A-Z].*\.$/);
    for (const sentence of Object.values(RULES)) expect(sentence).toMatch(/^[A-Z].*\.$/);
  });

  it('is a command that names the place and fails', () => {
    const run = (...args: string[]): string =>
      execFileSync(process.execPath, ['scripts/dialect.mjs', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    expect(run('tests/kernel-compile/sample/fault.ts')).toBe('dialect: 1 files, 0 violations\n');
    expect(() => run('tests/kernel-compile/sample/op.ts')).toThrow();
  });
});
