/** Pools of huge pages by the kernel's command line, on several nodes, and the files of sysfs for each size and node. */
import { expect, test } from 'vitest';
import { parseHugetlbOptions } from '../../src/machine/hugetlb-options.ts';
import { hugePoolSetting } from '../../src/machine/hugetlb-settings.ts';
import { Machine } from '../../src/machine/machine.ts';
import { hugePools } from '../../src/machine/view-hugetlb.ts';
import { memparse } from '../../src/mm/cmdline.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';

const [K, M, G] = [2 ** 10, 2 ** 20, 2 ** 30];
const ARM64 = [64 * K, 2 * M, 32 * M, G];

test('sizes and counts of nodes, as in the mails about contiguous entries', () => {
  const line =
    'default_hugepagesz=2M hugepagesz=1G hugepages=0:2,1:2 hugepagesz=32M hugepages=0:2,1:2 hugepagesz=2M hugepages=0:64,1:64 hugepagesz=64K hugepages=0:32,1:32';
  const both = (pages: number) => ({
    pages: 2 * pages,
    nodes: [
      { node: 0, pages },
      { node: 1, pages },
    ],
  });
  expect(parseHugetlbOptions(line, ARM64, 2 * M)).toEqual({
    defaultBytes: 2 * M,
    pools: [
      { bytes: 2 * M, ...both(64) },
      { bytes: G, ...both(2) },
      { bytes: 32 * M, ...both(2) },
      { bytes: 64 * K, ...both(32) },
    ],
    messages: [],
  });
});

test.each([
  ['hugepages=5', [[2 * M, 5]], 0],
  ['hugepages=5 default_hugepagesz=1G', [[G, 5]], 0],
  ['hugepagesz=1G hugepages=1 hugepages=2', [[G, 1]], 1],
  ['hugepagesz=3M hugepages=4', [], 2],
  ['hugepagesz=1G hugepages=1 hugepagesz=1G hugepages=2', [[G, 1]], 2],
  ['default_hugepagesz=1G default_hugepagesz=2M', [], 1],
  ['hugepages=0:1,9:1', [], 1],
  ['hugepages=0:1,2', [], 1],
  ['hugepages=many quiet', [], 1],
] as const)('%s', (line, pools, messages) => {
  const read = parseHugetlbOptions(line, ARM64, 2 * M);
  expect(read.pools.map(({ bytes, pages }) => [bytes, pages])).toEqual(pools);
  expect(read.messages.length).toBe(messages);
});

test.each([
  // As strtoull(3) with base 0 and the suffixes of lib/cmdline.c read them.
  ['2M', 2 * M],
  ['1g', G],
  ['0x200000', 2 * M],
  ['0x200K', 512 * K],
  ['010M', 8 * M],
  ['08', 0],
  ['0', 0],
  ['2MB', 2 * M],
  ['M', 0],
  ['', 0],
  ['1E', 2 ** 60],
] as const)('memparse(%s)', (text, bytes) => {
  expect(memparse(text)).toBe(bytes);
});

const FRAMES = (64 * M) / 4096;
/** Two nodes of 64 MiB. */
const machine = (hugepages: string, mode = 'x86-4level'): Machine =>
  new Machine({
    mode,
    ramBytes: 128 * M,
    hugepages,
    memory: {
      ranges: [
        { start: 0, end: FRAMES, node: 0 },
        { start: FRAMES, end: 2 * FRAMES, node: 1 },
      ],
      cpus: [0],
    },
  });
const file = (of: Machine, node: number, name: string, kilobytes = 2048): number | undefined => {
  of.enter();
  return hugePoolSetting(`/sys/devices/system/node/node${node}/hugepages/hugepages-${kilobytes}kB/${name}_hugepages`)?.read();
};
const sound = (of: Machine): void => {
  of.enter();
  expect(checkMachine()).toEqual([]);
};

test('pages are had of the nodes that are named, and of no other', () => {
  const two = machine('hugepages=0:2,1:5');
  expect(two.bootMessages).toEqual([]);
  expect([0, 1].map((node) => [file(two, node, 'nr'), file(two, node, 'free')])).toEqual([
    [2, 2],
    [5, 5],
  ]);
  expect(hugePools(4)[0]).toEqual({ kilobytes: 2048, nr: 7, free: 7, resv: 0, surplus: 0, overcommit: 0 });
  sound(two);
  // A node that has not so many, and one that there is not.
  const short = machine('hugepages=1:500,2:1');
  expect(short.bootMessages.length).toBe(2);
  expect(file(short, 0, 'nr')).toBe(0);
  expect(file(short, 1, 'nr')).toBeGreaterThan(10);
  expect(file(short, 2, 'nr')).toBeUndefined();
  sound(short);
});

