/**
 * The hash table that book3s PowerPC hardware translates by, against the trees that Linux keeps: where it lies, what it holds, and for each address
 * space what of its tree is in it and what in it disagrees.
 *
 * Two kinds: 32-bit (SDR1) and 64-bit as of Power ISA 3.0 (PTCR, partition table). A page that the table lacks is no fault: Linux fills it on demand.
 *
 * Invariants: pure; each process is compared once, by the tree of its user half, the kernel by its own; a context is either told by registers or, on
 * 32 bits, found by agreement, and which of them stays with the result.
 */
import type { Registers, Root } from '../arch/mode.ts';
import { hashTable32 } from '../arch/powerpc-book3s32.ts';
import type { Image } from '../image/image.ts';
import { PxdError } from '../pagetable/error.ts';
import { compareHashTable32, findContext32, hashEntries32, hashTable32At, linuxVsids } from '../pagetable/hpt32.ts';
import {
  compareHashTable,
  type HashContents,
  type HashTable,
  hashTableContents,
  hashTableOf,
  kernelContext,
  linuxKernelSegments,
  linuxUserSegments,
  partitionEntry,
} from '../pagetable/hpt64.ts';
import { FRAME_BYTES, type FrameSource } from '../pagetable/source.ts';
import { type PageTables, readPageTables } from '../pagetable/tree.ts';
import type { AddressSpace, Half, Session } from './session.ts';

type HashKind = 'book3s32' | 'book3s64';

/** Modes whose trees have a hash table beside them. */
const KINDS: Readonly<Record<string, HashKind>> = {
  'ppc-book3s32': 'book3s32',
  'ppc-book3s32-pte64': 'book3s32',
  'ppc64-hash-4k': 'book3s64',
  'ppc64-hash-64k': 'book3s64',
  'ppc64-hash-4k-hugepd': 'book3s64',
  'ppc64-hash-64k-hugepd': 'book3s64',
};

/** Where a hash table lies. */
export interface HashPlace {
  readonly kind: HashKind;
  /** Physical address and size, bytes. */
  readonly origin: number;
  readonly bytes: number;
  readonly groups: number;
  /** Frames of it that the image holds. */
  readonly held: number;
  /** What told it: `SDR1 0x9f80007`. */
  readonly evidence: string;
  /** Frame with the partition table's entry that led here. */
  readonly partitionFrame?: number;
  /** The register that says all of it: SDR1, or the partition's first doubleword. */
  readonly value: bigint;
}

export interface HashFinding {
  /** `frame`, `rights`, `state` (attributes, marks of the tree), `stray` (the tree maps nothing), `misplaced` (no page hashes there), `twice`. */
  readonly what: string;
  /** Effective address, where it is known. */
  readonly va: bigint | undefined;
  readonly text: string;
}

/** One address space against the table. */
export interface SpaceHash {
  readonly name: string;
  readonly pid: number | undefined;
  readonly comm: string | undefined;
  readonly half: Half;
  /** Numbers of its contexts; empty where they are not known: then nothing was compared. */
  readonly contexts: readonly number[];
  readonly contextEvidence: string;
  /** Pages of the tree (by the size they are hashed with) that were looked up. */
  readonly lookedUp: number;
  /** Those found with the tree's frame. */
  readonly hits: number;
  /** Those that have no entry. */
  readonly misses: number;
  /** Those found in their secondary group. */
  readonly secondary: number;
  /** Those found by size, `base/actual` in bytes. */
  readonly bySize: Readonly<Record<string, number>>;
  /** Valid entries of its segments. */
  readonly entries: number;
  readonly findings: readonly HashFinding[];
}

export interface HashReport {
  readonly place: HashPlace;
  readonly contents: HashContents;
  readonly spaces: readonly SpaceHash[];
}

const hex = (n: number | bigint): string => `0x${n.toString(16)}`;

// --- where the table lies ---------------------------------------------------------------------------------------------

