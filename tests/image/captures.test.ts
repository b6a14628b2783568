/** Real memory: the captures among the fixtures, and the larger collection beside the project where that is. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Image } from '../../src/image/image.ts';
import { openImage } from '../../src/image/node/open.ts';

const FIXTURES = 'tests/fixtures/captures';
const SHARED = '../shared/dumps';
const folders = (root: string): string[] =>
  existsSync(root)
    ? readdirSync(root, { withFileTypes: true })
        .filter((e) => e.isDirectory())
        .map((e) => e.name)
    : [];

const bytesOf = (words: Uint32Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, words.byteLength);

/** Frames that differ, and those that one side lacks. */
function differences(a: Image, b: Image): string[] {
  const out: string[] = [];
  for (const n of a.frames()) {
    const [x, y] = [a.frame(n), b.frame(n)];
    if (!x || !y || Buffer.compare(bytesOf(x), bytesOf(y)) !== 0) out.push(`frame 0x${n.toString(16)} ${y ? 'differs' : 'is absent'}`);
  }
  return out;
}

async function checkFolder(path: string): Promise<void> {
  const image = await openImage(path);
  const meta = JSON.parse(readFileSync(join(path, 'meta.json'), 'utf8'));
  expect(image.format).toBe('ELF core');
  expect(image.endian).toBe(meta.endian);
  expect(image.segments.length).toBe(meta.imageSegments);
  expect(image.kernelRelease).toBe(meta.kernel.release);
  expect(image.folder?.meta?.mode).toBe(meta.mode);
  const roots = JSON.parse(readFileSync(join(path, 'roots.json'), 'utf8')) as { pid: number; root: Record<string, string> }[];
  expect(image.folder?.roots.map((r) => [r.pid, Object.values(r.registers)])).toEqual(roots.map((r) => [r.pid, Object.values(r.root).map(BigInt)]));
  const info = join(path, 'vmcoreinfo.txt.gz');
  if (existsSync(info)) {
    const text = gunzipSync(readFileSync(info)).toString();
    expect(image.vmcoreinfoText?.trimEnd()).toBe(text.trimEnd());
    expect(image.vmcoreinfo?.get('OSRELEASE')).toBe(meta.kernel.release);
  }
  let frames = 0;
  for (const n of image.frames()) if (image.frame(n)) frames++;
  expect(frames).toBe(image.segments.reduce((n, s) => n + s.frames, 0));
}

describe.each(folders(FIXTURES))('capture %s', (name) => {
  it('opens with all that is known of it', () => checkFolder(join(FIXTURES, name)));
});

const FORMS = ['zlib', 'lzo', 'snappy', 'zstd', 'zlib-flat'];

describe('forms of one memory', () => {
  it.each(FORMS)('kdump-%s has every frame of the ELF core', async (form) => {
    const elf = await openImage(join(FIXTURES, 'x86_64-kdump'));
    const kdump = await openImage(join(FIXTURES, `x86_64-kdump/trimmed.kdump-${form}.zst`));
    expect(differences(elf, kdump)).toEqual([]);
    expect(kdump.vmcoreinfoText).toBe(elf.vmcoreinfoText);
    expect(kdump.notes.cpus).toEqual(elf.notes.cpus);
    expect(kdump).toMatchObject({ elfMachine: 62, endian: 'little', bits: 64, kernelRelease: elf.kernelRelease });
  });

  it('the forms agree in all frames, those beyond the ELF core included', async () => {
    const [first, ...others] = await Promise.all(FORMS.map((form) => openImage(join(FIXTURES, `x86_64-kdump/trimmed.kdump-${form}.zst`))));
    for (const other of others) {
      expect(other.segments).toEqual(first.segments);
      expect(differences(first, other)).toEqual([]);
    }
  }, 60_000);
});

const shared = folders(SHARED);
if (shared.length === 0) console.log('skipped: no captures in ../shared/dumps');

describe.skipIf(shared.length === 0)('captures beside the project', () => {
  it.each(shared)('%s opens', (name) => checkFolder(join(SHARED, name)));

  it('LiME equals ELF, both ways', async () => {
    const elf = await openImage(join(SHARED, 'x86_64-4level'));
    const lime = await openImage(join(SHARED, 'x86_64-4level/image.lime.zst'));
    expect(lime.segments).toEqual(elf.segments);
    expect(differences(elf, lime)).toEqual([]);
    expect(differences(lime, elf)).toEqual([]);
  });

  it.each(['full-makedumpfile-d17.kdump-zstd.zst', 'full-qemu.kdump-zlib-flat.zst'])(
    '%s has the frames of the ELF core',
    async (file) => {
      const elf = await openImage(join(SHARED, 'x86_64-kdump'));
      const full = await openImage(join(SHARED, 'x86_64-kdump', file));
      // makedumpfile left out pages of zeros.
      const isZero = (n: number): boolean => elf.frame(n)?.every((w) => w === 0) ?? false;
      const missing = [...elf.frames()].filter((n) => !full.has(n) && !isZero(n));
      expect(missing).toEqual([]);
      expect(differences(elf, full).filter((d) => d.endsWith('differs'))).toEqual([]);
      expect(full.vmcoreinfoText).toBe(elf.vmcoreinfoText);
      const started = performance.now();
      let read = 0;
      for (const n of full.frames()) if (full.frame(n)) read++;
      expect(read).toBeGreaterThan(15_000);
      expect(performance.now() - started).toBeLessThan(15_000);
    },
    60_000,
  );
});
