/**
 * The slow walker that the fast one is held against: recursive, bigint, one entry at a time, no sharing, no runs.
 * It knows the same declarations, but shares no code with `tree.ts` and `extents.ts`.
 */
import type { Root } from '../../src/arch/mode.ts';
import { holds } from '../../src/arch/notation.ts';
import type { CompiledLevel, CompiledMode } from '../../src/pagetable/compile.ts';
import { ALL_RIGHTS, addressOf, decode, grantedRights, type Rights, rightsKey } from '../../src/pagetable/entry.ts';
import type { FrameSource } from '../../src/pagetable/source.ts';

export interface Piece {
  va: bigint;
  pa: bigint;
  bytes: bigint;
  rights: number;
}

export class TooMany extends Error {}

/** All leaf pieces in ascending order. @throws {TooMany} beyond the limit. */
export function naiveLeaves(mode: CompiledMode, source: FrameSource, root: Root, limit = 100_000): Piece[] {
  const pieces: Piece[] = [];
  const level = mode.levels.find((l) => l.level.name === root.level) as CompiledLevel;
  for (const range of root.ranges) {
    const base = range.va - (BigInt(range.from) << BigInt(level.level.shift));
    const found: Piece[] = [];
    visit(mode, source, level, root.table, base, range.from, range.to, ALL_RIGHTS, found, limit, { n: 0 });
    const { from, to } = range.window ?? { from: 0n, to: 1n << 64n };
    pieces.push(...found.filter((p) => p.va >= from && p.va < to));
  }
  return pieces;
}

function word32(mode: CompiledMode, source: FrameSource, pa: bigint): number | undefined {
  const frame = source.frame(Number(pa >> 12n));
  if (!frame) return undefined;
  const bytes = new DataView(frame.buffer, frame.byteOffset, 4096);
  return bytes.getUint32(Number(pa & 0xfffn), !mode.bigEndian);
}

function readEntry(mode: CompiledMode, level: CompiledLevel, source: FrameSource, pa: bigint): { lo: number; hi: number } | undefined {
  const a = word32(mode, source, pa);
  if (a === undefined) return undefined;
  if (level.level.companion !== undefined) {
    const beside = word32(mode, source, pa + BigInt(level.level.companion));
    return beside === undefined ? undefined : { lo: beside, hi: a };
  }
  if (level.level.entryBytes === 4) return { lo: a, hi: 0 };
  const b = word32(mode, source, pa + 4n) as number;
  return mode.bigEndian ? { lo: b, hi: a } : { lo: a, hi: b };
}

function visit(
  mode: CompiledMode,
  source: FrameSource,
  level: CompiledLevel,
  table: bigint,
  va: bigint,
  from: number,
  to: number,
  rights: Rights,
  out: Piece[],
  limit: number,
  work: { n: number },
): void {
  const span = 1n << BigInt(level.level.shift);
  for (let i = from; i < to; i++) {
    if (++work.n > limit * 20) throw new TooMany();
    const at = table + BigInt(i * level.stride);
    if (Number(at & 0xfffn) + level.stride > 4096 || (at & 3n) !== 0n) continue;
    const entry = readEntry(mode, level, source, at);
    if (!entry) continue;
    const d = decode(level, entry.lo, entry.hi);
    if (!d.form || d.address === undefined) continue;
    const own = grantedRights(rights, d.form, entry.lo, entry.hi);
    const here = va + BigInt(i) * span;
    if (d.kind === 'table' || d.kind === 'hugepd') {
      const next = mode.levels[d.form.next];
      const [first, last] = windowAt(d, next);
      visit(mode, source, next, physical(mode, d.address), here, first, last, own, out, limit, work);
    } else if (d.kind === 'leaf') {
      if (out.length >= limit) throw new TooMany();
      out.push({
        va: here,
        pa: placed(mode, level, d, here),
        bytes: span,
        rights: rightsKey(own) | (holds(d.form.allows.present, entry.lo, entry.hi) ? 16 : 0),
      });
    }
  }
}

/** Entries of the table below that exist: a table entry may say that only a part does (s390). */
function windowAt(d: ReturnType<typeof decode>, next: CompiledLevel): [number, number] {
  const window = d.form?.form.window;
  if (!window) return [0, next.entries];
  const word = (BigInt(d.hi) << 32n) | BigInt(d.lo);
  const value = (bits: string): number => {
    const [high, low = high] = bits.split(':').map(BigInt);
    return Number((word >> low) & ((1n << (high - low + 1n)) - 1n));
  };
  return [value(window.first) * window.unit, (value(window.last) + 1) * window.unit];
}

function physical(mode: CompiledMode, pointer: bigint): bigint {
  for (const rule of mode.mode.pointers ?? []) if ((pointer & rule.mask) === rule.value) return pointer & rule.keep;
  return pointer;
}

/** Where the slot at `va` lies: a leaf larger than its slot, or a group that holds one address, is placed by the virtual address. */
function placed(mode: CompiledMode, level: CompiledLevel, d: ReturnType<typeof decode>, va: bigint): bigint {
  const form = d.form as NonNullable<typeof d.form>;
  const page = 1n << BigInt(mode.mode.pageShift);
  const pa = (addressOf(form.address as NonNullable<typeof form.address>, d.lo, d.hi) / page) * page;
  const group = form.groups.find((g) => holds(g.when, d.lo, d.hi));
  const size = BigInt(group && group.group.address !== 'advance' ? group.leafPages : form.pages) * page;
  if (size <= BigInt(level.pages) * page) return pa;
  return pa - (pa % size) + (va % size);
}

/** Joins neighbours, so that two walkers' answers can be compared whatever runs they found. */
export function joined(pieces: readonly Piece[]): Piece[] {
  const out: Piece[] = [];
  for (const p of pieces) {
    const last = out[out.length - 1];
    if (last && last.rights === p.rights && last.va + last.bytes === p.va && last.pa + last.bytes === p.pa) last.bytes += p.bytes;
    else out.push({ ...p });
  }
  return out;
}
