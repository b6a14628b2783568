/** E28: mremap's old translation against the page being freed through the new place. */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, memfd, store, WINDOW } from '../explore/setup.ts';
import { move } from './support/move.ts';

const OLD = WINDOW;
const NEW = WINDOW + 16;

export default scenario({
  id: 'E28',
  title: 'mremap() moves a page, truncation frees it at its new place, and a CPU still translates the old one',
  source: 'eb66ae030829 (mremap: properly flush TLB before releasing the page)',
  setup(stage) {
    const fd = memfd(stage, 2);
    map(stage, OLD, 2, { fd });
    store(stage, OLD, 1);
    stage.notes.fd = fd;
  },
  hardware: () => ({ speculate: [OLD] }),
  tasks: {
    mremap: (stage) => task(move(stage, OLD, 2, NEW)),
    ftruncate: ({ process, notes }) => task(call('sysFtruncate', process.ref, notes.fd, 0)),
  },
  variants: {
    late: { switches: ['mremapFlushLate'], expect: 'violation', rule: 'I4', preemptions: 1, note: 'the old place is flushed after its lock was dropped' },
    fixed: { expect: 'clean' },
  },
});
