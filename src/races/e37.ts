/**
 * E37: a pin for reading, and then the owner writes: the device must see what he has written.
 *
 * The pin makes the page exclusive first; the write fault takes the page as it is because of that, however many references it has.
 */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { wordShift, words } from '../memory/state.ts';
import { allocPageVector, FOLL_LONGTERM, PageVector } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { byProcess } from './support/address-spaces.ts';

export default scenario({
  id: 'E37',
  title: 'a page is pinned for reading while its owner writes to it and a child that shared it lets it go',
  source: '6c287605fd56 (mm: remember exclusively mapped anonymous pages with PG_anon_exclusive); a7f226604170, do_wp_page()',
  setup(stage) {
    const { machine, notes, process } = stage;
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    notes.child = process.fork().ref;
    machine.enter();
    notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    pin: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, FOLL_LONGTERM, notes.vector)),
    owner: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
    child: (stage) => byProcess(stage, stage.notes.child, call('sysMadvise', stage.notes.child, WINDOW * stage.page, stage.page, MADV_DONTNEED)),
  },
  holds: {
    I5: ({ process, notes, results }) => {
      if (results.pin[0] !== 1) return `pin_user_pages_fast() returns ${results.pin[0]}`;
      const pinned = get(notes.vector, PageVector.pages);
      const seen = words[pinned << wordShift];
      return seen === 2 && pinned === pageAt(process.ref, WINDOW) ? undefined : `the owner has stored 2, and the device reads ${seen} from page ${pinned}`;
    },
  },
  variants: {
    'by-references': {
      switches: ['wpExclusiveUnasked'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 0,
      note: 'the pin is one reference too many for the write fault, which makes a copy',
    },
    shared: {
      switches: ['gupNoUnshare'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 0,
      note: 'the page is pinned without being made exclusive',
    },
    fixed: { expect: 'clean' },
  },
});
