/**
 * Names of the constants that operations take, by their values on x86-64.
 *
 * Source: include/uapi/asm-generic/mman-common.h and mman.h, linux/mman.h, memfd.h, fcntl.h, falloc.h, shm.h, fs.h (PAGEMAP_SCAN), prctl.h,
 * resource.h, capability.h, Linux 6.18.
 *
 * Invariants: a set of flags lists single bits, and an enumeration in its low bits where it has one (`MAP_PRIVATE`); names begin with the
 * set's prefix, which may be left out when they are written.
 */

export interface Constants {
  /** Beginning of the names that need not be written. */
  readonly prefix: string;
  /** Bits that are one number, not flags each. All of them: the set is an enumeration. */
  readonly choice: bigint;
  readonly names: readonly (readonly [name: string, value: bigint])[];
  /** What 0 is called, where that says more than `0`. */
  readonly zero?: string;
  /** All flags that there are, and what that is called. */
  readonly all?: readonly [name: string, value: bigint];
  /** Other words that people write. */
  readonly also?: Readonly<Record<string, bigint>>;
}

const ALL = 2n ** 64n - 1n;

/** `NAME value` pairs, by blanks. */
const table = (prefix: string, text: string): [string, bigint][] =>
  text
    .trim()
    .split(/\s+/)
    .map((pair) => pair.split('='))
    .map(([name, value]) => [prefix + name, BigInt(value)]);

const flags = (prefix: string, text: string, more: Partial<Constants> = {}): Constants => ({ prefix, choice: 0n, names: table(prefix, text), ...more });
const choice = (prefix: string, text: string): Constants => ({ prefix, choice: ALL, names: table(prefix, text) });

export const PROT = flags('PROT_', 'READ=1 WRITE=2 EXEC=4 SEM=8 GROWSDOWN=0x01000000 GROWSUP=0x02000000', { zero: 'PROT_NONE' });

export const MAP = flags(
  'MAP_',
  `SHARED=1 PRIVATE=2 SHARED_VALIDATE=3 DROPPABLE=8 FIXED=0x10 ANONYMOUS=0x20 32BIT=0x40 ABOVE4G=0x80 GROWSDOWN=0x100 DENYWRITE=0x800
   EXECUTABLE=0x1000 LOCKED=0x2000 NORESERVE=0x4000 POPULATE=0x8000 NONBLOCK=0x10000 STACK=0x20000 HUGETLB=0x40000 SYNC=0x80000
   FIXED_NOREPLACE=0x100000 UNINITIALIZED=0x4000000 HUGE_2MB=0x54000000 HUGE_1GB=0x78000000`,
  { choice: 0xfn, also: { anon: 0x20n, noreplace: 0x100000n } },
);

export const MREMAP = flags('MREMAP_', 'MAYMOVE=1 FIXED=2 DONTUNMAP=4');

export const MADV = choice(
  'MADV_',
  `NORMAL=0 RANDOM=1 SEQUENTIAL=2 WILLNEED=3 DONTNEED=4 FREE=8 REMOVE=9 DONTFORK=10 DOFORK=11 MERGEABLE=12 UNMERGEABLE=13 HUGEPAGE=14
   NOHUGEPAGE=15 DONTDUMP=16 DODUMP=17 WIPEONFORK=18 KEEPONFORK=19 COLD=20 PAGEOUT=21 POPULATE_READ=22 POPULATE_WRITE=23
   DONTNEED_LOCKED=24 COLLAPSE=25 HWPOISON=100 SOFT_OFFLINE=101 GUARD_INSTALL=102 GUARD_REMOVE=103`,
);

