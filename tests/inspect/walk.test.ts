/** A walk of one address says what the tree reader says, on random tables of every mode. */
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { allModes } from '../../src/arch/registry.ts';
import { openForSession } from '../../src/cli/open-image.ts';
import { openSession } from '../../src/inspect/session.ts';
import { walk } from '../../src/inspect/walk.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { extentsOf } from '../../src/pagetable/extents.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { captureDirs } from '../support/fixtures.ts';
import { random, randomTables } from '../support/random-tables.ts';

describe.each(allModes().map((m) => [m.name, m] as const))('%s', (_, mode) => {
  test('walks end where the extents say', () => {
    const compiled = compileMode(mode);
    const shift = BigInt(mode.pageShift);
    let mapped = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const { memory, root } = randomTables(compiled, seed, 8);
      const { columns, classes } = extentsOf(readPageTables(compiled, memory, root), { all: true });
      const next = random(seed);
      for (let i = 0; i < Math.min(columns.length, 60); i++) {
        const cls = classes[columns.kind[i]];
        const k = Math.floor(next() * columns.count[i]);
        const page = Math.floor(next() * columns.pages[i]);
        const va = (BigInt(columns.vpn[i] + k * columns.stride[i] + page) << shift) + 5n;
        const w = walk(compiled, memory, root, va);
        const where = `seed ${seed}, extent ${i} (${cls.kind}), 0x${va.toString(16)}`;
        if (cls.kind !== 'leaf') {
          expect(w.end.kind, where).toBe('unmapped');
          continue;
        }
        expect(w.end, where).toMatchObject({
          kind: 'mapped',
          pa: (BigInt(columns.pfn[i] + page) << shift) + 5n,
          leafBytes: cls.leafPages * 2 ** mode.pageShift,
          rights: { read: cls.read, write: cls.write, exec: cls.exec, user: cls.user },
          present: cls.present,
        });
        mapped++;
      }
    }
    // Chance hardly ever makes an s390 table whose type and length fit; the captures below do.
    if (mode.name !== 's390x') expect(mapped).toBeGreaterThan(5);
  });
});

test.each(captureDirs().map((dir) => [basename(dir), dir] as const))('capture %s: every extent of every root', async (_, dir) => {
  const { image, around } = await openForSession(dir);
  const session = openSession(image, around);
  const shift = BigInt(session.mode.mode.pageShift);
  let mapped = 0;
  for (const root of session.spaces.slice(0, 4).flatMap((space) => space.roots)) {
    const { columns, classes } = extentsOf(readPageTables(session.mode, image, root), { all: true });
    for (let i = 0; i < columns.length; i++) {
      const cls = classes[columns.kind[i]];
      const page = columns.pages[i] - 1;
      const { end } = walk(session.mode, image, root, BigInt(columns.vpn[i] + page) << shift);
      const where = `${root.label} extent ${i}, page 0x${(columns.vpn[i] + page).toString(16)}`;
      if (cls.kind !== 'leaf') {
        expect(end.kind, where).toBe('unmapped');
        continue;
      }
      expect(end, where).toMatchObject({
        kind: 'mapped',
        pa: BigInt(columns.pfn[i] + page) << shift,
        leafBytes: cls.leafPages * 2 ** Number(shift),
        present: cls.present,
      });
      if (end.kind === 'mapped') expect([end.rights.read, end.rights.write, end.rights.exec], where).toEqual([cls.read, cls.write, cls.exec]);
      mapped++;
    }
  }
  expect(mapped).toBeGreaterThan(100);
});
