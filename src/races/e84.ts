/**
 * E84: entries of a large folio are made a contiguous run, or the run is taken apart, while hardware sets accessed and dirty in one of them.
 *
 * The pages are clean after MADV_FREE: a store that leaves no dirty bit behind is lost when memory is wanted. The conversion is arm64's (mm/contpte.ts), which empties
 * the entries, reading what hardware has set by the same step, and flushes before it writes the new ones.
 */
import { entryOf } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, must, store, WINDOW } from '../explore/setup.ts';
import { codecFor } from '../machine/boot.ts';
import { thpSetting } from '../machine/thp-settings.ts';
import { contPtes } from '../mm/contpte.ts';
import { MADV_DONTNEED, MADV_FREE } from '../mm/madv.ts';
import { PTE_DIRTY, PTE_GROUP } from '../pagetable/canonical.ts';

/** A page in the middle of the run. */
const PAGE = WINDOW + 2;
/** One that goes for itself. */
const OTHER = WINDOW + 5;

export default scenario({
  id: 'E84',
  title: 'a thread writes to a page of a large folio while its entries become a contiguous run and are taken apart again',
  source: 'contpte_convert(): clear, flush, set',
  modes: (mode) => codecFor(mode).mode.family === 'arm64' && codecFor(mode).levels[0].groups[0].entries === 16,
  setup(stage) {
    const { machine, process, page } = stage;
    machine.enter();
    thpSetting('/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled')?.write('always');
    map(stage, WINDOW, contPtes());
    store(stage, WINDOW, 1);
    must(process, 'madvise', WINDOW * page, contPtes() * page, MADV_FREE);
    machine.enter();
    // The fault has made it a run at once.
    if (stage.notes.folded !== 1) machine.kernel.contpteTryUnfold(process.mm, WINDOW);
  },
  tasks: {
    converter: ({ process, notes, page }) =>
      task(
        notes.part === 1
          ? call('sysMadvise', process.ref, OTHER * page, page, MADV_DONTNEED)
          : call(notes.folded === 1 ? 'contpteTryUnfold' : 'contpteTryFold', process.mm, WINDOW),
      ),
    thread: ({ process }) => task(call('threadStore', process.ref, PAGE, 5)),
  },
  holds: {
    dirty: ({ process }) => {
      for (let i = 0; i < contPtes(); i++) if ((entryOf(process.ref, WINDOW + i) & PTE_DIRTY) !== 0) return undefined;
      return 'the thread has written to the folio, and no entry is dirty';
    },
    whole: ({ process }) => {
      for (let i = 1; i < contPtes(); i++)
        if (((entryOf(process.ref, WINDOW) ^ entryOf(process.ref, WINDOW + i)) & PTE_GROUP) !== 0) return `entry ${i} of the run is not as the first`;
      return undefined;
    },
  },
  variants: {
    'no-break': {
      switches: ['contpteNoBreak'],
      expect: 'violation',
      rule: ['dirty'],
      preemptions: 1,
      note: 'hardware sets dirty in an entry that has been read and is then overwritten',
    },
    fold: { expect: 'clean' },
    unfold: { notes: { folded: 1 }, expect: 'clean' },
    'part-no-break': {
      switches: ['contpteNoBreak'],
      notes: { folded: 1, part: 1 },
      expect: 'violation',
      rule: ['dirty'],
      preemptions: 1,
      note: 'the same where MADV_DONTNEED of another page takes the run apart',
    },
    part: { notes: { folded: 1, part: 1 }, expect: 'clean', note: 'a fault that meets the run half converted waits, or looks again' },
  },
});
