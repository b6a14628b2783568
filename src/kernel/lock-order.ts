/**
 * The order of locks as Linux declares it (the comments at the top of mm/rmap.c and mm/filemap.c): what is found against it needs no second run that does it
 * the other way round. Locks that stand in no list are learned (lockdep.ts).
 */

/** Classes from the outermost to the innermost. */
const DECLARED: readonly string[] = [
  'inode.lock',
  'mm.mmapLock',
  'inode.invalidateLock',
  'folio',
  'inode.iMmapLock',
  'anonVma.rwsem',
  'mm.pageTableLock',
  'page table',
  'inode.pagesLock',
];

/** Whether a lock of class `wanted` must not be waited for under one of class `held`. */
export function isAgainstOrder(held: string, wanted: string): boolean {
  const inner = DECLARED.indexOf(held);
  const outer = DECLARED.indexOf(wanted);
  return outer >= 0 && inner > outer;
}
