/** The page at WINDOW goes to another frame by soft offline: what the entries about migration begin with. */
import { pageAt } from '../../explore/look.ts';
import { call, type Stage, type TaskSpec, task } from '../../explore/scenario.ts';
import { WINDOW } from '../../explore/setup.ts';
import { pfnOfPage } from '../../memory/state.ts';
import { allocPageVector } from '../../mm/gup-types.ts';

/** Notes the frame that it has; the machine is entered afterwards. */
export function noteFrame({ process, machine, notes }: Stage): void {
  machine.enter();
  notes.frame = pfnOfPage(pageAt(process.ref, WINDOW));
}

/** Notes it, and a vector for pages of get_user_pages(), which the machine does not refer to (`vectorRoot`). */
export function noteFrameAndVector(stage: Stage): void {
  noteFrame(stage);
  stage.notes.vector = allocPageVector();
}

export const vectorRoot = ({ notes }: Stage): number[] => [notes.vector];

/** Takes that frame out of use. */
export const migrate = ({ notes }: Stage): TaskSpec => task(call('softOfflinePage', notes.frame));
