/** fallocate() of shared memory (shmem_fallocate of mm/shmem.c). */
import type { Op } from '../kernel/op.ts';
import { folioUnlock, get, set, writeOnce } from '../kernel/ops.ts';
import { compoundPages } from '../memory/folio.ts';
import { pageIndex, pageShift } from '../memory/state.ts';
import { EFBIG, EOPNOTSUPP, EPERM } from './errno.ts';
import { F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_WRITE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from './file-types.ts';
import { SGP_FALLOC, shmemGetFolio, shmemRecalcInode, shmemTruncateRange } from './shmem.ts';
import { folioMarkDirty, folioPut } from './swap.ts';
import { truncateInodePagesRange, unmapHole } from './truncate.ts';
import { Inode, type InodeRef, type MmRef } from './types.ts';

/**
 * Punches a hole, or makes pages for a range, whose content stays unmade until somebody needs it. Needs the inode's lock; sizes
 * above `limit` are refused. 0, −EOPNOTSUPP,
 * −EPERM for a seal, −ENOMEM or −ENOSPC with nothing changed.
 */
export function* shmemFallocate(inode: InodeRef, mode: number, offset: number, length: number, limit: number, mm: MmRef): Op<number> {
  if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) !== 0) return -EOPNOTSUPP;
  const seals = get(inode, Inode.seals);
  const size = 2 ** pageShift;
  const to = offset + length;
  if ((mode & FALLOC_FL_PUNCH_HOLE) !== 0) {
    if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) return -EPERM;
    // Faults in the hole wait until it is made: else a busy mapping could keep its pages coming.
    set(inode, Inode.punchFirst, Math.ceil(offset / size));
    yield* writeOnce(inode, Inode.punchEnd, Math.floor(to / size));
    yield* unmapHole(inode, offset, to);
    yield* shmemTruncateRange(inode, offset, to);
    yield* writeOnce(inode, Inode.punchEnd, 0);
    set(inode, Inode.punchFirst, 0);
    return 0;
  }
  // The limit counts even where the size is kept.
  if (to > get(inode, Inode.size) && to > limit) return -EFBIG;
  if ((seals & F_SEAL_GROW) !== 0 && to > get(inode, Inode.size)) return -EPERM;
  const first = Math.floor(offset / size);
  const end = Math.ceil(to / size);
  const undo = get(inode, Inode.fallocEnd);
  if (undo < end) set(inode, Inode.fallocEnd, end);
  for (let index = first; index < end; ) {
    const page = yield* shmemGetFolio(inode, index, to, SGP_FALLOC, mm);
    if (page < 0) {
      set(inode, Inode.fallocEnd, undo);
      if (index > first) {
        yield* truncateInodePagesRange(inode, first * size, index * size, 1);
        yield* shmemRecalcInode(inode, 0, 0);
      }
      return page;
    }
    // A large one once: to be asked again would give it content, and nobody could tell that it is new.
    index = pageIndex[page] + compoundPages(page);
    // Dirty, so that memory pressure would swap it out and not drop it.
    yield* folioMarkDirty(page);
    yield* folioUnlock(page);
    yield* folioPut(page);
  }
  if ((mode & FALLOC_FL_KEEP_SIZE) === 0 && to > get(inode, Inode.size)) set(inode, Inode.size, to);
  return 0;
}
