/**
 * The order of locks as Linux declares it (the comments at the top of mm/rmap.c and mm/filemap.c): what is found against it needs no second run that does it
 * the other way round. Locks that stand in no list are learned (lockdep.ts).
 */

/** Classes from the outermost to the innermost: of all memory, and of hugetlb. */
const DECLARED: readonly (readonly string[])[] = [
  ['inode.lock', 'mm.mmapLock', 'inode.invalidateLock', 'folio', 'inode.iMmapLock', 'anonVma.rwsem', 'mm.pageTableLock', 'page table', 'inode.pagesLock'],
  ['faultMutex.mutex', 'hugetlbVmaLock.rwSema', 'inode.iMmapLock', 'hugetlb folio', 'page table'],
];

/** Whether a lock of class `wanted` must not be waited for under one of class `held`. */
export function isAgainstOrder(held: string, wanted: string): boolean {
  return DECLARED.some((order) => {
    const outer = order.indexOf(wanted);
    return outer >= 0 && order.indexOf(held) > outer;
  });
}
