/**
 * Mounted file systems of huge pages: mount(2), umount2(2), statfs(2) and fstatfs(2) of hugetlbfs, and the nodes of its files (fs/hugetlbfs/inode.c: hugetlbfs_parse_param,
 * hugetlbfs_validate, hugetlbfs_fill_super, hugetlbfs_statfs, hugetlbfs_get_inode; fs/namespace.c).
 *
 * Invariants: what a minimum size asks for is reserved from mount on until the file system is gone, which it is when it is not mounted and no file of it is open; then files
 * that only names led to go with it. Who is mounted where is guarded by Globals.directoryLock.
 *
 * Only hugetlbfs can be mounted, on the directories of MOUNT_POINTS; flags of mount(2) that say how the mount behaves, not where it goes, change nothing here.
 */
import type { Op } from '../kernel/op.ts';
import { add, atomicAdd, downWrite, get, kfree, kmalloc, set, upWrite } from '../kernel/ops.ts';
import { pageShift } from '../memory/state.ts';
import { memparse } from './cmdline.ts';
import { EBUSY, EFAULT, EINVAL, ENODEV, ENOMEM, ENOSYS, ENOTDIR, EPERM } from './errno.ts';
import { fdGet, filePut, intArgument } from './file.ts';
import { F_SEAL_SEAL, INODE_HUGETLBFS } from './file-types.ts';
import { globals } from './globals.ts';
import { defaultHstate, hstateOfOrder, hugetlb } from './hugetlb-pool.ts';
import { hugePages, resvMapAlloc, resvMapPut } from './hugetlb-resv.ts';
import { newSubpool, putSubpool } from './hugetlb-subpool.ts';
import { Hstate, type HstateRef, Hugetlb, HugetlbSuper, type HugetlbSuperRef, Subpool } from './hugetlb-types.ts';
import { freeName, iput, NAME_MAX, nameAppend, nameText, newInode, newName } from './inode.ts';
import { unlinkInode, walkDirectory, walkTo } from './open.ts';
import { MOUNT_POINTS } from './paths.ts';
import { File, Globals, Inode, type InodeRef, type MmRef, type NameRef, Process, type ProcessRef } from './types.ts';
import { getUserByte, pointerBytes, putUserInt } from './uaccess.ts';
import { CAP_SYS_ADMIN, capable } from './util.ts';

const MS_REMOUNT = 0x20;
const MS_BIND = 0x1000;
const MS_MOVE = 0x2000;
/** Propagation: MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED. */
const MS_PROPAGATION = 0x1e0000;
const MNT_FORCE = 1;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const HUGETLBFS_MAGIC = 0x958458f6;
const ST_VALID = 0x20;
const ST_RELATIME = 0x1000;

// --- which file system --------------------------------------------------------------------------------------------------------

/** The file system on a directory, 0 for none. */
export function superOf(directory: number): HugetlbSuperRef {
  const at = MOUNT_POINTS.indexOf(directory);
  return at < 0 || get(globals, Globals.hugetlb) === 0 ? 0 : get(hugetlb(), Hugetlb.mounts + at);
}

/** One user less: a file that was closed, or the mount. The last one takes the file system along (kill_litter_super, hugetlbfs_put_super). */
export function* superPut(sb: HugetlbSuperRef): Op<number> {
  if ((yield* atomicAdd(sb, HugetlbSuper.users, -1)) !== 0) return 0;
  yield* downWrite(globals + Globals.directoryLock);
  for (let inode = get(globals, Globals.directory); inode !== 0; ) {
    const next = get(inode, Inode.next);
    if (get(inode, Inode.super) === sb) {
      unlinkInode(inode);
      yield* iput(inode);
    }
    inode = next;
  }
  yield* upWrite(globals + Globals.directoryLock);
  const spool = get(sb, HugetlbSuper.subpool);
  if (spool !== 0) yield* putSubpool(spool);
  return yield* kfree(HugetlbSuper.$type, sb);
}

