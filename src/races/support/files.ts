/** What several entries do with files. */
import { get } from '../../memory/heap.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from '../../mm/file-types.ts';
import { File, Process } from '../../mm/types.ts';

/** Mode of fallocate() that takes pages out of a file. */
export const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

/** The inode that a process (its reference) has open by a descriptor. */
export const inodeOf = (process: number, fd: number): number => get(get(process, Process.files + fd), File.inode);
