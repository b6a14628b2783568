/**
 * E85: an 8M page of 8xx, which two page tables map with all of their entries, is unmapped while others look for its pages.
 *
 * Between one table and the other half of the page is gone. Who comes with the lock must not see that: for him all of the entries are one. Who comes without a lock does
 * see it, and must have use for what he finds: a page that he gets is the one that was mapped, and is not anybody else's before he gives it back.
 */
import { call, type Stage, scenario, task } from '../explore/scenario.ts';
import { mapForOneHugePage, store, WINDOW } from '../explore/setup.ts';
import { spanPages } from '../kernel/arch.ts';
import { codecFor } from '../machine/boot.ts';
import { allocPageVector, FOLL_NOFAULT } from '../mm/gup-types.ts';
import { MADV_DONTNEED } from '../mm/madv.ts';

const SHIFT = 23;

const pagesOf = ({ page }: Stage): number => 2 ** SHIFT / page;
/** The page, and the first that the second of its tables maps. */
const first = (stage: Stage): number => Math.ceil(WINDOW / pagesOf(stage)) * pagesOf(stage);
const second = (stage: Stage): number => first(stage) + spanPages(1);

export default scenario({
  id: 'E85',
  title: 'pages on both sides of the border between the two page tables of an 8M page are looked up while MADV_DONTNEED unmaps it',
  source: 'huge_ptep_get_and_clear() of 8xx; follow_page_pte(), gup_fast_pte_range()',
  modes: (mode) => codecFor(mode).filled.some((page) => page.shift === SHIFT),
  machine: { ramBytes: 2 ** 25 },
  setup(stage) {
    const { machine, notes } = stage;
    mapForOneHugePage(stage, SHIFT, first(stage));
    store(stage, first(stage), 1);
    machine.enter();
    notes.before = allocPageVector();
    notes.behind = allocPageVector();
  },
  roots: ({ notes }) => [notes.before, notes.behind],
  tasks: {
    zap: (stage) => task(call('sysMadvise', stage.process.ref, first(stage) * stage.page, 2 ** SHIFT, MADV_DONTNEED)),
    reader: (stage) => {
      const look = stage.notes.lockless === 1 ? 'getUserPagesFastOnly' : 'getUserPagesUnlocked';
      const flags = stage.notes.lockless === 1 ? 0 : FOLL_NOFAULT;
      return task(
        call(look, stage.process.mm, second(stage) - 1, 1, flags, stage.notes.before),
        call(look, stage.process.mm, second(stage), 1, flags, stage.notes.behind),
        call('putUserPages', stage.notes.before),
        call('putUserPages', stage.notes.behind),
      );
    },
  },
  holds: {
    whole: ({ notes, results: { reader } }) =>
      notes.lockless !== 1 && reader[0] !== 1 && reader[1] === 1 ? 'a page of the second table was found after the first table had none any more' : undefined,
  },
  variants: {
    parts: {
      switches: ['hugePartsOneByOne'],
      expect: 'violation',
      rule: 'whole',
      preemptions: 1,
      note: 'the lock is let go between the tables',
    },
    locked: { expect: 'clean', note: 'one lock for both tables, held from the first entry to the last' },
    lockless: { notes: { lockless: 1 }, expect: 'clean', note: 'half a page is seen; each page that is got was mapped' },
  },
});
