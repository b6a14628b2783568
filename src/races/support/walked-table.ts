/** A page table with one page in it that somebody walks to while MADV_DONTNEED empties the table and gives it back: what several entries begin with. */
import { call, type Stage, type TaskSpec, task } from '../../explore/scenario.ts';
import { map, store, WINDOW } from '../../explore/setup.ts';
import { allocPageVector } from '../../mm/gup-types.ts';
import { MADV_DONTNEED } from '../../mm/madv.ts';

/** The page that is there. */
const AT = WINDOW + 1;

/** Maps all that the table can map, so that nothing else keeps it. */
export function pageInTable(stage: Stage): void {
  map(stage, WINDOW, stage.tablePages);
  store(stage, AT, 1);
}

/** Set-up and roots where `getPage` walks. */
export const walkedTable = {
  setup(stage: Stage): void {
    pageInTable(stage);
    stage.machine.enter();
    stage.notes.vector = allocPageVector();
  },
  roots: ({ notes }: Stage): number[] => [notes.vector],
};

/** Empties the table. */
export const zapTable = ({ process, page, tablePages }: Stage): TaskSpec =>
  task(call('sysMadvise', process.ref, WINDOW * page, tablePages * page, MADV_DONTNEED));

/** Walks to the page by a function of get_user_pages, and lets it go. */
export const getPage =
  (name: 'getUserPagesFastOnly' | 'getUserPagesUnlocked') =>
  ({ process, notes }: Stage): TaskSpec =>
    task(call(name, process.mm, AT, 1, 0, notes.vector), call('putUserPages', notes.vector));

/** Walks to it by a fault, or by hardware. */
export const loadPage = ({ process }: Stage): TaskSpec => task(call('threadLoad', process.ref, AT));
export const storePage = ({ process }: Stage): TaskSpec => task(call('threadStore', process.ref, AT, 2));
