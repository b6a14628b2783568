import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LEGEND } from '../../../src/machine/trace/draw.ts';
import { type Argument, type Operation, parseTrace } from '../../../src/machine/trace/format.ts';
import { bytesText, callText, faultText, parseScript, resultText, scriptLine, scriptOperations } from '../../../src/machine/trace/notation.ts';
import { PxdError } from '../../../src/pagetable/error.ts';
import { isWhole, readTrace, traceFiles } from './traces.ts';

const read = (line: string): Operation => {
  const { op, process, args } = parseScript(line).steps[0];
  return { op, process, args };
};

/** Values of a `cfg` are texts in a script. */
const comparable = ({ op, process, args }: Operation): unknown => ({ op, process, args: op === 'cfg' ? args.map(String) : args });

/** Operations of uffd, NUMA and swap have no place in a script. */
const IN_SCRIPTS = ['anon', 'file', 'fork', 'mlock', 'misc', 'gup'];

/** Operations that some recordings give an argument too many. */
const SUPERFLUOUS = ['r'];

describe('scripts', () => {
  it('say every recorded operation, and are read as the same operation', () => {
    let count = 0;
    for (const file of traceFiles(IN_SCRIPTS)) {
      const { steps } = parseTrace(readTrace(file));
      const again = parseScript(steps.map(scriptLine).join('\n')).steps;
      expect(again.length).toBe(steps.length);
      // What the recording leaves out at the end is written out, and what no operation looks at is not.
      const side = (of: readonly Operation[], other: readonly Operation[]): unknown[] =>
        of.map(({ op, process, args }, i) => comparable({ op, process, args: args.slice(0, other[i].args.length) }));
      expect(side(again, steps)).toEqual(side(steps, again));
      for (const [i, step] of steps.entries()) if (step.args.length > again[i].args.length) expect(SUPERFLUOUS).toContain(step.op);
      count += steps.length;
    }
    expect(count).toBeGreaterThan(isWhole ? 19_000 : 500);
  });

  it.each<[string, string, Argument[]]>([
    ['mmap 0x10000000 64K rw private|anon|fixed', 'mmap', [0x10000000n, 65536n, 3n, 0x32n, 2n ** 64n - 1n, 0n]],
    ['mmap 0 16p PROT_READ|PROT_EXEC MAP_SHARED | MAP_POPULATE 3 -4K  # remark', 'mmap', [0n, 65536n, 5n, 0x8001n, 3n, 2n ** 64n - 4096n]],
    ['mmap 0 2M none private|anon|hugetlb|huge_2mb', 'mmap', [0n, 2n ** 21n, 0n, 0x40022n | (21n << 26n), 2n ** 64n - 1n, 0n]],
    ['MADVISE 0x1000 4K dontneed', 'madvise', [0x1000n, 4096n, 4n]],
    ['store 0x1000', 'w', [0x1000n, 1n, 0n]],
    ['load 0x1000 3', 'r', [0x1000n, 3n]],
    ['mremap 0x1000 4K 8K maymove', 'mremap', [0x1000n, 4096n, 8192n, 1n, 0n]],
    [
      'process_vm_readv P1 0x1000+8K,0x5000+100 0x2000+4K',
      'process_vm_readv',
      [
        1n,
        [
          [0x1000n, 8192n],
          [0x5000n, 100n],
        ],
        [[0x2000n, 4096n]],
        0n,
      ],
    ],
    ['setrlimit MEMLOCK 64K unlimited', 'setrlimit', [8n, 65536n, 2n ** 64n - 1n]],
    ['capdrop IPC_LOCK sys_nice', 'capdrop', [14n, 23n]],
    ['memfd "a b" allow_sealing', 'memfd_create', ['a b', 2n]],
    ['pagemap_scan 0x1000 0x2000', 'pagemap_scan', [0x1000n, 0x2000n, 0n, 0n, 0n, 0n, 0n, 0x1ffn, 256n]],
  ])('reads %j', (line, op, args) => {
    expect(read(line)).toEqual({ op, process: 0, args });
  });

  it('reads processes', () => {
    expect(parseScript('fork\nP1 fork\n2: exit 3\np1: kill').steps.map((s) => [s.process, s.op])).toEqual([
      [0, 'fork'],
      [1, 'fork'],
      [2, 'exit'],
      [1, 'kill'],
    ]);
  });

  it.each([
    ['', /holds no operation/],
    ['# only a remark', /holds no operation/],
    ['munmap 0x1000 4K\nmunmapp 0x1000 4K', /line 2: there is no operation "munmapp", did you mean "munmap"/],
    ['munmap 0x1000', /expected "munmap ADDRESS LENGTH", found 1 arguments/],
    ['munmap 0x1000 4K 7', /found 3 arguments/],
    ['munmap zz 4K', /ADDRESS of munmap is "zz", expected a number/],
    ['mprotect 0 4K q', /PROT of mprotect is "q", expected read, write, exec,/],
    ['madvise 0 4K sometimes', /ADVICE of madvise is "sometimes"/],
    ['vmsplice 1 0x1000', /MEMORY of vmsplice is "0x1000", expected ADDRESS\+LENGTH/],
    ['P1', /names a process and no operation/],
    ['toString', /no operation "toString"/],
  ])('refuses %j', (text, sentence) => {
    expect(() => parseScript(text)).toThrow(PxdError);
    expect(() => parseScript(text)).toThrow(sentence);
  });
});

