import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { vitePrograms } from './scripts/kernel-program.mjs';

const everything = 'tests/**/*.test.ts';
/**
 * What has a process of its own: what takes millions of steps, what other processes or threads must number kernel functions as this one does, and what looks at its
 * own process.
 */
const apart = [
  'tests/{explore,races}/**/*.test.ts',
  'tests/machine/{clone,failures,smoke}.test.ts',
  'tests/cli/{check*,commands}.test.ts',
  'tests/conformance/traces.test.ts',
];
/** What runs through vite: the compiler's own tests, whose programs vite's plugin makes. */
const vite = ['tests/kernel-compile/**/*.test.ts'];

/**
 * As Node's own modules kernel code is twice as fast as in vitest's, whose imports are looked up at each use, and the programs are kept from run to run
 * (scripts/kernel-node.mjs).
 */
const native = {
  experimental: { viteModuleRunner: false, nodeLoader: false },
  execArgv: ['--import', 'tsx', '--import', fileURLToPath(new URL('scripts/kernel-node.mjs', import.meta.url))],
};

export default defineConfig({
  plugins: [vitePrograms()],
  test: {
    // A test that hangs is ended; a busy machine is no reason for one to fail.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'vite', include: vite } },
      { extends: true, test: { name: 'apart', include: apart, ...native } },
      // Taking the kernel's programs in takes seconds, which most files do not take themselves: they share a process.
      {
        extends: true,
        test: {
          name: 'shared',
          include: [everything],
          exclude: [...apart, ...vite],
          ...native,
          isolate: false,
          execArgv: ['--expose-gc', '--max-semi-space-size=4', ...native.execArgv],
          setupFiles: ['tests/support/shared-process.ts'],
        },
      },
    ],
  },
});
