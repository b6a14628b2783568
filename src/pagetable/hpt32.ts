/**
 * The hashed page table of 32-bit book3s PowerPC, compared with the tree that Linux keeps: hardware translates by the hash table alone, and Linux fills
 * it from its tree on demand.
 *
 * Invariants: a page need not have an entry (a miss is no difference), but an entry of one of the given segments must have its page in the tree, with
 * the same frame and no more rights; work is bounded by the table's size (SDR1 allows 512 MiB; frames that the image lacks cost nothing but the question)
 * and by the extents of the tree.
 */
import type { HashTable32Format } from '../arch/mode.ts';
import { gather, type Piece, parseBits } from '../arch/notation.ts';
import { extentsOf } from './extents.ts';
import { FRAME_BYTES, type FrameSource, swap32 } from './source.ts';
import type { PageTables } from './tree.ts';

/** Where SDR1 says that the table lies. */
export interface HashTable32 {
  /** Physical address, bytes. */
  readonly origin: number;
  readonly groups: number;
}

export interface HashEntry32 {
  /** Physical address of the entry. */
  readonly at: number;
  readonly vsid: number;
  /** Effective address within its segment, as a page number 0 … 65535; undefined where group and segment contradict each other. */
  readonly page: number | undefined;
  readonly secondary: boolean;
  readonly pfn: number;
  readonly pp: number;
  readonly referenced: boolean;
  readonly changed: boolean;
}

export interface HashDifference32 {
  /** `frame`: another frame; `rights`: the hash table grants more; `stray`: the tree maps nothing there; `misplaced`: no address hashes to its group; `twice`: two entries for a page. */
  readonly what: 'frame' | 'rights' | 'stray' | 'misplaced' | 'twice';
  /** Effective address, where it is known. */
  readonly va: number | undefined;
  readonly text: string;
}

export interface HashComparison32 {
  /** Pages of the tree in the given segments that hardware may reach. */
  readonly lookedUp: number;
  readonly hits: number;
  readonly misses: number;
  /** Hits in the secondary group. */
  readonly secondary: number;
  /** Valid entries of the given segments. */
  readonly entries: number;
  readonly differences: readonly HashDifference32[];
}

/** Agreements for each contradiction that make a context sure in a damaged table. */
const CLEARLY = 4;

const SEGMENT_PAGES = 65536;
const GROUPS_PER_MASK_BIT = 1024;

const groupBytes = (format: HashTable32Format): number => format.entryBytes * format.groupEntries;

/** Reads SDR1. @throws {RangeError} when the origin is not aligned to the table's size. */
export function hashTable32At(format: HashTable32Format, sdr1: number): HashTable32 {
  const mask = gather(parseBits(format.sdr1.mask), sdr1, 0);
  const origin = gather(parseBits(format.sdr1.origin), sdr1, 0) * 65536;
  if ((mask & (mask + 1)) !== 0) throw new RangeError(`SDR1 0x${sdr1.toString(16)}: its mask 0x${mask.toString(16)} is no run of low ones`);
  const groups = (mask + 1) * GROUPS_PER_MASK_BIT;
  if (origin % (groups * groupBytes(format)) !== 0)
    throw new RangeError(`SDR1 0x${sdr1.toString(16)}: a table of ${groups * groupBytes(format)} bytes lies on a multiple of its size`);
  return { origin, groups };
}

const vsidOf = (format: HashTable32Format, context: number, segment: number): number =>
  (context * format.vsid.context + segment * format.vsid.segment) % 2 ** 24;

/** VSIDs that Linux gives the segments of a context, 0 … 15. */
export const linuxVsids = (format: HashTable32Format, context: number): number[] =>
  Array.from({ length: 16 }, (_, segment) => vsidOf(format, context, segment));

