/**
 * What a list can do: each action adds one operation or a few to a draft. Groups differ in how often they do what (generate.ts).
 */
import { type Argument, type Draft, HEAP, LOW, MEMLOCK_HARD, type Num, TASK_SIZE, TOP } from './draft.ts';
import { HUGE_ACTIONS } from './huge-actions.ts';
import { CAP, F, FALLOC, IPC_CREAT, MADV, MAP, MFD, MREMAP, MS, O, PAGE, PR, PROT, RLIMIT, SCAN, SEAL, SEEK, SHM } from './numbers.ts';

type Act = (d: Draft) => void;

// ---- accesses ----
const touch: Act = (d) => {
  const { r } = d;
  const [a, n] = [d.place(0.9), r.weighted([1, 6], [2, 3], [3, 2], [r.between(1, 9), 2])];
  const kind = r.weighted(['w', 11], ['r', 9], ['cas', 0.7], ['x', 0.8]);
  if (kind === 'w' || kind === 'cas') d.emit(kind, a, n, r.between(1, 255));
  else if (kind === 'r') d.emit('r', a, n);
  else d.emit('x', a - (a % PAGE), r.between(1, 2));
};

/** Eight bytes, mostly across the border of two pages. */
const edge: Act = (d) => {
  const a = d.address() + (d.r.chance(0.8) ? PAGE - d.r.between(1, 7) : d.r.below(PAGE - 8));
  if (d.r.chance(0.5)) d.emit('r8', a);
  else d.emit('w8', a, BigInt(d.r.bits()) * 2n ** 31n + 1n);
};

// ---- mappings ----
const oddFlags = (d: Draft, mayGrow: boolean): number =>
  d.r.weighted<number>(
    [0, 24],
    [MAP.NORESERVE, 1.2],
    [MAP.POPULATE, 2],
    [MAP.POPULATE | MAP.NONBLOCK, 0.4],
    [mayGrow ? MAP.GROWSDOWN : 0, 0.8],
    [MAP.STACK, 0.3],
    [d.roomy ? 0 : MAP.LOCKED, 0.6],
    [MAP.DENYWRITE | MAP.EXECUTABLE, 0.2],
    [d.r.pick([MAP.SYNC, MAP.UNINITIALIZED, 0x200000, 0x800000]), 0.3],
  );

/** mmap at start, or wherever Linux likes. */
const newMapping = (d: Draft, start: Num, bytes: Num, ...rest: readonly Num[]): void => {
  const anywhere = d.r.chance(0.06);
  d.emitRange('mmap', anywhere ? 0 : start, bytes, ...rest);
  if (!d.reachesExecutor(start, bytes)) d.believe(anywhere ? TOP - Number(bytes) : start, bytes, true);
};

const map: Act = (d) => {
  const { r } = d;
  const [start, bytes] = d.asked(10, 0.05, 0.5);
  const kind = r.weighted<number>([MAP.PRIVATE, 10], [MAP.SHARED, 3], [MAP.SHARED_VALIDATE, 0.2], [0, 0.1], [7, 0.05]);
  const flags = MAP.ANONYMOUS | kind | d.placement() | oddFlags(d, kind === MAP.PRIVATE);
  newMapping(d, start, bytes, d.protection(), flags, r.chance(0.97) ? -1 : d.fd(), r.chance(0.97) ? 0 : PAGE * r.between(0, 9));
};

const mapFile: Act = (d) => {
  const { r } = d;
  const [start, bytes] = d.asked(10, 0.05, 0.5);
  const kind = r.weighted<number>([MAP.SHARED, 10], [MAP.PRIVATE, 7], [MAP.SHARED_VALIDATE, 2], [MAP.DROPPABLE, 0.1]);
  const page = PAGE * r.between(0, 9);
  const offset = r.weighted<Num>(
    [page, 30],
    [page + r.between(1, PAGE - 1), 0.4],
    [2n ** 63n - BigInt(PAGE * r.between(0, 3)), 0.3],
    [-PAGE, 0.2],
    [2 ** 43 + PAGE, 0.2],
  );
  newMapping(d, start, bytes, d.protection(), kind | d.placement() | oddFlags(d, false), d.fd(), offset);
};

