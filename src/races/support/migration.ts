/** The page at WINDOW goes to another frame by soft offline: what the entries about migration begin with. */
import { pageAt } from '../../explore/look.ts';
import { call, type Stage, type TaskSpec, task } from '../../explore/scenario.ts';
import { WINDOW } from '../../explore/setup.ts';
import { pfnOfPage } from '../../memory/state.ts';

/** Notes the frame that it has; the machine is entered afterwards. */
export function noteFrame({ process, machine, notes }: Stage): void {
  machine.enter();
  notes.frame = pfnOfPage(pageAt(process.ref, WINDOW));
}

/** Takes that frame out of use. */
export const migrate = ({ notes }: Stage): TaskSpec => task(call('softOfflinePage', notes.frame));