/** All valid entries, in the order of the table. */
export function* hashEntries32(format: HashTable32Format, table: HashTable32, source: FrameSource): Generator<HashEntry32> {
  const fields = new Map(Object.entries(format.fields).map(([name, text]) => [name, parseBits((text as string).split(' ')[0])]));
  const address = format.address.flatMap(([bits, at]) => parseBits(bits).map((p) => ({ ...p, at: p.at + at })));
  const end = table.origin + table.groups * groupBytes(format);
  for (let frame = table.origin; frame < end; frame += FRAME_BYTES) {
    const words = source.frame(frame / FRAME_BYTES);
    if (words === undefined) continue;
    for (let w = 0; w < words.length && frame + w * 4 < end; w += 2) {
      if (words[w] === 0) continue;
      const entry = entryOf(fields, address, table, frame + w * 4, format, swap32(words[w + 1]), swap32(words[w]));
      if (entry) yield entry;
    }
  }
}

function entryOf(
  fields: ReadonlyMap<string, readonly Piece[]>,
  address: readonly Piece[],
  table: HashTable32,
  at: number,
  format: HashTable32Format,
  lo: number,
  hi: number,
): HashEntry32 | undefined {
  const get = (name: string): number => gather(fields.get(name) as readonly Piece[], lo, hi);
  if (get('V') === 0) return undefined;
  const vsid = get('VSID');
  const secondary = get('H') === 1;
  const group = Math.floor((at - table.origin) / groupBytes(format));
  const mask = table.groups - 1;
  // The group's number gives the low bits of the page index back, the abbreviated page index the high ones.
  const hash = secondary ? ~group & mask : group;
  const page = (get('API') << 10) | ((hash ^ vsid) & 0x3ff);
  return {
    at,
    vsid,
    page: (hashOf(vsid, page) & mask) === hash ? page : undefined,
    secondary,
    pfn: gather(address, lo, hi) / 4096,
    pp: get('PP'),
    referenced: get('R') === 1,
    changed: get('C') === 1,
  };
}

/** The primary hash of a page: 19 bits of the segment's VSID and the 16 bits of its page index. */
const hashOf = (vsid: number, page: number): number => (vsid & 0x7ffff) ^ page;

/**
 * Compares the hash table with Linux's tree. `vsids` holds the VSID of each of the 16 segments (segment registers); segments without one are left out.
 * User segments are held to user rights: of the two keys Linux sets the user's, so that protection 0 keeps user mode out.
 */
export function compareHashTable32(
  format: HashTable32Format,
  tables: PageTables,
  source: FrameSource,
  sdr1: number,
  vsids: readonly (number | undefined)[],
): HashComparison32 {
  const byPage = new Map<number, HashEntry32>();
  const differences: HashDifference32[] = [];
  const segmentOf = new Map(vsids.flatMap((vsid, segment) => (vsid === undefined ? [] : [[vsid, segment] as const])));
  let entries = 0;
  for (const entry of hashEntries32(format, hashTable32At(format, sdr1), source)) {
    const segment = segmentOf.get(entry.vsid);
    if (segment === undefined) continue;
    entries++;
    if (entry.page === undefined) {
      differences.push({
        what: 'misplaced',
        va: undefined,
        text: `entry at 0x${entry.at.toString(16)} of VSID 0x${entry.vsid.toString(16)}: no page of its segment hashes to its group`,
      });
      continue;
    }
    const vpn = segment * SEGMENT_PAGES + entry.page;
    if (byPage.has(vpn)) differences.push(difference('twice', vpn, 'two entries'));
    byPage.set(vpn, entry);
  }
  const counts = compareTree(tables, byPage, vsids, differences);
  for (const [vpn, entry] of byPage) differences.push(difference('stray', vpn, `entry for frame 0x${entry.pfn.toString(16)}, the tree maps nothing`));
  return { ...counts, misses: counts.lookedUp - counts.hits, entries, differences };
}

