/**
 * What the guards mean that structs of the mm name (mm/types.ts), as include/linux/mm_types.h and the VMA lock design tell it.
 *
 * An object that no other task can reach is its maker's: a VMA that is not attached (vm_refcnt 0), an address space whose process is not linked yet.
 */
import { defineGuard } from '../../kernel/guards.ts';
import { HELD_READ, HELD_VMA, HELD_WRITE, holds } from '../../kernel/lockdep.ts';
import { running, Task } from '../../kernel/task.ts';
import { get } from '../../memory/heap.ts';
import { heap } from '../../memory/state.ts';
import { AnonVma, File, Inode, Mm, Process, Vma } from '../types.ts';

/** An mm that is being made or taken apart: its process does not lead to it, and nobody else has it from former times. */
function isPrivate(mm: number): boolean {
  const process = get(mm, Mm.process);
  return process === 0 || (get(process, Process.mm) !== mm && get(mm, Mm.users) <= 1);
}

const mmapHeld = (mm: number): boolean => holds(mm + Mm.mmapLock, HELD_READ, HELD_WRITE);
const mmapWritten = (mm: number): boolean => holds(mm + Mm.mmapLock, HELD_WRITE);

/** One of the locks under which rmap reaches a VMA. */
function rmapHeld(vma: number): boolean {
  const file = get(vma, Vma.file);
  if (file !== 0 && holds(get(file, File.inode) + Inode.iMmapLock, HELD_READ, HELD_WRITE)) return true;
  const anonVma = get(vma, Vma.anonVma);
  if (anonVma !== 0 && holds(get(anonVma, AnonVma.root) + AnonVma.rwsem, HELD_READ, HELD_WRITE)) return true;
  return false;
}

const detached = (vma: number): boolean => get(vma, Vma.refcnt) === 0;

/** What munmap() takes off its accounts after it has downgraded the lock: no other writer can have come in since (vms_complete_munmap_vmas). */
const ACCOUNTS: readonly number[] = [Mm.totalVm, Mm.dataVm, Mm.execVm, Mm.stackVm];
/** Read without lock where a value that is about to change does no harm: fork copies the struct before it locks anything (dup_mm), mremap() looks whether there are too many VMAs, limits are guesses. */
const READ_BY_ALL: readonly number[] = [Mm.brk, Mm.defFlags, Mm.mapCount, Mm.totalVm];

/** Sizes and counts of an address space. */
defineGuard('mmapWrite', {
  needs: 'the mmap lock (for writing, to write)',
  mayRead: (mm, field) => mmapHeld(mm) || READ_BY_ALL.includes(field) || isPrivate(mm),
  mayWrite: (mm, field) => mmapWritten(mm) || (ACCOUNTS.includes(field) && mmapHeld(mm)) || isPrivate(mm),
});

/** Range and flags of a VMA: read under any lock that keeps it, written under the mmap lock with the VMA's own lock for writing. */
defineGuard('vmaWrite', {
  needs: 'the mmap lock, the lock of the VMA or of its rmap (the first two for writing, to write)',
  mayRead: (vma) =>
    detached(vma) || holds(vma, HELD_VMA) || mmapHeld(get(vma, Vma.mm)) || rmapHeld(vma) || heap[running + Task.rcuDepth] > 0 || isPrivate(get(vma, Vma.mm)),
  mayWrite: (vma) =>
    detached(vma) || isPrivate(get(vma, Vma.mm)) || (mmapWritten(get(vma, Vma.mm)) && get(vma, Vma.lockSeq) === get(get(vma, Vma.mm), Mm.lockSeq)),
});