const droppable: Act = (d) => {
  const { start, bytes } = d.range();
  const { FIXED, POPULATE, NORESERVE } = MAP;
  const flags = MAP.DROPPABLE | MAP.ANONYMOUS | d.r.pick([FIXED, FIXED, FIXED, 0, FIXED | POPULATE, FIXED | NORESERVE]);
  newMapping(d, start, bytes, d.r.pick([3, 3, 1]), flags, -1, 0);
  d.emit('w', start, d.r.between(1, 3), 7);
};

/** A mapping that grows downwards, and an access below it. */
const stack: Act = (d) => {
  const { r } = d;
  const { start, bytes } = d.range(6);
  newMapping(d, start, bytes, r.pick([3, 3, 3, 1, 0]), MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED | MAP.GROWSDOWN, -1, 0);
  const below = start - PAGE * r.weighted([1, 5], [2, 3], [r.between(1, 8), 3], [r.pick([255, 256, 257, 2047, 2048]), 1]);
  if (below < PAGE) return;
  if (r.chance(0.7)) d.emit('w', below + r.pick([0, 0, PAGE - 1, 8]), r.between(1, 2), r.between(1, 99));
  else d.emit('r', below, r.between(1, 3));
  d.note(below, start - below);
};

const unmap: Act = (d) => {
  const [start, bytes] = d.asked(6);
  d.emitRange('munmap', start, bytes);
  d.believe(start, bytes, false);
};

const protect: Act = (d) => {
  const grows = d.r.weighted<number>([0, 40], [PROT.GROWSDOWN, 1.2], [PROT.GROWSUP, 0.3], [PROT.GROWSDOWN | PROT.GROWSUP, 0.1]);
  d.emitRange('mprotect', ...d.asked(12), d.protection() | grows);
};

const remap: Act = (d) => {
  const { r } = d;
  const [start, old] = d.asked(10, 0.04);
  const { start: to } = d.range(10, 0.4);
  const { MAYMOVE, FIXED, DONTUNMAP } = MREMAP;
  const resized = (by: number): Num => (typeof old === 'number' && old > 0 ? Math.max(PAGE, old + by * PAGE) : old);
  const move = (bytes: Num, flags: number, target: number): void => {
    if (d.reachesExecutor(target, bytes)) return;
    d.emitRange('mremap', start, old, bytes, flags, target);
    d.note(target, bytes);
    if ((flags & DONTUNMAP) === 0) d.believe(start, old, false);
    d.believe(target, bytes, true);
  };
  switch (r.weighted(['shrink', 2], ['grow', 1], ['resize', 2], ['move', 3], ['keep', 2], ['copy', 1], ['odd', 1])) {
    case 'shrink':
      return d.emitRange('mremap', start, old, resized(-r.between(0, 3)), 0, 0);
    case 'grow':
      return d.emitRange('mremap', start, old, resized(r.between(0, 4)), 0, 0);
    case 'resize':
      return d.emitRange('mremap', start, old, resized(r.between(-1, 5)), MAYMOVE, 0);
    case 'move':
      return move(r.chance(0.65) ? old : resized(r.between(-2, 3)), MAYMOVE | FIXED, to);
    case 'keep':
      return move(r.chance(0.95) ? old : resized(1), MAYMOVE | DONTUNMAP | (r.chance(0.6) ? FIXED : 0), to);
    case 'copy':
      return d.reachesExecutor(to, resized(0)) ? undefined : d.emitRange('mremap', start, 0, resized(0), MAYMOVE | (r.chance(0.3) ? FIXED : 0), to);
    case 'odd':
      return move(resized(r.between(-1, 1)), r.pick([2, 4, 6, 8, 3 | 8, 16]), to + r.pick([0, 0, 1, 2048]));
  }
};

const heap: Act = (d) => {
  const { r } = d;
  const page = HEAP + PAGE * r.below(8);
  if (r.chance(0.25)) return d.emit('w', page, r.between(1, 4), r.between(1, 99));
  if (r.chance(0.2)) return d.emit('r', page, r.between(1, 3));
  const far = d.roomy ? HEAP + 2 ** 31 : HEAP;
  d.believe(HEAP, page - HEAP, true);
  d.emit('brk', r.weighted<Num>([page, 10], [page + r.between(1, PAGE - 1), 3], [HEAP - PAGE, 0.3], [0, 0.4], [2n ** 47n, 0.2], [-1, 0.2], [far, 0.2]));
};

