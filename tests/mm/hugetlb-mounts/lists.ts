/**
 * Lists of operations on mounted hugetlbfs, for record-mounts.c: `npx tsx lists.ts SEED COUNT`.
 *
 * A fault that the pool has no page for leaves a file system with a maximum with less of it for ever (docs/findings.md). With a minimum as well, the reserved pages of that are
 * lost to the machine that records, so lists with both limits have a pool that no fault can find empty.
 */
import { Random } from '../../kernel/random.ts';

const HUGE = 2 ** 21;
const NORESERVE = 0x4000;
const [O_CREAT, O_EXCL, O_TRUNC] = [0o100, 0o200, 0o1000];

/** Lists that are about one thing each. */
const WRITTEN = [
  // Options that are wrong, and what odd ones mean.
  [
    'list 8 0',
    ...[
      'size=',
      'size',
      'size=x',
      'size=K',
      'min_size=4M,size=2M',
      'pagesize=3M',
      'pagesize=x',
      'nr_inodes=x',
      'mode=9',
      'uid=x',
      'gid=',
      'huge=1',
      'sizes=4M',
    ].map((o) => `mount 0 ${o}`),
  ],
  [
    'list 8 0',
    ...[
      'size=0',
      'size=1M',
      'size=3M',
      'size=0x400000',
      'size=4194304',
      'size=010M',
      'size=4Mx',
      'size=50%',
      'size=33%',
      'size=200%',
      'size=50%,min_size=50%',
      'nr_inodes=0',
      'nr_inodes=1',
      'nr_inodes=1K',
      'nr_inodes=-1',
      'min_size=0',
      'min_size=16M',
      'min_size=18M',
      'size=4M,size=6M',
      'pagesize=2M,size=4M',
      'pagesize=2048K',
      'mode=1700,uid=0,gid=0',
      'mode=0',
      '',
    ].flatMap((o) => [`mount 0 ${o || '-'}`, 'open 0 a 66 0', 'mmap 0 0 3 3 1 0', 'touch 0 0 1', 'munmap 0 0 3', 'close 0', 'umount 0 0']),
  ],
  // A minimum comes with surplus pages, and these go with it.
  ['list 1 4', 'mount 0 min_size=6M', 'open 0 a 66 0', 'mmap 0 0 2 3 1 0', 'touch 0 0 1', 'touch 0 1 1', 'munmap 0 0 2', 'trunc 0 0', 'close 0', 'umount 0 0'],
  ['list 1 1', 'mount 0 min_size=6M', 'mount 1 min_size=4M', 'mount 2 min_size=2M', 'umount 1 0', 'mount 2 min_size=2M', 'umount 2 0'],
  // A mapping that cannot be reserved leaves the limits as they were; a page that cannot be had does not.
  [
    'list 1 0',
    'mount 0 size=8M',
    'open 0 a 66 0',
    'mmap 0 0 2 3 1 0',
    'mmap 0 0 2 3 16385 0',
    'touch 0 0 1',
    'touch 0 1 1',
    'touch 0 1 1',
    'munmap 0 0 2',
    'close 0',
    'unlink 0 a',
  ],
  [
    'list 1 0',
    'mount 0 size=8M',
    'open 0 a 66 0',
    'falloc 0 0 0 6291456',
    'falloc 0 0 0 6291456',
    'mmap 0 1 1 3 16386 4',
    'touch 1 0 1',
    'unlink 0 a',
    'close 0',
  ],
  // Pages of a minimum that were surplus are gone when they are freed, and what they were promised for is not.
  [
    'list 0 2',
    'mount 0 min_size=4M',
    'open 0 a 66 0',
    'mmap 0 0 2 3 1 0',
    'touch 0 0 1',
    'touch 0 1 1',
    'munmap 0 0 2',
    'trunc 0 0',
    'overcommit 0',
    'mmap 0 0 2 3 1 0',
    'touch 0 0 1',
    'overcommit 2',
    'touch 0 0 1',
  ],
  ['list 0 1', 'mount 0 -', 'open 0 a 66 0', 'trunc 0 2097152', 'mmap 0 0 1 3 2 0', 'touch 0 0 1', 'madvise 0 0 1 4', 'overcommit 0', 'touch 0 0 1'],
  // What is mounted over something hides it; the last user of what is not mounted takes it away.
  [
    'list 6 0',
    'mount 0 size=4M',
    'open 0 a 66 0',
    'mmap 0 0 1 3 1 0',
    'touch 0 0 1',
    'mount 0 min_size=4M',
    'open 0 a 2 1',
    'open 0 a 66 1',
    'umount 0 0',
    'close 1',
    'umount 0 0',
    'umount 0 0',
    'close 0',
    'umount 0 0',
    'umount 0 2',
    'munmap 0 0 1',
    'umount 0 0',
  ],
  [
    'list 6 0',
    'mount 0 min_size=8M',
    'open 0 a 66 0',
    'open 0 b 66 1',
    'falloc 0 0 0 4194304',
    'falloc 1 0 0 2097152',
    'close 0',
    'mmap 1 0 1 3 1 0',
    'close 1',
    'umount 0 0',
    'umount 0 2',
    'touch 0 0 1',
    'munmap 0 0 1',
  ],
  ['list 4 0', 'umount 0 0', 'umount 0 16', 'umount 0 4', 'mount 0 -', 'umount 0 1', 'mount 0 size=2M', 'umount 0 8'],
];

