/** What the search of schedules says of a small scenario: the rule that is broken, or `clean` when every schedule was seen. */
import { checkVariant } from '../../../src/explore/check.ts';
import { type Scenario, scenario } from '../../../src/explore/scenario.ts';
import type { SwitchName } from '../../../src/kernel/switches.ts';

type Small = Pick<Scenario, 'setup' | 'tasks'> & Partial<Pick<Scenario, 'hardware' | 'holds' | 'always' | 'leaks' | 'machine'>>;

/** `clean` only after all schedules; else `rule: message`. With `bound`, all schedules of at most so many preemptions. */
export function explored(small: Small, switches: readonly SwitchName[] = [], { mode = 'x86-4level', bound = undefined as number | undefined } = {}): string {
  const variant = { switches, expect: 'clean' as const, ...(bound === undefined ? {} : { bounded: { preemptions: bound, reason: 'a test' } }) };
  const row = checkVariant(scenario({ id: 'test', title: 'test', variants: { it: variant }, ...small }), 'it', mode, { now: () => performance.now() });
  return row.result === 'violation' ? `${row.message}` : row.ok ? 'clean' : row.result;
}
