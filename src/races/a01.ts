/**
 * A01: get_user_pages_fast() over a border of the top level of an address space some of whose levels are folded. One task: it is not what others do that goes wrong.
 *
 * The walk reads each entry once and hands its copy on. Where a folded level has more than one round it goes to the next entry from there: from the copy to
 * whatever lies behind it on the stack, here the copy of the level above, which leads to the first table again. Of s390's two repairs Linux took the second.
 *
 * In all modes: three levels (two where there are no more), in the two conventions, whatever the mode's own is.
 */
import { pageAt } from '../explore/look.ts';
import { call, scenario, task } from '../explore/scenario.ts';
import { map, store, WINDOW } from '../explore/setup.ts';
import { get } from '../memory/heap.ts';
import { allocGupStack, foldedLevels, foldedSpan } from '../mm/gup-fold.ts';
import { FOLD_DYNAMIC_ENDS, FOLD_MIDDLE, FOLD_STATIC } from '../mm/gup-fold-types.ts';
import { allocPageVector, PageVector } from '../mm/gup-types.ts';

export default scenario({
  id: 'A01',
  title: 'get_user_pages_fast() crosses a border of the level that is really the top one, below levels that are folded',
  source: 'd3f7b1bb2040 (mm/gup: fix gup_fast with dynamic page table folding)',
  setup(stage) {
    const { machine, notes } = stage;
    machine.enter();
    const span = foldedSpan(foldedLevels());
    notes.border = Math.ceil(WINDOW / span) * span + span;
    map(stage, notes.border - span, 1);
    store(stage, notes.border - span, 3);
    map(stage, notes.border - 1, 2);
    store(stage, notes.border - 1, 1);
    store(stage, notes.border, 2);
    machine.enter();
    notes.vector = allocPageVector();
    notes.stack = allocGupStack(notes.fold ?? FOLD_MIDDLE, foldedLevels());
  },
  roots: ({ notes }) => [notes.vector, notes.stack],
  tasks: {
    get: ({ process, notes }) => task(call('gupFastFolded', process.mm, notes.border - 1, 2, notes.stack, notes.vector), call('putUserPages', notes.vector)),
  },
  always: {
    I5: ({ process, notes }) => {
      for (let i = 0; i < get(notes.vector, PageVector.count); i++) {
        const [got, mapped] = [get(notes.vector, PageVector.pages + i), pageAt(process.ref, notes.border - 1 + i)];
        if (got !== mapped) return `get_user_pages_fast() gives page ${got} for place ${i}, where the process has page ${mapped}`;
      }
      return undefined;
    },
  },
  variants: {
    copies: {
      switches: ['gupFoldStack'],
      notes: { fold: FOLD_MIDDLE },
      expect: 'violation',
      rule: 'I5',
      preemptions: 0,
      note: 'folded by the address space; the second entry is read from behind the copy of the first',
    },
    ends: {
      switches: ['gupFoldStack'],
      notes: { fold: FOLD_DYNAMIC_ENDS },
      expect: 'clean',
      note: 'folded by the address space; the levels above end their rounds where it does: each entry has a walk of its own',
    },
    pointers: { notes: { fold: FOLD_MIDDLE }, expect: 'clean', note: 'folded by the address space; the pointer is handed on beside the copy (Linux)' },
    static: { switches: ['gupFoldStack'], notes: { fold: FOLD_STATIC }, expect: 'clean', note: 'folded by the mode: a folded level has one round' },
    'static-pointers': { notes: { fold: FOLD_STATIC }, expect: 'clean', note: 'folded by the mode, and the pointer handed on' },
  },
});
