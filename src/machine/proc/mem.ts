/** /proc/PID/mem as a debugger reads and writes it: rights of the mapping do not count (fs/proc/base.c: mem_rw). */
import { allocPages } from '../../memory/buddy.ts';
import { GFP_KERNEL } from '../../memory/gfp.ts';
import { get } from '../../memory/heap.ts';
import { bytes, pageShift, setByte } from '../../memory/state.ts';
import { EINVAL, EIO, ENOMEM } from '../../mm/errno.ts';
import { Process as ProcessStruct } from '../../mm/types.ts';
import type { Machine } from '../machine.ts';

/** Moves up to a page between the process, from byte `offset` of page `vpn` on, and the kernel's page; bytes moved, 0 where that is not possible. */
type Step = (mm: number, vpn: number, offset: number, page: number, length: number) => number;

/** Bytes from an address on, fewer where memory ends; −EIO where not even the first can be had, −EINVAL for addresses from 2^63 on. */
export function readProcMem(machine: Machine, process: number, address: bigint, length: number): Uint8Array | number {
  const out = new Uint8Array(length);
  const done = transfer(
    machine,
    process,
    address,
    length,
    (mm, vpn, offset, page, part) => machine.kernel.procMemRead(mm, vpn, offset, page, part),
    undefined,
    out,
  );
  return done < 0 ? done : out.subarray(0, done);
}

/** Writes bytes; how many, or −EIO for none. Private mappings that are not writable get a copy, shared ones refuse. */
export function writeProcMem(machine: Machine, process: number, address: bigint, data: Uint8Array): number {
  return transfer(
    machine,
    process,
    address,
    data.length,
    (mm, vpn, offset, page, part) => machine.kernel.procMemWrite(mm, vpn, offset, page, part),
    data,
    undefined,
  );
}

/** By pages of the kernel's: `data` goes through one to the process, or what comes from the process through one to `out`. */
function transfer(
  machine: Machine,
  process: number,
  address: bigint,
  length: number,
  step: Step,
  data: Uint8Array | undefined,
  out: Uint8Array | undefined,
): number {
  machine.enter();
  const mm = get(process, ProcessStruct.mm);
  // A position in a file is signed.
  if (address >> 63n !== 0n) return -EINVAL;
  if (mm === 0) return 0;
  const page = allocPages(0, GFP_KERNEL);
  if (page === 0) return -ENOMEM;
  const size = machine.pageSize;
  const at = page * 2 ** pageShift;
  let done = 0;
  while (done < length) {
    const from = BigInt.asUintN(64, address + BigInt(done));
    const part = Math.min(length - done, size);
    if (data) for (let i = 0; i < part; i++) setByte(at + i, data[done + i]);
    const moved = step(mm, Number(from >> BigInt(machine.pageShift)), Number(from & BigInt(size - 1)), page, part);
    if (moved === 0) break;
    out?.set(bytes.subarray(at, at + moved), done);
    done += moved;
  }
  machine.kernel.folioPut(page);
  return done === 0 && length > 0 ? -EIO : done;
}
