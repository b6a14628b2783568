/** What entries about mremap() have in common. */
import { entryOf, pageAt } from '../../explore/look.ts';
import { call, type Stage, type TaskCall } from '../../explore/scenario.ts';
import { PG_DIRTY } from '../../memory/page-flags.ts';
import { pageFlags } from '../../memory/state.ts';
import { MREMAP_FIXED, MREMAP_MAYMOVE } from '../../mm/mman.ts';
import { PTE_WRITE } from '../../pagetable/canonical.ts';

/** Moves so many pages to another place. */
export const move = ({ process, page }: Stage, from: number, pages: number, to: number): TaskCall =>
  call('sysMremap', process.ref, from * page, pages * page, pages * page, MREMAP_MAYMOVE | MREMAP_FIXED, to * page);

/** I11: a page of a disk's file that is clean is not written to without notice. */
export function writesAreNoticed({ process }: Stage, vpn: number): string | undefined {
  const writable = (entryOf(process.ref, vpn) & PTE_WRITE) !== 0;
  return writable && (pageFlags[pageAt(process.ref, vpn)] & PG_DIRTY) === 0 ? 'the page is clean and can be written to without notice' : undefined;
}