/** No collapse to huge pages, no KSM at work, no poison: what needs these comes with their own groups. */
const advice = (d: Draft): number =>
  d.r.weighted<number>(
    [MADV.DONTNEED, 5],
    [MADV.FREE, 4],
    [MADV.POPULATE_READ, 3],
    [MADV.POPULATE_WRITE, 3],
    [MADV.GUARD_INSTALL, 3],
    [MADV.GUARD_REMOVE, 2],
    [MADV.REMOVE, 2],
    [MADV.WIPEONFORK, 1.5],
    [MADV.DONTFORK, 1.2],
    [MADV.PAGEOUT, 1],
    [d.r.pick(Object.values(MADV)), 9],
    [d.r.pick([5, 6, 7, 26, 99, 104, -1]), 0.4],
  );

const advise: Act = (d) => d.emitRange('madvise', ...d.asked(12, 0.04), advice(d));

const incore: Act = (d) => {
  const [start, bytes] = d.asked(12, 0.08);
  if (bytes <= 2 ** 20) d.emit('mincore', start, bytes);
};

const sync: Act = (d) => {
  const { ASYNC, INVALIDATE, SYNC } = MS;
  d.emit('msync', ...d.asked(12, 0.08), d.r.pick([SYNC, SYNC, ASYNC, INVALIDATE, SYNC | INVALIDATE, SYNC | ASYNC, 0, 8]));
};

const lock: Act = (d) => {
  const { r } = d;
  if (d.roomy) return;
  const kind = r.weighted(['mlock', 14], ['munlock', 10], ['mlock2', 8], ['mlockall', 3], ['munlockall', 2]);
  if (kind === 'mlockall') d.emit(kind, r.weighted([1, 2], [2, 2], [3, 2], [5, 2], [6, 2], [7, 2], [4, 1], [0, 1], [8, 0.3]));
  else if (kind === 'munlockall') d.emit(kind);
  else if (kind === 'mlock2') d.emitRange(kind, ...d.asked(12), r.pick([0, 1, 1, 1, 2]));
  else d.emitRange(kind, ...d.asked(12));
};

const nonlinear: Act = (d) => d.emit('remap_file_pages', ...d.asked(), d.r.chance(0.95) ? 0 : 1, d.r.between(0, 9), d.r.pick([0, 0, 0, MAP.NONBLOCK, 1]));

/** Beyond the ordinary areas mostly: what is sealed stays for the rest of the list. */
const mseal: Act = (d) => {
  const [start, bytes] = d.asked(4, 0.06);
  const far = d.r.chance(0.75) && typeof start === 'number' ? LOW + 16 * PAGE + (start % (12 * PAGE)) : start;
  d.emitRange('mseal', far, bytes, d.r.chance(0.95) ? 0 : 1);
};

// ---- processes ----
const leave: Act = (d) => {
  if (d.processes.length < 2) return;
  if (d.r.chance(0.75)) d.emit('exit', d.r.below(3));
  else d.emit('kill');
  d.left();
};

const fork =
  (most: number): Act =>
  (d) => {
    if (d.processes.length >= most || d.made >= 40) return leave(d);
    d.emit('fork');
    d.forked();
  };

const someProcess = (d: Draft): number => (d.r.chance(0.97) ? d.r.pick(d.processes) : d.r.below(d.made + 1));

const adviseOther: Act = (d) => {
  const { r } = d;
  const { COLD, PAGEOUT, WILLNEED, DONTNEED, FREE, GUARD_INSTALL, GUARD_REMOVE, POPULATE_READ, DONTFORK, COLLAPSE } = MADV;
  const ranges = Array.from({ length: r.weighted([1, 5], [2, 3], [3, 2], [0, 0.2]) }, () => d.asked(10, 0.04));
  const kind = r.pick([COLD, PAGEOUT, WILLNEED, DONTNEED, DONTNEED, FREE, FREE, GUARD_INSTALL, GUARD_REMOVE, POPULATE_READ, DONTFORK, COLLAPSE, 77]);
  d.emit('process_madvise', someProcess(d), ranges, kind, r.chance(0.97) ? 0 : 1);
};

