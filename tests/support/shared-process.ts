/**
 * Comes before every test file of the project `shared`, whose files share a process: what the files before have left is collected then. A machine's RAM keeps
 * gigabytes of addresses to itself, of which the engine's collector knows nothing: many small machines would run out of them (for the same reason vitest.config.ts keeps
 * the space of new objects small, as it is in a process that has just begun).
 */
(globalThis as { gc?: () => void }).gc?.();
