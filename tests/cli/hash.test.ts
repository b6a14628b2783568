/** `pxd hash` on captures that hold a hash table, on damaged ones, and where there is none. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CAPTURES, json, pxd } from './pxd.ts';

const PPC32 = `${CAPTURES}/ppc32`;
const POWERNV = `${CAPTURES}/ppc64le-hash-64k-powernv`;
const folder = mkdtempSync(join(tmpdir(), 'pxd-hash-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What `--json` says of the processes, without what depends on which frames of the table a file holds. */
const processes = async (argv: readonly string[]): Promise<unknown[]> => json(await pxd(['hash', ...argv, '--json']));

/** Byte offset of a physical address in a capture (ELF64 of either byte order). */
function offsetOf(file: Buffer, physical: number): number {
  const big = file[5] === 2;
  const u64 = (at: number): number => Number(big ? file.readBigUInt64BE(at) : file.readBigUInt64LE(at));
  const count = big ? file.readUInt16BE(56) : file.readUInt16LE(56);
  for (let i = 0, at = u64(32); i < count; i++, at += 56) {
    const [offset, start, bytes] = [u64(at + 8), u64(at + 24), u64(at + 32)];
    const isLoad = (big ? file.readUInt32BE(at) : file.readUInt32LE(at)) === 1;
    if (isLoad && physical >= start && physical < start + bytes) return offset + physical - start;
  }
  throw new Error(`0x${physical.toString(16)} is not in the file`);
}

/** A capture's first valid entry of the hash table that `of` accepts, changed by `change`. */
function damage(
  from: string,
  to: string,
  range: [number, number],
  step: number,
  of: (file: Buffer, at: number) => boolean,
  change: (file: Buffer, at: number) => void,
): void {
  copyFileSync(from, to);
  const file = readFileSync(to);
  for (let pa = range[0]; pa < range[1]; pa += 4096) {
    let at: number;
    try {
      at = offsetOf(file, pa);
    } catch {
      continue;
    }
    for (let entry = at; entry < at + 4096; entry += step)
      if (of(file, entry)) {
        change(file, entry);
        writeFileSync(to, file);
        return;
      }
  }
  throw new Error('no such entry');
}

describe('32-bit book3s', () => {
  const capture = join(folder, 'ppc32.elf');

  it('says where the table is, what it holds, and what of each process is in it', async () => {
    const { code, out, lines } = await pxd(['hash', PPC32]);
    expect(code).toBe(0);
    for (const part of ['hash table at 0x9f80000, 512K in 8,192 groups of 8', '2,062 of 65,536 entries valid', '1,951 found', '0 disagreements'])
      expect(out.replace(/\s+/g, ' ')).toContain(part);
    expect(lines.find((l) => l.startsWith('pid 20'))).toMatch(/pid 20 pxd-shared +3 +620 +587 +33 +0 +587 +0/);
    expect(lines.filter((l) => l.length > 80)).toEqual([]);
  });

  it('gives one object a process', async () => {
    const all = await processes([PPC32]);
    expect(all).toHaveLength(8);
    expect(all[0]).toMatchObject({ pid: 19, half: 'user', contexts: [2], lookedUp: 533, hits: 467, misses: 66, entries: 467, differences: [] });
    expect(all[7]).toMatchObject({ pid: 0, half: 'kernel', contexts: [0], hits: 12 });
    expect(await processes([PPC32, '--pid', '26'])).toHaveLength(1);
  });

  it('takes the registers from --root, too', async () => {
    const [one] = await processes([PPC32, '--root', 'pgd=0x95a000', '--root', 'sdr1=0x9f80007']);
    expect(one).toMatchObject({ half: 'user', contexts: [2], hits: 467 });
    expect((await pxd(['hash', PPC32, '--root', 'pgd=0x95a000'])).err).toMatch(/no register tells where the hash table lies: expected sdr1/);
    const bad = await pxd(['hash', PPC32, '--root', 'pgd=0x95a000', '--root', 'sdr1=0x9f80005']);
    expect([bad.code, bad.err]).toEqual([2, expect.stringMatching(/mask 0x5 is no run of low ones/)]);
    const elsewhere = await pxd(['hash', PPC32, '--root', 'pgd=0x95a000', '--root', 'sdr1=0x7f800000']);
    expect([elsewhere.code, elsewhere.err]).toEqual([2, expect.stringMatching(/holds no frame of the hash table at 0x7f800000/)]);
  });

  it('a capture answers as the image does', async () => {
    expect((await pxd(['capture', PPC32, '-o', capture])).code).toBe(0);
    expect(await processes([capture])).toEqual(await processes([PPC32]));
    expect(readFileSync(capture).includes('PXDSTAMP')).toBe(false);
  });

  it('tells an entry with another frame, and --strict says so', async () => {
    const file = join(folder, 'damaged32.elf');
    // VSID of segment 1 in context 3 (pid 20): its first entry gets another frame.
    const vsid = (3 * 897 * 16 + 0x111) % 2 ** 24;
    const mine = (f: Buffer, at: number): boolean => f[at] >= 0x80 && ((f.readUInt32BE(at) >>> 7) & 0xffffff) === vsid;
    damage(capture, file, [0x9f80000, 0xa000000], 8, mine, (f, at) => f.writeUInt32BE((f.readUInt32BE(at + 4) ^ 0x1000) >>> 0, at + 4));
    const space = (await processes([file, '--pid', '20']))[0] as { hits: number; misses: number; differences: { what: string; va: string; text: string }[] };
    expect(space).toMatchObject({ hits: 586, misses: 33, differences: [{ what: 'frame' }] });
    expect(space.differences[0].va).toMatch(/^0x1[0-9a-f]{4}000$/);
    expect((await pxd(['hash', file])).code).toBe(0);
    const { code, out } = await pxd(['hash', file, '--strict']);
    expect(code).toBe(1);
    expect(out).toContain('pid 20 pxd-shared: 1 disagreement\n');
    expect(out).toContain(space.differences[0].text);
    expect((await pxd(['hash', capture, '--strict'])).code).toBe(0);
  });
});