/** A list of random operations. */
function drawn(r: Random): string[] {
  const both = r.chance(0.5);
  const pool = both ? 16 : r.between(0, 8);
  const list = [`list ${pool} ${both ? 0 : r.weighted([0, 2], [2, 1], [5, 1])}`];
  let mounts = 0;
  const mount = (): string => {
    mounts++;
    const at = mounts === 1 ? 0 : r.between(0, 2);
    const max = r.between(0, 5);
    const options: string[] = [];
    if (both) options.push(`size=${max * 2}M`, ...(r.chance(0.8) ? [`min_size=${r.between(0, max) * 2}M`] : []));
    else if (r.chance(0.5)) options.push(`size=${max * 2}M`);
    else if (r.chance(0.8)) options.push(`min_size=${r.between(0, 4) * 2}M`);
    if (r.chance(0.2)) options.push(`nr_inodes=${r.between(1, 3)}`);
    return `mount ${at} ${options.join(',') || '-'}`;
  };
  list.push(mount(), 'open 0 a 66 0', 'mmap 0 0 2 3 1 0');
  const slot = (): number => r.weighted([0, 5], [1, 2]);
  const map = (): number => r.weighted([0, 4], [1, 3], [2, 1]);
  const draw: Record<string, () => string> = {
    mount,
    umount: () => `umount ${r.weighted([0, 1], [1, 2], [2, 2])} ${r.weighted([0, 2], [2, 1])}`,
    open: () =>
      `open ${r.weighted([0, 5], [1, 1], [2, 1])} ${r.pick(['a', 'b', 'c'])} ${2 | r.weighted([0, 1], [O_CREAT, 5], [O_CREAT | O_EXCL, 1], [O_TRUNC, 1])} ${slot()}`,
    close: () => `close ${slot()}`,
    unlink: () => `unlink ${r.between(0, 2)} ${r.pick(['a', 'b', 'c'])}`,
    trunc: () => `trunc ${slot()} ${r.between(0, 5) * HUGE + (r.chance(0.1) ? 4096 : 0)}`,
    falloc: () => `falloc ${slot()} ${r.weighted([0, 3], [1, 1], [3, 2])} ${r.between(0, 4) * HUGE} ${r.between(1, 3) * HUGE}`,
    mmap: () =>
      `mmap ${slot()} ${map()} ${r.between(1, 4)} ${r.pick([3, 3, 1])} ${r.pick([1, 2]) | (!both && r.chance(0.3) ? NORESERVE : 0)} ${r.weighted([0, 4], [1, 1], [3, 1])}`,
    munmap: () => `munmap ${map()} ${r.weighted([0, 3], [1, 1], [2, 1])} ${r.between(1, 4)}`,
    touch: () => `touch ${map()} ${r.weighted([0, 3], [1, 3], [2, 2], [3, 1])} ${r.weighted([1, 3], [0, 1])}`,
    madvise: () => `madvise ${map()} ${r.between(0, 3)} ${r.between(1, 2)} ${r.weighted([4, 2], [9, 1])}`,
    pool: () => `pool ${r.between(0, 8)}`,
    overcommit: () => `overcommit ${r.between(0, 3)}`,
  };
  for (let i = 0; i < 30; i++) {
    const what = r.weighted(
      ['mount', mounts < 3 ? 1.5 : 0],
      ['umount', 1],
      ['open', 3],
      ['close', 0.5],
      ['unlink', 0.5],
      ['trunc', 1.5],
      ['falloc', 2],
      ['mmap', 4],
      ['munmap', 2],
      ['touch', 6],
      ['madvise', 1],
      ['pool', both ? 0 : 0.6],
      ['overcommit', both ? 0 : 0.3],
    );
    list.push(draw[what]());
  }
  return list;
}

const [seed, count] = process.argv.slice(2);
for (const list of WRITTEN) console.log(list.join('\n'));
for (let i = 0; i < Number(count); i++) console.log(drawn(new Random(`${seed} ${i}`)).join('\n'));
