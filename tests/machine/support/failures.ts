/**
 * Allocation failure at every site of a call: the call runs with its first allocation failing, then its second, and so on until it asks for no more; each time
 * with that one alone, and with all that come after it. What is asked each time: the answer, the invariants of the machine, that nothing has changed where the
 * call fails as a whole, that it works when there is memory again, and that nothing is left of it when all processes have gone.
 */
import { expect } from 'vitest';
import { Machine, type MachineOptions } from '../../../src/machine/machine.ts';
import type { Process } from '../../../src/machine/process.ts';
import { hugePools } from '../../../src/machine/view-hugetlb.ts';
import { get, set } from '../../../src/memory/heap.ts';
import { FIRST_OBJECT, heap, journalMark, SLOT_TOP, startJournal, stopJournal, undo } from '../../../src/memory/state.ts';
import { layouts } from '../../../src/memory/struct.ts';
import { Memory, memory, Pcp, Zone } from '../../../src/memory/zone.ts';
import { globals } from '../../../src/mm/globals.ts';
import { type CheckOptions, checkMachine } from '../../../src/mm/invariants/index.ts';
import { Globals, Inode, Mm, Process as ProcessStruct, Vma } from '../../../src/mm/types.ts';
import { firstVma } from '../../../src/mm/vma-tree.ts';

export const ENOMEM = -12;
export const ESRCH = -3;
export const E2BIG = -7;
export const EAGAIN = -11;
export const EFAULT = -14;
export const EINVAL = -22;
export const ENFILE = -23;
export const ENOSPC = -28;
/** What threadLoad and threadStore answer for signals: −(signal · 256 + code). */
export const KILLED = -9 * 256;
export const OOM = [KILLED];

export const A = 0x10000000;
export const B = 0x20000000;
export const PAGE = 0x1000;
export const TABLE = 0x200000;
export const ANON = 0x22;
export const FIXED = 0x10;

export interface Scenario {
  readonly name: string;
  setup?(p: Process): void;
  run(p: Process): number;
  /** Errors that it may answer with when an allocation fails (default ENOMEM alone). */
  readonly errors?: readonly number[];
  /** It may have done a part of its work when it fails. */
  readonly partial?: boolean;
  /** A VMA may stay split when it fails: the first cut is not taken back when the second has no memory (mm/vma.c: vma_modify, vms_gather_munmap_vmas). */
  readonly splits?: boolean;
  /** Pages that stay promised for ever when it fails, as on Linux. */
  readonly losesPromised?: number;
  /** What it answers with when it is tried again with memory after a failure; without it, no error. */
  readonly again?: readonly number[];
  /** A failure is got over: it succeeds all the same wherever the allocation fails. */
  readonly never?: boolean;
  /** RAM, default 8. */
  readonly megabytes?: number;
  /** What else the machine is, and what it is given at its start. */
  readonly machine?: Omit<MachineOptions, 'ramBytes' | 'program'>;
  /** A huge page that stays taken for reserved no longer when memory stays short: what would say so again has no room (mm/hugetlb.c: restore_reserve_on_error). */
  readonly losesReserved?: true;
  /** It goes as far as memory lets it: something between nothing and all is left of it. */
  readonly between?: true;
  /** Tables of the kernel's half that it may leave, which stay for whoever comes next. */
  readonly tables?: number;
  /** It calls what needs a lock without one, or would wait for somebody, as the direct program lets it. */
  readonly bare?: true;
  /** Records that a test holds while it runs: of pins. */
  readonly held?: () => readonly number[];
}

