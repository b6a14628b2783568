/**
 * MADV_DONTNEED of a private huge page that a child maps still (docs/findings.md): Linux 6.18.44 shows 2⁶⁴ − 1 reserved pages until the child is gone. So does the machine,
 * I24 says so, and with the repair it is not so.
 */
import { expect, test } from 'vitest';
import { type SwitchName, throwSwitches } from '../../src/kernel/switches.ts';
import { makeCpus } from '../../src/kernel/task.ts';
import { poolOf } from '../../src/machine/boot-hugetlb.ts';
import { Machine } from '../../src/machine/machine.ts';
import { hugePools } from '../../src/machine/view-hugetlb.ts';
import { checkMachine } from '../../src/mm/invariants/index.ts';

const HOME = 0x1_0000_0000;
const BYTES = 2 ** 21;
const MAP = 0x40032; // PRIVATE | FIXED | ANONYMOUS | HUGETLB
const MADV_DONTNEED = 4;

/** Free and reserved pages after each step: mapped and written to, forked, thrown away, written to again, the child gone, unmapped; and what I24 says after the second write. */
function play(...switches: SwitchName[]): { counts: number[][]; i24: string[] } {
  const machine = new Machine({ ramBytes: 2 ** 25, mode: 'x86-4level', program: switches.length > 0 ? 'straight' : 'direct' });
  const parent = machine.spawn();
  machine.enter();
  machine.kernel.setMaxHugePages(poolOf(2048, 12), 2);
  if (switches.length > 0) {
    makeCpus(1);
    throwSwitches(switches);
  }
  const counts: number[][] = [];
  const count = (): void => {
    machine.enter();
    const [{ free, resv }] = hugePools(4);
    counts.push([free, resv]);
  };
  expect(parent.syscall('mmap', HOME, BYTES, 3, MAP, -1, 0)).toBe(HOME);
  expect(parent.store(BigInt(HOME), 4, 1n)).toBeUndefined();
  count();
  const child = parent.fork();
  count();
  expect(parent.syscall('madvise', HOME, BYTES, MADV_DONTNEED)).toBe(0);
  count();
  expect(parent.store(BigInt(HOME), 4, 2n)).toBeUndefined();
  count();
  const i24 = checkMachine({ leaks: true }).filter((wrong) => wrong.startsWith('I24'));
  expect(child.load(BigInt(HOME), 4)).toBe(1n);
  child.exit();
  count();
  expect(parent.syscall('munmap', HOME, BYTES)).toBe(0);
  count();
  return { counts, i24 };
}

test('reserved pages are fewer than none while the child has the page, as Linux 6.18 shows', () => {
  const { counts, i24 } = play();
  expect(counts).toEqual([
    [1, 0],
    [1, 0],
    [1, 0],
    [0, -1],
    [1, 0],
    [2, 0],
  ]);
  expect(i24).toEqual(['I24: pool of order 9: -1 pages are reserved']);
});

test('with the repair nothing is promised that nobody has', () => {
  const { counts, i24 } = play('hugetlbZapRestoresLast');
  expect(counts).toEqual([
    [1, 0],
    [1, 0],
    [1, 0],
    [0, 0],
    [1, 0],
    [2, 0],
  ]);
  expect(i24).toEqual([]);
});
