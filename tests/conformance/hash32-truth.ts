/** The hash table of a ppc32 capture against Linux's trees, and against what an independent reader found (verify_htab.json). */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Image } from '../../src/image/image.ts';
import { hashReport } from '../../src/inspect/hash.ts';
import { openSession } from '../../src/inspect/session.ts';
import { readJson } from './dump-truth.ts';

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

/** Undefined for captures of other architectures. The kernel's own tree (context 0, segments 12 to 15) counts as one process. */
export function compareHash32(dir: string, image: Image): HashResult | undefined {
  const meta = readJson(join(dir, 'meta.json')) as { mode: string; kernel: { release: string } };
  const truth = join(dir, 'verify_htab.json');
  if (!meta.mode.startsWith('ppc-book3s32') || !existsSync(truth)) return undefined;
  const verified = readJson(truth) as Verified[];
  const session = openSession(image, { name: dir, mode: meta.mode, kernel: meta.kernel.release, roots: image.folder?.roots ?? [] });
  const total: HashResult = { processes: 0, lookedUp: 0, hits: 0, entries: 0, differences: [] };
  for (const space of hashReport(session).spaces) {
    const [context] = space.contexts;
    const say = (text: string): void => {
      total.differences.push(`pid ${space.pid}: ${text}`);
    };
    if (context === undefined) {
      say(space.contextEvidence);
      continue;
    }
    for (const { text } of space.findings) say(text);
    const known = verified.find((v) => v.pid === space.pid);
    if (known && (known.context !== context || known.pages !== space.lookedUp || known.inHtabSamePfn !== space.hits))
      say(
        `context ${context}, ${space.hits} of ${space.lookedUp} pages; an independent reader found context ${known.context}, ${known.inHtabSamePfn} of ${known.pages}`,
      );
    total.processes++;
    total.lookedUp += space.lookedUp;
    total.hits += space.hits;
    total.entries += space.entries;
  }
  return total;
}
