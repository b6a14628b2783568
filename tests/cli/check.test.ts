/** `pxd check`: what it prints, its exit codes, and what it refuses. The searches themselves have tests of their own (tests/explore, tests/races). */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { widthOf } from '../../src/cli/table.ts';
import { catalogue } from '../../src/races/index.ts';
import { json, pxd, type Ran } from './pxd.ts';
import { elementsOf } from './xml.ts';

const folder = mkdtempSync(join(tmpdir(), 'pxd-check-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const KEYS = ['id', 'variant', 'mode', 'expected', 'result', 'invariant', 'preemptions', 'states', 'ms', 'schedule'];

/** A scenario whose outcome is known without searching: two tasks add 1 to a number, by one operation or by two. */
const COUNTER = `
import { call, scenario, task } from 'pxd/explore';
import { alloc, atomicAdd, defineStruct, get, type Op, readOnce, writeOnce } from 'pxd/explore/kernel';
const Counter = defineStruct('counter', { value: 'number' });
function* increase(counter: number, atomic: number): Op<number> {
  if (atomic) return yield* atomicAdd(counter, Counter.value, 1);
  return yield* writeOnce(counter, Counter.value, (yield* readOnce(counter, Counter.value)) + 1);
}
const two = (expect: { racy: 'clean' | 'violation'; atomic: 'clean' | 'violation' }, id = 'counter') => scenario({
  id,
  title: 'two add to a number',
  setup: (stage) => { stage.notes.counter = alloc(Counter); },
  roots: ({ notes }) => [notes.counter],
  tasks: {
    a: ({ notes }) => task(call(increase, notes.counter, notes.atomic)),
    b: ({ notes }) => task(call(increase, notes.counter, notes.atomic)),
  },
  variants: {
    racy: { expect: expect.racy, rule: 'sum', notes: { atomic: 0 }, note: 'reads, then writes' },
    atomic: { expect: expect.atomic, notes: { atomic: 1 } },
  },
  holds: { sum: ({ notes }) => (get(notes.counter, Counter.value) === 2 ? undefined : 'the sum is ' + get(notes.counter, Counter.value)) },
});
`;
const counter = file('counter.ts', `${COUNTER}\nexport default two({ racy: 'violation', atomic: 'clean' });`);
/** The same with wrong expectations. */
const wrong = file('wrong.ts', `${COUNTER}\nexport default two({ racy: 'clean', atomic: 'violation' });`);

/** Exit code 2, one sentence on stderr, nothing on stdout. */
function refused(ran: Ran, sentence: RegExp): void {
  expect([ran.code, ran.out]).toEqual([2, '']);
  expect(ran.err).toMatch(sentence);
  expect(ran.err).toMatch(/^pxd: .*\n?$/);
}

describe('pxd check', () => {
  it('prints a row a variant, and a report', async () => {
    const { code, lines, out } = await pxd(['check', 'E17']);
    expect(code).toBe(0);
    expect(lines[0]).toMatch(/^scen +variant +mode +result +pre +states +time +bnd +ok$/);
    expect(lines[1]).toMatch(/^E17 +unaware +x86-4level +violation I4 +1 +[\d,]+ +[\d.]+ s +≤1 +ok$/);
    expect(lines[2]).toMatch(/^E17 +fixed +x86-4level +clean +[\d,]+ +[\d.]+ s +∞ +ok$/);
    expect(out).toMatch(/^2 of 2 as expected, in [\d.]+ s$/m);
    expect(out).toMatch(/^explored: [\d,]+ states and [\d,]+ steps/m);
    expect(out).toMatch(/^left out: [\d,]+ steps led to states that were known/m);
    expect(out).toMatch(/^probability that a state was taken for another one .*10\^-\d+$/ms);
    // What was asked for by name is told, with the command that shows it again.
    expect(out).toMatch(/^ {2}pxd check E17 --variant unaware --mode x86-4level --replay '[\d.*]+'$/m);
  });

  it('finds the entry in any case, and only the variant and the modes that are asked for', async () => {
    const { lines } = await pxd(['check', 'e17', '--variant', 'unaware', '--mode', 's390x', '-m', 'ppc-8xx-4k', '-m', 's390x']);
    expect(lines.filter((line) => /^E17 +unaware.* ok$/.test(line)).map((line) => line.split(/ +/)[2])).toEqual(['s390x', 'ppc-8xx-4k']);
  });

  it('takes an entry in the first mode that has what it is about, where none is asked for', async () => {
    const rows = json(await pxd(['check', 'E84', 'E17', '--variant', 'no-break', '--json']));
    expect(rows.map(({ id, mode }) => [id, mode])).toEqual([['E84', 'arm64-4k-48']]);
    expect((await pxd(['check', 'E84', '--mode', 's390x'])).err).toContain('E84: makes no sense in s390x');
  });

  it('knows what "all" modes are', async () => {
    const rows = json(await pxd(['check', counter, '--variant', 'atomic', '--mode', 'all', '--json']));
    expect(rows.map((row) => row.mode)).toEqual(['x86-4level', 'arm64-4k-48', 's390x', 'ppc-8xx-4k']);
  });

  it('gives an object a row, with exactly these keys', async () => {
    const ran = await pxd(['check', counter, '--json']);
    const rows = json(ran);
    expect(ran.code).toBe(0);
    for (const row of rows) expect(Object.keys(row)).toEqual(KEYS);
    expect(rows).toMatchObject([
      { id: 'counter', variant: 'racy', mode: 'x86-4level', expected: 'violation', result: 'violation', invariant: 'sum', preemptions: 1 },
      { id: 'counter', variant: 'atomic', mode: 'x86-4level', expected: 'clean', result: 'clean', invariant: null, preemptions: null, schedule: null },
    ]);
    expect(rows[0].schedule).toMatch(/^[\d.*]+$/);
  });

  it('says why a bound is enough, where one was', async () => {
    const bounded = file(
      'bounded.ts',
      `${COUNTER}\nconst { variants, ...rest } = two({ racy: 'clean', atomic: 'clean' }, 'bounded');
      export default scenario({ ...rest, variants: { atomic: { ...variants.atomic, bounded: { preemptions: 0, reason: 'for the test' } } } });`,
    );
    const [row] = json(await pxd(['check', bounded, '--json']));
    expect(row).toMatchObject({ result: 'bounded', preemptions: 0, note: 'for the test' });
    expect(Object.keys(row)).toEqual([...KEYS, 'note']);
    expect((await pxd(['check', bounded])).out).toMatch(/^bounded atomic x86-4level: at most 0 preemptions: for the test$/m);
  });

  it('ends with 1 when something is not as expected, and says how to see it again', async () => {
    const { code, out } = await pxd(['check', wrong]);
    expect(code).toBe(1);
    expect(out).toMatch(/^counter +racy .*NO$/m);
    expect(out).toContain('expected clean, found sum: the sum is 1');
    expect(out).toContain('expected a violation, found none (clean)');
    expect(out).toContain('0 of 2 as expected');
    // Found with no preemption it is none of these: with a bound that hides it, it is not found.
    expect((await pxd(['check', wrong, '--variant', 'racy', '--preemptions', '0'])).code).toBe(0);
    expect((await pxd(['check', counter, '--variant', 'racy', '--preemptions', '0'])).code).toBe(1);
  });

  it('gives a search up when there is no more memory for it, and says so', async () => {
    const many = file(
      'many.ts',
      `${COUNTER}
function* often(counter: number): Op<number> {
  for (let i = 0; i < 40; i++) yield* atomicAdd(counter, Counter.value, 1);
  return 0;
}
const { variants, holds, ...rest } = two({ racy: 'clean', atomic: 'clean' }, 'many');
const one = ({ notes }) => task(call(often, notes.counter));
export default scenario({ ...rest, tasks: { a: one, b: one, c: one }, variants: { only: { expect: 'clean' } } });`,
    );
    const { out, code } = await pxd(['check', many, '--memory', '1']);
    expect(code).toBe(1);
    expect(out).toMatch(/^many only +x86-4level not exhausted .*NO$/m);
    expect(out).toContain('not exhausted: stopped by time or memory');
    expect(json(await pxd(['check', many, '--memory', '100', '--json']))).toMatchObject([{ result: 'clean' }]);
  });

  it.each([80, 160])('fits %i columns, with colours and without', async (columns) => {
    for (const options of [{ columns }, { columns, color: true }]) {
      const { lines, code } = await pxd(['check', counter, '--mode', 'all'], options);
      expect(code).toBe(0);
      for (const line of lines) if (!/^ {2}pxd check /.test(line)) expect(widthOf(line)).toBeLessThanOrEqual(columns);
      expect(lines.some((line) => line.includes('\u001b['))).toBe(options.color === true);
    }
  });
});

describe('pxd check --list', () => {
  it('lists every entry with its variants', async () => {
    const { out, code } = await pxd(['check', '--list']);
    expect(code).toBe(0);
    for (const { id, variants } of catalogue) {
      expect(out).toMatch(new RegExp(`^${id} `, 'm'));
      for (const name of Object.keys(variants)) expect(out).toMatch(new RegExp(`^ +${name} +(clean|violation)`, 'm'));
    }
  });

  it('as objects, and of a file', async () => {
    const [entry] = json(await pxd(['check', counter, '--list', '--json']));
    expect(entry).toMatchObject({ id: 'counter', title: 'two add to a number', source: null, variants: { racy: { expect: 'violation' } } });
    expect((await pxd(['check', 'E28', '--list'], { columns: 60 })).lines.every((line) => line.length <= 60)).toBe(true);
  });
});

describe('pxd check --junit', () => {
  it('writes a suite an entry and a case a row, failures with their reasons', async () => {
    const path = join(folder, 'junit.xml');
    const quoted = file('quoted.ts', `${COUNTER}\nexport default two({ racy: 'clean', atomic: 'clean' }, 'a<b & "c"');`);
    expect((await pxd(['check', counter, quoted, '--junit', path])).code).toBe(1);
    const elements = elementsOf(readFileSync(path, 'utf8'));
    const of = (name: string): readonly Record<string, string>[] => elements.filter((one) => one.name === name).map((one) => one.attributes);
    expect(of('testsuites')).toMatchObject([{ tests: '4', failures: '1', errors: '0' }]);
    expect(of('testsuite')).toMatchObject([
      { name: 'counter', tests: '2', failures: '0' },
      { name: 'a<b & "c"', tests: '2', failures: '1' },
    ]);
    expect(of('testcase').map((one) => one.name)).toEqual(['racy x86-4level', 'atomic x86-4level', 'racy x86-4level', 'atomic x86-4level']);
    expect(of('failure')).toMatchObject([{ type: 'sum', message: 'expected clean, found sum: the sum is 1' }]);
  });
});

describe('pxd check --replay', () => {
  it('shows the run again', async () => {
    const [row] = json(await pxd(['check', counter, '--variant', 'racy', '--json']));
    const { out, code } = await pxd(['check', counter, '--variant', 'racy', '--replay', String(row.schedule)]);
    expect(code).toBe(0);
    expect(out).toMatch(/^counter racy x86-4level, \d+ steps, 1 preemptions: sum is broken\n/);
    expect(out).toMatch(/CPU 0: a +CPU 1: b/);
    expect((await pxd(['check', wrong, '--variant', 'racy', '--replay', String(row.schedule)])).code).toBe(1);
  });

  it('says that nothing is broken, or nothing so far', async () => {
    expect((await pxd(['check', counter, '--variant', 'racy', '--replay', '0*3.1*3'])).out).toContain(': nothing is broken\n');
    expect((await pxd(['check', counter, '--variant', 'racy', '--replay', '0'])).out).toContain(': nothing is broken so far: tasks are not done\n');
    expect(json(await pxd(['check', counter, '--variant', 'racy', '--replay', '0*3.1*3', '--json']))).toMatchObject([
      { id: 'counter', invariant: null, done: true, preemptions: 0, schedule: '0*3.1*3' },
    ]);
  });
});

describe('pxd check --diagram', () => {
  it('draws what breaks a rule, to stdout or to files', async () => {
    expect((await pxd(['check', counter, '--diagram'])).out).toMatch(/CPU 0: a +CPU 1: b/);
    const story = JSON.parse(
      (await pxd(['check', counter, '--variant', 'racy', '--diagram=json'])).out.replace(/^.*?\n\n(?={)/s, '').replace(/\n\n1 of 1.*$/s, ''),
    ) as Record<string, unknown>;
    expect(story).toMatchObject({ scenario: 'counter', variant: 'racy', violation: { rule: 'sum' } });
    const one = join(folder, 'one.json');
    await pxd(['check', counter, '--variant', 'racy', '--output', one, '--json']);
    expect(JSON.parse(readFileSync(one, 'utf8'))).toMatchObject({ scenario: 'counter' });
    await pxd(['check', counter, '--mode', 'all', '--diagram', 'text', '-o', join(folder, 'many.txt')]);
    expect(readdirSync(folder).filter((name) => name.startsWith('many.counter'))).toEqual(
      ['arm64-4k-48', 'ppc-8xx-4k', 's390x', 'x86-4level'].map((mode) => `many.counter.racy.${mode}.txt`),
    );
  });
});

describe('pxd check --smoke', () => {
  it('plays random schedules, the same for the same seed', async () => {
    const run = async (seed: string): Promise<Record<string, unknown>[]> => json(await pxd(['check', counter, '--smoke', '200', '--seed', seed, '--json']));
    const [racy, atomic] = await run('5');
    expect(racy).toMatchObject({ result: 'violation', invariant: 'sum' });
    expect(atomic).toMatchObject({ result: 'not exhausted', invariant: null });
    expect((await run('5'))[0].schedule).toBe(racy.schedule);
    const { code, out } = await pxd(['check', counter, '--smoke', '20']);
    expect(code).toBe(0);
    expect(out).toMatch(/^scen +variant +mode +result +pre +steps/);
    expect(out).not.toContain('explored');
    expect((await pxd(['check', wrong, '--smoke', '200', '--variant', 'racy'])).code).toBe(1);
  });
});

describe('pxd check --check-undo', () => {
  it('undoes and redoes steps, the same for the same seed', async () => {
    const argv = ['check', 'table-free', '--variant', 'rcu', '--check-undo', '--seed', '7'];
    const { code, lines, err } = await pxd(argv);
    expect([code, err]).toEqual([0, '']);
    expect(lines).toEqual([
      expect.stringMatching(/^table-free +rcu +x86-4level +500 steps undone and done again +ok$/),
      '',
      '1 of 1 keep all that they are in the machine’s memory (seed 7)',
    ]);
    const [one] = json(await pxd([...argv, '--json']));
    expect(one).toEqual({ id: 'table-free', variant: 'rcu', mode: 'x86-4level', seed: 7, steps: 500, states: expect.any(Number), fault: null });
    expect(json(await pxd([...argv, '--json']))).toEqual([one]);
  });

  const counting = COUNTER.replace('function* increase', 'let calls = 0;\nconst next = () => ++calls;\nfunction* increase').replace(
    'if (atomic)',
    'yield* readOnce(counter, Counter.value);\n  if (next() > 1e9) return 0;\n  if (atomic)',
  );
  it('refuses files whose tasks keep something elsewhere, also before a search', async () => {
    const fine = file('unread.ts', `${counting}\nexport default two({ racy: 'violation', atomic: 'clean' }, 'unread');`);
    expect((await pxd(['check', fine, '--check-undo'])).code).toBe(0);
    const path = file(
      'counts.ts',
      `${counting.replace('Counter.value, 1)', 'Counter.value, next())')}\nexport default two({ racy: 'violation', atomic: 'clean' }, 'counts');`,
    );
    for (const more of [['--check-undo'], [], ['--smoke', '3'], ['--workers', '2'], ['--json']])
      refused(
        await pxd(['check', path, '--variant', 'atomic', ...more]),
        /counts\.ts: counts, variant atomic: task [ab] in increase\(\d+, 1\), at readOnce\(\d+, 1\), leads to atomicAdd\(\d+, 1, \d+\) instead of atomicAdd/,
      );
    const clock = file(
      'clock.ts',
      `${counting.replace('++calls', '{\n  return Date.now(); }')}\nexport default two({ racy: 'violation', atomic: 'clean' }, 'clock');`,
    );
    refused(await pxd(['check', clock]), /clock\.ts:7: clock, variant racy: task [ab] in increase\(\d+, 0\), at readOnce\(\d+, 1\), asks Date\.now\(\)/);
  });
});

describe('pxd check with results files', () => {
  it('does shards, puts them together, and goes on where a file ends', async () => {
    const [first, second] = [join(folder, '1.jsonl'), join(folder, '2.jsonl')];
    const row = ({ ms, ...rest }: Record<string, unknown>): Record<string, unknown> => rest;
    const whole = json(await pxd(['check', counter, '--mode', 'all', '--json'])).map(row);
    const parts = [
      json(await pxd(['check', counter, '--mode', 'all', '--shard', '1/2', '--resume', first, '--json'])),
      json(await pxd(['check', counter, '--mode', 'all', '--shard', '2/2', '--resume', second, '--json'])),
    ];
    expect(parts.map((rows) => rows.length)).toEqual([4, 4]);
    const merged = await pxd(['check', '--merge', first, second, '--json']);
    expect(merged.code).toBe(0);
    expect(json(merged).map(row)).toEqual(whole);
    const half = await pxd(['check', '--merge', first]);
    expect(half.code).toBe(1);
    expect(half.err).toContain('there is no file of shard 2/2');
    // A line that was cut off is done again, the others are not.
    const text = readFileSync(first, 'utf8');
    writeFileSync(first, text.slice(0, -30));
    expect(json(await pxd(['check', counter, '--mode', 'all', '--shard', '1/2', '--resume', first, '--json'])).map(row)).toEqual(parts[0].map(row));
    const lines = readFileSync(first, 'utf8').split('\n');
    expect(lines.slice(0, -2)).toEqual(text.split('\n').slice(0, -2));
    expect(lines.length).toBe(text.split('\n').length);
  });
});

describe('pxd check: what it refuses', () => {
  it.each<[string, string[], RegExp]>([
    ['an entry that is not there', ['E9999'], /no entry "E9999"/],
    ['a variant that is not there', ['E17', '--variant', 'nope'], /--variant nope: E17 has the variants unaware, fixed/],
    ['a variant that nothing has', ['--variant', 'nope'], /none of the \d+ entries/],
    ['a mode that is not there', ['E17', '--mode', 'x87'], /--mode x87: there is no such paging mode/],
    ['preemptions that are no number', ['E17', '--preemptions', 'x'], /expected a number of preemptions from 0 to 100/],
    ['preemptions below none', ['E17', '--preemptions', '-1'], /preemptions/],
    ['no time', ['E17', '--limit', '0'], /expected a number of seconds/],
    ['no memory', ['E17', '--memory', '0.5'], /expected a number of megabytes/],
    ['no schedules', ['E17', '--smoke', '0'], /expected a number of schedules/],
    ['a shard of nothing', ['E17', '--shard', '3/2'], /expected I\/N/],
    ['sizes without shards', ['E17', '--sizes', 'x'], /--sizes says something only together with --shard/],
    ['no threads', ['E17', '--workers', '0'], /expected a number of threads/],
    ['a format that is not there', ['E17', '--diagram=png'], /--diagram=png: there is no such format/],
    ['two on stdout', ['E17', '--diagram', '--json'], /both write to stdout/],
    ['a schedule of several rows', ['E17', '--replay', '0'], /--replay needs one entry with one --variant/],
    ['what is no schedule', ['E17', '--variant', 'fixed', '--replay', '0;1'], /no part of a schedule/],
    ['a schedule of something else', ['E17', '--variant', 'fixed', '--replay', '7'], /action 0, 7, cannot happen/],
    ['a schedule and a search', ['E17', '--variant', 'fixed', '--replay', '0', '--smoke', '3'], /--replay and --smoke/],
    ['a merge and entries', ['E17', '--merge', 'x'], /--merge takes files/],
    ['results that are not there', ['--merge', 'none.jsonl'], /none\.jsonl/],
    ['results that are none', ['--merge', 'package.json'], /package\.json/],
    ['a file that is not there', ['./none.ts'], /none\.ts/],
    ['a folder', ['./tests'], /tests: scenarios are read out of/],
    ['a place where nothing can be written', ['E17', '--variant', 'unaware', '--junit', '/none/x.xml'], /\/none\/x\.xml cannot be written/],
    ['an undo check that searches', ['E17', '--check-undo', '--smoke', '3'], /--check-undo and --smoke: steps are undone and done again/],
    ['a seed of nothing', ['E17', '--seed', '3'], /--seed says something only together with --smoke or --check-undo/],
    ['an option that is not there', ['E17', '--nope'], /unknown option '--nope'/],
  ])('%s', async (_, argv, sentence) => {
    refused(await pxd(['check', ...argv]), sentence);
  });
});

let badFiles = 0;

describe('pxd check FILE: what it refuses', () => {
  it.each<[string, string, RegExp]>([
    ['empty.ts', '', /empty\.ts has no default export/],
    ['list.ts', 'export default [];', /an empty list of scenarios/],
    ['number.js', 'export default 3;', /no scenario but a number/],
    ['bare.mjs', "export default { id: 'x' };", /scenario x has no title/],
    ['variants.ts', "export default { id: 'x', title: '', setup() {}, tasks: { a() {} } };", /scenario x has no variants/],
    ['expects.ts', "export default { id: 'x', title: '', setup() {}, tasks: { a() {} }, variants: { a: {} } };", /variant a of scenario x expects neither/],
    [
      'switch.ts',
      "export default { id: 'x', title: '', setup() {}, tasks: { a() {} }, variants: { a: { expect: 'clean', switches: ['no'] } } };",
      /throws "no"/,
    ],
    ['syntax.ts', 'const x = {\n\n;', /syntax\.ts:3:1: /],
    ['name.ts', "import { map,\n  nope } from 'pxd/explore';\nexport default nope(map);", /name\.ts:1: "pxd\/explore" exports no nope/],
    ['package.ts', "import x from 'no-such-package';\nexport default x;", /package\.ts:1: "no-such-package" cannot be imported/],
    ['ours.ts', "import { x } from 'pxd/nope';\nexport default x;", /there is no pxd\/nope/],
    ['other.ts', "import { x } from './not-there.ts';\nexport default x;", /there is no file "\.\/not-there\.ts"/],
    ['circle.ts', "import { x } from './circle.ts';\nexport default x;", /import each other in a circle/],
    ['throws.ts', '\n\nconst none: { x: { y: number } } = JSON.parse("{}");\nexport default none.x.y;', /throws\.ts:4: Cannot read properties of undefined/],
    [
      'setup.ts',
      "export default {\n  id: 'x', title: '', variants: { a: { expect: 'clean' } },\n  setup(stage: { none?: { x: number } }) {\n    stage.none!.x = 1;\n  },\n  tasks: { a: () => ({ calls: [] }) },\n};",
      /setup\.ts:4: Cannot set properties of undefined/,
    ],
    [
      'unknown.ts',
      "export default { id: 'x', title: '', variants: { a: { expect: 'clean' } }, setup() {}, tasks: { a: () => ({ calls: [{ run: 'sysNope', args: [] }] }) } };",
      /no kernel function sysNope/,
    ],
    [
      'dialect.ts',
      "import { type Op, readOnce } from 'pxd/explore/kernel';\n\nfunction* read(ref: number): Op<number> {\n  const list = [1];\n  readOnce(ref, 1);\n  return Math.random() + list.length;\n}\nexport default read;",
      /dialect\.ts:4:16: object: .*5:3 generator-call.*6:\d+ host/,
    ],
  ])('%s', async (name, text, sentence) => {
    refused(await pxd(['check', file(name, text)]), sentence);
  });

  /** A scenario of two tasks, `a` and `b`, over an object of two fields. */
  const twoTasks = (kernel: string, a: string, b: string, extra = ''): string => `
    import { call, scenario, task } from 'pxd/explore';
    import { type Op, alloc, defineStruct, get, kmalloc, readOnce, writeOnce } from 'pxd/explore/kernel';
    const Box = defineStruct('badBox', { value: 'number', other: 'number' });
    ${kernel}
    function* read(box: number): Op<number> { yield* readOnce(box, Box.other); return yield* readOnce(box, Box.other); }
    export default scenario({
      id: 'bad', title: '',
      setup: ({ notes }) => { notes.box = alloc(Box); }, roots: ({ notes }) => [notes.box],
      tasks: { a: ({ notes }) => ${a}, b: ({ notes }) => ${b} },
      variants: { only: { expect: 'clean' } }, ${extra}
    });`;
  const READ = 'task(call(read, notes.box))';
  const BAD = 'task(call(bad, notes.box))';
  it.each<[string, string, RegExp]>([
    [
      'a task that throws',
      twoTasks(
        'const fail = (): number => { throw new TypeError("no\\nluck"); };\nfunction* bad(box: number): Op<number> { yield* readOnce(box, Box.value); return fail(); }',
        BAD,
        READ,
      ),
      /bad0\.ts:5: bad, variant only: task a in bad\(\d+\), at readOnce\(\d+, 1\), throws: no$/,
    ],
    [
      'a task that throws in one order of things only',
      twoTasks(
        'const fail = (): number => { throw new Error("seven"); };\nfunction* bad(box: number): Op<number> { for (let i = 1; i < 9; i++) { yield* writeOnce(box, Box.value, i); yield* writeOnce(box, Box.value, 0); } return 0; }\nfunction* see(box: number): Op<number> { let n = 0; for (let i = 1; i < 8; i++) if ((yield* readOnce(box, Box.value)) === i) n++; return n === 7 ? fail() : 0; }',
        BAD,
        'task(call(see, notes.box))',
      ),
      /bad1\.ts:5: bad, variant only: task b in see\(\d+\), at readOnce\(\d+, 1\), throws: seven$/,
    ],
    [
      'a task that never gets to an operation',
      twoTasks('function* bad(box: number): Op<number> { yield* readOnce(box, Box.value); let n = 0; for (;;) n++; return n; }', BAD, READ),
      /bad2\.ts:5: bad, variant only: task a in bad\(\d+\), at readOnce\(\d+, 1\), throws: a loop has gone round [\d,]+ times without an operation/,
    ],
    [
      'a loop without end in a function that a task calls',
      twoTasks(
        'const spin = (): number => { let n = 0; do n++; while (n > 0); return n; };\nfunction* bad(box: number): Op<number> { spin(); return yield* readOnce(box, Box.value); }',
        BAD,
        READ,
      ),
      /bad3\.ts:5: bad, variant only: task a in bad\(\d+\), at its beginning, throws: a loop has gone round/,
    ],
    [
      'a call of itself without end',
      twoTasks('function* bad(box: number): Op<number> { return (yield* bad(box)) + 1; }', BAD, READ),
      /bad, variant only: task a in bad\(\d+\), at its beginning, throws: Maximum call stack/,
    ],
    [
      'a call of itself without end, with operations',
      twoTasks('function* bad(box: number): Op<number> { yield* writeOnce(box, Box.value, 1); return (yield* bad(box)) + 1; }', BAD, READ),
      /bad, variant only: task a in bad\(\d+\), at writeOnce\(\d+, 1, 1\), throws: a task's stack of \d+ doubles is too small/,
    ],
    [
      'objects without end',
      twoTasks('function* bad(box: number): Op<number> { while (box > 0) yield* kmalloc(Box.$type); return 0; }', BAD, READ),
      /bad, variant only: task a in bad\(\d+\), at kmalloc\(\d+\), throws: objects without end: tasks have allocated 32,768 words more than were freed/,
    ],
    [
      'a check of the end that throws',
      twoTasks('', READ, READ, 'holds: { good: ({ results }) => results.none[0] === 0 ? undefined : "no" },'),
      /bad7\.ts:11: bad, variant only: behind task [ab] in read\(\d+\), at readOnce\(\d+, 2\), a check of the end throws: Cannot read properties of undefined/,
    ],
    [
      'a check after every step that throws',
      twoTasks('', READ, READ, 'always: { good: () => { throw new Error("never"); } },'),
      /bad8\.ts:11: bad, variant only: task [ab] in read\(\d+\), at its beginning, throws: never/,
    ],
    ['a setup without end', twoTasks('', READ, READ).replace('notes.box = alloc(Box);', 'for (;;);'), /bad9\.ts:9: a loop has gone round/],
    ['a task without calls', twoTasks('', '({ calls: read })', READ), /task a of scenario bad has no list of calls/],
    ['a call of nothing', twoTasks('', 'task(call(undefined, 1))', READ), /task a of scenario bad calls undefined, which is no kernel function/],
    ['a call of plain code', twoTasks('', 'task(call(() => 1))', READ), /task a of scenario bad calls a function without a name, which is no kernel function/],
    ['a call with too little', twoTasks('', READ, 'task(call(read))'), /task b of scenario bad calls read\(\) with 0 of 1 arguments/],
    ['a call with no number', twoTasks('', READ, 'task(call(read, notes.nope))'), /task b of scenario bad calls read\(\) with undefined as argument 1/],
    ['a CPU that is not there', twoTasks('', READ, '({ ...task(call(read, 1)), cpu: 7 })'), /task b of scenario bad runs on CPU 7, and the machine has 2/],
  ])('%s', async (what, text, sentence) => {
    const name = `bad${badFiles++}.ts`;
    const ran = await pxd(['check', file(name, text)]);
    expect(what).toBeTruthy();
    refused({ ...ran, err: ran.err.replace(/\n$/, '') }, sentence);
  });

  it('two scenarios of one id', async () => {
    refused(await pxd(['check', counter, wrong]), /wrong\.ts has a scenario counter, and so has .*counter\.ts/);
    refused(
      await pxd(['check', file('twice.ts', `${COUNTER}\nconst one = two({ racy: 'clean', atomic: 'clean' });\nexport default [one, one];`)]),
      /two scenarios with the id counter/,
    );
  });
});

describe('pxd check --help', () => {
  it.each([80, 160])('tells all options in %i columns', async (columns) => {
    const { out, code } = await pxd(['check', '--help'], { columns });
    expect(code).toBe(0);
    for (const option of [
      '--list',
      '--mode',
      '--variant',
      '--preemptions',
      '--limit',
      '--memory',
      '--json',
      '--junit',
      '--diagram',
      '--output',
      '--no-minimise',
      '--replay',
      '--smoke',
      '--seed',
      '--check-undo',
      '--workers',
      '--resume',
      '--shard',
      '--merge',
    ])
      expect(out).toContain(option);
    expect(out).toContain('Exit codes: 0 all rows are as expected, 1 some are not, 2 bad input.');
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(columns);
  });

  it('is in the help of pxd, and its page tells every option', async () => {
    expect((await pxd(['--help'])).out).toMatch(/^ +check +explore every interleaving/m);
    const page = readFileSync('docs/check.md', 'utf8');
    for (const [option] of (await pxd(['check', '--help'])).out.matchAll(/--[a-z]+(?:-[a-z]+)*/g)) if (option !== '--help') expect(page).toContain(option);
    expect(existsSync('docs/check-tutorial.md')).toBe(true);
  });
});
