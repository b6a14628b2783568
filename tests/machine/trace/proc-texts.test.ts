/** The form of /proc texts, against the running kernel's own, where there is one. What they say is tested with the recordings (snapshot.test.ts). */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Machine } from '../../../src/machine/machine.ts';
import { mapsLine } from '../../../src/machine/proc/maps.ts';
import { type Smaps, smapsBlock } from '../../../src/machine/proc/smaps.ts';
import { statusText } from '../../../src/machine/proc/status.ts';
import type { FileView, ProcessView, VmaView } from '../../../src/machine/proc/view.ts';
import { flagLetters, flagsFromLetters } from '../../../src/machine/proc/vm-bits.ts';
import { PxdError } from '../../../src/pagetable/error.ts';

const onLinux = existsSync('/proc/self/smaps');
if (!onLinux) console.log('skipped: no /proc/self/smaps here to compare the form of texts with');

/** Keys of `Smaps` by the labels of the kernel's lines. */
const LABELS: Readonly<Record<string, keyof Smaps>> = {
  Size: 'size',
  KernelPageSize: 'pageBytes',
  Rss: 'rss',
  Pss: 'pss',
  Pss_Dirty: 'pssDirty',
  Shared_Clean: 'sharedClean',
  Shared_Dirty: 'sharedDirty',
  Private_Clean: 'privateClean',
  Private_Dirty: 'privateDirty',
  Referenced: 'referenced',
  Anonymous: 'anonymous',
  KSM: 'ksm',
  LazyFree: 'lazyFree',
  AnonHugePages: 'anonHuge',
  ShmemPmdMapped: 'shmemPmdMapped',
  FilePmdMapped: 'filePmdMapped',
  Shared_Hugetlb: 'sharedHugetlb',
  Private_Hugetlb: 'privateHugetlb',
  Swap: 'swap',
  SwapPss: 'swapPss',
  Locked: 'locked',
};

const HEAD = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)$/;

const blocks = (): string[] => readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);

/** A VMA with what its line in maps tells. */
function vmaFrom(line: string): { vma: VmaView; process: ProcessView; name: string } {
  const [, start, end, perms, offset, major, minor, inode, name] = HEAD.exec(line) as RegExpExecArray;
  const file: FileView = {
    id: 1,
    kind: 'disk',
    path: name,
    major: Number.parseInt(major, 16),
    minor: Number.parseInt(minor, 16),
    inode: Number(inode),
    sizeBytes: 0,
    pages: 0,
    hugetlb: false,
  };
  const letters = [...['rd', 'wr', 'ex'].filter((_, i) => perms[i] !== '-'), ...(perms[3] === 's' ? ['ms'] : [])];
  const [first, last] = [Number(BigInt(`0x${start}`) / 4096n), Number(BigInt(`0x${end}`) / 4096n)];
  const vma: VmaView = {
    start: first,
    end: last,
    flags: flagsFromLetters(letters) as number,
    pgoff: Number.parseInt(offset, 16) / 4096,
    file: inode === '0' ? undefined : file,
    pages: [],
    pageBytes: 4096,
    thpEligible: false,
    shmemSwapped: 0,
  };
  const inside = BigInt(first) * 4096n + 16n;
  const process = {
    pageBytes: 4096,
    pointerBytes: 8,
    startBrk: name === '[heap]' ? inside : 2n ** 63n,
    brk: name === '[heap]' ? inside + 16n : 0n,
    startStack: name === '[stack]' ? inside : 2n ** 63n,
  } as unknown as ProcessView;
  return { vma, process, name };
}

describe.runIf(onLinux)('texts of /proc', () => {
  it('maps has the form of the running kernel', () => {
    let lines = 0;
    for (const block of blocks()) {
      const line = block.slice(0, block.indexOf('\n') + 1);
      const { vma, process, name } = vmaFrom(line.trimEnd());
      // Special mappings of the kernel have names that a machine has no use for.
      if (name.startsWith('[') && name !== '[heap]' && name !== '[stack]') continue;
      expect(mapsLine(process, vma)).toBe(line);
      lines++;
    }
    expect(lines).toBeGreaterThan(5);
  });

  it('smaps has the form of the running kernel, flags in its order', () => {
    let lines = 0;
    for (const block of blocks()) {
      const rows = block.split('\n').slice(1, -1);
      const sums = { thpEligible: rows.some((row) => /^THPeligible: +1$/.test(row)) } as Record<string, number | boolean>;
      for (const row of rows) {
        const found = /^(\w+): +(\d+) kB$/.exec(row);
        if (found && LABELS[found[1]]) sums[LABELS[found[1]]] = Number(found[2]) * 1024;
      }
      const letters = (/^VmFlags: (.*)$/m.exec(block) as RegExpExecArray)[1].trim().split(' ');
      // Protection keys are not modelled.
      const kernel = rows.filter((row) => !row.startsWith('ProtectionKey:'));
      const flags = flagsFromLetters(letters);
      // Flags of special mappings that have no letters of ours aside.
      const printed = flags === undefined ? letters : flagLetters(flags);
      expect(
        smapsBlock(sums as unknown as Smaps, printed)
          .split('\n')
          .slice(0, -1),
      ).toEqual(kernel);
      if (flags !== undefined) lines++;
    }
    expect(lines).toBeGreaterThan(5);
  });

  it('status has the lines of the running kernel in its form', () => {
    const kernel = readFileSync('/proc/self/status', 'utf8')
      .split('\n')
      .filter((line) => /^(Vm|Rss|Hugetlb)/.test(line));
    const kb = Object.fromEntries(kernel.map((line) => line.replace(' kB', '').split(/:\s+/)).map(([name, value]) => [name, Number(value)]));
    const text = statusText({
      pageBytes: 4096,
      counters: {
        totalVm: kb.VmSize / 4,
        lockedVm: kb.VmLck / 4,
        pinnedVm: kb.VmPin / 4,
        dataVm: kb.VmData / 4,
        stackVm: kb.VmStk / 4,
        execVm: (kb.VmExe + kb.VmLib) / 4,
        rssAnon: kb.RssAnon / 4,
        rssFile: kb.RssFile / 4,
        rssShmem: kb.RssShmem / 4,
        swapEntries: kb.VmSwap / 4,
        pageTableBytes: kb.VmPTE * 1024,
        hugetlb: kb.HugetlbPages / 4,
        highestVm: kb.VmPeak / 4,
        highestRss: kb.VmHWM / 4,
      },
    } as ProcessView).split('\n');
    // Text and libraries are one number with us.
    const comparable = (lines: readonly string[]): string[] =>
      lines.filter((line) => line !== '').map((line) => (/^Vm(Exe|Lib)/.test(line) ? line.slice(0, 7) : line));
    expect(comparable(text)).toEqual(comparable(kernel));
  });
});

