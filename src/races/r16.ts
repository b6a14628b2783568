/**
 * R16: retract_page_tables() takes the page table of whoever maps a new huge page of a file, without any lock of the address space, while a write fault makes a private copy.
 *
 * A fault needs the lock of the huge page, which is held until the tables are gone: so they stay empty. The second look at vma->anon_vma, under the locks of the
 * table, is for what puts entries there without that lock.
 *
 * Where huge pages have an entry of their own: x86, arm64, s390 and others.
 */
import { call, scenario, task } from '../explore/scenario.ts';
import { hasThp, hugePages, load, MAP_PRIVATE, map, store, WINDOW } from '../explore/setup.ts';
import { collapse, mapHugeFile, privateAt } from './support/collapse.ts';

export default scenario({
  id: 'R16',
  title: 'a first write to a private mapping of a file whose pages become a huge page, and whose page table goes for that',
  source: '1043173eb5eb (mm/khugepaged: retract_page_tables() without mmap or vma lock)',
  modes: hasThp,
  machine: { ramBytes: 16 * 2 ** 20 },
  setup(stage) {
    const fd = mapHugeFile(stage);
    store(stage, WINDOW, 1);
    map(stage, privateAt(), hugePages(), { fd, flags: MAP_PRIVATE });
    load(stage, privateAt());
  },
  tasks: {
    thread: ({ process }) => task(call('threadStore', process.ref, privateAt(), 8)),
    collapse,
  },
  variants: {
    unlocked: {
      switches: ['retractUnlocked', 'retractNoRecheck'],
      expect: 'violation',
      rule: ['I1', 'I2', 'I3', 'I4', 'I12', 'I26', 'I32'],
      preemptions: 2,
      note: 'the private copy is lost with the table',
    },
    'not-again': { switches: ['retractNoRecheck'], expect: 'clean', note: 'the lock of the huge page is enough for faults' },
    again: { switches: ['retractUnlocked'], expect: 'clean', note: 'so is the second look, for private copies' },
    fixed: { expect: 'clean' },
  },
});
