/**
 * Intrusive doubly linked lists, of objects of the heap and of pages.
 *
 * Invariants: `next` and `prev` are 0 at the ends; an element that was taken off has zeros in both. A list's head is one slot of the heap that
 * refers to its first element; a queue's head is two consecutive slots, first and last, so that adding at the end costs the same as at the start.
 * One element may be on several lists through different pairs of fields.
 *
 * For objects, `next` and `prev` are fields (offsets) of the element's struct; for pages they are the columns pageNext and pagePrev.
 */
import { heap, pageNext, pagePrev, setPageNext, setPagePrev, setSlot } from './state.ts';

/** Adds at the start (list_add). */
export function listAdd(head: number, element: number, next: number, prev: number): void {
  const first = heap[head];
  setSlot(element + next, first);
  setSlot(element + prev, 0);
  if (first !== 0) setSlot(first + prev, element);
  setSlot(head, element);
}

/** Adds behind an element of the list. */
export function listAddAfter(after: number, element: number, next: number, prev: number): void {
  const following = heap[after + next];
  setSlot(element + next, following);
  setSlot(element + prev, after);
  if (following !== 0) setSlot(following + prev, element);
  setSlot(after + next, element);
}

/** Takes an element off (list_del). */
export function listDel(head: number, element: number, next: number, prev: number): void {
  const following = heap[element + next];
  const before = heap[element + prev];
  setSlot(before === 0 ? head : before + next, following);
  if (following !== 0) setSlot(following + prev, before);
  setSlot(element + next, 0);
  setSlot(element + prev, 0);
}

/** Last element, 0 if none: a walk over the list, for short ones that are read backwards. */
export function listLast(head: number, next: number): number {
  let element = heap[head];
  if (element !== 0) for (let following = heap[element + next]; following !== 0; following = heap[element + next]) element = following;
  return element;
}

/** Adds at the start of a queue. */
export function queueAdd(head: number, element: number, next: number, prev: number): void {
  if (heap[head] === 0) setSlot(head + 1, element);
  listAdd(head, element, next, prev);
}

/** Adds at the end of a queue (list_add_tail). */
export function queueAddTail(head: number, element: number, next: number, prev: number): void {
  const last = heap[head + 1];
  setSlot(element + next, 0);
  setSlot(element + prev, last);
  setSlot(last === 0 ? head : last + next, element);
  setSlot(head + 1, element);
}

/** Takes an element off a queue. */
export function queueDel(head: number, element: number, next: number, prev: number): void {
  if (heap[head + 1] === element) setSlot(head + 1, heap[element + prev]);
  listDel(head, element, next, prev);
}

/** Moves all of a queue to the end of another (list_splice_tail_init). */
export function queueSpliceTail(to: number, from: number, next: number, prev: number): void {
  const first = heap[from];
  if (first === 0) return;
  const last = heap[to + 1];
  setSlot(last === 0 ? to : last + next, first);
  setSlot(first + prev, last);
  setSlot(to + 1, heap[from + 1]);
  setSlot(from, 0);
  setSlot(from + 1, 0);
}

/** Adds a page at the start of a queue of pages. */
export function pageQueueAdd(head: number, page: number): void {
  const first = heap[head];
  setPageNext(page, first);
  setPagePrev(page, 0);
  if (first === 0) setSlot(head + 1, page);
  else setPagePrev(first, page);
  setSlot(head, page);
}

/** Adds a page at the end of a queue of pages. */
export function pageQueueAddTail(head: number, page: number): void {
  const last = heap[head + 1];
  setPageNext(page, 0);
  setPagePrev(page, last);
  if (last === 0) setSlot(head, page);
  else setPageNext(last, page);
  setSlot(head + 1, page);
}

/** Takes a page off a queue of pages. */
export function pageQueueDel(head: number, page: number): void {
  const following = pageNext[page];
  const before = pagePrev[page];
  if (before === 0) setSlot(head, following);
  else setPageNext(before, following);
  if (following === 0) setSlot(head + 1, before);
  else setPagePrev(following, before);
  setPageNext(page, 0);
  setPagePrev(page, 0);
}

/** Moves all of a queue of pages to the end of another. */
export function pageQueueSpliceTail(to: number, from: number): void {
  const first = heap[from];
  if (first === 0) return;
  const last = heap[to + 1];
  if (last === 0) setSlot(to, first);
  else setPageNext(last, first);
  setPagePrev(first, last);
  setSlot(to + 1, heap[from + 1]);
  setSlot(from, 0);
  setSlot(from + 1, 0);
}