/** hugetlbfs_get_inode for a regular file; 0 without memory or inodes left. */
export function* hugetlbfsGetInode(sb: HugetlbSuperRef, mode: number): Op<number> {
  if (get(sb, HugetlbSuper.freeInodes) === 0) return 0;
  const map = yield* resvMapAlloc();
  if (map === 0) return 0;
  const inode = yield* newInode(INODE_HUGETLBFS, mode);
  if (inode === 0) {
    yield* resvMapPut(map);
    return 0;
  }
  if (get(sb, HugetlbSuper.freeInodes) > 0) add(sb, HugetlbSuper.freeInodes, -1);
  set(inode, Inode.super, sb);
  set(inode, Inode.hstate, get(sb, HugetlbSuper.hstate));
  set(inode, Inode.resvMap, map);
  set(inode, Inode.seals, F_SEAL_SEAL);
  return inode;
}

/** hugetlbfs_inc_free_inodes: a file is gone. */
export function hugetlbfsInodeGone(inode: InodeRef): void {
  const sb = get(inode, Inode.super);
  if (sb !== 0 && get(sb, HugetlbSuper.freeInodes) >= 0) add(sb, HugetlbSuper.freeInodes, 1);
}

// --- options ------------------------------------------------------------------------------------------------------------------

/** hugetlbfs_size_to_hpages of what size= and min_size= say: bytes, or a part of the pool. −1 where nothing is said. */
function sizeToPages(h: HstateRef, text: string): number {
  if (text === '') return -1;
  const bytes = hugePages(h) * 2 ** pageShift;
  const value = memparse(text);
  const pool = get(h, Hstate.nr) - get(h, Hstate.surplus);
  return Math.floor((/^\w+%/.test(text) ? Math.floor((value * bytes * pool) / 100) : value) / bytes);
}

/** hugetlbfs_parse_param for all options, and hugetlbfs_validate: what a file system shall be. 0 or −EINVAL. */
function parseOptions(sb: HugetlbSuperRef, options: NameRef): number {
  let size = '';
  let minimum = '';
  for (const option of nameText(options).split(',')) {
    if (option === '') continue;
    const at = option.indexOf('=');
    const name = at < 0 ? option : option.slice(0, at);
    const value = at < 0 ? '' : option.slice(at + 1);
    const number = /^\d/.test(value);
    if (name === 'size' && number) size = value;
    else if (name === 'min_size' && number) minimum = value;
    else if (name === 'nr_inodes' && number) set(sb, HugetlbSuper.maxInodes, memparse(value));
    else if (name === 'mode' && /^[0-7]+$/.test(value)) set(sb, HugetlbSuper.mode, Number.parseInt(value, 8) & 0o1777);
    else if (name === 'uid' && /^\d+$/.test(value)) set(sb, HugetlbSuper.uid, Number(value));
    else if (name === 'gid' && /^\d+$/.test(value)) set(sb, HugetlbSuper.gid, Number(value));
    else if (name === 'pagesize' && value !== '') {
      const h = hstateOfOrder(Math.log2(memparse(value)) - pageShift);
      if (h === 0) return -EINVAL;
      set(sb, HugetlbSuper.hstate, h);
    } else return -EINVAL;
  }
  const h = get(sb, HugetlbSuper.hstate);
  set(sb, HugetlbSuper.maxPages, sizeToPages(h, size));
  set(sb, HugetlbSuper.minPages, sizeToPages(h, minimum));
  return size !== '' && get(sb, HugetlbSuper.minPages) > get(sb, HugetlbSuper.maxPages) ? -EINVAL : 0;
}

/** hugetlbfs_fill_super: 0 or −ENOMEM. The root takes one of the inodes. */
function* fillSuper(sb: HugetlbSuperRef): Op<number> {
  const max = get(sb, HugetlbSuper.maxPages);
  const min = get(sb, HugetlbSuper.minPages);
  if (max !== -1 || min !== -1) {
    const spool = yield* newSubpool(get(sb, HugetlbSuper.hstate), max, min);
    if (spool === 0) return -ENOMEM;
    set(sb, HugetlbSuper.subpool, spool);
  }
  const inodes = get(sb, HugetlbSuper.maxInodes);
  set(sb, HugetlbSuper.freeInodes, inodes < 0 ? -1 : inodes - 1);
  return inodes === 0 ? -ENOMEM : 0;
}