describe('calls and results', () => {
  const text = (line: string): string => callText(read(line));

  it.each([
    ['mmap 0x10004000 60K rw private|anon|fixed', 'mmap(0x10004000, 60K, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS)'],
    ['mmap 0 4K none shared 3 8K', 'mmap(0x0, 4K, PROT_NONE, MAP_SHARED, 3, 8K)'],
    ['mmap 0 4K r 0x400003', 'mmap(0x0, 4K, PROT_READ, MAP_SHARED_VALIDATE|0x400000)'],
    ['mmap 0 2M r 0x54040022', 'mmap(0x0, 2M, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|MAP_HUGE_2MB)'],
    ['mmap 0 2M r 0x4000022', 'mmap(0x0, 2M, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_UNINITIALIZED)'],
    ['open T/x 66', 'open("T/x", O_RDWR|O_CREAT)'],
    ['madvise 0x1000 4100 77', 'madvise(0x1000, 4100, 0x4d)'],
    ['fcntl 0 add_seals shrink|grow', 'fcntl(0, F_ADD_SEALS, F_SEAL_SHRINK|F_SEAL_GROW)'],
    ['store 0x1000', 'store(0x1000)'],
    ['process_madvise 1 0x1000+8K cold', 'process_madvise(P1, [0x1000+8K], MADV_COLD)'],
    ['pagemap_scan 0x1000 0x2000 0 0 0 present', 'pagemap_scan(0x1000, 0x2000, 0, 0, 0, PAGE_IS_PRESENT)'],
  ])('%s reads %s', (line, call) => {
    expect(text(line)).toBe(call);
  });

  it('tell sizes exactly', () => {
    expect(bytesText(61440n)).toBe('60K');
    expect(bytesText(4100n)).toBe('4100');
    expect(bytesText(0n)).toBe('0');
    expect(bytesText(2n ** 64n - 4096n)).toBe('-4K');
    expect(bytesText(0xffff_ffff_f001n)).toBe('0xfffffffff001');
  });

  it('tell what came out', () => {
    expect(resultText('mmap', { r: '0x10000000' })).toBe('= 0x10000000');
    expect(resultText('munmap', { r: 'EINVAL' })).toBe('= EINVAL');
    expect(resultText('r', { r: 6, v: [5, 0, [4, 1]] })).toBe('= 5, 0, 1 ×4');
    expect(resultText('w', { r: 0, f: [['0x1000', 1, 11, 1]] })).toBe('= no access');
    expect(resultText('exit', { r: 'gone', status: 'exit 0' })).toBe('= gone (exit 0)');
    expect(faultText(['0x1000', 1, 11, 2])).toBe('SIGSEGV (SEGV_ACCERR) at 0x1000');
    expect(faultText(['0x1000', 3, 7, 2])).toBe('SIGBUS (BUS_ADRERR) at 0x1000 and the 2 pages after it');
  });
});

describe('docs/play.md', () => {
  it('has every operation of a script as the help has it', () => {
    const text = readFileSync('docs/play.md', 'utf8');
    for (const operation of scriptOperations()) expect(text).toContain(`\`${operation}\``);
  });

  it('has an example that is read', () => {
    const example = /## Scripts[\s\S]*?```text\n([\s\S]*?)```/.exec(readFileSync('docs/play.md', 'utf8'))?.[1] ?? '';
    expect(parseScript(example).steps.length).toBe(9);
  });

  it('has every letter of a picture', () => {
    const text = readFileSync('docs/play.md', 'utf8');
    for (const line of LEGEND) expect(text).toContain(`\`${line[0] === '2' ? '9' : line[0]}\``);
  });
});
