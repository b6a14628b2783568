/** ELF files made of segments, and processes that find them under a path. */
import type { Process } from '../../../src/machine/process.ts';

export interface Segment {
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
}

/** The program whose execs were recorded: code, data with 4 pages behind it, constants. */
export const SEGMENTS: readonly Segment[] = [
  { flags: 5, offset: 0, address: 0x400000, fileBytes: 0x300, memoryBytes: 0x300 },
  { flags: 6, offset: 0x1000, address: 0x402000, fileBytes: 0x10, memoryBytes: 0x5000 },
  { flags: 4, offset: 0x2000, address: 0x409000, fileBytes: 0x1800, memoryBytes: 0x1800 },
];

/** ELF64, little-endian, ET_EXEC; `stack` are the rights of PT_GNU_STACK. Every byte behind the headers is 0x5a. */
export function elf(segments: readonly Segment[] = SEGMENTS, stack: number | undefined = 6, type = 2): Uint8Array {
  const file = new Uint8Array(Math.max(...segments.map((s) => s.offset + s.fileBytes), 0x800)).fill(0x5a);
  const view = new DataView(file.buffer);
  file.fill(0, 0, 64 + 56 * (segments.length + 1));
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, type, true);
  view.setUint16(18, 62, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(segments[0].address + 0x200), true);
  view.setBigUint64(32, 64n, true);
  [64, 56, segments.length + (stack === undefined ? 0 : 1)].forEach((value, i) => {
    view.setUint16(52 + 2 * i, value, true);
  });
  const header = (i: number, kind: number, s: Segment): void => {
    view.setUint32(64 + 56 * i, kind, true);
    view.setUint32(68 + 56 * i, s.flags, true);
    [s.offset, s.address, s.address, s.fileBytes, s.memoryBytes, 0x1000].forEach((value, k) => {
      view.setBigUint64(72 + 56 * i + 8 * k, BigInt(value), true);
    });
  };
  segments.forEach((s, i) => {
    header(i, 1, s);
  });
  if (stack !== undefined) header(segments.length, 0x6474e551, { flags: stack, offset: 0, address: 0, fileBytes: 0, memoryBytes: 0 });
  return file;
}

/** Where `install` and `exec` put what they need in the calling process. */
const AT = 0x1000_0000;
const PAGE = 4096;

/** Maps `bytes` at AT, anew. */
function room(p: Process, bytes: number): void {
  const size = p.machine.pageSize;
  p.syscall('mmap', AT, Math.ceil(bytes / size) * size, 3, 0x32, -1, 0);
}

const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);

/** Writes a file. */
export function install(p: Process, path: string, content: Uint8Array, mode = 0o755): void {
  room(p, content.length + PAGE);
  p.write(BigInt(AT), text(path));
  const fd = p.syscall('open', AT, 0o1102, mode);
  if (fd < 0) throw new Error(`open fails: ${fd}`);
  p.write(BigInt(AT), content);
  if (p.syscall('write', fd, AT, content.length) !== content.length) throw new Error('write fails');
  p.syscall('close', fd);
  room(p, PAGE);
}

/** Puts path, arguments and environment into memory; what execve() is called with. */
export function vectors(p: Process, path: string, args: readonly string[], env: readonly string[]): [number, number, number] {
  const strings = [path, ...args, ...env].map(text);
  const pointer = p.machine.codec.vaBits > 32 ? 8 : 4;
  const table = (args.length + env.length + 2) * pointer;
  room(p, strings.reduce((sum, s) => sum + s.length, table) + PAGE);
  const tables = new DataView(new ArrayBuffer(table));
  const all = new Uint8Array(table + strings.reduce((sum, s) => sum + s.length, 0));
  let at = table;
  let slot = 0;
  const put = (value: number): void => {
    if (pointer === 8) tables.setBigUint64(slot, BigInt(value), true);
    else tables.setUint32(slot, value, true);
    slot += pointer;
  };
  const places = strings.map((s) => {
    all.set(s, at);
    at += s.length;
    return AT + at - s.length;
  });
  for (const place of places.slice(1, 1 + args.length)) put(place);
  put(0);
  for (const place of places.slice(1 + args.length)) put(place);
  put(0);
  all.set(new Uint8Array(tables.buffer));
  if (p.write(BigInt(AT), all).fault) throw new Error('the vectors find no room');
  return [places[0], AT, AT + (args.length + 1) * pointer];
}

export const exec = (p: Process, path: string, args: readonly string[], env: readonly string[] = []): number =>
  p.syscall('execve', ...vectors(p, path, args, env));
