/**
 * What page tables hold against what VMAs and pages say: I2, I8, I10, I11, I12, I13, I30 and the mapcount of I1.
 */
import { codec, contMask, spanPages, tablePages, topLevel } from '../../kernel/arch.ts';
import {
  compoundOrder,
  compoundPages,
  folioEntireMapcount,
  folioMapcount,
  folioPagesMapped,
  folioTestLarge,
  pageFolio,
  subPageIndex,
} from '../../memory/folio.ts';
import { get } from '../../memory/heap.ts';
import { PG_ANON, PG_ANON_EXCLUSIVE, PG_DIRTY, PG_HUGETLB, PG_HWPOISON, PG_SWAPBACKED, PG_TABLE } from '../../memory/page-flags.ts';
import {
  knownPageOfPfn,
  pageFlags,
  pageIndex,
  pageMapcount,
  pageMapping,
  pageNext,
  pageOfPfn,
  pagePincount,
  pagePrivate,
  pageRefcount,
  pageShift,
  pagesEnd,
  pfnOfPage,
} from '../../memory/state.ts';
import { PTE_ACCESSED, PTE_DIRTY, PTE_EXEC, PTE_GROUP, PTE_PROTNONE, PTE_READ, PTE_WRITE } from '../../pagetable/canonical.ts';
import { kindIsShmem } from '../file-types.ts';
import { pageCachePage } from '../filemap.ts';
import { globals } from '../globals.ts';
import { isHwpoisonEntry, isMigrationEntry, pfnSwapEntryPage } from '../migration-entry.ts';
import { isGuardPte, isSwapPte, PTE_PAYLOAD, pteClear, pteMarker, ptePfn, ptePresent } from '../pgtable.ts';
import { Avc, File, Globals, Inode, MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, MM_SWAPENTS, Mm, Vma } from '../types.ts';
import { VM_ACCESS_FLAGS, VM_EXEC, VM_HUGETLB, VM_SHARED, VM_WRITE } from '../vm-flags.ts';
import { VMOPS_DISK } from '../vm-ops-types.ts';
import { accountedBytes, type Census, type Entry, type Space, tableFrames } from './census.ts';
import { type Findings, hex } from './findings.ts';

/** Bits of access that an entry of a VMA may have at most. Modes that cannot withhold execution give it with reading. */
function allowedBits(flags: number): number {
  if ((flags & VM_ACCESS_FLAGS) === 0) return 0;
  let bits = PTE_READ;
  if ((flags & VM_WRITE) !== 0) bits |= PTE_WRITE;
  if ((flags & VM_EXEC) !== 0) bits |= PTE_EXEC;
  return bits;
}

/** Whether the mode can make a readable page not executable. */
function canWithholdExec(): boolean {
  codec.encode(0, PTE_READ | 1);
  return (codec.decode(0, codec.lo, codec.hi) & PTE_EXEC) === 0;
}

class EntryCheck {
  readonly mapcount = new Int32Array(pagesEnd());
  /** By head: entries that map the whole folio. */
  readonly entire = new Map<number, number>();
  readonly #found: Findings;
  readonly #zero = get(globals, Globals.zeroPage);
  readonly #hugeZero = get(globals, Globals.hugeZeroFolio) || -1;
  readonly #exec: boolean;

  constructor(found: Findings) {
    this.#found = found;
    this.#exec = canWithholdExec();
  }

  /** One address space: each entry with the VMA that it lies in, and rss. */
  space({ mm, vmas, entries }: Space): void {
    const rss = [0, 0, 0, 0];
    let at = 0;
    this.#runs(mm, entries);
    for (const entry of entries) {
      while (at < vmas.length && get(vmas[at], Vma.end) <= entry.vpn) at++;
      const vma = vmas[at];
      if (vma === undefined || entry.vpn < get(vma, Vma.start)) {
        this.#found.add('I11', `mm ${mm}: entry ${hex(entry.pte)} at vpn ${hex(entry.vpn)} is in no VMA`);
        if (ptePresent(entry.pte)) this.#count(entry);
        continue;
      }
      if (ptePresent(entry.pte)) this.#present(mm, vma, entry, rss);
      else this.#absent(mm, entry, rss);
    }
    for (const [member, name] of [
      [MM_FILEPAGES, 'file'],
      [MM_ANONPAGES, 'anon'],
      [MM_SWAPENTS, 'swap'],
      [MM_SHMEMPAGES, 'shmem'],
    ] as const)
      this.#found.equal('I12', `mm ${mm}: rss of ${name} pages`, get(mm, Mm.rss + member), rss[member]);
  }