describe('powernv', () => {
  const capture = join(folder, 'powernv.elf');

  it('finds the table through the partition table and the segments through the contexts', async () => {
    const { code, out, lines } = await pxd(['hash', POWERNV]);
    expect(code).toBe(0);
    for (const part of [
      'hash table at 0x4fc00000, 2M in 16,384 groups of 8 (PTCR 0x4ffe0004, partition table entry 0x4fc00003)',
      '257 × 16M (in 64K segments)',
    ])
      expect(out.replace(/\s+/g, ' ')).toContain(part);
    expect(lines.filter((l) => l.length > 80)).toEqual([]);
    const all = await processes([POWERNV]);
    expect(all).toHaveLength(8);
    expect(all[1]).toMatchObject({ pid: 127, contexts: [11, 20, 21, 18, 19, 16], contextsFrom: 'registers', hits: 402, entries: 402, differences: [] });
    expect(all[7]).toMatchObject({ half: 'kernel', contexts: [5, 6], hits: 35, entries: 35, differences: [] });
  });

  it('a capture answers as the image does, also of one process', async () => {
    expect((await pxd(['capture', POWERNV, '-o', capture])).code).toBe(0);
    expect(await processes([capture])).toEqual(await processes([POWERNV]));
    const one = join(folder, 'one.elf');
    expect((await pxd(['capture', POWERNV, '-o', one, '--pid', '128'])).code).toBe(0);
    expect(await processes([one, '--pid', '128'])).toEqual(await processes([POWERNV, '--pid', '128']));
  });

  it('tells an entry with more rights', async () => {
    const file = join(folder, 'damaged64.elf');
    const [one] = (await processes([capture, '--pid', '127'])) as { differences: unknown[] }[];
    expect(one.differences).toEqual([]);
    // Entries of segment 1 (256M) in context 11: no execution from one that the tree lets execute, or the other way round.
    const vsid = Number(((11n * 2n ** 21n + 1n) * 12538073n) % (2n ** 40n - 1n));
    const mine = (f: Buffer, at: number): boolean =>
      (f[at + 7] & 1) === 1 &&
      Number((f.readBigUInt64BE(at) >> 7n) & (2n ** 45n - 1n)) >= vsid * 32 &&
      Number((f.readBigUInt64BE(at) >> 7n) & (2n ** 45n - 1n)) < (vsid + 1) * 32 &&
      f[at + 8] >> 2 === 0;
    damage(capture, file, [0x4fc00000, 0x4fe00000], 16, mine, (f, at) => (f[at + 15] ^= 4));
    const [bad] = (await processes([file, '--pid', '127'])) as { differences: { what: string; va: string; text: string }[] }[];
    expect(bad.differences).toMatchObject([{ what: 'rights', va: expect.stringMatching(/^0x1[0-9a-f]{7}$/), text: expect.stringMatching(/execute/) }]);
    expect((await pxd(['hash', file, '--strict'])).code).toBe(1);
  });
});

describe('no hash table', () => {
  it.each([
    ['a mode that has none', `${CAPTURES}/arm64-4k`, /arm64-4k-48 has no hash table: only ppc-book3s32/],
    ['radix', `${CAPTURES}/ppc64le-radix`, /ppc64-radix-\S+ has no hash table/],
    ['pseries', `${CAPTURES}/ppc64le-hash`, /expected ptcr or patb0 .*the hypervisor keeps its hash table/],
  ])('%s', async (_, dir, text) => {
    const { code, out, err } = await pxd(['hash', dir]);
    expect([code, out, err.trim().split('\n').length]).toEqual([2, '', 1]);
    expect(err).toMatch(text);
  });

  it('a capture of such a mode is made all the same', async () => {
    expect((await pxd(['capture', `${CAPTURES}/ppc64le-hash`, '-o', join(folder, 'pseries.elf')])).code).toBe(0);
  });
});
