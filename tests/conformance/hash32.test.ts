/** The hash table that hardware reads in the captured ppc32 machine, against the trees of all its processes and of the kernel. */
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openImage } from '../../src/image/node/open.ts';
import { allCaptureDirs } from '../support/fixtures.ts';
import { compareHash32 } from './hash32-truth.ts';

const dirs = allCaptureDirs().filter((d) => basename(d) === 'ppc32');

describe.skipIf(dirs.length === 0)('ppc32', () => {
  it.each(dirs)('%s: every entry has its page, its frame and no more rights', async (dir) => {
    const image = await openImage(dir);
    const result = compareHash32(dir, image);
    image.close();
    expect(result).toEqual({ processes: 8, lookedUp: 4658, hits: 1951, entries: 1951, differences: [] });
  });
});
