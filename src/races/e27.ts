/**
 * E27: mremap() that hangs a whole page table elsewhere: the old place must be flushed before anybody can take away what the new one maps.
 *
 * Where the table is moved as a whole: x86, arm64, 64-bit powerpc, riscv. What a walk over all mappings of a page sees of it is E27-rmap.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, memfd, store, WINDOW } from '../explore/setup.ts';
import { codecFor } from '../machine/boot.ts';
import { move } from './support/move.ts';

export const movesTables = (mode: string): boolean => {
  const { family, vaBits } = codecFor(mode).mode;
  return family === 'x86' || family === 'arm64' || family === 'riscv' || (family === 'powerpc' && vaBits > 32);
};

export default scenario({
  id: 'E27',
  title: 'mremap() moves a whole page table, truncation frees a page at its new place, and a CPU still translates the old one',
  source: 'eb66ae030829 (mremap: properly flush TLB before releasing the page), move_normal_pmd()',
  modes: movesTables,
  setup(stage) {
    const { notes, tablePages } = stage;
    notes.fd = memfd(stage, tablePages);
    map(stage, WINDOW, tablePages, { fd: notes.fd });
    store(stage, WINDOW, 1);
    // The new place has its upper tables.
    map(stage, WINDOW + 3 * tablePages, 1);
    store(stage, WINDOW + 3 * tablePages, 1);
  },
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    mremap: (stage) => task(move(stage, WINDOW, stage.tablePages, WINDOW + 2 * stage.tablePages)),
    ftruncate: ({ process, notes }) => task(call('sysFtruncate', process.ref, notes.fd, 0)),
  },
  variants: {
    late: { switches: ['moveTableFlushLate'], expect: 'violation', rule: 'I4', preemptions: 1, note: 'the old place is flushed after the locks were dropped' },
    fixed: { expect: 'clean' },
  },
});