/** The hash table of a session. @throws {PxdError} when its mode has none, no register tells where it lies, or the image does not hold it. */
export function hashPlace(session: Session): HashPlace {
  const { name } = session.mode.mode;
  const kind = KINDS[name];
  if (kind === undefined) throw new PxdError('usage', `${session.name}: ${name} has no hash table: only ${Object.keys(KINDS).join(', ')} have one`);
  const all = [...session.chosen, ...session.spaces].map((s) => s.registers);
  const place = kind === 'book3s32' ? placeBySdr1(session, all) : placeByPartition(session, all);
  if (place.held === 0) {
    const where = `${hex(place.origin)}-${hex(place.origin + place.bytes)}`;
    throw new PxdError('unavailable', `${session.name}: the image holds no frame of the hash table at ${where} (${place.evidence})`, BigInt(place.origin));
  }
  // A made-up size would take hours to look through.
  if (place.bytes > MOST_UNSEEN && place.held * FRAME_BYTES * 16 < place.bytes)
    throw new PxdError(
      'unavailable',
      `${session.name}: the image holds ${place.held} of the ${place.bytes / FRAME_BYTES} frames of the hash table (${place.evidence})`,
    );
  return place;
}

const MOST_UNSEEN = 2 ** 32;

/** The first of the registers' values that is not zero. */
function first(all: readonly Registers[], name: string): bigint | undefined {
  for (const registers of all) if (registers[name]) return registers[name];
  return undefined;
}

function placeBySdr1(session: Session, all: readonly Registers[]): HashPlace {
  const sdr1 = first(all, 'sdr1');
  if (sdr1 === undefined)
    throw new PxdError(
      'unavailable',
      `${session.name}: no register tells where the hash table lies: expected sdr1 in the roots file, or --root pgd=VALUE --root sdr1=VALUE`,
    );
  if (sdr1 > 0xffffffffn) throw new PxdError('usage', `SDR1 ${hex(sdr1)}: expected a register of 32 bits`);
  try {
    const { origin, groups } = hashTable32At(hashTable32, Number(sdr1));
    const bytes = groups * hashTable32.groupEntries * hashTable32.entryBytes;
    return { kind: 'book3s32', origin, bytes, groups, held: framesHeld(session.image, origin, bytes), evidence: `SDR1 ${hex(sdr1)}`, value: sdr1 };
  } catch (e) {
    if (e instanceof RangeError) throw new PxdError('usage', e.message);
    throw e;
  }
}

/** PTCR leads through the partition table where the image holds it; else the entry's doubleword must have been read off the machine. */
function placeByPartition(session: Session, all: readonly Registers[]): HashPlace {
  const ptcr = first(all, 'ptcr');
  const told = first(all, 'patb0');
  const partitionFrame = ptcr === undefined ? undefined : Number((ptcr >> 12n) & 0xffffffffffffn);
  const held = partitionFrame !== undefined && session.image.frame(partitionFrame) !== undefined;
  if (ptcr === undefined && told === undefined)
    throw new PxdError(
      'unavailable',
      `${session.name}: no register tells where the hash table lies: expected ptcr or patb0 (a guest of a pseries machine has neither: the hypervisor keeps its hash table outside of the guest's memory)`,
    );
  // Without the partition table's frame `partitionEntry` says what is missing.
  const value = ptcr !== undefined && (held || told === undefined) ? partitionEntry(session.image, ptcr) : (told as bigint);
  const table = hashTableOf(value);
  const evidence = held ? `PTCR ${hex(ptcr as bigint)}, partition table entry ${hex(value)}` : `partition table entry ${hex(value)}`;
  const origin = Number(table.origin);
  return {
    kind: 'book3s64',
    origin,
    bytes: table.bytes,
    groups: table.groups,
    held: framesHeld(session.image, origin, table.bytes),
    evidence,
    ...(held ? { partitionFrame } : {}),
    value,
  };
}

