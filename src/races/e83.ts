/**
 * E83: get_user_pages_fast() of a page of secret memory, which is freed and mapped again at the same address, for another file of memfd_secret().
 *
 * The entry is the same before and after, so looking at it again tells nothing: whose page it is must be asked when it can no longer become another's. In between it is
 * nobody's, and looks like ordinary memory.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { MAP_FIXED, MAP_SHARED, map, must, PROT_READ, PROT_WRITE, store, WINDOW } from '../explore/setup.ts';
import { tableEntries } from '../kernel/arch.ts';
import { LINEAR_PAGES } from '../mm/direct-map.ts';

export default scenario({
  id: 'E83',
  title: 'a page is secret memory by the time get_user_pages_fast() has taken it',
  source: 'mm/gup.c: gup_fast_folio_allowed (1507f51255c9: mm: introduce memfd_secret system call)',
  // Where the kernel has no map of RAM that it can change page by page there is no secret memory.
  modes: (mode) => /^(x86-[45]level|arm64-4k-48|riscv-sv39|s390x)$/.test(mode),
  setup(stage) {
    const { machine, process, page, notes } = stage;
    machine.enter();
    machine.kernel.makeDirectMap(4 * tableEntries(0), LINEAR_PAGES);
    for (const name of ['old', 'fd']) {
      notes[name] = must(process, 'memfd_secret', 0);
      must(process, 'ftruncate', notes[name], page);
    }
    // The neighbour keeps the page table.
    map(stage, WINDOW + 1, 1);
    store(stage, WINDOW + 1, 1);
    map(stage, WINDOW, 1, { fd: notes.old });
    store(stage, WINDOW, 1);
  },
  tasks: {
    gup: ({ process }) => task(call('lookFast', process.mm, WINDOW)),
    owner: ({ process, page, notes }) =>
      task(
        call('sysMunmap', process.ref, WINDOW * page, page),
        call('sysClose', process.ref, notes.old),
        call('sysMmap', process.ref, WINDOW * page, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, notes.fd, 0),
        call('userFault', process.mm, WINDOW, 1),
      ),
  },
  variants: {
    early: { switches: ['gupFastSecretEarly'], expect: 'violation', rule: 'secret', preemptions: 3, note: 'it asks before it has a reference' },
    fixed: { expect: 'clean' },
  },
  holds: { secret: ({ results }) => (results.gup[0] === 2 ? 'secret: get_user_pages_fast() has a page of secret memory' : undefined) },
});
