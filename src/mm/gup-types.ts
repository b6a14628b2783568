/** What callers of get_user_pages ask for (FOLL_*, include/linux/mm_types.h and mm/internal.h), and what a call works on. */

import { allocObject, freeObject } from '../memory/state.ts';
import { array, defineStruct, type Ref } from '../memory/struct.ts';

export type GupRef = Ref<'gup'>;
export type PageVectorRef = Ref<'pageVector'>;

export const FOLL_WRITE = 1;
/** Take references. */
export const FOLL_GET = 2;
/** A core dump: holes and the zero page are not wanted. */
export const FOLL_DUMP = 4;
/** Rights of the VMA do not count, as far as a private copy makes that harmless. */
export const FOLL_FORCE = 8;
/** Do not wait for memory or for a device. */
export const FOLL_NOWAIT = 16;
export const FOLL_NOFAULT = 32;
export const FOLL_HWPOISON = 64;
/** Anonymous VMAs only. */
export const FOLL_ANON = 128;
/** Pins that last: what may be moved must not be pinned. */
export const FOLL_LONGTERM = 256;
/** Take pins. */
export const FOLL_PIN = 1024;
/** Mark accessed. */
export const FOLL_TOUCH = 0x10000;
/** Another process's memory, or another one's wish. */
export const FOLL_REMOTE = 0x20000;
/** The mmap lock may be released on the way (`Gup.locked` tells). */
export const FOLL_UNLOCKABLE = 0x40000;
/** MADV_POPULATE's way of telling errors. */
export const FOLL_MADV_POPULATE = 0x80000;
/** The fault has been tried before. */
export const FOLL_TRIED = 0x100000;

/** Pages that one vector holds (PVM_MAX_USER_PAGES of mm/process_vm_access.c, the largest asked for here). */
export const PAGE_VECTOR = 1024;

/** Pages that were got. */
export const PageVector = defineStruct('pageVector', { count: 'count', pages: array(PAGE_VECTOR, 'page') });

/** One call of get_user_pages. */
export const Gup = defineStruct('gup', {
  mm: 'ref:mm',
  /** FOLL_*. */
  flags: 'flags',
  /** 1 while the mmap lock is held for reading. */
  locked: 'number',
  /** Where pages go; 0 when they are only to be faulted in. */
  vector: 'ref:pageVector',
});

/** A call's object: in Linux these are locals. */
export const allocGup = (): GupRef => allocObject(Gup.$type, Gup.$size);
export const freeGup = (gup: GupRef): void => freeObject(gup, Gup.$size);