  /** I11c: contiguous runs of large folios are whole, aligned, of one folio, and have the same rights throughout. */
  #runs(mm: number, entries: readonly Entry[]): void {
    if (contMask === 0) return;
    const used = PTE_ACCESSED | PTE_DIRTY;
    let first: Entry | undefined;
    let next = 0;
    const end = (): void => {
      if (next !== 0) this.#found.add('I11', `mm ${mm}: the contiguous run at vpn ${hex(first?.vpn ?? 0)} has ${next} of ${contMask + 1} entries`);
      next = 0;
    };
    for (const entry of entries) {
      const { vpn, pte, level } = entry;
      const part = vpn & contMask;
      if (first === undefined || part !== next || (next > 0 && vpn !== first.vpn + next)) end();
      if (level !== 0 || (pte & PTE_GROUP) === 0 || (pageFlags[pageFolio(this.#pageOf(pte))] & PG_HUGETLB) !== 0) {
        end();
        continue;
      }
      const page = this.#pageOf(pte);
      if (part === 0) first = entry;
      if (first === undefined || part !== next)
        this.#found.add('I11', `mm ${mm}: entry ${hex(pte)} at vpn ${hex(vpn)} is of a contiguous run that is not there`);
      else if (
        pteClear(pte, used) !== pteClear(first.pte, used) + part * PTE_PAYLOAD ||
        pageFolio(page) !== pageFolio(this.#pageOf(first.pte)) ||
        !ptePresent(pte)
      )
        this.#found.add('I11', `mm ${mm}: entry ${hex(pte)} at vpn ${hex(vpn)} is not as the first of its run, ${hex(first.pte)}`);
      else if (part === 0 && (ptePfn(pte) & contMask) !== 0) this.#found.add('I11', `mm ${mm}: the run at vpn ${hex(vpn)} maps no aligned block`);
      next = part === contMask ? 0 : part + 1;
    }
    end();
  }

  #pageOf(pte: number): number {
    return pageOfPfn(ptePfn(pte));
  }

  #count({ pte, level }: Entry): void {
    const page = this.#pageOf(pte);
    // Of a group of entries of hugetlb the first maps the whole; those of other large folios count for themselves.
    if ((pte & PTE_GROUP) !== 0 && (pageFlags[pageFolio(page)] & PG_HUGETLB) !== 0) {
      if (pageFolio(page) === page) this.entire.set(page, (this.entire.get(page) ?? 0) + 1);
    } else if (level > 0) this.entire.set(page, (this.entire.get(page) ?? 0) + 1);
    else if (page !== this.#zero) this.mapcount[page]++;
  }

  #absent(mm: number, { vpn, pte, level }: Entry, rss: number[]): void {
    if (!isSwapPte(pte)) this.#found.add('I11', `mm ${mm}: entry ${hex(pte)} at vpn ${hex(vpn)} is neither present nor software's`);
    else if (isMigrationEntry(pte))
      this.#found.add('I11', `mm ${mm}: the entry ${hex(pte)} at vpn ${hex(vpn)} waits for page ${pfnSwapEntryPage(pte)} to move, which nobody moves`);
    else if (isHwpoisonEntry(pte)) {
      // A page of hugetlb that was nobody's else is small pages by now, one of which is poisoned.
      if (level === 0 && (pageFlags[pfnSwapEntryPage(pte)] & PG_HWPOISON) === 0)
        this.#found.add('I11', `mm ${mm}: the entry ${hex(pte)} at vpn ${hex(vpn)} says that page ${pfnSwapEntryPage(pte)} is poisoned, which it is not`);
    } else if (pteMarker(pte) === 0) rss[MM_SWAPENTS]++;
    else if (isGuardPte(pte) && pteMarker(pte) !== 4)
      this.#found.add('I11', `mm ${mm}: the marker ${hex(pte)} at vpn ${hex(vpn)} is a guard and something else`);
  }

  #present(mm: number, vma: number, entry: Entry, rss: number[]): void {
    const { vpn, pte, level } = entry;
    const where = `mm ${mm}, vpn ${hex(vpn)}, entry ${hex(pte)}`;
    const flags = get(vma, Vma.flags);
    const given = (pte & PTE_PROTNONE) !== 0 ? 0 : pte & (PTE_READ | PTE_WRITE | (this.#exec ? PTE_EXEC : 0));
    if ((given & ~allowedBits(flags)) !== 0) this.#found.add('I11', `${where}: allows more than its VMA (${hex(flags >>> 0)})`);
    if (level > 0 && (pte & PTE_GROUP) === 0 && vpn + spanPages(level) > get(vma, Vma.end))
      this.#found.add('I11', `${where}: reaches beyond the end of its VMA, ${hex(get(vma, Vma.end))}`);
    const page = this.#pageOf(pte);
    if (page === this.#zero || page === this.#hugeZero) {
      if ((pte & (PTE_WRITE | PTE_DIRTY)) !== 0) this.#found.add('I30', `${where}: the zero page may be written or is dirty`);
      return;
    }
    this.#count(entry);
    const folio = pageFolio(page);
    const pflags = pageFlags[folio];
    if (level > 0 && (pte & PTE_GROUP) === 0 && 2 ** compoundOrder(page) !== spanPages(level))
      this.#found.add('I11', `${where}: maps a folio of order ${compoundOrder(page)} as a whole`);
    if ((get(vma, Vma.flags) & VM_HUGETLB) !== 0) return;
    rss[(pflags & PG_ANON) !== 0 ? MM_ANONPAGES : (pflags & PG_SWAPBACKED) !== 0 ? MM_SHMEMPAGES : MM_FILEPAGES] += spanPages(level);
    if (pageRefcount[folio] === 0) this.#found.add('I1', `${where}: maps page ${page}, which is free`);
    if ((pflags & PG_TABLE) !== 0) this.#found.add('I2', `${where}: maps page ${page}, which is a page table`);
    if ((pflags & PG_ANON) !== 0) this.#anon(where, vma, entry, page);
    else this.#file(where, vma, entry, page);
  }

  /** I8, and that rmap finds the mapping. */
  #anon(where: string, vma: number, { vpn, pte }: Entry, page: number): void {
    if ((get(vma, Vma.flags) & VM_SHARED) !== 0) this.#found.add('I10', `${where}: a shared mapping holds an anonymous page`);
    if ((pte & PTE_WRITE) !== 0 && (pageFlags[page] & PG_ANON_EXCLUSIVE) === 0)
      this.#found.add('I8', `${where}: may write anonymous page ${page}, which is not exclusive`);
    const index = get(vma, Vma.pgoff) + vpn - get(vma, Vma.start);
    const folio = pageFolio(page);
    const own = pageIndex[folio] + subPageIndex(page);
    if (own !== index) this.#found.add('I19', `${where}: page ${page} has index ${hex(own)}, its VMA maps it at ${hex(index)}`);
    const anonVma = pageMapping[folio];
    for (let avc = get(vma, Vma.avcs); avc !== 0; avc = get(avc, Avc.next)) if (get(avc, Avc.anonVma) === anonVma) return;
    this.#found.add('I19', `${where}: page ${page} belongs to anon_vma ${anonVma}, to which its VMA does not chain`);
  }

  /** I10: the page cache's page at that offset. */
  #file(where: string, vma: number, { vpn, pte }: Entry, page: number): void {
    const file = get(vma, Vma.file);
    if (file === 0) {
      this.#found.add('I10', `${where}: page ${page} of a file in an anonymous VMA`);
      return;
    }
    const inode = get(file, File.inode);
    const index = get(vma, Vma.pgoff) + vpn - get(vma, Vma.start);
    const cached = pageCachePage(inode, index);
    if (cached !== page) this.#found.add('I10', `${where}: maps page ${page}, the cache of inode ${inode} has ${cached} at ${hex(index)}`);
    // A large folio of shared memory may reach over the end, and is mapped with what lies there.
    const begin = kindIsShmem(get(inode, Inode.kind)) ? index - subPageIndex(page) : index;
    if (begin * 2 ** pageShift >= get(inode, Inode.size)) this.#found.add('I10', `${where}: maps page ${hex(index)} beyond the end of inode ${inode}`);
    if ((pte & PTE_WRITE) === 0) return;
    if ((get(vma, Vma.flags) & VM_SHARED) === 0) this.#found.add('I10', `${where}: a private mapping may write page ${page} of the cache`);
    if (get(vma, Vma.ops) === VMOPS_DISK && (pageFlags[pageFolio(page)] & PG_DIRTY) === 0)
      this.#found.add('I11', `${where}: may write page ${page}, which is clean and whose file wants to hear of that`);
  }

