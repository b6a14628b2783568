/** A process as one sees it from outside (/proc): its VMAs and pages copied out of the machine's memory. Looking changes nothing. */
import { spanPages } from '../kernel/arch.ts';
import { compoundOrder, pageFolio, precisePageMapcount, subPage, subPageIndex } from '../memory/folio.ts';
import { get } from '../memory/heap.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_DIRTY, PG_KSM, PG_MLOCKED, PG_REFERENCED, PG_SWAPBACKED, PG_SWAPCACHE, PG_UNEVICTABLE } from '../memory/page-flags.ts';
import { pageFlags, pageOfPfn, pageShift, pfnOfPage } from '../memory/state.ts';
import {
  INODE_DISK,
  INODE_HUGETLB,
  INODE_HUGETLB_ANON,
  INODE_HUGETLBFS,
  INODE_MEMFD,
  INODE_PIPE,
  INODE_SHARED_ANON,
  INODE_SYSV,
  INODE_TMPFS,
  kindIsHugetlb,
} from '../mm/file-types.ts';
import { globals } from '../mm/globals.ts';
import { thpEligible } from '../mm/huge-orders.ts';
import { isHugeZeroPmd } from '../mm/huge-zero.ts';
import { HugetlbSuper } from '../mm/hugetlb-types.ts';
import { forEachLeaf } from '../mm/leaves.ts';
import { MOUNT_PATHS, MOUNT_POINTS } from '../mm/paths.ts';
import { PTE_PAYLOAD, ptePfn, ptePresent } from '../mm/pgtable.ts';
import { File, Globals, Inode, MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, MM_SWAPENTS, Mm, Name, Process as ProcessStruct, Vma } from '../mm/types.ts';
import { VM_DROPPABLE, VM_HUGETLB, VM_SEALED, VMH_SYNC, VMH_UFFD_MINOR } from '../mm/vm-flags.ts';
import { firstVma } from '../mm/vma-tree.ts';
import { PTE_SPECIAL } from '../pagetable/canonical.ts';
import type { Machine } from './machine.ts';
import { type FileKind, type FileView, PAGE, type PageView, type ProcessView, type VmaView } from './proc/view.ts';
import { entryFlags, markerKind } from './view-entry.ts';
import { hstateOf, hugePagesOf, hugetlbLeaf } from './view-hugetlb.ts';

/** Flags of struct page → bits of a view. */
const FLAGS: readonly (readonly [flag: number, bit: number])[] = [
  [PG_ANON, PAGE.ANON],
  [PG_SWAPBACKED, PAGE.SWAPBACKED],
  [PG_DIRTY, PAGE.DIRTY],
  [PG_REFERENCED, PAGE.REFERENCED],
  [PG_ANON_EXCLUSIVE, PAGE.ANON_EXCLUSIVE],
  [PG_MLOCKED, PAGE.MLOCKED],
  [PG_UNEVICTABLE, PAGE.UNEVICTABLE],
  [PG_KSM, PAGE.KSM],
  [PG_SWAPCACHE, PAGE.SWAPCACHE],
];

const KINDS: Readonly<Record<number, FileKind>> = {
  [INODE_MEMFD]: 'memfd',
  [INODE_TMPFS]: 'tmpfs',
  [INODE_SHARED_ANON]: 'shared-anon',
  [INODE_SYSV]: 'sysv',
  [INODE_DISK]: 'disk',
  [INODE_HUGETLB]: 'memfd',
  [INODE_HUGETLB_ANON]: 'hugetlb-anon',
  [INODE_HUGETLBFS]: 'hugetlbfs',
};

/** Bytes of a name, six a slot, as text. */
export function nameText(ref: number): string {
  if (ref === 0) return '';
  let text = '';
  for (let i = 0; i < get(ref, Name.length); i++) text += String.fromCharCode(Math.floor(get(ref, Name.chars + Math.floor(i / 6)) / 256 ** (i % 6)) % 256);
  return text;
}

/** The path of an inode as /proc/PID/maps prints it. */
function pathOf(inode: number, name: string): string {
  const kind = get(inode, Inode.kind);
  const gone = get(inode, Inode.nlink) > 0 ? '' : ' (deleted)';
  if (kind === INODE_MEMFD || kind === INODE_HUGETLB) return `/memfd:${name} (deleted)`;
  if (kind === INODE_SHARED_ANON) return '/dev/zero (deleted)';
  if (kind === INODE_SYSV || kind === INODE_HUGETLB_ANON) return `/${name} (deleted)`;
  // What is mounted nowhere has paths from its own root on.
  if (kind === INODE_HUGETLBFS) return `${MOUNT_PATHS[MOUNT_POINTS.indexOf(get(get(inode, Inode.super), HugetlbSuper.directory))] ?? ''}/${name}${gone}`;
  return `${kind === INODE_TMPFS ? '/dev/shm/pxd/' : '/var/tmp/pxd/'}${name}${gone}`;
}

/** A file by its inode. */
export function inodeView(inode: number): FileView {
  const kind = get(inode, Inode.kind);
  const name = nameText(get(inode, Inode.name));
  const shmem = kind !== INODE_DISK;
  return {
    id: get(inode, Inode.number),
    kind: KINDS[kind] ?? 'other',
    path: pathOf(inode, name),
    major: shmem ? 0 : 8,
    minor: shmem ? 1 : 1,
    inode: get(inode, Inode.number),
    sizeBytes: get(inode, Inode.size),
    // Pages that were reclaimed are given back by the next one who asks (shmem_getattr).
    pages:
      shmem && !kindIsHugetlb(kind) ? Math.min(get(inode, Inode.alloced), get(inode, Inode.nrPages) + get(inode, Inode.swapped)) : get(inode, Inode.alloced),
    hugetlb: kindIsHugetlb(kind),
  };
}

