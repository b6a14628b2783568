/** Further comparisons of a capture folder: QEMU's `info tlb`, hardware hash tables, and other file forms of the same memory. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findMode } from '../../src/arch/registry.ts';
import type { Image } from '../../src/image/image.ts';
import { openImage } from '../../src/image/node/open.ts';
import { readWrapped } from '../../src/image/node/wrapped.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import type { FrameSource } from '../../src/pagetable/source.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { type RootRecord, readJson } from './dump-truth.ts';
import { compareHash32 } from './hash32-truth.ts';
import { compareHash64 } from './hash64-truth.ts';
import { compareTlb, tlbSections } from './tlb-truth.ts';

type ImageLike = FrameSource & { frames(): Iterable<number> };

/** x86: every root for which `info tlb` was printed. */
export async function compareCaptureTlb(
  dir: string,
  image: FrameSource,
): Promise<{ roots: number; leaves: number; aged: number; differences: string[] } | undefined> {
  const file = join(dir, 'info_tlb.txt.zst');
  const meta = readJson(join(dir, 'meta.json')) as { mode: string; kernel: { release: string } };
  const mode = findMode(meta.mode);
  if (mode?.family !== 'x86' || !existsSync(file)) return undefined;
  const sections = tlbSections(new TextDecoder().decode(await readWrapped(file)));
  const compiled = compileMode(mode, meta.kernel.release);
  const result = { roots: 0, leaves: 0, aged: 0, differences: [] as string[] };
  for (const record of readJson(join(dir, 'roots.json')) as RootRecord[]) {
    const lines = sections.get(record.pid);
    if (record.mode !== 'user' || !lines) continue;
    const tally = compareTlb(readPageTables(compiled, image, rootFromRegisters(compiled, { cr3: BigInt(record.root.cr3) }, 'user')), lines);
    result.roots++;
    result.leaves += tally.leaves;
    result.aged += tally.aged;
    result.differences.push(...tally.differences.map((d) => `pid ${record.pid}: ${d}`));
  }
  return result;
}

/** powernv and ppc32: the hardware's hash table against Linux's tree. */
export async function compareHash(dir: string, image: Image): Promise<{ lookedUp: number; hits: number; differences: string[] } | undefined> {
  return compareHash32(dir, image) ?? compareHash64(dir, image);
}

/** Every other file form of the same memory in the folder, frame by frame. */
export async function compareCaptureForms(dir: string, image: ImageLike): Promise<{ file: string; frames: number; differences: string[] }[]> {
  const results: { file: string; frames: number; differences: string[] }[] = [];
  for (const file of readdirSync(dir).filter((f) => /^(full|trimmed)[.-].*zst$|^image\.lime/.test(f))) {
    const other = await openImage(join(dir, file));
    const result = { file: `${dir.split('/').pop()}/${file}`, frames: 0, differences: [] as string[] };
    for (const n of image.frames()) {
      const a = image.frame(n);
      const b = other.frame(n);
      // QEMU's full dump was made with kernel code zeroed; pages of the tables and of processes are the same in all forms.
      if (a && b && a.every((w, i) => w === b[i])) result.frames++;
      else if (b === undefined && file.startsWith('full') && a?.every((w) => w === 0)) result.frames++;
      else result.differences.push(`frame 0x${n.toString(16)} ${b ? 'differs' : 'is absent'}`);
    }
    other.close?.();
    results.push(result);
  }
  return results;
}
