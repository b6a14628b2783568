/** C32: of two that map overlapping ranges with MAP_FIXED_NOREPLACE exactly one succeeds. Its other promises: tests/races/c32.test.ts. */
import { call, type Stage, scenario, type TaskSpec, task } from '../explore/scenario.ts';
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE, WINDOW } from '../explore/setup.ts';
import { EEXIST } from '../mm/errno.ts';
import { MAP_FIXED_NOREPLACE } from '../mm/mman.ts';

const mapAt =
  (vpn: number) =>
  ({ process, page }: Stage): TaskSpec =>
    task(call('sysMmap', process.ref, vpn * page, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));

export default scenario({
  id: 'C32',
  title: 'two threads map ranges that overlap with MAP_FIXED_NOREPLACE',
  source: 'a4ff8e8620d3 (mm: introduce MAP_FIXED_NOREPLACE); do_mmap(): the conflict is looked for under the mmap lock held for writing',
  setup() {},
  tasks: { low: mapAt(WINDOW), high: mapAt(WINDOW + 1) },
  holds: {
    one: ({ results: { low, high }, page }) =>
      (low[0] === WINDOW * page && high[0] === -EEXIST) || (low[0] === -EEXIST && high[0] === (WINDOW + 1) * page)
        ? undefined
        : `the calls return 0x${low[0].toString(16)} and 0x${high[0].toString(16)}: one must be where it was asked to, the other EEXIST`,
  },
  variants: {
    early: {
      switches: ['noreplaceEarly'],
      expect: 'violation',
      rule: 'one',
      preemptions: 1,
      note: 'the conflict is looked for before the lock is taken for writing',
    },
    fixed: { expect: 'clean' },
  },
});
