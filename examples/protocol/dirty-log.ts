/**
 * A backup of one page by its dirty bit, as live migration and checkpointing do it: `harvest` cleans the entry and copies what the page holds; the next store
 * of the process makes the entry dirty again, which says that the backup is old.
 *
 * docs/check-tutorial.md builds it step by step: `pxd check examples/protocol/dirty-log.ts`.
 */
import { call, entryOf, map, pageAt, scenario, store, task, WINDOW, wordAt } from 'pxd/explore';
import {
  alloc,
  defineStruct,
  ENOENT,
  entryGetAndClear,
  entrySet,
  flushTlbRange,
  get,
  type Op,
  Process,
  PTE_DIRTY,
  spinUnlock,
  writeOnce,
} from 'pxd/explore/kernel';
import { lockedPtePointer, mmapReadLock, mmapReadUnlock, pteLockptr, pteMkclean, threadLoad } from 'pxd/explore/mm';

const Backup = defineStruct('backup', { word: 'number' });

/** What is done when: the copy before the entry is cleaned; no flush; the flush after the copy; all in the right order. */
const COPY_FIRST = 0;
const NO_FLUSH = 1;
const FLUSH_LATE = 2;
const RIGHT = 3;

/** Copies the first word of a page into a backup. 0, or −ENOENT where there is no page table. */
function* harvest(process: number, vpn: number, backup: number, way: number): Op<number> {
  if (way === COPY_FIRST) yield* copy(process, vpn, backup);
  const error = yield* clean(get(process, Process.mm), vpn, way === COPY_FIRST || way === RIGHT ? 1 : 0);
  if (error === 0 && way !== COPY_FIRST) yield* copy(process, vpn, backup);
  if (way === FLUSH_LATE) yield* flushTlbRange(get(process, Process.mm), vpn, vpn + 1);
  return error;
}

function* copy(process: number, vpn: number, backup: number): Op<number> {
  return yield* writeOnce(backup, Backup.word, yield* threadLoad(process, vpn));
}

/** Takes the dirty bit away. The entry is emptied in one step: hardware may set the bit until then. */
function* clean(mm: number, vpn: number, flush: number): Op<number> {
  yield* mmapReadLock(mm);
  const ptep = yield* lockedPtePointer(mm, vpn);
  if (ptep !== 0) {
    const pte = yield* entryGetAndClear(ptep, 0);
    yield* entrySet(ptep, 0, pteMkclean(pte));
    if (flush) yield* flushTlbRange(mm, vpn, vpn + 1);
    yield* spinUnlock(pteLockptr(ptep));
  }
  yield* mmapReadUnlock(mm);
  return ptep === 0 ? -ENOENT : 0;
}

export default scenario({
  id: 'dirty-log',
  title: 'a page is backed up by its dirty bit while its process writes to it',
  setup(stage) {
    map(stage, WINDOW, 1);
    store(stage, WINDOW, 1);
    stage.notes.backup = alloc(Backup);
  },
  roots: ({ notes }) => [notes.backup],
  hardware: () => ({ speculate: [WINDOW] }),
  tasks: {
    harvest: ({ process, notes }) => task(call(harvest, process.ref, WINDOW, notes.backup, notes.way)),
    writer: ({ process }) => task(call('threadStore', process.ref, WINDOW, 2)),
  },
  holds: {
    // A store is in the backup, or the entry says that it is not.
    lost: ({ process, notes }) => {
      const [word, saved] = [wordAt(process.ref, WINDOW), get(notes.backup, Backup.word)];
      if (saved === word || (entryOf(process.ref, WINDOW) & PTE_DIRTY) !== 0) return undefined;
      return `page ${pageAt(process.ref, WINDOW)} holds ${word}, backup.word of ${notes.backup} is ${saved}, and the entry is clean`;
    },
  },
  variants: {
    'copy-first': { notes: { way: COPY_FIRST }, expect: 'violation', rule: 'lost', note: 'the page is copied, then its entry is cleaned' },
    'no-flush': { notes: { way: NO_FLUSH }, expect: 'violation', rule: 'lost', note: 'a CPU goes on with the translation that it has, which is dirty' },
    'flush-late': { notes: { way: FLUSH_LATE }, expect: 'violation', rule: 'lost', note: 'the flush comes after the copy' },
    fixed: { notes: { way: RIGHT }, expect: 'clean' },
  },
});