// --- mount, umount ------------------------------------------------------------------------------------------------------------

/** A string of user memory as a name; 0 for none (a null pointer), −EFAULT, −EINVAL when it is longer than names are. */
function* userString(mm: MmRef, address: number): Op<number> {
  if (address === 0) return 0;
  const name: NameRef = newName();
  for (let at = 0; at <= NAME_MAX; at++) {
    const byte = yield* getUserByte(mm, address + at);
    if (byte === 0) return name;
    if (byte < 0 || at === NAME_MAX) {
      freeName(name);
      return byte < 0 ? -EFAULT : -EINVAL;
    }
    nameAppend(name, byte);
  }
  return 0;
}

const isHugetlbfs = (type: NameRef): boolean => nameText(type) === 'hugetlbfs';

/** mount(2): strings are pointers; what is mounted (`source`) has no meaning for hugetlbfs. */
export function* sysMount(process: ProcessRef, source: number, target: number, type: number, flags: number, data: number): Op<number> {
  const mm = get(process, Process.mm);
  const kind = yield* userString(mm, type);
  if (kind < 0) return kind;
  const options = yield* userString(mm, data);
  const from = source === 0 || options < 0 ? 0 : yield* getUserByte(mm, source);
  let result = options < 0 ? options : from < 0 ? from : yield* walkDirectory(mm, target);
  if (result >= 0) {
    if (!capable(mm, CAP_SYS_ADMIN)) result = -EPERM;
    else if ((flags & (MS_REMOUNT | MS_BIND | MS_MOVE | MS_PROPAGATION)) !== 0 || kind === 0) result = -EINVAL;
    else if (!isHugetlbfs(kind) || defaultHstate() === 0) result = -ENODEV;
    else if (!MOUNT_POINTS.includes(result)) result = -ENOTDIR;
    else result = yield* mountAt(result, options);
  }
  if (options > 0) freeName(options);
  if (kind > 0) freeName(kind);
  return result;
}

/** do_new_mount. `options`: a name, 0 for none. */
function* mountAt(directory: number, options: NameRef): Op<number> {
  const sb = yield* kmalloc(HugetlbSuper.$type);
  if (sb === 0) return -ENOMEM;
  set(sb, HugetlbSuper.hstate, defaultHstate());
  set(sb, HugetlbSuper.maxInodes, -1);
  set(sb, HugetlbSuper.mode, 0o755);
  set(sb, HugetlbSuper.users, 1);
  let error = parseOptions(sb, options);
  if (error === 0) error = yield* fillSuper(sb);
  if (error !== 0) {
    const spool = get(sb, HugetlbSuper.subpool);
    if (spool !== 0) yield* putSubpool(spool);
    yield* kfree(HugetlbSuper.$type, sb);
    return error;
  }
  const at = MOUNT_POINTS.indexOf(directory);
  yield* downWrite(globals + Globals.directoryLock);
  set(sb, HugetlbSuper.directory, directory);
  set(sb, HugetlbSuper.below, get(hugetlb(), Hugetlb.mounts + at));
  set(hugetlb(), Hugetlb.mounts + at, sb);
  yield* upWrite(globals + Globals.directoryLock);
  return 0;
}

/** umount2(2): −EBUSY while files are open or mapped, but for MNT_DETACH, which takes the names away at once and leaves the rest to the last user. */
export function* sysUmount2(process: ProcessRef, target: number, flags: number): Op<number> {
  if ((flags & ~(MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW)) !== 0) return -EINVAL;
  const mm = get(process, Process.mm);
  const directory = yield* walkDirectory(mm, target);
  if (directory < 0) return directory;
  if (!capable(mm, CAP_SYS_ADMIN)) return -EPERM;
  yield* downWrite(globals + Globals.directoryLock);
  const sb = superOf(directory);
  const busy = sb !== 0 && get(sb, HugetlbSuper.users) > 1 && (flags & MNT_DETACH) === 0;
  if (sb !== 0 && !busy) {
    set(hugetlb(), Hugetlb.mounts + MOUNT_POINTS.indexOf(directory), get(sb, HugetlbSuper.below));
    set(sb, HugetlbSuper.below, 0);
    set(sb, HugetlbSuper.directory, 0);
  }
  yield* upWrite(globals + Globals.directoryLock);
  if (sb === 0) return -EINVAL;
  return busy ? -EBUSY : yield* superPut(sb);
}

