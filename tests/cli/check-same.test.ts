/** `pxd check` says the same each time, byte for byte but for times: run twice, by one to three threads, by shards put together, with random schedules of a seed. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { json, pxd } from './pxd.ts';

const folder = mkdtempSync(join(tmpdir(), 'pxd-same-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Entries that are searched quickly: violations and clean ones, in two modes. */
const WHAT = ['check', 'C32', 'R44', 'R45', '--mode', 'x86-4level', '--mode', 's390x', '--no-times'];

/** What is printed. */
async function printed(...more: readonly string[]): Promise<string> {
  const { code, out, err } = await pxd([...WHAT, ...more]);
  expect([code, err]).toEqual([0, '']);
  expect(out.length).toBeGreaterThan(300);
  return out;
}

describe('the same command says the same', () => {
  it('twice: rows, reports, XML', { timeout: 300_000 }, async () => {
    const xml = [1, 2].map((n) => join(folder, `${n}.xml`));
    const texts = [await printed('--junit', xml[0]), await printed('--junit', xml[1])];
    expect(texts[1]).toBe(texts[0]);
    expect(readFileSync(xml[1], 'utf8')).toBe(readFileSync(xml[0], 'utf8'));
    // Times are what differs, and they are in it.
    expect(texts[0]).toContain(' 0.0 s ');
  });

  it('with any number of threads, and by shards put together', { timeout: 300_000 }, async () => {
    const alone = await printed('--json');
    const rows = alone.split('\n').length - 1;
    expect(rows).toBeGreaterThan(7);
    const reports = new Set<string>();
    for (const workers of ['1', '2', '3']) {
      expect(await printed('--json', '--workers', workers), `${workers} threads`).toBe(alone);
      if (workers !== '3') reports.add(await printed('--workers', workers));
    }
    expect(reports.size).toBe(1);
    const files = [1, 2, 3].map((n) => join(folder, `${n}.jsonl`));
    const [part] = [await printed('--shard', '1/3', '--resume', files[0], '--json'), await printed('--shard', '2/3', '--resume', files[1], '--json')];
    await printed('--shard', '3/3', '--resume', files[2], '--workers', '2', '--json');
    expect(part.split('\n').length - 1).toBeLessThan(rows);
    for (const order of [files, [...files].reverse()]) {
      const merged = await pxd(['check', '--merge', ...order, '--no-times', '--json']);
      expect([merged.code, merged.err]).toEqual([0, '']);
      expect(merged.out).toBe(alone);
    }
  });

  it('with random schedules, of the same seed', { timeout: 300_000 }, async () => {
    const smoke = (seed: string): Promise<string> => printed('--smoke', '9', '--seed', seed, '--json');
    const [first, second, other] = [await smoke('5'), await smoke('5'), await smoke('6')];
    expect(second).toBe(first);
    expect(other).not.toBe(first);
    expect(await printed('--smoke', '9', '--seed', '5')).toBe(await printed('--smoke', '9', '--seed', '5'));
  });

  it('where times are asked for they are told', async () => {
    const rows = json(await pxd(['check', 'R44', '--json']));
    expect(rows.reduce((sum, { ms }) => sum + Number(ms), 0)).toBeGreaterThan(0);
  });
});
