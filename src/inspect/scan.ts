/**
 * Finds root tables by structure, for images that name none.
 *
 * A frame is a candidate when, read as the mode's top table, it has no entry that the mode does not know, no reserved bit, no swap word, and its table entries
 * point to frames of the image that look like tables in turn, down to leaves. Tables that another candidate points to are no roots. Where one table
 * serves both halves, all processes of a kernel share the kernel's entries: candidates that agree in them vouch for each other.
 *
 * Invariant: work is bounded by the frames of the image and a fixed number of tables below each candidate; nothing is reported without its evidence.
 */
import type { Registers, Root } from '../arch/mode.ts';
import { holds } from '../arch/notation.ts';
import type { Image } from '../image/image.ts';
import type { CompiledLevel, CompiledMode } from '../pagetable/compile.ts';
import { addressOffset, addressUnits, decode, formOf, levelNamed } from '../pagetable/entry.ts';
import { rootRegisters } from '../pagetable/root.ts';
import { FRAME_BYTES } from '../pagetable/source.ts';
import { readTable } from '../pagetable/table.ts';
import { pointerToPhysical } from '../pagetable/tree.ts';
import { registersForTable } from './kernel-root.ts';
import { plural } from './text.ts';

export interface ScannedRoot {
  readonly root: Root;
  readonly registers: Registers;
  readonly evidence: string;
  readonly confidence: 'likely' | 'guess';
  /** Leaves seen in the tables that were looked at: how much of memory the guess explains. */
  readonly leaves: number;
}

const MOST_CANDIDATES = 4096;
const MOST_RESULTS = 64;
/** Tables below a candidate that are looked at, at most. */
const DESCENTS = 48;

interface Candidate {
  readonly root: Root;
  readonly registers: Registers;
  readonly tables: number;
  readonly leaves: number;
  /** The kernel's entries as text, empty where the table has none. */
  readonly kernel: string;
  readonly children: ReadonlySet<number>;
}

/** Tables of the image that look like roots, most trustworthy first. `progress` hears of the share done, 0 to 1. */
export function scanRoots(mode: CompiledMode, image: Image, progress: (share: number) => void = () => undefined): ScannedRoot[] {
  const candidates: Candidate[] = [];
  for (const frame of framesWithData(image, progress)) {
    for (const candidate of candidatesAt(mode, image, frame)) candidates.push(candidate);
    if (candidates.length >= MOST_CANDIDATES) break;
  }
  const pointedTo = new Set<number>();
  for (const c of candidates) for (const child of c.children) pointedTo.add(child);
  const roots = candidates.filter((c) => !pointedTo.has(Number(c.root.table)));
  const sharing = new Map<string, number>();
  for (const c of roots) if (c.kernel !== '') sharing.set(c.kernel, (sharing.get(c.kernel) ?? 0) + 1);
  const rated = roots.map((c) => ({ c, shared: sharing.get(c.kernel) ?? 0 }));
  rated.sort((a, b) => b.shared - a.shared || b.c.leaves - a.c.leaves || Number(a.c.root.table - b.c.root.table));
  // Where some vouch for each other, loners are lower tables or leftovers.
  const best = rated.some((r) => r.shared > 1) ? rated.filter((r) => r.shared > 1) : rated;
  return best.slice(0, MOST_RESULTS).map(({ c, shared }) => ({
    root: c.root,
    registers: c.registers,
    evidence: evidenceOf(c, shared),
    confidence: shared > 1 ? 'likely' : 'guess',
    leaves: c.leaves,
  }));
}

function evidenceOf(c: Candidate, shared: number): string {
  const below = `found by structure: ${plural(c.tables, 'table')} below it ${c.tables === 1 ? 'is' : 'are'} sound, with ${plural(c.leaves, 'leaf', 'leaves')}, and no table points to it`;
  return shared > 1 ? `${below}; its kernel half equals that of ${plural(shared - 1, 'other table')}` : below;
}

/** Frames read at once while looking for data: most memory is zero or not tables, and single reads cost more than looking. */
const AT_ONCE = 64;

/** Numbers of the frames that hold anything but zeros. */
function* framesWithData(image: Image, progress: (share: number) => void): Generator<number> {
  const total = image.segments.reduce((n, s) => n + s.frames, 0);
  let seen = 0;
  for (const { start, frames } of image.segments)
    for (let first = start; first < start + frames; first += AT_ONCE) {
      const n = Math.min(AT_ONCE, start + frames - first);
      if ((seen += n) % 65536 < n) progress(seen / total);
      const bytes = image.readBytes(first * FRAME_BYTES, n * FRAME_BYTES);
      for (let i = 0; i < n; i++) if (bytes === undefined || !isZero(bytes, i * FRAME_BYTES)) yield first + i;
    }
}

function isZero(bytes: Uint8Array, from: number): boolean {
  if ((bytes.byteOffset + from) % 8 !== 0) return false;
  const words = new Float64Array(bytes.buffer, bytes.byteOffset + from, FRAME_BYTES / 8);
  // A word of nothing but the sign bit equals zero here; no table consists of such words.
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}

