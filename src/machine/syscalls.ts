/**
 * The system calls of a machine: by Linux's name, the kernel function and the kinds of its arguments.
 *
 * Kinds: `long` unsigned long, pointer, size_t; `slong` loff_t, long; `int`; `uint`.
 */
import { PxdError } from '../pagetable/error.ts';

export type ArgumentKind = 'long' | 'slong' | 'int' | 'uint';

export interface SystemCall {
  /** Kernel function: its first argument is the process. */
  readonly run: string;
  readonly args: readonly ArgumentKind[];
}

const L: ArgumentKind = 'long';
const I: ArgumentKind = 'int';
const U: ArgumentKind = 'uint';
const S: ArgumentKind = 'slong';

const call = (run: string, ...args: ArgumentKind[]): SystemCall => ({ run, args });

const CALLS: Readonly<Record<string, SystemCall>> = {
  mmap: call('sysMmap', L, L, L, L, I, L),
  munmap: call('sysMunmap', L, L),
  mprotect: call('sysMprotect', L, L, L),
  pkey_mprotect: call('sysPkeyMprotect', L, L, L, I),
  pkey_alloc: call('sysPkeyAlloc', L, L),
  pkey_free: call('sysPkeyFree', I),
  mremap: call('sysMremap', L, L, L, L, L),
  madvise: call('sysMadvise', L, L, I),
  process_madvise: call('sysProcessMadvise', I, L, L, I, U),
  brk: call('sysBrk', L),
  msync: call('sysMsync', L, L, I),
  mincore: call('sysMincore', L, L, L),
  mlock: call('sysMlock', L, L),
  mlock2: call('sysMlock2', L, L, I),
  munlock: call('sysMunlock', L, L),
  mlockall: call('sysMlockall', I),
  munlockall: call('sysMunlockall'),
  mseal: call('sysMseal', L, L, L),
  remap_file_pages: call('sysRemapFilePages', L, L, L, L, L),
  prctl: call('sysPrctl', I, L, L, L, L),
  membarrier: call('sysMembarrier', I, U, I),
  map_shadow_stack: call('sysMapShadowStack', L, L, U),
  prlimit64: call('sysPrlimit64', I, U, L, L),
  setrlimit: call('sysSetrlimit', U, L),
  getrlimit: call('sysGetrlimit', U, L),
  execve: call('sysExecve', L, L, L),
  memfd_create: call('sysMemfdCreate', L, U),
  open: call('sysOpen', L, I, U),
  close: call('sysClose', U),
  dup: call('sysDup', U),
  fcntl: call('sysFcntl', U, U, S),
  ftruncate: call('sysFtruncate', U, S),
  fallocate: call('sysFallocate', I, I, S, S),
  lseek: call('sysLseek', U, S, U),
  read: call('sysRead', U, L, L),
  write: call('sysWrite', U, L, L),
  pread64: call('sysPread64', U, L, L, S),
  pwrite64: call('sysPwrite64', U, L, L, S),
  fadvise64: call('sysFadvise64', I, S, S, I),
  fsync: call('sysFsync', U),
  unlink: call('sysUnlink', L),
  mount: call('sysMount', L, L, L, L, L),
  umount2: call('sysUmount2', L, I),
  statfs: call('sysStatfs', L, L),
  fstatfs: call('sysFstatfs', U, L),
  pipe2: call('sysPipe2', L, I),
  vmsplice: call('sysVmsplice', I, L, L, U),
  process_vm_readv: call('sysProcessVmReadv', I, L, L, L, L, L),
  process_vm_writev: call('sysProcessVmWritev', I, L, L, L, L, L),
  pidfd_open: call('sysPidfdOpen', I, U),
  process_mrelease: call('sysProcessMrelease', I, U),
  shmget: call('sysShmget', I, L, I),
  shmat: call('sysShmat', I, L, I),
  shmdt: call('sysShmdt', L),
  shmctl: call('sysShmctl', I, I, L),
  memfd_secret: call('sysMemfdSecret', U),
  userfaultfd: call('sysUserfaultfd', I),
  ioctl: call('sysIoctl', U, U, L),
  getpid: call('sysGetpid'),
};

/** @throws {PxdError} 'unknown' for a name that is no call of the machine. */
export function callOf(name: string): SystemCall {
  const found = CALLS[name];
  if (!found) throw new PxdError('unknown', `the machine has no system call "${name}"`);
  return found;
}

export const systemCalls = Object.keys(CALLS);
