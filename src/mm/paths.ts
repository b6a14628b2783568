/**
 * The directories that paths lead through: a tree known beforehand, of which two have files and some can have a file system of huge pages mounted on them. Numbers are
 * states of a walk.
 */
import { INODE_DISK, INODE_TMPFS } from './file-types.ts';
import { nameText } from './inode.ts';
import type { NameRef } from './types.ts';

/** Directory of a tmpfs with files: /dev/shm/pxd. */
export const DIRECTORY_TMPFS = 3;
/** Directory of a disk with files: /var/tmp/pxd. */
export const DIRECTORY_DISK = 6;
/** Where hugetlbfs can be mounted: /dev/hugepages, /mnt/huge0, /mnt/huge1, /mnt/huge2. */
export const MOUNT_POINTS: readonly number[] = Object.freeze([7, 9, 10, 11]);
export const MOUNT_PATHS: readonly string[] = Object.freeze(['/dev/hugepages', '/mnt/huge0', '/mnt/huge1', '/mnt/huge2']);

/** By directory: names of the directories in it, and their numbers. */
const TREE: readonly Readonly<Record<string, number>>[] = [
  { dev: 1, var: 4, mnt: 8 },
  { shm: 2, hugepages: 7, '..': 0 },
  { pxd: DIRECTORY_TMPFS, '..': 1 },
  { '..': 2 },
  { tmp: 5, '..': 0 },
  { pxd: DIRECTORY_DISK, '..': 4 },
  { '..': 5 },
  { '..': 1 },
  { huge0: 9, huge1: 10, huge2: 11, '..': 0 },
  { '..': 8 },
  { '..': 8 },
  { '..': 8 },
];

/** The root. Relative paths start there as well. */
export const pathBegin = (): number => 0;

/** One component: the directory it leads to, or minus the directory (minus 1000 for the root) in which there is no such directory. */
export function pathStep(directory: number, name: NameRef): number {
  const text = nameText(name);
  if (text === '.') return directory;
  const next = TREE[directory][text];
  return next ?? (directory === 0 ? -1000 : -directory);
}

/** Kind of the inodes of a directory where nothing is mounted, 0 where there are no files. */
export const pathDirectory = (directory: number): number => (directory === DIRECTORY_TMPFS ? INODE_TMPFS : directory === DIRECTORY_DISK ? INODE_DISK : 0);
