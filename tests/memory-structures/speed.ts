/** Times of the structures in typed memory, without and with the journal: run as a bundle, where imports are plain variables. Prints one JSON line. */
import { alloc, get, set } from '../../src/memory/heap.ts';
import { createState, FIRST_OBJECT, journalMark, mount, startJournal, stopJournal, undo } from '../../src/memory/state.ts';
import { xaErase, xaLoad, xaStore } from '../../src/memory/xarray.ts';
import { vmaIntervalTreeInsert, vmaIntervalTreeIterFirst, vmaIntervalTreeRemove } from '../../src/mm/interval-tree.ts';
import { Globals, Inode, Mm, Vma } from '../../src/mm/types.ts';
import { findVma, gapTopDown, vmaTreeAdjust, vmaTreeInsert, vmaTreeRemove } from '../../src/mm/vma-tree.ts';

mount(createState(1024));
alloc(Globals);
set(FIRST_OBJECT, Globals.stackGuardGap, 256);

/** Best of many short rounds, so that one of them is likely to run undisturbed; nanoseconds a call. */
function time(run: (i: number) => void, after: () => void = () => undefined): number {
  const calls = 300;
  let best = Number.POSITIVE_INFINITY;
  for (let r = 0; r < 200; r++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < calls; i++) run(i + r);
    best = Math.min(best, Number(process.hrtime.bigint() - start) / calls);
    after();
  }
  return Math.round(best);
}

const results: Record<string, number> = {};
let sink = 0;

// What one read costs that has to wait for the one before: a yardstick for the rest.
const chain = Float64Array.from({ length: 1024 }, (_, i) => (i * 1103 + 7) & 1023);
let at = 0;
results['yardstick: 10 reads, each where the last one says'] = time(() => {
  for (let i = 0; i < 10; i++) at = chain[at] | 0;
});
sink += at;

for (const count of [100, 10000, 65530]) {
  const mm = alloc(Mm);
  const vmas: number[] = [];
  for (let i = 0; i < count; i++) {
    const vma = alloc(Vma);
    const start = 0x7f0000000 + i * 16;
    set(vma, Vma.start, start);
    set(vma, Vma.end, start + 8);
    vmaTreeInsert(mm, vma);
    vmas.push(vma);
  }
  const cycle = (i: number): void => {
    const vma = vmas[(i * 7919) % count];
    const start = get(vma, Vma.start);
    vmaTreeRemove(mm, vma);
    vmaTreeInsert(mm, vma);
    sink += findVma(mm, start + 3);
  };
  results[`find, ${count} VMAs`] = time((i) => {
    sink += findVma(mm, 0x7f0000000 + ((i * 7919) % count) * 16 + (i & 15));
  });
  results[`remove + insert + find, ${count} VMAs`] = time(cycle);
  startJournal();
  const mark = journalMark();
  results[`remove + insert + find, ${count} VMAs, journal`] = time(cycle, () => undo(mark));
  stopJournal();
  results[`end there and back, ${count} VMAs`] = time((i) => {
    const vma = vmas[(i * 7919) % count];
    const start = get(vma, Vma.start);
    vmaTreeAdjust(mm, vma, start, start + 9);
    vmaTreeAdjust(mm, vma, start, start + 8);
  });
  results[`start there and back, ${count} VMAs`] = time((i) => {
    const vma = vmas[(i * 7919) % count];
    const start = get(vma, Vma.start);
    vmaTreeAdjust(mm, vma, start - 1, start + 8);
    vmaTreeAdjust(mm, vma, start, start + 8);
  });
  results[`gap top-down, ${count} VMAs`] = time((i) => {
    sink += gapTopDown(mm, 1 + (i & 15), 16, 0x7f0000000 + count * 16, 0, 0);
  });
}

const root = alloc(Inode) + Inode.pages;
for (let i = 0; i < 100000; i++) xaStore(root, i, i + 1);
results['xarray load, 100,000 entries'] = time((i) => {
  sink += xaLoad(root, (i * 7919) % 100000);
});
results['xarray erase + store, 100,000 entries'] = time((i) => {
  const index = (i * 7919) % 100000;
  xaStore(root, index, xaErase(root, index));
});
const empty = alloc(Inode) + Inode.pages;
results['xarray store + erase, empty'] = time((i) => {
  xaStore(empty, i & 1023, 1);
  xaErase(empty, i & 1023);
});

const iMmap = alloc(Inode) + Inode.iMmap;
const mappers: number[] = [];
for (let i = 0; i < 100; i++) {
  const vma = alloc(Vma);
  set(vma, Vma.pgoff, (i * 13) % 64);
  set(vma, Vma.end, 8);
  vmaIntervalTreeInsert(vma, iMmap);
  mappers.push(vma);
}
results['interval tree remove + insert + first, 100 VMAs'] = time((i) => {
  const vma = mappers[(i * 7919) % 100];
  vmaIntervalTreeRemove(vma, iMmap);
  vmaIntervalTreeInsert(vma, iMmap);
  sink += vmaIntervalTreeIterFirst(iMmap, i & 63, i & 63);
});

if (Number.isNaN(sink)) throw new Error('a result is no number');
console.log(JSON.stringify(results));
