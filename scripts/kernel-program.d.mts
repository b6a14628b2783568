import type { Plugin as EsbuildPlugin } from 'esbuild';
import type { Plugin as VitePlugin } from 'vite';

/** Options of the compiler (src/kernel/compile/files.ts) as this project sets them. */
export const DIALECT: { roots: string[]; primitives: string[]; except: string[] };
export function stripTypes(source: string, path: string): Promise<{ code: string; map: object }>;
export function checkDialect(path: string, source?: string): Promise<import('../src/kernel/compile/index.ts').Violation[]>;
export function esbuildPrograms(): EsbuildPlugin;
export function vitePrograms(): VitePlugin;