const difference = (what: HashDifference32['what'], vpn: number, text: string): HashDifference32 => ({
  what,
  va: vpn * 4096,
  text: `0x${(vpn * 4096).toString(16)}: ${text}`,
});

/** Looks every page of the tree up; what is found leaves the map. */
function compareTree(
  tables: PageTables,
  byPage: Map<number, HashEntry32>,
  vsids: readonly (number | undefined)[],
  differences: HashDifference32[],
): { lookedUp: number; hits: number; secondary: number } {
  const { columns, classes } = extentsOf(tables);
  let lookedUp = 0;
  let hits = 0;
  let secondary = 0;
  for (let i = 0; i < columns.length; i++) {
    const cls = classes[columns.kind[i]];
    for (let c = 0; c < columns.count[i]; c++)
      for (let p = 0; p < columns.pages[i]; p++) {
        const vpn = columns.vpn[i] + c * columns.stride[i] + p;
        if (vsids[Math.floor(vpn / SEGMENT_PAGES)] === undefined) continue;
        lookedUp++;
        const entry = byPage.get(vpn);
        if (!entry) continue;
        byPage.delete(vpn);
        if (entry.secondary) secondary++;
        const pfn = columns.pfn[i] + p;
        if (entry.pfn !== pfn) differences.push(difference('frame', vpn, `frame 0x${entry.pfn.toString(16)}, the tree has 0x${pfn.toString(16)}`));
        else hits++;
        const writes = cls.half === 'user' ? entry.pp === 2 : entry.pp !== 3;
        const reaches = cls.half === 'kernel' || entry.pp !== 0;
        // A kernel entry carries protection 0, which lets the kernel write read-only pages too: only the user's rights can be exceeded.
        if (cls.half === 'user' && ((writes && !cls.write) || (reaches && !cls.read && !cls.exec)))
          differences.push(difference('rights', vpn, `protection ${entry.pp} grants more than the tree`));
      }
  }
  return { lookedUp, hits, secondary };
}

/**
 * Finds the context of a process where its segment registers are not known: the one under which the hash table contradicts the tree nowhere and
 * agrees with it most. Where every context has a contradiction, the table may be damaged: then it is the one that agrees far more often than not.
 * Undefined when there is none.
 */
export function findContext32(
  format: HashTable32Format,
  tables: PageTables,
  source: FrameSource,
  sdr1: number,
  segments: readonly number[],
  limit = 32768,
): number | undefined {
  const { columns } = extentsOf(tables);
  const pfnOf = new Map<number, number>();
  for (let i = 0; i < columns.length; i++)
    for (let c = 0; c < columns.count[i]; c++)
      for (let p = 0; p < columns.pages[i]; p++) pfnOf.set(columns.vpn[i] + c * columns.stride[i] + p, columns.pfn[i] + p);
  const entries = [...hashEntries32(format, hashTable32At(format, sdr1), source)];
  const owners = new Map<number, { context: number; segment: number }[]>(entries.map((e) => [e.vsid, []]));
  for (let context = 0; context < limit; context++) for (const segment of segments) owners.get(vsidOf(format, context, segment))?.push({ context, segment });
  const votes = new Map<number, { hits: number; wrong: number }>();
  for (const entry of entries)
    for (const { context, segment } of owners.get(entry.vsid) ?? []) {
      const vote = votes.get(context) ?? { hits: 0, wrong: 0 };
      votes.set(context, vote);
      if (entry.page !== undefined && pfnOf.get(segment * SEGMENT_PAGES + entry.page) === entry.pfn) vote.hits++;
      else vote.wrong++;
    }
  const most = (fits: (v: { hits: number; wrong: number }) => boolean): number | undefined =>
    [...votes].filter(([, v]) => fits(v)).sort((a, b) => b[1].hits - a[1].hits)[0]?.[0];
  return most((v) => v.wrong === 0 && v.hits > 0) ?? most((v) => v.hits > CLEARLY * v.wrong);
}
