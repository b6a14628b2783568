/**
 * PowerPC 8xx (MPC8xx, nohash 32-bit): two levels, base pages of 4K or 16K, larger pages of 16K, 512K and 8M.
 * Sources: Freescale MPC885 PowerQUICC Family Reference Manual, chapter 8 "Memory Management Unit" (level-one and level-two descriptors);
 * Linux arch/powerpc/include/asm/nohash/32/pte-8xx.h, hugetlb-8xx.h, arch/powerpc/mm/pgtable.c.
 *
 * Invariants: hardware always looks up both levels, so no first-level entry is a leaf. A larger page fills one cell for every 4K that it maps
 * (16K base pages: a PTE is four cells, of which the first is read); the cells agree in their attributes, and the address bits below the page size
 * mean nothing: Linux lets them rise from cell to cell. An 8M page takes two second-level tables, one for each of its first-level slots; before
 * Linux 6.11 (`-hugepd`) both slots point to one table that holds a single entry.
 */
import { linux8xx, swap8xx } from './linux/powerpc-8xx.ts';
import type { Allows, Fields, Form, Group, Level, PagingMode } from './mode.ts';
import { pgdRoot } from './powerpc-common.ts';

const M8 = 8 * 2 ** 20;
const A_AND_D = 'ACCESSED DIRTY';

const firstLevel: Fields = {
  P: '0 valid',
  WT: '1 write-through',
  PS: '3:2 page size: 0 4K or 16K, 1 512K, 3 8M',
  ACCESSED: '5 access protection group 1 (accessed)',
  USER: '6 access protection group 2 (user)',
};

const secondLevel = (pageShift: number): Fields => ({
  V: '0 valid',
  CI: '1 cache inhibit',
  SH: '2 shared page: no address space compare (kernel)',
  SPS: '3 small page size: 16K or larger',
  G: '4 guarded',
  ACCESSED: '5 accessed (software; becomes access protection group 1)',
  EXEC: '6 execute (software; becomes a protection bit of the instruction TLB)',
  SPECIAL: '7 special (software)',
  DIRTY: '8 changed',
  PP: '10:9 page protection: 0 read and write, 1 no access, 3 read only',
  HUGE: '11 512K or 8M (software; becomes a page size bit of the first level)',
  ...(pageShift > 12 ? { RPNL: `${pageShift - 1}:12 page number below the base page (ignored)` } : {}),
});

const allows: Allows = { read: 'PP!=1', write: 'PP=0', exec: 'EXEC', user: '!SH', dirty: 'DIRTY', accessed: 'ACCESSED', global: 'SH' };

const noneForm: Form = { kind: 'none', name: 'empty', when: '&0xffffffff=0' };

/** Entries of a second-level table whose leaves are of one shape. */
function cells(pageShift: number, name: string, more: { groups?: readonly Group[]; size?: number }): Form[] {
  const fields = secondLevel(pageShift);
  return [
    noneForm,
    { kind: 'leaf', name, when: 'V', fields, address: [[`31:${pageShift}`, pageShift]], allows, ...more },
    { kind: 'nonpresent', name: 'swap-type entry', when: '!V', fields: { V: fields.V } },
  ];
}

const table = (name: string, when: string, next: string, kind: 'table' | 'hugepd' = 'table'): Form => ({
  kind,
  name,
  when,
  fields: firstLevel,
  address: [['31:12', 12]],
  allows: { user: 'USER' },
  next,
});

function levels(pageShift: 12 | 14, hugepd: boolean): Level[] {
  const bits = 22 - pageShift;
  const shape = { entryBytes: 4, ...(pageShift > 12 ? { stride: 2 ** (pageShift - 10) } : {}) } as const;
  const pte = { name: 'pte', manual: 'level-two table', shift: pageShift, bits, ...shape, next: null };
  const half = (name: string, when: string, shift: number): Group => ({
    when,
    entries: 2 ** (shift - pageShift),
    address: 'ignore',
    mayDiffer: A_AND_D,
    ...(name === '8M' ? { size: M8 } : {}),
  });
  const base = `${2 ** (pageShift - 10)}K page`;
  const ordinary: Group[] = [...(pageShift === 12 ? [half('16K', 'SPS !HUGE', 14)] : []), half('512K', 'HUGE', 19)];
  return [
    {
      name: 'pgd',
      manual: 'level-one table',
      shift: 22,
      bits: 10,
      entryBytes: 4,
      forms: [
        noneForm,
        // Linux takes any page size in a first-level entry for 8M; it writes no other.
        hugepd ? table('8M huge page directory', '&0xc=0xc', 'hugepte-23', 'hugepd') : table('8M level-two table', 'P PS!=0', 'pte-8m'),
        table('level-two table', 'P', 'pte'),
      ],
    },
    { ...pte, forms: cells(pageShift, base, { groups: ordinary }) },
    hugepd
      ? { name: 'hugepte-23', manual: 'huge page directory', shift: 22, bits: 0, entryBytes: 4, next: null, forms: cells(pageShift, '8M page', { size: M8 }) }
      : { ...pte, name: 'pte-8m', manual: 'level-two table of an 8M page', forms: cells(pageShift, '8M page', { groups: [half('8M', '1', 22)] }) },
  ];
}

const mode = (pageShift: 12 | 14, hugepd: boolean): PagingMode => ({
  name: `ppc-8xx-${2 ** (pageShift - 10)}k${hugepd ? '-hugepd' : ''}`,
  family: 'powerpc',
  title: `PowerPC 8xx, ${2 ** (pageShift - 10)}K pages${hugepd ? ', 8M pages as huge page directories (until Linux 6.10)' : ''}`,
  sources: ['MPC885 Reference Manual, chapter 8', 'Linux arch/powerpc/include/asm/nohash/32/pte-8xx.h, hugetlb-8xx.h'],
  endian: 'big',
  pageShift,
  vaBits: 32,
  paBits: 32,
  levels: levels(pageShift, hugepd),
  roots: [
    pgdRoot(['pgd', 'm_twb'], {
      bits: 10,
      tableBytes: 4096,
      kernel: 0x80000000n,
      shift: 22,
      ignored: 0xfffn,
      doc: 'physical address of the level-one table, as M_TWB holds it; user space ends at TASK_SIZE 0x80000000',
    }),
  ],
  swap: swap8xx(pageShift),
  specials: { hwpoison: false, migration: true, device: false, marker: false },
  linux: linux8xx({ pageShift, hugepd }),
  elfMachines: [20],
});

export const ppc8xxModes: readonly PagingMode[] = [mode(12, false), mode(12, true), mode(14, false), mode(14, true)];
