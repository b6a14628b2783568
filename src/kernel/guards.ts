/**
 * Guards: which lock must be held to touch a field (the rules that structs name in `defineStruct`). Checked in native and step runs while a task is running
 * under a scheduler: that every plain access is under its guard is what makes it right to interrupt tasks at operations only.
 *
 * A rule says for one object whether the running task may read or write what it guards; what it means is told where the structs are known
 * (mm/invariants/guard-rules.ts).
 */
import { heap } from '../memory/state.ts';
import { fieldName, layouts } from '../memory/struct.ts';
import { KernelBug } from './bug.ts';
import { heldBy } from './lockdep.ts';
import { looked, running, Task } from './task.ts';

export interface GuardRule {
  /** What must be held, as part of a sentence: `the mmap lock for writing`. */
  readonly needs: string;
  mayRead(ref: number, field: number): boolean;
  mayWrite(ref: number, field: number): boolean;
}

const rules = new Map<string, GuardRule>();

/** Says what a rule means that structs name. */
export const defineGuard = (name: string, rule: GuardRule): void => {
  rules.set(name, rule);
};

/** Names of rules that structs use and nobody has defined. */
export const undefinedGuards = (): string[] => [...new Set(layouts.flatMap((l) => [...l.guards.values()]))].filter((name) => !rules.has(name));

/** True while accesses are checked. */
export let checking = false;

export const setGuards = (on: boolean): void => {
  checking = on;
};

/** Slots that plain code touched while `on`, and what they held then; the first LOGGED of them. For who asks what steps have to do with each other (explore/steps.ts), and by what they are known. */
export const accessLog = { on: false, count: 0, slots: new Float64Array(256), values: new Float64Array(256) };
export const LOGGED = 256;

/** An access of the running task to a field, to be asked while `checking`. @throws {KernelBug} guard */
export function checkAccess(ref: number, field: number, write: boolean): void {
  if (ref + field < looked.to && ref + field >= looked.from) looked.tasks = true;
  if (accessLog.on) {
    const at = accessLog.count++ % LOGGED;
    accessLog.slots[at] = ref + field;
    accessLog.values[at] = heap[ref + field];
  }
  const name = layouts[heap[ref]]?.guards.get(field);
  if (name === undefined) {
    if (!(heap[ref] > 0)) deadObject(ref, field, write);
    return;
  }
  const rule = rules.get(name);
  if (rule === undefined || running === 0) return;
  if (write ? rule.mayWrite(ref, field) : rule.mayRead(ref, field)) return;
  // What the check itself reads is nobody's access.
  const locks = heldBy(running).join(', ') || 'no lock';
  throw new KernelBug(
    'guard',
    `task ${heap[running + Task.number]} ${write ? 'writes' : 'reads'} ${fieldName(heap[ref], field)} of ${ref} without ${rule.needs}; it holds ${locks}`,
  );
}

/** Fields of what is no object (any longer). VMAs, files and anon_vmas keep their type while RCU readers may look at them. */
function deadObject(ref: number, field: number, write: boolean): void {
  if (running !== 0 && ref === 0) throw new KernelBug('I19', `task ${heap[running + Task.number]} follows a null pointer to field ${field}`);
  if (running === 0 || (heap[running + Task.rcuDepth] > 0 && !write)) return;
  throw new KernelBug('I19', `task ${heap[running + Task.number]} ${write ? 'writes' : 'reads'} ${fieldName(heap[ref], field)} of ${ref}, which was freed`);
}
