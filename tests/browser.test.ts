import { createContext, runInContext } from 'node:vm';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { esbuildPrograms } from '../scripts/kernel-program.mjs';

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
    plugins: [esbuildPrograms()],
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

  it('pxd/machine runs a process, takes its machine back, and ships it as bytes', async () => {
    const result = (await inBrowser(
      'src/machine/index.ts',
      `(() => {
        const machine = new pxd.Machine({ ramBytes: 2 ** 26 });
        const parent = machine.spawn();
        const at = parent.syscall('mmap', 0, 0x4000, 3, 0x22, -1, 0);
        parent.store(BigInt(at) + 4090n, 16, 0x0123456789abcdef0011223344556677n);
        const bytes = machine.snapshot();
        machine.startJournal();
        const mark = machine.mark();
        const child = parent.fork();
        child.store(BigInt(at) + 4090n, 16, 5n);
        const own = [child, parent].map((p) => String(p.load(BigInt(at) + 4090n, 16)));
        const segv = parent.load(16n, 1);
        machine.rewind(mark);
        const copy = pxd.Machine.restore(bytes);
        const again = copy.process(parent.pid).load(BigInt(at) + 4090n, 16);
        return JSON.stringify({ own, segv: [segv.signal, segv.code, Number(segv.address)], left: machine.processes.length, again: String(again) });
      })()`,
    )) as string;
    const value = String(0x0123456789abcdef0011223344556677n);
    expect(JSON.parse(result)).toEqual({ own: ['5', value], segv: [11, 1, 16], left: 1, again: value });
  });

  it('pxd/explore finds a race, and finds none where there is none', async () => {
    const result = (await inBrowser(
      'src/explore/index.ts',
      `(() => {
        const { WINDOW, call, checkVariant, map, scenario, store, task } = pxd;
        const twice = scenario({
          id: 'twice',
          title: 'two threads zap the same page',
          setup(stage) {
            map(stage, WINDOW, 1);
            store(stage, WINDOW, 1);
          },
          hardware: () => ({ speculate: [WINDOW] }),
          tasks: {
            first: ({ process, page }) => task(call('sysMadvise', process.ref, WINDOW * page, page, 4)),
            second: ({ process, page }) => task(call('sysMadvise', process.ref, WINDOW * page, page, 4)),
          },
          variants: { linux: { expect: 'clean' }, unaware: { switches: ['gathersUnaware'], expect: 'violation', rule: 'I4' } },
        });
        return JSON.stringify(['linux', 'unaware'].map((name) => checkVariant(twice, name, 'x86-4level', { now: () => 0 }).result));
      })()`,
    )) as string;
    expect(JSON.parse(result)).toEqual(['clean', 'violation']);
  });

  it.each(['image', 'inspect'])('pxd/%s bundles without Node', async (entry) => {
    expect(await inBrowser(`src/${entry}/index.ts`, 'Object.keys(pxd).length > 0')).toBe(true);
  });
});
