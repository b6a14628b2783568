/**
 * Opens an image by its path: a file, or a folder that holds one beside what is known of it.
 *
 * Invariants: nothing is ever written; every message begins with the path it is about; a folder opens as one image or not at all.
 */
import { readdirSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { PxdError } from '../../pagetable/error.ts';
import { MemoryBytes, printable } from '../bytes.ts';
import { type Folder, parseMeta } from '../folder.ts';
import type { Image, ImageFacts } from '../image.ts';
import { parseVmcoreinfo } from '../notes.ts';
import { type ImageFormat, type OpenOptions, openSource } from '../open.ts';
import { type LayoutRange, parseLayout } from '../raw.ts';
import { parseRoots, type RootEntry } from '../roots.ts';
import { nodeCodecs } from './codecs.ts';
import { attempt, FileBytes } from './file.ts';

export interface OpenImageOptions {
  readonly format?: ImageFormat;
  /** Path of a layout file, or the ranges themselves. */
  readonly layout?: string | readonly LayoutRange[];
  readonly limits?: OpenOptions['limits'];
}

const MOST_TEXT = 16 * 2 ** 20;

/** Opens the image at `path`. @throws {PxdError} with one sentence when that cannot be. */
export async function openImage(path: string, options: OpenImageOptions = {}): Promise<Image> {
  const layout = typeof options.layout === 'string' ? readLayout(options.layout) : options.layout;
  const open: OpenOptions = { format: options.format, layout, limits: options.limits, codecs: nodeCodecs };
  const isDirectory = about(path, () => attempt('cannot be opened', () => statSync(path)).isDirectory());
  return isDirectory ? openFolder(path, open) : openFile(path, open);
}

/** Reads a file of roots. */
export const readRoots = (path: string): RootEntry[] => about(path, () => parseRoots(readText(path), basename(path)));

/** Reads a layout file. */
export const readLayout = (path: string): LayoutRange[] => about(path, () => parseLayout(readText(path), basename(path)));

/** Files up to this size are read at once: one read instead of thousands, and frames are views of it. */
const RESIDENT = 32 * 2 ** 20;

async function openFile(path: string, options: OpenOptions): Promise<Image> {
  const file = about(path, () => new FileBytes(path));
  let source: FileBytes | MemoryBytes = file;
  try {
    if (file.size <= RESIDENT) {
      source = new MemoryBytes(file.read(0, file.size));
      file.close();
    }
    const image = await openSource(source, options);
    // What was unpacked into memory needs the file no more.
    if (image.layers.some((layer) => layer === 'gzip' || layer === 'zstd')) file.close();
    return image;
  } catch (error) {
    file.close();
    throw prefixed(path, error);
  }
}

/** Names of images in a folder, best first. */
const IMAGES: readonly RegExp[] = [
  /^image\.elf$/,
  /^image\.elf\.(zst|gz)$/,
  /^image(\.[\w.-]+)?$/,
  /^(vmcore|dump|memory)([\w.-]*)$/,
  /\.(elf|core|lime|kdump)(\.(zst|gz))?$/,
];

async function openFolder(path: string, options: OpenOptions): Promise<Image> {
  const names = about(path, () => attempt('cannot be read', () => readdirSync(path))).sort();
  const name = IMAGES.map((pattern) => names.find((n) => pattern.test(n))).find((n) => n !== undefined);
  if (name === undefined) {
    const beside =
      names.length === 0
        ? 'it is empty'
        : `it has ${names
            .slice(0, 5)
            .map((n) => printable(n, 40))
            .join(', ')}${names.length > 5 ? ', …' : ''}`;
    throw new PxdError(
      'unavailable',
      `${printable(path)}: the directory holds no image (${beside}): expected image.elf, image.elf.zst or a memory image under such a name`,
    );
  }
  const folder = readFolder(path, names);
  const image = await openFile(join(path, name), options);
  return image.with(factsOf(image, folder));
}

/** What the folder adds to the image: itself, and facts that the image does not state. */
function factsOf(image: Image, folder: Folder): Partial<ImageFacts> {
  const vmcoreinfoText = image.vmcoreinfoText ?? folder.vmcoreinfo;
  const vmcoreinfo = image.vmcoreinfo ?? (vmcoreinfoText === undefined ? undefined : parseVmcoreinfo(vmcoreinfoText));
  return {
    folder,
    vmcoreinfo,
    vmcoreinfoText,
    kernelRelease: image.kernelRelease ?? vmcoreinfo?.get('OSRELEASE') ?? folder.meta?.kernel?.release,
    endian: image.endian ?? folder.meta?.endian,
  };
}

function readFolder(path: string, names: readonly string[]): Folder {
  const read = <T>(name: string, parse: (text: string) => T): T | undefined => {
    const found = [name, `${name}.gz`].find((n) => names.includes(n));
    if (found === undefined) return undefined;
    const file = join(path, found);
    return about(file, () => parse(readText(file)));
  };
  return {
    name: basename(resolve(path)),
    roots: read('roots.json', (text) => parseRoots(text)) ?? [],
    meta: read('meta.json', (text) => parseMeta(text)),
    vmcoreinfo: read('vmcoreinfo.txt', (text) => text),
  };
}

/** A small text file, unpacked when its name says gzip. */
function readText(path: string): string {
  const file = new FileBytes(path);
  try {
    if (file.size > MOST_TEXT) throw new PxdError('limit', `the file has ${file.size} bytes, too many for a description of an image`);
    const bytes = file.read(0, file.size);
    return new TextDecoder().decode(path.endsWith('.gz') ? gunzip(bytes) : bytes);
  } finally {
    file.close();
  }
}

function gunzip(bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MOST_TEXT });
  } catch (error) {
    throw new PxdError('bad-image', `the gzip data is damaged: ${(error as Error).message}`);
  }
}

/** Runs a step whose errors are about a file. */
function about<T>(path: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw prefixed(path, error);
  }
}

function prefixed(path: string, error: unknown): unknown {
  return error instanceof PxdError ? new PxdError(error.code, `${printable(path)}: ${error.message}`, error.where) : error;
}
