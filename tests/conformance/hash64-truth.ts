/** The hash table of a powernv capture against Linux's trees: segments out of QEMU's print of the SLB, and out of the context numbers of every process. */
import { join } from 'node:path';
import { findMode } from '../../src/arch/registry.ts';
import { readWrapped } from '../../src/image/node/wrapped.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { compareHashTable, type HashComparison, type HashSegment, hashTableOf, linuxUserSegments, segmentOfSlb } from '../../src/pagetable/hpt64.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import type { FrameSource } from '../../src/pagetable/source.ts';
import { type PageTables, readPageTables } from '../../src/pagetable/tree.ts';
import { type RootRecord, readJson } from './dump-truth.ts';

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

/** Context numbers by 512T range (`context_id`, `context_id_1` …). */
export const contextsOf = (root: Record<string, string>): Map<number, number> =>
  new Map([
    [0, Number(root.context_id)],
    ...Object.entries(root).flatMap(([name, value]) => (/^context_id_\d$/.test(name) ? [[Number(name.slice(-1)), Number(value)] as const] : [])),
  ]);

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
  contexts: Map<number, HashComparison>;
  kernel: HashComparison;
  lookedUp: number;
  hits: number;
  differences: string[];
}

/** Compares a capture folder; undefined when it has no hash table of this kind. */
export async function compareHash64(dir: string, image: FrameSource): Promise<HashCapture | undefined> {
  const meta = readJson(join(dir, 'meta.json')) as { mode: string; kernel: { release: string } };
  const roots = (readJson(join(dir, 'roots.json')) as RootRecord[]).filter((r) => (r.mode === 'user') !== (r.pid === 0));
  const mode = findMode(meta.mode);
  const patb0 = roots.find((r) => r.root.htab)?.root.patb0;
  if (!mode || patb0 === undefined) return undefined;
  const table = hashTableOf(BigInt(patb0));
  const slb = slbSections(new TextDecoder().decode(await readWrapped(join(dir, 'info_tlb.txt.zst'))));
  const compiled = compileMode(mode, meta.kernel.release);
  const treeOf = (r: RootRecord): PageTables =>
    readPageTables(
      compiled,
      image,
      rootFromRegisters(compiled, Object.fromEntries(Object.entries(r.root).map(([k, v]) => [k, BigInt(v)])), r.pid === 0 ? 'kernel' : 'user'),
    );
  const result: HashCapture = { slb: new Map(), contexts: new Map(), kernel: undefined as never, lookedUp: 0, hits: 0, differences: [] };
  const count = (what: string, c: HashComparison): HashComparison => {
    result.lookedUp += c.lookedUp;
    result.hits += c.hits;
    result.differences.push(...c.differences.map((d) => `${what} ${d}`));
    return c;
  };
  for (const r of roots) {
    const tree = treeOf(r);
    if (r.pid === 0) result.kernel = count('kernel', compareHashTable(image, table, treeSegmentsOfKernel(tree, [...slb.values()][0]), tree));
    else {
      result.slb.set(r.pid, compareHashTable(image, table, slb.get(r.pid) ?? [], tree));
      for (const d of result.slb.get(r.pid)?.differences ?? []) result.differences.push(`pid ${r.pid} (SLB) ${d}`);
      result.contexts.set(r.pid, count(`pid ${r.pid}`, compareHashTable(image, table, linuxUserSegments(contextsOf(r.root)), tree)));
    }
  }
  return result;
}
