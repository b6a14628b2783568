/**
 * Operations on userfaultfds, which the recorder carries out itself: it has the descriptors, by handles, and reads and resolves from outside.
 *
 * Invariant: arguments and results lie in the driver's memory as Linux lays them out (include/uapi/linux/userfaultfd.h).
 */
import { PxdError } from '../../pagetable/error.ts';
import { hex, num, words } from './arguments.ts';
import { errnoName } from './errno.ts';
import type { Argument, OperationResult } from './format.ts';
import type { TraceDriver, TraceHost } from './host.ts';

const MESSAGE = 32;
const PAGE = 4096;
const MOST_COPIED = 64 * 2 ** 20;
/** Where the pages of a copy begin; the argument stands before them. */
const SOURCE = 4096;

/** ioctl numbers: _IOWR(0xaa, …) of a struct of so many bytes, two of them _IOR. */
const iowr = (number: number, bytes: number, direction = 3): bigint => BigInt(((direction << 30) | (bytes << 16) | (0xaa << 8) | number) >>> 0);

/** Commands whose argument is { start, len, mode, result }. */
const FILLS: Readonly<Record<string, number>> = { uffd_zeropage: 4, uffd_continue: 7, uffd_poison: 8 };
const EVENTS: Readonly<Record<number, string>> = { 18: 'PAGEFAULT', 19: 'FORK', 20: 'REMAP', 21: 'REMOVE', 22: 'UNMAP' };

export class Userfaultfds {
  readonly #host: TraceHost;
  /** The driver's descriptors by handle; -1 once closed. */
  readonly #descriptors: number[] = [];

  constructor(host: TraceHost) {
    this.#host = host;
  }

  /** Whether an operation is one of these. */
  static has(op: string): boolean {
    return op.startsWith('uffd_') && op !== 'uffd_open' && op !== 'uffd_unblock';
  }

  /** `uffd_open`: the process makes one, the driver takes it over. */
  open(process: number, flags: bigint): OperationResult {
    const fd = this.#host.syscall(process, 'userfaultfd', [flags]);
    if (fd < 0) return { r: errnoName(-fd) };
    const own = this.#driver.takeDescriptor(process, fd);
    this.#host.syscall(process, 'close', [BigInt(fd)]);
    this.#descriptors.push(own);
    return { r: `U${this.#descriptors.length - 1}` };
  }

  get #driver(): TraceDriver {
    const { driver } = this.#host;
    if (driver === undefined) throw new PxdError('unavailable', 'this machine has no userfaultfd');
    return driver;
  }

  run(op: string, args: readonly Argument[]): OperationResult {
    const handle = Number(num(args, 0));
    const fd = this.#descriptors[handle] ?? -1;
    if (op === 'uffd_read') return this.#read(fd);
    if (op === 'uffd_close') {
      if (fd >= 0) this.#driver.syscall('close', [BigInt(fd)]);
      this.#descriptors[handle] = -1;
      return { r: 0 };
    }
    if (op === 'uffd_copy') return this.#copy(fd, args);
    if (op === 'uffd_api') {
      const { r, words } = this.#ioctl(fd, iowr(0x3f, 24), [0xaan, num(args, 1), 0n]);
      return { r, ...(r === 0 ? { v: [hex(words[1]), hex(words[2])] } : {}) };
    }
    if (op === 'uffd_register') {
      const { r, words } = this.#ioctl(fd, iowr(0, 32), [num(args, 1), num(args, 2), num(args, 3), 0n]);
      return { r, ...(r === 0 ? { v: hex(words[3]) } : {}) };
    }
    if (op === 'uffd_unregister') return { r: this.#ioctl(fd, iowr(1, 16, 2), [num(args, 1), num(args, 2)]).r };
    if (op === 'uffd_wake') return { r: this.#ioctl(fd, iowr(2, 16, 2), [num(args, 1), num(args, 2)]).r };
    if (op === 'uffd_wp') return { r: this.#ioctl(fd, iowr(6, 24), [num(args, 1), num(args, 2), num(args, 3)]).r };
    if (op === 'uffd_move') {
      const { r, words } = this.#ioctl(fd, iowr(5, 40), [num(args, 1), num(args, 2), num(args, 3), num(args, 4), 0n]);
      return { r, v: count(words[4]) };
    }
    const fill = FILLS[op];
    if (fill === undefined) return { r: 'EOPNOTSUPP' };
    const { r, words } = this.#ioctl(fd, iowr(fill, 32), [num(args, 1), num(args, 2), num(args, 3), 0n]);
    return { r, v: count(words[3]) };
  }

  #copy(fd: number, args: readonly Argument[]): OperationResult {
    const length = num(args, 2);
    const bytes = Number(length > BigInt(MOST_COPIED) ? BigInt(MOST_COPIED) : length);
    const buffer = this.#driver.buffer(SOURCE + bytes + PAGE);
    const source = new Uint8Array(Math.ceil(bytes / PAGE) * PAGE);
    for (let i = 0; i * PAGE < bytes; i++) source[i * PAGE] = Number((num(args, 3) + BigInt(i)) & 255n);
    this.#driver.write(buffer + BigInt(SOURCE), source);
    const { r, words } = this.#ioctl(fd, iowr(3, 40), [num(args, 1), buffer + BigInt(SOURCE), length, num(args, 4), 0n]);
    return { r, v: count(words[4]) };
  }

  #read(fd: number): OperationResult {
    const buffer = this.#driver.buffer(SOURCE);
    const read = this.#driver.syscall('read', [BigInt(fd), buffer, BigInt(MESSAGE)]);
    if (read < 0) return { r: errnoName(-read) };
    const view = new DataView(this.#driver.read(buffer, MESSAGE).slice().buffer);
    const [a, b, c] = [8, 16, 24].map((at) => view.getBigUint64(at, true));
    const ev = EVENTS[view.getUint8(0)] ?? '?';
    if (ev === 'PAGEFAULT') return { r: 1, v: { ev, addr: hex(b), flags: Number(a) } };
    if (ev === 'FORK') {
      this.#descriptors.push(Number(a & 0xffff_ffffn));
      return { r: 1, v: { ev, uffd: this.#descriptors.length - 1 } };
    }
    if (ev === 'REMAP') return { r: 1, v: { ev, from: hex(a), to: hex(b), len: Number(c) } };
    return { r: 1, v: { ev, start: hex(a), end: hex(b) } };
  }

  /** An ioctl whose argument is 64-bit words: the result, and the words as they are afterwards. */
  #ioctl(fd: number, command: bigint, argument: readonly bigint[]): { r: number | string; words: bigint[] } {
    const buffer = this.#driver.buffer(SOURCE);
    this.#driver.write(buffer, words(argument));
    const result = this.#driver.syscall('ioctl', [BigInt.asUintN(64, BigInt(fd)), command, buffer]);
    const after = new DataView(this.#driver.read(buffer, argument.length * 8).slice().buffer);
    return { r: result < 0 ? errnoName(-result) : result, words: argument.map((_, i) => after.getBigUint64(i * 8, true)) };
  }
}

/** A count, or the errno that stands in its place. */
function count(word: bigint): number | string {
  const signed = BigInt.asIntN(64, word);
  return signed < 0n ? errnoName(Number(-signed)) : Number(signed);
}