export const kernel = (p: Process): Record<string, (...args: number[]) => number> => {
  p.machine.enter();
  return p.machine.kernel as unknown as Record<string, (...args: number[]) => number>;
};
export const load = (p: Process, address: number): number => kernel(p).threadLoad(p.ref, address / PAGE);
export const store = (p: Process, address: number, value = 1): number => kernel(p).threadStore(p.ref, address / PAGE, value);
export const fork = (p: Process): number => kernel(p).sysFork(p.ref);
export const mmap = (p: Process, at: number, pages: number, flags = ANON, prot = 3, fd = -1, offset = 0): number =>
  p.syscall('mmap', at, pages * PAGE, prot, flags, fd, offset);

/** A file of /sys/kernel/mm/transparent_hugepage is written. */
export const setting = (p: Process, name: string, value: string): void => p.machine.configure(`/sys/kernel/mm/transparent_hugepage/${name}`, value);

/** Writes a name and opens files: descriptor 0 shared memory, 1 of a disk; eight pages each. */
export function files(p: Process): void {
  mmap(p, 0x1000000, 1, ANON | FIXED);
  p.write(0x1000000n, new TextEncoder().encode('name\0'));
  p.syscall('memfd_create', 0x1000000, 2);
  p.write(0x1000000n, new TextEncoder().encode('/var/tmp/pxd/disk\0'));
  p.syscall('open', 0x1000000, 0o102, 0o600);
  for (const fd of [0, 1]) p.syscall('ftruncate', fd, 8 * PAGE);
}

/** Eight written pages at A. */
export function written(p: Process): void {
  mmap(p, A, 8, ANON | FIXED);
  for (let i = 0; i < 8; i++) store(p, A + i * PAGE, i + 1);
}

/** One iovec in user memory. */
export function iovec(p: Process, at: number, base: number, length: number): void {
  p.store(BigInt(at), 8, BigInt(base));
  p.store(BigInt(at + 8), 8, BigInt(length));
}

/**
 * All that processes can see of themselves, but page tables and what is resident. `joined`: VMAs that differ in nothing and follow each other
 * are shown as one.
 */
function visible(joined: boolean): string {
  const lines: string[] = [];
  for (let p = get(globals, Globals.processes); p !== 0; p = get(p, ProcessStruct.next)) {
    const mm = get(p, ProcessStruct.mm);
    lines.push(`process ${get(p, ProcessStruct.pid)} ${mm}`);
    for (let fd = 0; fd < 16; fd++) lines.push(`${get(p, ProcessStruct.files + fd)}`);
    if (mm === 0) continue;
    for (const field of [Mm.totalVm, Mm.lockedVm, Mm.dataVm, Mm.execVm, Mm.stackVm, Mm.brk, Mm.defFlags]) lines.push(`${get(mm, field)}`);
    if (!joined) lines.push(`${get(mm, Mm.mapCount)} VMAs`);
    for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) {
      const [start, pgoff] = [get(vma, Vma.start), get(vma, Vma.pgoff)];
      while (joined && get(vma, Vma.next) !== 0 && continues(vma, get(vma, Vma.next))) vma = get(vma, Vma.next);
      lines.push([start, get(vma, Vma.end), pgoff, ...KIND.map((field) => get(vma, field))].map((value) => value.toString(16)).join(' '));
    }
  }
  return lines.join('\n');
}

/** Pools of huge pages: pages, free ones, surplus ones; and all that are reserved. */
function pools(): { pages: string; reserved: number } {
  const all = hugePools(PAGE / 1024);
  return {
    pages: all.map(({ kilobytes, nr, free, surplus }) => `${kilobytes} KiB: ${nr} ${free} ${surplus}`).join(', '),
    reserved: all.reduce((sum, { resv }) => sum + resv, 0),
  };
}

/** What VMAs have in common that could be one. */
const KIND = [Vma.flags, Vma.file, Vma.ops];

const continues = (vma: number, next: number): boolean =>
  get(vma, Vma.end) === get(next, Vma.start) &&
  get(vma, Vma.pgoff) + get(vma, Vma.end) - get(vma, Vma.start) === get(next, Vma.pgoff) &&
  [...KIND, Vma.anonVma].every((field) => get(vma, field) === get(next, field));

