/** Everything of src/memory under one name for tests. */
export * from '../../src/memory/alloc-flags.ts';
export * from '../../src/memory/buddy.ts';
export * from '../../src/memory/cma.ts';
export * from '../../src/memory/fallback.ts';
export * from '../../src/memory/free-lists.ts';
export * from '../../src/memory/gfp.ts';
export * from '../../src/memory/memory-map.ts';
export * from '../../src/memory/page-flags.ts';
export * from '../../src/memory/snapshot.ts';
export * from '../../src/memory/state.ts';
export * from '../../src/memory/sysctl.ts';
export * from '../../src/memory/watermark.ts';
export * from '../../src/memory/zone.ts';
export * from '../../src/memory/zoneinfo.ts';
