/** The decompressors that need nothing of the platform but WebAssembly: all but zlib and gzip. */
import type { Codecs } from './codecs.ts';
import { lzo1x } from './lzo1x.ts';
import { snappyDecoder } from './snappy.ts';
import { zstdCodec } from './zstd.ts';

export const portableCodecs: Codecs = { lzo: lzo1x, snappy: snappyDecoder(), zstd: zstdCodec };
