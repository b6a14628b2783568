/**
 * Decompressors that readers use, as functions handed in: nothing under `image` outside `node` depends on a platform.
 *
 * Invariants: a page decoder returns at most `size` bytes, whatever the input asks for, and throws (anything) for damaged input; the caller checks the
 * length and makes the error's sentence. A stream decoder yields pieces as they come, holds a bounded amount itself and throws a `PxdError`.
 */

/** Decompresses one page of a dump of at most `size` bytes. The result belongs to the caller. */
export type PageDecoder = (compressed: Uint8Array, size: number) => Uint8Array;

/** Decompresses a whole file. */
export type StreamDecoder = (input: Iterable<Uint8Array>) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

export interface ZstdCodec {
  readonly page: PageDecoder;
  readonly stream: StreamDecoder;
}

export interface Codecs {
  readonly zlib?: PageDecoder;
  readonly lzo?: PageDecoder;
  readonly snappy?: PageDecoder;
  /** Set up when it is first needed. */
  readonly zstd?: () => Promise<ZstdCodec>;
  readonly gunzip?: StreamDecoder;
}
