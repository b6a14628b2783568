/**
 * Statistics of nodes (area G, F220): names and order are those of a recorded /proc/zoneinfo; numbers are what the operations said, and what the page caches and
 * tables hold.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Machine } from '../../src/machine/machine.ts';
import { thpSetting } from '../../src/machine/thp-settings.ts';

const RECORDED = readFileSync(join(import.meta.dirname, '../memory/fixtures/zoneinfo-6.18.txt'), 'utf8');
const BASE = 0x10000000;

/** Per-node statistics of a text, in order. */
function statistics(text: string): [string, number][] {
  const part = text.slice(text.indexOf('per-node stats'), text.indexOf('  pages free'));
  return [...part.matchAll(/^ {6}(\S+) +(\d+)$/gm)].map((m) => [m[1], Number(m[2])]);
}

const changes = (before: string, after: string): Record<string, number> => {
  const was = new Map(statistics(before));
  return Object.fromEntries(statistics(after).flatMap(([name, value]) => (value === was.get(name) ? [] : [[name, value - (was.get(name) ?? 0)]])));
};

test('names stand in the order of Linux', () => {
  const names = statistics(new Machine({ ramBytes: 2 ** 26 }).zoneinfo()).map(([name]) => name);
  const recorded = statistics(RECORDED).map(([name]) => name);
  expect(names.length).toBeGreaterThan(12);
  expect(names).toEqual(recorded.filter((name) => names.includes(name)));
});

test('F220 huge pages are shown as so many of a PMD, their pages with all others', () => {
  const machine = new Machine({ ramBytes: 2 ** 28 });
  const p = machine.spawn();
  thpSetting('/sys/kernel/mm/transparent_hugepage/enabled')?.write('always');
  const empty = machine.zoneinfo();
  expect(p.syscall('mmap', BASE, 4 * 2 ** 20, 3, 0x32, -1, 0)).toBe(BASE);
  p.store(BigInt(BASE), 8, 1n);
  p.store(BigInt(BASE + 2 ** 21), 8, 1n);
  const { nr_page_table_pages: tables, ...others } = changes(empty, machine.zoneinfo());
  expect(others).toEqual({ nr_anon_pages: 1024, nr_anon_transparent_hugepages: 2 });
  // A table of PMDs and what leads to it, and one kept for each huge page.
  expect(tables).toBeGreaterThanOrEqual(3);
  // Of a huge page in parts no entry maps all; what is not mapped does not count.
  p.syscall('munmap', BASE, 4096);
  expect(changes(empty, machine.zoneinfo())).toMatchObject({ nr_anon_pages: 1023, nr_anon_transparent_hugepages: 1 });
  p.syscall('munmap', BASE, 4 * 2 ** 20);
  expect(changes(empty, machine.zoneinfo())).not.toHaveProperty('nr_anon_pages');
});

test('F220 shared memory, files, what is dirty, what is locked', () => {
  const machine = new Machine({ ramBytes: 2 ** 28 });
  const p = machine.spawn();
  thpSetting('/sys/kernel/mm/transparent_hugepage/shmem_enabled')?.write('always');
  p.syscall('mmap', BASE, 4096, 3, 0x32, -1, 0);
  p.write(BigInt(BASE), new TextEncoder().encode('/var/tmp/pxd/f\0'));
  const empty = machine.zoneinfo();
  const at = BASE + 2 ** 21;
  expect(p.syscall('mmap', at, 2 ** 21, 3, 0x31, -1, 0)).toBe(at);
  p.store(BigInt(at + 4096), 8, 1n);
  expect(changes(empty, machine.zoneinfo())).toMatchObject({
    nr_mapped: 512,
    nr_file_pages: 512,
    nr_shmem: 512,
    nr_shmem_hugepages: 1,
    nr_shmem_pmdmapped: 1,
  });
  p.syscall('munmap', at, 2 ** 21);
  const fd = p.syscall('open', BASE, 0o102, 0o600);
  expect(p.syscall('pwrite64', fd, BASE, 4096, 0)).toBe(4096);
  expect(p.syscall('pwrite64', fd, BASE, 4096, 8192)).toBe(4096);
  expect(p.syscall('mlock', BASE, 4096)).toBe(0);
  const file = changes(empty, machine.zoneinfo());
  expect(file).toMatchObject({ nr_file_pages: 2, nr_dirty: 2, nr_unevictable: 1 });
  expect(file).not.toHaveProperty('nr_shmem');
  expect(p.syscall('fsync', fd)).toBe(0);
  expect(changes(empty, machine.zoneinfo())).not.toHaveProperty('nr_dirty');
});
