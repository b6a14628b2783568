/** R31: a walk over the kernel's own tables against memory that is removed. No mmap lock helps: nobody who frees kernel tables asks for one. */
import { call, scenario, task } from '../explore/scenario.ts';
import { WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { globals } from '../mm/globals.ts';
import { Globals } from '../mm/types.ts';

export default scenario({
  id: 'R31',
  title: 'a dump of the kernel page tables walks over memory that is being removed',
  source: 'mm/ptdump: take the memory hotplug lock inside ptdump_walk_pgd() (6.17); walk_page_range_novma(), mails of November 2023',
  setup({ machine, notes }) {
    const { kernel } = machine;
    machine.enter();
    notes.init = kernel.makeInitMm();
    kernel.mapKernelPage(WINDOW, get(globals, Globals.zeroPage));
  },
  tasks: {
    dump: ({ notes }) => task(call('ptdumpWalkPgd', notes.init, WINDOW, WINDOW + 2)),
    remove: () => task(call('removeKernelPages', WINDOW, WINDOW + 2)),
  },
  variants: {
    unlocked: {
      switches: ['ptdumpNoHotplugLock'],
      expect: 'violation',
      rule: 'I3',
      preemptions: 1,
      note: 'the walk holds the mmap lock of init_mm and no other',
    },
    fixed: { expect: 'clean' },
  },
});
