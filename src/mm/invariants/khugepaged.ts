/** The list of address spaces that khugepaged goes through: each that says so stands in it once, and those that have ended map nothing (I19). */
import { get } from '../../memory/heap.ts';
import { globals } from '../globals.ts';
import { Khugepaged, MmSlot } from '../khugepaged-types.ts';
import { MMF_VM_HUGEPAGE } from '../mm-flags.ts';
import { Globals, Mm } from '../types.ts';
import type { Census } from './census.ts';
import type { Findings } from './findings.ts';

export function checkKhugepaged(census: Census, found: Findings): void {
  const khugepaged = get(globals, Globals.khugepaged);
  if (khugepaged === 0) return;
  const listed = new Set<number>();
  let before = 0;
  for (let slot = get(khugepaged, Khugepaged.first); slot !== 0; slot = get(slot, MmSlot.next)) {
    const mm = get(slot, MmSlot.mm);
    found.equal('I19', `slot ${slot} of khugepaged: the one before`, get(slot, MmSlot.prev), before);
    if (listed.has(mm)) {
      found.add('I19', `khugepaged goes through mm ${mm} twice`);
      return;
    }
    listed.add(mm);
    before = slot;
  }
  found.equal('I19', 'last slot of khugepaged', get(khugepaged, Khugepaged.last), before);
  for (const { mm, vmas } of census.spaces) {
    const says = (get(mm, Mm.flags) & MMF_VM_HUGEPAGE) !== 0;
    // There may have been no memory for the slot of one that says so.
    if (!says && listed.has(mm)) found.add('I19', `khugepaged goes through mm ${mm}, which has no MMF_VM_HUGEPAGE`);
    if (get(mm, Mm.users) === 0 && vmas.length > 0) found.add('I19', `mm ${mm} has ended and has ${vmas.length} VMAs`);
  }
}
