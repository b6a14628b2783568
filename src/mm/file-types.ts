/** Numbers that files, page caches and their system calls share (include/linux/fs.h, include/uapi/linux/{fcntl,falloc,memfd,shm}.h). */

// Kinds of inodes. The first four live in shared memory (mm/shmem.c).
export const INODE_MEMFD = 1;
export const INODE_TMPFS = 2;
/** MAP_SHARED | MAP_ANONYMOUS. */
export const INODE_SHARED_ANON = 3;
export const INODE_SYSV = 4;
/** A regular file of a disk's file system with blocks of a page (ext4). */
export const INODE_DISK = 5;
export const INODE_PIPE = 6;
/** A process (pidfd_open). */
export const INODE_PIDFD = 7;
/** hugetlbfs: memfd_create(MFD_HUGETLB), and the file behind MAP_HUGETLB. */
export const INODE_HUGETLB = 8;
export const INODE_HUGETLB_ANON = 9;
/** A file of a hugetlbfs that is mounted. */
export const INODE_HUGETLBFS = 10;

/** Secret memory (memfd_secret). Its number stands between those of the others, so that ranges of kinds stay what they are. */
export const INODE_SECRETMEM = 6.5;
/** A userfaultfd, likewise. */
export const INODE_UFFD = 6.75;

/** Whether the pages of an inode are shared memory. */
export const kindIsShmem = (kind: number): boolean => kind <= INODE_SYSV;
/** Whether an inode is a regular file. */
export const kindIsRegular = (kind: number): boolean => kind <= INODE_DISK || kind >= INODE_HUGETLB;
/** is_file_hugepages: whether the pages of an inode are huge pages of a pool. */
export const kindIsHugetlb = (kind: number): boolean => kind >= INODE_HUGETLB;
/** Whether an inode can have seals (memfd_file_seals_ptr). */
export const kindHasSeals = (kind: number): boolean => kind <= INODE_SYSV || kind >= INODE_HUGETLB;

// File modes (our own numbering above the first two).
export const FMODE_READ = 1;
export const FMODE_WRITE = 2;
export const FMODE_LSEEK = 4;
export const FMODE_PREAD = 8;
export const FMODE_PWRITE = 16;

// What may be asked of open() and comes back from F_GETFL.
export const O_ACCMODE = 3;
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DSYNC = 0o10000;
export const O_DIRECT = 0o40000;
export const O_LARGEFILE = 0o100000;
export const O_DIRECTORY = 0o200000;
export const O_NOFOLLOW = 0o400000;
export const O_NOATIME = 0o1000000;
export const O_CLOEXEC = 0o2000000;
/** Flags of open() that do not stay with the file. */
export const O_CREATION_FLAGS = O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC | 0o400;
/** What F_SETFL may change. */
export const SETFL_MASK = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;

export const F_DUPFD = 0;
export const F_GETFD = 1;
export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_DUPFD_CLOEXEC = 1030;
export const F_SETPIPE_SZ = 1031;
export const F_GETPIPE_SZ = 1032;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;

export const F_SEAL_SEAL = 1;
export const F_SEAL_SHRINK = 2;
export const F_SEAL_GROW = 4;
export const F_SEAL_WRITE = 8;
export const F_SEAL_FUTURE_WRITE = 16;
export const F_SEAL_EXEC = 32;
export const F_ALL_SEALS = 63;

export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;
export const MFD_HUGETLB = 4;
export const MFD_NOEXEC_SEAL = 8;
export const MFD_EXEC = 16;
export const MFD_ALL_FLAGS = 31;

export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_COLLAPSE_RANGE = 8;
export const FALLOC_FL_ZERO_RANGE = 16;
export const FALLOC_FL_INSERT_RANGE = 32;
export const FALLOC_FL_UNSHARE_RANGE = 64;
export const FALLOC_FL_WRITE_ZEROES = 128;
/** Modes of which at most one may be given. */
export const FALLOC_FL_MODE_MASK =
  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE | FALLOC_FL_WRITE_ZEROES;

export const SEEK_SET = 0;
export const SEEK_CUR = 1;
export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** First number that is negative as a loff_t. */
export const LOFF_LIMIT = 2 ** 63;
/** Largest size of a file in shared memory (MAX_LFS_FILESIZE on 64 bits), as near as a double comes. */
export const MAX_LFS_FILESIZE = 2 ** 63;
/** Largest size of a file of ext4 with extents and blocks of 4 KiB. */
export const EXT4_MAX_BYTES = 0xffffffff * 4096;

/** Fields of Inode.extents: what stands at a block that is no hole. */
export const BLOCK_DATA = 1;
/** Allocated by fallocate() and never written (an unwritten extent). */
export const BLOCK_UNWRITTEN = 2;

/** Buffers of pipes: more may be appended to the page / the page is a user's (vmsplice). */
export const PIPE_BUF_FLAG_CAN_MERGE = 0x10;
export const PIPE_BUF_FLAG_PACKET = 0x08;
/** The page was given away (SPLICE_F_GIFT). */
export const PIPE_BUF_FLAG_GIFT = 0x04;
export const PIPE_DEF_BUFFERS = 16;
