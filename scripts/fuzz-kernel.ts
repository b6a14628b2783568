/**
 * `npm run fuzz:kernel -- [--ops N] [--seed S] [--group G] [--length N] [--without OP,OP] [--out FILE] [--help]`: random operations on the running kernel and on
 * the model, compared operation by operation. What differs is shrunk and printed as a list that `npx tsx tests/kernel/record.ts` plays.
 *
 * --without leaves operations out, to look at the others. --out writes the shrunk lists to a file.
 *
 * Exit code 0 without a difference (and where this machine cannot be recorded: one line tells why), 1 with one, 2 for bad options.
 */
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { conformTrace, type OperationDifference, type TraceReport } from '../src/machine/trace/conform.ts';
import { buildRecorder } from '../tests/kernel/build.ts';
import { GROUPS, type Group, generate, HUGE_GROUPS } from '../tests/kernel/generate.ts';
import { listText, type OperationList, Recorder } from '../tests/kernel/recorder.ts';
import { shrink } from '../tests/kernel/shrink.ts';

/** How many different differences are shrunk; further ones are counted. */
const MOST_SHRUNK = 5;

const { values } = parseArgs({
  options: {
    ops: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    group: { type: 'string' },
    length: { type: 'string', default: '120' },
    without: { type: 'string', default: '' },
    out: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(
    `fuzz:kernel [--ops N] [--seed S] [--group ${GROUPS.join('|')}[,…]] [--length N] [--without OP,OP] [--out FILE]: random operations on the running kernel and on the model`,
  );
  process.exit(0);
}
const wanted = Number(values.ops);
const firstSeed = Number(values.seed);
const length = Number(values.length);
const without = new Set(values.without.split(','));
/** States with huge pages have thousands of pages: of every twenty-one lists three have some, one a group, unless groups are named. */
const SMALL_PAGES = GROUPS.filter((g) => !HUGE_GROUPS.includes(g));
const groups = (values.group?.split(',') ?? [...SMALL_PAGES, ...SMALL_PAGES, ...SMALL_PAGES, ...HUGE_GROUPS]) as Group[];
const unknown = groups.find((g) => !GROUPS.includes(g));
if (unknown !== undefined || !(wanted > 0) || !Number.isInteger(firstSeed) || !(length > 0)) {
  console.error(unknown !== undefined ? `no group "${unknown}"; there are ${GROUPS.join(', ')}` : 'numbers are wanted for --ops, --seed and --length');
  process.exit(2);
}

const built = buildRecorder();
if ('skipped' in built) {
  console.log(`skipped: ${built.skipped}`);
  process.exit(0);
}
// a list that ends the recorder (which would be a fault of it) ends the run
const recorder = new Recorder(built);
if (values.out !== undefined) writeFileSync(values.out, '');

interface Failure {
  readonly list: OperationList;
  readonly report: TraceReport;
}

/** What a difference is about, to tell two of one kind: of a result both values, of a state the field; no addresses, no numbers of pages. */
function kindOf({ op, what, where, expected, got }: OperationDifference): string {
  const plain = (text: string | undefined): string =>
    (text ?? '(nothing)')
      .split('\n')[0]
      .slice(0, 100)
      .replace(/0x[0-9a-f]+|\b\d+\b/g, 'N');
  if (what === 'run') return `${op}: ${plain(got)}`;
  if (what === 'r') return `${op} gives ${plain(got)}, not ${plain(expected)}`;
  if (what === 'v' || what === 'f' || what === 'status' || what === 'walk_end' || what === 'u') return `${op}: ${what}`;
  if (what === 'vma') return `VMA: ${wordsThatDiffer(expected, got)}`;
  return `${what} ${what === 'counter' ? where.replace(/^\d+ /, '') : ''}`.trim();
}

const WORDS = ['range', 'permissions', 'offset', 'name', 'numbers', 'flags', 'pages'];

function wordsThatDiffer(expected: string | undefined, got: string | undefined): string {
  if (expected === undefined) return 'one too many';
  if (got === undefined) return 'missing';
  const [a, b] = [expected.split(' '), got.split(' ')];
  const keys = (i: number): string => (WORDS[i] === 'numbers' ? ` (${changedKeys(a[i], b[i]).join(' ')})` : '');
  return WORDS.flatMap((word, i) => (a[i] !== b[i] ? [word + keys(i)] : [])).join(', ');
}

/** Names of numbers that are not the same in `rss=4,pss=4` and another such text. */
function changedKeys(a: string, b: string): string[] {
  const [x, y] = [a, b].map((text) => new Set(text.split(',')));
  return [...new Set([...x, ...y].filter((pair) => !(x.has(pair) && y.has(pair)) && pair !== '-').map((pair) => pair.split('=')[0]))].sort();
}

/** How often this machine had no memory for a huge page or a large folio since it was started: all that the kernel counts of it. */
function shortages(): number {
  const folios = '/sys/kernel/mm/transparent_hugepage/';
  const sizes = existsSync(folios) ? readdirSync(folios).map((size) => `${folios}${size}/stats/anon_fault_fallback`) : [];
  const failures = [
    ...readFileSync('/proc/vmstat', 'utf8').matchAll(
      /^(?:thp_fault_fallback|thp_collapse_alloc_failed|thp_zero_page_alloc_failed|htlb_buddy_alloc_fail) (\d+)$/gm,
    ),
  ];
  const counts = [...failures.map(([, n]) => Number(n)), ...sizes.map((path) => (existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0))];
  return counts.reduce((sum, n) => sum + n, 0);
}

/**
 * Whether a recording that differs is the kernel's word: 'uncertain' where a second recording is not the same as the first, 'starved' where
 * the machine was short of huge pages (which the model, with memory of its own, is not).
 */
async function word(list: OperationList, trace: string): Promise<'certain' | 'uncertain' | 'starved'> {
  const before = shortages();
  let same = true;
  for (let i = 0; i < 2 && same; i++) same = (await recorder.record(list)) === trace;
  if (shortages() !== before) return 'starved';
  return same ? 'certain' : 'uncertain';
}

/** Plays a recording on the model; one that the model's reader refuses is a difference, too. */
function compare(trace: string): TraceReport {
  try {
    return conformTrace(trace, { all: true });
  } catch (error) {
    const refused = { i: 0, op: 'trace', what: 'run', where: '', expected: undefined, got: String(error) } as const;
    return { trace: '', group: '', ops: 0, differences: 1, accepted: 0, first: refused, all: [refused] };
  }
}

/** Whether a list has a difference of this kind: another one would lead astray. */
const differs = async (list: OperationList, kind: string): Promise<boolean> =>
  compare(await recorder.record(list)).all?.some((d) => kindOf(d) === kind) === true;

async function show(failure: Failure, kind: string): Promise<void> {
  const { list, asked } = await shrink(failure.list, (candidate) => differs(candidate, kind));
  const { all, differences } = compare(await recorder.record(list));
  const first = all?.find((d) => kindOf(d) === kind) ?? all?.[0];
  console.log(
    `\n${failure.list.header.name}: ${failure.report.differences} of ${failure.list.operations.length} operations differ; shrunk to ${list.operations.length} (${asked} candidates, ${differences} differ):`,
  );
  process.stdout.write(listText(list));
  if (first !== undefined)
    console.log(
      `operation ${first.i} (${first.op}), ${first.what} ${first.where}\n  kernel ${first.expected ?? '(nothing)'}\n  model  ${first.got ?? '(nothing)'}`,
    );
  if (values.out !== undefined) appendFileSync(values.out, listText(list));
}

const start = performance.now();
const kinds = new Map<string, number>();
const shown: Failure[] = [];
let [operations, lists, uncertain, starved, failed, comparing] = [0, 0, 0, 0, 0, 0];

/** Lists are recorded a few ahead of the one that is compared: kernel and model work at the same time. */
async function* recordings(): AsyncGenerator<{ list: OperationList; trace: string }> {
  const ahead: Promise<{ list: OperationList; trace: string }>[] = [];
  const seeds = new Map<Group, number>();
  for (let made = 0, n = 0; made < wanted || ahead.length > 0; ) {
    while (ahead.length < 4 && made < wanted) {
      const group = groups[n % groups.length];
      const seed = seeds.get(group) ?? firstSeed;
      seeds.set(group, seed + 1);
      const whole = generate(group, seed, Math.min(length, wanted - made));
      const list = { ...whole, operations: whole.operations.filter((o) => !without.has(o.op)) };
      n++;
      made += list.operations.length;
      ahead.push(recorder.record(list).then((trace) => ({ list, trace })));
    }
    const next = await ahead.shift();
    if (next !== undefined) yield next;
  }
}

for await (const { list, trace } of recordings()) {
  lists++;
  operations += list.operations.length;
  const before = performance.now();
  const report = compare(trace);
  comparing += performance.now() - before;
  if (report.differences > 0) {
    const kernelsWord = await word(list, trace);
    if (kernelsWord === 'uncertain') uncertain++;
    else if (kernelsWord === 'starved') starved++;
    else {
      failed++;
      const failure = { list, report };
      const kind = report.first === undefined ? '' : kindOf(report.first);
      if (!kinds.has(kind) && shown.length < MOST_SHRUNK) {
        shown.push(failure);
        await show(failure, kind);
      }
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
  }
  if (process.stderr.isTTY) process.stderr.write(`\r${operations} of ${wanted} operations, ${failed} lists differ `);
}
await recorder.close();
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
if (kinds.size > 0) {
  console.log('\nfirst differences by kind:');
  for (const [kind, n] of [...kinds].sort((a, b) => b[1] - a[1])) console.log(`${String(n).padStart(6)}  ${kind}`);
}
const seconds = (performance.now() - start) / 1000;
console.log(
  `fuzz:kernel: ${operations} operations in ${lists} lists (${[...new Set(groups)].join(', ')}) from seed ${firstSeed}: ${failed} lists differ` +
    `${uncertain > 0 ? `, ${uncertain} on which the kernel itself does not always agree` : ''}` +
    `${starved > 0 ? `, ${starved} left out because this machine had no huge page to give` : ''}; ${seconds.toFixed(1)} s, of which ${(comparing / 1000).toFixed(1)} s in the model`,
);
process.exitCode = failed > 0 ? 1 : 0;
