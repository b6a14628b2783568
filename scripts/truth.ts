/**
 * `npm run truth`: compares pxd with what it did not write: captures of real kernels, QEMU's view of the TLB, hardware hash tables, and golden vectors of
 * the kernel's own code. Prints a table, then every difference; exit code 1 when there is any.
 *
 * `npm run truth -- [--dumps DIR] [--vectors DIR] [--only NAME] [--json]`. By default it takes the larger collections
 * beside the checkout where they are, else what is kept with the tests.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openImage } from '../src/image/node/open.ts';
import { compareCaptureForms, compareCaptureTlb, compareHash } from '../tests/conformance/captures.ts';
import { compareDump } from '../tests/conformance/dump-truth.ts';
import { compareVectors, loadVectors } from '../tests/conformance/vector-truth.ts';
import { capturesDir, vectorsDir } from '../tests/support/fixtures.ts';

interface Row {
  readonly check: string;
  readonly name: string;
  readonly mode: string;
  readonly compared: string;
  readonly count: number;
  readonly differences: readonly string[];
}

async function dumpRows(dir: string): Promise<Row[]> {
  const name = dir.split('/').pop() as string;
  const image = await openImage(dir);
  const rows: Row[] = [];
  const r = compareDump(dir, image);
  rows.push({
    check: 'pagemap',
    name,
    mode: r.mode,
    compared: `${r.roots} roots: ${r.present} present, ${r.protnone} PROT_NONE or old, ${r.swap} swap-type, ${r.stamps} stamps, ${r.zero} zero pages`,
    count: r.present + r.protnone + r.swap + r.stamps,
    differences: r.differences,
  });
  const tlb = await compareCaptureTlb(dir, image);
  if (tlb)
    rows.push({
      check: 'info tlb',
      name,
      mode: r.mode,
      compared: `${tlb.roots} roots, both halves: ${tlb.leaves} leaves equal${tlb.aged > 0 ? `, ${tlb.aged} more but for the accessed bit` : ''}`,
      count: tlb.leaves,
      differences: tlb.differences,
    });
  const hash = await compareHash(dir, image);
  if (hash)
    rows.push({
      check: 'hash table',
      name,
      mode: r.mode,
      compared: `${hash.lookedUp} pages looked up, ${hash.hits} found`,
      count: hash.hits,
      differences: hash.differences,
    });
  for (const form of await compareCaptureForms(dir, image))
    rows.push({ check: 'form', name: form.file, mode: r.mode, compared: `${form.frames} frames equal`, count: form.frames, differences: form.differences });
  image.close?.();
  return rows;
}

function vectorRow(path: string): Row {
  const r = compareVectors(loadVectors(path));
  return {
    check: 'vectors',
    name: r.name,
    mode: r.mode,
    compared: `${r.encoded} encoded, ${r.decoded} decoded, ${r.swap} swap-type, ${r.predicates} predicates, ${r.geometry} constants${r.facts > 0 ? `, ${r.facts} sizes` : ''}`,
    count: r.encoded + r.decoded + r.swap + r.predicates + r.geometry + r.facts,
    differences: r.differences,
  };
}

function print(rows: readonly Row[]): void {
  const widths = {
    check: Math.max(...rows.map((r) => r.check.length)),
    name: Math.max(...rows.map((r) => r.name.length)),
    mode: Math.max(...rows.map((r) => r.mode.length)),
  };
  for (const r of rows)
    console.log(
      `${r.check.padEnd(widths.check)}  ${r.name.padEnd(widths.name)}  ${r.mode.padEnd(widths.mode)}  ${String(r.differences.length).padStart(5)} differences  ${r.compared}`,
    );
  for (const r of rows) for (const d of r.differences.slice(0, 20)) console.log(`DIFFERENT ${r.check} ${r.name}: ${d}`);
  const different = rows.reduce((n, r) => n + r.differences.length, 0);
  console.log(`${rows.length} comparisons, ${rows.reduce((n, r) => n + r.count, 0)} facts equal, ${different} differences`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { dumps: { type: 'string' }, vectors: { type: 'string' }, only: { type: 'string' }, json: { type: 'boolean' } } });
  const dumps = values.dumps ?? capturesDir();
  const vectors = values.vectors ?? vectorsDir();
  const wanted = (name: string): boolean => values.only === undefined || name.includes(values.only);
  const rows: Row[] = [];
  for (const d of readdirSync(dumps).filter((d) => wanted(d) && existsSync(join(dumps, d, 'truth.json.gz')))) rows.push(...(await dumpRows(join(dumps, d))));
  for (const f of readdirSync(vectors).filter((f) => wanted(f) && f.endsWith('.json.gz'))) rows.push(vectorRow(join(vectors, f)));
  if (rows.length === 0) throw new Error('nothing to compare with: no captures and no vectors found');
  if (values.json) for (const r of rows) console.log(JSON.stringify(r));
  else print(rows);
  if (rows.some((r) => r.differences.length > 0)) process.exitCode = 1;
}

await main();
