/** docs/requests.md: complete, its tests exist, and what no other test shows. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { zstdCodec } from '../../src/image/codec/zstd.ts';
import { openImage } from '../../src/image/node/open.ts';
import { CAPTURES, json, pxd } from './pxd.ts';

const ROWS = readFileSync('docs/requests.md', 'utf8')
  .split('\n')
  .filter((line) => /^\| \d+ \|/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()));

describe('docs/requests.md', () => {
  it('answers 34 requests', () => {
    expect(ROWS.map((row) => Number(row[1]))).toEqual(Array.from({ length: 34 }, (_, i) => i + 1));
    for (const row of ROWS) expect(['yes', 'partly', 'not yet']).toContain(row[3]);
  });

  it('names tests that exist', () => {
    for (const row of ROWS) for (const file of row[5].split(', ')) expect([row[1], file, existsSync(file)]).toEqual([row[1], file, true]);
  });

  it('shows commands that exist', async () => {
    const { out } = await pxd(['--help']);
    for (const [, command] of ROWS.flatMap((row) => [...row[4].matchAll(/`pxd ([a-z]+)/g)])) expect(out).toMatch(new RegExp(`^  ${command} `, 'm'));
  });
});

/** The image with VMCOREINFO's note renamed, so that nothing finds it. */
async function withoutVmcoreinfo(path: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  const { stream } = await zstdCodec();
  for await (const bytes of stream([readFileSync(path)])) parts.push(bytes.slice());
  const image = Buffer.concat(parts);
  const at = image.indexOf('VMCOREINFO\0');
  expect(at).toBeGreaterThan(0);
  image.write('XXCOREINFO', at);
  return image;
}

/** The frames of an image in LiME's form: a header of 32 bytes before each run. */
async function asLime(path: string): Promise<Buffer> {
  const image = await openImage(path);
  const parts: Buffer[] = [];
  for (const { start, frames } of image.segments) {
    const head = Buffer.alloc(32);
    head.writeUInt32LE(0x4c694d45, 0);
    head.writeUInt32LE(1, 4);
    head.writeBigUInt64LE(BigInt(start) * 4096n, 8);
    head.writeBigUInt64LE(BigInt(start + frames) * 4096n - 1n, 16);
    parts.push(head);
    for (let i = 0; i < frames; i++) parts.push(Buffer.from(image.readBytes((start + i) * 4096, 4096) ?? new Uint8Array(4096)));
  }
  return Buffer.concat(parts);
}

describe('requests', () => {
  it('8, 10: any root under any of its names, EL2 included', async () => {
    const image = `${CAPTURES}/arm64-4k/image.elf.zst`;
    const list = async (root: string): Promise<string> =>
      (await pxd(['leaves', image, '--mode', 'arm64-4k-48', '--root', root, '--user', '--format', 'jsonl'])).out;
    const el1 = await list('ttbr0_el1=0x433dd001');
    expect(el1).not.toBe('');
    expect(await list('ttbr0_el2=0x433dd001')).toBe(el1);
    expect(await list('0x433dd001')).toBe(el1);
    // The address space number in the upper bits is none of the address.
    expect(await list('0x4e000000433dd001')).toBe(el1);
  });

  it.each([
    ['x86_64-4level', 'x86-4level'],
    ['arm64-4k', 'arm64-4k-48'],
    ['arm64-16k', 'arm64-16k-52'],
    ['armhf-lpae', 'arm-lpae'],
    ['armhf-short', 'arm-short'],
    ['i386-pae', 'x86-pae'],
    ['riscv64-sv39', 'riscv-sv39'],
    ['s390x-7.2', 's390x'],
  ])('29: a LiME image of %s beside a roots file, whose registers tell the mode', async (name, mode) => {
    const place = mkdtempSync(join(tmpdir(), 'pxd-requests-'));
    try {
      const lime = join(place, 'image.lime');
      const folder = `${CAPTURES}/${name}`;
      writeFileSync(lime, await asLime(`${folder}/image.elf.zst`));
      const argv = ['--roots', `${folder}/roots.json`, '--range', '0-0x7fffffff', '--format', 'jsonl'];
      const listed = await pxd(['leaves', lime, ...argv]);
      expect([listed.code, listed.out]).toEqual([0, (await pxd(['leaves', folder, '--mode', mode, ...argv])).out]);
      expect((await pxd(['inspect', lime, '--roots', `${folder}/roots.json`], { columns: 200 })).out).toMatch(
        new RegExp(`^mode ${mode} \\(.*registers in the roots file`, 'm'),
      );
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  it('a roots file of another architecture is named as that', async () => {
    const { code, err } = await pxd(['leaves', `${CAPTURES}/x86_64-4level`, '--roots', `${CAPTURES}/s390x-7.2/roots.json`, '--pid', '89']);
    expect([code, err]).toEqual([2, 'pxd: the roots file gives no root of x86-4level: expected cr3, its first entry has pswm, cr0, cr1, cr7, cr13\n']);
  });

  it('25: a RISC-V image without VMCOREINFO and roots, by structure or as told', async () => {
    const folder = `${CAPTURES}/riscv64-sv39`;
    const roots = JSON.parse(readFileSync(`${folder}/roots.json`, 'utf8')) as { pid: number; root: { satp: string } }[];
    const { satp } = (roots.find((r) => r.pid > 0) as (typeof roots)[number]).root;
    const place = mkdtempSync(join(tmpdir(), 'pxd-requests-'));
    try {
      const image = join(place, 'bare.elf');
      writeFileSync(image, await withoutVmcoreinfo(`${folder}/image.elf.zst`));
      const { out } = await pxd(['inspect', image]);
      expect(out).toMatch(/^mode riscv-sv39/m);
      expect(out).toContain('found by structure');
      expect(out).toContain(`0x${((BigInt(satp) & 0xfffffffffffn) << 12n).toString(16)}`);
      const told = json(await pxd(['leaves', image, '--mode', 'riscv-sv39', '--root', satp, '--user', '--summary', '--format', 'jsonl']));
      const known = json(
        await pxd(['leaves', folder, '--pid', String(roots.find((r) => r.root.satp === satp)?.pid), '--user', '--summary', '--format', 'jsonl']),
      );
      expect(told[0].leaves).toBe(known[0].leaves);
    } finally {
      rmSync(place, { recursive: true });
    }
  });

  it('33: NAPOT, PBMT and RSW by name', async () => {
    const napot = await pxd(['pte', 'riscv-sv39', 'pte', '0x80000000218820e7']);
    expect(napot.out).toContain('64K NAPOT page at 0x86200000');
    expect(napot.out).toMatch(/13:10 +NAPOT +8 /);
    const { out } = await pxd(['pte', 'riscv-sv39', 'pte', '0x2000000021882307']);
    expect(out).toMatch(/62:61 +PBMT +1 /);
    expect(out.match(/RSW: /g)?.length).toBe(2);
  });
});
