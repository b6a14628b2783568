/** Where user space ends, by paging mode, and how far below its mmap area begins. */
import type { PagingMode } from '../arch/mode.ts';

export interface UserLimits {
  /** TASK_SIZE, bytes. */
  readonly taskSize: bigint;
  /** From TASK_SIZE down to mmap_base with the default stack limit and no randomisation (bytes). */
  readonly stackGap: bigint;
}

/** MIN_GAP of mmap_base(): 128 MiB. */
const MIN_GAP = 128n << 20n;

export function userLimits(mode: PagingMode): UserLimits {
  const vaBits = BigInt(mode.vaBits);
  if (mode.name === 'x86-4level') return { taskSize: 0x7ffffffff000n, stackGap: MIN_GAP };
  return { taskSize: 1n << (vaBits - 1n), stackGap: MIN_GAP };
}
