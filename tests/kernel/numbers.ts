/** Linux' numbers (x86-64) that operation lists use, by their names without prefixes where a table's name says it. */
export const PAGE = 4096;
export const PROT = { NONE: 0, READ: 1, WRITE: 2, EXEC: 4, SEM: 8, GROWSDOWN: 0x01000000, GROWSUP: 0x02000000 } as const;
export const MAP = {
  SHARED: 1,
  PRIVATE: 2,
  SHARED_VALIDATE: 3,
  DROPPABLE: 8,
  FIXED: 0x10,
  ANONYMOUS: 0x20,
  BIT32: 0x40,
  ABOVE4G: 0x80,
  GROWSDOWN: 0x100,
  DENYWRITE: 0x800,
  EXECUTABLE: 0x1000,
  LOCKED: 0x2000,
  NORESERVE: 0x4000,
  POPULATE: 0x8000,
  NONBLOCK: 0x10000,
  STACK: 0x20000,
  HUGETLB: 0x40000,
  SYNC: 0x80000,
  FIXED_NOREPLACE: 0x100000,
  UNINITIALIZED: 0x4000000,
} as const;
export const MREMAP = { MAYMOVE: 1, FIXED: 2, DONTUNMAP: 4 } as const;
export const MADV = {
  NORMAL: 0,
  RANDOM: 1,
  SEQUENTIAL: 2,
  WILLNEED: 3,
  DONTNEED: 4,
  FREE: 8,
  REMOVE: 9,
  DONTFORK: 10,
  DOFORK: 11,
  MERGEABLE: 12,
  UNMERGEABLE: 13,
  HUGEPAGE: 14,
  NOHUGEPAGE: 15,
  DONTDUMP: 16,
  DODUMP: 17,
  WIPEONFORK: 18,
  KEEPONFORK: 19,
  COLD: 20,
  PAGEOUT: 21,
  POPULATE_READ: 22,
  POPULATE_WRITE: 23,
  DONTNEED_LOCKED: 24,
  COLLAPSE: 25,
  GUARD_INSTALL: 102,
  GUARD_REMOVE: 103,
} as const;
export const MS = { ASYNC: 1, INVALIDATE: 2, SYNC: 4 } as const;
export const MCL = { CURRENT: 1, FUTURE: 2, ONFAULT: 4 } as const;
export const MFD = { CLOEXEC: 1, ALLOW_SEALING: 2, HUGETLB: 4, NOEXEC_SEAL: 8, EXEC: 16 } as const;
export const SEAL = { SEAL: 1, SHRINK: 2, GROW: 4, WRITE: 8, FUTURE_WRITE: 16, EXEC: 32 } as const;
export const F = { DUPFD: 0, GETFD: 1, GETFL: 3, ADD_SEALS: 1033, GET_SEALS: 1034 } as const;
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, COLLAPSE_RANGE: 8, ZERO_RANGE: 16, INSERT_RANGE: 32 } as const;
export const O = { RDONLY: 0, WRONLY: 1, RDWR: 2, CREAT: 0o100, TRUNC: 0o1000, APPEND: 0o2000, NONBLOCK: 0o4000 } as const;
export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;
export const RLIMIT = { FSIZE: 1, DATA: 2, STACK: 3, MEMLOCK: 8, AS: 9 } as const;
export const CAP = { IPC_LOCK: 14, SYS_RAWIO: 17, SYS_PTRACE: 19, SYS_ADMIN: 21, SYS_NICE: 23 } as const;
export const PR = { SET_MDWE: 65, GET_MDWE: 66, SET_THP_DISABLE: 41, GET_THP_DISABLE: 42, SET_VMA: 0x53564d41 } as const;
export const SHM = { RDONLY: 0o10000, RND: 0o20000, REMAP: 0o40000, EXEC: 0o100000 } as const;
export const IPC_CREAT = 0o1000;
/** Categories of PAGEMAP_SCAN. */
export const SCAN = { WPALLOWED: 1, WRITTEN: 2, FILE: 4, PRESENT: 8, SWAPPED: 16, PFNZERO: 32, HUGE: 64, SOFT_DIRTY: 128, GUARD: 256 } as const;
