/**
 * The invariants of a machine at rest (I1 … I31 of the catalogue of races), recomputed from nothing but page tables, VMAs, lists and page caches.
 *
 * At rest: no task is inside a call, deferred work is done. Nothing is changed. For tests, fuzzing and the search of interleavings; kernel
 * code never asks.
 */
import { takeCensus } from './census.ts';
import { checkDirty } from './dirty.ts';
import { checkEntries } from './entries.ts';
import { Findings } from './findings.ts';
import { checkHugetlb } from './hugetlb.ts';
import { checkKhugepaged } from './khugepaged.ts';
import { checkObjects } from './objects.ts';
import { checkPages } from './pages.ts';
import { checkVmas } from './vmas.ts';

export interface CheckOptions {
  /** References to pages that somebody outside of the machine's memory holds on purpose (page → count). */
  readonly held?: ReadonlyMap<number, number>;
  /**
   * Linux itself does not give back everything that it counts: a stack without VM_ACCOUNT (read-only, MAP_NORESERVE) is charged as it grows, and
   * mremap(MREMAP_DONTUNMAP) of locked memory leaves it in locked_vm; pages of shared memory that MADV_PAGEOUT freed count as the file's until it
   * changes or somebody asks. Where histories do that, committed memory, locked_vm and those counts may be too large.
   */
  readonly leaks?: boolean;
  /** Objects that somebody outside of the machine's memory refers to. */
  readonly roots?: readonly number[];
}

/** What is wrong with the mounted machine: a sentence a violation, none when all holds. */
export function checkMachine(options: CheckOptions = {}): string[] {
  const found = new Findings();
  const census = takeCensus(found, options.held ?? new Map());
  // Later checks follow what the census found: when the heap itself cannot be read they would fall over.
  if (found.list.some((f) => f.startsWith('heap'))) return found.result;
  checkObjects(census, options.roots ?? [], found);
  checkVmas(census, options.leaks === true, found);
  const counted = checkEntries(census, found);
  checkPages(census, counted, counted.isTable, options.leaks === true, found);
  checkDirty(census, found);
  checkHugetlb(census, found);
  checkKhugepaged(census, found);
  return found.result;
}