const overlaps = ([a, m]: readonly [Num, Num], [b, n]: readonly [Num, Num]): boolean => Number(a) < Number(b) + Number(n) && Number(b) < Number(a) + Number(m);

const copy: Act = (d) => {
  const { r } = d;
  const lengths = [1, 8, 100, PAGE, PAGE, 2 * PAGE, 3 * PAGE, 5000];
  const vectors = (): Argument[] =>
    Array.from({ length: r.weighted([1, 5], [2, 3], [3, 1], [0, 0.1]) }, () => [d.place(0.75), r.weighted([r.pick(lengths), 20], [0, 0.4], [-1, 0.2])]);
  const [local, remote] = [vectors(), vectors()];
  // What a copy of memory onto itself leaves is the processor's affair, not the kernel's.
  const overlap = local.some((l) => remote.some((m) => overlaps(l as [Num, Num], m as [Num, Num])));
  if (!overlap) d.emit(r.pick(['process_vm_readv', 'process_vm_writev']), someProcess(d), local, remote, r.chance(0.98) ? 0 : 1);
};

const splice: Act = (d) => {
  const { r } = d;
  if (d.pipe === undefined) return;
  if (r.chance(0.5)) return d.emit('readbuf', d.pipe[0], r.pick([1, 100, PAGE, 2 * PAGE]));
  const vectors = Array.from({ length: r.between(1, 2) }, () => [d.place(0.85), r.pick([100, PAGE, 2 * PAGE])]);
  d.emit('vmsplice', d.pipe[1], vectors, 2); // never waits
};

/** By the tracer: /proc/PID/mem, PTRACE_PEEKDATA, PTRACE_POKEDATA. */
const outside: Act = (d) => {
  const { r } = d;
  const [a, n] = [d.place(0.5), r.pick([1, 4, 100, PAGE, 2 * PAGE, 5000])];
  const kind = r.weighted(['pm_read', 4], ['pm_write', 6], ['peek', 1], ['poke', 1.5]);
  if (kind === 'pm_read') d.emit(kind, a, n);
  else if (kind === 'pm_write') d.emit(kind, a, n, r.between(1, 255));
  else if (kind === 'peek') d.emit(kind, a);
  else d.emit(kind, a, r.bits());
};

const scan: Act = (d) => {
  const { r } = d;
  const start = d.address();
  const { PRESENT, FILE, PFNZERO, GUARD, SWAPPED, WRITTEN, WPALLOWED, HUGE, SOFT_DIRTY } = SCAN;
  const bits = [0, 0, PRESENT, FILE, PFNZERO, GUARD, SWAPPED, WRITTEN, PRESENT | FILE, WPALLOWED, HUGE, SOFT_DIRTY];
  const end = start + PAGE * r.between(0, 24) + (r.chance(0.97) ? 0 : 100);
  const flags = r.weighted([0, 20], [1, 0.5], [2, 1], [3, 0.5], [4, 0.3]);
  const returned = r.pick([0x1ff, 0x1ff, PRESENT, PRESENT | FILE | GUARD, 0, 0x3ff]);
  d.emit(
    'pagemap_scan',
    start,
    end,
    flags,
    r.pick([0, 0, 0, 1, 3]),
    r.pick(bits),
    r.pick(bits),
    r.pick(bits),
    returned,
    ...(r.chance(0.8) ? [] : [r.pick([0, 1, 2, 3])]),
  );
};

const clear: Act = (d) => {
  d.noref = true;
  d.emit('clear_refs', d.r.pick([1, 1, 2, 3, 5, 4, 0, 6]));
};

/** Calls that only tell what this kernel is. */
const curious: Act = (d) => {
  const call = d.r.pick(['process_mrelease', 'membarrier', 'map_shadow_stack']);
  if (call === 'process_mrelease') d.emit(call, someProcess(d), d.r.pick([0, 1]));
  else if (call === 'membarrier') d.emit(call, 0, 0, 0);
  else d.emit(call, 0, PAGE, 0);
};