test('a plain count is taken of the nodes in turn; a smaller one gives back in turn', () => {
  const two = machine('hugepages=7');
  expect([file(two, 0, 'nr'), file(two, 1, 'nr')]).toEqual([4, 3]);
  hugePoolSetting('/proc/sys/vm/nr_hugepages')?.write(two.kernel, 3);
  expect([file(two, 0, 'nr'), file(two, 1, 'nr')]).toEqual([2, 1]);
  sound(two);
});

test('the file of a node changes the pages of that node alone', () => {
  const two = machine('hugepages=0:2,1:2');
  hugePoolSetting('/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages')?.write(two.kernel, 4);
  expect([file(two, 0, 'nr'), file(two, 1, 'nr')]).toEqual([2, 4]);
  hugePoolSetting('/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages')?.write(two.kernel, 1);
  expect([file(two, 0, 'nr'), file(two, 1, 'nr')]).toEqual([1, 4]);
  sound(two);
});

test('several sizes at once, and the default one by name', () => {
  const arm = machine('default_hugepagesz=64K hugepages=1:8 hugepagesz=2M hugepages=3', 'arm64-4k-48');
  expect(arm.bootMessages).toEqual([]);
  expect(file(arm, 1, 'nr', 64)).toBe(8);
  expect(hugePools(4).map(({ kilobytes, nr }) => [kilobytes, nr])).toEqual([
    [64, 8],
    [2048, 3],
    [32768, 0],
    [1048576, 0],
  ]);
  expect(hugePoolSetting('/proc/sys/vm/nr_hugepages')?.read()).toBe(8);
  sound(arm);
});

test('surplus pages are counted for their node, and go where they came from', () => {
  const two = machine('hugepages=0:1,1:1');
  const p = two.spawn();
  const [at, bytes, flags] = [0x1_0000_0000, 2 * M, 0x40022];
  const counts = (): (number | undefined)[][] => ['nr', 'free', 'surplus'].map((name) => [0, 1].map((node) => file(two, node, name)));
  hugePoolSetting('/proc/sys/vm/nr_overcommit_hugepages')?.write(two.kernel, 3);
  // The CPU is one of node 0, which has memory: what is more than the pool has comes from there.
  expect(p.syscall('mmap', at, 4 * bytes, 3, flags | 0x10, -1, 0)).toBe(at);
  expect(counts()).toEqual([
    [3, 1],
    [3, 1],
    [2, 0],
  ]);
  // Pages of the own node are taken first.
  for (let i = 0; i < 3; i++) expect(p.store(BigInt(at + i * bytes), 1, 1n)).toBeUndefined();
  expect(counts()[1]).toEqual([0, 1]);
  expect(p.store(BigInt(at + 3 * bytes), 1, 1n)).toBeUndefined();
  expect(counts()[1]).toEqual([0, 0]);
  sound(two);
  expect(two.hugetlbMeminfo()).toBe(
    'HugePages_Total:       4\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        2\nHugepagesize:       2048 kB\nHugetlb:            8192 kB\n',
  );
  expect(two.hugetlbMeminfo(0)).toBe('Node 0 HugePages_Total:     3\nNode 0 HugePages_Free:      0\nNode 0 HugePages_Surp:      2\n');
  // A page of node 1 stays in the pool, though there are surplus pages: none of them is its node's.
  expect(p.syscall('munmap', at + 3 * bytes, bytes)).toBe(0);
  expect(counts()).toEqual([
    [3, 1],
    [0, 1],
    [2, 0],
  ]);
  expect(p.syscall('munmap', at, bytes)).toBe(0);
  expect(counts()).toEqual([
    [2, 1],
    [0, 1],
    [1, 0],
  ]);
  sound(two);
  // A smaller pool cannot give back what is in use: it is surplus of the node that is asked, and goes when it is freed.
  hugePoolSetting('/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages')?.write(two.kernel, 0);
  expect(counts()).toEqual([
    [2, 1],
    [0, 1],
    [2, 0],
  ]);
  expect(p.syscall('munmap', at + bytes, 2 * bytes)).toBe(0);
  expect(counts()).toEqual([
    [0, 1],
    [0, 1],
    [0, 0],
  ]);
  // A larger pool takes surplus pages over first.
  hugePoolSetting('/proc/sys/vm/nr_hugepages_mempolicy')?.write(two.kernel, 2);
  expect(hugePoolSetting('/proc/sys/vm/nr_hugepages')?.read()).toBe(2);
  expect(counts()[2]).toEqual([0, 0]);
  sound(two);
});

test('lines of meminfo are where Linux has them', () => {
  // Linux 6.18 with an empty pool.
  const recorded =
    'HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\nHugepagesize:       2048 kB\nHugetlb:               0 kB\n';
  const one = machine('');
  expect(one.hugetlbMeminfo()).toBe(recorded);
  expect(one.hugetlbMeminfo(0)).toBe('Node 0 HugePages_Total:     0\nNode 0 HugePages_Free:      0\nNode 0 HugePages_Surp:      0\n');
});
