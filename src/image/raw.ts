/**
 * Memory without any header. Without a layout the file is memory from physical address 0 on; a layout says which part of the file is which memory,
 * in one of three forms:
 *
 * - JSON: `[{"offset": 0, "physical": "0x80000000", "bytes": "0x10000000"}, …]`; numbers, or texts in hexadecimal (0x…) or decimal.
 * - text: a line a range, `physical offset bytes`, numbers as above; `#` begins a comment.
 * - /proc/iomem: its `start-end : System RAM` lines at the left margin, taken to lie one after another in the file; other lines are passed over.
 *
 * Invariant: a range that the file does not hold is an error, not absent memory.
 */
import { PxdError } from '../pagetable/error.ts';
import { type ByteSource, hex, printable } from './bytes.ts';
import { type Image, PhysicalImage } from './image.ts';
import { PieceStore } from './memory.ts';
import { NO_NOTES } from './notes.ts';
import type { Piece } from './pieces.ts';
import { isRecord, kindOf, shown } from './roots.ts';

/** One range of a raw image. */
export interface LayoutRange {
  /** Where it begins in the file. */
  readonly offset: number;
  /** Where it begins in physical memory. */
  readonly physical: number;
  readonly bytes: number;
}

const MOST_RANGES = 1_000_000;

/** Opens a file that is nothing but memory. */
export function openRaw(source: ByteSource, layout?: readonly LayoutRange[], layers: readonly string[] = []): Image {
  const ranges: Piece[] = (layout ?? [{ offset: 0, physical: 0, bytes: source.size }]).map((r) => ({
    start: r.physical,
    end: r.physical + r.bytes,
    offset: r.offset,
  }));
  for (const { offset, start, end } of ranges) {
    if (offset + (end - start) > source.size) {
      throw new PxdError(
        'bad-image',
        `the layout places memory ${hex(start)} to ${hex(end)} at offset ${hex(offset)}, but the file has only ${source.size} bytes`,
        BigInt(offset),
      );
    }
  }
  return new PhysicalImage(new PieceStore(source, ranges), { format: 'raw memory', layers, notes: NO_NOTES, remarks: [] });
}

/** Parses a layout in any of the three forms. */
export function parseLayout(text: string, name = 'layout'): LayoutRange[] {
  const ranges = text.trimStart().startsWith('[')
    ? fromJson(text, name)
    : /^\s*[0-9a-f]+-[0-9a-f]+ *:/im.test(text)
      ? fromIomem(text, name)
      : fromText(text, name);
  if (ranges.length === 0)
    throw new PxdError('bad-image', `${name} has no range of memory, expected JSON, lines "physical offset bytes" or /proc/iomem's "start-end : System RAM"`);
  if (ranges.length > MOST_RANGES) throw new PxdError('limit', `${name} has ${ranges.length} ranges, more than the ${MOST_RANGES} that pxd reads`);
  return ranges;
}

function fromJson(text: string, name: string): LayoutRange[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new PxdError('bad-image', `${name} is not JSON: ${printable((error as Error).message)}`);
  }
  if (!Array.isArray(value)) throw new PxdError('bad-image', `${name} holds ${kindOf(value)}, expected a list of {offset, physical, bytes}`);
  return value.map((entry, i) => {
    const place = `${name}, entry ${i + 1}`;
    if (!isRecord(entry)) throw new PxdError('bad-image', `${place} is ${kindOf(entry)}, expected {offset, physical, bytes}`);
    return range(numberIn(entry.physical, `${place}, physical`), numberIn(entry.offset, `${place}, offset`), numberIn(entry.bytes, `${place}, bytes`), place);
  });
}

function fromText(text: string, name: string): LayoutRange[] {
  const out: LayoutRange[] = [];
  text.split('\n').forEach((line, i) => {
    const words = line.replace(/#.*/, '').trim().split(/\s+/);
    if (words[0] === '') return;
    const place = `${name}, line ${i + 1}`;
    if (words.length !== 3) throw new PxdError('bad-image', `${place} has ${words.length} words, expected three: physical offset bytes`);
    out.push(range(numberIn(words[0], `${place}, physical`), numberIn(words[1], `${place}, offset`), numberIn(words[2], `${place}, bytes`), place));
  });
  return out;
}

function fromIomem(text: string, name: string): LayoutRange[] {
  const out: LayoutRange[] = [];
  let offset = 0;
  text.split('\n').forEach((line, i) => {
    const match = /^([0-9a-f]{1,16})-([0-9a-f]{1,16}) *: *System RAM\s*$/i.exec(line);
    if (!match) return;
    const place = `${name}, line ${i + 1}`;
    const start = numberIn(`0x${match[1]}`, place);
    const end = numberIn(`0x${match[2]}`, place);
    if (end < start) throw new PxdError('bad-image', `${place} has a range that ends before it begins`);
    out.push(range(start, offset, end - start + 1, place));
    offset += end - start + 1;
  });
  // What an unprivileged reader of /proc/iomem sees.
  if (out.length > 1 && out.every((r) => r.physical === 0))
    throw new PxdError('bad-image', `${name} shows all ranges at address 0: /proc/iomem hides them from readers without privilege, read it as root`);
  return out;
}

function range(physical: number, offset: number, bytes: number, place: string): LayoutRange {
  if (Number.isSafeInteger(physical + bytes) && Number.isSafeInteger(offset + bytes)) return { offset, physical, bytes };
  throw new PxdError('bad-image', `${place} reaches beyond 2^53`);
}

function numberIn(value: unknown, place: string): number {
  const number = typeof value === 'string' && /^(0x[0-9a-f]{1,16}|[0-9]{1,16})$/i.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) return number;
  throw new PxdError('bad-image', `${place} is ${shown(value)}, expected a number such as "0x80000000"`);
}
