/** Opens what the user named and hands it over as a session wants it: the image, and what lies beside it. */
import { readFileSync, statSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { MemoryBytes } from '../image/bytes.ts';
import { openElf } from '../image/elf.ts';
import type { Image } from '../image/image.ts';
import { parseRoots, type RootEntry } from '../image/roots.ts';
import type { Surroundings } from '../inspect/session.ts';
import { PxdError } from '../pagetable/error.ts';

export interface Opened {
  readonly image: Image;
  readonly around: Surroundings;
}

/** @throws {PxdError} with one sentence for whatever is wrong with the path or the file. */
export async function openForSession(path: string, _options: { layout?: string } = {}): Promise<Opened> {
  const folder = statSync(path).isDirectory();
  const file = folder ? join(path, readdirSync(path).find((f) => f.startsWith('image.elf')) ?? '') : path;
  let bytes: Uint8Array = readFileSync(file);
  if (file.endsWith('.zst')) {
    const { ZSTDDecoder } = await import('zstddec');
    const decoder = new ZSTDDecoder();
    await decoder.init();
    bytes = decoder.decode(bytes);
  }
  const image = openElf(new MemoryBytes(bytes));
  if (!folder) return { image, around: { name: basename(path) } };
  const meta = JSON.parse(readFileSync(join(path, 'meta.json'), 'utf8'));
  return { image, around: { name: basename(path), roots: parseRoots(readFileSync(join(path, 'roots.json'), 'utf8')), mode: meta.mode, kernel: meta.kernel.release } };
}

/** Reads a roots file. */
export async function readRoots(path: string): Promise<RootEntry[]> {
  try {
    return parseRoots(readFileSync(path, 'utf8'), path);
  } catch (e) {
    if (e instanceof PxdError) throw e;
    throw new PxdError('unavailable', `cannot read the roots file ${path}: ${(e as Error).message}`);
  }
}
