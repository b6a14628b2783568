/**
 * What userfaultfd keeps (fs/userfaultfd.c: struct userfaultfd_ctx and its queues) and its numbers (include/uapi/linux/userfaultfd.h).
 *
 * Invariants: a VMA with `uffd` set has at least one mode, one without has none; who waits stands in one queue, oldest first, and in none once it was woken.
 */
import { defineStruct, type Ref } from '../memory/struct.ts';
import { VM_UFFD_MISSING, VM_UFFD_WP } from './vm-flags.ts';

export type UffdRef = Ref<'uffd'>;
export type UwqRef = Ref<'uwq'>;
export type UffdUnmapRef = Ref<'uffdUnmap'>;
export type UffdForkRef = Ref<'uffdFork'>;

/** struct userfaultfd_ctx. */
export const Uffd = defineStruct('uffd', {
  /** Its file, the VMAs in use by calls, who waits in it. */
  refcount: 'count',
  /** UFFD_USER_MODE_ONLY of userfaultfd(2). */
  flags: 'flags',
  /** UFFD_FEATURE_* as the UFFDIO_API handshake chose them, and UFFD_INITIALIZED after it. */
  features: 'flags',
  /** 1 once its file is closed: nobody waits any longer. */
  released: 'number',
  /** Calls that change the address space, and whose event was not read yet: nothing is filled meanwhile. */
  mmapChanging: 'count',
  /** rw_semaphore map_changing_lock. */
  mapChangingLock: { kind: 'lock', slots: 2 },
  /** The address space (mmgrab). */
  mm: 'ref:mm',
  /** Lock of the two queues of faults (fault_pending_wqh.lock). */
  faultLock: 'lock',
  /** Faults that nobody has read yet. */
  pending: 'ref:uwq',
  /** Faults that were read. */
  faults: 'ref:uwq',
  /** Lock of the queue of events (event_wqh.lock). */
  eventLock: 'lock',
  events: 'ref:uwq',
  /** 1 while there is a message to read: what sleeping readers wait for. */
  readable: 'number',
});

/** struct userfaultfd_wait_queue: one who waits, with its message; in Linux an object on the stack. */
export const Uwq = defineStruct('uwq', {
  ctx: 'ref:uffd',
  next: 'ref:uwq',
  /** 1 when it stands in a queue. */
  queued: 'number',
  /** 1 when the wait is over. */
  waken: 'number',
  /** UFFD_EVENT_*; 0 once an event was read. */
  event: 'number',
  /** Fault: address, bytes. Others: first byte. Fork: the child's context. */
  a: 'number',
  /** Fault: UFFD_PAGEFAULT_FLAG_*. Remap: new address. Others: byte behind the last. */
  b: 'number',
  /** Remap: bytes. */
  c: 'number',
});

/** struct userfaultfd_unmap_ctx: an event about what a call has unmapped, to be told when its locks are dropped. */
export const UffdUnmap = defineStruct('uffdUnmap', { ctx: 'ref:uffd', start: 'vpn', end: 'vpn', next: 'ref:uffdUnmap' });

/** struct userfaultfd_fork_ctx: a context that a fork copies. */
export const UffdFork = defineStruct('uffdFork', { orig: 'ref:uffd', fresh: 'ref:uffd', next: 'ref:uffdFork' });

/** Flag of userfaultfd(2): faults of the kernel itself are not handled. */
export const UFFD_USER_MODE_ONLY = 1;

export const UFFD_API = 0xaa;
export const UFFD_FEATURE_PAGEFAULT_FLAG_WP = 1;
export const UFFD_FEATURE_EVENT_FORK = 2;
export const UFFD_FEATURE_EVENT_REMAP = 4;
export const UFFD_FEATURE_EVENT_REMOVE = 8;
export const UFFD_FEATURE_EVENT_UNMAP = 0x40;
export const UFFD_FEATURE_SIGBUS = 0x80;
export const UFFD_FEATURE_THREAD_ID = 0x100;
export const UFFD_FEATURE_WP_UNPOPULATED = 0x2000;
export const UFFD_FEATURE_WP_ASYNC = 0x8000;
/** All features of 6.18. */
export const UFFD_API_FEATURES = 0x1ffff;
/** UFFD_FEATURE_INITIALIZED, which the kernel keeps beside the features. */
export const UFFD_INITIALIZED = 0x20000000;

export const UFFD_EVENT_PAGEFAULT = 0x12;
export const UFFD_EVENT_FORK = 0x13;
export const UFFD_EVENT_REMAP = 0x14;
export const UFFD_EVENT_REMOVE = 0x15;
export const UFFD_EVENT_UNMAP = 0x16;
export const UFFD_PAGEFAULT_FLAG_WRITE = 1;
export const UFFD_PAGEFAULT_FLAG_WP = 2;
export const UFFD_PAGEFAULT_FLAG_MINOR = 4;

/** VM_UFFD_MINOR among modes: a place that VM_UFFD_MISSING and VM_UFFD_WP leave free, as Linux's is above bit 31. */
export const UFFD_MINOR = 1;
/** __VM_UFFD_FLAGS. */
export const UFFD_MODES = VM_UFFD_MISSING | VM_UFFD_WP | UFFD_MINOR;
