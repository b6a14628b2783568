import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryBytes } from '../../src/image/bytes.ts';
import { FileBytes } from '../../src/image/node/file.ts';
import { openImage, readRoots } from '../../src/image/node/open.ts';
import { readWrapped } from '../../src/image/node/wrapped.ts';
import { openSource } from '../../src/image/open.ts';
import { PxdError } from '../../src/pagetable/error.ts';
import { expectBytes, makeElf, makeKdump, makeLime, PAGE, pageOf, zstdFrame } from './make.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'pxd-open-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const write = (name: string, bytes: Uint8Array | string): string => {
  const path = join(dir, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, bytes);
  return path;
};
const made = (name: string, make: (path: string) => void): string => {
  make(join(dir, name));
  return join(dir, name);
};
const folder = (name: string, files: Record<string, Uint8Array | string>): string => {
  mkdirSync(join(dir, name));
  for (const [file, bytes] of Object.entries(files)) write(join(name, file), bytes);
  return join(dir, name);
};
const bytesOf = (words: Uint32Array | undefined): Uint8Array | undefined => words && new Uint8Array(words.buffer, words.byteOffset, PAGE);
const elf = makeElf({ segments: [{ paddr: 0x1000, bytes: pageOf(1, 40 * PAGE) }] });

describe('openImage', () => {
  it.each<[string, Uint8Array]>([
    ['a.elf', elf],
    ['a.elf.gz', gzipSync(elf)],
    ['a.elf.zst', zstdFrame(elf)],
    ['a.lime', makeLime([{ start: 0x1000, bytes: pageOf(1, 40 * PAGE) }])],
    ['a.kdump', makeKdump({ pages: new Map(Array.from({ length: 40 }, (_, i) => [i + 1, pageOf(1, 40 * PAGE).subarray(i * PAGE, (i + 1) * PAGE)])) })],
  ])('opens %s', async (name, bytes) => {
    const image = await openImage(write(name, bytes));
    for (let n = 1; n <= 40; n++) expectBytes(bytesOf(image.frame(n)), pageOf(1, 40 * PAGE).subarray((n - 1) * PAGE, n * PAGE));
    expect(image.frame(41)).toBeUndefined();
    image.close();
  });

  it('opens raw memory when asked to', async () => {
    const path = write('memory.bin', pageOf(3, 2 * PAGE));
    expect([...(await openImage(path, { format: 'raw' })).frames()]).toEqual([0, 1]);
    const layout = write('memory.layout', '0x80000000 0x1000 0x1000\n');
    expect([...(await openImage(path, { layout })).frames()]).toEqual([0x80000]);
    expect([...(await openImage(path, { layout: [{ physical: 0x5000, offset: 0, bytes: 0x2000 }] })).frames()]).toEqual([5, 6]);
    await expect(openImage(path, { layout, format: 'elf' })).rejects.toThrow(/a layout describes raw memory/);
    await expect(openImage(path, { layout: write('bad.layout', 'x y z') })).rejects.toThrow(/bad\.layout: bad\.layout, line 1, physical is "x"/);
  });

  it('opens a folder with what lies in it', async () => {
    write('folder/image.elf.zst', zstdFrame(elf));
    write('folder/roots.json', '[{"pid":7,"comm":"x","mode":"user","root":{"cr3":"0x1000"}}]');
    write('folder/meta.json', '{"mode":"x86-4level","kernel":{"release":"6.6.6"}}');
    write('folder/vmcoreinfo.txt.gz', gzipSync('PAGESIZE=4096\n'));
    const image = await openImage(join(dir, 'folder/'));
    expect(image.folder).toMatchObject({
      name: 'folder',
      roots: [{ pid: 7, registers: { cr3: 0x1000n } }],
      meta: { mode: 'x86-4level' },
      vmcoreinfo: 'PAGESIZE=4096\n',
    });
    expect(image.kernelRelease).toBe('6.6.6');
    expect(image.vmcoreinfo?.get('PAGESIZE')).toBe('4096');
    expectBytes(bytesOf(image.frame(1)), pageOf(1, 40 * PAGE).subarray(0, PAGE));
    expect(readRoots(join(dir, 'folder/roots.json'))).toEqual(image.folder?.roots);
  });

  it('opens a folder with nothing but an image', async () => {
    write('bare/image.elf', elf);
    expect((await openImage(join(dir, 'bare'))).folder).toEqual({ name: 'bare', roots: [] });
  });

  it.each<[string, () => string, RegExp]>([
    ['a file that is not there', () => join(dir, 'nowhere'), /nowhere: the file cannot be opened: there is no such file$/],
    ['an empty file', () => write('empty', ''), /empty: the file is empty: it has 0 bytes$/],
    ['a file of one byte', () => write('one', 'x'), /it begins with 78/],
    ['a directory without an image', () => folder('none', { readme: '' }), /none: the directory holds no image \(it has readme\)/],
    ['an empty directory', () => folder('void', {}), /no image \(it is empty\)/],
    ['a folder with bad roots', () => folder('badroots', { 'image.elf': elf, 'roots.json': '{}' }), /badroots\/roots\.json: roots\.json holds an object/],
    [
      'a folder with a damaged vmcoreinfo',
      () => folder('badinfo', { 'image.elf': elf, 'vmcoreinfo.txt.gz': 'x' }),
      /vmcoreinfo\.txt\.gz: the gzip data is damaged/,
    ],
    ['a device', () => '/dev/null', /no regular file/],
    ['a pipe', () => made('pipe', (path) => execFileSync('mkfifo', [path])), /no regular file/],
    ['a link to itself', () => made('loop', (path) => symlinkSync('loop', path)), /too many symbolic links/],
    ['a path through a file', () => join(write('plain', 'x'), 'y'), /no directory/],
    [
      'an unknown beginning',
      () => write('text', 'Hello, world, this is no image\n'),
      /no memory image that pxd knows \(it begins with 48 65 6c 6c 6f 2c 20 77\): expected an ELF core, a kdump, LiME/,
    ],
    ['a qcow2 image', () => write('disk', Uint8Array.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3])), /is a qcow2 disk image, which pxd does not read/],
    ['an xz file', () => write('x.xz', Uint8Array.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])), /packed with xz.*unpack it first/],
    ['an old diskdump', () => write('old', 'DISKDUMPxxxxxxxxxxxx'), /diskdump/],
    ['control characters in a name', () => join(dir, 'a\u001b[2Jb'), /a\.\[2Jb: the file cannot be opened/],
  ])('says of %s what is wrong', async (_, path, message) => {
    const attempt = openImage(path());
    await expect(attempt).rejects.toThrow(PxdError);
    await expect(attempt).rejects.toThrow(message);
  });

  it.skipIf(process.getuid?.() === 0)('says that a file may not be read', async () => {
    const path = write('secret', elf);
    chmodSync(path, 0);
    await expect(openImage(path)).rejects.toThrow(/permission denied/);
  });

  it('refuses a format that the file does not have', async () => {
    await expect(openImage(write('b.elf', elf), { format: 'kdump' })).rejects.toThrow(/said to be kdump/);
  });

  it('writes nothing, and leaves no file open', async () => {
    const open = () => readdirSync('/proc/self/fd').length;
    const [files, before] = [readdirSync(dir).length, open()];
    for (let i = 0; i < 5; i++) {
      (await openImage(join(dir, 'a.elf'))).close();
      await openImage(join(dir, 'a.elf.zst'));
      await openImage(join(dir, 'text')).catch(() => undefined);
    }
    expect(readdirSync(dir).length).toBe(files);
    expect(open()).toBe(before);
  });

  it('reads packed texts', async () => {
    for (const [name, bytes] of [
      ['t.gz', gzipSync('text')],
      ['t.zst', zstdFrame(new TextEncoder().encode('text'))],
      ['t', new TextEncoder().encode('text')],
    ] as const) {
      expect(new TextDecoder().decode(await readWrapped(write(name, bytes)))).toBe('text');
    }
  });
});

