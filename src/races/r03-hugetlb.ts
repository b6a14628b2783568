/**
 * R03 for hugetlb: get_user_pages_fast() of a page whose one entry stands above the lowest level, or in a huge page directory (gup_hugepte() under gup_hugepd(), until
 * Linux 6.10). Unlike gup_fast_pte_range() it does not read the entry that leads to the table again: what keeps the table, or the directory, is that it is freed
 * after a grace period; what keeps the page is that its own entry is read again after the references were taken.
 */
import { pageSizes } from '../arch/linux/page-sizes.ts';
import { call, type Stage, scenario, task } from '../explore/scenario.ts';
import { hasHugetlb, mapForOneHugePage, store, WINDOW } from '../explore/setup.ts';
import { codecFor } from '../machine/boot.ts';
import { allocPageVector, FOLL_WRITE } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';
import { deviceWroteElsewhere } from './support/pages.ts';

/** log2 of the smallest huge page that has an entry of its own: in a directory where the mode has such, else of the level above the lowest. */
function leafShift(mode: string): number {
  const codec = codecFor(mode);
  if (codec.directories.length > 0) return codec.directories[0].shift;
  return hasHugetlb(mode) && pageSizes(codec.mode).some((size) => size.hugetlb && size.shift === codec.levels[1].shift) ? codec.levels[1].shift : 0;
}

const shiftOf = ({ machine }: Stage): number => leafShift(machine.codec.mode.name);
/** Base pages of one. */
const pagesOf = (stage: Stage): number => 2 ** shiftOf(stage) / stage.page;

export default scenario({
  id: 'R03-hugetlb',
  title: 'a part of a page of hugetlb is pinned for a device while it is thrown away and another place gets it, or while its table goes with it',
  source: 'gup_fast_pmd_leaf(); gup_hugepte(), gup_hugepd() until 6.10; hugepd_free() of arch/powerpc/mm/hugetlbpage.c',
  modes: (mode) => leafShift(mode) !== 0,
  machine: { ramBytes: 2 ** 26 },
  setup(stage) {
    mapForOneHugePage(stage, shiftOf(stage), WINDOW, WINDOW + pagesOf(stage));
    store(stage, WINDOW, 1);
    stage.machine.enter();
    stage.notes.vector = allocPageVector();
  },
  roots: ({ notes }) => [notes.vector],
  tasks: {
    device: ({ process, notes }) => task(call('pinUserPagesFast', process.mm, WINDOW + 1, 1, FOLL_WRITE, notes.vector), call('deviceWrite', notes.vector, 7)),
    thread: (stage) => {
      const { process, page, notes } = stage;
      const [at, size] = [WINDOW * page, pagesOf(stage) * page];
      if (notes.unmaps === 1) return task(call('sysMunmap', process.ref, at, 2 * size));
      return task(call('sysMadvise', process.ref, at, size, MADV_DONTNEED), call('threadStore', process.ref, WINDOW + pagesOf(stage) + 1, 5));
    },
  },
  holds: {
    own: (stage) => deviceWroteElsewhere(stage, WINDOW + pagesOf(stage) + 1),
  },
  variants: {
    'no-reload': { switches: ['gupFastNoReload'], expect: 'violation', rule: ['own', 'I5', 'I32'], preemptions: 1, note: 'the entry is not read again' },
    fixed: { expect: 'clean' },
    'table-at-once': {
      switches: ['tableFreeAtOnce'],
      notes: { unmaps: 1 },
      expect: 'violation',
      rule: 'I3',
      preemptions: 1,
      note: 'the table, or the huge page directory, is freed as soon as it is flushed',
    },
    'table-rcu': { notes: { unmaps: 1 }, expect: 'clean', note: 'the table, or the huge page directory, is freed after a grace period' },
  },
});