describe('files of /proc and of settings, of a machine', () => {
  const MAPS = /^([0-9a-f]{8,})-([0-9a-f]{8,}) (r?-?w?-?x?-?[ps]) ([0-9a-f]{8,}) 00:00 0 *(\S*)$/;

  it.each(['x86-4level', 'arm64-64k-48', 's390x', 'ppc-8xx-4k'])('%s: in bytes of its pages', (mode) => {
    const machine = new Machine({ mode, ramBytes: 128 * 2 ** 20 });
    const p = machine.spawn();
    const size = machine.pageSize;
    const at = 0x10000000;
    expect(p.syscall('mmap', at, 3 * size, 3, 0x32, -1, 0)).toBe(at);
    p.store(BigInt(at + size), 4, 1n);
    const heap = p.syscall('brk', 0);
    expect(p.syscall('brk', heap + 2 * size)).toBe(heap + 2 * size);
    const lines = p.proc('maps').split('\n').slice(0, -1);
    const found = lines.map((line) => MAPS.exec(line)?.slice(1));
    expect(found).toContainEqual([at.toString(16).padStart(8, '0'), (at + 3 * size).toString(16).padStart(8, '0'), 'rw-p', '00000000', '']);
    expect(found.find((parts) => parts?.[4] === '[heap]')?.slice(0, 2)).toEqual([heap, heap + 2 * size].map((end) => end.toString(16).padStart(8, '0')));
    // seq_pad(): 25 + 6 × sizeof(void *) − 1 columns and a space.
    expect(lines.find((line) => line.endsWith('[heap]'))?.indexOf('[')).toBe(mode.startsWith('ppc') ? 49 : 73);
    const kb = size / 1024;
    expect(p.proc('smaps')).toContain(`Size:           ${String(3 * kb).padStart(8)} kB\nKernelPageSize: ${String(kb).padStart(8)} kB\n`);
    expect(p.proc('smaps')).toContain(`Rss:            ${String(kb).padStart(8)} kB\nPss:            ${String(kb).padStart(8)} kB\n`);
    expect(p.proc('numa_maps')).toContain(`${at.toString(16).padStart(8, '0')} default anon=1 dirty=1 `);
    expect(p.proc('status')).toMatch(new RegExp(`^RssAnon:\\t *${kb} kB$`, 'm'));
    p.exit();
    expect(() => p.proc('maps')).toThrow(PxdError);
  });

  it('what is written to settings counts from then on', () => {
    const machine = new Machine({ ramBytes: 64 * 2 ** 20 });
    const enabled = '/sys/kernel/mm/transparent_hugepage/enabled';
    expect(machine.setting(enabled)).toBe('never');
    machine.configure(enabled, 'always');
    const p = machine.spawn();
    expect(p.syscall('mmap', 2 ** 30, 2 ** 21, 3, 0x32, -1, 0)).toBe(2 ** 30);
    p.store(BigInt(2 ** 30), 4, 1n);
    expect(p.proc('smaps')).toContain('AnonHugePages:      2048 kB');
    machine.configure('/proc/sys/vm/nr_hugepages', 3);
    expect(machine.hugetlbMeminfo()).toContain('HugePages_Total:       3\n');
    machine.configure('/proc/sys/vm/overcommit_kbytes', 4096);
    expect(machine.setting('/proc/sys/vm/overcommit_ratio')).toBe('0');
    expect(() => machine.setting('/proc/sys/vm/swappiness')).toThrow('the machine has no file /proc/sys/vm/swappiness');
    expect(() => machine.configure(enabled, 'sometimes')).toThrow(PxdError);
    expect(() => machine.configure('/proc/sys/vm/max_map_count', 'many')).toThrow('takes a number, not "many"');
  });
});
