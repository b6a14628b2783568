/** Whether what a file exports is a scenario: each part that is missing or of another kind is named. */
import { SWITCHES } from '../kernel/switches.ts';
import { PxdError } from '../pagetable/error.ts';
import type { Scenario, TaskSpec } from './scenario.ts';

type Unknown = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Unknown => typeof value === 'object' && value !== null;

/** The scenarios of a default export: one, or a list. `where`: what is said in front of complaints. @throws {PxdError} 'usage' */
export function scenariosOf(value: unknown, where: string): Scenario[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (value === undefined) throw new PxdError('usage', `${where} has no default export: expected export default scenario({ … }), or a list of scenarios`);
  if (list.length === 0) throw new PxdError('usage', `${where} exports an empty list of scenarios`);
  for (const one of list) checkShape(one, where);
  const ids = (list as readonly Scenario[]).map((one) => one.id);
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (twice !== undefined) throw new PxdError('usage', `${where} has two scenarios with the id ${twice}`);
  return list as Scenario[];
}

function checkShape(given: unknown, where: string): asserts given is Scenario {
  const complain = (what: string): never => {
    throw new PxdError('usage', `${where}: ${what}`);
  };
  if (!isObject(given)) return complain(`what it exports is no scenario but ${given === null ? 'null' : `a ${typeof given}`}`);
  const { id, title } = given;
  if (typeof id !== 'string' || id === '') return complain('a scenario has an id, a text');
  if (typeof title !== 'string') complain(`scenario ${id} has no title`);
  if (typeof given.setup !== 'function') complain(`scenario ${id} has no function setup(stage)`);
  for (const name of ['modes', 'hardware'] as const)
    if (given[name] !== undefined && typeof given[name] !== 'function') complain(`${name} of scenario ${id} is no function`);
  for (const name of ['tasks', 'holds', 'always'] as const) {
    const part = given[name];
    if (part === undefined && name !== 'tasks') continue;
    if (!isObject(part) || (name === 'tasks' && Object.keys(part).length === 0)) return complain(`scenario ${id} has no ${name}: expected functions by name`);
    for (const [key, value] of Object.entries(part)) if (typeof value !== 'function') complain(`${name}.${key} of scenario ${id} is no function`);
  }
  const { variants } = given;
  if (!isObject(variants) || Object.keys(variants).length === 0)
    return complain(`scenario ${id} has no variants: expected, by name, { expect: 'clean' or 'violation' }`);
  for (const [name, variant] of Object.entries(variants)) {
    if (!isObject(variant) || (variant.expect !== 'clean' && variant.expect !== 'violation'))
      return complain(`variant ${name} of scenario ${id} expects neither 'clean' nor 'violation'`);
    const thrown = variant.switches ?? [];
    if (!Array.isArray(thrown)) return complain(`switches of variant ${name} of scenario ${id} are no list`);
    const unknown = thrown.find((one) => !Object.hasOwn(SWITCHES, String(one)));
    if (unknown !== undefined) complain(`variant ${name} of scenario ${id} throws "${unknown}", and there is no such switch`);
  }
}

/** Whether what a scenario gives for a task can be run, on a machine of so many CPUs. @throws {PxdError} 'usage' */
export function checkTask(id: string, name: string, spec: TaskSpec, cpus: number): void {
  const complain: (what: string) => never = (what) => {
    throw new PxdError('usage', `task ${name} of scenario ${id} ${what}`);
  };
  if (!isObject(spec) || !Array.isArray(spec.calls)) complain('has no list of calls: expected task(call(…), …)');
  for (const one of spec.calls as readonly unknown[]) {
    if (!isObject(one) || !Array.isArray(one.args)) complain('has what is no call among its calls: expected call(function, …numbers)');
    const { run, args } = one as { run: unknown; args: readonly unknown[] };
    const shown = typeof run === 'string' ? run : String((run as Unknown | undefined)?.name ?? run);
    if (typeof run !== 'string' && !(isObject(run) && typeof run.enter === 'function'))
      complain(
        `calls ${shown || 'a function without a name'}, which is no kernel function: expected a name of one of the mm's, or a function* at the top of a file`,
      );
    const wrong = args.findIndex((arg) => typeof arg !== 'number' || Number.isNaN(arg));
    if (wrong >= 0) complain(`calls ${shown}() with ${String(args[wrong])} as argument ${wrong + 1}: arguments are numbers`);
    const params = isObject(run) ? Number(run.params) : 0;
    if (args.length < params) complain(`calls ${shown}() with ${args.length} of ${params} arguments`);
  }
  const { cpu } = spec;
  if (cpu !== undefined && !(Number.isInteger(cpu) && cpu >= 0 && cpu < cpus))
    complain(`runs on CPU ${cpu}, and the machine has ${cpus}: machine.cpus says how many`);
}
