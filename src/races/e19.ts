/**
 * E19: MADV_DONTNEED against a pin of the page and a fault that comes after it.
 *
 * Who throws memory away while a device writes to it sees a new page afterwards, and the device the old one: nobody's fault but its own. What must
 * not be is that the device gets a page that others have by then.
 */
import { wordAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

/** Where the thread stores next: its page is the one that was freed last. */
const OTHER = WINDOW + 1;

export default scenario({
  id: 'E19',
  title: 'a page is pinned for a device while MADV_DONTNEED throws it away and faults bring new ones',
  source: 'gup_fast_pte_range(): the entry is read again; zap_pte_range(); Documentation/core-api/pin_user_pages.rst',
  setup(stage) {
    const { machine, notes } = stage;
    map(stage, WINDOW, 2);
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    device: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_WRITE, notes.vector), call('deviceWrite', notes.vector, 7)),
    thread: ({ process, page }) =>
      task(
        call('sysMadvise', process.ref, WINDOW * page, page, MADV_DONTNEED),
        call('threadStore', process.ref, OTHER, 5),
        call('threadLoad', process.ref, WINDOW),
      ),
  },
  holds: {
    own: ({ process }) => {
      const word = wordAt(process.ref, OTHER);
      return word === 5 ? undefined : `the device has written ${word} to a page that it never asked for`;
    },
    refault: ({ results }) => {
      const word = results.thread[2];
      // Zeroes, or the page of the device's own fault.
      return word === 0 || word === 7 ? undefined : `the thread loads ${word} from what it has thrown away`;
    },
  },
  variants: {
    'no-reload': {
      switches: ['gupFastNoReload'],
      expect: 'violation',
      rule: 'own',
      preemptions: 1,
      note: 'the page is thrown away and given out again before the pin is taken, and the entry is not read again',
    },
    uncounted: {
      switches: ['gatherIgnoresReferences'],
      expect: 'violation',
      rule: ['I26', 'I1', 'own'],
      preemptions: 1,
      note: 'what nobody maps any longer is free, pinned or not',
    },
    fixed: { expect: 'clean' },
  },
});
