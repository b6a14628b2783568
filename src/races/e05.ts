/**
 * E05: the object of a VMA lives on as another VMA while RCU readers may still look at it (SLAB_TYPESAFE_BY_RCU).
 *
 * Here the range is another one; in E05-mm the address space is.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE, WINDOW } from '../explore/setup.ts';

const FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
const ELSEWHERE = WINDOW + 16;

export default scenario({
  id: 'E05',
  title: 'a fault finds a VMA under RCU, which is unmapped and used again for another range before the fault has its lock',
  source: 'lock_vma_under_rcu(), vma_start_read(); SLAB_TYPESAFE_BY_RCU for VMAs since 6.15',
  setup() {},
  tasks: {
    fault: ({ process }) => task(call('threadLoad', process.ref, WINDOW)),
    reuse: ({ process, page }) =>
      task(
        call('sysMmap', process.ref, WINDOW * page, page, PROT_READ | PROT_WRITE, FLAGS, -1, 0),
        call('sysMunmap', process.ref, WINDOW * page, page),
        call('sysMmap', process.ref, ELSEWHERE * page, page, PROT_READ | PROT_WRITE, FLAGS, -1, 0),
      ),
  },
  variants: {
    range: {
      switches: ['vmaNoRangeCheck'],
      expect: 'violation',
      rule: ['I11', 'I2'],
      preemptions: 2,
      note: 'the range is not looked at again under the lock',
    },
    fixed: { expect: 'clean' },
  },
});
