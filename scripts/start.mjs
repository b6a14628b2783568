/**
 * `npm start`: the main job on real input. A table of the captures of real kernels that come along, then one of them in full,
 * one walk, and this machine's own process. Everything comes out of the `pxd` command; each command line stands above its output.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const captures = 'tests/fixtures/captures';
const cli = join(root, 'dist/cli.js');

const run = (args, stdio) => spawnSync(process.execPath, [cli, ...args], { cwd: root, stdio, encoding: 'utf8', maxBuffer: 2 ** 28 });

function show(...args) {
  console.log(`\n$ npx pxd ${args.join(' ')}`);
  if (run(args, 'inherit').status !== 0) process.exitCode = 1;
}

/** Leaves of one half by size, as `12,345 × 4K`. */
function sizes(totals, half) {
  const unit = (bytes) => (bytes >= 2 ** 30 ? `${bytes / 2 ** 30}G` : bytes >= 2 ** 20 ? `${bytes / 2 ** 20}M` : `${bytes / 2 ** 10}K`);
  const rows = totals.flatMap((t) => t.bySize).filter((s) => s.half === half);
  return rows.map((s) => `${s.leaves.toLocaleString('en-US')} × ${unit(s.page)}`).join(', ');
}

console.log('Captures of real kernels, the first process of each (pxd leaves CAPTURE --summary):\n');
const rows = [['capture', 'Linux', 'mode', 'user leaves', 'kernel leaves']];
for (const { name } of readdirSync(join(root, captures), { withFileTypes: true }).filter((d) => d.isDirectory())) {
  const meta = JSON.parse(readFileSync(join(root, captures, name, 'meta.json'), 'utf8'));
  const { status, stdout, stderr } = run(['leaves', join(captures, name), '--summary', '--format', 'jsonl'], 'pipe');
  if (status !== 0) {
    console.error(stderr);
    process.exitCode = 1;
    continue;
  }
  const totals = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  rows.push([name, meta.kernel.release, meta.mode, sizes(totals, 'user'), sizes(totals, 'kernel')]);
}
const widths = rows[0].map((_, i) => Math.max(...rows.map((r) => r[i].length)));
for (const r of rows) console.log(`  ${r.map((cell, i) => (i === r.length - 1 ? cell : cell.padEnd(widths[i]))).join('  ')}`);

show('inspect', `${captures}/x86_64-4level`);
show('walk', `${captures}/arm64-4k`, '0x400000', '--pid', '78');
if (process.platform === 'linux') show('inspect', '--pid', String(process.pid), '--rows', '30');
