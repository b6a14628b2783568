/**
 * R02: get_user_pages_fast() against somebody who takes the mark of exclusiveness off a page to share it: KSM, which protects a page before it compares it.
 *
 * One empties the entry and looks for pins then, the other pins and reads the entry again then: whatever their order, one of them notices. Where the entry is
 * the same before and after, as of a page that may only be read, it is the mark that tells.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { pinnedStaysMapped } from './support/pages.ts';

export default scenario({
  id: 'R02',
  title: 'get_user_pages_fast() pins a page that KSM is about to share',
  source:
    '88dbcbb3a484 (mm/migrate_device.c: flush TLB while holding PTL); 088b8aa537c2 (mm: fix PageAnonExclusive clearing racing with concurrent RCU GUP-fast)',
  setup(stage) {
    const { process, machine, notes } = stage;
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
    if (notes.reading !== 1) return;
    // Exclusive and not writable, as a page that was shared once and is its owner's alone again.
    machine.kernel.ksmProtectPage(process.ref, WINDOW);
    machine.kernel.pinUserPagesFast(process.mm, WINDOW, 1, 0, notes.vector);
    machine.kernel.unpinUserPages(notes.vector, 0);
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    pin: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW, 1, notes.reading === 1 ? 0 : FOLL_WRITE, notes.vector)),
    ksm: ({ process }) => task(call('ksmProtectPage', process.ref, WINDOW)),
    owner: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: { I5: pinnedStaysMapped },
  variants: {
    'no-reload': {
      switches: ['gupFastNoReload'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 1,
      note: 'the entry is not read again after the pin was taken',
    },
    'counts-first': {
      switches: ['ksmCountsFirst'],
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 1,
      note: 'KSM looks for pins before it empties the entry',
    },
    unshared: {
      switches: ['gupNoUnshare'],
      notes: { reading: 1 },
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 0,
      note: 'a pin for reading does not ask whether the page is exclusive',
    },
    'looks-early': {
      switches: ['gupFastLooksEarly'],
      notes: { reading: 1 },
      expect: 'violation',
      rule: ['I5', 'I8'],
      preemptions: 1,
      note: 'a pin for reading asks before it is taken, and the entry is what it was',
    },
    fixed: { expect: 'clean' },
    reading: { notes: { reading: 1 }, expect: 'clean', note: 'a pin for reading, of a page that is exclusive and not writable' },
  },
});
