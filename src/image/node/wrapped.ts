/** Reads a file of any kind whole, with gzip or zstd taken off: for texts and tables beside an image. */
import { UNPACK_LIMITS } from '../chunks.ts';
import { unwrap, wrapperOf } from '../wrapper.ts';
import { nodeCodecs } from './codecs.ts';
import { FileBytes } from './file.ts';

/** @throws {PxdError} when the file cannot be read, or is larger than what may be unpacked into memory. */
export async function readWrapped(path: string): Promise<Uint8Array> {
  const file = new FileBytes(path);
  try {
    const wrapper = wrapperOf(file.read(0, Math.min(file.size, 4)));
    const bytes = wrapper === undefined ? file : await unwrap(file, wrapper, nodeCodecs, UNPACK_LIMITS);
    return bytes.read(0, bytes.size);
  } finally {
    file.close();
  }
}
