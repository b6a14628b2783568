/**
 * E90: references and pins that are mixed up. Who was given a page by get_user_pages() gives it back by put_page(), who has pinned it by unpin_user_page().
 *
 * A pin too many makes a page look pinned that is not, which costs a copy; one too few makes fork share a page that a device writes to.
 */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { allocPageVector, FOLL_WRITE, PageVector } from '../mm/gup-types.ts';

/** How the second driver takes its page and how it gives it back, by `notes.driver`. */
const TAKES = ['getUserPagesFast', 'getUserPagesFast', 'pinUserPagesFast', 'pinUserPagesFast'];
const PINNED_RIGHT = 3;

export default scenario({
  id: 'E90',
  title: 'two drivers hold a page while its process forks and writes to it; one of them mixes up references and pins',
  source: 'Documentation/core-api/pin_user_pages.rst; folio_maybe_dma_pinned()',
  setup(stage) {
    const { machine, notes, process } = stage;
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
    notes.second = allocPageVector();
    machine.kernel.pinUserPagesFast(process.mm, WINDOW, 1, FOLL_WRITE, notes.vector);
  },
  roots: ({ notes }) => [notes.vector, notes.second],
  tasks: {
    driver: ({ process, notes }) => {
      const kind = notes.driver ?? 0;
      const give = kind === 0 || kind === 2 ? call('putUserPages', notes.second) : call('unpinUserPages', notes.second, 0);
      return task(call(TAKES[kind], process.mm, WINDOW, 1, FOLL_WRITE, notes.second), give);
    },
    fork: ({ process }) => task(call('sysFork', process.ref), call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: {
    I5: ({ process, notes }) => {
      const pinned = get(notes.vector, PageVector.pages);
      const mapped = pageAt(process.ref, WINDOW);
      return pinned === mapped ? undefined : `page ${pinned} is pinned by the first driver, and the process has page ${mapped} in its place`;
    },
  },
  variants: {
    'get-unpin': {
      notes: { driver: 1 },
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 0,
      note: 'a reference is given back as a pin: the pin of the other driver is gone, though it has its page',
    },
    'pin-put': {
      notes: { driver: 2 },
      expect: 'violation',
      rule: ['I1', 'I26'],
      preemptions: 0,
      note: 'a pin is given back as a reference: the page looks pinned for ever',
    },
    references: { notes: { driver: 0 }, expect: 'clean', note: 'taken and given back as references' },
    pins: { notes: { driver: PINNED_RIGHT }, expect: 'clean', note: 'taken and given back as pins' },
  },
});
