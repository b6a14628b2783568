/**
 * `npm start`: the main job on real input. Inspects the captures of real kernels that come along, then this machine's own process.
 * Everything printed is what the `pxd` command prints; each command line stands above its output.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const captures = 'tests/fixtures/captures';
const cli = join(root, 'dist/cli.js');

function pxd(...args) {
  console.log(`\n$ npx pxd ${args.join(' ')}`);
  const { status } = spawnSync(process.execPath, [cli, ...args], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exitCode = status ?? 1;
}

const folders = readdirSync(join(root, captures), { withFileTypes: true })
  .filter((d) => d.isDirectory())
  .map((d) => d.name);
for (const name of folders) pxd('inspect', join(captures, name), '--brief');
pxd('inspect', join(captures, 'x86_64-4level'));
pxd('walk', join(captures, 'arm64-4k'), '0x400000', '--pid', '78');
if (process.platform === 'linux') pxd('inspect', '--pid', String(process.pid));