// ---- limits ----
const limit: Act = (d) => {
  const { r } = d;
  const set = (resource: number, soft: number, hard = -1): void => d.emit('setrlimit', resource, soft, hard);
  switch (r.weighted(['AS', 3], ['DATA', 3], ['STACK', 2], ['MEMLOCK', d.roomy ? 0.2 : 3], ['FSIZE', 1], ['capability', 1])) {
    case 'AS': // the executor's 17 pages count here and in DATA
      return set(RLIMIT.AS, PAGE * (17 + r.between(10, 60)));
    case 'DATA':
      return set(RLIMIT.DATA, PAGE * (17 + r.between(5, 40)));
    case 'STACK':
      return set(RLIMIT.STACK, PAGE * r.pick([2, 4, 16, 64]));
    case 'FSIZE':
      return set(RLIMIT.FSIZE, PAGE * r.between(1, 8) + r.pick([0, 0, 100]));
    case 'MEMLOCK':
      d.emit('capdrop', CAP.IPC_LOCK);
      return set(RLIMIT.MEMLOCK, PAGE * r.pick([0, 2, 4, 10, 16, 40]) + r.pick([0, 0, 100]), r.pick([MEMLOCK_HARD, MEMLOCK_HARD, PAGE * 64, -1]));
    case 'capability':
      return d.emit('capdrop', r.weighted<number>([CAP.IPC_LOCK, 5], [CAP.SYS_NICE, 1], [CAP.SYS_PTRACE, 1], [CAP.SYS_RAWIO, 1], [CAP.SYS_ADMIN, 0.5]));
  }
};

const control: Act = (d) => {
  const { r } = d;
  const calls = [
    [PR.SET_MDWE, r.pick([0, 1, 1, 2, 3])] as const,
    [PR.GET_MDWE, 0] as const,
    [PR.SET_THP_DISABLE, r.pick([0, 1])] as const,
    [PR.GET_THP_DISABLE, 0] as const,
  ];
  d.emit('prctl', ...r.pick([...calls, [PR.SET_VMA, 0] as const]), 0, 0, 0);
};

// ---- files ----
export function memfd(d: Draft, bytes: number): void {
  const { ALLOW_SEALING, CLOEXEC, NOEXEC_SEAL, EXEC } = MFD;
  d.emit('memfd_create', `f${d.files++}`, d.r.weighted<number>([0, 4], [ALLOW_SEALING, 4], [CLOEXEC, 0.5], [NOEXEC_SEAL, 0.5], [EXEC | ALLOW_SEALING, 0.5]));
  d.emit('ftruncate', d.opened(), bytes);
}

export function tmpfs(d: Draft): void {
  const name = `T/${d.r.pick(['a', 'b'])}`;
  d.emit('open', name, d.r.weighted<number>([O.RDWR | O.CREAT, 8], [O.RDWR | O.CREAT | O.TRUNC, 1], [O.WRONLY | O.CREAT, 0.5]));
  d.opened();
  if (!d.r.chance(0.3)) return;
  d.emit('open', name, O.RDONLY);
  d.opened();
}

const descriptor: Act = (d) => {
  const { r } = d;
  switch (r.weighted(['memfd', 4], ['close', 2], ['dup', 1.5], ['tmpfs', 1.5], ['unlink', 0.5], ['bad', 0.7])) {
    case 'memfd':
      return memfd(d, r.pick([0, 0, 1, 5, 9]) * PAGE + r.pick([0, 0, 100]));
    case 'tmpfs':
      return tmpfs(d);
    case 'unlink':
      return d.emit('unlink', `T/${r.pick(['a', 'b'])}`);
    case 'bad':
      return d.emit('memfd_create', 'f', r.pick([32, 0x40000000, MFD.EXEC | MFD.NOEXEC_SEAL, 0x80]));
    case 'dup': {
      const fd = d.fd();
      if (r.chance(0.5)) d.emit('dup', fd);
      else d.emit('fcntl', fd, F.DUPFD, 0);
      if (d.descriptors.has(fd)) d.opened();
      return;
    }
    case 'close': {
      if (d.descriptors.size <= 2) return;
      const fd = d.fd();
      d.emit('close', fd);
      d.descriptors.delete(fd);
    }
  }
};

const truncate: Act = (d) => {
  const { r } = d;
  const page = PAGE * r.between(0, 13);
  d.emit('ftruncate', d.fd(), r.weighted<Num>([page, 10], [page + r.pick([1, 100, PAGE / 2, PAGE - 1]), 5], [2 ** 40, 0.2], [2 ** 52 - 1, 0.2], [-1, 0.3]));
};

