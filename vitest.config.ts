import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { vitePrograms } from './scripts/kernel-program.mjs';

const everything = 'tests/**/*.test.ts';
/**
 * What takes millions of steps: as Node's own modules kernel code is twice as fast as in vitest's, whose imports are looked up at each use. Loading takes longer so, which
 * short tests would feel.
 */
const long = [
  'tests/{explore,races,machine}/**/*.test.ts',
  'tests/cli/check*.test.ts',
  'tests/conformance/traces.test.ts',
  'tests/mm/{exec,file-histories,file-races,hugepd,thp-shmem}.test.ts',
];
const hooks = fileURLToPath(new URL('scripts/kernel-node.mjs', import.meta.url));

export default defineConfig({
  plugins: [vitePrograms()],
  test: {
    // A test that hangs is ended; a busy machine is no reason for one to fail.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: 2,
    projects: [
      { extends: true, test: { name: 'short', include: [everything], exclude: long } },
      {
        extends: true,
        test: {
          name: 'long',
          include: long,
          experimental: { viteModuleRunner: false, nodeLoader: false },
          execArgv: ['--import', 'tsx', '--import', hooks],
        },
      },
    ],
  },
});
