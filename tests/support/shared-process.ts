/**
 * Comes before every test file of the project `shared`, whose files share a process: what the files before have left is collected then. A machine's RAM keeps
 * gigabytes of addresses to itself, of which the engine's collector knows nothing: many small machines would run out of them.
 */
(globalThis as { gc?: () => void }).gc?.();
