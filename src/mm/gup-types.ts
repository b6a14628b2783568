/** What callers of get_user_pages ask for (FOLL_*, include/linux/mm_types.h and mm/internal.h), and what a call works on. */
import { get, set } from '../kernel/ops.ts';
import { nextPage, pageFolio, subPage, subPageIndex } from '../memory/folio.ts';
import { allocObject, freeObject } from '../memory/state.ts';
import { array, defineStruct, type Ref } from '../memory/struct.ts';

export type GupRef = Ref<'gup'>;
export type PageVectorRef = Ref<'pageVector'>;

export const FOLL_WRITE = 1 << 0;
/** Take references. */
export const FOLL_GET = 1 << 1;
/** A core dump: holes and the zero page are not wanted. */
export const FOLL_DUMP = 1 << 2;
/** Rights of the VMA do not count, as far as a private copy makes that harmless. */
export const FOLL_FORCE = 1 << 3;
/** Do not wait for memory or for a device. */
export const FOLL_NOWAIT = 1 << 4;
export const FOLL_NOFAULT = 1 << 5;
export const FOLL_HWPOISON = 1 << 6;
/** Anonymous VMAs only. */
export const FOLL_ANON = 1 << 7;
/** Pins that last: what may be moved must not be pinned. */
export const FOLL_LONGTERM = 1 << 8;
/** A page that NUMA balancing has made inaccessible is faulted in, as the process itself would do. */
export const FOLL_HONOR_NUMA_FAULT = 1 << 12;

// What callers from outside may not say (INTERNAL_GUP_FLAGS).
/** Mark accessed. */
export const FOLL_TOUCH = 1 << 16;
/** The fault has been tried before. */
export const FOLL_TRIED = 1 << 17;
/** Another process's memory, or another one's wish. */
export const FOLL_REMOTE = 1 << 18;
/** Take pins. */
export const FOLL_PIN = 1 << 19;
/** What cannot be had without a lock is not wanted. */
export const FOLL_FAST_ONLY = 1 << 20;
/** The mmap lock may be released on the way (`Gup.locked` tells). */
export const FOLL_UNLOCKABLE = 1 << 21;
/** MADV_POPULATE's way of telling errors. */
export const FOLL_MADV_POPULATE = 1 << 22;

export const INTERNAL_GUP_FLAGS = FOLL_TOUCH | FOLL_TRIED | FOLL_REMOTE | FOLL_PIN | FOLL_FAST_ONLY | FOLL_UNLOCKABLE | FOLL_MADV_POPULATE;

/** Pages that one vector holds (PVM_MAX_USER_PAGES of mm/process_vm_access.c, the largest asked for here). */
export const PAGE_VECTOR = 1024;

/** Pages that were got. */
export const PageVector = defineStruct('pageVector', { count: 'count', pages: array(PAGE_VECTOR, 'page') });

/** One call of get_user_pages. */
export const Gup = defineStruct('gup', {
  mm: 'ref:mm',
  /** FOLL_*. */
  flags: 'flags',
  /**
   * 1 while the mmap lock is held for reading. 0 at the beginning: the call takes it and lets it go; 0 at the end of a call that it was held for:
   * it was released on the way.
   */
  locked: 'number',
  /** Where pages go; 0 when they are only to be faulted in. */
  vector: 'ref:pageVector',
  /** Pages from the one looked for on that are still wanted, and how many of them the entry (or a run of entries) that was found maps: `page_mask`. */
  wanted: 'count',
  run: 'count',
});

/** A call's object: in Linux these are arguments and locals. */
export const allocGup = (): GupRef => allocObject(Gup.$type, Gup.$size);
export const freeGup = (gup: GupRef): void => freeObject(gup, Gup.$size);

/** A vector for pages, empty; and its end, when its pages were given back. */
export const allocPageVector = (): PageVectorRef => allocObject(PageVector.$type, PageVector.$size);
export const freePageVector = (vector: PageVectorRef): void => freeObject(vector, PageVector.$size);

/** record_subpages: puts `count` pages of one folio behind those that a vector has: they begin `offset` behind one of its pages. */
export function recordSubpages(vector: PageVectorRef, page: number, offset: number, count: number): void {
  const at = get(vector, PageVector.count);
  if (count === 1) set(vector, PageVector.pages + at, nextPage(page, offset));
  else {
    const folio = pageFolio(page);
    const from = subPageIndex(page) + offset;
    for (let i = 0; i < count; i++) set(vector, PageVector.pages + at + i, subPage(folio, from + i));
  }
  set(vector, PageVector.count, at + count);
}

/** Puts a page behind those that a vector has. */
export function pushPage(vector: PageVectorRef, page: number): void {
  const at = get(vector, PageVector.count);
  set(vector, PageVector.pages + at, page);
  set(vector, PageVector.count, at + 1);
}
