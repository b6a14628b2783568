/** `pxd leaves`: formats, filters, halves, totals, and what the capture itself says of its leaves. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CAPTURES, json, pxd } from './pxd.ts';

const DIR = `${CAPTURES}/x86_64-4level`;
const meta = JSON.parse(readFileSync(`${DIR}/meta.json`, 'utf8')) as { leafCounts?: Record<string, { user: number; kernel: number }> };
const jsonl = ['--format', 'jsonl'];

interface Leaf {
  va: string;
  pa: string;
  bytes: number;
  page: number;
  user: boolean;
  present: boolean;
  count: number;
  stride?: number;
}
const leaves = async (...argv: string[]): Promise<Leaf[]> => json(await pxd(['leaves', DIR, ...argv, ...jsonl])) as unknown as Leaf[];
const total = (list: readonly Leaf[]): number => list.reduce((n, l) => n + (l.bytes / l.page) * l.count, 0);

describe('jsonl', () => {
  it('has the documented keys in their order', async () => {
    const { out } = await pxd(['leaves', DIR, '--pid', '79', '--user', ...jsonl]);
    expect(out.split('\n')[0]).toMatch(
      /^\{"va":"0x0","pa":"0x[0-9a-f]+","bytes":\d+,"page":4096,"read":true,"write":true,"exec":false,"user":true,"present":true,"global":false,"dirty":true,"accessed":true,"contig":1,"count":1\}$/,
    );
  });

  it('agrees with what the capture counted', async () => {
    const counts = meta.leafCounts?.['79/user'];
    if (counts === undefined) throw new Error('meta.json has no leafCounts');
    const all = await leaves('--pid', '79');
    // The capture counts leaves whose entry is present; PROT_NONE keeps its frame but is none of them.
    const present = all.filter((l) => l.present);
    expect(total(present.filter((l) => l.user))).toBe(counts.user);
    expect(total(present.filter((l) => !l.user))).toBe(counts.kernel);
  });

  it('gives repeated extents a stride', async () => {
    const repeated = (await leaves('--pid', '79', '--kernel')).filter((l) => l.count > 1);
    expect(repeated.length).toBeGreaterThan(0);
    for (const l of repeated) expect(l.stride).toBeGreaterThanOrEqual(l.bytes);
    for (const l of await leaves('--pid', '79')) expect('stride' in l).toBe(l.count > 1);
  });

  it('--all adds what is not present, with type and offset', async () => {
    const ran = await pxd(['leaves', DIR, '--pid', '82', '--user', '--all', ...jsonl]);
    const swapped = json(ran).filter((l) => l.kind === 'swap');
    expect(swapped.length).toBeGreaterThan(0);
    expect(Object.keys(swapped[0])).toEqual(['va', 'bytes', 'page', 'present', 'kind', 'swapType', 'swapOffset']);
    expect(swapped[0].present).toBe(false);
    expect(json(await pxd(['leaves', DIR, '--pid', '82', '--user', ...jsonl])).some((l) => 'kind' in l)).toBe(false);
  });
});

describe('the kernel half', () => {
  it('has no swap entries: a word that looks like one is a page taken out of the map', async () => {
    const ran = json(await pxd(['leaves', `${CAPTURES}/x86_64-pti`, '--pid', '79', '--of', 'kernel', '--kernel', '--all', ...jsonl]));
    const gone = ran.filter((l) => 'kind' in l);
    expect(gone.length).toBeGreaterThan(0);
    expect(new Set(gone.map((l) => l.kind))).toEqual(new Set(['unknown']));
    const [told] = json(await pxd(['translate', `${CAPTURES}/x86_64-pti`, '--pid', '79', '--of', 'kernel', gone[0].va as string, '--json']));
    expect(told).toMatchObject({ pa: null, reason: 'unknown' });
    expect(told.text).toMatch(/^not present: the kernel swaps nothing of its own/);
  });
});

describe('choice of root', () => {
  it('--mode and --root on the bare image give what the folder gives', async () => {
    const roots = JSON.parse(readFileSync(`${DIR}/roots.json`, 'utf8')) as { pid: number; mode: string; root: { cr3: string } }[];
    const cr3 = roots.find((r) => r.pid === 79)?.root.cr3 ?? '';
    const folder = await pxd(['leaves', DIR, '--pid', '79', ...jsonl]);
    for (const root of [cr3, `cr3=${cr3}`, `CR3=${cr3.slice(2)}`])
      expect((await pxd(['leaves', `${DIR}/image.elf.zst`, '--mode', 'x86-4level', '--root', root, ...jsonl])).out).toBe(folder.out);
    expect((await pxd(['leaves', `${DIR}/image.elf.zst`, '--roots', `${DIR}/roots.json`, '--pid', '79', ...jsonl])).out).toBe(folder.out);
  });

  it('--of kernel takes the kernel-mode root', async () => {
    const dir = `${CAPTURES}/x86_64-pti`;
    const user = await pxd(['leaves', dir, '--pid', '79', '--kernel', '--summary', ...jsonl]);
    const kernel = await pxd(['leaves', dir, '--pid', '79', '--of', 'kernel', '--kernel', '--summary', ...jsonl]);
    expect(Number(json(kernel)[0].leaves)).toBeGreaterThan(Number(json(user)[0].leaves));
  });

  it('--kernel is a half without a version, a version with one', async () => {
    const half = await leaves('--kernel', '--pid', '79');
    expect(half.every((l) => BigInt(l.va) >= 1n << 63n)).toBe(true);
    expect((await leaves('--pid', '79', '--kernel', '6.1')).length).toBe((await leaves('--pid', '79')).length);
    const first = await pxd(['leaves', '--kernel', DIR, '--pid', '79', ...jsonl]);
    expect(first.code).toBe(0);
    expect(json(first).length).toBe(half.length);
    expect((await leaves('--pid', '79', '--kernel', '--user')).length).toBe((await leaves('--pid', '79')).length);
  });

  it('architectures with two registers list the user half first', async () => {
    const list = json(await pxd(['leaves', `${CAPTURES}/arm64-4k`, '--pid', '78', ...jsonl])).map((l) => BigInt(l.va as string));
    expect(list[0]).toBeLessThan(1n << 48n);
    expect(list.at(-1)).toBeGreaterThan(1n << 63n);
  });
});

describe('filters', () => {
  it('--range crops', async () => {
    const [first] = await leaves('--pid', '79', '--range', '401000-402000');
    expect(first).toMatchObject({ va: '0x401000', bytes: 4096 });
    expect((await leaves('--pid', '79', '--range', '0x401000+2000')).reduce((n, l) => n + l.bytes, 0)).toBe(0x2000);
  });

  it('--where keeps what the expression says', async () => {
    const all = await leaves('--pid', '79');
    const wx = json(await pxd(['leaves', DIR, '--pid', '79', '--where', 'write && exec', ...jsonl]));
    expect(wx.length).toBeGreaterThan(0);
    expect(wx.every((l) => l.write && l.exec)).toBe(true);
    const big = await leaves('--pid', '79', '--where', 'page >= 2M');
    expect(big).toEqual(all.filter((l) => l.page >= 2 ** 21));
    expect(await leaves('--pid', '79', '--where', '!present')).toEqual(all.filter((l) => !l.present));
  });

  it('an empty list says why it is empty', async () => {
    const said = async (...argv: string[]): Promise<string> => {
      const { code, out, err } = await pxd(['leaves', ...argv, ...jsonl]);
      expect([code, out]).toEqual([0, '']);
      return err;
    };
    expect(await said(DIR, '--pid', '79', '--where', 'page > 1G')).toBe(
      'note: nothing that pid 79 pxd-basic (user mode) maps is within what --where, --range, --user and --kernel leave\n',
    );
    expect(await said(DIR, '--pid', '79', '--range', '0x700000000000+1000')).toContain('nothing that pid 79');
    const ttbr0 = '0x433dd001';
    expect(readFileSync(`${CAPTURES}/arm64-4k/roots.json`, 'utf8')).toContain(ttbr0);
    expect(await said(`${CAPTURES}/arm64-4k`, '--root', `ttbr0=${ttbr0}`, '--kernel')).toContain('has no tables for the kernel half');
  });

  it('--summary is exact', async () => {
    const [sum] = json(await pxd(['leaves', DIR, '--pid', '79', '--summary', ...jsonl]));
    const all = await leaves('--pid', '79');
    expect(sum.leaves).toBe(total(all));
    expect(sum.bytes).toBe(all.reduce((n, l) => n + l.bytes * l.count, 0));
  });
});

describe('other formats', () => {
  it('csv has as many fields in each line as in its header', async () => {
    const { lines } = await pxd(['leaves', DIR, '--pid', '82', '--all', '--format', 'csv']);
    const fields = lines[0].split(',').length;
    expect(lines.every((l) => l.split(',').length === fields)).toBe(true);
  });

  it('the table fits 80 columns', async () => {
    const { lines } = await pxd(['leaves', DIR, '--pid', '82', '--all']);
    expect(lines.filter((l) => !/swap|marker|×/.test(l)).every((l) => l.length <= 80)).toBe(true);
    expect(lines[0]).toMatch(/^virtual +physical +size +page rights$/);
  });

  it('colours appear only where the output takes them', async () => {
    const argv = ['leaves', DIR, '--pid', '79', '--user'];
    expect((await pxd(argv)).out).not.toContain('\u001b[');
    expect((await pxd(argv, { color: true })).out).toContain('\u001b[');
  });
});
