/**
 * `pxd/explore`: every interleaving of Linux's mm.
 *
 * A `Scenario` says in what state things begin, which tasks run, what hardware does meanwhile and what must hold; `checkVariant` searches all schedules of one
 * of its variants in a paging mode. Tasks run kernel functions: those of pxd's own mm by their names (`call('sysMunmap', …)`), or a scenario's own, written with
 * `pxd/explore/kernel` and `pxd/explore/mm` and loaded by `pxd check FILE` or by `loadScenarios` of `pxd/explore/node`.
 *
 * ```ts
 * import { call, checkVariant, map, scenario, store, task, WINDOW } from 'pxd/explore';
 *
 * const twice = scenario({
 *   id: 'twice',
 *   title: 'two threads take the same pages away',
 *   setup(stage) {
 *     map(stage, WINDOW, 2);
 *     store(stage, WINDOW, 1);
 *   },
 *   hardware: () => ({ speculate: [WINDOW] }),
 *   tasks: {
 *     first: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, 2 * page)),
 *     second: ({ process, page }) => task(call('sysMunmap', process.ref, WINDOW * page, page)),
 *   },
 *   variants: { linux: { expect: 'clean' }, before414: { switches: ['gathersUnaware'], expect: 'clean' } },
 * });
 * const row = checkVariant(twice, 'linux', 'x86-4level', { now: () => performance.now() });
 * console.log(row.result, row.states);
 * ```
 *
 * Nothing here touches a platform: it runs in Node and in browsers. docs/check.md tells what is explored and what is not.
 */

export { ACTOR_BASE, type Action } from '../kernel/scheduler.ts';
export { SWITCHES, type Switch, type SwitchName } from '../kernel/switches.ts';
export { Machine, type MachineOptions } from '../machine/machine.ts';
export { Process } from '../machine/process.ts';
export { PxdError, type PxdErrorCode } from '../pagetable/error.ts';
export { boundsOf, type CheckOptions, checkVariant, type Row } from './check.ts';
export { type Format, formats, type RenderOptions } from './diagram/index.ts';
export { entryOf, pageAt, wordAt } from './look.ts';
export { type Played, play } from './play.ts';
export { type ReducedResult, searchReduced } from './reduced.ts';
export {
  type Check,
  call,
  type Ending,
  type Hardware,
  type Scenario,
  type Stage,
  scenario,
  type TaskCall,
  type TaskSpec,
  task,
  type Variant,
} from './scenario.ts';
export { parseSchedule, scheduleText } from './schedule.ts';
export { type Progress, type SearchOptions, type SearchResult, search, type Violation } from './search.ts';
export {
  diskFile,
  load,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  type Mapping,
  map,
  memfd,
  must,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  store,
  WINDOW,
} from './setup.ts';
export { type Staged, stageOf } from './stage.ts';
export { type Story, tell } from './story.ts';
export { type UndoCheckOptions, type UndoFault, type UndoReport, undoCheck } from './undo-check.ts';
export { scenariosOf } from './validate.ts';