/** Never long: what is allocated is present. */
const allocate: Act = (d) => {
  const { r } = d;
  const mode = r.weighted<number>([FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 7], [0, 4], [FALLOC.KEEP_SIZE, 2.5], [r.pick([2, 8, 16, 32, 64, 128, 3 | 16]), 0.8]);
  const offset = PAGE * r.between(0, 11) + (r.chance(0.8) ? 0 : r.pick([1, 100, 2000, PAGE - 1]));
  const bytes = PAGE * r.between(1, 5) + (r.chance(0.8) ? 0 : r.pick([1, -1, -50, 50]));
  const bad: [Num, Num][] = [
    [-PAGE, bytes],
    [offset, 0],
    [offset, -PAGE],
    [2n ** 63n - 8192n, 4 * PAGE],
  ];
  d.emit('fallocate', d.fd(), mode, ...(r.chance(0.96) ? [offset, bytes] : r.pick(bad)));
};

const transfer: Act = (d) => {
  const { r } = d;
  const fd = d.fd();
  const at = PAGE * r.between(0, 10) + r.pick([0, 0, 0, 10, PAGE - 4]);
  const n = r.pick([1, 100, PAGE, 2 * PAGE, 3 * PAGE, PAGE + 7]);
  const kind = r.weighted(['pwritebuf', 7], ['preadbuf', 3.5], ['writebuf', 1], ['readbuf', 0.7], ['pread64', 1.5], ['pwrite64', 1.5], ['fsync', 0.3]);
  if (kind === 'pwritebuf') d.emit(kind, fd, r.between(1, 255), n, at);
  else if (kind === 'preadbuf') d.emit(kind, fd, n, at);
  else if (kind === 'writebuf') d.emit(kind, fd, r.between(1, 255), n);
  else if (kind === 'readbuf') d.emit(kind, fd, n);
  else if (kind === 'fsync') d.emit(kind, fd);
  else d.emit(kind, fd, d.place(0.85), r.pick([100, PAGE, 2 * PAGE + 5]), at);
};

const seek: Act = (d) => {
  const { SET, CUR, END, DATA, HOLE } = SEEK;
  const to = PAGE * d.r.between(0, 9) + (d.r.chance(0.8) ? 0 : 100);
  d.emit('lseek', d.fd(), d.r.chance(0.9) ? to : d.r.pick([-1, -PAGE, 2 ** 40]), d.r.pick([DATA, HOLE, DATA, HOLE, SET, END, CUR, 7]));
};

const seals: Act = (d) => {
  const { SHRINK, GROW, WRITE, FUTURE_WRITE, EXEC } = SEAL;
  const fd = d.fd();
  d.emit('fcntl', fd, F.ADD_SEALS, d.r.pick([SHRINK, GROW, WRITE, WRITE, FUTURE_WRITE, SEAL.SEAL, EXEC, GROW | SHRINK, 64, 0]));
  d.emit('fcntl', fd, F.GET_SEALS, 0);
};

/** System V shared memory. */
const segment: Act = (d) => {
  const { r } = d;
  if (d.segments === 0 || r.chance(0.08)) {
    d.emit('shmget', 0, r.pick([PAGE, 3 * PAGE, 5 * PAGE + 100]), IPC_CREAT | r.pick([0o600, 0o600, 0o400]));
    d.segments++;
    return;
  }
  const { start } = d.range(10, 0.4);
  const kind = r.weighted(['shmat', 6], ['shmdt', 3], ['shmrm', 0.5]);
  if (kind === 'shmrm') return d.emit(kind, r.below(d.segments));
  if (kind === 'shmdt') return d.emit(kind, start);
  const at = r.chance(0.2) ? 0 : start + (r.chance(0.1) ? 5 : 0);
  const { RDONLY, REMAP, RND, EXEC } = SHM;
  if (d.reachesExecutor(at, 6 * PAGE)) return;
  d.emit('shmat', r.chance(0.97) ? r.below(d.segments) : 9, at, r.pick([0, 0, RDONLY, REMAP, REMAP, RND, REMAP | RND, EXEC]));
  d.note(at, 5 * PAGE);
  d.believe(at, 3 * PAGE, true);
};

