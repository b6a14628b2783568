/** Bad input: exit code 2, one sentence on stderr, nothing on stdout, nothing written. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryIo, PipeClosed, ProcessIo } from '../../src/cli/io.ts';
import { separateKernel } from '../../src/cli/options.ts';
import { run } from '../../src/cli/run.ts';
import { CAPTURES, pxd } from './pxd.ts';

const DIR = `${CAPTURES}/x86_64-4level`;
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pxd-cli-'));
  writeFileSync(join(folder, 'empty'), '');
  writeFileSync(join(folder, 'text'), 'this is no memory image, whatever its name may be\n');
  writeFileSync(join(folder, 'roots'), '{"not": "a list"}');
  writeFileSync(join(folder, 'cut.elf'), readFileSync(`${CAPTURES}/x86_64-kdump/image.elf.zst`).subarray(0, 3000));
  mkdirSync(join(folder, 'nothing'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const BAD: readonly (readonly [what: string, argv: readonly string[], says: RegExp])[] = [
  ['no such file', ['leaves', '/no/such/file'], /no\/such\/file.*no such file/],
  ['no such trace', ['play', '/no/such/file'], /^pxd: \/no\/such\/file: there is no such file\n$/],
  ['no such scenario', ['check', '/no/such/file.ts'], /^pxd: \/no\/such\/file.ts: there is no such file\n$/],
  ['an empty file', ['leaves', '@/empty'], /empty/],
  ['a text', ['inspect', '@/text'], /no memory image/],
  ['an empty folder', ['inspect', '@/nothing'], /holds no image/],
  ['a truncated file', ['inspect', '@/cut.elf'], /./],
  ['an unknown mode', ['leaves', DIR, '--mode', 'x86-6level'], /no paging mode "x86-6level".*x86-4level/],
  ['an unknown pid', ['leaves', DIR, '--pid', '12345'], /no root of pid 12345.*79/],
  ['a pid that is none', ['leaves', DIR, '--pid', 'abc'], /process number/],
  ['a root that is none', ['leaves', DIR, '--root', 'xyz'], /hexadecimal/],
  ['a register of another mode', ['leaves', DIR, '--root', 'ttbr0=1000'], /cr3/],
  ['a root beyond the image', ['leaves', DIR, '--root', '7777777777000'], /does not hold the top table/],
  ['both root and pid', ['leaves', DIR, '--root', '1000', '--pid', '79'], /one of them/],
  ['a roots file of another kind', ['leaves', DIR, '--roots', '@/roots'], /expected a list/],
  ['a range that is none', ['leaves', DIR, '--range', '5'], /START-END/],
  ['a range that ends early', ['leaves', DIR, '--range', '5000-4000'], /ends before/],
  ['a filter with a wrong field', ['leaves', DIR, '--where', 'colour == 3'], /expected a field/],
  ['an unfinished filter', ['leaves', DIR, '--where', 'write &&'], /at the end/],
  ['a kernel version that is none', ['pte', 'x86-4level', '1', '--kernel', 'six'], /kernel version/],
  ['an unknown format', ['leaves', DIR, '--format', 'xml'], /Allowed choices/],
  ['an unknown command', ['leafs', DIR], /unknown command.*leaves/],
  ['an unknown option', ['leaves', DIR, '--rooot', '1'], /unknown option/],
  ['a missing image', ['translate'], /missing required argument/],
  ['nothing to inspect', ['inspect'], /--pid/],
  ['an address that is none', ['translate', DIR, 'main'], /hexadecimal/],
  ['an address of more than 64 bits', ['translate', DIR, '0x10000000000000000'], /64 bits/],
  ['a level that the mode lacks', ['pte', 'x86-4level', 'p4d', '1'], /no level "p4d"/],
  ['a value that does not fit', ['pte', 'x86-2level', 'pte', '100000000'], /32 bits/],
  ['no value', ['pte', 'x86-4level', 'pte'], /no value/],
  ['a capture into a folder that is not there', ['capture', DIR, '-o', '/no/such/folder/x'], /cannot be written/],
  ['a capture without a name', ['capture', DIR], /required option/],
];

describe('bad input', () => {
  it.each(BAD)('%s', async (_what, argv, says) => {
    const before = readdirSync(folder);
    const { code, out, err } = await pxd(argv.map((a) => a.replace(/^@/, folder)));
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(/^pxd: [^\n]+\n$/);
    expect(err).toMatch(says);
    expect(readdirSync(folder)).toEqual(before);
  });
});

describe('the rest of the way', () => {
  it('help and version are no errors', async () => {
    for (const argv of [['--help'], ['leaves', '--help'], ['help'], ['--version'], []]) {
      const { code, out, err } = await pxd(argv);
      expect([argv, code, err]).toEqual([argv, 0, '']);
      expect(out.length).toBeGreaterThan(4);
    }
  });

  it('every help text fits 80 columns', async () => {
    const { lines: top } = await pxd(['--help']);
    const commands = top
      .slice(top.indexOf('Commands:') + 1, top.indexOf('', top.indexOf('Commands:')))
      .flatMap((l) => l.match(/^ {2}([a-z]+) /)?.slice(1) ?? []);
    expect(commands.length).toBeGreaterThan(11);
    for (const argv of [['--help'], ...commands.filter((c) => c !== 'help').map((c) => [c, '--help'])]) {
      const { lines } = await pxd(argv);
      expect([argv, lines.filter((l) => l.length > 80)]).toEqual([argv, []]);
    }
  });

  it('a terminal without a size counts as one of 80 by 50', () => {
    const { stdout, env } = process;
    const before = { columns: stdout.columns, rows: stdout.rows, COLUMNS: env.COLUMNS, LINES: env.LINES };
    try {
      delete env.COLUMNS;
      delete env.LINES;
      Object.assign(stdout, { columns: 0, rows: 0 });
      const { columns, rows } = new ProcessIo();
      expect([columns, rows]).toEqual([80, 50]);
    } finally {
      Object.assign(stdout, { columns: before.columns, rows: before.rows });
      if (before.COLUMNS !== undefined) env.COLUMNS = before.COLUMNS;
      if (before.LINES !== undefined) env.LINES = before.LINES;
    }
  });

  it('a closed pipe ends quietly', async () => {
    const io = new (class extends MemoryIo {
      override write(): void {
        throw new PipeClosed();
      }
    })();
    expect(await run(['leaves', DIR, '--pid', '79'], io)).toBe(0);
    expect(io.err).toBe('');
  });

  it('takes --kernel with and without a version apart', () => {
    expect(separateKernel(['leaves', '--kernel', '6.12', 'x'])).toEqual(['leaves', '--kernel=6.12', 'x']);
    expect(separateKernel(['leaves', '--kernel', 'x'])).toEqual(['leaves', '--kernel-half', 'x']);
    expect(separateKernel(['--', '--kernel'])).toEqual(['--', '--kernel']);
  });
});