/** Frames of a range that the image has. */
function framesHeld(image: Image, origin: number, bytes: number): number {
  const start = origin / FRAME_BYTES;
  const end = start + bytes / FRAME_BYTES;
  return image.segments.reduce((n, s) => n + Math.max(0, Math.min(end, s.start + s.frames) - Math.max(start, s.start)), 0);
}

/**
 * Frames that a capture needs for the table to be read again: its own and the partition table's; a remark in their place where the table has more than `most`
 * bytes. Undefined where the mode has no table or it cannot be found.
 */
export function hashFrames(session: Session, most: number): { readonly frames: readonly number[]; readonly remark?: string } | undefined {
  if (KINDS[session.mode.mode.name] === undefined) return undefined;
  const place = placeIfAny(session);
  if (place === undefined) return undefined;
  if (place.bytes > most) return { frames: [], remark: `the hash table at ${hex(place.origin)} has ${place.bytes} bytes and is left out` };
  const start = place.origin / FRAME_BYTES;
  const frames = Array.from({ length: place.bytes / FRAME_BYTES }, (_, i) => start + i);
  return { frames: place.partitionFrame === undefined ? frames : [place.partitionFrame, ...frames] };
}

function placeIfAny(session: Session): HashPlace | undefined {
  try {
    return hashPlace(session);
  } catch (e) {
    if (e instanceof PxdError) return undefined;
    throw e;
  }
}

// --- what it holds ----------------------------------------------------------------------------------------------------

function contentsOf(place: HashPlace, source: FrameSource): HashContents {
  if (place.kind === 'book3s64') return hashTableContents(source, tableOf(place));
  let entries = 0;
  let secondary = 0;
  for (const entry of hashEntries32(hashTable32, place, source)) {
    entries++;
    if (entry.secondary) secondary++;
  }
  return { entries, secondary, bySize: entries > 0 ? { '4096/4096': entries } : {} };
}

const tableOf = (place: HashPlace): HashTable => ({ origin: BigInt(place.origin), bytes: place.bytes, groups: place.groups });

// --- against the trees ------------------------------------------------------------------------------------------------

/** Context numbers by 512T range (`context_id`, `context_id_1` …); empty where no register tells them. */
export function contextsOf(registers: Registers): Map<number, number> {
  const contexts = new Map<number, number>();
  if (registers.context_id !== undefined) contexts.set(0, Number(registers.context_id));
  for (const [name, value] of Object.entries(registers)) if (/^context_id_\d$/.test(name)) contexts.set(Number(name.slice(-1)), Number(value));
  return contexts;
}

/** Segments 0 … 11 are the user's. */
const USER_SEGMENTS = Array.from({ length: 12 }, (_, i) => i);

type Compared = Omit<SpaceHash, 'name' | 'pid' | 'comm' | 'half'>;

const nothing = (contextEvidence: string): Compared => ({
  contexts: [],
  contextEvidence,
  lookedUp: 0,
  hits: 0,
  misses: 0,
  secondary: 0,
  bySize: {},
  entries: 0,
  findings: [],
});

/** Compares one half of an address space with the table. */
export function compareWithHash(place: HashPlace, source: FrameSource, tables: PageTables, registers: Registers, half: Half): Compared {
  return place.kind === 'book3s32' ? compared32(place, source, tables, half) : compared64(place, source, tables, registers, half);
}

function compared32(place: HashPlace, source: FrameSource, tables: PageTables, half: Half): Compared {
  const sdr1 = Number(place.value);
  const context = half === 'user' ? findContext32(hashTable32, tables, source, sdr1, USER_SEGMENTS) : 0;
  if (context === undefined) return nothing('no context agrees with the hash table');
  const vsids = linuxVsids(hashTable32, context).map((vsid, segment) => (segment < USER_SEGMENTS.length === (half === 'user') ? vsid : undefined));
  const { differences, lookedUp, hits, misses, secondary, entries } = compareHashTable32(hashTable32, tables, source, sdr1, vsids);
  return {
    contexts: [context],
    contextEvidence: half === 'user' ? 'found by agreement' : "the kernel's",
    lookedUp,
    hits,
    misses: misses - differences.filter((d) => d.what === 'frame').length,
    secondary,
    bySize: hits > 0 ? { '4096/4096': hits } : {},
    entries,
    findings: differences.map(({ what, va, text }) => ({ what, va: va === undefined ? undefined : BigInt(va), text })),
  };
}