/** A file on disk: results and sizes only, it is not mapped (which of its pages are cached when is not ours to say). */
const disk: Act = (d) => {
  const { r } = d;
  d.noref = true;
  d.emit('open', 'D/x', O.RDWR | O.CREAT);
  const fd = d.opened();
  for (let n = r.between(1, 5); n > 0; n--) {
    const at = PAGE * r.between(0, 6) + r.pick([0, 0, 100]);
    const kind = r.pick(['pwritebuf', 'pwritebuf', 'preadbuf', 'ftruncate', 'lseek']);
    if (kind === 'pwritebuf') d.emit(kind, fd, r.between(1, 255), r.pick([1, 100, PAGE, 2 * PAGE]), at);
    else if (kind === 'preadbuf') d.emit(kind, fd, r.pick([16, PAGE, 2 * PAGE]), at);
    else if (kind === 'ftruncate') d.emit(kind, fd, at);
    else d.emit(kind, fd, at, r.pick([SEEK.SET, SEEK.END]));
  }
  d.emit('close', fd);
  d.descriptors.delete(fd);
};

/** Lengths and addresses that no program should ask for, with operations that make nothing present. */
const absurd: Act = (d) => {
  const { r } = d;
  const { start, bytes } = d.range();
  const beyond = r.pick<Num>([2n ** 47n, 2n ** 47n - 8192n, 2n ** 63n, 2n ** 64n - 4096n, 2n ** 64n - 1n, -PAGE, TASK_SIZE]);
  const large = r.pick([2 ** 46, 2 ** 42, 2 ** 40, 3 * 2 ** 20, 2 ** 30]);
  const { PRIVATE, SHARED, ANONYMOUS, NORESERVE, FIXED } = MAP;
  switch (r.below(9)) {
    case 0:
      return d.emit('mmap', 0, beyond, d.protection(), PRIVATE | ANONYMOUS | r.pick([0, NORESERVE]), -1, 0);
    case 1:
      return d.roomy
        ? d.emit('mmap', 0, large, d.protection(), r.pick([PRIVATE, PRIVATE, SHARED]) | ANONYMOUS | r.pick([0, NORESERVE, NORESERVE]), -1, 0)
        : undefined;
    case 2:
      return d.emitRange('mremap', start, bytes, beyond, r.pick([0, MREMAP.MAYMOVE]), 0);
    case 3:
      return d.roomy ? d.emitRange('mremap', start, bytes, large, MREMAP.MAYMOVE, 0) : undefined;
    case 4:
      return d.emitRange('munmap', r.pick<Num>([start, 0, TASK_SIZE, 2n ** 63n]), beyond);
    case 5:
      return d.emitRange('mprotect', r.pick<Num>([start, 2n ** 63n]), beyond, 1);
    case 6:
      return d.emitRange('madvise', start, beyond, r.pick([MADV.DONTNEED, MADV.NORMAL, MADV.FREE, MADV.DONTFORK, 77]));
    case 7: // where a mapping must not lie: page 0, the end of the address space
      return d.emit(
        'mmap',
        r.pick<Num>([0, PAGE, 0xf000, TASK_SIZE - PAGE, TASK_SIZE, 2n ** 47n, 2n ** 63n]),
        PAGE * r.between(1, 2),
        d.protection(),
        PRIVATE | ANONYMOUS | FIXED,
        -1,
        0,
      );
    default:
      return d.emit(r.pick(['msync', 'mlock', 'munlock', 'mincore']), r.pick<Num>([2n ** 63n, TASK_SIZE, -PAGE]), PAGE * r.between(0, 2), 0);
  }
};

/** Keeps six processes at most; `forkLittle` three. */
export const ACTIONS = {
  ...HUGE_ACTIONS,
  ...{ touch, edge, map, mapFile, droppable, stack, unmap, protect, remap, heap, advise, incore, sync, lock, nonlinear, mseal },
  ...{ leave, fork: fork(6), forkLittle: fork(3), adviseOther, copy, splice, outside, scan, clear, curious, limit, control },
  ...{ descriptor, truncate, allocate, transfer, seek, seals, segment, disk, absurd },
} as const;

export type Action = keyof typeof ACTIONS;
