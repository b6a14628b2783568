import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { direct, fault, faultThatThrows, VM_FAULT_OOM } from 'sample:direct';
import { build } from 'esbuild';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { esbuildPrograms } from '../../scripts/kernel-program.mjs';
import { memory, reset, trace } from './sample/state.ts';

const folder = mkdtempSync(join(tmpdir(), 'pxd-programs-'));
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(reset);

/** A file that imports the sample, bundled and run by Node with source maps; what it prints. */
async function bundled(code: string): Promise<string> {
  const entry = join(folder, 'entry.ts');
  writeFileSync(entry, code);
  const outfile = join(folder, 'entry.mjs');
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    sourcemap: true,
    logLevel: 'silent',
    plugins: [esbuildPrograms()],
  });
  return execFileSync(process.execPath, ['--enable-source-maps', outfile], { encoding: 'utf8' });
}

const sample = (file: string): string => JSON.stringify(new URL(`sample/${file}`, import.meta.url).pathname);
/** Where the text stands in the sample's TypeScript. */
function place(file: string, text: string): RegExp {
  const source = readFileSync(new URL(`sample/${file}`, import.meta.url), 'utf8');
  const [before] = source.split(text);
  const lines = before.split('\n');
  // vitest keeps the query in the name of the file.
  return new RegExp(`${file.replace('.', '\\.')}(\\?program=\\w+)?:${lines.length}:${lines[lines.length - 1].length + 1}\\b`);
}
const lineOfThrow = place('fault.ts', 'new Error(');
const lineOfCall = place('fault.ts', 'breakDown(vpn);');

describe('pxd:direct', () => {
  it('is plain functions on the one shared memory', () => {
    expect(fault(5, 1, 10)).toBe(0);
    expect(memory[16 + 5]).toBe(1);
    expect(trace.map(([code]) => code)).toEqual([1, 4, 1, 3, 2, 3, 2, 2]);
    expect(direct.fault(6, 1, 1)).toBe(VM_FAULT_OOM);
  });

  it('leads stack traces to the TypeScript lines, in vitest', () => {
    let stack = '';
    try {
      faultThatThrows(40);
    } catch (error) {
      stack = String((error as Error).stack);
    }
    expect(stack).toMatch(lineOfThrow);
    expect(stack).toMatch(lineOfCall);
  });

  it('is the same in a bundle, with one copy of what is shared, and stack traces there', async () => {
    const printed = await bundled(
      `import { fault, faultThatThrows } from 'sample:direct'; import { memory } from ${sample('state.ts')};
       const r = fault(5, 1, 10); console.log(r, memory[21]); try { faultThatThrows(40); } catch (e) { console.log(e.stack); }`,
    );
    expect(printed).toContain('0 1\n');
    expect(printed).toMatch(lineOfThrow);
    expect(printed).toMatch(lineOfCall);
  });

  it('runs from source under tsx', () => {
    const entry = join(folder, 'from-source.mts');
    writeFileSync(
      entry,
      `import { fault, faultThatThrows } from 'sample:direct'; import { memory } from ${JSON.stringify(String(pathToFileURL(JSON.parse(sample('state.ts')))))};
       console.log(fault(5, 1, 10), memory[21]); try { faultThatThrows(40); } catch (e) { console.log(e.stack); }`,
    );
    const printed = execFileSync(process.execPath, ['--import', 'tsx', '--import', './scripts/kernel-node.mjs', entry], { encoding: 'utf8', timeout: 30_000 });
    expect(printed).toContain('0 1\n');
    expect(printed).toMatch(lineOfThrow);
    expect(printed).toMatch(lineOfCall);
  });
});
