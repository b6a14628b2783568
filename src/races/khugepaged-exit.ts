/**
 * khugepaged-exit: khugepaged walks page tables of an address space whose last user ends. It looks, under the mmap lock, whether there are users, and the end of an
 * address space takes that lock once when khugepaged is at it, before any table goes. Since 5.18 tables are freed under the lock as well: the switch of all variants but
 * the last is the kernel before, which had only that.
 *
 * khugepaged finds that too many entries are empty, so that it makes no huge page: walking is enough. Where huge pages have an entry of their own: x86, arm64, s390.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, mapCollapsible } from '../explore/setup.ts';
import { thpSetting } from '../machine/thp-settings.ts';

export default scenario({
  id: 'khugepaged-exit',
  title: 'a process exits while khugepaged looks through its page tables',
  source: '__khugepaged_exit(), hpage_collapse_test_exit()',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    mapCollapsible(stage);
    thpSetting('/sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none')?.write('0');
  },
  tasks: {
    khugepaged: () => task(call('khugepagedDoScan')),
    exit: ({ process }) => task(call('sysExit', process.ref, 0)),
  },
  variants: {
    unasked: {
      switches: ['exitMmapUnlocked', 'collapseIgnoresExit'],
      expect: 'violation',
      rule: ['I2', 'I3', 'I19', 'guard'],
      preemptions: 3,
      note: 'khugepaged begins with an address space that is being taken apart',
    },
    unwaited: {
      switches: ['exitMmapUnlocked', 'khugepagedExitNoWait'],
      expect: 'violation',
      rule: ['I2', 'I3', 'I19', 'guard'],
      preemptions: 1,
      note: 'khugepaged asked before, and is still walking',
    },
    'both-unlocked': { switches: ['exitMmapUnlocked'], expect: 'clean', note: 'question and wait are enough where tables are freed without the lock' },
    fixed: { expect: 'clean' },
  },
});
