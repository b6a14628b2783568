/**
 * Zstandard, by the decoder that zstddec carries as WebAssembly (the reference implementation, compiled). zstddec's own functions allocate by sizes out of
 * the data and do not tell damage from the end of the input, so the C functions are called here.
 *
 * Invariants: output goes through buffers of our size only; a call that fails is told from one that succeeds (a return value in the last page of
 * unsigned numbers is an error code); an instance that trapped or grew large is thrown away.
 */
import { ZSTDDecoder } from 'zstddec/stream';
import { PxdError } from '../../pagetable/error.ts';
import type { ZstdCodec } from './codecs.ts';

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  malloc(size: number): number;
  free(at: number): void;
  ZSTD_createDCtx(): number;
  ZSTD_freeDCtx(context: number): number;
  ZSTD_decompress(to: number, room: number, from: number, length: number): number;
  ZSTD_decompressStream(context: number, output: number, input: number): number;
}

/** Bytes that one step of a stream reads and writes at most. */
const STEP = 128 * 1024;
/** A stream's window may have made the instance's memory this large; larger ones are not kept. */
const KEEP = 48 * 2 ** 20;

/** What is used of WebAssembly's JavaScript interface, which the types of neither Node nor the language declare. */
type WasmModule = object;
declare const WebAssembly: { readonly Instance: new (module: WasmModule, imports: object) => { readonly exports: object } };

/**
 * Where the compiled module is kept: at zstddec's class, since zstddec can be set up once only, and pxd's entry points may each carry a copy of
 * this file.
 */
const SHARED = Symbol.for('pxd.zstd');
const shared = ZSTDDecoder as unknown as { [SHARED]?: Promise<WasmModule> };

let codec: Promise<ZstdCodec> | undefined;

/** Compiles once; later calls are free. */
export function zstdCodec(): Promise<ZstdCodec> {
  shared[SHARED] ??= compile();
  codec ??= shared[SHARED].then((module) => new Zstd(module));
  return codec;
}

async function compile(): Promise<WasmModule> {
  const carrier = new ZSTDDecoder();
  const { _init } = carrier;
  let module: WasmModule | undefined;
  carrier._init = (result: { module: WasmModule }) => {
    module = result.module;
    _init(result);
  };
  await carrier.init();
  if (!module)
    throw new PxdError('unavailable', 'the zstd decoder cannot be set up: another part of this program has initialised the module zstddec/stream before');
  return module;
}

class Zstd implements ZstdCodec {
  readonly #module: WasmModule;
  #instance: Exports | undefined;
  /** Where page data is put, and how much fits there; grows to what pages need. */
  #buffer = 0;
  #room = 0;

  constructor(module: WasmModule) {
    this.#module = module;
  }

  readonly page = (compressed: Uint8Array, size: number): Uint8Array => {
    const wasm = this.#wasm();
    const room = compressed.length + size;
    if (room > this.#room) {
      if (this.#buffer) wasm.free(this.#buffer);
      this.#buffer = this.#room = 0;
      this.#buffer = allocate(wasm, room);
      this.#room = room;
    }
    const from = this.#buffer;
    const to = from + compressed.length;
    new Uint8Array(wasm.memory.buffer).set(compressed, from);
    const length = check(this.#call(() => wasm.ZSTD_decompress(to, size, from, compressed.length)));
    return new Uint8Array(wasm.memory.buffer).slice(to, to + length);
  };

  readonly stream = (input: Iterable<Uint8Array>): Iterable<Uint8Array> => this.#stream(input);

  *#stream(input: Iterable<Uint8Array>): Iterable<Uint8Array> {
    const wasm = this.#wasm();
    const buffers = allocate(wasm, 24 + 2 * STEP);
    const context = wasm.ZSTD_createDCtx();
    try {
      yield* decode(wasm, buffers, input, () => this.#call(() => wasm.ZSTD_decompressStream(context, buffers + 12, buffers)));
    } finally {
      if (this.#instance === wasm) {
        wasm.ZSTD_freeDCtx(context);
        wasm.free(buffers);
        if (wasm.memory.buffer.byteLength > KEEP) this.#drop();
      }
    }
  }

  #wasm(): Exports {
    this.#instance ??= new WebAssembly.Instance(this.#module, { env: { emscripten_notify_memory_growth: () => {} } }).exports as Exports;
    return this.#instance;
  }

  /** After a trap nothing of the instance is used again. */
  #call(step: () => number): number {
    try {
      return step();
    } catch (error) {
      this.#drop();
      throw error;
    }
  }

  #drop(): void {
    this.#instance = undefined;
    this.#buffer = 0;
    this.#room = 0;
  }
}

function allocate(wasm: Exports, size: number): number {
  const at = wasm.malloc(size);
  if (at === 0) throw new RangeError(`no memory for ${size} bytes of zstd data`);
  return at;
}

/** A length, unless it is an error code. */
function check(result: number): number {
  const value = result >>> 0;
  if (value > 0xffff_f000) throw new RangeError(`damaged zstd data (error ${0x1_0000_0000 - value})`);
  return value;
}

/** ZSTD_inBuffer and ZSTD_outBuffer are {pointer, size, position}, 4 bytes each; they lie before the two buffers. */
function* decode(wasm: Exports, at: number, input: Iterable<Uint8Array>, step: () => number): Iterable<Uint8Array> {
  const inBuffer = at + 24;
  const outBuffer = inBuffer + STEP;
  let hint = 0;
  for (const chunk of input) {
    for (let from = 0; from < chunk.length; from += STEP) {
      const part = chunk.subarray(from, from + STEP);
      new Uint8Array(wasm.memory.buffer).set(part, inBuffer);
      // More output may wait when a step filled its buffer, even with all input taken.
      for (let used = 0, full = false; used < part.length || full; ) {
        new Uint32Array(wasm.memory.buffer, at, 6).set([inBuffer, part.length, used, outBuffer, STEP, 0]);
        hint = check(step());
        const after = new Uint32Array(wasm.memory.buffer, at, 6);
        const made = after[5];
        if (after[2] === used && made === 0 && !full) throw new RangeError('damaged zstd data (no progress)');
        used = after[2];
        full = made === STEP;
        if (made > 0) yield new Uint8Array(wasm.memory.buffer).slice(outBuffer, outBuffer + made);
      }
    }
  }
  if (hint !== 0) throw new PxdError('bad-image', 'the zstd data ends in the middle of a frame: the file was cut');
}