function compared64(place: HashPlace, source: FrameSource, tables: PageTables, registers: Registers, half: Half): Compared {
  const contexts = contextsOf(registers);
  if (half === 'user' && contexts.size === 0) return nothing('no register context_id');
  const { regions, pageShift } = tables.mode.mode;
  // What the kernel's tree maps: linear map and vmemmap are bolted into the hash table alone.
  const mapped = (regions ?? []).filter((r) => r.name === 'vmalloc' || r.name === 'I/O');
  const segments = half === 'user' ? linuxUserSegments(contexts) : linuxKernelSegments(mapped, pageShift);
  const { differences, lookedUp, hits, misses, secondary, bySize, owned } = compareHashTable(source, tableOf(place), segments, tables);
  const otherFrames = differences.filter((d) => d.what === 'frame').length;
  return {
    contexts: half === 'user' ? [...contexts.values()] : mapped.map((_, i) => kernelContext(pageShift) + i),
    contextEvidence: half === 'user' ? 'registers' : "the kernel's",
    lookedUp,
    hits: hits - otherFrames,
    misses,
    secondary,
    bySize,
    entries: owned,
    findings: differences,
  };
}

/** Looks at the chosen address spaces, or at every process once and the kernel. `tell` hears of each before. */
export function hashReport(session: Session, tell: (what: string) => void = () => undefined): HashReport {
  const place = hashPlace(session);
  const spaces: SpaceHash[] = [];
  for (const space of session.asked ? session.chosen : onceEach(session.spaces)) {
    const found = halfOf(space);
    if (found === undefined || session.image.frame(Number(found.root.table >> 12n)) === undefined) continue;
    const { root, half } = found;
    tell(`comparing ${space.name}`);
    const tables = readPageTables(session.mode, session.image, root, { half });
    const result = compareWithHash(place, session.image, tables, space.registers, half);
    spaces.push({ name: space.name.replace(/ \((user|kernel) mode\)$/, ''), pid: space.pid, comm: space.comm, half, ...result });
  }
  return { place, contents: contentsOf(place, session.image), spaces };
}

function onceEach(spaces: readonly AddressSpace[]): AddressSpace[] {
  const chosen = new Map<number | AddressSpace, AddressSpace>();
  for (const space of spaces) {
    const key = space.pid ?? space;
    if (!chosen.has(key) || space.cpuMode === 'user') chosen.set(key, space);
  }
  return [...chosen.values()];
}

/** A process is compared by its user half, the kernel by its own. */
function halfOf(space: AddressSpace): { root: Root; half: Half } | undefined {
  for (const half of space.pid === 0 ? (['kernel'] as const) : (['user', 'kernel'] as const)) {
    const root = space.roots.find((r) => r.ranges.some((range) => range.half === half));
    if (root) return { root, half };
  }
  return undefined;
}

// --- as JSON ----------------------------------------------------------------------------------------------------------

/** One address space as an object for JSON. */
export const spaceHashJson = ({ place, contents }: HashReport, space: SpaceHash): Record<string, unknown> => ({
  ...(space.pid === undefined ? {} : { pid: space.pid }),
  name: space.name,
  half: space.half,
  contexts: space.contexts,
  contextsFrom: space.contextEvidence,
  lookedUp: space.lookedUp,
  hits: space.hits,
  misses: space.misses,
  secondary: space.secondary,
  bySize: space.bySize,
  entries: space.entries,
  differences: space.findings.map(({ what, va, text }) => ({ what, ...(va === undefined ? {} : { va: hex(va) }), text })),
  table: { origin: hex(place.origin), bytes: place.bytes, groups: place.groups, from: place.evidence, ...contents },
});