  /** I1 of a large folio: what it counts of its pages, and of itself as a whole. */
  #folio(folio: number, whole: number): void {
    let sum = whole;
    let mapped = 0;
    for (let i = 0; i < compoundPages(folio); i++) {
      const page = knownPageOfPfn(pfnOfPage(folio) + i);
      const count = page === 0 ? 0 : this.mapcount[page];
      sum += count;
      if (count > 0) mapped++;
    }
    if (sum === 0 && folioMapcount(folio) === 0) return;
    this.#found.equal('I1', `folio ${folio}: mappings of the whole`, folioEntireMapcount(folio), whole);
    this.#found.equal('I1', `folio ${folio}: large mapcount`, folioMapcount(folio), sum);
    this.#found.equal('I1', `folio ${folio}: pages that are mapped`, folioPagesMapped(folio), mapped);
  }

  /** I1 and I8 of every page. */
  pages(): void {
    for (let page = 0; page < this.mapcount.length; page++) {
      if (pageMapcount[page] !== this.mapcount[page]) this.#found.equal('I1', `page ${page}: mapcount`, pageMapcount[page], this.mapcount[page]);
      const flags = pageFlags[page];
      const pinned = pagePincount[page] > 0;
      const whole = this.entire.get(pageFolio(page)) ?? 0;
      if (folioTestLarge(page)) this.#folio(page, whole);
      if ((flags & PG_ANON_EXCLUSIVE) !== 0) {
        if ((pageFlags[pageFolio(page)] & PG_ANON) === 0) this.#found.add('I8', `page ${page} is exclusive, but not anonymous`);
        if (this.mapcount[page] + whole > 1) this.#found.add('I8', `page ${page} is exclusive and mapped ${this.mapcount[page] + whole} times`);
      } else if (pinned && !folioTestLarge(page) && (flags & PG_ANON) !== 0 && this.mapcount[page] > 0)
        this.#found.add('I8', `anonymous page ${page} is pinned, but not exclusive`);
    }
  }
}

