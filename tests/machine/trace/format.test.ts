import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTrace } from '../../../src/machine/trace/format.ts';
import { parseLine } from '../../../src/machine/trace/line.ts';
import { PxdError } from '../../../src/pagetable/error.ts';
import { keptTrace, readTrace, traceFiles } from './traces.ts';

const HEADER = '{"trace":1,"ops":1,"group":"anon","name":"t","purpose":"","snap":1}';
const OP = '{"i":0,"op":"munmap","p":0,"a":["0x10000000",4096],"r":0,"s":{}}';
const END = '{"end":1}';

/** The sentence with which a text is refused. */
function refusal(text: string): string {
  try {
    parseTrace(text);
  } catch (e) {
    expect(e).toBeInstanceOf(PxdError);
    return (e as PxdError).message;
  }
  throw new Error(`accepted: ${text}`);
}

describe('parseTrace', () => {
  it('reads every trace that there is, with the settings of the header', () => {
    for (const file of traceFiles()) {
      const { header, steps } = parseTrace(readTrace(file));
      expect(file).toContain(`/${header.group}/${header.name}.trace.gz`);
      expect(steps.length).toBeGreaterThan(0);
      expect(header.harness.vmas).toEqual([[0x7e0000000000n, 0x7e0000011000n]]);
    }
  });

  it('keeps the meaning of arguments and results', () => {
    const { header, steps } = parseTrace(keptTrace('anon/anon_basic'));
    expect(header).toMatchObject({ group: 'anon', name: 'anon_basic', snap: 1, noref: false, memTotalKb: 24684092 });
    expect(header.rlimits.MEMLOCK).toEqual([8388608, 8388608]);
    expect(header.harness).toEqual({
      vmas: [[0x7e0000000000n, 0x7e0000011000n]],
      brk: 0x7e0000011000n,
      mmapBase: 0x7ffff7fff000n,
      taskSize: 0x7ffffffff000n,
      pteBaseKb: 12,
    });
    expect(steps[0]).toMatchObject({ i: 0, op: 'mmap', process: 0, args: [0x10000000n, 16384n, 3n, 50n, 2n ** 64n - 1n, 0n], expected: { r: '0x10000000' } });
    expect(steps[4].expected).toEqual({ r: 4, v: [5, 0, 1, 2, [2, 0]], f: [['0x10004000', 2, 11, 1]] });
  });

  it('reads a list without results', () => {
    const { steps, header } = parseTrace('{"ops":1,"group":"x","name":"y","purpose":"","snap":3}\n{"op":"vmsplice","p":1,"a":[4,[["0x10000000",8]],"-0x1"]}\n');
    expect(header.snap).toBe(3);
    expect(steps).toEqual([{ i: 0, op: 'vmsplice', process: 1, args: [4n, [[0x10000000n, 8n]], 2n ** 64n - 1n], expected: undefined, delta: undefined }]);
  });

  it.each([
    ['', /empty/],
    ['{}', /line 1 of the trace is no header/],
    ['[1]', /line 1 of the trace holds \[1\]/],
    [`${HEADER}\nhello`, /line 2 of the trace is not JSON: "hello"/],
    [`${HEADER}\n${OP}`, /cut off/],
    [`${HEADER}\n${OP}\n{"end":2}`, /2 operations came before it, there were 1/],
    [`${HEADER}\n${OP}\n${END}\n${OP}`, /line 4 of the trace follows the end line/],
    [`${HEADER}\n${OP.replace('"i":0', '"i":1')}\n${END}`, /line 2 of the trace is operation 1, expected 0/],
    [`${HEADER}\n${OP.replace('4096', '0.5')}\n${END}`, /argument 0.5/],
    [`${HEADER}\n${OP.replace('4096', '{}')}\n${END}`, /argument \{\}/],
    [`${HEADER}\n${OP.replace('"p":0', '"p":"x"')}\n${END}`, /process "x"/],
    [`${HEADER}\n${OP.replace('"r":0', '"r":[]')}\n${END}`, /result \[\]/],
    [`${HEADER}\n${OP.replace('"r":0', '"r":0,"f":[[1]]')}\n${END}`, /fault \[1\]/],
    [`${HEADER}\n${OP.replace('{}', '{"0":{"+":[1]}}')}\n${END}`, /"\+" 1, expected a text/],
    [`${HEADER}\n${OP.replace('{}', '{"x":{}}')}\n${END}`, /"x" in its snapshot/],
    [`${HEADER}\n${OP.replace('{}', '{"files":{"memfd:0":{}}}')}\n${END}`, /memfd:0 without a size/],
    [`${HEADER.replace('"snap":1', '"snap":0')}\n${OP}\n${END}`, /"snap" 0/],
    [`${HEADER.replace('"snap"', '"page_size":16384,"snap"')}\n${OP}\n${END}`, /pages of 16384 bytes/],
  ])('refuses %j', (text, sentence) => {
    expect(refusal(text)).toMatch(sentence);
  });

  it('refuses damaged traces with a sentence, never with a crash', () => {
    const text = keptTrace('anon/anon_basic');
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.nat(200), fc.string({ maxLength: 20 }), (at, cut, put) => {
        try {
          parseTrace(text.slice(0, at) + put + text.slice(at + cut));
        } catch (e) {
          if (!(e instanceof PxdError)) throw e;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseLine', () => {
  it.each([
    ['10000000-10004000 rw-p 0 anon - rdwr 3*.', /runs are 3 pages, the VMA has 4/],
    ['10000000-10004000 rw-p 0 anon rss=x rdwr 4*.', /rss=x/],
    ['10000000-10004001 rw-p 0 anon - rdwr 4*.', /10004001 is not the address of a page/],
    ['10000000-10004000 rw-p', /expected "start-end/],
  ])('refuses %j', (line, sentence) => {
    expect(() => parseLine(line)).toThrow(sentence);
  });
});
