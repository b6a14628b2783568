import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openImage } from '../../src/image/node/open.ts';
import { allCaptureDirs } from '../support/fixtures.ts';
import { compareCaptureForms, compareCaptureTlb, compareHash } from './captures.ts';
import { compareDump } from './dump-truth.ts';

describe.each(allCaptureDirs().map((d) => [basename(d), d]))('capture %s', (_, dir) => {
  it("translates every page as the kernel's pagemap says, and maps nothing else for the user", async () => {
    const image = await openImage(dir);
    const result = compareDump(dir, image);
    image.close();
    expect(result.differences).toEqual([]);
    expect(result.roots).toBeGreaterThan(0);
    expect(result.present).toBeGreaterThan(500);
  });

  it("has the leaves of QEMU's info tlb, the frames of the hash table, and the same memory in every file form", async () => {
    const image = await openImage(dir);
    const tlb = await compareCaptureTlb(dir, image);
    expect(tlb?.differences ?? []).toEqual([]);
    const hash = await compareHash(dir, image);
    expect(hash?.differences ?? []).toEqual([]);
    for (const form of await compareCaptureForms(dir, image)) expect(form.differences).toEqual([]);
    image.close();
  });
});