/** I2 and I13: tables have one parent each, belong to VMAs, and are counted. */
function checkTables(census: Census, found: Findings): Uint8Array {
  const isTable = new Uint8Array(pagesEnd());
  const kernel = census.kernel?.mm;
  for (const { mm, vmas, tables } of census.kernel ? [...census.spaces, census.kernel] : census.spaces) {
    let bytes = 0;
    for (const table of tables) {
      const { page, level, vpn } = table;
      bytes += accountedBytes(level);
      // pt_share_count of a table of hugetlb.
      const others = level === 1 ? pageIndex[page] : 0;
      if (census.tableOwners[page] !== 1 + others)
        found.add('I2', `mm ${mm}: ${census.tableOwners[page]} entries point to the table ${page} of level ${level}`);
      if ((pageFlags[page] & PG_TABLE) === 0) found.add('I2', `mm ${mm}: page ${page} is used as a table of level ${level}, but is not marked as one`);
      if (pagePrivate[page] !== 0) found.add('lock', `the lock of table ${page} of mm ${mm} is held by task ${pagePrivate[page] - 1}`);
      found.equal('I2', `table ${page} of mm ${mm}: references`, pageRefcount[page], 1);
      for (const frame of tableFrames(table)) isTable[frame] = 1;
      // Tables in reserve for huge entries.
      if (level === 1)
        for (let kept = pageNext[page]; kept !== 0; kept = pageNext[kept]) {
          isTable[kept] = 1;
          bytes += accountedBytes(0);
        }
      if (mm !== kernel && level < topLevel && !vmas.some((vma) => get(vma, Vma.start) < vpn + tablePages(level) && get(vma, Vma.end) > vpn))
        found.add('I2', `mm ${mm}: the table ${page} of level ${level} at vpn ${hex(vpn)} serves no VMA`);
    }
    found.equal('I13', `mm ${mm}: bytes of page tables`, get(mm, Mm.pgtablesBytes), bytes);
  }
  for (let page = 0; page < isTable.length; page++)
    if ((pageFlags[page] & PG_TABLE) !== 0 && isTable[page] === 0) found.add('I2', `page ${page} is a page table that no address space reaches`);
  return isTable;
}

/** Checks entries; what it counted is for the checks of pages. */
export function checkEntries(census: Census, found: Findings): { mapcount: Int32Array; entire: ReadonlyMap<number, number>; isTable: Uint8Array } {
  const isTable = checkTables(census, found);
  const check = new EntryCheck(found);
  for (const space of census.spaces) check.space(space);
  check.pages();
  return { mapcount: check.mapcount, entire: check.entire, isTable };
}
