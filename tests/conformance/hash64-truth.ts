/** The hash table of a powernv capture against Linux's trees: segments out of QEMU's print of the SLB, and out of the context numbers of every process. */
import { join } from 'node:path';
import type { Image } from '../../src/image/image.ts';
import { readWrapped } from '../../src/image/node/wrapped.ts';
import { hashReport, type SpaceHash } from '../../src/inspect/hash.ts';
import { type AddressSpace, openSession } from '../../src/inspect/session.ts';
import { compareHashTable, type HashComparison, type HashSegment, hashTableOf, segmentOfSlb } from '../../src/pagetable/hpt64.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import { type PageTables, readPageTables } from '../../src/pagetable/tree.ts';
import { readJson } from './dump-truth.ts';

/** Valid segments by pid out of the text of `info tlb` (ESID and VSID words). */
export function slbSections(text: string): Map<number, HashSegment[]> {
  const sections = new Map<number, HashSegment[]>();
  let list: HashSegment[] | undefined;
  for (const line of text.split('\n')) {
    const head = /^### \S+ pid (\d+) info (\w+)/.exec(line);
    if (head) {
      list = head[2] === 'tlb' ? [] : undefined;
      if (list) sections.set(Number(head[1]), list);
    }
    const words = /^\d+\s+(0x[0-9a-f]+)\s+(0x[0-9a-f]+)/.exec(line);
    const segment = words && segmentOfSlb(BigInt(words[1]), BigInt(words[2]));
    if (segment) list?.push(segment);
  }
  return sections;
}

/** The kernel's segments that its tree maps; linear map and vmemmap are bolted into the hash table alone. */
export function treeSegmentsOfKernel(tables: PageTables, segments: readonly HashSegment[]): HashSegment[] {
  const regions = tables.mode.mode.regions?.filter((r) => r.name === 'vmalloc' || r.name === 'I/O') ?? [];
  return segments.filter((s) => {
    const start = BigInt(s.esid) << BigInt(s.size.shift);
    return regions.some((r) => start >= r.start && start < r.end);
  });
}

export interface HashCapture {
  /** By what the CPU had in its SLB. */
  slb: Map<number, HashComparison>;
  /** By all segments that the process's contexts give. */
  contexts: Map<number, SpaceHash>;
  /** By the SLB. */
  kernel: HashComparison;
  /** By the contexts that Linux gives its own regions. */
  kernelContexts: SpaceHash | undefined;
  lookedUp: number;
  hits: number;
  differences: string[];
}

/** Compares a capture folder; undefined when it has no hash table of this kind. */
export async function compareHash64(dir: string, image: Image): Promise<HashCapture | undefined> {
  const meta = readJson(join(dir, 'meta.json')) as { mode: string; kernel: { release: string } };
  const roots = image.folder?.roots ?? [];
  const patb0 = roots.find((r) => r.registers.htab)?.registers.patb0;
  if (patb0 === undefined) return undefined;
  const table = hashTableOf(patb0);
  const slb = slbSections(new TextDecoder().decode(await readWrapped(join(dir, 'info_tlb.txt.zst'))));
  const session = openSession(image, { name: dir, mode: meta.mode, kernel: meta.kernel.release, roots });
  const report = hashReport(session);
  const result: HashCapture = {
    slb: new Map(),
    contexts: new Map(),
    kernel: undefined as never,
    kernelContexts: undefined,
    lookedUp: 0,
    hits: 0,
    differences: [],
  };
  const bySlb = (what: string, segments: readonly HashSegment[], tree: PageTables): HashComparison => {
    const found = compareHashTable(image, table, segments, tree);
    result.differences.push(...found.differences.map((d) => `${what} (SLB) ${d.text}`));
    return found;
  };
  const { origin, bytes } = report.place;
  if (BigInt(origin) !== table.origin || bytes !== table.bytes) result.differences.push(`the table is at 0x${origin.toString(16)} by ${report.place.evidence}`);
  for (const space of report.spaces) {
    const what = space.half === 'kernel' ? 'kernel' : `pid ${space.pid}`;
    result.differences.push(...space.findings.map((d) => `${what} ${d.text}`));
    const known = session.spaces.find((s) => s.pid === space.pid && s.cpuMode === space.half) as AddressSpace;
    const tree = readPageTables(session.mode, image, rootFromRegisters(session.mode, known.registers, space.half));
    if (space.half === 'kernel') {
      result.kernel = bySlb(what, treeSegmentsOfKernel(tree, [...slb.values()][0]), tree);
      result.kernelContexts = space;
    } else {
      result.slb.set(space.pid as number, bySlb(what, slb.get(space.pid as number) ?? [], tree));
      result.contexts.set(space.pid as number, space);
    }
  }
  for (const counted of [...result.contexts.values(), result.kernel]) {
    result.lookedUp += counted.lookedUp;
    result.hits += counted.hits;
  }
  return result;
}
