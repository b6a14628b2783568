import { createContext, runInContext } from 'node:vm';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

/** A bundle for the browser, run where nothing of Node exists. */
async function inBrowser(entry: string, code: string): Promise<unknown> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'iife',
    globalName: 'pxd',
    target: 'es2022',
    logLevel: 'silent',
  });
  const context = createContext({ TextDecoder, TextEncoder, WebAssembly: Reflect.get(globalThis, 'WebAssembly'), console: { log: () => undefined } });
  runInContext(outputFiles[0].text, context);
  return runInContext(code, context);
}

describe('in a browser', () => {
  it('pxd/pagetable loads, decodes an entry of every mode, and walks tables', async () => {
    const result = (await inBrowser(
      'src/pagetable/index.ts',
      `(() => {
        const names = pxd.modeNames();
        for (const mode of pxd.allModes()) for (const level of pxd.compileMode(mode).levels) pxd.decode(level, 0x67, 0);
        const pgd = new Uint32Array(1024), pud = new Uint32Array(1024);
        pgd[0] = 0x2067; pud[2] = 0x400000e7;
        const mode = pxd.compileMode(pxd.findMode('x86-4level'));
        const root = pxd.rootFromRegisters(mode, { cr3: 0x1000n }, 'user');
        const tables = pxd.readPageTables(mode, { frame: (n) => ({ 1: pgd, 2: pud })[n] }, root);
        const { columns, classes } = pxd.extentsOf(tables);
        return JSON.stringify({ modes: names.length, vpn: columns.vpn[0], pfn: columns.pfn[0], pages: columns.pages[0], write: classes[0].write });
      })()`,
    )) as string;
    const { modes, ...extent } = JSON.parse(result);
    expect(modes).toBeGreaterThan(3);
    expect(extent).toEqual({ vpn: 0x40000, pfn: 0x40000, pages: 0x40000, write: true });
  });

  it.each(['image', 'inspect'])('pxd/%s bundles without Node', async (entry) => {
    expect(await inBrowser(`src/${entry}/index.ts`, 'Object.keys(pxd).length > 0')).toBe(true);
  });
});
