import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { vitePrograms } from './scripts/kernel-program.mjs';

const everything = 'tests/**/*.test.ts';
/** What takes millions of steps, or is about a process of its own. */
const long = [
  'tests/{explore,races,machine}/**/*.test.ts',
  'tests/cli/check*.test.ts',
  'tests/conformance/traces.test.ts',
  'tests/mm/{exec,file-histories,file-races,hugepd,thp-shmem}.test.ts',
];
/** What else runs kernel code. Taking that in takes seconds, which most of these files do not take themselves: they share a process. */
const shared = ['tests/{cli,features,kernel-substrate,mm}/**/*.test.ts', 'tests/readme.test.ts'];

/**
 * As Node's own modules kernel code is twice as fast as in vitest's, whose imports are looked up at each use, and the programs are kept from run to run
 * (scripts/kernel-node.mjs).
 */
const native = {
  experimental: { viteModuleRunner: false, nodeLoader: false },
  execArgv: ['--expose-gc', '--import', 'tsx', '--import', fileURLToPath(new URL('scripts/kernel-node.mjs', import.meta.url))],
};

export default defineConfig({
  plugins: [vitePrograms()],
  test: {
    // A test that hangs is ended; a busy machine is no reason for one to fail.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'short', include: [everything], exclude: [...long, ...shared] } },
      { extends: true, test: { name: 'long', include: long, ...native } },
      {
        extends: true,
        test: { name: 'shared', include: shared, exclude: long, ...native, isolate: false, setupFiles: ['tests/support/shared-process.ts'] },
      },
    ],
  },
});
