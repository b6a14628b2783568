/** Decompressors on Node: the portable ones, and zlib's for zlib pages and gzip files. */
import { Readable } from 'node:stream';
import { createGunzip, inflateSync } from 'node:zlib';
import { PxdError } from '../../pagetable/error.ts';
import type { Codecs, ZstdCodec } from '../codec/codecs.ts';
import { portableCodecs } from '../codec/portable.ts';
import { zstdCodec } from '../codec/zstd.ts';

export const nodeCodecs: Codecs = {
  ...portableCodecs,
  zlib: (compressed, size) => inflateSync(compressed, { maxOutputLength: size }),
  zstd,
  gunzip,
};

/**
 * zstddec loads its WebAssembly with `fetch` where there is one; on Node that takes in an HTTP client first, which costs more than all the rest
 * of opening a small image. It looks for `fetch` while it is called and not later, so hiding it just then is seen by nothing else.
 */
function zstd(): Promise<ZstdCodec> {
  const fetch = Object.getOwnPropertyDescriptor(globalThis, 'fetch');
  if (!fetch?.configurable) return zstdCodec();
  Object.defineProperty(globalThis, 'fetch', { configurable: true, value: undefined });
  try {
    return zstdCodec();
  } finally {
    Object.defineProperty(globalThis, 'fetch', fetch);
  }
}

async function* gunzip(input: Iterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const source = Readable.from(input, { objectMode: true });
  const out = createGunzip({ chunkSize: 128 * 1024 });
  // An error of the source must end the reading of the output, too.
  source.on('error', (error) => out.destroy(error));
  source.pipe(out);
  try {
    yield* out as AsyncIterable<Uint8Array>;
  } catch (error) {
    if ((error as { code?: string }).code === 'Z_BUF_ERROR') throw new PxdError('bad-image', 'the gzip data ends too early: the file was cut');
    throw error;
  } finally {
    source.destroy();
    out.destroy();
  }
}
