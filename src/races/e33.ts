/**
 * E33: writeback of a page that a device writes to: the page is dirty again when the device is done.
 *
 * fsync() writes what is there. The device writes on without a fault, so that nobody hears of it but by who lets the page go.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { diskFile, map, store, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { allocPageVector, FOLL_WRITE, PageVector } from '../mm/gup-types.ts';
import { dirtyOrOnDisk } from './support/pages.ts';

export default scenario({
  id: 'E33',
  title: 'fsync() cleans and writes a page of a file that a device writes to through a short pin, and a thread by its mapping',
  source: 'Documentation/core-api/pin_user_pages.rst: unpin_user_pages_dirty_lock(); d08b3851da41 (mm: tracking shared dirty pages)',
  setup(stage) {
    const { machine, notes, process } = stage;
    notes.fd = diskFile(stage, 1);
    map(stage, WINDOW, 1, { fd: notes.fd });
    store(stage, WINDOW, 1);
    machine.enter();
    notes.vector = allocPageVector();
    machine.kernel.pinUserPagesFast(process.mm, WINDOW, 1, FOLL_WRITE, notes.vector);
    notes.page = get(notes.vector, PageVector.pages);
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    fsync: ({ process, notes }) => task(call('sysFsync', process.ref, notes.fd)),
    device: ({ notes }) => task(call('deviceWrite', notes.vector, 7)),
    thread: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: {
    I6: (ending) => dirtyOrOnDisk(ending, ending.notes.page),
  },
  variants: {
    'dirty-first': {
      switches: ['deviceDirtiesFirst'],
      expect: 'violation',
      rule: 'I6',
      preemptions: 1,
      note: 'the page is marked dirty before the device writes, and cleaned in between',
    },
    fixed: { expect: 'clean' },
  },
});
