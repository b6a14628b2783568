/** Mode, version and roots out of what images say, and roots out of nothing but the tables. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findMode } from '../../src/arch/registry.ts';
import { openImage } from '../../src/image/node/open.ts';
import { scanRoots } from '../../src/inspect/scan.ts';
import { openSession, rootsOfRegisters } from '../../src/inspect/session.ts';
import { compileMode } from '../../src/pagetable/compile.ts';

const CAPTURES = 'tests/fixtures/captures';
const names = readdirSync(CAPTURES, { withFileTypes: true })
  .filter((e) => e.isDirectory())
  .map((e) => e.name);

describe.each(names)('%s', (name) => {
  const meta = JSON.parse(readFileSync(join(CAPTURES, name, 'meta.json'), 'utf8')) as { mode: string; kernel: { release: string } };

  it('the bare image gives away its mode', async () => {
    const image = await openImage(join(CAPTURES, name, 'image.elf.zst'));
    const session = openSession(image, { name });
    expect(session.mode.mode.name).toBe(meta.mode);
    expect(session.modeEvidence).not.toBe('');
    expect(session.chosen.length).toBeGreaterThan(0);
  });

  it('the scan finds the processes and nothing else', async () => {
    const image = await openImage(join(CAPTURES, name));
    const declared = findMode(meta.mode);
    if (!declared) throw new Error(`no mode ${meta.mode}`);
    const mode = compileMode(declared, meta.kernel.release);
    const listed = new Set<bigint>();
    const processes = new Set<bigint>();
    for (const entry of image.folder?.roots ?? []) {
      const [root] = rootsOfRegisters(mode, entry.registers);
      if (root === undefined) continue;
      listed.add(root.table);
      if (entry.pid !== 0 && entry.mode === 'kernel') processes.add(root.table);
    }
    const found = scanRoots(mode, image);
    const hits = found.filter((f) => processes.has(f.root.table)).length;
    // What else is found are the kernel's own: swapper_pg_dir where the capture does not list it, identity maps, trampolines.
    expect(hits).toBeGreaterThanOrEqual(processes.size - 1);
    expect(found.filter((f) => !listed.has(f.root.table)).length).toBeLessThanOrEqual(3);
    for (const f of found) expect(f.evidence).toMatch(/found by structure/);
  });

  it('the kernel root that VMCOREINFO gives is the one that was recorded', async () => {
    const image = await openImage(join(CAPTURES, name, 'image.elf.zst'));
    const kernel = openSession(image, { name }).spaces.find((s) => s.pid === 0);
    const folder = openSession(await openImage(join(CAPTURES, name)), {
      name,
      roots: (await openImage(join(CAPTURES, name))).folder?.roots ?? [],
      mode: meta.mode,
    });
    const recorded = folder.spaces.find((s) => s.pid === 0);
    if (kernel !== undefined && recorded !== undefined) expect(kernel.roots.at(-1)?.table).toBe(recorded.roots.at(-1)?.table);
  });
});