/** Live objects by type and pages that are free or cached of files, when all processes have gone. */
function remains(machine: Machine): Record<string, number> {
  machine.enter();
  const { sysExit, vmUnmapAliases } = machine.kernel as unknown as { sysExit(p: number, status: number): number; vmUnmapAliases(): number };
  for (let p = get(globals, Globals.processes); p !== 0; p = get(p, ProcessStruct.next)) if (get(p, ProcessStruct.alive) !== 0) sysExit(p, 0);
  // Areas of vmalloc space that were given back wait for a flush of all TLBs.
  vmUnmapAliases();
  const counts: Record<string, number> = {};
  for (let ref = FIRST_OBJECT; ref < heap[SLOT_TOP]; ref += layouts[Math.abs(heap[ref])].size)
    if (heap[ref] > 0) counts[layouts[heap[ref]].name] = (counts[layouts[heap[ref]].name] ?? 0) + 1;
  let free = 0;
  for (let number = 0; number < heap[memory() + Memory.nrZones]; number++) {
    const zone = heap[memory() + Memory.zones + number];
    free += heap[zone + Zone.free];
    for (let cpu = 0; cpu < heap[memory() + Memory.cpus]; cpu++) free += heap[heap[zone + Zone.pcps + cpu] + Pcp.count];
  }
  // How much of a disk file is cached tells how far a call came, and loses nothing.
  for (const inode of liveInodes()) free += get(inode, Inode.nrPages);
  return { ...counts, freePages: free };
}

function liveInodes(): number[] {
  const found: number[] = [];
  for (let ref = FIRST_OBJECT; ref < heap[SLOT_TOP]; ref += layouts[Math.abs(heap[ref])].size) if (heap[ref] === Inode.$type) found.push(ref);
  return found;
}

/** Violations that remain after all has gone are leaks, too. */
function afterExit(machine: Machine, options: CheckOptions): { counts: Record<string, number>; violations: string[] } {
  const counts = remains(machine);
  return { counts, violations: checkMachine(options) };
}

export function start(scenario: Scenario, program: 'direct' | 'native'): { machine: Machine; p: Process } {
  const machine = new Machine({ ...scenario.machine, ramBytes: (scenario.megabytes ?? 8) * 2 ** 20, program });
  const p = machine.spawn();
  set(p.mm, Mm.startBrk, 0x60000000);
  set(p.mm, Mm.brk, 0x60000000);
  scenario.setup?.(p);
  machine.tlb.flushAll();
  machine.enter();
  return { machine, p };
}

/** Up to here every allocation fails once; of those that come later, where a call asks for very many, a sample. */
const ALL = process.env.PXD_NIGHTLY === '1' ? 64 : 12;

/** The next allocation to fail. */
const next = (n: number): number => (n < ALL ? n + 1 : Math.ceil(n * (1 + 4 / ALL)));

/** Up to here answers are looked at wherever an allocation fails. */
const ALL_ANSWERS = 48;

/**
 * Each failing allocation of a scenario, with a look at the answer alone; how many were tried. What `failEach` asks takes some ten times as long. `all`: also with
 * all allocations failing from one of the first on.
 */
export function answerEach(scenario: Scenario, all: boolean): number {
  const { machine, p } = start(scenario, 'direct');
  startJournal();
  try {
    const origin = journalMark();
    for (let n = 1, tried = 0; ; n = n > 0 && all && n <= 4 ? -n : n < 0 ? 1 - n : n < ALL_ANSWERS ? n + 1 : Math.ceil(n * 1.3), tried++) {
      set(globals, Globals.failAllocation, n);
      const result = scenario.run(p);
      const reached = get(globals, Globals.failAllocation) === (n > 0 ? 0 : -1);
      set(globals, Globals.failAllocation, 0);
      if (reached) answersAs(scenario, `${n > 0 ? 'allocation' : 'allocations from'} ${Math.abs(n)}: result ${result}`, result);
      undo(origin);
      machine.tlb.flushAll();
      if (!reached) return tried;
    }
  } finally {
    stopJournal();
  }
}

