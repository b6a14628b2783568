import { defineConfig } from 'vitest/config';
import { vitePrograms } from './scripts/kernel-program.mjs';

export default defineConfig({
  plugins: [vitePrograms()],
  // A test that hangs is ended; a busy machine is no reason for one to fail.
  test: { include: ['tests/**/*.test.ts'], testTimeout: 300_000, hookTimeout: 300_000, maxWorkers: 2 },
});
