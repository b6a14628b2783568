/**
 * R04: get_user_pages_fast() over a run of entries that map a larger page together (contiguous entries of arm64, Svnapot, cells of 8xx), while the page goes.
 *
 * Linux reads each entry of the run, takes its reference and reads it again. Taking all references by the first entry is right only if that is read again afterwards:
 * who unmaps the page empties the whole run before the page can be anybody else's.
 */
import { pageSizes } from '../arch/linux/page-sizes.ts';
import { call, type Stage, scenario, task } from '../explore/scenario.ts';
import { mapForOneHugePage, store, WINDOW } from '../explore/setup.ts';
import { codecFor } from '../machine/boot.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { deviceWroteElsewhere } from './support/pages.ts';

/** log2 of the smallest huge page whose entries are a run of the lowest level; 0 where a mode has none. */
const runShift = (mode: string): number => {
  const codec = codecFor(mode);
  const shifts = codec.levels[0].groups.map((group) => group.shift);
  return pageSizes(codec.mode).find((size) => size.hugetlb && shifts.includes(size.shift))?.shift ?? 0;
};

const shiftOf = ({ machine }: Stage): number => runShift(machine.codec.mode.name);
/** Base pages of one. */
const pagesOf = (stage: Stage): number => 2 ** shiftOf(stage) / stage.page;

export default scenario({
  id: 'R04',
  title: 'two pages of a run of entries are pinned for a device while MADV_DONTNEED throws their huge page away and another place gets it',
  source: 'mails of December 2023 on gup_hugepte(); gup_fast_pte_range()',
  modes: (mode) => runShift(mode) !== 0,
  setup(stage) {
    mapForOneHugePage(stage, shiftOf(stage), WINDOW, WINDOW + pagesOf(stage));
    store(stage, WINDOW, 1);
    stage.machine.enter();
    stage.notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    device: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW + 1, 2, FOLL_WRITE, notes.vector), call('deviceWrite', notes.vector, 7)),
    thread: (stage) =>
      task(
        call('sysMadvise', stage.process.ref, WINDOW * stage.page, pagesOf(stage) * stage.page, MADV_DONTNEED),
        call('threadStore', stage.process.ref, WINDOW + pagesOf(stage) + 1, 5),
      ),
  },
  holds: {
    own: (stage) => deviceWroteElsewhere(stage, WINDOW + pagesOf(stage) + 1),
  },
  variants: {
    once: {
      switches: ['gupFastRunOnce'],
      expect: 'violation',
      rule: ['own', 'I5', 'I32'],
      preemptions: 1,
      note: 'the run is taken by its first entry, read once',
    },
    reload: { switches: ['gupFastRunReload'], expect: 'clean', note: 'its first entry is read again: none of the run is left when the page goes' },
    each: { expect: 'clean', note: 'each entry is read and read again' },
  },
});