// --- statfs -------------------------------------------------------------------------------------------------------------------

/** Blocks of a file system that may be used, and that are free; 0 when it has no limit (or is none that is mounted). */
const statfsBlocks = (sb: HugetlbSuperRef): number => (limited(sb) ? get(get(sb, HugetlbSuper.subpool), Subpool.maxPages) : 0);
const statfsFree = (sb: HugetlbSuperRef): number => (limited(sb) ? statfsBlocks(sb) - get(get(sb, HugetlbSuper.subpool), Subpool.usedPages) : 0);
const limited = (sb: HugetlbSuperRef): boolean => sb !== 0 && get(sb, HugetlbSuper.subpool) !== 0;
const blockBytes = (_sb: HugetlbSuperRef, h: HstateRef): number => hugePages(h) * 2 ** pageShift;

/** The words of struct statfs in their order (include/uapi/asm-generic/statfs.h), as hugetlbfs_statfs has them; f_fsid, which is two ints whatever a word is, stands before f_namelen. */
const STATFS: readonly ((sb: HugetlbSuperRef, h: HstateRef) => number)[] = Object.freeze([
  () => HUGETLBFS_MAGIC, // f_type
  blockBytes, // f_bsize
  statfsBlocks, // f_blocks
  statfsFree, // f_bfree
  statfsFree, // f_bavail
  (sb) => (limited(sb) ? get(sb, HugetlbSuper.maxInodes) : 0), // f_files
  (sb) => (limited(sb) ? get(sb, HugetlbSuper.freeInodes) : 0), // f_ffree
  () => NAME_MAX, // f_namelen
  blockBytes, // f_frsize
  (sb) => ST_VALID | (sb === 0 ? 0 : ST_RELATIME), // f_flags
  ...Array.from({ length: 4 }, () => () => 0), // f_spare
]);
/** How many of them stand before f_fsid. */
const FSID = 7;

/** A struct statfs to user memory. `sb`: 0 for files of no mount. 0 or −EFAULT. */
function* putStatfs(mm: MmRef, to: number, h: HstateRef, sb: HugetlbSuperRef): Op<number> {
  const word = pointerBytes();
  for (let i = 0; i < STATFS.length; i++) {
    const error = yield* putUserSigned(mm, to + i * word + (i < FSID ? 0 : 8), STATFS[i](sb, h), word);
    if (error !== 0) return error;
  }
  return yield* putUserInt(mm, to + FSID * word, 0, 8);
}

/** put_user of a number that may be negative. */
function* putUserSigned(mm: MmRef, to: number, value: number, size: number): Op<number> {
  if (value >= 0) return yield* putUserInt(mm, to, value, size);
  for (let at = 0; at < size; at += 4) {
    const error = yield* putUserInt(mm, to + at, at === 0 ? value + 2 ** 32 : 0xffffffff, 4);
    if (error !== 0) return error;
  }
  return 0;
}

/** statfs(2) of a path into hugetlbfs; −ENOSYS elsewhere, where it is not implemented. */
export function* sysStatfs(process: ProcessRef, path: number, to: number): Op<number> {
  const mm = get(process, Process.mm);
  const name = newName();
  const directory = yield* walkTo(mm, path, name);
  const error = directory < 0 ? directory : 0;
  freeName(name);
  if (error !== 0) return error;
  const sb = superOf(directory);
  return sb === 0 ? -ENOSYS : yield* putStatfs(mm, to, get(sb, HugetlbSuper.hstate), sb);
}

/** fstatfs(2), of files of huge pages. */
export function* sysFstatfs(process: ProcessRef, fd: number, to: number): Op<number> {
  const file = yield* fdGet(process, intArgument(fd));
  if (file < 0) return file;
  const inode = get(file, File.inode);
  const h = get(inode, Inode.hstate);
  const error = h === 0 ? -ENOSYS : yield* putStatfs(get(process, Process.mm), to, h, get(inode, Inode.super));
  yield* filePut(file);
  return error;
}
