/**
 * Images packed as a whole with gzip or zstd: unpacked into memory, up to a limit.
 *
 * Invariant: the packed bytes are read forward in small pieces; what the result may take is bounded by `UnpackLimits`.
 */
import { PxdError } from '../pagetable/error.ts';
import type { ByteSource } from './bytes.ts';
import { ChunkedBytes, UNPACK_LIMITS, type UnpackLimits } from './chunks.ts';
import type { Codecs, StreamDecoder } from './codec/codecs.ts';

export type Wrapper = 'gzip' | 'zstd';

const STEP = 128 * 1024;

/** Which wrapper the first bytes announce. */
export function wrapperOf(head: Uint8Array): Wrapper | undefined {
  if (head.length < 4) return undefined;
  if (head[0] === 0x1f && head[1] === 0x8b && head[2] === 8) return 'gzip';
  const frame = head[0] === 0x28 && head[1] === 0xb5;
  // Skippable frames (pzstd writes them) have magics 0x184d2a50 to 0x184d2a5f.
  const skippable = (head[0] & 0xf0) === 0x50 && head[1] === 0x2a;
  if ((frame && head[2] === 0x2f && head[3] === 0xfd) || (skippable && head[2] === 0x4d && head[3] === 0x18)) return 'zstd';
  return undefined;
}

/** Unpacks a whole file. */
export async function unwrap(source: ByteSource, wrapper: Wrapper, codecs: Codecs, limits: UnpackLimits = UNPACK_LIMITS): Promise<ByteSource> {
  const decode = await decoderOf(wrapper, codecs);
  const out = new ChunkedBytes(limits);
  try {
    for await (const bytes of decode(pieces(source))) out.append(bytes);
  } catch (error) {
    if (error instanceof PxdError) throw error;
    throw new PxdError('bad-image', `the ${wrapper} data is damaged: ${(error as Error).message}`);
  }
  out.finish();
  return out;
}

async function decoderOf(wrapper: Wrapper, codecs: Codecs): Promise<StreamDecoder> {
  const decode = wrapper === 'gzip' ? codecs.gunzip : (await codecs.zstd?.())?.stream;
  if (!decode) throw new PxdError('unavailable', `the file is packed with ${wrapper}, for which no decoder was given: unpack it first`);
  return decode;
}

function* pieces(source: ByteSource): Iterable<Uint8Array> {
  for (let at = 0; at < source.size; at += STEP) yield source.read(at, Math.min(STEP, source.size - at));
}
