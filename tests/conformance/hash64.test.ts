import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openImage } from '../../src/image/node/open.ts';
import { allCaptureDirs, SHARED } from '../support/fixtures.ts';
import { readJson } from './dump-truth.ts';
import { compareHash64 } from './hash64-truth.ts';

interface Reference {
  pid: number;
  pagesInSlbSegments: number;
  inHtabSamePfn: number;
  inHtabOtherPfn: number;
}

const dirs = allCaptureDirs().filter((d) => /hash.*-powernv$/.test(d));
if (!existsSync(SHARED)) console.log('skipped: ../shared/dumps is not here; only the 64K capture kept with the tests is compared');

describe.skipIf(dirs.length === 0).each(dirs.map((d) => [d.split('/').pop(), d]))('hash table of %s', (name, dir) => {
  it('holds nothing that the trees do not say, and what an independent reader found', async () => {
    const image = await openImage(dir as string);
    const found = await compareHash64(dir as string, image);
    image.close();
    expect(found?.differences).toEqual([]);
    const slb = found?.slb ?? new Map();
    let hits = 0;
    for (const r of readJson(join(dir as string, 'verify_htab.json')) as Reference[]) {
      const mine = slb.get(r.pid);
      // That reader left segments with 16M base pages out.
      const large = mine?.bySize['16777216/16777216'] ?? 0;
      expect([r.pid, (mine?.hits ?? 0) - large]).toEqual([r.pid, r.inHtabSamePfn]);
      // Every valid entry of the process's segments is one that the tree leads to.
      expect(mine?.owned).toBe(mine?.hits);
      expect(mine?.lookedUp).toBeGreaterThanOrEqual(mine?.hits as number);
      hits += r.inHtabSamePfn;
    }
    expect(hits).toBe(name?.includes('64k') ? 751 : 2125);
    // The contexts give segments that the SLB had lost: at least as much is found, and again nothing else is there.
    for (const [pid, all] of found?.contexts ?? []) {
      expect(all.hits).toBeGreaterThanOrEqual(slb.get(pid)?.hits ?? 0);
      expect(all.entries).toBe(all.hits);
    }
    expect(found?.kernel.hits).toBeGreaterThan(5);
    // The kernel's contexts are right when they lead to what the SLB led to, and each of their entries is one of the tree's.
    expect(found?.kernelContexts?.hits).toBeGreaterThanOrEqual(found?.kernel.hits as number);
    expect(found?.kernelContexts?.entries).toBe(found?.kernelContexts?.hits);
  });
});