function answersAs(scenario: Scenario, what: string, result: number): void {
  if (result >= 0) return;
  expect([what, scenario.never === true]).toEqual([what, false]);
  expect([what, (scenario.errors ?? [ENOMEM]).includes(result)]).toEqual([what, true]);
}

/** Each failing allocation of a scenario; how many were tried. */
export function failEach(scenario: Scenario, program: 'direct' | 'native'): number {
  const { machine, p } = start(scenario, program);
  const leaks = scenario.losesPromised !== undefined;
  const options = { leaks, roots: scenario.held?.() ?? [] };
  expect(checkMachine(options)).toEqual([]);
  const before = visible(scenario.splits === true);
  const promised = get(globals, Globals.committed);
  const pooled = pools();
  startJournal();
  try {
    const origin = journalMark();
    const back = (): void => {
      undo(origin);
      machine.tlb.flushAll();
    };
    const unfailed = scenario.run(p);
    expect(unfailed).toBeGreaterThanOrEqual(0);
    const whole = afterExit(machine, options);
    expect(whole.violations).toEqual([]);
    back();
    const without = afterExit(machine, options);
    expect(without.violations).toEqual([]);
    back();
    // 1, −1, 2, −2 …
    let tried = 0;
    for (let n = 1; ; n = n > 0 ? -n : next(-n), tried++) {
      set(globals, Globals.failAllocation, n);
      const result = scenario.run(p);
      const reached = get(globals, Globals.failAllocation) === (n > 0 ? 0 : -1);
      set(globals, Globals.failAllocation, 0);
      const what = `${n > 0 ? 'allocation' : 'allocations from'} ${Math.abs(n)}: result ${result}`;
      if (!reached) {
        expect(result).toBe(unfailed);
        return tried;
      }
      expect([what, checkMachine(options)]).toEqual([what, []]);
      if (result < 0) {
        answersAs(scenario, what, result);
        if (!scenario.partial) {
          expect(`${what}\n${visible(scenario.splits === true)}`).toBe(`${what}\n${before}`);
          const unreserved = n < 0 && scenario.losesReserved === true ? pooled.reserved - pools().reserved : 0;
          expect([what, pools(), unreserved <= 1]).toEqual([what, { ...pooled, reserved: pooled.reserved - unreserved }, true]);
          const lost = get(globals, Globals.committed) - promised;
          expect([what, lost]).toEqual([what, lost === scenario.losesPromised ? lost : 0]);
        }
        // There is memory again: it works as if nothing had been.
        const again = scenario.run(p);
        expect([what, scenario.again?.includes(again) ?? again >= 0, again]).toEqual([what, true, again]);
        expect([what, checkMachine(options)]).toEqual([what, []]);
      }
      back();
      set(globals, Globals.failAllocation, n);
      scenario.run(p);
      set(globals, Globals.failAllocation, 0);
      const { counts, violations } = afterExit(machine, options);
      expect([what, violations]).toEqual([what, []]);
      for (const name of new Set([...Object.keys(whole.counts), ...Object.keys(counts)])) {
        const possible = [without.counts[name] ?? 0, whole.counts[name] ?? 0].sort((a, b) => a - b);
        if (name === 'freePages') possible[0] -= scenario.tables ?? 0;
        const count = counts[name] ?? 0;
        // A file may have come as far as its cache and not to its blocks, each with a tree of its own.
        const right = name === 'xaNode' || scenario.between || scenario.tables ? count >= possible[0] && count <= possible[1] : possible.includes(count);
        expect([what, name, count]).toEqual([what, name, right ? count : `one of ${possible.join(', ')}`]);
      }
      back();
    }
  } finally {
    stopJournal();
  }
}