/** The file behind a descriptor; undefined when it is closed or has no pages. */
export function fileView(process: number, descriptor: number): FileView | undefined {
  const file = get(process, ProcessStruct.files + descriptor);
  if (file === 0) return undefined;
  const inode = get(file, File.inode);
  return inode === 0 || get(inode, Inode.kind) === INODE_PIPE || KINDS[get(inode, Inode.kind)] === undefined ? undefined : inodeView(inode);
}

/** Linux's bits of a VMA's flags: some of ours stand elsewhere there. */
function linuxFlags(vma: number): number {
  const flags = get(vma, Vma.flags);
  const high = get(vma, Vma.highFlags);
  const moved = (has: number, bit: number): number => (has !== 0 ? 2 ** bit : 0);
  const low = (flags & ~(VM_SEALED | VM_DROPPABLE)) >>> 0;
  return low + moved(flags & VM_SEALED, 42) + moved(flags & VM_DROPPABLE, 40) + moved(high & VMH_SYNC, 23) + moved(high & VMH_UFFD_MINOR, 41);
}

const noPage = (vpn: number) => ({ vpn, key: 0, flags: 0, mapcount: 0, order: 0, index: 0 });

/** A page of a view: what an entry of a level maps there. */
function pageView(vpn: number, pte: number, level: number): PageView {
  if (!ptePresent(pte)) {
    const kind = markerKind(pte);
    return kind === undefined ? { ...noPage(vpn), kind: 'swap', key: ptePfn(pte) } : { ...noPage(vpn), kind };
  }
  const own = entryFlags(pte);
  if (isHugeZeroPmd(pte)) return { ...noPage(vpn), kind: 'huge-zero', flags: own };
  const page = level === 0 ? pageOfPfn(ptePfn(pte)) : subPage(pageOfPfn(ptePfn(pte)), vpn % spanPages(level));
  if ((pte & PTE_SPECIAL) !== 0 || page === get(globals, Globals.zeroPage)) return { ...noPage(vpn), kind: 'zero', flags: own };
  const folio = pageFolio(page);
  let flags = own;
  for (const [flag, bit] of FLAGS) if ((pageFlags[folio] & flag) !== 0) flags |= bit;
  const mapcount = precisePageMapcount(page);
  if (level > 0) {
    flags |= PAGE.PMD_MAPPED;
    // pagemap asks for the first page each time.
    if ((precisePageMapcount(folio) === 1) !== (mapcount === 1)) flags |= PAGE.EXCLUSIVE_DIFFERS;
  }
  return { vpn, kind: 'page', key: pfnOfPage(page), flags, mapcount, order: compoundOrder(page), index: subPageIndex(page) };
}

function vmaView(vma: number, pgd: number): VmaView {
  const start = get(vma, Vma.start);
  const end = get(vma, Vma.end);
  const file = get(vma, Vma.file);
  const huge = (get(vma, Vma.flags) & VM_HUGETLB) !== 0;
  const pages: PageView[] = [];
  const h = huge ? hstateOf(vma) : 0;
  forEachLeaf(pgd, start, end, (vpn, next, entry, level, at) => {
    if (huge) hugetlbLeaf(h, vpn, next, entry, at, pages);
    else for (let v = vpn; v < next; v++) pages.push(pageView(v, level === 0 ? entry + (v - vpn) * PTE_PAYLOAD : entry, level));
  });
  return {
    start,
    end,
    flags: linuxFlags(vma),
    pgoff: get(vma, Vma.pgoff),
    file: file === 0 ? undefined : inodeView(get(file, File.inode)),
    pages,
    pageBytes: huge ? hugePagesOf(h) * 2 ** pageShift : 2 ** pageShift,
    thpEligible: thpEligible(vma),
    shmemSwapped: 0,
  };
}

/** The state of a process. `number` is what it is called in the view. */
export function viewProcess(machine: Machine, process: number, number: number): ProcessView {
  machine.enter();
  const mm = get(process, ProcessStruct.mm);
  const vmas: VmaView[] = [];
  for (let vma = firstVma(mm); vma !== 0; vma = get(vma, Vma.next)) vmas.push(vmaView(vma, get(mm, Mm.pgd)));
  const rss = (member: number): number => get(mm, Mm.rss + member);
  return {
    process: number,
    pid: get(process, ProcessStruct.pid),
    pageBytes: machine.pageSize,
    pointerBytes: machine.codec.vaBits > 32 ? 8 : 4,
    vmas,
    counters: {
      totalVm: get(mm, Mm.totalVm),
      lockedVm: get(mm, Mm.lockedVm),
      pinnedVm: get(mm, Mm.pinnedVm),
      dataVm: get(mm, Mm.dataVm),
      stackVm: get(mm, Mm.stackVm),
      execVm: get(mm, Mm.execVm),
      rssAnon: rss(MM_ANONPAGES),
      rssFile: rss(MM_FILEPAGES),
      rssShmem: rss(MM_SHMEMPAGES),
      swapEntries: rss(MM_SWAPENTS),
      pageTableBytes: get(mm, Mm.pgtablesBytes),
      hugetlb: get(mm, Mm.hugetlbPages),
      highestVm: get(mm, Mm.hiwaterVm),
      highestRss: get(mm, Mm.hiwaterRss),
    },
    startBrk: BigInt(get(mm, Mm.startBrk)),
    brk: BigInt(get(mm, Mm.brk)),
    startStack: BigInt(get(mm, Mm.startStack)),
  };
}
