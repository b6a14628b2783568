/** What several entries ask of a page when all is done. */
import { blockWord, entryOf, pageAt, wordAt } from '../../explore/look.ts';
import type { Ending, Stage } from '../../explore/scenario.ts';
import { WINDOW } from '../../explore/setup.ts';
import { get } from '../../memory/heap.ts';
import { PG_DIRTY } from '../../memory/page-flags.ts';
import { pageFlags, pageMapping, wordShift, words } from '../../memory/state.ts';
import { PageVector } from '../../mm/gup-types.ts';
import { PTE_DIRTY } from '../../pagetable/canonical.ts';

/** I5: a page that the task `pin` got, in `notes.vector`, is the one that the process goes on having at WINDOW. */
export function pinnedStaysMapped({ process, notes, results }: Ending): string | undefined {
  const pinned = get(notes.vector, PageVector.pages);
  const mapped = pageAt(process.ref, WINDOW);
  return results.pin[0] !== 1 || pinned === mapped ? undefined : `page ${pinned} is pinned, and the process has page ${mapped} in its place`;
}

/** I5: where the process has stored 5, in a page that the device did not pin, nothing of the device's is found. No page there is no fault: the one that there is may be pinned. */
export function deviceWroteElsewhere({ process }: Stage, vpn: number): string | undefined {
  const word = wordAt(process.ref, vpn);
  return word === 5 || word === undefined ? undefined : `the device has written ${word} to a page that it never asked for`;
}

/** I6: the first page of a disk's file, mapped at WINDOW, is dirty by its flag or by its entry, or the disk has what it holds. */
export function dirtyOrOnDisk({ process }: Ending, page: number): string | undefined {
  if ((pageFlags[page] & PG_DIRTY) !== 0 || (entryOf(process.ref, WINDOW) & PTE_DIRTY) !== 0) return undefined;
  const written = blockWord(pageMapping[page], 0);
  const word = words[page << wordShift];
  return written === word ? undefined : `the disk has ${written}, the page ${word}, and nothing says that it is dirty`;
}
