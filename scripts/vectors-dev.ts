import { readdirSync } from 'node:fs';
import { compareVectors, loadVectors } from '../tests/conformance/vector-truth.ts';
const dir = '../shared/vectors';
const wanted = process.argv.slice(2);
for (const f of readdirSync(dir).filter((f) => f.endsWith('.gz') && wanted.some((w) => f.startsWith(w)))) {
  const r = compareVectors(loadVectors(`${dir}/${f}`));
  console.log(`${r.name} → ${r.mode}: ${r.entries} entries, encoded ${r.encoded}, decoded ${r.decoded}, swap ${r.swap}, predicates ${r.predicates}, geometry ${r.geometry}, differences ${r.differences.length}`);
  for (const d of r.differences.slice(0, Number(process.env.SHOW ?? 12))) console.log('   ', d);
}
