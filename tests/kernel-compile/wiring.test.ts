import { readFileSync } from 'node:fs';
import { direct, fault, faultThatThrows, VM_FAULT_OOM } from 'sample:direct';
import { step, fault as stepFault, faultThatThrows as stepThatThrows } from 'sample:step';
import { build } from 'esbuild';
import { beforeEach, describe, expect, it } from 'vitest';
import { esbuildPrograms } from '../../scripts/kernel-program.mjs';
import { advance, backtrace, S, startTask, TASK, useStack } from '../../src/kernel/compile/runtime.ts';
import { RUNTIME, runBundled, runFromSource, sample } from './bundle.ts';
import { effects } from './sample/op.ts';
import { memory, reset, trace } from './sample/state.ts';

beforeEach(reset);

/** Where the text stands in the sample's TypeScript: a pattern for stack traces. */
function place(file: string, text: string): RegExp {
  const source = readFileSync(new URL(`sample/${file}`, import.meta.url), 'utf8');
  const [before] = source.split(text);
  const lines = before.split('\n');
  // vitest keeps the query in the name of the file.
  return new RegExp(`${file.replace('.', '\\.')}(\\?program=\\w+)?:${lines.length}:${lines[lines.length - 1].length + 1}\\b`);
}

const lineOfThrow = place('fault.ts', 'new Error(');
const lineOfCall = place('fault.ts', 'breakDown(vpn);');

/** The stack trace of what `run` throws. */
function stackOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return String((error as Error).stack);
  }
  return 'nothing thrown';
}

/** Code that runs both programs of the sample and prints what happened. */
const code = (quote: (file: string) => string, runtime: string): string => `
  import { fault, faultThatThrows } from 'sample:direct';
  import { step } from 'sample:step';
  import { advance, S, startTask, TASK, useStack } from ${runtime};
  import { effects } from ${quote('op.ts')};
  import { memory } from ${quote('state.ts')};
  console.log('direct', fault(5, 1, 10), memory[21]);
  useStack(new Float64Array(256));
  const run = (descriptor, ...args) => {
    startTask(0, 256, descriptor, ...args);
    while (advance(0)) S[TASK.result] = effects[S[TASK.code]](S[TASK.a], S[TASK.b], S[TASK.c], S[TASK.d]);
    return S[TASK.result];
  };
  console.log('step', run(step.fault, 6, 1, 10), memory[22]);
  for (const f of [() => faultThatThrows(40), () => run(step.faultThatThrows, 40)]) try { f(); console.log('nothing thrown'); } catch (e) { console.log(e.stack, '\\n--'); }
`;

function expectPrinted(printed: string): void {
  // One memory: the second fault got the second frame.
  expect(printed).toContain('direct 0 1\nstep 0 2\n');
  const stacks = printed.split('--').slice(0, 2);
  expect(stacks).toHaveLength(2);
  for (const stack of stacks) {
    expect(stack).toMatch(lineOfThrow);
    expect(stack).toMatch(lineOfCall);
  }
}

describe('pxd:direct and pxd:step', () => {
  it('are plain functions on the one shared memory', () => {
    expect(fault(5, 1, 10)).toBe(0);
    expect(memory[16 + 5]).toBe(1);
    expect(trace.map(([operation]) => operation)).toEqual([1, 4, 1, 3, 2, 3, 2, 2]);
    expect(direct.fault(6, 1, 1)).toBe(VM_FAULT_OOM);
  });

  it('are descriptors whose operations somebody else performs', () => {
    useStack(new Float64Array(256));
    startTask(0, 256, stepFault, 5, 1, 10);
    expect(trace).toEqual([]);
    while (advance(0)) S[TASK.result] = effects[S[TASK.code]](S[TASK.a], S[TASK.b], S[TASK.c], S[TASK.d]);
    expect(S[TASK.result]).toBe(0);
    expect(memory[16 + 5]).toBe(1);
    expect(step.fault).toBe(stepFault);
  });

  it('lead stack traces to the TypeScript lines, in vitest', () => {
    const direct = stackOf(() => faultThatThrows(40));
    expect(direct).toMatch(lineOfThrow);
    expect(direct).toMatch(lineOfCall);
    useStack(new Float64Array(256));
    startTask(0, 256, stepThatThrows, 40);
    advance(0);
    expect(backtrace(0)).toEqual([expect.stringMatching(/^faultThatThrows \(tests\/kernel-compile\/sample\/fault\.ts:\d+\)$/)]);
    const step = stackOf(() => advance(0));
    expect(step).toMatch(lineOfThrow);
    expect(step).toMatch(lineOfCall);
  });

  it('are the same in a bundle, with one copy of what is shared, and stack traces there', async () => {
    expectPrinted(await runBundled(code(sample, RUNTIME)));
  });

  it('run from source under tsx', () => {
    expectPrinted(runFromSource(code(sample, RUNTIME)));
  });

  it('put into a bundle one copy of what is shared and two of what is not', async () => {
    const { outputFiles } = await build({
      stdin: { contents: `import { direct } from 'sample:direct'; import { step } from 'sample:step'; console.log(direct, step);`, resolveDir: process.cwd() },
      bundle: true,
      write: false,
      format: 'esm',
      platform: 'neutral',
      logLevel: 'silent',
      plugins: [esbuildPrograms()],
    });
    const { text } = outputFiles[0];
    const count = (pattern: RegExp): number => [...text.matchAll(pattern)].length;
    expect(count(/new Int32Array\(WORDS\)/g)).toBe(1);
    expect(count(/"broken at|`broken at/g)).toBe(2);
    expect(count(/function\*/g)).toBe(1);
    // Nothing of the place where it was built.
    expect(text).not.toContain(process.cwd());
  });

  it('are refused with place, name and sentence where the source is not in the dialect', async () => {
    const bad = (program: string): Promise<unknown> => import(/* @vite-ignore */ `${new URL('sample/bad.ts', import.meta.url).pathname}?program=${program}`);
    await expect(bad('step')).rejects.toThrow(
      /sample\/bad\.ts:6:16: text: A text cannot lie in a frame.*\n.*bad\.ts:7:10: member: text is a number.*\n.*bad\.ts:11:3: plain-yield: /,
    );
    await expect(bad('direct')).rejects.toThrow(/sample\/bad\.ts:11:3: plain-yield: Only primitives wait/);
  });
});
