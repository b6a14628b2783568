/**
 * The roots of a session that questions about a whole image look at.
 *
 * Invariants: no table tree appears twice; of a process that was caught in user and in kernel mode the user's root counts, and the kernel's only
 * where nothing else shows the kernel half.
 */
import { readPageTables } from '../pagetable/tree.ts';
import type { WalkedRoot } from './aliases.ts';
import type { AddressSpace, Session } from './session.ts';

/** Walks what the user asked for, or every known address space. `tell` hears of each before it is walked. */
export function walkedRoots(session: Session, tell: (what: string) => void = () => undefined): WalkedRoot[] {
  const spaces = session.asked ? session.chosen : onePerProcess(session.spaces);
  const seen = new Set<string>();
  const walked: WalkedRoot[] = [];
  for (const space of spaces)
    for (const root of space.roots) {
      if (session.limits.half !== undefined && !root.ranges.some((r) => r.half === session.limits.half)) continue;
      const key = `${root.table} ${root.level} ${root.ranges.map((r) => `${r.half}${r.va}`).join()}`;
      if (seen.has(key)) continue;
      seen.add(key);
      tell(`walking ${space.name}`);
      walked.push({
        name: shortName(space),
        ...(space.pid !== undefined ? { pid: space.pid } : {}),
        tables: readPageTables(session.mode, session.image, root, session.limits.half ? { half: session.limits.half } : {}),
      });
    }
  return walked;
}

const shortName = (space: AddressSpace): string => space.name.replace(/ \((user|kernel) mode\)$/, '');

/** User mode's root of each process; under page-table isolation it hides most of the kernel half, so one kernel-mode root is added then. */
function onePerProcess(spaces: readonly AddressSpace[]): AddressSpace[] {
  const chosen: AddressSpace[] = [];
  for (const space of spaces) {
    const known = chosen.findIndex((s) => s.pid !== undefined && s.pid === space.pid);
    if (known < 0) chosen.push(space);
    else if (chosen[known].cpuMode !== 'user' && space.cpuMode === 'user') chosen[known] = space;
  }
  if (!chosen.some((s) => s.pid === 0)) {
    const kernel = spaces.find((s) => s.cpuMode === 'kernel' && !chosen.includes(s));
    if (kernel) chosen.push(kernel);
  }
  return chosen;
}
