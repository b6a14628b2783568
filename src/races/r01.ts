/**
 * R01: get_user_pages_fast() against a collapse into a huge page: it has come down by an entry that has been emptied since, to a table whose entries are still there.
 *
 * The collapse empties the upper entry first and counts references then; the walk takes its reference first and reads the upper entry again then. Where flushes are
 * interrupts that wait for the walk, as on x86 without RCU for tables, the second look is not needed; nor is it where the collapse waits for all who have
 * interrupts off, as Linux does since 6.1 because of the table itself (collapse-sync.ts).
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, mapCollapsible, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { collapse } from './support/collapse.ts';
import { pinnedStaysMapped } from './support/pages.ts';

export default scenario({
  id: 'R01',
  title: 'get_user_pages_fast() pins a page while MADV_COLLAPSE makes a huge page of its range',
  source: '70cbc3cc78a9 (mm: gup: fix the fast GUP race against THP collapse)',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    const { machine, notes } = stage;
    mapCollapsible(stage);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  hardware: ({ notes }) => ({ ipis: notes.ipis === 1 }),
  tasks: {
    pin: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_WRITE, notes.vector)),
    collapse,
  },
  holds: { I5: pinnedStaysMapped },
  variants: {
    'entry-only': {
      switches: ['gupFastNoTableReload', 'collapseNoSync'],
      expect: 'violation',
      rule: ['I5', 'I8', 'I26'],
      preemptions: 2,
      note: 'only the entry of the lowest level is read again, which nobody has changed yet',
    },
    uncounted: {
      switches: ['collapseUncounted'],
      expect: 'violation',
      rule: ['I5', 'I8', 'I26'],
      preemptions: 1,
      note: 'the walk has its page, both looks done, and the collapse does not ask whether somebody has',
    },
    'entry-only-ipi': {
      switches: ['gupFastNoTableReload', 'collapseNoSync'],
      notes: { ipis: 1 },
      expect: 'clean',
      note: 'the flush of the collapse waits for the walk',
    },
    'entry-only-sync': { switches: ['gupFastNoTableReload'], expect: 'clean', note: 'so does tlb_remove_table_sync_one()' },
    fixed: { expect: 'clean' },
  },
});
