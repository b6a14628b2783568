/**
 * `pxd/explore/node`: what exploring needs of Node: scenarios out of files, and threads that search.
 *
 * ```ts
 * import { checkVariant } from 'pxd/explore';
 * import { loadScenarios } from 'pxd/explore/node';
 *
 * for (const scenario of await loadScenarios('my-protocol.ts'))
 *   for (const variant of Object.keys(scenario.variants)) console.log(checkVariant(scenario, variant, 'x86-4level', { now: () => performance.now() }));
 * ```
 */
export { loadScenarios } from './load.ts';
export { type PoolOptions, workerPool } from './workers.ts';
