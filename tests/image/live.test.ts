import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readLive } from '../../src/image/node/live.ts';
import { PxdError } from '../../src/pagetable/error.ts';

const linux = existsSync('/proc/self/pagemap');
if (!linux) console.log('skipped: live processes need Linux with /proc/PID/pagemap');

/** A sleeping process does not change while it is read twice. */
async function sleeping<T>(look: (pid: number) => T): Promise<T> {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  try {
    await new Promise((r) => setTimeout(r, 150));
    return look(child.pid as number);
  } finally {
    child.kill();
  }
}

describe.skipIf(!linux)('a live process', () => {
  it('has as many present pages in each area as smaps counts (Rss)', async () => {
    const { live, smaps } = await sleeping((pid) => ({ live: readLive(pid), smaps: readFileSync(`/proc/${pid}/smaps`, 'utf8') }));
    const rss = new Map<string, number>();
    let area = '';
    for (const line of smaps.split('\n')) {
      const head = /^([0-9a-f]+-[0-9a-f]+) /.exec(line);
      if (head) area = head[1];
      if (line.startsWith('Rss:')) rss.set(area, Number.parseInt(line.slice(4), 10) * 1024);
    }
    expect(live.comm).toBe('sleep');
    for (const vma of live.vmas) {
      if (vma.flags.includes('pf') || vma.name === '[vsyscall]') continue;
      const pages = live.runs.filter((r) => r.vma === vma && r.kind === 'present' && !r.pageFlags?.includes('zero_page')).reduce((n, r) => n + r.pages, 0);
      expect(`${vma.name} ${pages * 4096}`).toBe(
        `${vma.name} ${rss.get(`${vma.start.toString(16).padStart(8, '0')}-${vma.end.toString(16).padStart(8, '0')}`)}`,
      );
    }
  });

  it('that does not exist gets one sentence', () => {
    expect(() => readLive(2 ** 30)).toThrow(PxdError);
    expect(() => readLive(2 ** 30)).toThrow(/no process 1073741824/);
  });
});
