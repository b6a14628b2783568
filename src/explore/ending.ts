/**
 * What is asked when all tasks are done and nobody is inside the kernel: nothing is translated that the tables do not grant, the invariants of the machine
 * at rest hold, and what the scenario says must hold.
 */
import { KernelBug } from '../kernel/bug.ts';
import { settleHardware } from '../kernel/hardware.ts';
import { removeTasks } from '../kernel/task.ts';
import { staleTranslations } from '../kernel/tlb.ts';
import { free, get } from '../memory/heap.ts';
import { checkMachine } from '../mm/invariants/index.ts';
import { Mm } from '../mm/types.ts';
import type { Scenario } from './scenario.ts';
import type { Staged } from './stage.ts';
import { StoredWords } from './stored.ts';

/**
 * What is wrong at the end of a run. Takes tasks and CPUs away: whoever calls goes back by the journal, or is done with the machine. `isChecked`: nothing is wrong
 * with the machine as such, which was asked before where its memory was the same.
 */
export function endingFault(scenario: Scenario, { stage, scheduler, names, stored }: Staged, isChecked = false): KernelBug | undefined {
  settleHardware();
  const results = Object.fromEntries(names.map((name, i) => [name, scheduler.results[i]]));
  for (const [rule, holds] of Object.entries(scenario.holds ?? {})) {
    const wrong = holds({ ...stage, results });
    if (wrong !== undefined) return new KernelBug(rule, wrong);
  }
  if (isChecked) return undefined;
  const stale = staleTranslations((mm) => get(mm, Mm.pgd));
  if (stale.length > 0) return new KernelBug('I4', stale[0]);
  removeTasks();
  free(StoredWords, stored.ref);
  const bad = checkMachine({ leaks: scenario.leaks === true, roots: scenario.roots?.(stage) ?? [] });
  if (bad.length === 0) return undefined;
  const rule = /^I\d+/.exec(bad[0])?.[0];
  return new KernelBug(
    rule ?? 'machine',
    bad
      .slice(0, 3)
      .join('\n')
      .slice(rule === undefined ? 0 : `${rule}: `.length),
  );
}