function* candidatesAt(mode: CompiledMode, image: Image, frame: number): Generator<Candidate> {
  if (image.frame(frame) === undefined) return;
  for (const registers of registersForTable(mode, BigInt(frame) * BigInt(FRAME_BYTES))) {
    const root = rootOf(mode, registers);
    if (root === undefined) continue;
    const level = levelNamed(mode, root.level);
    const entries = Math.max(...root.ranges.map((r) => r.to));
    const bytes = entries * level.stride;
    // A table is aligned to its size; several small ones may share the frame.
    if (bytes >= FRAME_BYTES) {
      if ((frame * FRAME_BYTES) % 2 ** Math.ceil(Math.log2(bytes)) === 0) yield* test(mode, image, root, registers, level, entries);
      continue;
    }
    for (let offset = 0; offset < FRAME_BYTES; offset += 2 ** Math.ceil(Math.log2(bytes))) {
      const [moved] = registersForTable(mode, BigInt(frame) * BigInt(FRAME_BYTES) + BigInt(offset));
      const at = moved && rootOf(mode, moved);
      if (at) yield* test(mode, image, at, moved, level, entries);
    }
  }
}

function rootOf(mode: CompiledMode, registers: Registers): Root | undefined {
  const [found] = [...rootRegisters(mode, registers, 'user'), ...rootRegisters(mode, registers, 'kernel')];
  try {
    return found?.register.resolve(found.value, registers);
  } catch (e) {
    if (e instanceof RangeError) return undefined;
    throw e;
  }
}

function* test(mode: CompiledMode, image: Image, root: Root, registers: Registers, level: CompiledLevel, entries: number): Generator<Candidate> {
  const top = survey(mode, image, level, Number(root.table), 0, entries, false);
  if (top === undefined || top.tables.length === 0 || top.nonpresent > 0) return;
  const below = descend(mode, image, top.tables);
  if (below === undefined || below.leaves === 0) return;
  const kernel = root.ranges.find((r) => r.half === 'kernel');
  yield {
    root,
    registers,
    tables: below.tables,
    leaves: below.leaves,
    kernel:
      kernel && root.ranges.length > 1
        ? top.tables
            .filter((t) => t.index >= kernel.from && t.index < kernel.to)
            .map((t) => `${t.index}:${t.address}`)
            .join()
        : '',
    children: new Set(top.tables.map((t) => t.address)),
  };
}

interface Child {
  readonly index: number;
  /** Physical address of the table. */
  readonly address: number;
  readonly level: number;
}

interface Survey {
  readonly tables: Child[];
  readonly leaves: number;
  readonly nonpresent: number;
}

/** Looks at the entries of one table; undefined as soon as something in it cannot be. */
function survey(mode: CompiledMode, image: Image, level: CompiledLevel, address: number, first: number, entries: number, strict: boolean): Survey | undefined {
  const tables: Child[] = [];
  let leaves = 0;
  let nonpresent = 0;
  const pageFrames = 2 ** (mode.mode.pageShift - 12);
  for (const chunk of readTable(mode, level, image, Math.floor(address / FRAME_BYTES), address % FRAME_BYTES, first, entries)) {
    if (chunk.words === undefined) return undefined;
    const step = chunk.wide ? 2 : 1;
    for (let i = 0; i < chunk.count; i++) {
      const lo = chunk.words[i * step];
      const hi = chunk.wide ? chunk.words[i * step + 1] : 0;
      const form = formOf(level, lo, hi);
      // Emulators leave odd bits in some top tables (an accessed bit in PAE's four entries): there the tables below decide.
      if (form === undefined) return undefined;
      if (strict && ((lo & form.reserved.lo) | (hi & form.reserved.hi)) !== 0) {
        // Bits that look reserved may be the second copy of an address; only decoding tells.
        const { reserved } = decode(level, lo, hi);
        if ((reserved.lo | reserved.hi) !== 0) return undefined;
      }
      if (form.kind === 'nonpresent') nonpresent++;
      if (form.kind === 'leaf' && holds(form.allows.present, lo, hi)) {
        // A frame number far beyond the last frame of the image is no memory of this machine, nor a device's.
        const frame = form.address ? addressUnits(form.address, lo, hi, mode.mode.pageShift) * pageFrames : 0;
        if (frame >= 2 ** 36) return undefined;
        leaves++;
      }
      if (form.kind !== 'table' || !form.address) continue;
      const rules = mode.mode.pointers;
      const child = rules
        ? Number(pointerToPhysical(rules, lo, hi, form.address.mask))
        : addressUnits(form.address, lo, hi, 12) * FRAME_BYTES + addressOffset(form.address, lo, hi);
      if (image.frame(Math.floor(child / FRAME_BYTES)) === undefined) return undefined;
      tables.push({ index: chunk.first + i, address: child, level: form.next });
    }
  }
  return { tables, leaves, nonpresent };
}

/** Follows some entries down to the leaves: the outermost of each table, so that both ends of the address space count. */
function descend(mode: CompiledMode, image: Image, top: readonly Child[]): { tables: number; leaves: number } | undefined {
  const queue = ends(top);
  const seen = new Set<string>();
  let leaves = 0;
  for (let i = 0; i < queue.length && seen.size < DESCENTS; i++) {
    const child = queue[i];
    const key = `${child.address} ${child.level}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const level = mode.levels[child.level];
    const found = survey(mode, image, level, child.address, 0, level.entries, true);
    if (found === undefined) return undefined;
    leaves += found.leaves;
    queue.push(...ends(found.tables));
  }
  return { tables: seen.size, leaves };
}

/** Unused slots may all point to one empty table: distinct tables count. */
function ends(list: readonly Child[]): Child[] {
  const seen = new Set<number>();
  const distinct = list.filter((c) => !seen.has(c.address) && seen.add(c.address));
  return distinct.length <= 4 ? distinct : [distinct[0], distinct[1], distinct[distinct.length - 2], distinct[distinct.length - 1]];
}