describe('FileBytes', () => {
  it('reads any part like the bytes themselves', () => {
    const bytes = pageOf(5, 50 * PAGE + 123);
    const file = new FileBytes(write('bytes', bytes));
    let x = 1;
    for (let i = 0; i < 500; i++) {
      x = (Math.imul(x, 1103515245) + 12345) >>> 0;
      const at = (x >>> 8) % bytes.length;
      const n = Math.min(bytes.length - at, [1, 24, 4096, 70_000][x & 3]);
      expectBytes(file.read(at, n), bytes.subarray(at, at + n));
    }
    expect(() => file.read(bytes.length - 1, 2)).toThrow(/ends too early: 2 bytes are needed at offset/);
    file.close();
  });

  it('takes little memory, however large the file', async () => {
    const path = join(dir, 'sparse.lime');
    const fd = openSync(path, 'w');
    const header = makeLime([{ start: 0, bytes: pageOf(1) }]).slice(0, 32);
    new DataView(header.buffer).setBigUint64(16, 8n * 2n ** 30n - 1n, true);
    writeSync(fd, header);
    ftruncateSync(fd, 32 + 8 * 2 ** 30);
    closeSync(fd);
    const image = await openImage(path);
    const before = process.memoryUsage().rss;
    let sum = 0;
    for (let frame = 0; frame < 2 ** 21; frame += 37) sum += image.frame(frame)?.[0] ?? 1;
    for (const frame of image.frames()) if (frame < 50_000) sum += image.frame(frame)?.[0] ?? 1;
    expect(sum).toBe(0);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 2 ** 20);
    image.close();
  }, 60_000);
});

describe('pxd/image without Node', () => {
  it('bundles for a browser, and opens bytes', async () => {
    const result = await build({ entryPoints: ['src/image/index.ts'], bundle: true, format: 'esm', platform: 'browser', write: false, logLevel: 'silent' });
    const path = write('browser.mjs', result.outputFiles[0].contents);
    const entry = (await import(path)) as typeof import('../../src/image/index.ts');
    const image = await entry.openSource(new entry.MemoryBytes(zstdFrame(elf)));
    expectBytes(bytesOf(image.frame(1)), pageOf(1, 40 * PAGE).subarray(0, PAGE));
    const packed = new MemoryBytes(gzipSync(elf));
    await expect(openSource(packed)).rejects.toThrow(/packed with gzip, for which no decoder was given/);
  });
});
