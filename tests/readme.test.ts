/** The README stays true: every command in it runs, its output is what pxd prints, its figures are those of the registry and the feature table. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readFeatures, totals } from '../scripts/features.ts';
import { allModes } from '../src/arch/registry.ts';
import { run } from '../src/cli/run.ts';
import { codecMissing } from '../src/pagetable/canonical.ts';
import { silentIo } from './support/io.ts';

const root = join(import.meta.dirname, '..');
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
const blocks = (language: string): string[] => [...readme.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))].map((m) => m[1]);
const commands = blocks('sh').flatMap((b) => b.split('\n').filter((l) => l !== ''));

/** Words of a command line; single quotes hold words together. */
const words = (line: string): string[] => [...line.replace(/ #.*/, '').matchAll(/'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2]);

describe('README.md', () => {
  it('has commands', () => expect(commands.length).toBeGreaterThan(15));

  it.each(commands.filter((c) => c.startsWith('npx pxd ')))('%s', async (line) => {
    const io = silentIo(100, 50);
    expect([await run(words(line).slice(2), io), io.errors.filter((e) => e.startsWith('pxd:'))]).toEqual([0, []]);
    expect(io.output.join('').length).toBeGreaterThan(50);
  });

  it.each([...new Set([...readme.matchAll(/npm (?:run )?([a-z:]+)/g)].map((m) => m[1]))].filter((s) => s !== 'ci'))('npm script %s exists', (script) => {
    expect(Object.keys(manifest.scripts)).toContain(script);
  });

  it('shows what pxd prints', async () => {
    for (const block of blocks('console')) {
      const [line, ...output] = block.split('\n');
      const io = silentIo(100, 50);
      expect(await run(words(line.replace(/^\$ /, '')).slice(2), io)).toBe(0);
      expect(output.join('\n').trimEnd()).toBe(io.output.join('').trimEnd());
    }
  });

  it('counts modes and features as they are', () => {
    expect(readme).toContain(`(${allModes().length} modes in ${new Set(allModes().map((m) => m.family)).size} families)`);
    expect(readme).toContain(totals(readFeatures().features));
  });

  it('its library example runs', () => {
    const [code] = blocks('ts');
    const source = code.replaceAll("'pxd/pagetable'", "'./dist/pagetable.js'").replaceAll("'pxd/image/node'", "'./dist/image-node.js'").replaceAll(')!', ')');
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], { cwd: root, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^\d+ extents; the first/);
  });

  it('its machine runs', () => {
    const [code] = blocks('js');
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code.replaceAll("'pxd/machine'", "'./dist/machine.js'")], {
      cwd: root,
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^42n 43n \{ signal: 11, code: 1, address: 0n \}\n10000000-10004000 rw-p /);
  });

  it('counts the modes that machines run in', () => {
    expect(readme).toContain(`any of ${allModes().filter((m) => codecMissing(m) === undefined).length} paging modes`);
  });
});
