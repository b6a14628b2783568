import { defineConfig } from 'vitest/config';
import { vitePrograms } from './scripts/kernel-program.mjs';

export default defineConfig({
  plugins: [vitePrograms()],
  test: { include: ['tests/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000, maxWorkers: 2 },
});