export const MS = flags('MS_', 'ASYNC=1 INVALIDATE=2 SYNC=4');
export const MLOCK = flags('MLOCK_', 'ONFAULT=1');
export const MCL = flags('MCL_', 'CURRENT=1 FUTURE=2 ONFAULT=4');
export const MFD = flags('MFD_', 'CLOEXEC=1 ALLOW_SEALING=2 HUGETLB=4 NOEXEC_SEAL=8 EXEC=16');
export const OPEN: Constants = {
  ...flags('O_', 'RDONLY=0 WRONLY=1 RDWR=2 CREAT=0x40 EXCL=0x80 TRUNC=0x200 APPEND=0x400 NONBLOCK=0x800 CLOEXEC=0x80000'),
  choice: 3n,
};
export const FALLOC = flags('FALLOC_FL_', 'KEEP_SIZE=1 PUNCH_HOLE=2 NO_HIDE_STALE=4 COLLAPSE_RANGE=8 ZERO_RANGE=16 INSERT_RANGE=32 UNSHARE_RANGE=64');
export const FCNTL = choice('F_', 'DUPFD=0 GETFD=1 SETFD=2 GETFL=3 SETFL=4 SETPIPE_SZ=1031 GETPIPE_SZ=1032 ADD_SEALS=1033 GET_SEALS=1034');
export const SEALS = flags('F_SEAL_', 'SEAL=1 SHRINK=2 GROW=4 WRITE=8 FUTURE_WRITE=16 EXEC=32');
export const SEEK = choice('SEEK_', 'SET=0 CUR=1 END=2 DATA=3 HOLE=4');
export const SHM = flags('SHM_', 'RDONLY=0x1000 RND=0x2000 REMAP=0x4000 EXEC=0x8000');
export const SPLICE = flags('SPLICE_F_', 'MOVE=1 NONBLOCK=2 MORE=4 GIFT=8');
export const RLIMIT = choice(
  'RLIMIT_',
  'CPU=0 FSIZE=1 DATA=2 STACK=3 CORE=4 RSS=5 NPROC=6 NOFILE=7 MEMLOCK=8 AS=9 LOCKS=10 SIGPENDING=11 MSGQUEUE=12 NICE=13 RTPRIO=14 RTTIME=15',
);
export const PR = choice(
  'PR_',
  `SET_MM=35 SET_THP_DISABLE=41 GET_THP_DISABLE=42 SET_MDWE=65 GET_MDWE=66 SET_MEMORY_MERGE=67 GET_MEMORY_MERGE=68 SET_VMA=0x53564d41`,
);
export const CAP = choice('CAP_', 'IPC_LOCK=14 SYS_PTRACE=19 SYS_ADMIN=21 SYS_NICE=23 SYS_RESOURCE=24');
export const SCAN = flags('PM_SCAN_', 'WP_MATCHING=1 CHECK_WPASYNC=2');
export const CATEGORY = flags('PAGE_IS_', 'WPALLOWED=1 WRITTEN=2 FILE=4 PRESENT=8 SWAPPED=16 PFNZERO=32 HUGE=64 SOFT_DIRTY=128 GUARD=256', {
  all: ['PAGE_IS_*', 0x1ffn],
  also: { all: 0x1ffn, '*': 0x1ffn },
});
export const CLEAR = choice('CLEAR_REFS_', 'ALL=1 ANON=2 MAPPED=3 SOFT_DIRTY=4 MM_HIWATER_RSS=5');
export const MPOL = choice('MPOL_', 'DEFAULT=0 PREFERRED=1 BIND=2 INTERLEAVE=3 LOCAL=4 PREFERRED_MANY=5 WEIGHTED_INTERLEAVE=6');

/** `MAP_PRIVATE|MAP_ANONYMOUS`; what has no name is a hexadecimal number at the end. */
export function constantText(set: Constants, value: bigint): string {
  if (value === 0n && set.zero !== undefined) return set.zero;
  if (set.all !== undefined && value === set.all[1]) return set.all[0];
  const parts: string[] = [];
  let left = value;
  if (set.choice !== 0n) {
    const chosen = set.names.find(([, v]) => (v & ~set.choice) === 0n && v === (value & set.choice));
    if (chosen !== undefined) {
      parts.push(chosen[0]);
      left &= ~set.choice;
    }
    if (set.choice === ALL) return parts[0] ?? numberText(value);
  }
  // Names of several bits first: MAP_HUGE_2MB is a number, not three flags.
  const bits = (v: bigint): number => v.toString(2).replaceAll('0', '').length;
  const taken = set.names.filter(([, v]) => v !== 0n && (v & set.choice) === 0n).sort((a, b) => bits(b[1]) - bits(a[1]));
  const found: [string, bigint][] = [];
  for (const [name, v] of taken) {
    if ((left & v) !== v) continue;
    if (bits(v) > 1 && (left & HUGE_MASK) !== (v & HUGE_MASK)) continue;
    found.push([name, v]);
    left &= ~v;
  }
  found.sort((a, b) => (a[1] < b[1] ? -1 : 1));
  parts.push(...found.map(([name]) => name));
  if (left !== 0n || parts.length === 0) parts.push(numberText(left));
  return parts.join('|');
}

/** Bits of mmap's flags that hold the logarithm of the huge page size. */
const HUGE_MASK = 0x3fn << 26n;

const numberText = (value: bigint): string => (value < 10n ? value.toString() : `0x${value.toString(16)}`);

/** The number that words joined by `|` stand for: names with or without their prefix, numbers; undefined where one is neither. */
export function constantFrom(set: Constants, text: string): bigint | undefined {
  let value = 0n;
  for (const word of text.split('|')) {
    const one = wordFrom(set, word.trim());
    if (one === undefined) return undefined;
    value |= one;
  }
  return value;
}

function wordFrom(set: Constants, word: string): bigint | undefined {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(word)) return BigInt(word);
  const upper = word.toUpperCase();
  if (set.all !== undefined && upper === set.all[0]) return set.all[1];
  const known = set.names.find(([name]) => name === upper || name === set.prefix + upper);
  if (known !== undefined) return known[1];
  if (set.zero !== undefined && (upper === set.zero || set.prefix + upper === set.zero)) return 0n;
  if (set === PROT && /^[rwx-]+$/i.test(word)) return rights(word.toLowerCase());
  return set.also?.[word.toLowerCase()];
}

const rights = (word: string): bigint => (word.includes('r') ? 1n : 0n) | (word.includes('w') ? 2n : 0n) | (word.includes('x') ? 4n : 0n);
