/** inspect, translate, pte, modes and capture on real captures. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CAPTURES, json, pxd } from './pxd.ts';

const DIR = `${CAPTURES}/x86_64-4level`;

describe('inspect', () => {
  it.each(['x86_64-4level', 'x86_64-5level', 'arm64-4k', 'armhf-short', 'riscv64-sv39', 's390x-7.2', 'ppc64le-radix', 'mipsel', 'loongarch64'])(
    '%s fits a window at 80 and at 160 columns',
    async (name) => {
      for (const columns of [80, 160]) {
        const { code, lines, err } = await pxd(['inspect', `${CAPTURES}/${name}`], { columns });
        expect([code, err]).toEqual([0, '']);
        expect(lines.filter((l) => [...l].length > columns)).toEqual([]);
        expect(lines.length).toBeLessThanOrEqual(50);
        expect(lines.length).toBeGreaterThan(20);
        expect(lines.some((l) => l.startsWith('totals'))).toBe(true);
        expect(lines.some((l) => l.startsWith('findings'))).toBe(true);
      }
    },
  );

  it('names the parts of the kernel half', async () => {
    const { out } = await pxd(['inspect', DIR, '--pid', '79'], { columns: 160 });
    for (const name of ['direct map?', 'vmalloc?', 'vmemmap?', 'cpu entry area', 'espfix', 'kernel image', 'modules', 'fixmap'])
      expect(out).toContain(` ${name}  `);
  });

  it('lists the roots and marks the one shown', async () => {
    const { out } = await pxd(['inspect', DIR, '--pid', '82']);
    expect(out).toMatch(/\*82 pxd-swap 0x[0-9a-f]+/);
    expect(out).toMatch(/ 79 pxd-basic 0x[0-9a-f]+/);
    expect(out).toContain('pid 82 pxd-swap (user mode): CR3');
    expect(out).toMatch(/totals {3}user .* swap/);
  });

  it('--full leaves nothing out', async () => {
    const { out } = await pxd(['inspect', DIR, '--full']);
    expect(out).not.toContain('--full shows all');
    const areas = out.split('\n').filter((l) => /^ {2,}[0-9a-f]{16}-/.test(l)).length;
    expect(areas).toBeGreaterThan(100);
  });
});

describe('translate', () => {
  it('says where an address leads, or why it leads nowhere', async () => {
    const truth = json(await pxd(['leaves', DIR, '--pid', '82', '--user', '--all', '--format', 'jsonl']));
    const of = (kind: string): string => truth.find((l) => l.kind === kind)?.va as string;
    const protnone = json(await pxd(['leaves', DIR, '--pid', '79', '--user', '--where', '!present', '--format', 'jsonl']))[0];
    const [mapped, swapped, none, outside] = json(
      await pxd(['translate', DIR, '--pid', '82', '--json', truth[0].va as string, of('swap'), '0x700000', '0x8000000000000000']),
    );
    expect(mapped).toMatchObject({ va: truth[0].va, pa: truth[0].pa, level: 'pte', page: 4096 });
    expect(swapped).toMatchObject({ pa: null, reason: 'swap', swapType: 0 });
    expect(none).toMatchObject({ pa: null, reason: 'none', level: 'pmd' });
    expect(outside).toMatchObject({ pa: null, reason: 'outside' });
    const [kept] = json(await pxd(['translate', DIR, '--pid', '79', '--json', protnone.va as string]));
    expect(kept).toMatchObject({ pa: protnone.pa, reason: 'prot-none' });
  });

  it('agrees with leaves on every extent, to the byte', async () => {
    for (const [name, pid] of [
      ['x86_64-4level', 79],
      ['arm64-4k', 78],
      ['armhf-short', 73],
      ['mipsel', 74],
      ['s390x-7.2', 89],
    ] as const) {
      const extents = json(await pxd(['leaves', `${CAPTURES}/${name}`, '--pid', String(pid), '--format', 'jsonl'])).filter((_, i) => i % 17 === 0);
      const last = (l: Record<string, unknown>): bigint => BigInt(l.bytes as number) - 1n;
      const addresses = extents.map((l) => `0x${(BigInt(l.va as string) + last(l)).toString(16)}`);
      const found = json(await pxd(['translate', `${CAPTURES}/${name}`, '--pid', String(pid), '--json', ...addresses]));
      // An address that both halves of s390 know is the user's.
      found.forEach((t, i) => {
        if (name !== 's390x-7.2')
          expect([name, t.va, t.pa]).toEqual([name, addresses[i], `0x${(BigInt(extents[i].pa as string) + last(extents[i])).toString(16)}`]);
      });
    }
  });

  it('--path shows the entries as they stand in memory', async () => {
    const { lines } = await pxd(['translate', DIR, '--pid', '79', '401000', '--path']);
    expect(lines).toHaveLength(5);
    expect(lines[1]).toMatch(/^ {2}pgd {2}PML4 at 0x29e4000, entry 0: 0x[0-9a-f]+ \(PDPT\)$/);
    expect(lines[4]).toMatch(/4K page\)$/);
  });
});

describe('pte', () => {
  it('names every field with its meaning', async () => {
    const { out } = await pxd(['pte', 'x86-4level', 'pte', '0x8000000001234067']);
    expect(out).toContain('4K page at 0x1234000, rw-u, dirty, accessed');
    expect(out).toMatch(/^ +63 {2}NX +1 {2}no execute$/m);
    expect(out).toMatch(/^ +51:12 {2}address +0x1234000 {2}physical address of the page$/m);
  });

  it('takes swap-type words apart as the version writes them', async () => {
    const argv = ['pte', '--mode', 'arm64-4k-48', '--json', '--level', 'pte'];
    const [old] = json(await pxd([...argv, '--kernel', '6.1', '0x400000000000800']));
    expect(old).toMatchObject({ kind: 'leaf', present: false });
    const [word] = json(await pxd(['pte', 'x86-4level', '0x80008', '--json']));
    expect(word).toMatchObject({ kind: 'nonpresent', swap: { kind: 'swap', type: 0, exclusive: true } });
  });

  it('--encode makes the word that decodes to the same fields', async () => {
    const [made] = json(await pxd(['pte', 'x86-4level', 'pmd', '--encode', 'P RW US PS NX PKEY=3 address=0x40000000', '--json']));
    expect(made).toMatchObject({ value: '0x9800000040000087', form: '2M page', address: '0x40000000', fields: { PKEY: 3, NX: 1 } });
    for (const [fields, says] of [
      ['P FOO', /no field "FOO"/],
      ['P address=0x123', /does not fit/],
      ['PKEY=99', /does not fit/],
    ] as const)
      expect((await pxd(['pte', 'x86-4level', 'pte', '--encode', fields])).err).toMatch(says);
  });

  it('shows a value at every level', async () => {
    expect(json(await pxd(['pte', 'x86-5level', 'all', '1234067', '--json'])).map((e) => e.level)).toEqual(['pgd', 'p4d', 'pud', 'pmd', 'pte']);
  });
});

describe('hostile tables', () => {
  it('a table that points to itself in 512 different ways is refused, not expanded', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pxd-self-'));
    try {
      const file = join(folder, 'self.raw');
      const words = new BigUint64Array(1024);
      for (let i = 0; i < 512; i++) words[i] = 7n | (BigInt(i & 0x7f) << 52n) | (BigInt(i >> 7) << 9n);
      writeFileSync(file, new Uint8Array(words.buffer));
      const image = [file, '--input-format', 'raw', '--mode', 'x86-5level', '--root', '0'];
      for (const argv of [
        ['leaves', ...image],
        ['leaves', ...image, '--summary'],
        ['inspect', ...image],
      ]) {
        const { code, out, err } = await pxd(argv);
        expect([code, out]).toEqual([2, '']);
        expect(err).toMatch(/^pxd: .*point to each other.*\n$/);
      }
      expect((await pxd(['leaves', ...image, '--range', '0-10000'])).lines).toHaveLength(17);
      expect((await pxd(['translate', ...image, '1234'])).out).toMatch(/→ 0x234 /);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('live processes', () => {
  it.skipIf(process.platform !== 'linux')('this one is shown with its areas', async () => {
    const { code, out } = await pxd(['inspect', '--pid', String(process.pid)], { columns: 80 });
    expect(code).toBe(0);
    expect(out.split('\n').filter((line) => line.length > 80)).toEqual([]);
    expect(out).toMatch(/^pid \d+ /);
    expect(out).toMatch(/\ntotals \d+ areas/);
    expect((await pxd(['leaves', '--pid', String(process.pid)])).err).toMatch(/jsonl only/);
    const [run] = json(await pxd(['leaves', '--pid', String(process.pid), '--format', 'jsonl']));
    expect(run).toMatchObject({ present: true, user: true });
  });
});

describe('modes', () => {
  it('lists them, for people and for programs', async () => {
    const all = json(await pxd(['modes', '--json']));
    expect(all.find((m) => m.name === 'x86-4level')).toMatchObject({ vaBits: 48, pageBytes: 4096, family: 'x86' });
    const { lines } = await pxd(['modes']);
    expect(lines).toHaveLength(all.length + 1);
    expect(lines.every((l) => l.length <= 80)).toBe(true);
    expect((await pxd(['modes', 'no such mode'])).code).toBe(2);
  });
});

describe('capture', () => {
  it('keeps the page tables and nothing else, and opens as the image does', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pxd-capture-'));
    try {
      for (const [name, pid] of [
        ['x86_64-4level', '79'],
        ['armhf-short', '73'],
        ['ppc64le-radix', '127'],
        ['s390x-7.2', '89'],
      ]) {
        const file = join(folder, `${name}.elf`);
        const { code, out } = await pxd(['capture', `${CAPTURES}/${name}`, '-o', file]);
        expect([code, out.startsWith(file)]).toEqual([0, true]);
        const argv = ['--pid', pid, '--all', '--format', 'jsonl'];
        expect((await pxd(['leaves', file, ...argv])).out).toBe((await pxd(['leaves', `${CAPTURES}/${name}`, ...argv])).out);
        expect(readFileSync(file).includes('PXDSTAMP')).toBe(false);
      }
      const file = join(folder, 'x86_64-4level.elf');
      writeFileSync(file, 'precious');
      expect((await pxd(['capture', DIR, '-o', file])).err).toMatch(/exists: --force/);
      expect(readFileSync(file, 'utf8')).toBe('precious');
      expect((await pxd(['capture', DIR, '-o', file, '--force', '--pid', '79'])).code).toBe(0);
      expect((await pxd(['leaves', file, '--pid', '80'])).err).toMatch(/no root of pid 80/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
