/** The hash table of a ppc32 capture against Linux's trees, and against what an independent reader found (verify_htab.json). */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hashTable32 } from '../../src/arch/powerpc-book3s32.ts';
import { findMode } from '../../src/arch/registry.ts';
import { compileMode } from '../../src/pagetable/compile.ts';
import { compareHashTable32, findContext32, linuxVsids } from '../../src/pagetable/hpt32.ts';
import { rootFromRegisters } from '../../src/pagetable/root.ts';
import type { FrameSource } from '../../src/pagetable/source.ts';
import { readPageTables } from '../../src/pagetable/tree.ts';
import { type RootRecord, readJson } from './dump-truth.ts';

interface Verified {
  pid: number;
  context: number;
  pages: number;
  inHtabSamePfn: number;
}

export interface HashResult {
  processes: number;
  lookedUp: number;
  hits: number;
  entries: number;
  differences: string[];
}

const USER_SEGMENTS = Array.from({ length: 12 }, (_, i) => i);

/** Undefined for captures of other architectures. The kernel's own tree (context 0, segments 12 to 15) counts as one process. */
export function compareHash32(dir: string, image: FrameSource): HashResult | undefined {
  const meta = readJson(join(dir, 'meta.json')) as { mode: string; kernel: { release: string } };
  const truth = join(dir, 'verify_htab.json');
  if (!meta.mode.startsWith('ppc-book3s32') || !existsSync(truth)) return undefined;
  const mode = compileMode(findMode(meta.mode) as NonNullable<ReturnType<typeof findMode>>, meta.kernel.release);
  const verified = readJson(truth) as Verified[];
  const roots = readJson(join(dir, 'roots.json')) as RootRecord[];
  const sdr1 = Number(roots.find((r) => r.root.sdr1)?.root.sdr1);
  const total: HashResult = { processes: 0, lookedUp: 0, hits: 0, entries: 0, differences: [] };
  for (const record of roots) {
    const half = record.pid === 0 ? 'kernel' : 'user';
    if (record.mode !== half) continue;
    const pgd = BigInt(record.root.pgd);
    const tables = readPageTables(mode, image, rootFromRegisters(mode, half === 'user' ? { pgd } : { swapper_pg_dir: pgd }, half), { half });
    const context = half === 'user' ? findContext32(hashTable32, tables, image, sdr1, USER_SEGMENTS) : 0;
    const say = (text: string): void => {
      total.differences.push(`pid ${record.pid}: ${text}`);
    };
    if (context === undefined) {
      say('no context agrees with the hash table');
      continue;
    }
    const vsids = linuxVsids(hashTable32, context).map((vsid, segment) => (segment < 12 === (half === 'user') ? vsid : undefined));
    const result = compareHashTable32(hashTable32, tables, image, sdr1, vsids);
    for (const d of result.differences) say(d.text);
    const known = verified.find((v) => v.pid === record.pid);
    if (known && (known.context !== context || known.pages !== result.lookedUp || known.inHtabSamePfn !== result.hits))
      say(
        `context ${context}, ${result.hits} of ${result.lookedUp} pages; an independent reader found context ${known.context}, ${known.inHtabSamePfn} of ${known.pages}`,
      );
    total.processes++;
    total.lookedUp += result.lookedUp;
    total.hits += result.hits;
    total.entries += result.entries;
  }
  return total;
}
