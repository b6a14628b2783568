/**
 * The protocol of protocol.pml in kernel code of our own: three pages move to a new place under the lock of their table, the flush of the old place comes
 * after the lock was dropped (late) or before; what lies at the new place is freed under the lock. Two CPUs access the old place.
 */
import { call, scenario, task } from 'pxd/explore';
import { alloc, array, defineStruct, get, KernelBug, type Op, readOnce, set, spinLock, spinUnlock, writeOnce } from 'pxd/explore/kernel';

const PAGES = 3;
const CPUS = 4;
const ACCESSES = 3;

const Words = defineStruct('words', { lock: 'lock', pte: array(PAGES), moved: array(PAGES), freed: array(PAGES + 1), tlb: array(CPUS * PAGES) });

const useAfterFree = (page: number): KernelBug => new KernelBug('I4', `page ${page} is used through an old translation after it was freed`);

function* flush(words: number, page: number): Op<number> {
  for (let cpu = 0; cpu < CPUS; cpu++) yield* writeOnce(words, Words.tlb + cpu * PAGES + page, 0);
  return 0;
}

function* accessor(words: number, cpu: number): Op<number> {
  for (let n = 0; n < ACCESSES; n++) {
    const page = (cpu + (n % 2)) % PAGES;
    const translated = yield* readOnce(words, Words.tlb + cpu * PAGES + page);
    // Translation and access are one step, as they are in hardware.
    if (translated !== 0) {
      if (get(words, Words.freed + translated) !== 0) throw useAfterFree(translated);
      continue;
    }
    yield* spinLock(words + Words.lock);
    const pte = yield* readOnce(words, Words.pte + page);
    if (pte !== 0) yield* writeOnce(words, Words.tlb + cpu * PAGES + page, pte);
    yield* spinUnlock(words + Words.lock);
  }
  return 0;
}

function* mover(words: number, late: number): Op<number> {
  for (let page = 0; page < PAGES; page++) {
    yield* spinLock(words + Words.lock);
    const pte = yield* readOnce(words, Words.pte + page);
    yield* writeOnce(words, Words.pte + page, 0);
    yield* writeOnce(words, Words.moved + page, pte);
    if (late === 0) yield* flush(words, page);
    yield* spinUnlock(words + Words.lock);
    if (late !== 0) yield* flush(words, page);
  }
  return 0;
}

function* truncator(words: number): Op<number> {
  for (let page = 0; page < PAGES; page++) {
    yield* spinLock(words + Words.lock);
    const pte = yield* readOnce(words, Words.moved + page);
    yield* writeOnce(words, Words.moved + page, 0);
    yield* spinUnlock(words + Words.lock);
    if (pte !== 0) yield* writeOnce(words, Words.freed + pte, 1);
  }
  return 0;
}

const protocol = (id: string, late: 0 | 1) =>
  scenario({
    id,
    title: 'pages move, and are freed where they have moved to',
    setup({ notes }) {
      notes.words = alloc(Words);
      for (let page = 0; page < PAGES; page++) set(notes.words, Words.pte + page, page + 1);
    },
    roots: ({ notes }) => [notes.words],
    tasks: {
      cpu0: ({ notes }) => task(call(accessor, notes.words, 0)),
      cpu1: ({ notes }) => task(call(accessor, notes.words, 1)),
      mover: ({ notes }) => task(call(mover, notes.words, late)),
      truncator: ({ notes }) => task(call(truncator, notes.words)),
    },
    variants: { linux: late ? { expect: 'violation', rule: 'I4', preemptions: 1 } : { expect: 'clean' } },
  });

export default [protocol('late', 1), protocol('in-time', 0)];
